//! Peers that hang, ask for a pause, or are full: what clients see of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_testbed::behaviour::Then;
use tidegate_testbed::process::wait_until;
use tidegate_testbed::{Behaviour, Request};

use crate::bed::{Bed, client, exchange, get, in_flight, load, need_nginx, status};

/// One of four takes requests and answers none; the read time-out is two seconds.
#[test]
fn a_hanging_peer_costs_few_requests_their_time() {
    need_nginx!();
    let mut bed = Bed::new(4, "round_robin");
    let nginx = bed.nginx();
    let mut load = load(&nginx);
    load.duration = Duration::from_secs(9);
    let running = load.start();
    // Warm: the library has seen what is normal.
    let first = running.next_interval();
    assert!(wait_until(LIMIT, || running.report(first).done() > 900));
    let status = status(&nginx);
    let usual = status["upstreams"][0]["head_p99_ms"].as_u64().expect("head_p99_ms");
    let second = running.next_interval();
    bed.backends[1].set(Behaviour::Hang).unwrap();
    let reports = running.finish();
    let mut hanging = reports[second].clone();
    reports.iter().skip(second + 1).for_each(|r| hanging.merge(r));
    let over = hanging.latency_us.iter().filter(|&&us| us > 1_000_000).count() as u64;
    let (posts, gets) = (hanging.post.failed, hanging.get.failed);
    println!("{over} of {} over 1 s, {posts} failed POSTs, {gets} failed GETs; p99 before: {usual} ms", hanging.done());
    assert_eq!(gets, 0, "{hanging}\n{}", nginx.log());
    // POSTs that are there before the first GET is given up are lost: 15 a second come to the peer. On a machine that is
    // so busy that answers take long, that is later.
    let expected = 15 * (3 * usual).max(100) / 1000;
    assert!(posts <= 5 + 2 * expected, "{hanging}\n{}", nginx.log());
    assert!(over <= 10 + 2 * expected + hanging.late, "{hanging}");
    assert!(bed.executions.duplicated_posts().unwrap().is_empty());
    assert!(wait_until(LIMIT, || in_flight(&nginx) == 0));
    nginx.assert_clean_log();
}

/// A hundred clients on two workers, five places: never a sixth, and nobody is turned away.
#[test]
fn a_limit_of_an_upstream_is_never_exceeded() {
    need_nginx!();
    for (what, arguments, servers) in [
        ("upstream", "max_in_flight=5 queue=1000 queue_time=60s", ""),
        ("peer", "queue=1000 queue_time=60s", " max_conns=5"),
    ] {
        let bed = Bed::new(1, "round_robin");
        let backend = Counting::start(Duration::from_millis(5));
        let mut bed = bed;
        bed.config = bed
            .config
            .upstream("few", &format!("tidegate round_robin {arguments};"), &[format!("{}{servers}", backend.addr)], "")
            .server("location /few { proxy_pass http://few; proxy_read_timeout 60s; }");
        let nginx = bed.nginx();
        std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let response = client(&nginx).exchange(&Request::get("/few")).unwrap();
                        assert_eq!(response.status, 200, "{what}");
                    }
                });
            }
        });
        assert_eq!(backend.most.load(Ordering::Relaxed), 5, "{what}");
        assert_eq!(backend.served.load(Ordering::Relaxed), 1000, "{what}");
        let status = status(&nginx);
        let few = status["upstreams"].as_array().unwrap().iter().find(|u| u["name"] == "few").unwrap();
        assert_eq!(few["waiting"], 0, "{what}: {few}");
        assert!(few["queued"].as_u64().unwrap() >= 95, "{what}: {few}");
        nginx.assert_clean_log();
    }
}

#[test]
fn who_finds_no_place_is_told_when_to_come_back() {
    need_nginx!();
    let mut bed = Bed::new(1, "round_robin max_in_flight=1").server("proxy_read_timeout 30s;");
    bed.config = bed
        .config
        .upstream(
            "waits",
            "tidegate round_robin max_in_flight=1 queue=1 queue_time=50ms;",
            &[bed.backends[0].addr().to_string()],
            "",
        )
        .server("location /waits { proxy_pass http://waits; }");
    let nginx = bed.nginx();
    bed.backends[0].set(Behaviour::Hang).unwrap();
    let mut held: Vec<_> = ["/x", "/waits"]
        .map(|path| {
            let mut client = client(&nginx);
            client.connect().unwrap();
            client.send(&Request::get(path).to_bytes(nginx.addr())).unwrap();
            client
        })
        .into();
    assert!(wait_until(LIMIT, || bed.backends[0].requests() == 2));
    for path in ["/x", "/waits"] {
        let response = get(&nginx, path);
        assert_eq!(response.status, 503, "{path}");
        assert!(matches!(response.fields.first("retry-after"), Some("1" | "2")), "{path}");
        assert!(response.fields.first("proxy-status").unwrap().contains("connection_limit_reached"), "{path}");
    }
    // A client that leaves while it waits gives its place in the queue back.
    for _ in 0..5 {
        let mut client = tidegate_testbed::Client::new(nginx.addr(), Duration::from_millis(20));
        let _ = client.exchange(&Request::get("/waits"));
    }
    held.clear();
    assert!(wait_until(LIMIT, || in_flight(&nginx) == 0));
    bed.backends[0].set(Behaviour::Ok).unwrap();
    assert_eq!(get(&nginx, "/waits").status, 200);
    nginx.assert_clean_log();
}

#[test]
fn a_peer_that_asks_for_a_pause_gets_it() {
    need_nginx!();
    let mut bed = Bed::new(3, "round_robin");
    for retry_after in ["30", "Fri, 31 Dec 2100 23:59:59 GMT"] {
        bed.set_all(&Behaviour::Ok);
        let nginx = bed.nginx();
        let text = format!("HTTP/1.1 503 Busy\r\nRetry-After: {retry_after}\r\nContent-Length: 0\r\n\r\n");
        bed.backends[1].set(Behaviour::Raw(text.into_bytes(), Then::KeepOpen)).unwrap();
        let before = bed.backends[1].requests();
        for _ in 0..30 {
            assert_eq!(get(&nginx, "/x").status, 200, "{}", nginx.log());
        }
        assert_eq!(bed.backends[1].requests() - before, 1, "{retry_after}");
        nginx.assert_clean_log();
    }
}

/// All answer 503 for a while: what reaches them exceeds the requests by the budget at most, and clients get the
/// upstream's own answer or ours with Retry-After.
#[test]
fn an_outage_is_not_multiplied() {
    need_nginx!();
    let mut bed = Bed::new(4, "round_robin");
    let nginx = bed.nginx();
    bed.set_all(&Behaviour::Status { code: 503, percent: 100 });
    let before = bed.requests();
    let requests = 600;
    for i in 0..requests {
        let response = exchange(&nginx, &Request::get("/x"));
        assert_eq!(response.status, 503, "{i}");
        assert!(
            response.fields.first("x-backend").is_some() || response.fields.first("retry-after").is_some(),
            "{i}: neither the upstream's nor ours with Retry-After"
        );
    }
    let attempts = bed.requests() - before;
    // A fifth, a hundred in the bucket, ten a second.
    assert!(attempts <= requests + requests / 5 + 100 + 10 * 60, "{attempts}");
}

#[test]
fn a_key_makes_a_post_repeatable_where_the_operator_says_so() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin fails=31")
        .server("location /keyed { tidegate_idempotency_key on; proxy_pass http://app; }");
    let nginx = bed.nginx();
    bed.set_all(&Behaviour::Reset);
    for (path, key, attempts) in [("/keyed", "k1", 2), ("/keyed", "", 1), ("/x", "k2", 1)] {
        let mut request = Request::post(path, b"body");
        if !key.is_empty() {
            request = request.field("Idempotency-Key", key);
        }
        let before = bed.requests();
        assert_eq!(exchange(&nginx, &request).status, 502);
        assert_eq!(bed.requests() - before, attempts, "{path} {key}");
    }
    nginx.assert_clean_log();
}

/// A backend that counts the requests that are with it at once: from before the first byte is read to just before the last is
/// written.
struct Counting {
    addr: std::net::SocketAddr,
    most: &'static AtomicUsize,
    served: &'static AtomicUsize,
}

impl Counting {
    fn start(takes: Duration) -> Counting {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let [now, most, served] = [(); 3].map(|()| &*Box::leak(Box::new(AtomicUsize::new(0))));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                // Counted as it is accepted: one request a connection.
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    let mut head = Vec::new();
                    let mut byte = [0; 512];
                    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                        match stream.read(&mut byte) {
                            Ok(n) if n > 0 => head.extend_from_slice(&byte[..n]),
                            _ => break,
                        }
                    }
                    // What the backend does.
                    std::thread::park_timeout(takes);
                    served.fetch_add(1, Ordering::Relaxed);
                    now.fetch_sub(1, Ordering::Relaxed);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                });
            }
        });
        Counting { addr, most, served }
    }
}

/// For a machine that is very busy.
const LIMIT: Duration = Duration::from_secs(20);
