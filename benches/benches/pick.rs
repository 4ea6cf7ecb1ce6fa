//! `pick`: one request from its start to its report (start, pick, report of a success), beside pingora's selection.
//!
//! Workloads: back to back; cold (8 MiB are streamed through the caches between picks); paced (about 2 µs of other work
//! between picks); two threads at once, a worker each. Cold and paced times are those of the pick alone: the other work
//! is measured by itself and taken off. pingora's `select` returns a peer and keeps no count of requests in flight, so
//! it is given an advantage.

use criterion::Criterion;
use pingora_load_balancing::LoadBalancer;
use pingora_load_balancing::selection::{Random, RoundRobin};
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use tidegate::cause::Cause;
use tidegate::failover::{Outcome, Phase, Request, Worker};
use tidegate::ffi::request::*;
use tidegate::ffi::worker::tidegate_worker;
use tidegate::http::Method;
use tidegate::table::{Address, Admin, Capacity, PeerSpec, Policy, Selector, Table};
use tidegate_bench::{criterion, print_ratios};

const NOW: u64 = 1_000_000_000;

/// A pick and all that belongs to it.
type Pick = Box<dyn FnMut() + Send>;

fn is_down(peer: usize, down: bool) -> bool {
    down && peer * 7 % 10 < 3
}

fn world(peers: usize, selector: Selector, down: bool) -> Arc<Table> {
    let capacity = Capacity::new(1, peers as u32, 8, 64).unwrap();
    let table = Arc::new(Table::anonymous(&capacity, NOW).unwrap());
    let upstream = table.open_upstream(b"app", &Policy { selector, ..Policy::default() }).unwrap();
    let spec = |i: usize| {
        let [_, a, b, c] = (i as u32).to_be_bytes();
        let mut address = [0; 16];
        address[..8].copy_from_slice(&[libc::AF_INET as u8, 0, 0, 80, 10, a, b, c]);
        let admin = if is_down(i, down) { Admin::Disabled } else { Admin::Enabled };
        PeerSpec::new(Address::new(&address).unwrap(), b"", 1, 0, 0, admin).unwrap()
    };
    table.set_peers(upstream, &(0..peers).map(spec).collect::<Vec<_>>(), NOW).unwrap();
    table
}

/// By the Rust API.
fn rust(table: &Arc<Table>) -> Pick {
    let worker = Worker::join(table.clone(), false, 7, NOW).unwrap();
    let flags = Outcome::SENT | Outcome::RECEIVED;
    let (cause, phase) = (Cause::NONE, Phase::Done);
    let outcome = Outcome {
        cause,
        phase,
        flags,
        status: 200,
        reason: 0,
        retry_after_s: 0,
        connect_ns: 0,
        head_ns: 0,
        total_ns: 1000,
    };
    Box::new(move || {
        // SAFETY: the worker outlives the request, which ends with this turn of the loop.
        let mut request = unsafe { Request::start(&worker, 0, Method::Get, 0, 0, 0, NOW) }.unwrap();
        black_box(request.pick(NOW).unwrap());
        black_box(request.report(black_box(&outcome), NOW).unwrap());
    })
}

/// By the functions of the C ABI.
fn c_abi(table: &Arc<Table>) -> Pick {
    struct Host {
        worker: Box<Worker>,
        request: tidegate_request,
        options: tidegate_request_options,
        pick: tidegate_pick,
        outcome: tidegate_outcome,
        decision: tidegate_decision,
    }
    // SAFETY: the pointers in these structs are NULL.
    unsafe impl Send for Host {}
    // SAFETY: all of these are integers, valid when all zero.
    let (mut options, mut pick, mut outcome, mut decision) = unsafe {
        let zeros =
            std::mem::zeroed::<(tidegate_request_options, tidegate_pick, tidegate_outcome, tidegate_decision)>();
        zeros
    };
    options.struct_size = size_of::<tidegate_request_options>();
    pick.struct_size = size_of::<tidegate_pick>();
    outcome.struct_size = size_of::<tidegate_outcome>();
    decision.struct_size = size_of::<tidegate_decision>();
    (outcome.status, outcome.total_ns) = (200, 1000);
    let worker = Worker::join(table.clone(), false, 7, NOW).unwrap();
    let mut h = Host { worker, request: tidegate_request { opaque: [0; 64] }, options, pick, outcome, decision };
    // Behind pointers that the optimiser can't see through: no call is inlined, as from C.
    let (start, choose, report) = black_box((
        tidegate_request_start as unsafe extern "C" fn(_, _, _, _) -> _,
        tidegate_request_pick as unsafe extern "C" fn(_, _, _) -> _,
        tidegate_request_report as unsafe extern "C" fn(_, _, _, _) -> _,
    ));
    Box::new(move || {
        let h = &mut h;
        let worker = (&raw const *h.worker).cast::<tidegate_worker>();
        // SAFETY: all of it is live, and this thread's.
        let status: i32 = unsafe {
            start(worker, &raw mut h.request, &raw const h.options, NOW)
                | choose(&raw mut h.request, NOW, &raw mut h.pick)
                | report(&raw mut h.request, &raw const h.outcome, NOW, &raw mut h.decision)
        };
        assert_eq!(status, 0);
    })
}

macro_rules! pingora {
    ($selection:ty, $peers:expr, $down:expr) => {{
        let address = |i: usize| format!("10.{}.{}.{}:80", i >> 16 & 255, i >> 8 & 255, i & 255);
        let all = LoadBalancer::<$selection>::try_from_iter((0..$peers).map(address)).unwrap();
        for i in (0..$peers).filter(|&i| is_down(i, $down)) {
            all.backends().set_enable(&pingora_load_balancing::Backend::new(&address(i)).unwrap(), false);
        }
        let all = Arc::new(all);
        Box::new(move || -> Pick {
            let all = all.clone();
            Box::new(move || drop(black_box(all.select(b"", 256).unwrap())))
        }) as Box<dyn Fn() -> Pick>
    }};
}

/// Everybody who picks, by name: each call makes a picker of its own for a thread.
fn pickers(peers: usize, down: bool) -> Vec<(&'static str, Box<dyn Fn() -> Pick>)> {
    let (turns, least) = (world(peers, Selector::RoundRobin, down), world(peers, Selector::LeastRequest, down));
    let (turns_2, least_2) = (turns.clone(), least.clone());
    vec![
        ("round_robin-c", Box::new(move || c_abi(&turns))),
        ("round_robin-rust", Box::new(move || rust(&turns_2))),
        ("least_request-c", Box::new(move || c_abi(&least))),
        ("least_request-rust", Box::new(move || rust(&least_2))),
        ("pingora-round_robin", pingora!(RoundRobin, peers, down)),
        ("pingora-random", pingora!(Random, peers, down)),
    ]
}

/// Time of `picks` picks with other work between them, that work's own time taken off.
fn between(pick: &mut Pick, picks: u64, mut work: impl FnMut()) -> Duration {
    let mut total = Duration::ZERO;
    let clock = {
        let start = Instant::now();
        (0..1000).for_each(|_| drop(black_box(Instant::now())));
        start.elapsed() / 1000
    };
    for _ in 0..picks {
        work();
        let start = Instant::now();
        pick();
        total += start.elapsed().saturating_sub(clock);
    }
    total
}

fn on_two_threads(make: &dyn Fn() -> Pick, picks: u64) -> Duration {
    let barrier = Barrier::new(2);
    let time = |mut pick: Pick| {
        barrier.wait();
        let start = Instant::now();
        (0..picks).for_each(|_| pick());
        start.elapsed()
    };
    let (a, b) = (make(), make());
    std::thread::scope(|s| {
        let other = s.spawn(|| time(b));
        time(a).max(other.join().unwrap())
    })
}

fn main() {
    let mut c: Criterion = criterion().configure_from_args();
    let mut workloads = vec![];
    let mut run = |workload: String, peers: usize, down: bool, how: How| {
        let mut group = c.benchmark_group(&workload);
        for (name, make) in pickers(peers, down) {
            let mut pick = make();
            let mut memory = vec![1u64; 1 << 20];
            group.bench_function(name, |b| match how {
                How::BackToBack => b.iter(&mut pick),
                How::Cold => b.iter_custom(|n| between(&mut pick, n, || memory.iter_mut().for_each(|w| *w += 1))),
                How::Paced => {
                    b.iter_custom(|n| between(&mut pick, n, || memory[..4096].iter_mut().for_each(|w| *w += 1)))
                }
                How::TwoThreads => b.iter_custom(|n| on_two_threads(&*make, n)),
            });
        }
        group.finish();
        workloads.push(workload);
    };
    for peers in [3, 10, 100, 1000, 10_000] {
        for (state, down) in [("up", false), ("30-down", true)] {
            run(format!("pick-{peers}-{state}"), peers, down, How::BackToBack);
        }
    }
    for peers in [10, 10_000] {
        for (name, how) in [("cold", How::Cold), ("paced", How::Paced), ("two-threads", How::TwoThreads)] {
            run(format!("pick-{peers}-{name}"), peers, false, how);
        }
    }
    let ours = ["round_robin-c", "round_robin-rust", "least_request-c", "least_request-rust"];
    print_ratios(&workloads, &ours, &["pingora-round_robin", "pingora-random"]);
}

#[derive(Clone, Copy)]
enum How {
    BackToBack,
    Cold,
    Paced,
    TwoThreads,
}
