//! Peers that fail fast or hang in a real nginx: how many requests meet them.

use std::time::Duration;

use serde_json::Value;
use tidegate_testbed::process::wait_until;
use tidegate_testbed::{Behaviour, Nginx};

use crate::bed::{Bed, exchange, load, need_nginx, peers, status};

const LIMIT: Duration = Duration::from_secs(60);

/// The peer of the bed's backend on the status page.
fn peer(bed: &Bed, nginx: &Nginx, backend: usize) -> Value {
    let (status, address) = (status(nginx), bed.backends[backend].addr().to_string());
    peers(&status).into_iter().find(|p| p["address"] == address.as_str()).expect("listed").clone()
}

/// The second peer takes to this; of the `answers` that come when `skipped` have come since, how many went to it.
fn met(arguments: &str, behaviour: Behaviour, skipped: u64, answers: u64) -> (u64, u64) {
    let mut bed = Bed::new(4, arguments);
    let nginx = bed.nginx();
    let mut load = load(&nginx);
    (load.duration, load.post_percent) = (Duration::from_secs(60), 0);
    let running = load.start();
    let first = running.next_interval();
    assert!(wait_until(LIMIT, || running.report(first).done() > 600));
    bed.backends[1].set(behaviour).unwrap();
    let all_before = bed.requests();
    assert!(wait_until(LIMIT, || bed.requests() - all_before >= skipped));
    let (before, all_before) = (peer(&bed, &nginx, 1)["picks"].as_u64().unwrap(), bed.requests());
    assert!(wait_until(LIMIT, || bed.requests() - all_before > answers));
    let after = peer(&bed, &nginx, 1);
    let seen = (after["picks"].as_u64().unwrap() - before, bed.requests() - all_before);
    // Others may send it so little that nobody need eject it.
    if arguments == "round_robin" {
        assert!(after["ejected_by"].is_array(), "{after}");
    }
    drop(running);
    nginx.assert_clean_log();
    seen
}

/// After the first second, at 300 requests a second.
#[test]
fn a_peer_that_answers_502_at_once_gets_under_one_percent() {
    need_nginx!();
    for selector in ["round_robin", "least_request", "peak_ewma"] {
        let (met, all) = met(selector, Behaviour::Status { code: 502, percent: 100 }, 300, 1500);
        println!("{selector}: {met} of {all}");
        assert!(met * 100 < all, "{selector}: {met} of {all} requests met it");
    }
}

/// 300 requests and the time-out of 2 s behind them: without the detector 75 would hang.
#[test]
fn few_requests_meet_a_peer_that_hangs() {
    need_nginx!();
    for selector in ["round_robin", "least_request", "peak_ewma"] {
        let (met, all) = met(selector, Behaviour::Hang, 0, 300);
        println!("{selector}: {met} of {all}");
        assert!(met <= 20, "{selector}: {met} of {all} requests met it");
    }
}

#[test]
fn judging_only_tells_and_ejects_nobody() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin; tidegate_health eject=off");
    let nginx = bed.nginx();
    bed.backends[0].set(Behaviour::Status { code: 502, percent: 100 }).unwrap();
    for _ in 0..40 {
        assert_eq!(exchange(&nginx, &tidegate_testbed::Request::get("/x")).status, 200);
    }
    let judged = peer(&bed, &nginx, 0);
    assert_eq!(judged["health"], "healthy", "{judged}");
    assert!(judged["picks"].as_u64().unwrap() >= 20, "{judged}");
    nginx.assert_clean_log();
}
