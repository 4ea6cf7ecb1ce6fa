//! State words, the capacity floor, limits: a transition happens once over all processes, and never one too many.

use super::{Model, NOW, peers, policy, table};
use crate::cause::Cause;
use crate::health::{self, Evidence, Role};
use crate::random::Random;
use crate::sync::modelled::{process, run};
use crate::table::{Admin, Health, PeerHandle, Policy, Selector, Table, UpstreamId};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

pub(super) const MODELS: &[Model] = &[
    Model { name: "health: two failures that both would eject", run: ejected_once, deaths: 0, preemptions: 3 },
    Model { name: "health: two failures in a row make two", run: failures_add_up, deaths: 0, preemptions: 3 },
    Model { name: "health: two workers fail the two last peers", run: floor_of_two, deaths: 0, preemptions: 3 },
    Model {
        name: "health: the same, and one worker slept meanwhile",
        run: floor_of_sleepers,
        deaths: 0,
        preemptions: 3,
    },
    Model { name: "health: the same, and one worker dies", run: floor_of_the_dead, deaths: 16, preemptions: 3 },
    Model { name: "health: three workers fail the three last peers", run: floor_of_three, deaths: 0, preemptions: 3 },
    Model { name: "health: two workers claim a trial", run: one_trial, deaths: 0, preemptions: 3 },
    Model { name: "health: a trial ends while another is claimed", run: trial_after_trial, deaths: 0, preemptions: 3 },
    Model { name: "health: two workers claim a last resort", run: one_last_resort, deaths: 0, preemptions: 3 },
    Model { name: "health: a failure beside a person's word", run: failure_and_admin, deaths: 0, preemptions: 3 },
];

const SECOND: u64 = 1_000_000_000;

fn world(policy: &Policy, n: u16) -> (Arc<Table>, UpstreamId, Vec<PeerHandle>) {
    let (table, upstream) = table(policy, (4, 3, 8));
    let numbers: Vec<u16> = (1..=n).collect();
    let peers = table.set_peers(upstream, &peers(&numbers, 0), NOW).unwrap();
    (table, upstream, peers)
}

fn ejecting(failures: u32) -> Policy {
    policy(Selector::RoundRobin, failures)
}

/// A report by this worker.
fn with_evidence<T>(table: &Table, upstream: UpstreamId, peer: PeerHandle, now: u64, act: impl Fn(Evidence) -> T) -> T {
    let (policy, random) = (table.packed_policy(upstream), Random::new(7));
    act(Evidence { table, upstream, peer, role: Role::Ordinary, policy, now, random: &random })
}

fn refuse(table: &Table, upstream: UpstreamId, peer: PeerHandle, now: u64) -> bool {
    with_evidence(table, upstream, peer, now, |evidence| evidence.failure(Cause::CONNECTION_REFUSED))
}

fn events(table: &Table, kind: u32) -> usize {
    let mut cursor = 0;
    let all = std::iter::from_fn(|| table.event_after(cursor).inspect(|e| cursor = e.number));
    all.filter(|e| e.kind.number() == kind).count()
}

fn healthy(table: &Table, peers: &[PeerHandle]) -> usize {
    peers.iter().filter(|&&p| table.state(p).unwrap().health() == Health::Healthy).count()
}

/// Each process fails one peer; how often one was told that it ejected.
fn fail_each(table: &Arc<Table>, upstream: UpstreamId, failing: Vec<(PeerHandle, u64, Option<u32>)>) -> u32 {
    run(1..=failing.len() as u32);
    let ejected = Rc::new(Cell::new(0));
    let act = |(n, (peer, now, death)): (usize, (PeerHandle, u64, Option<u32>))| {
        let (table, ejected) = (table.clone(), ejected.clone());
        process(n as u32 + 1, death, move || {
            let done = refuse(&table, upstream, peer, now);
            ejected.set(ejected.get() + u32::from(done));
        })
    };
    let processes: Vec<_> = failing.into_iter().enumerate().map(act).collect();
    processes.into_iter().for_each(|p| {
        p.join().unwrap();
    });
    ejected.get()
}

fn ejected_once(_: Option<u32>) {
    let (table, upstream, peers) = world(&ejecting(3), 2);
    let ejected = fail_each(&table, upstream, vec![(peers[0], NOW, None), (peers[0], NOW, None)]);
    // One may be put off by the other's reservation, but not both.
    assert_eq!((ejected, events(&table, 1)), (1, 1), "ejections and their events");
    assert_eq!(table.state(peers[0]).unwrap().ejections(), 1);
}

fn failures_add_up(_: Option<u32>) {
    let (table, upstream, peers) = world(&ejecting(5), 2);
    run(1..=2);
    let processes = [1, 2].map(|n| {
        let (table, peer) = (table.clone(), peers[0]);
        process(n, None, move || {
            with_evidence(&table, upstream, peer, NOW, |evidence| evidence.failure(Cause::CONNECTION_TERMINATED));
        })
    });
    processes.into_iter().for_each(|p| assert!(p.join().unwrap()));
    assert_eq!(table.state(peers[0]).unwrap().streak(), 2);
}

fn floor_of_two(_: Option<u32>) {
    let (table, upstream, peers) = world(&ejecting(3), 2);
    let ejected = fail_each(&table, upstream, vec![(peers[0], NOW, None), (peers[1], NOW, None)]);
    assert_eq!(healthy(&table, &peers), 2 - ejected as usize);
    assert!(healthy(&table, &peers) > 0, "the last peer was ejected");
}

fn floor_of_three(_: Option<u32>) {
    let (table, upstream, peers) = world(&ejecting(3), 3);
    fail_each(&table, upstream, peers.iter().map(|&p| (p, NOW, None)).collect());
    assert!(healthy(&table, &peers) > 0, "the last peer was ejected");
}

/// The second worker's clock shows that the first one's reservation is void.
fn floor_of_sleepers(_: Option<u32>) {
    let (table, upstream, peers) = world(&ejecting(3), 2);
    fail_each(&table, upstream, vec![(peers[0], NOW, None), (peers[1], NOW + 2 * SECOND, None)]);
    assert!(healthy(&table, &peers) > 0, "the last peer was ejected");
}

fn floor_of_the_dead(death: Option<u32>) {
    let (table, upstream, peers) = world(&ejecting(3), 2);
    fail_each(&table, upstream, vec![(peers[0], NOW, death), (peers[1], NOW, None)]);
    assert!(healthy(&table, &peers) > 0, "the last peer was ejected");
    // What the dead reserved holds up no ejection for longer than it says.
    let (a, b) = (table.state(peers[0]).unwrap().health(), table.state(peers[1]).unwrap().health());
    if (a, b) == (Health::Healthy, Health::Healthy) {
        with_evidence(&table, upstream, peers[1], NOW, |evidence| evidence.success());
        assert!(refuse(&table, upstream, peers[0], NOW + 2 * SECOND), "the dead one's reservation still holds");
    }
}

/// Two peers, the first out and due for a trial.
fn one_out() -> (Arc<Table>, UpstreamId, Vec<PeerHandle>, u64) {
    let (table, upstream, peers) = world(&ejecting(3), 2);
    assert!(refuse(&table, upstream, peers[0], NOW));
    (table, upstream, peers, NOW + 2 * SECOND)
}

fn one_trial(_: Option<u32>) {
    let (table, upstream, peers, now) = one_out();
    run(1..=3);
    let claims = Rc::new(Cell::new(0));
    let processes = [1, 2, 3].map(|n| {
        let (table, claims, slot) = (table.clone(), claims.clone(), peers[0].slot());
        process(n, None, move || {
            let claimed = health::claim_trial(&table, upstream, slot, now).is_some();
            claims.set(claims.get() + u32::from(claimed));
        })
    });
    processes.into_iter().for_each(|p| assert!(p.join().unwrap()));
    assert_eq!((claims.get(), events(&table, 2)), (1, 1), "trials and half-open events");
}

fn trial_after_trial(_: Option<u32>) {
    let (table, upstream, peers, now) = one_out();
    health::claim_trial(&table, upstream, peers[0].slot(), now).unwrap();
    run(1..=3);
    let open = Rc::new(Cell::new(1));
    let mut processes = vec![];
    for n in 1..=2 {
        let (table, open, slot) = (table.clone(), open.clone(), peers[0].slot());
        processes.push(process(n, None, move || {
            if health::claim_trial(&table, upstream, slot, now).is_some() {
                open.set(open.get() + 1);
                assert!(open.get() <= 1, "two trials at once");
            }
        }));
    }
    let (at, gone, peer) = (table.clone(), open.clone(), peers[0]);
    processes.push(process(3, None, move || {
        gone.set(0);
        health::release_trial(&at, peer);
    }));
    processes.into_iter().for_each(|p| assert!(p.join().unwrap()));
    assert_eq!(table.state(peers[0]).unwrap().has_trial(), open.get() == 1);
}

fn one_last_resort(_: Option<u32>) {
    let (table, _, peers, _) = one_out();
    run(1..=2);
    let claims = Rc::new(Cell::new(0));
    let processes = [1, 2].map(|n| {
        let (table, claims, slot) = (table.clone(), claims.clone(), peers[0].slot());
        process(n, None, move || {
            let claimed = health::claim_last_resort(&table, slot, NOW + 1).is_some();
            claims.set(claims.get() + u32::from(claimed));
        })
    });
    processes.into_iter().for_each(|p| assert!(p.join().unwrap()));
    assert_eq!(claims.get(), 1, "last resorts");
}

fn failure_and_admin(_: Option<u32>) {
    let (table, upstream, peers) = world(&ejecting(3), 2);
    run(1..=2);
    let (a, b, peer) = (table.clone(), table.clone(), peers[0]);
    let worker = process(1, None, move || {
        refuse(&a, upstream, peer, NOW);
    });
    let person = process(2, None, move || health::set_admin(&b, peer, Admin::Draining, NOW).unwrap());
    assert!(worker.join().unwrap() && person.join().unwrap());
    let state = table.state(peers[0]).unwrap();
    assert_eq!((state.health(), state.admin()), (Health::Ejected, Admin::Draining));
    assert_eq!((events(&table, 1), events(&table, 5)), (1, 1));
}
