//! Every refused row of the catalogue, through nginx and judged from the raw bytes on the client's wire: another peer's
//! answer, or the gateway's own; never theirs.

use std::time::Duration;

use tidegate_testbed::cases::{Case, cases};
use tidegate_testbed::raw::{self, Seen};
use tidegate_testbed::{Behaviour, Nginx, Request};

use crate::bed::{Bed, get, need_nginx};

/// Held for long enough that a busy machine lets nothing go early; a stall is over before.
const TIDEGATE: &str =
    "round_robin fails=31 budget=off eject=1ms; tidegate_hold_back 64k 20s; tidegate_health without=rate";

/// Buffered and not, and with the client's Upgrade passed on.
fn bed(backends: usize) -> Bed {
    Bed::new(backends, TIDEGATE).server(
        "proxy_read_timeout 1s;
         location /unbuffered { proxy_pass http://app; proxy_buffering off; }
         location /upgrade {
             proxy_pass http://app;
             proxy_set_header Upgrade $http_upgrade;
             proxy_set_header Connection upgrade;
         }",
    )
}

fn paths(case: &Case) -> &'static [&'static str] {
    if case.upgrade.is_empty() { &["/buffered", "/unbuffered"] } else { &["/upgrade"] }
}

fn request(case: &Case, path: &str) -> Request {
    let request = Request::get(path).method(&case.method).id(&case.id);
    if case.upgrade.is_empty() {
        request.field("Connection", "close")
    } else {
        request.field("Connection", "upgrade, close").field("Upgrade", &case.upgrade)
    }
}

fn ask(nginx: &Nginx, case: &Case, path: &str) -> (Request, Seen) {
    let request = request(case, path);
    let raw = raw::exchange(nginx.addr(), &request.to_bytes(nginx.addr()), LIMIT).unwrap();
    let seen = raw.judge(&case.method);
    (request, seen)
}

/// nginx opens no tunnels for CONNECT, so no peer sees it.
fn refused() -> Vec<Case> {
    let refused: Vec<_> =
        cases().into_iter().filter(|case| case.rejected && case.method != "CONNECT" && !is_long(case)).collect();
    println!("{} refused rows", refused.len());
    refused
}

/// Whether its body shows its fault behind what is held back.
fn is_long(case: &Case) -> bool {
    let head = case.bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(case.bytes.len());
    case.bytes.len() - head > 65_536
}

#[test]
fn a_fault_behind_the_hold_back_is_a_visible_cut_or_a_clean_answer() {
    need_nginx!();
    let mut bed = bed(2);
    let nginx = bed.nginx();
    let long: Vec<_> = cases().into_iter().filter(|case| case.rejected && is_long(case)).collect();
    assert!(!long.is_empty());
    for case in long {
        for path in paths(&case) {
            bed.set_all(&case.behaviour());
            let (_, seen) = ask(&nginx, &case, path);
            let clean = matches!(seen, Seen::Cut | Seen::Whole { status: 502, .. });
            assert!(clean, "{} {path}: {seen:?}\n{}", case.id, nginx.log());
            // Both peers answer rightly again, or their failures would add up to an ejection.
            bed.set_all(&Behaviour::Ok);
            for _ in 0..4 {
                get(&nginx, "/recover");
            }
        }
    }
    nginx.assert_clean_log();
}

#[test]
fn every_refused_response_fails_over() {
    need_nginx!();
    let mut bed = bed(2);
    let nginx = bed.nginx();
    for case in refused() {
        for path in paths(&case) {
            bed.backends[0].set(case.behaviour()).unwrap();
            let before = bed.backends[0].requests();
            // Round robin over two workers: some request comes to it within a few.
            for _ in 0..MANY {
                let (request, seen) = ask(&nginx, &case, path);
                let Seen::Whole { status: 200, head, body } = seen else {
                    panic!("{} {path}: {seen:?}\n{}", case.id, nginx.log());
                };
                assert!(head.contains("X-Backend: b1\r\n"), "{} {path}: {head}", case.id);
                if case.method == "GET" {
                    let text = String::from_utf8_lossy(&body).into_owned();
                    assert!(text.starts_with("backend=b1\n") && text.contains(&format!("path={}\n", request.path)));
                }
                if bed.backends[0].requests() > before {
                    break;
                }
            }
            assert!(bed.backends[0].requests() > before, "{} {path}: the bad peer was not asked", case.id);
            recover(&mut bed, &nginx);
        }
    }
    nginx.assert_clean_log();
}

/// A success ends a peer's row of failures: it stays in the rotation.
fn recover(bed: &mut Bed, nginx: &Nginx) {
    bed.backends[0].set(Behaviour::Ok).unwrap();
    let before = bed.backends[0].requests();
    for _ in 0..MANY {
        get(nginx, "/recover");
        if bed.backends[0].requests() > before {
            return;
        }
    }
    panic!("the peer is out:\n{}", nginx.log());
}

#[test]
fn where_every_peer_answers_so_the_gateway_does() {
    need_nginx!();
    let mut bed = bed(2);
    let nginx = bed.nginx();
    for case in refused() {
        for path in paths(&case) {
            bed.set_all(&case.behaviour());
            let (_, seen) = ask(&nginx, &case, path);
            let Seen::Whole { status, head, body } = seen else {
                panic!("{} {path}: {seen:?}\n{}", case.id, nginx.log());
            };
            assert!(status == 502 || status == 504, "{} {path}: {status} {head}", case.id);
            assert!(head.contains("Proxy-Status: tidegate;error="), "{} {path}: {head}", case.id);
            assert_eq!(body.is_empty(), case.method == "HEAD", "{} {path}", case.id);
            assert!(!String::from_utf8_lossy(&body).contains("hello"), "{} {path}", case.id);
            // Both peers answer rightly again, or their failures would add up to an ejection.
            bed.set_all(&Behaviour::Ok);
            for _ in 0..4 {
                get(&nginx, "/recover");
            }
        }
    }
    nginx.assert_clean_log();
}

/// Requests until one comes to a certain peer of two.
const MANY: usize = 12;
const LIMIT: Duration = Duration::from_secs(20);
