//! Publish and read: whoever reads acts on one membership or on none, and a peer that is used keeps its slot.

use super::{Model, NOW, number, peers, policy, table};
use crate::failover::{Request, Worker};
use crate::http::Method;
use crate::sync::modelled::{process, run, set_up_as};
use crate::table::{Policy, Selector, Table, UpstreamId};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "membership: a pick while two lists are published",
        run: pick_and_publish,
        deaths: 0,
        preemptions: 1,
    },
    Model {
        name: "membership: the list is read while two are published",
        run: read_and_publish,
        deaths: 0,
        preemptions: 1,
    },
    Model { name: "membership: a slot is reused beside a pick", run: pick_and_reuse, deaths: 0, preemptions: 3 },
    Model {
        name: "membership: a peer is read while its slot is reused",
        run: describe_and_reuse,
        deaths: 0,
        preemptions: 3,
    },
    Model { name: "membership: an upstream is opened and found", run: open_and_find, deaths: 0, preemptions: 3 },
    Model { name: "membership: two writers", run: two_writers, deaths: 0, preemptions: 3 },
];

fn world(capacity: u32, list: &[u16]) -> (Arc<Table>, UpstreamId) {
    let (table, upstream) = table(&policy(Selector::RoundRobin, 3), (capacity, 1, 8));
    table.set_peers(upstream, &peers(list, 0), NOW).unwrap();
    (table, upstream)
}

fn declare(table: &Table, upstream: UpstreamId, list: &[u16]) {
    table.set_peers(upstream, &peers(list, 0), NOW).unwrap();
}

fn worker(table: &Arc<Table>) -> Rc<Box<Worker>> {
    set_up_as(1);
    Rc::new(Worker::join(table.clone(), false, 5, NOW).unwrap())
}

#[allow(unsafe_code)]
fn request(worker: &Worker, upstream: UpstreamId) -> Request {
    // SAFETY: the callers keep the worker for longer.
    unsafe { Request::start(worker, upstream.number(), Method::Get, 0, 0, 0, NOW) }.unwrap()
}

/// The buffer that the pick reads is filled anew under its eyes by the second declaration.
fn pick_and_publish(_: Option<u32>) {
    let (table, upstream) = world(6, &[1]);
    let worker = worker(&table);
    run(1..=2);
    let writer = table.of_another_process();
    let mine = worker.clone();
    let reader = process(1, None, move || {
        let mut request = request(&mine, upstream);
        // Every list has a healthy peer, and two changes are borne.
        let picked = request.pick(NOW).unwrap().expect("no peer for a request");
        if let Ok(address) = mine.table().peer_address(picked.peer) {
            assert!((1..=3).contains(&number(&address)), "nobody's address: {address}");
        }
    });
    let writing = process(2, None, move || {
        for n in 2..=3u16 {
            declare(&writer, upstream, &[n]);
        }
    });
    assert!(reader.join().unwrap() && writing.join().unwrap());
}

fn read_and_publish(_: Option<u32>) {
    let (table, upstream) = world(6, &[1, 2]);
    run(1..=2);
    let (writer, reader) = (table.of_another_process(), table.clone());
    let reading = process(1, None, move || {
        let seen: Vec<_> = reader.members(upstream).into_iter().map(|p| (p.slot(), p.generation())).collect();
        // The third list gets the slots of the first.
        let lists = [vec![(0, 1), (1, 1)], vec![(2, 1)], vec![(0, 2), (1, 2)]];
        assert!(lists.iter().any(|list| seen.iter().all(|peer| list.contains(peer))), "mixed: {seen:?}");
    });
    let writing = process(2, None, move || {
        declare(&writer, upstream, &[3]);
        declare(&writer, upstream, &[4, 5]);
    });
    assert!(reading.join().unwrap() && writing.join().unwrap());
}

/// One slot: a new peer gets it only if nobody uses the old one.
fn pick_and_reuse(_: Option<u32>) {
    let (table, upstream) = world(1, &[1]);
    let worker = worker(&table);
    run(1..=2);
    let writer = table.of_another_process();
    let (held, mine) = (Rc::new(RefCell::new(None)), worker.clone());
    let (taken, reused) = (held.clone(), Rc::new(Cell::new(false)));
    let reader = process(1, None, move || {
        let mut request = request(&mine, upstream);
        *taken.borrow_mut() = request.pick(NOW).unwrap().map(|p| p.peer);
    });
    let done = reused.clone();
    let writing = process(2, None, move || {
        declare(&writer, upstream, &[]);
        done.set(writer.set_peers(upstream, &peers(&[2], 0), NOW).is_ok());
    });
    assert!(reader.join().unwrap() && writing.join().unwrap());
    // The request is open still. Its peer may be gone, but nobody else has the slot.
    if let Some(peer) = held.take() {
        let state = table.state_word(peer.slot()).unwrap().load(crate::sync::Ordering::Acquire);
        let now = crate::table::State::from_bits(state);
        assert_eq!(now.generation(), peer.generation(), "the slot was reused under an open request");
    } else {
        assert!(table.slot_counts(0).1 == 0, "a pick that failed left a count");
    }
}

fn describe_and_reuse(_: Option<u32>) {
    let (table, upstream) = world(1, &[]);
    table.set_peers(upstream, &peers(&[1], 1), NOW).unwrap();
    let peer = table.peer_at(upstream, 0).unwrap().unwrap();
    run(1..=2);
    let (writer, reader) = (table.of_another_process(), table.clone());
    // By its limit, which is one word, rather than by its address, which is fourteen: the way to read them is the same.
    let reading = process(1, None, move || {
        if let Ok(limit) = reader.consistent(peer, || reader.peer_parameters(peer.slot()).limit) {
            assert_eq!(limit, 1, "another peer's");
        }
    });
    let writing = process(2, None, move || {
        declare(&writer, upstream, &[]);
        writer.set_peers(upstream, &peers(&[2], 2), NOW).unwrap();
    });
    assert!(reading.join().unwrap() && writing.join().unwrap());
}

fn open_and_find(_: Option<u32>) {
    let (table, _) = table_with_room();
    run(1..=2);
    let (writer, reader) = (table.of_another_process(), table.clone());
    let opening = process(1, None, move || {
        let policy = Policy { eject_failures: 9, deadline_ns: 77, ..Policy::default() };
        writer.open_upstream(b"new", &policy).unwrap();
    });
    let finding = process(2, None, move || {
        if let Ok(id) = reader.find_upstream(b"new") {
            assert_eq!((reader.packed_policy(id).eject_failures(), reader.deadline_ns(id)), (9, 77));
        }
    });
    assert!(opening.join().unwrap() && finding.join().unwrap());
}

fn table_with_room() -> (Arc<Table>, UpstreamId) {
    let capacity = crate::table::Capacity::new(2, 1, 1, 4).unwrap();
    let table = Table::anonymous(&capacity, NOW).unwrap();
    let id = table.open_upstream(b"app", &Policy::default()).unwrap();
    (Arc::new(table), id)
}

fn two_writers(_: Option<u32>) {
    let (table, upstream) = world(4, &[1]);
    run(1..=2);
    let processes = [1u16, 2].map(|n| {
        let table = table.of_another_process();
        process(u32::from(n), None, move || declare(&table, upstream, &[n + 1]))
    });
    processes.into_iter().for_each(|p| assert!(p.join().unwrap()));
    let members = table.members(upstream);
    let numbers: Vec<_> = members.iter().map(|&p| number(&table.peer_address(p).unwrap())).collect();
    assert!(numbers == [2] || numbers == [3], "{numbers:?}");
    let live = (0..4).filter(|&slot| {
        let state = table.state_word(slot).unwrap().load(crate::sync::Ordering::Acquire);
        crate::table::State::from_bits(state).is_live()
    });
    assert_eq!(live.count(), 1, "a slot was lost");
}
