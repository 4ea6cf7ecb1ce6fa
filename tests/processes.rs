//! Real processes on one table: forked workers that are killed at any instruction, membership changes under them, and
//! handles used on the wrong side of a fork. Own `main`: the test runner's threads and fork() do not go together.

#![allow(unsafe_code)]

mod common;

use common::process::{fork, wait};
use common::{SECOND, ok, peer, specs, start};
use std::sync::Arc;
use std::time::Instant;
use tidegate::failover::{Request, Worker};
use tidegate::health::PeerView;
use tidegate::http::Method;
use tidegate::table::{Capacity, Health, PeerHandle, Policy, Selector, Table, UpstreamId};

fn main() {
    let tests: [(&str, fn()); 4] = [
        ("a_handle_from_before_a_fork_is_refused", a_handle_from_before_a_fork_is_refused),
        ("workers_see_each_others_ejections", workers_see_each_others_ejections),
        ("a_storm_of_kills_leaves_counts_exact", a_storm_of_kills_leaves_counts_exact),
        ("membership_changes_under_load_misroute_nobody", membership_changes_under_load_misroute_nobody),
    ];
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let chosen = tests.iter().filter(|(name, _)| filter.as_ref().is_none_or(|f| name.contains(f.as_str())));
    let mut run = 0;
    for (name, test) in chosen {
        test();
        println!("test {name} ... ok");
        run += 1;
    }
    println!("\ntest result: ok. {run} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

struct Shared {
    table: Arc<Table>,
    upstream: UpstreamId,
    peers: Vec<PeerHandle>,
}

fn shared(selector: Selector, peers: u16) -> Shared {
    let table = Arc::new(Table::anonymous(&Capacity::new(4, 64, 32, 1024).unwrap(), SECOND).unwrap());
    // In panic as soon as a peer is out, so that every peer is picked and counted whatever the failures did.
    let policy = Policy { selector, panic_percent: 100, ..Policy::default() };
    let upstream = table.open_upstream(b"app", &policy).unwrap();
    let list: Vec<_> = (1..=peers).map(|port| common::Spec { limit: 1000, ..peer(port) }).collect();
    let peers = table.set_peers(upstream, &specs(&list), SECOND).unwrap();
    Shared { table, upstream, peers }
}

impl Shared {
    fn in_flight(&self, now: u64) -> u32 {
        self.peers.iter().map(|&p| PeerView::of(&self.table, p, now).unwrap().in_flight).sum()
    }
}

fn kill(pid: i32) {
    // SAFETY: signals a child of ours that has not been waited for.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn a_handle_from_before_a_fork_is_refused() {
    let shared = shared(Selector::RoundRobin, 3);
    let worker = Worker::join(shared.table.clone(), false, 1, SECOND).unwrap();
    let mut request = start(&worker, 0, Method::Get, SECOND);
    request.pick(SECOND).unwrap().unwrap();
    let child = fork(|| {
        // SAFETY: the worker outlives the call.
        assert!(unsafe { Request::start(&worker, 0, Method::Get, 0, 0, 0, SECOND) }.is_err());
        assert!(worker.tick(2 * SECOND).is_err());
        let own = Worker::join(shared.table.clone(), false, 1, SECOND).unwrap();
        // The attempt is the parent's: ending it here must not take it off there.
        request.end(SECOND);
        assert_ne!(own.lane_index(), worker.lane_index());
        let mut request = start(&own, 0, Method::Get, SECOND);
        request.pick(SECOND).unwrap().unwrap();
        request.report(&ok(), SECOND).unwrap();
    });
    assert_eq!(wait(child), 0);
    assert_eq!(shared.in_flight(SECOND), 1, "the parent's own request is untouched");
    request.report(&ok(), SECOND).unwrap();
    assert_eq!(shared.in_flight(SECOND), 0);
}

fn workers_see_each_others_ejections() {
    let shared = shared(Selector::RoundRobin, 3);
    let child = fork(|| {
        let worker = Worker::join(shared.table.clone(), false, 1, SECOND).unwrap();
        let mut request = start(&worker, 0, Method::Get, SECOND);
        request.pick(SECOND).unwrap().unwrap();
        let refused = common::failed(tidegate::cause::Cause::CONNECTION_REFUSED);
        let decision = request.report(&refused, SECOND).unwrap();
        assert_ne!(decision.flags & 2, 0, "ejected");
    });
    assert_eq!(wait(child), 0);
    let worker = Worker::join(shared.table.clone(), false, 2, SECOND).unwrap();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..60 {
        let mut request = start(&worker, 0, Method::Get, SECOND);
        seen.insert(request.pick(SECOND).unwrap().unwrap().peer.number());
        request.report(&ok(), SECOND).unwrap();
    }
    assert_eq!(seen.len(), 3, "in panic");
    let ejected = |p: &&PeerHandle| PeerView::of(&shared.table, **p, SECOND).unwrap().health == Health::Ejected;
    assert_eq!(shared.peers.iter().filter(ejected).count(), 1);
}

/// Kills in the storm: TIDEGATE_KILLS, or enough for every test run.
fn kills() -> usize {
    std::env::var("TIDEGATE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(500)
}

fn a_storm_of_kills_leaves_counts_exact() {
    for selector in [Selector::RoundRobin, Selector::LeastRequest] {
        let shared = shared(selector, 8);
        let mut now = SECOND;
        let mut children: Vec<i32> = (0..6).map(|i| fork(|| serve_for_ever(&shared, i))).collect();
        let random = Instant::now();
        for n in 0..kills() / 2 {
            let victim = children.remove((random.elapsed().subsec_nanos() as usize / 7) % children.len());
            kill(victim);
            assert!(libc::WIFSIGNALED(wait(victim)), "the worker was alive until it was killed");
            children.push(fork(|| serve_for_ever(&shared, n as u64)));
        }
        for child in children {
            kill(child);
            wait(child);
        }
        // One who looks is enough: no thread and no tick of the dead's own.
        let worker = Worker::join(shared.table.clone(), false, 3, now).unwrap();
        for _ in 0..3 {
            now += SECOND;
            worker.tick(now).unwrap();
        }
        assert_eq!(shared.in_flight(now), 0, "{selector:?}");
        // The aggregates too: every peer takes as many requests as its limit says.
        let mut open: Vec<_> = (0..8001).map(|_| start(&worker, 0, Method::Get, now)).collect();
        let picked = open.iter_mut().filter_map(|r| r.pick(now).unwrap()).count();
        assert_eq!(picked, 8000, "{selector:?}");
        open.iter_mut().for_each(|r| r.end(now));
        let mut after = 0;
        while let Some(event) = shared.table.event_after(after) {
            assert!(event.number > after && (1..=7).contains(&event.kind.number()), "{event:?}");
            after = event.number;
        }
    }
}

/// What a worker does until it is killed: several requests open at a time, failures among them, and ticks.
fn serve_for_ever(shared: &Shared, seed: u64) {
    let mut now = 2 * SECOND;
    let worker = Worker::join(shared.table.clone(), false, seed + 1, now).unwrap();
    loop {
        let mut open: Vec<_> = (0..4).map(|_| start(&worker, shared.upstream.number(), Method::Get, now)).collect();
        for request in &mut open {
            let _ = request.pick(now).unwrap();
        }
        for (i, request) in open.iter_mut().enumerate() {
            let _ = match i {
                0 => request.report(&common::failed(tidegate::cause::Cause::CONNECTION_TERMINATED), now).map(|_| ()),
                1 => {
                    request.end(now);
                    Ok(())
                }
                _ => request.report(&ok(), now).map(|_| ()),
            };
            request.end(now);
        }
        now += SECOND / 100;
        worker.tick(now).unwrap();
    }
}

fn membership_changes_under_load_misroute_nobody() {
    let shared = shared(Selector::RoundRobin, 8);
    let workers: Vec<i32> = (0..2)
        .map(|i| {
            fork(|| {
                let worker = Worker::join(shared.table.clone(), false, i + 1, SECOND).unwrap();
                for _ in 0..200_000 {
                    let mut request = start(&worker, 0, Method::Get, SECOND);
                    let picked = request.pick(SECOND).unwrap().expect("the first four peers are always there");
                    // While the request is open its handle names one peer, removed or not.
                    if let Ok(name) = shared.table.peer_display_name(picked.peer) {
                        let port: u16 = name.rsplit(':').next().unwrap().parse().unwrap();
                        assert!((1..=40).contains(&port), "{name}");
                    }
                    request.report(&ok(), SECOND).unwrap();
                }
            })
        })
        .collect();
    let changer = fork(|| {
        for round in 0..60u16 {
            let list: Vec<_> = (1..=4).chain((0..round % 5).map(|i| 5 + (round * 3 + i) % 36)).map(peer).collect();
            let handles = shared.table.set_peers(shared.upstream, &specs(&list), SECOND).unwrap();
            assert_eq!(handles[..4], shared.peers[..4], "who stays keeps its handle");
        }
    });
    for pid in workers.into_iter().chain([changer]) {
        assert_eq!(wait(pid), 0, "a process failed: see above");
    }
    let live: Vec<_> = (0..).map_while(|i| shared.table.peer_at(shared.upstream, i).unwrap()).collect();
    for peer in live {
        assert_eq!(PeerView::of(&shared.table, peer, SECOND).unwrap().in_flight, 0);
    }
}
