//! `tidegate_check`: a dead peer is found without a request, one worker checks for all, and a reload doubles nothing.

use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_testbed::nginx::nginx_test;
use tidegate_testbed::process::wait_until;
use tidegate_testbed::{Backend, Behaviour, Config, Nginx};

use crate::bed::{Bed, get, need_nginx, peers, status};

const LIMIT: Duration = Duration::from_secs(30);

/// The bed with a check in its upstream.
fn with_check(bed: &Bed, check: &str) -> Config {
    let mut config = bed.config.clone();
    assert!(config.http.contains("tidegate round_robin;"));
    config.http = config.http.replace("tidegate round_robin;", &format!("tidegate round_robin; {check}"));
    config
}

fn down(nginx: &Nginx) -> usize {
    peers(&status(nginx)).iter().filter(|p| p["down"] == true).count()
}

fn checker(nginx: &Nginx) -> (u64, u64) {
    let status = status(nginx);
    let of = |key: &str| status["checker"].get(key).and_then(Value::as_u64).unwrap_or(0);
    (of("tenure"), of("pid"))
}

/// How many threads of checks a process has.
fn threads(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let name = |path: std::path::PathBuf| std::fs::read_to_string(path.join("comm")).unwrap_or_default();
    tasks.filter(|t| name(t.path()).trim() == "tidegate-check").count()
}

#[test]
fn a_dead_peer_is_found_without_a_request_and_comes_back() {
    need_nginx!();
    let mut bed = Bed::new(3, "round_robin");
    let check = "tidegate_check http uri=/health interval=100ms rise=2 fall=2 \"header=X-Check: yes\";";
    let nginx = Nginx::start(&with_check(&bed, check)).unwrap();
    assert!(wait_until(LIMIT, || bed.requests() >= 6), "{}", nginx.log());
    assert_eq!(down(&nginx), 0);
    bed.backends[0].set(Behaviour::Refuse).unwrap();
    assert!(wait_until(LIMIT, || down(&nginx) == 1), "{:#}", status(&nginx));
    // Down is not ejected: no live request met it.
    assert!(peers(&status(&nginx)).iter().all(|p| p["health"] == "healthy" && p["failures"] == 0));
    for _ in 0..12 {
        let response = get(&nginx, "/x");
        assert_eq!(response.status, 200);
    }
    bed.backends[0].set(Behaviour::default()).unwrap();
    assert!(wait_until(LIMIT, || down(&nginx) == 0), "{:#}", status(&nginx));
    assert_eq!(threads(nginx.master()), 0);
    assert!(nginx.workers().iter().all(|&pid| threads(pid) == 1));
    nginx.assert_clean_log();
}

#[test]
fn a_reload_doubles_no_check_and_a_killed_worker_is_succeeded() {
    need_nginx!();
    let bed = Bed::new(1, "round_robin");
    let config = with_check(&bed, "tidegate_check http interval=100ms on_time=on;");
    let mut nginx = Nginx::start(&config).unwrap();
    let seen = |backend: &Backend| backend.requests();
    assert!(wait_until(LIMIT, || seen(&bed.backends[0]) >= 5));
    let (from, before) = (Instant::now(), seen(&bed.backends[0]));
    let first = checker(&nginx);
    for reload in 1..=4 {
        nginx.reload(Some(&config)).unwrap();
        assert!(wait_until(LIMIT, || checker(&nginx).0 > first.0 && nginx.retiring().is_empty()), "reload {reload}");
        let now = seen(&bed.backends[0]);
        assert!(wait_until(LIMIT, || seen(&bed.backends[0]) >= now + 5), "reload {reload}");
    }
    // Every check takes its interval, less a sixteenth; a tenure begins anywhere in one.
    let tenures = checker(&nginx).0 - first.0;
    let most = from.elapsed().as_millis() as u64 / 93 + 2 + 2 * tenures;
    let checks = seen(&bed.backends[0]) - before;
    assert!(checks <= most, "{checks} checks, of {most} in {:?} and {tenures} tenures", from.elapsed());
    // Who checks is killed: the next one goes on.
    let (tenure, pid) = checker(&nginx);
    assert!(nginx.workers().contains(&(pid as u32)), "a worker of the new configuration");
    nginx.kill_worker(pid as u32).unwrap();
    assert!(wait_until(LIMIT, || checker(&nginx).0 > tenure), "{:#}", status(&nginx));
    let now = seen(&bed.backends[0]);
    assert!(wait_until(LIMIT, || seen(&bed.backends[0]) >= now + 3));
    assert_eq!(down(&nginx), 0);
}

#[test]
fn checks_that_are_switched_off_leave_nobody_down() {
    need_nginx!();
    let bed = Bed::new(2, "round_robin");
    let failing = "tidegate_check http interval=100ms body=never fall=1;";
    let mut nginx = Nginx::start(&with_check(&bed, failing)).unwrap();
    assert!(wait_until(LIMIT, || down(&nginx) == 2), "{:#}", status(&nginx));
    assert_eq!(get(&nginx, "/x").status, 200, "the last resort");
    nginx.reload(Some(&with_check(&bed, "tidegate_check off;"))).unwrap();
    assert!(wait_until(LIMIT, || nginx.retiring().is_empty() && down(&nginx) == 0), "{:#}", status(&nginx));
    nginx.assert_clean_log();
}

#[test]
fn a_bad_check_is_refused() {
    need_nginx!();
    let bed = Bed::new(1, "round_robin");
    let cases = [
        ("ftp", "one of http, tcp, off"),
        ("off interval=1s", "behind \"off\""),
        ("tcp uri=/", "unknown parameter \"uri=/\""),
        ("http interval=5ms", "10ms to 1h"),
        ("http fall=0", "1 to 100"),
        ("http fall=1 fall=2", "given twice"),
        ("http keepalive=yes", "\"on\" or \"off\""),
        ("http source=nowhere", "an IP address"),
        ("http status=2xx", "200-299,401"),
        ("http uri=health", "path:"),
        ("http \"header=nothing\"", "headers:"),
        ("http fast=3s interval=1s", "fast_interval_ns"),
        ("http ssl=on", "without the feature"),
        ("http; tidegate_check tcp", "is duplicate"),
    ];
    for (check, words) in cases {
        let (ok, text) = nginx_test(&with_check(&bed, &format!("tidegate_check {check};"))).unwrap();
        assert!(!ok && text.contains(words), "{check}: {text}");
    }
}
