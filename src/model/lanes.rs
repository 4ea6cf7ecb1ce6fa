//! Lanes and leases: a lane has one holder, and what a dead one left is taken off exactly once.

use super::{Model, NOW, peers, policy, table};
use crate::cause::Cause;
use crate::failover::{Outcome, Phase, Request, Worker};
use crate::http::Method;
use crate::sync::Ordering;
use crate::sync::modelled::{end_life, process, run, set_up_as};
use crate::table::{Selector, Table, UpstreamId};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

pub(super) const MODELS: &[Model] = &[
    Model { name: "lanes: two reclaim a dead worker", run: two_reclaimers, deaths: 0, preemptions: 3 },
    Model { name: "lanes: a reclaimer dies, another reclaims", run: a_reclaimer_dies, deaths: 14, preemptions: 3 },
    Model { name: "lanes: two join for the lane of a dead worker", run: two_joiners, deaths: 0, preemptions: 3 },
    Model {
        name: "lanes: two join for one free lane beside a live one",
        run: join_beside_the_living,
        deaths: 0,
        preemptions: 3,
    },
    Model { name: "lanes: one leaves, one joins, one reclaims", run: leave_and_join, deaths: 0, preemptions: 3 },
    Model {
        name: "lanes: a worker dies in a request, another reclaims",
        run: a_worker_dies,
        deaths: 16,
        preemptions: 3,
    },
    Model {
        name: "lanes: one that is out comes back beside a reclaimer and a joiner",
        run: back_beside_others,
        deaths: 0,
        preemptions: 2,
    },
    Model { name: "lanes: two picks and a limit of one", run: limit_of_one, deaths: 0, preemptions: 3 },
    Model { name: "lanes: a scrub beside a request", run: scrub_beside_a_request, deaths: 0, preemptions: 3 },
];

/// One peer, its requests counted and limited.
fn world(workers: u32, limit: u32) -> (Arc<Table>, UpstreamId, u32) {
    let (table, upstream) = table(&policy(Selector::RoundRobin, 3), (2, workers, 4));
    let slot = table.set_peers(upstream, &peers(&[1], limit), NOW).unwrap()[0].slot();
    (table, upstream, slot)
}

/// A worker of this process with a request open, which nobody will end.
fn hold(number: u32, table: &Arc<Table>, upstream: UpstreamId) -> (Box<Worker>, Request) {
    set_up_as(number);
    let worker = Worker::join(table.clone(), false, 5, NOW).unwrap();
    let request = pick(&worker, upstream).expect("a peer");
    (worker, request)
}

#[allow(unsafe_code)]
fn pick(worker: &Worker, upstream: UpstreamId) -> Option<Request> {
    // SAFETY: the callers keep the worker for longer.
    let mut request = unsafe { Request::start(worker, upstream.number(), Method::Get, 0, 0, 0, NOW) }.unwrap();
    request.pick(NOW).unwrap().map(|_| request)
}

fn succeed(request: &mut Request) {
    let (cause, phase, status) = (Cause::NONE, Phase::Done, 200);
    let outcome = Outcome { cause, phase, flags: 0, status, reason: 0, retry_after_s: 0, head_ns: 0, total_ns: 0 };
    request.report(&outcome, NOW).unwrap();
}

fn in_flight(table: &Table, slot: u32) -> (u32, u32) {
    (table.slot_counts(slot).1, table.aggregate(slot).unwrap().load(Ordering::Relaxed))
}

/// Process 1 is dead with one request open, process 4 lives with another.
fn one_dead(workers: u32) -> (Arc<Table>, u32, Box<Worker>, Box<Worker>) {
    let (table, upstream, slot) = world(workers, 9);
    let (dead, _) = hold(1, &table, upstream);
    let (living, _) = hold(4, &table, upstream);
    run(1..=4);
    end_life(1);
    (table, slot, dead, living)
}

fn taken(table: &Table) -> u64 {
    let mut cursor = 0;
    let all = std::iter::from_fn(|| table.event_after(cursor).inspect(|e| cursor = e.number));
    all.filter(|e| e.kind.number() == 7).map(|e| e.value).sum()
}

fn two_reclaimers(_: Option<u32>) {
    let (table, slot, _dead, _living) = one_dead(3);
    let freed = Rc::new(Cell::new(0));
    let processes = [2, 3].map(|n| {
        let (table, freed) = (table.clone(), freed.clone());
        process(n, None, move || {
            let lanes = table.reclaim(NOW);
            freed.set(freed.get() + lanes);
        })
    });
    processes.into_iter().for_each(|p| assert!(p.join().unwrap()));
    assert_eq!(in_flight(&table, slot), (1, 1), "in flight, and the aggregate");
    assert_eq!((freed.get(), taken(&table)), (1, 1), "lanes freed, requests taken off");
}

fn a_reclaimer_dies(death: Option<u32>) {
    let (table, slot, _dead, _living) = one_dead(3);
    let (a, b) = (table.clone(), table.clone());
    let first = process(2, death, move || {
        a.reclaim(NOW);
    });
    let second = process(3, None, move || {
        b.reclaim(NOW);
    });
    first.join().unwrap();
    assert!(second.join().unwrap());
    let last = table.clone();
    let last = process(4, None, move || {
        last.reclaim(NOW);
        last.scrub();
    });
    assert!(last.join().unwrap());
    assert_eq!(in_flight(&table, slot), (1, 1), "in flight, and the aggregate");
    assert!(table.join().is_ok(), "a lane was lost");
}

/// Which lanes the processes got that joined.
fn join_each(table: &Arc<Table>, processes: [u32; 2]) -> Vec<u32> {
    let lanes = Rc::new(RefCell::new(vec![]));
    let processes = processes.map(|n| {
        let (table, lanes) = (table.clone(), lanes.clone());
        process(n, None, move || {
            if let Ok(lane) = table.join() {
                assert!(table.holds(lane), "a lane was lost by a process that lives");
                lanes.borrow_mut().push(lane.index());
            }
        })
    });
    processes.into_iter().for_each(|p| assert!(p.join().unwrap()));
    lanes.take()
}

fn two_joiners(_: Option<u32>) {
    let (table, slot, _dead, living) = one_dead(2);
    let lanes = join_each(&table, [2, 3]);
    assert_eq!(lanes.len(), 1, "one lane was free: {lanes:?}");
    assert_ne!(lanes[0], living.lane_index(), "the lane of a process that lives was taken");
    assert_eq!(in_flight(&table, slot), (1, 1), "in flight, and the aggregate");
}

fn join_beside_the_living(_: Option<u32>) {
    let (table, upstream, slot) = world(2, 9);
    let (living, _) = hold(1, &table, upstream);
    run(1..=3);
    let lanes = join_each(&table, [2, 3]);
    assert_eq!(lanes.len(), 1, "{lanes:?}");
    assert_ne!(lanes[0], living.lane_index());
    assert_eq!(in_flight(&table, slot), (1, 1));
}

fn leave_and_join(_: Option<u32>) {
    let (table, _, _) = world(1, 9);
    set_up_as(1);
    let mine = table.join().unwrap();
    run(1..=3);
    let (a, b, c) = (table.clone(), table.clone(), table.clone());
    let holder = Rc::new(Cell::new(1));
    let (left, came) = (holder.clone(), holder.clone());
    let processes = [
        process(1, None, move || {
            left.set(0);
            a.leave(mine);
        }),
        process(2, None, move || {
            if let Ok(lane) = b.join() {
                assert_eq!(came.replace(2), 0, "the lane of a process that lives was taken");
                assert!(b.holds(lane));
            }
        }),
        process(3, None, move || assert_eq!(c.reclaim(NOW), 0, "nobody is dead")),
    ];
    processes.into_iter().for_each(|p| assert!(p.join().unwrap()));
    assert_eq!(table.workers().count(), usize::from(holder.get() != 0));
}

fn a_worker_dies(death: Option<u32>) {
    let (table, upstream, slot) = world(3, 9);
    set_up_as(1);
    let worker = Rc::new(Worker::join(table.clone(), false, 5, NOW).unwrap());
    let (_living, _) = hold(4, &table, upstream);
    run(1..=4);
    let (mine, b) = (worker.clone(), table.clone());
    let dying = process(1, death, move || {
        let mut request = pick(&mine, upstream).expect("a peer");
        succeed(&mut request);
    });
    let other = process(2, None, move || {
        b.reclaim(NOW);
        b.scrub();
    });
    dying.join().unwrap();
    assert!(other.join().unwrap());
    let last = table.clone();
    let last = process(4, None, move || {
        last.reclaim(NOW);
        last.scrub();
    });
    assert!(last.join().unwrap());
    assert_eq!(in_flight(&table, slot), (1, 1), "in flight, and the aggregate");
}

/// Whoever is out keeps its lane whatever others do, and what it has open counts once when it is back.
fn back_beside_others(_: Option<u32>) {
    let (table, upstream, slot) = world(2, 9);
    set_up_as(1);
    let worker = Rc::new(Worker::join_patiently(table.clone(), false, 5, 1, NOW).unwrap());
    let open = pick(&worker, upstream).expect("a peer");
    set_up_as(2);
    let later = NOW + 10;
    assert_eq!((table.reclaim(later), in_flight(&table, slot)), (1, (0, 0)), "out, and in no sum");
    run(1..=3);
    let (mine, b, c) = (worker.clone(), table.clone(), table.clone());
    let lane = worker.lane_index();
    let back = process(1, None, move || mine.check(later).unwrap());
    let reclaiming = process(2, None, move || assert_eq!(b.reclaim(later), 0, "nobody is dead or newly silent"));
    let joining = process(3, None, move || {
        let got = c.join().expect("the free lane");
        assert_ne!(got.index(), lane, "the lane of a process that lives was taken");
    });
    [back, reclaiming, joining].into_iter().for_each(|p| assert!(p.join().unwrap()));
    table.scrub();
    assert_eq!(in_flight(&table, slot), (1, 1), "in flight, and the aggregate");
    drop(open);
}

fn limit_of_one(_: Option<u32>) {
    let (table, upstream, slot) = world(2, 1);
    let workers: Vec<_> = (1..=2)
        .map(|n| {
            set_up_as(n);
            Rc::new(Worker::join(table.clone(), false, 5, NOW).unwrap())
        })
        .collect();
    run(1..=2);
    let picked = Rc::new(Cell::new(0));
    let processes = [1, 2].map(|n| {
        let (worker, picked) = (workers[n as usize - 1].clone(), picked.clone());
        process(n, None, move || {
            let got = pick(&worker, upstream).is_some();
            picked.set(picked.get() + u32::from(got));
        })
    });
    processes.into_iter().for_each(|p| assert!(p.join().unwrap()));
    assert_eq!(picked.get(), 1, "requests on a peer whose limit is one");
    assert_eq!(in_flight(&table, slot), (1, 1));
}

fn scrub_beside_a_request(_: Option<u32>) {
    let (table, upstream, slot) = world(2, 9);
    set_up_as(1);
    let worker = Rc::new(Worker::join(table.clone(), false, 5, NOW).unwrap());
    run(1..=2);
    let (mine, b) = (worker.clone(), table.clone());
    let serving = process(1, None, move || {
        let mut request = pick(&mine, upstream).expect("a peer");
        succeed(&mut request);
    });
    let scrubbing = process(2, None, move || b.scrub());
    assert!(serving.join().unwrap() && scrubbing.join().unwrap());
    table.scrub();
    assert_eq!(in_flight(&table, slot), (0, 0), "in flight, and the aggregate");
}
