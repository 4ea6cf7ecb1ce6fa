//! Backends that die, reset or answer 5xx under load: no GET fails, no POST is carried out twice.

use std::time::Duration;

use tidegate_testbed::process::wait_until;
use tidegate_testbed::process_backend::program;
use tidegate_testbed::{Behaviour, Config, Executions, Nginx, ProcessBackend, Request, Scratch};

use crate::bed::{Bed, exchange, get, load, need_nginx};

#[test]
fn one_backend_of_four_is_killed() {
    need_nginx!();
    let scratch = Scratch::new("nginx-kill");
    let executions = Executions::open(scratch.path().join("executions")).unwrap();
    let mut backends: Vec<_> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| ProcessBackend::start(program(), name, 0, &executions).unwrap())
        .collect();
    let servers: Vec<_> = backends.iter().map(|b| b.addr().to_string()).collect();
    let config = Config::tidegate()
        .upstream("app", "tidegate round_robin;", &servers, "keepalive 16;")
        .server("location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; }");
    let nginx = Nginx::start(&config).unwrap();
    let mut load = load(&nginx);
    load.duration = Duration::from_secs(8);
    let running = load.start();
    for victim in [1, 3, 1] {
        let interval = running.next_interval();
        assert!(wait_until(LIMIT, || running.report(interval).done() > 150));
        backends[victim].kill();
        let interval = running.next_interval();
        assert!(wait_until(LIMIT, || running.report(interval).done() > 150));
        backends[victim].restart().unwrap();
    }
    let mut failed_posts = 0;
    for report in running.finish() {
        assert_eq!(report.get.failed, 0, "{report}\n{}", nginx.log());
        assert_eq!(report.get.wrong + report.post.wrong + report.get.malformed + report.post.malformed, 0, "{report}");
        failed_posts += report.post.failed;
    }
    // Those in flight on the killed peer, at 60 POSTs a second with answers within milliseconds.
    assert!(failed_posts <= 6, "{failed_posts} POSTs failed\n{}", nginx.log());
    assert!(executions.duplicated_posts().unwrap().is_empty());
    nginx.assert_clean_log();
}

#[test]
fn a_post_that_was_sent_is_not_repeated() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin fails=31").server(
        "location /safe { tidegate_retry safe; proxy_pass http://app; }
         location /never { tidegate_retry off; proxy_pass http://app; }
         location /stock { proxy_next_upstream error timeout non_idempotent; proxy_pass http://app; }",
    );
    let nginx = bed.nginx();
    bed.set_all(&Behaviour::Reset);
    let before = bed.requests();
    assert_eq!(exchange(&nginx, &Request::post("/x", b"body")).status, 502);
    assert_eq!(bed.requests() - before, 1);
    for path in ["/safe", "/stock"] {
        let before = bed.requests();
        assert_eq!(exchange(&nginx, &Request::post(path, b"body")).status, 502);
        assert_eq!(bed.requests() - before, 2, "{path}");
    }
    let before = bed.requests();
    assert_eq!(get(&nginx, "/never").status, 502);
    assert_eq!(bed.requests() - before, 1);
    nginx.assert_clean_log();
}

/// nginx's own bounds on retries hold too.
#[test]
fn proxy_next_upstream_is_understood() {
    need_nginx!();
    let mut bed = Bed::new(4, "round_robin fails=31 budget=off").server(
        "location /tries { proxy_next_upstream_tries 2; proxy_pass http://app; }
         location /off { proxy_next_upstream off; proxy_pass http://app; }
         location /all { proxy_next_upstream error; proxy_pass http://app; }",
    );
    let nginx = bed.nginx();
    bed.set_all(&Behaviour::Reset);
    for (path, attempts) in [("/tries", 2), ("/off", 1), ("/all", 4)] {
        let before = bed.requests();
        assert_eq!(get(&nginx, path).status, 502);
        assert_eq!(bed.requests() - before, attempts, "{path}");
    }
    nginx.assert_clean_log();
}

/// A body is sent again from its beginning, also one that nginx has written to a file.
#[test]
fn a_body_is_sent_again_whole() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin fails=31")
        .server("location /again { tidegate_retry safe; proxy_pass http://app; client_body_buffer_size 1k; }");
    let nginx = bed.nginx();
    bed.backends[0].set(Behaviour::Reset).unwrap();
    for size in [10, 5_000, 200_000] {
        let request = Request::post("/again", &vec![b'x'; size]).id("again");
        for _ in 0..2 {
            let response = exchange(&nginx, &request);
            assert!(request.is_echoed_by(&response), "{size}: {}", response.status);
        }
    }
    nginx.assert_clean_log();
}

#[test]
fn failing_statuses_fail_over_and_wait_in_between() {
    need_nginx!();
    let mut bed = Bed::new(4, "round_robin fails=31 backoff=20ms budget=off");
    for backend in &mut bed.backends[..3] {
        backend.set(Behaviour::Status { code: 503, percent: 100 }).unwrap();
    }
    let nginx = bed.nginx();
    for _ in 0..20 {
        let request = Request::get("/x").id("r");
        assert!(request.is_echoed_by(&exchange(&nginx, &request)), "{}", nginx.log());
    }
    nginx.assert_clean_log();
}

/// Clients that leave while their request waits for its next attempt.
#[test]
fn a_client_may_leave_during_a_delay() {
    need_nginx!();
    let mut bed = Bed::new(4, "round_robin fails=31 backoff=300ms backoff_max=300ms budget=off");
    bed.set_all(&Behaviour::Reset);
    let nginx = bed.nginx();
    for _ in 0..20 {
        let mut client = tidegate_testbed::Client::new(nginx.addr(), Duration::from_millis(40));
        let _ = client.exchange(&Request::get("/x"));
    }
    assert!(wait_until(LIMIT, || crate::bed::in_flight(&nginx) == 0));
    nginx.assert_clean_log();
}

#[test]
fn weight_backup_and_down_are_honoured() {
    need_nginx!();
    let mut bed = Bed::new(4, "round_robin");
    let addr: Vec<_> = bed.backends.iter().map(|b| b.addr()).collect();
    let servers = [
        format!("{} weight=3", addr[0]),
        addr[1].to_string(),
        format!("{} backup", addr[2]),
        format!("{} down", addr[3]),
    ];
    bed.config = bed
        .config
        .upstream("shares", "tidegate round_robin;", &servers, "")
        .server("location /shares { proxy_pass http://shares; }");
    let nginx = bed.nginx();
    for _ in 0..80 {
        assert_eq!(get(&nginx, "/shares").status, 200);
    }
    let counts: Vec<_> = bed.backends.iter().map(|b| b.requests()).collect();
    // Two workers, each smooth by itself from a start of its own.
    assert!((56..=64).contains(&counts[0]), "{counts:?}");
    assert_eq!((counts[0] + counts[1], counts[2], counts[3]), (80, 0, 0), "{counts:?}");
    bed.backends[0].set(Behaviour::Refuse).unwrap();
    bed.backends[1].set(Behaviour::Refuse).unwrap();
    for _ in 0..4 {
        assert_eq!(get(&nginx, "/shares").fields.first("x-backend"), Some("b2"));
    }
    assert_eq!(bed.backends[3].requests(), 0);
    nginx.assert_clean_log();
}

/// The limit holds over both workers together.
#[test]
fn max_conns_is_honoured() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin");
    let servers = [format!("{} max_conns=2", bed.backends[0].addr()), format!("{} backup", bed.backends[1].addr())];
    bed.config = bed
        .config
        .upstream("limit", "tidegate round_robin;", &servers, "")
        .server("location /limit { proxy_pass http://limit; }");
    let nginx = bed.nginx();
    bed.backends[0].set(Behaviour::Hang).unwrap();
    let mut held: Vec<_> = (0..2).map(|_| crate::bed::client(&nginx)).collect();
    for client in &mut held {
        client.connect().unwrap();
        client.send(&Request::get("/limit").to_bytes(nginx.addr())).unwrap();
    }
    assert!(wait_until(LIMIT, || bed.backends[0].requests() == 2));
    for _ in 0..10 {
        assert_eq!(get(&nginx, "/limit").fields.first("x-backend"), Some("b1"));
    }
    assert_eq!(bed.backends[0].requests(), 2);
    nginx.assert_clean_log();
}

/// For a machine that is very busy.
const LIMIT: Duration = Duration::from_secs(10);
