//! Two workers and one table: reloads and killed workers lose no state and no request.

use std::time::Duration;

use tidegate_testbed::nginx::nginx_test;
use tidegate_testbed::process::{Signal, signal, wait_until};
use tidegate_testbed::{Behaviour, Nginx, Request, Scratch};

use crate::bed::{Bed, get, in_flight, load, need_nginx, peers, status};

#[test]
fn a_reload_under_load_keeps_state_and_loses_nothing() {
    need_nginx!();
    // A worker that retires closes its clients' idle connections, in any nginx; a request that is under way on one of
    // them would be lost by that.
    let mut bed = Bed::new(4, "round_robin eject=60s").http("keepalive_timeout 0;");
    bed.backends[0].set(Behaviour::Refuse).unwrap();
    let mut nginx = bed.nginx();
    let mut load = load(&nginx);
    load.duration = Duration::from_secs(6);
    let running = load.start();
    assert!(wait_until(LIMIT, || running.report(0).done() > 200));
    let ejected = |nginx: &_| {
        let status = status(nginx);
        peers(&status).iter().filter(|p| p["health"] == "ejected").count()
    };
    assert_eq!(ejected(&nginx), 1);
    // A changed weight is another declaration of the same peers.
    let mut heavier = bed.config.clone();
    let server = format!("server {};", bed.backends[1].addr());
    assert!(heavier.http.contains(&server));
    heavier.http = heavier.http.replace(&server, &format!("server {} weight=2;", bed.backends[1].addr()));
    for config in [&heavier, &bed.config, &heavier] {
        nginx.reload(Some(config)).unwrap();
        assert_eq!(ejected(&nginx), 1, "{:#}", status(&nginx));
        let interval = running.next_interval();
        assert!(wait_until(LIMIT, || running.report(interval).done() > 150));
    }
    for report in running.finish() {
        assert_eq!(report.get.failed + report.post.failed, 0, "{report}\n{}", nginx.log());
    }
    assert!(bed.executions.duplicated_posts().unwrap().is_empty());
    assert!(wait_until(LIMIT, || nginx.retiring().is_empty()));
    assert_eq!(in_flight(&nginx), 0);
    nginx.assert_clean_log();
}

/// With the table in a file.
#[test]
fn a_restart_keeps_an_ejection() {
    need_nginx!();
    let directory = Scratch::new("nginx-table");
    let path = directory.path().join("nginx.table");
    let table = format!("tidegate_table path={} peers=64;", path.display());
    let mut bed = Bed::new(3, "round_robin eject=60s").http(&table);
    bed.backends[0].set(Behaviour::Refuse).unwrap();
    let mut nginx = bed.nginx();
    for _ in 0..12 {
        assert_eq!(get(&nginx, "/x").status, 200);
    }
    let healths = |nginx: &Nginx| -> Vec<String> {
        peers(&status(nginx)).iter().map(|p| p["health"].as_str().unwrap().to_string()).collect()
    };
    let before = healths(&nginx);
    assert_eq!(before.iter().filter(|h| *h == "ejected").count(), 1);
    // A test of another configuration on the same file leaves it alone.
    let mut fewer = bed.config.clone();
    fewer.http = fewer.http.replace(&format!("server {};", bed.backends[1].addr()), "");
    let (accepted, said) = nginx_test(&fewer).unwrap();
    assert!(accepted, "{said}");
    assert_eq!(healths(&nginx), before);
    nginx.reload(None).unwrap();
    assert_eq!(healths(&nginx), before);
    nginx.quit().unwrap();
    nginx.assert_clean_log();

    let mut nginx = bed.nginx();
    assert_eq!(healths(&nginx), before, "the new processes found the table");
    assert_eq!(in_flight(&nginx), 0);
    for _ in 0..12 {
        assert_eq!(get(&nginx, "/x").status, 200);
    }
    assert!(!nginx.log().contains("connect() failed (111"), "nobody tried the ejected peer again");
    // Other capacities are refused, and the old configuration goes on.
    let conf = nginx.prefix().join("nginx.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, text.replace("peers=64", "peers=65")).unwrap();
    signal(nginx.master(), Signal::HUP);
    assert!(wait_until(LIMIT, || nginx.log().contains("was made with max_peers 64: asked for is 65")));
    assert_eq!(healths(&nginx), before);
    bed.config.http = bed.config.http.replace("peers=64", "peers=65 mismatch=replace");
    nginx.reload(Some(&bed.config)).unwrap();
    assert_eq!(healths(&nginx), ["healthy"; 3], "a fresh table");
}

/// Each reload tries its declarations on a table of its own, and takes a handle of the shared one.
#[test]
fn reloads_leave_nothing_behind() {
    need_nginx!();
    let bed = Bed::new(2, "round_robin");
    let mut nginx = bed.nginx();
    let held = |nginx: &Nginx| {
        let proc = format!("/proc/{}", nginx.master());
        let maps = std::fs::read_to_string(format!("{proc}/maps")).unwrap();
        let shared = maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.ends_with('s'))).count();
        (std::fs::read_dir(format!("{proc}/fd")).unwrap().count(), shared)
    };
    nginx.reload(None).unwrap();
    let before = held(&nginx);
    for _ in 0..10 {
        nginx.reload(None).unwrap();
    }
    // Fewer, if workers of the first reload still had their channels when it was counted.
    let grown = |nginx: &Nginx| {
        let (files, maps) = held(nginx);
        files > before.0 || maps > before.1
    };
    assert!(wait_until(LIMIT, || !grown(&nginx)), "{before:?} {:?}", held(&nginx));
    let workers = || status(&nginx)["workers"].as_array().map(Vec::len);
    assert!(wait_until(LIMIT, || workers() == Some(2)), "{:#}", status(&nginx));
    nginx.assert_clean_log();
}

/// A reload that nginx refuses leaves the declared peers as they were.
#[test]
fn a_refused_reload_changes_nothing() {
    need_nginx!();
    let bed = Bed::new(2, "round_robin");
    let nginx = bed.nginx();
    let before = peers(&status(&nginx)).len();
    let conf = nginx.prefix().join("nginx.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    let one = text.replace(&format!("server {};", bed.backends[0].addr()), "");
    std::fs::write(&conf, one.replace("tidegate_status;", "tidegate_status; return_nothing;")).unwrap();
    tidegate_testbed::process::signal(nginx.master(), tidegate_testbed::process::Signal::HUP);
    assert!(wait_until(LIMIT, || nginx.log().contains("return_nothing")));
    assert_eq!(peers(&status(&nginx)).len(), before);
    for _ in 0..4 {
        assert_eq!(get(&nginx, "/x").status, 200);
    }
}

#[test]
fn a_killed_worker_leaves_no_request_behind() {
    need_nginx!();
    let mut bed = Bed::new(3, "round_robin");
    let mut nginx = bed.nginx();
    // Requests that hang, so that the victim certainly dies with some in flight.
    bed.set_all(&Behaviour::Hang);
    let mut held: Vec<_> = (0..8).map(|_| crate::bed::client(&nginx)).collect();
    for client in &mut held {
        client.connect().unwrap();
        client.send(&Request::get("/hang").to_bytes(nginx.addr())).unwrap();
    }
    assert!(wait_until(LIMIT, || bed.requests() >= 8));
    assert!(in_flight(&nginx) >= 8);
    bed.set_all(&Behaviour::Ok);

    let mut load = load(&nginx);
    load.duration = Duration::from_secs(4);
    let running = load.start();
    assert!(wait_until(LIMIT, || running.report(0).done() > 150));
    for _ in 0..2 {
        running.connections_die();
        let victim = nginx.workers()[0];
        nginx.kill_worker(victim).unwrap();
    }
    let mut report = tidegate_testbed::Report::default();
    for interval in running.finish() {
        report.merge(&interval);
    }
    assert_eq!(report.get.failed, 0, "{report}\n{}", nginx.log());
    assert!(bed.executions.duplicated_posts().unwrap().is_empty());
    drop(held);
    assert!(wait_until(LIMIT, || in_flight(&nginx) == 0), "{:#}", status(&nginx));
    nginx.assert_clean_log();
}

/// Dead peers found by one worker are dead for both: at most one refused attempt each worker.
#[test]
fn workers_share_what_they_learn() {
    need_nginx!();
    let mut bed = Bed::new(4, "round_robin eject=60s");
    bed.backends[0].set(Behaviour::Refuse).unwrap();
    let nginx = bed.nginx();
    for _ in 0..60 {
        assert_eq!(get(&nginx, "/x").status, 200);
    }
    let refused = nginx.log().matches("connect() failed (111").count();
    assert_eq!(refused, 1, "{}", nginx.log());
    nginx.assert_clean_log();
}

/// A worker that Tidegate can't serve is served by nginx's own round robin; clients notice nothing.
#[test]
fn without_tidegate_round_robin_serves() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin").http("tidegate_table workers=1;");
    let nginx = bed.nginx();
    assert!(nginx.log().contains("can't join and serves round robin"), "{}", nginx.log());
    bed.backends[0].set(Behaviour::Refuse).unwrap();
    for _ in 0..40 {
        assert_eq!(get(&nginx, "/x").status, 200);
    }
    nginx.assert_clean_log();
}

#[test]
fn a_graceful_exit_waits_for_delayed_requests() {
    need_nginx!();
    let mut bed =
        Bed::new(3, "round_robin fails=31 backoff=200ms backoff_max=200ms budget=off").http("keepalive_timeout 0;");
    for backend in &mut bed.backends[..2] {
        backend.set(Behaviour::Reset).unwrap();
    }
    let mut nginx = bed.nginx();
    let mut load = load(&nginx);
    load.post_percent = 0;
    load.duration = Duration::from_secs(2);
    let running = load.start();
    assert!(wait_until(LIMIT, || running.report(0).done() > 50));
    nginx.reload(None).unwrap();
    for report in running.finish() {
        assert_eq!(report.get.failed, 0, "{report}\n{}", nginx.log());
    }
    assert!(wait_until(LIMIT, || nginx.retiring().is_empty()));
    nginx.assert_clean_log();
}

/// For a machine that is very busy.
const LIMIT: Duration = Duration::from_secs(10);
