//! Faults of peers, of the network and of this machine, as checks see them.

use crate::bed::{Bed, FAST, address, http, unix};
use crate::common::process::{fork, wait as wait_for};
use crate::common::{MS, SECOND};
use crate::server::{Answer, OK, Server, ok};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use tidegate::cause::Cause;
use tidegate::checker::{CheckOptions, Kind};

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// Each in turn on one peer: fine, then `fall` checks of it and down, then fine again, `rise` and up.
pub fn every_fault_takes_a_peer_down() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let faults: Vec<(&str, Answer, &[Cause])> = vec![
        ("reset at accept", Answer::Reset, &[Cause::CONNECTION_TERMINATED]),
        ("reset after the request", Answer::ThenReset(vec![]), &[Cause::CONNECTION_TERMINATED]),
        ("closed without a byte", Answer::Bytes(vec![]), &[Cause::CONNECTION_TERMINATED]),
        (
            "reset in the head",
            Answer::ThenReset(bytes("HTTP/1.1 200 OK\r\nConte")),
            &[Cause::HTTP_RESPONSE_INCOMPLETE, Cause::CONNECTION_TERMINATED],
        ),
        (
            "reset in the body",
            Answer::ThenReset(bytes(head)),
            &[Cause::HTTP_RESPONSE_INCOMPLETE, Cause::CONNECTION_TERMINATED],
        ),
        ("closed in the body", Answer::Bytes(bytes(&format!("{head}abc"))), &[Cause::HTTP_RESPONSE_INCOMPLETE]),
        ("no answer", Answer::Hang(vec![]), &[Cause::HTTP_RESPONSE_TIMEOUT, Cause::CONNECTION_READ_TIMEOUT]),
        ("a stall after the head", Answer::Hang(bytes(head)), &[Cause::HTTP_RESPONSE_TIMEOUT]),
        (
            "a byte at a time",
            Answer::Trickle(vec![b'H'; 100_000]),
            &[Cause::HTTP_RESPONSE_TIMEOUT, Cause::HTTP_PROTOCOL_ERROR],
        ),
        ("no HTTP", Answer::Bytes(bytes("SSH-2.0-OpenSSH_9.2\r\n")), &[Cause::HTTP_PROTOCOL_ERROR]),
        (
            "a broken chunk",
            Answer::Bytes(bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")),
            &[Cause::HTTP_RESPONSE_TRANSFER_CODING],
        ),
        (
            "interim responses without end",
            Answer::Bytes("HTTP/1.1 100 Continue\r\n\r\n".repeat(1000).into()),
            &[Cause::HTTP_RESPONSE_HEADER_SECTION_SIZE],
        ),
        (
            "a redirect",
            Answer::Bytes(bytes("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n")),
            &[Cause::UPSTREAM_STATUS],
        ),
        (
            "503",
            Answer::Bytes(bytes("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")),
            &[Cause::UPSTREAM_STATUS],
        ),
        (
            "500 in a millisecond",
            Answer::Bytes(bytes("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")),
            &[Cause::UPSTREAM_STATUS],
        ),
    ];
    let server = Server::start(ok());
    let mut bed = Bed::of(&[address(server.addr)]);
    let mut checker =
        bed.checker(&CheckOptions { fall: 2, rise: 1, timeout_ns: SECOND, fast_interval_ns: 100 * MS, ..http() });
    for (what, answer, causes) in faults {
        let passed = checker.counts().passed;
        bed.until(&mut checker, what, |_, c| c.counts().passed > passed);
        server.set(answer);
        let failed = checker.counts().failed;
        bed.until(&mut checker, what, |bed, _| bed.down() == 1);
        assert_eq!(checker.counts().failed - failed, 2, "{what}: `fall` failures");
        let event = bed.events(20).pop().unwrap();
        assert!(causes.contains(&event.cause), "{what}: {:?}", event.cause);
        if event.cause == Cause::UPSTREAM_STATUS {
            assert!([302, 500, 503].contains(&event.value), "{what}: {}", event.value);
        }
        server.set(ok());
        bed.until(&mut checker, what, |bed, _| bed.down() == 0);
    }
    assert_eq!(bed.events(20).len(), bed.events(21).len());
}

pub fn what_a_healthy_peer_may_do() {
    let mut endless = bytes("HTTP/1.1 200 OK\r\n\r\n");
    endless.resize(1 << 20, b'x');
    let answers = vec![
        ("a reset behind the end", Answer::ThenReset(OK.to_vec())),
        ("a body far beyond the cap", Answer::Bytes(endless)),
        ("interim responses", Answer::Bytes([b"HTTP/1.1 103 Early Hints\r\n\r\n", OK].concat())),
        ("a stall behind the end", Answer::Hang(OK.to_vec())),
        ("no body", Answer::Bytes(bytes("HTTP/1.1 204 No Content\r\n\r\n"))),
    ];
    let server = Server::start(ok());
    let mut bed = Bed::of(&[address(server.addr)]);
    let mut checker = bed.checker(&CheckOptions { fall: 1, ..http() });
    for (what, answer) in answers {
        server.set(answer);
        // Twice: the first of them may have begun before.
        let passed = checker.counts().passed;
        bed.until(&mut checker, what, |_, c| c.counts().passed >= passed + 2);
        assert_eq!((checker.counts().failed, bed.down()), (0, 0), "{what}");
    }
}

pub fn flapping_changes_state_by_rise_and_fall() {
    let mut server = Server::start(ok());
    let addr = server.addr;
    let mut bed = Bed::of(&[address(addr)]);
    let mut checker = bed.checker(&CheckOptions { kind: Kind::Tcp, path: b"", ..http() });
    bed.until(&mut checker, "passes", |_, c| c.counts().passed >= 2);
    for _ in 0..2 {
        server.stop();
        let (failed, from) = (checker.counts().failed, bed.now);
        bed.until(&mut checker, "two failures", |_, c| c.counts().failed == failed + 2);
        assert_eq!(bed.down(), 0, "below `fall` nothing changes");
        bed.until(&mut checker, "down", |bed, _| bed.down() == 1);
        // One interval at the most to the first, then the fast ones.
        assert!(bed.now - from <= SECOND * 17 / 16 + 3 * FAST, "{} ms", (bed.now - from) / MS);
        assert_eq!(bed.events(20).pop().unwrap().cause, Cause::CONNECTION_REFUSED);
        // One that passes between two that fail begins anew.
        server = Server::at(addr, ok());
        let passed = checker.counts().passed;
        bed.until(&mut checker, "one passes", |_, c| c.counts().passed == passed + 1);
        assert_eq!(bed.down(), 1, "below `rise` nothing changes");
        bed.until(&mut checker, "up", |bed, _| bed.down() == 0);
    }
    assert_eq!((bed.events(20).len(), bed.events(21).len()), (2, 2));
}

pub fn no_descriptors_charge_nobody() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let child = fork(|| {
        let mut bed = Bed::of(&[address(addr)]);
        let mut checker = bed.checker(&CheckOptions { kind: Kind::Tcp, path: b"", fall: 1, ..http() });
        bed.until(&mut checker, "passes", |_, c| c.counts().passed > 0);
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the struct lives through the calls; this process is the test's own.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
        let none = libc::rlimit { rlim_cur: 3, ..limit };
        // SAFETY: as above.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &none) };
        bed.until(&mut checker, "local faults", |_, c| c.counts().local >= 5);
        assert_eq!((checker.counts().failed, bed.down()), (0, 0));
        // SAFETY: as above.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
        let passed = checker.counts().passed;
        bed.until(&mut checker, "passes again", |_, c| c.counts().passed > passed);
    });
    assert_eq!(wait_for(child), 0);
}

pub fn an_address_that_is_not_ours_charges_nobody() {
    let server = Server::start(ok());
    let mut bed = Bed::of(&[address(server.addr)]);
    let foreign = address("192.0.2.1:0".parse().unwrap());
    let mut checker = bed.checker(&CheckOptions { source: foreign.as_bytes(), fall: 1, ..http() });
    bed.until(&mut checker, "local faults", |_, c| c.counts().local >= 5);
    assert_eq!((checker.counts().failed, bed.down(), server.connections()), (0, 0, 0));
}

/// A loop that stood still, or a machine that slept, must not take all peers down.
pub fn late_is_not_failed() {
    let servers: Vec<_> = (0..8).map(|_| Server::start(Answer::Hang(vec![]))).collect();
    let mut bed = Bed::of(&servers.iter().map(|s| address(s.addr)).collect::<Vec<_>>());
    let mut checker = bed.checker(&CheckOptions { fall: 1, timeout_ns: 10 * SECOND, ..http() });
    bed.until(&mut checker, "all under way", |_, c| c.counts().open == 8);
    // Nothing ran for a minute: every deadline is over, and nobody read what the peers sent.
    bed.now += 60 * SECOND;
    checker.run(bed.now).unwrap();
    let counts = checker.counts();
    assert_eq!((counts.void, counts.failed, bed.down()), (8, 0, 0), "{counts:?}");
    // And what fell due meanwhile comes spread over an interval, not at once.
    servers.iter().for_each(|s| s.set(ok()));
    bed.until(&mut checker, "checked anew", |_, c| c.counts().passed >= 8);
    assert_eq!(bed.down(), 0);
}

pub fn an_idle_connection_closed_is_no_failure() {
    // Says that it keeps the connection, and closes it.
    let server = Server::start(ok());
    let mut bed = Bed::of(&[address(server.addr)]);
    let mut checker = bed.checker(&CheckOptions { keep_alive: true, fall: 1, ..http() });
    bed.until(&mut checker, "passes", |_, c| c.counts().passed >= 20);
    assert_eq!((checker.counts().failed, bed.down()), (0, 0));
    assert!(server.connections() >= 20);
}

pub fn two_thousand_peers_at_once() {
    let server = Server::at((Ipv4Addr::UNSPECIFIED, 0).into(), ok());
    let port = server.addr.port();
    let peer = |i: u32| address((Ipv4Addr::from(0x7f01_0000 + i), port).into());
    let mut bed = Bed::of(&(0..2000).map(peer).collect::<Vec<_>>());
    let mut checker =
        bed.checker(&CheckOptions { kind: Kind::Tcp, path: b"", fall: 1, timeout_ns: 20 * SECOND, ..http() });
    let mut most = 0;
    bed.until(&mut checker, "all checked", |_, c| {
        most = most.max(c.counts().open);
        c.counts().passed >= 4000
    });
    let counts = checker.counts();
    assert_eq!((counts.failed, counts.local, bed.down()), (0, 0, 0), "{counts:?}");
    assert!(most <= 256, "{most} at once");
}

pub fn unix_sockets_and_their_stale_paths() {
    let scratch = tidegate_testbed::scratch::Scratch::new("checker");
    let path = scratch.path().join("app.sock");
    let named = UnixListener::bind(&path).unwrap();
    let name = format!("tidegate-checker-{}", std::process::id());
    let abstract_ = UnixListener::bind_addr(&UnixAddr::from_abstract_name(&name).unwrap()).unwrap();
    let stale = scratch.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    let text = |path: &std::path::Path| [path.as_os_str().as_encoded_bytes(), b"\0"].concat();
    let missing = scratch.path().join("missing.sock");
    let addresses =
        [unix(&text(&path)), unix(&[b"\0", name.as_bytes()].concat()), unix(&text(&stale)), unix(&text(&missing))];
    let mut bed = Bed::of(&addresses);
    let mut checker = bed.checker(&CheckOptions { kind: Kind::Tcp, path: b"", ..http() });
    bed.until(&mut checker, "judged", |bed, c| bed.down() == 2 && c.counts().passed >= 2);
    let down: Vec<_> = bed.peers.iter().map(|&p| bed.view(p).down).collect();
    assert_eq!(down, [false, false, true, true]);
    drop((named, abstract_));
}
