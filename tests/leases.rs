//! Leases of real processes: stopped and woken, with a process id that is given out again, and in PID namespaces of
//! their own. Own `main`: the test runner's threads and fork() do not go together.

#![allow(unsafe_code)]

mod common;

use common::process::{fork, wait};
use common::{SECOND, ok, peer, specs, start};
use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;
use tidegate::failover::{Request, Worker};
use tidegate::ffi::TIDEGATE_ERR_LEASE_LOST;
use tidegate::health::PeerView;
use tidegate::http::Method;
use tidegate::table::{Capacity, FileOptions, PeerHandle, Policy, Selector, Table};

fn main() {
    let tests: [(&str, fn()); 7] = [
        ("who_is_stopped_keeps_its_lease", who_is_stopped_keeps_its_lease),
        ("who_asked_for_less_patience_is_out_and_comes_back", who_asked_for_less_patience_is_out_and_comes_back),
        ("who_wakes_up_in_the_middle_of_a_pick_harms_nobody", who_wakes_up_in_the_middle_of_a_pick_harms_nobody),
        ("who_dies_while_it_is_out_is_freed", who_dies_while_it_is_out_is_freed),
        ("a_lease_that_is_gone_is_an_error", a_lease_that_is_gone_is_an_error),
        ("a_process_id_that_is_given_out_again", a_process_id_that_is_given_out_again),
        ("two_pid_namespaces_on_one_table", two_pid_namespaces_on_one_table),
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

const OUT: u32 = 9;
const BACK: u32 = 10;
const RECLAIMED: u32 = 7;
const LIMIT: u32 = 50;
const NOW: u64 = 1000 * SECOND;

struct Bed {
    table: Arc<Table>,
    peer: PeerHandle,
}

impl Bed {
    /// One peer, counted both ways.
    fn new(table: Table) -> Bed {
        let table = Arc::new(table);
        let policy = Policy { selector: Selector::LeastRequest, ..Policy::default() };
        let upstream = table.open_upstream(b"app", &policy).unwrap();
        let list = [common::Spec { limit: LIMIT, ..peer(1) }];
        let peer = table.set_peers(upstream, &specs(&list), NOW).unwrap()[0];
        Bed { table, peer }
    }

    fn anonymous() -> Bed {
        Bed::new(Table::anonymous(&Capacity::new(2, 8, 4, 256).unwrap(), NOW).unwrap())
    }

    fn join(&self, lease_ns: u64, now: u64) -> Box<Worker> {
        Worker::join_patiently(self.table.clone(), false, 1, lease_ns, now).unwrap()
    }

    fn in_flight(&self) -> u32 {
        PeerView::of(&self.table, self.peer, NOW).unwrap().in_flight
    }

    /// How many requests more the limit lets through: tells the aggregate.
    fn room(&self, worker: &Worker, now: u64) -> u32 {
        let mut open: Vec<Request> = (0..=LIMIT).map(|_| start(worker, 0, Method::Get, now)).collect();
        let taken = open.iter_mut().filter_map(|r| r.pick(now).unwrap()).count();
        open.iter_mut().for_each(|r| r.end(now));
        taken as u32
    }

    fn events(&self) -> Vec<(u32, u64)> {
        let (mut after, mut told) = (0, vec![]);
        while let Some(event) = self.table.event_after(after) {
            after = event.number;
            if [OUT, BACK, RECLAIMED].contains(&event.kind.number()) {
                told.push((event.kind.number(), event.value));
            }
        }
        told
    }
}

/// A child that does one thing for each byte that it is told, and says when it is done.
struct Child {
    pid: i32,
    tell: PipeWriter,
    hear: PipeReader,
}

impl Child {
    fn new(act: impl FnOnce(&mut dyn FnMut())) -> Child {
        let (mut orders, tell) = std::io::pipe().unwrap();
        let (hear, mut answers) = std::io::pipe().unwrap();
        let pid = fork(|| {
            // First say that what came before is done, then wait for the next order.
            act(&mut || {
                answers.write_all(b".").unwrap();
                orders.read_exact(&mut [0]).unwrap();
            });
            answers.write_all(b".").unwrap();
        });
        Child { pid, tell, hear }
    }

    fn is_done(&mut self) {
        self.hear.read_exact(&mut [0]).expect("the child failed: see above");
    }

    fn go_on(&mut self) {
        self.tell.write_all(b".").unwrap();
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a child of ours that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0);
        if signal == libc::SIGSTOP {
            let mut status = 0;
            // SAFETY: waits until it stands still.
            assert_eq!(unsafe { libc::waitpid(self.pid, &mut status, libc::WUNTRACED) }, self.pid);
            assert!(libc::WIFSTOPPED(status));
        }
    }
}

fn who_is_stopped_keeps_its_lease() {
    let bed = Bed::anonymous();
    let mut child = Child::new(|next| {
        let worker = bed.join(0, NOW);
        let mut request = start(&worker, 0, Method::Get, NOW);
        request.pick(NOW).unwrap().unwrap();
        next();
        request.report(&ok(), NOW + 7200 * SECOND).unwrap();
    });
    child.is_done();
    child.signal(libc::SIGSTOP);
    let worker = bed.join(0, NOW);
    worker.tick(NOW + 7200 * SECOND).unwrap();
    assert_eq!((bed.in_flight(), bed.events()), (1, vec![]), "its connection is still open");
    child.signal(libc::SIGCONT);
    child.go_on();
    assert_eq!(wait(child.pid), 0);
    assert_eq!(bed.in_flight(), 0);
}

fn who_asked_for_less_patience_is_out_and_comes_back() {
    // Each call that could be the first after waking up. What is in flight in the end.
    type First = fn(&Worker, &mut Request, u64);
    let first_calls: [(First, u32); 5] = [
        (|_, request, now| assert_eq!(request.report(&ok(), now).unwrap().attempts, 1), 1),
        (|_, request, now| assert_eq!(request.head(&ok(), now).unwrap().attempts, 1), 2),
        (|_, request, now| request.end(now), 1),
        (
            |worker, _, now| {
                start(worker, 0, Method::Get, now);
            },
            2,
        ),
        (|worker, _, now| worker.tick(now).unwrap(), 2),
    ];
    for (first, left) in first_calls {
        let bed = Bed::anonymous();
        let late = NOW + 6 * SECOND;
        let mut child = Child::new(|next| {
            let worker = bed.join(5 * SECOND, NOW);
            let mut open: Vec<_> = (0..2).map(|_| start(&worker, 0, Method::Get, NOW)).collect();
            open.iter_mut().for_each(|r| assert!(r.pick(NOW).unwrap().is_some()));
            next();
            first(&worker, &mut open[0], late);
            next();
            open.iter_mut().for_each(|r| r.end(late));
        });
        child.is_done();
        child.signal(libc::SIGSTOP);
        let worker = bed.join(0, NOW);
        worker.tick(NOW + 5 * SECOND).unwrap();
        assert_eq!(bed.in_flight(), 2, "silent for no longer than it may be");
        worker.tick(late).unwrap();
        assert_eq!((bed.in_flight(), bed.events()), (0, vec![(OUT, 2)]));
        assert_eq!(bed.room(&worker, late), LIMIT);
        let others: Vec<_> = (0..2).map(|_| bed.join(0, late)).collect();
        let full = Worker::join(bed.table.clone(), false, 1, late).err().expect("its lane is nobody else's");
        assert!(full.to_string().contains("1 are silent"), "{full}");
        drop(others);
        child.signal(libc::SIGCONT);
        child.go_on();
        child.is_done();
        assert_eq!((bed.in_flight(), bed.events()), (left, vec![(OUT, 2), (BACK, 2)]));
        assert_eq!(bed.room(&worker, late), LIMIT - left, "the aggregates are exact at once");
        child.go_on();
        assert_eq!(wait(child.pid), 0);
        assert_eq!((bed.in_flight(), bed.room(&worker, late)), (0, LIMIT));
    }
}

/// Stopped wherever it happens to be, the counts of the living are right while it is out, and all are once it is back.
fn who_wakes_up_in_the_middle_of_a_pick_harms_nobody() {
    let bed = Bed::anonymous();
    let worker = bed.join(0, NOW);
    let shared = common::process::shared_words(1);
    let mut child = Child::new(|next| {
        let own = bed.join(5 * SECOND, NOW);
        next();
        let word = &shared[0];
        while word.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            let mut open: Vec<_> = (0..3).map(|_| start(&own, 0, Method::Get, NOW)).collect();
            open.iter_mut().for_each(|r| assert!(r.pick(NOW).unwrap().is_some()));
            open.iter_mut().for_each(|r| drop(r.report(&ok(), NOW)));
        }
    });
    child.is_done();
    child.go_on();
    let mut now = NOW;
    for _ in 0..300 {
        let mut held = start(&worker, 0, Method::Get, now);
        held.pick(now).unwrap().unwrap();
        child.signal(libc::SIGSTOP);
        now += 6 * SECOND;
        worker.tick(now).unwrap();
        worker.tick(now + SECOND).unwrap();
        assert_eq!(bed.in_flight(), 1, "what the living hold");
        assert_eq!(bed.room(&worker, now), LIMIT - 1);
        child.signal(libc::SIGCONT);
        held.report(&ok(), now).unwrap();
    }
    shared[0].store(1, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(wait(child.pid), 0);
    now += 6 * SECOND;
    worker.tick(now).unwrap();
    assert_eq!((bed.in_flight(), bed.room(&worker, now)), (0, LIMIT));
}

fn who_dies_while_it_is_out_is_freed() {
    let bed = Bed::anonymous();
    let worker = bed.join(0, NOW);
    let mut child = Child::new(|next| {
        let own = bed.join(5 * SECOND, NOW);
        let mut request = start(&own, 0, Method::Get, NOW);
        request.pick(NOW).unwrap().unwrap();
        next();
    });
    child.is_done();
    child.signal(libc::SIGSTOP);
    worker.tick(NOW + 6 * SECOND).unwrap();
    // One of our own, which the lane that is cleared must not take with it.
    let mut held = start(&worker, 0, Method::Get, NOW);
    held.pick(NOW).unwrap().unwrap();
    child.signal(libc::SIGKILL);
    wait(child.pid);
    worker.tick(NOW + 7 * SECOND).unwrap();
    assert_eq!(bed.events(), [(OUT, 1), (RECLAIMED, 1)]);
    assert_eq!((bed.in_flight(), bed.room(&worker, NOW)), (1, LIMIT - 1));
    held.end(NOW);
    let others: Vec<_> = (0..3).map(|_| bed.join(0, NOW)).collect();
    assert_eq!(others.len(), 3, "its lane is free again");
}

/// Only damage brings it about: a tick says so, and a new lease can be had.
fn a_lease_that_is_gone_is_an_error() {
    let memory = common::process::shared_words(1 << 14);
    // SAFETY: the memory is never unmapped, and only this process uses it.
    let table = unsafe {
        let (place, size) = (memory.as_ptr().cast_mut().cast(), size_of_val(memory));
        Table::create_at(place, size, &Capacity::new(2, 8, 4, 256).unwrap(), NOW).unwrap()
    };
    let bed = Bed::new(table);
    let worker = bed.join(0, NOW);
    let lease = memory.iter().skip(32).step_by(8).find(|w| w.load(std::sync::atomic::Ordering::Relaxed) != 0).unwrap();
    lease.store(12345, std::sync::atomic::Ordering::Relaxed);
    let error = worker.tick(NOW + SECOND).unwrap_err();
    assert!(error.to_string().contains("lease is gone"), "{error}: {TIDEGATE_ERR_LEASE_LOST}");
    drop(worker);
    bed.join(0, NOW).tick(NOW + SECOND).unwrap();
}

/// The first process of a new PID namespace that this one makes, with a /proc of its own; or why there is none.
fn in_new_namespace(act: impl FnOnce()) -> i32 {
    fork(|| {
        // SAFETY: concerns this child and its children only.
        let apart = unsafe {
            libc::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS) == 0
                && libc::mount(
                    c"none".as_ptr(),
                    c"/".as_ptr(),
                    std::ptr::null(),
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ) == 0
        };
        if !apart {
            println!("no PID namespace can be made here: not tested");
            // SAFETY: ends this child at once.
            unsafe { libc::_exit(77) };
        }
        let status = wait(fork(|| {
            let proc = c"proc".as_ptr();
            // SAFETY: strings that end in NULs; this child's own mount namespace.
            let mounted = unsafe { libc::mount(proc, c"/proc".as_ptr(), proc, 0, std::ptr::null()) } == 0;
            assert!(mounted, "/proc of the new namespace");
            act();
        }));
        assert_eq!(status, 0, "in the namespace: see above");
    })
}

fn was_tested(pid: i32) {
    let status = wait(pid);
    assert!(status == 0 || libc::WEXITSTATUS(status) == 77, "status {status:#x}");
}

fn a_process_id_that_is_given_out_again() {
    let bed = Bed::anonymous();
    was_tested(in_new_namespace(|| {
        let worker = bed.join(0, NOW);
        let one_more = || {
            let mut child = Child::new(|next| {
                let own = bed.join(0, NOW);
                let mut request = start(&own, 0, Method::Get, NOW);
                request.pick(NOW).unwrap().unwrap();
                next();
            });
            child.is_done();
            child
        };
        let first = one_more();
        first.signal(libc::SIGKILL);
        wait(first.pid);
        // The same id, a clock tick later: the start time is told in hundredths of a second.
        let start_of = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let mut second = None;
        for round in 1..1000 {
            fs::write("/proc/sys/kernel/ns_last_pid", (first.pid - 1).to_string()).unwrap();
            // SAFETY: this process has one thread; the child only waits to be killed.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                loop {
                    // SAFETY: only waits.
                    unsafe { libc::pause() };
                }
            }
            assert_eq!(pid, first.pid, "the kernel gave out another id");
            second = Some(pid);
            worker.tick(NOW + round * SECOND).unwrap();
            if bed.in_flight() == 0 {
                break;
            }
            // Started within the same tick of the clock: again.
            // SAFETY: a child of ours.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            wait(pid);
            second = None;
        }
        let second = second.expect("a later process of the same id passes for the dead one");
        assert!(!start_of(&second.to_string()).is_empty());
        assert_eq!(bed.events(), [(RECLAIMED, 1)]);
        assert_eq!(bed.room(&worker, NOW), LIMIT);
        // SAFETY: a child of ours.
        unsafe { libc::kill(second, libc::SIGKILL) };
        wait(second);
    }));
}

fn two_pid_namespaces_on_one_table() {
    let dir = std::env::temp_dir().join(format!("tidegate-leases-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("table");
    let options = FileOptions { upstreams: 2, peers: 8, workers: 4, events: 256, replace: false };
    let bed = Bed::new(Table::open_file(&path, &options, NOW).unwrap());
    let worker = bed.join(0, NOW);
    let (mut orders, mut tell) = std::io::pipe().unwrap();
    let (mut hear, mut answers) = std::io::pipe().unwrap();
    let mut next = || {
        answers.write_all(b".").unwrap();
        orders.read_exact(&mut [0]).unwrap();
    };
    let other = in_new_namespace(|| {
        // Its id is 1 in its namespace, and somebody else's in ours.
        assert_eq!(std::process::id(), 1);
        let own = Arc::new(Table::open_file(&path, &options, NOW).unwrap());
        let worker = Worker::join(own.clone(), false, 1, NOW).unwrap();
        assert_eq!(own.event_after(0).map(|e| e.kind.number()), Some(6), "nobody was reclaimed by coming");
        let mut request = start(&worker, 0, Method::Get, NOW);
        request.pick(NOW).unwrap().unwrap();
        worker.tick(NOW + 3 * SECOND).unwrap();
        next();
        // Out meanwhile, though alive.
        request.report(&ok(), NOW + 20 * SECOND).unwrap();
        next();
        let mut request = start(&worker, 0, Method::Get, NOW);
        request.pick(NOW).unwrap().unwrap();
        next();
    });
    let mut done = || hear.read_exact(&mut [0]).is_ok();
    if !done() {
        return was_tested(other);
    }
    worker.tick(NOW + 12 * SECOND).unwrap();
    assert_eq!((bed.in_flight(), bed.events()), (1, vec![]), "silent for 9 s");
    worker.tick(NOW + 14 * SECOND).unwrap();
    assert_eq!((bed.in_flight(), bed.events()), (0, vec![(OUT, 1)]));
    tell.write_all(b".").unwrap();
    assert!(done());
    assert_eq!((bed.in_flight(), bed.events()), (0, vec![(OUT, 1), (BACK, 1)]));
    tell.write_all(b".").unwrap();
    assert!(done());
    assert_eq!((bed.in_flight(), bed.room(&worker, NOW)), (1, LIMIT - 1));
    // It ends; nobody here may conclude that from an id, so its lane stays its own and counts no more after a while.
    tell.write_all(b".").unwrap();
    was_tested(other);
    worker.tick(NOW + 29 * SECOND).unwrap();
    worker.tick(NOW + 31 * SECOND).unwrap();
    assert_eq!((bed.in_flight(), bed.room(&worker, NOW)), (0, LIMIT));
    fs::remove_dir_all(&dir).unwrap();
}
