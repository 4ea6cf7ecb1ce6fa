//! Every refused row of the catalogue, through the proxy and judged from the raw bytes on the client's wire.

use super::*;
use tidegate_testbed::cases::{Case, cases};
use tidegate_testbed::raw::{self, Seen};

/// Held for long enough that a busy machine lets nothing go early; a stall is over before.
const ARGUMENTS: [&str; 8] =
    ["--hold-ms", "20000", "--read-timeout-ms", "1000", "--eject-base-ms", "1", "--eject-rate-percent", "100"];

/// The proxy opens no tunnels: a request that asks for one never comes to a peer.
fn refused() -> impl Iterator<Item = Case> {
    cases().into_iter().filter(|case| case.rejected && case.upgrade.is_empty() && case.method != "CONNECT")
}

fn ask(bed: &Bed, case: &Case) -> (Request, Seen) {
    let request = Request::get("/wire").method(&case.method).id(&case.id).field("Connection", "close");
    let raw = raw::exchange(bed.proxy.addr(), &request.to_bytes(bed.proxy.addr()), LIMIT).unwrap();
    let seen = raw.judge(&case.method);
    (request, seen)
}

#[test]
fn every_refused_response_fails_over() {
    let mut bed = Bed::new(2, &ARGUMENTS);
    for case in refused() {
        bed.backends[0].set(case.behaviour()).unwrap();
        let before = bed.backends[0].requests();
        // Round robin of one worker: one of two comes to it.
        for _ in 0..2 {
            let (request, seen) = ask(&bed, &case);
            let Seen::Whole { status: 200, head, body } = seen else { panic!("{}: {seen:?}", case.id) };
            assert!(head.contains("X-Backend: b1\r\n"), "{}: {head}", case.id);
            if case.method == "GET" {
                let text = String::from_utf8_lossy(&body).into_owned();
                assert!(text.starts_with("backend=b1\n") && text.contains(&format!("path={}\n", request.path)));
            }
        }
        assert!(bed.backends[0].requests() > before, "{}: the bad peer was not asked", case.id);
        recover(&mut bed);
    }
    bed.end();
}

#[test]
fn where_every_peer_answers_so_the_gateway_does() {
    let mut bed = Bed::new(2, &ARGUMENTS);
    for case in refused() {
        bed.backends.iter_mut().for_each(|b| b.set(case.behaviour()).unwrap());
        let (_, seen) = ask(&bed, &case);
        let Seen::Whole { status, head, body } = seen else { panic!("{}: {seen:?}", case.id) };
        assert!(status == 502 || status == 504, "{}: {status} {head}", case.id);
        assert!(head.contains("Proxy-Status: tidegate;error="), "{}: {head}", case.id);
        assert_eq!(body.is_empty(), case.method == "HEAD", "{}", case.id);
        assert!(!String::from_utf8_lossy(&body).contains("hello"), "{}", case.id);
        recover(&mut bed);
    }
    bed.end();
}

/// A success ends a peer's row of failures: it stays in the rotation, or on a slow machine comes back by a trial.
fn recover(bed: &mut Bed) {
    bed.backends.iter_mut().for_each(|b| b.set(Behaviour::Ok).unwrap());
    let before: Vec<u64> = bed.backends.iter().map(Backend::requests).collect();
    let all_are_back = tidegate_testbed::process::wait_until(LIMIT, || {
        bed.echoed(&Request::get("/recover"));
        bed.backends.iter().zip(&before).all(|(b, &before)| b.requests() != before)
    });
    assert!(all_are_back, "a peer is out");
}
