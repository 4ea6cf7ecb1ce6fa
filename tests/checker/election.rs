//! Who checks: one checker for all, and the next one when it dies, falls silent or leaves.

use crate::bed::{Bed, address, http, wait};
use crate::common::SECOND;
use crate::common::process::{fork, shared_words, wait as wait_for};
use crate::server::{Server, ok};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::Ordering;
use tidegate::checker::CheckOptions;

pub fn a_silent_checker_is_succeeded() {
    let server = Server::start(ok());
    let mut bed = Bed::of(&[address(server.addr)]);
    let (mut first, mut second) = (bed.checker(&http()), bed.checker(&http()));
    bed.until(&mut first, "passes", |_, c| c.counts().passed > 0);
    assert_eq!(first.counts().elected, 1);
    // From here on the first is not driven: stopped, or starved.
    let from = bed.now;
    bed.until(&mut second, "takes over", |_, c| c.counts().elected == 2);
    assert!(bed.now - from <= 2 * SECOND, "{} ms", (bed.now - from) / 1_000_000);
    bed.until(&mut second, "checks", |_, c| c.counts().passed > 0);
    // It wakes up, finds itself succeeded, and neither checks nor says anything.
    let begun = first.counts().begun;
    bed.pass(&mut first, SECOND / 2);
    assert_eq!((first.counts().elected, first.counts().begun, first.counts().open), (0, begun, 0));
    // One that leaves is succeeded at the next look, four times an interval.
    second.stop();
    let from = bed.now;
    bed.until(&mut first, "takes over", |_, c| c.counts().elected == 3);
    assert!(bed.now - from <= SECOND / 4 + 1, "{} ms", (bed.now - from) / 1_000_000);
}

pub fn two_checkers_check_once() {
    let server = Server::start(ok());
    let mut bed = Bed::of(&[address(server.addr)]);
    let options = CheckOptions { ignore_traffic: true, ..http() };
    let (mut old, mut new) = (bed.checker(&options), bed.checker(&options));
    for _ in 0..40 {
        bed.pass(&mut old, SECOND / 10);
        new.run(bed.now).unwrap();
    }
    // A reload: the old one leaves while the new one is there.
    old.stop();
    bed.pass(&mut new, 4 * SECOND);
    wait("what was begun has come", || server.connections() == old.counts().begun + new.counts().begun);
    let checks = server.connections();
    // Eight seconds at an interval of one, with its jitter.
    assert!((6..=10).contains(&checks), "{checks} checks in 8 s: {:?} {:?}", old.counts(), new.counts());
}

pub fn a_killed_checker_is_succeeded() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let bed = Bed::of(&[address(listener.local_addr().unwrap())]);
    let options = CheckOptions { interval_ns: SECOND / 5, ..http() };
    let words = shared_words(1);
    let child = fork(|| {
        let mut checker = bed.checker(&options);
        checker.start().unwrap();
        loop {
            words[0].store(checker.counts().passed, Ordering::Release);
            std::thread::yield_now();
        }
    });
    let server = Server::on(listener, ok());
    wait("the child checks", || words[0].load(Ordering::Acquire) >= 2);
    let mut checker = bed.checker(&options);
    checker.start().unwrap();
    wait("it is asked for", || server.connections() >= 3);
    assert_eq!(checker.counts().elected, 0, "the child lives");
    // SAFETY: signals a child of ours that has not been waited for.
    unsafe { libc::kill(child, libc::SIGKILL) };
    wait("taken over", || checker.counts().elected == 2);
    wait("checks go on", || checker.counts().passed >= 2);
    assert_eq!(bed.down(), 0);
    checker.stop();
    assert_eq!(wait_for(child), libc::SIGKILL);
}

pub fn a_checker_from_before_a_fork_is_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let bed = Bed::of(&[address(listener.local_addr().unwrap())]);
    let mut checker = bed.checker(&CheckOptions { kind: tidegate::checker::Kind::Tcp, path: b"", ..http() });
    checker.run(bed.now).unwrap();
    assert_eq!(checker.counts().elected, 1);
    let child = fork(|| {
        assert!(checker.run(bed.now).is_err());
        assert!(checker.descriptor().is_err());
        // Lets go of the copy; the parent stays elected.
        checker.stop();
    });
    assert_eq!(wait_for(child), 0);
    let mut other = bed.checker(&http());
    other.run(bed.now).unwrap();
    assert_eq!(other.counts().elected, 0, "the parent holds the watch");
}

pub fn a_thread_blocks_every_signal_and_ends() {
    let server = Server::start(ok());
    let bed = Bed::of(&[address(server.addr)]);
    let mut checker = bed.checker(&http());
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let of = |name: &str, path: std::path::PathBuf| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        tasks
            .filter(|t| of("comm", t.path()).trim() == "tidegate-check")
            .map(|t| of("status", t.path()))
            .collect::<Vec<_>>()
    };
    let before = threads().len();
    checker.start().unwrap();
    assert!(checker.start().is_err() && checker.run(bed.now).is_err() && checker.set(bed.upstream, None).is_err());
    wait("elected", || checker.counts().elected == 1);
    let status = threads().pop().unwrap();
    let blocked = status.lines().find_map(|l| l.strip_prefix("SigBlk:")).unwrap().trim();
    let mask = u64::from_str_radix(blocked, 16).unwrap();
    // All that can be blocked: not KILL and STOP, and the two that the C library keeps for itself.
    for signal in [libc::SIGHUP, libc::SIGTERM, libc::SIGUSR1, libc::SIGCHLD, libc::SIGPIPE, libc::SIGALRM, 64] {
        assert_ne!(mask & 1 << (signal - 1), 0, "signal {signal}: {blocked}");
    }
    checker.stop();
    assert_eq!(threads().len(), before);
    assert_eq!(checker.counts().elected, 0);
    checker.start().unwrap();
    wait("elected again", || checker.counts().elected == 2);
}
