//! What checks say beside live traffic and persons, and what they send.

use crate::bed::{Bed, FAST, address, http, specs};
use crate::common::{SECOND, failed, ok as good, start};
use crate::server::{Answer, OK, Server, ok};
use tidegate::cause::Cause;
use tidegate::checker::CheckOptions;
use tidegate::failover::Worker;
use tidegate::http::Method;
use tidegate::table::{Health, Policy};

pub fn what_is_sent() {
    let server = Server::start(Answer::KeepAlive(OK.to_vec()));
    let mut bed = Bed::of(&[address(server.addr)]);
    let source = address("127.0.0.9:0".parse().unwrap());
    let mut checker = bed.checker(&CheckOptions {
        proxy_v2: true,
        keep_alive: true,
        source: source.as_bytes(),
        method: b"GET",
        path: b"/ready?full",
        host: b"app.example",
        headers: b"X-Check: yes\r\n",
        body: b"up",
        field: b"Content-Type: text",
        ..http()
    });
    bed.until(&mut checker, "passes", |_, c| c.counts().passed >= 3);
    assert_eq!(checker.counts().failed, 0);
    let heard = server.heard.lock().unwrap();
    assert_eq!(heard.len(), 1, "one connection for all");
    let (from, bytes) = &heard[0];
    assert_eq!(from.ip().to_string(), "127.0.0.9");
    let request =
        b"GET /ready?full HTTP/1.1\r\nHost: app.example\r\nUser-Agent: tidegate-check\r\nX-Check: yes\r\n\r\n";
    let preface = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    assert!(bytes.starts_with(&[&preface[..], request, request].concat()), "{:?}", bytes.escape_ascii().to_string());
}

pub fn a_green_check_never_ends_an_ejection() {
    let servers = [Server::start(ok()), Server::start(ok())];
    let mut bed = Bed::of(&servers.each_ref().map(|s| address(s.addr)));
    let worker = Worker::join(bed.table.clone(), false, 1, bed.now).unwrap();
    let mut checker = bed.checker(&http());
    bed.until(&mut checker, "passes", |_, c| c.counts().passed >= 2);
    let mut request = start(&worker, bed.upstream.number(), Method::Get, bed.now);
    let picked = request.pick(bed.now).unwrap().unwrap();
    request.report(&failed(Cause::CONNECTION_REFUSED), bed.now).unwrap();
    assert_eq!(bed.view(picked.peer).health, Health::Ejected);
    let passed = checker.counts().passed;
    bed.until(&mut checker, "passes", |_, c| c.counts().passed >= passed + 6);
    let view = bed.view(picked.peer);
    assert_eq!((view.health, view.down), (Health::Ejected, false));
    assert!(bed.events(3).is_empty(), "only trials by traffic end it");
}

/// The page that is asked for is broken on every peer, the service is not.
pub fn all_down_still_serves() {
    let broken = Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
    let servers = [Server::start(broken.clone()), Server::start(broken)];
    let mut bed = Bed::of(&servers.each_ref().map(|s| address(s.addr)));
    let worker = Worker::join(bed.table.clone(), false, 1, bed.now).unwrap();
    let mut checker = bed.checker(&http());
    bed.until(&mut checker, "all down", |bed, _| bed.down() == 2);
    let mut served = 0;
    for _ in 0..10 {
        let mut request = start(&worker, bed.upstream.number(), Method::Get, bed.now);
        if request.pick(bed.now).unwrap().is_some() {
            request.report(&good(), bed.now).unwrap();
            served += 1;
        }
    }
    assert_eq!(served, 10, "one success brings a peer back");
    assert!(bed.down() < 2 && !bed.events(21).is_empty());
}

pub fn all_down_panics_as_configured() {
    let mut bed = Bed::with(
        &[1, 2].map(|port| address(([127, 0, 0, 1], port).into())),
        Policy { panic_percent: 50, ..Policy::default() },
    );
    let worker = Worker::join(bed.table.clone(), false, 1, bed.now).unwrap();
    let mut checker = bed.checker(&CheckOptions { kind: tidegate::checker::Kind::Tcp, path: b"", ..http() });
    bed.until(&mut checker, "all down", |bed, _| bed.down() == 2);
    for _ in 0..10 {
        let mut request = start(&worker, bed.upstream.number(), Method::Get, bed.now);
        assert!(request.pick(bed.now).unwrap().is_some());
        request.report(&good(), bed.now).unwrap();
    }
    assert_eq!(bed.down(), 2, "panic ignores what checks say and changes nothing of it");
}

pub fn traffic_moves_checks() {
    let servers = [Server::start(ok()), Server::start(ok())];
    let mut bed = Bed::of(&servers.each_ref().map(|s| address(s.addr)));
    let worker = Worker::join(bed.table.clone(), false, 1, bed.now).unwrap();
    let mut checker = bed.checker(&CheckOptions { interval_ns: 10 * SECOND, ..http() });
    bed.until(&mut checker, "passes", |_, c| c.counts().passed >= 2);
    // Ten intervals with good answers in each: two of three checks are put off.
    let begun = checker.counts().begun;
    for _ in 0..100 {
        for _ in 0..4 {
            let mut request = start(&worker, bed.upstream.number(), Method::Get, bed.now);
            request.pick(bed.now).unwrap().unwrap();
            request.report(&good(), bed.now).unwrap();
        }
        bed.pass(&mut checker, SECOND);
    }
    let counts = checker.counts();
    let made = counts.begun - begun;
    assert!((4..=10).contains(&made) && counts.put_off >= 2 * (made - 2), "{made} of 20: {counts:?}");
    // A failure is looked into at once.
    let mut request = start(&worker, bed.upstream.number(), Method::Get, bed.now);
    request.pick(bed.now).unwrap().unwrap();
    request.report(&failed(Cause::HTTP_RESPONSE_TIMEOUT), bed.now).unwrap();
    let (passed, from) = (checker.counts().passed, bed.now);
    bed.until(&mut checker, "checked", |_, c| c.counts().hurried == 1 && c.counts().passed > passed);
    assert!(bed.now - from <= 10 * SECOND / 4 + 10 * FAST, "{} ms", (bed.now - from) / 1_000_000);
}

pub fn lists_change_under_checks() {
    let servers: Vec<_> = (0..3).map(|_| Server::start(Answer::Hang(vec![]))).collect();
    let addresses: Vec<_> = servers.iter().map(|s| address(s.addr)).collect();
    let mut bed = Bed::of(&addresses[..2]);
    let mut checker = bed.checker(&CheckOptions { fall: 1, ..http() });
    bed.until(&mut checker, "under way", |_, c| c.counts().open == 2);
    // Both go while they are being checked, and another comes into what they leave.
    bed.peers = bed.table.set_peers(bed.upstream, &specs(&addresses[2..]), bed.now).unwrap();
    servers[2].set(ok());
    bed.until(&mut checker, "the new one passes", |_, c| c.counts().passed >= 3 && c.counts().open == 0);
    assert_eq!((checker.counts().failed, bed.down(), bed.events(20).len()), (0, 0, 0));
}

pub fn a_host_may_check_by_itself() {
    use tidegate::ffi::upstream::tidegate_peer_set_down;
    let bed = Bed::of(&[1, 2].map(|port| address(([127, 0, 0, 1], port).into())));
    let table = std::sync::Arc::as_ptr(&bed.table).cast();
    let peer = bed.peers[0];
    // SAFETY: a handle of the ABI is such a pointer.
    let set = |down: u32| unsafe { tidegate_peer_set_down(table, peer.number(), down, bed.now) };
    assert_eq!((set(1), set(1), set(2)), (0, 0, -2));
    assert!(bed.view(peer).down);
    let worker = Worker::join(bed.table.clone(), false, 1, bed.now).unwrap();
    for _ in 0..8 {
        let mut request = start(&worker, bed.upstream.number(), Method::Get, bed.now);
        assert_ne!(request.pick(bed.now).unwrap().unwrap().peer, peer, "down is not eligible");
        request.report(&good(), bed.now).unwrap();
    }
    assert_eq!(set(0), 0);
    assert_eq!((bed.events(20).len(), bed.events(21).len()), (1, 1));
}
