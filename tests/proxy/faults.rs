//! Peers that fail, and what the client sees of it.

use super::*;

#[test]
fn another_peer_answers_for_one_that_fails() {
    let faults = [
        Behaviour::Garbage,
        Behaviour::Reset,
        raw("", Then::Close),
        raw("HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello", Then::Close),
        raw("HTTP/1.1 200 OK\r\nContent-Le", Then::Close),
        raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Then::KeepOpen),
        raw("HTTP/1.1 200 OK\r\nA: b", Then::KeepOpen),
        Behaviour::Status { code: 503, percent: 100 },
        Behaviour::Hang,
        Behaviour::Refuse,
    ];
    for fault in faults {
        let mut bed = Bed::new(2, &["--read-timeout-ms", "200"]);
        bed.backends[0].set(fault.clone()).unwrap();
        for i in 0..4 {
            let response = bed.echoed(&Request::get(&format!("/{fault}")));
            assert_eq!(response.fields.first("x-backend"), Some("b1"), "{fault}");
            // A POST that may have been carried out is not repeated; `end` looks for any that was.
            let post = bed.ask(&Request::post("/", b"once").id(&i.to_string()));
            assert!([200, 502, 503, 504].contains(&post.status), "{fault}: {post:?}");
        }
        bed.end();
    }
}

#[test]
fn an_idle_connection_that_the_peer_closes_costs_no_request() {
    let mut bed = Bed::new(2, &[]);
    for backend in &mut bed.backends {
        backend.set(Behaviour::CloseIdle { percent: 60, within: Duration::from_millis(2) }).unwrap();
    }
    for i in 0..200 {
        bed.echoed(&Request::get(&format!("/{i}")));
    }
    bed.end();
}

fn broken_bodies() -> [Behaviour; 4] {
    [
        Behaviour::BreakOff,
        Behaviour::BadChunk,
        raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Then::Close),
        raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Then::Reset),
    ]
}

#[test]
fn a_body_that_breaks_off_never_looks_complete() {
    for (hold, fault) in ["0", "16384"].into_iter().flat_map(|hold| broken_bodies().map(|fault| (hold, fault))) {
        let mut bed = Bed::new(1, &["--hold-bytes", hold]);
        bed.backends[0].set(fault.clone()).unwrap();
        // Either nothing had gone out yet, and the gateway answers; or the cut shows.
        match bed.client.exchange(&Request::get("/?pad=50")) {
            Ok(r) => assert!(r.status == 502 || matches!(r.ending, Ending::Cut(_)), "{fault}: {r:?}"),
            Err(e) => assert!(matches!(e, Failure::Nothing(_) | Failure::HeadCut(_)), "{fault}: {e:?}"),
        }
        // For HTTP/1.0 the end of the connection is the end of the body, so a cut one must end in a reset.
        let r = bed.raw(b"GET /?pad=50 HTTP/1.0\r\n\r\n");
        let cut = |r: &Response| r.status == 502 || matches!(r.ending, Ending::Cut(_));
        assert!(r.as_ref().map_or(true, cut), "{fault}: {r:?}");
        bed.end();
    }
}

#[test]
fn a_short_body_that_breaks_off_is_had_from_another_peer() {
    let mut bed = Bed::new(2, &["--hold-ms", "20000"]);
    for fault in [Behaviour::BreakOff, Behaviour::BadChunk] {
        bed.backends[0].set(fault).unwrap();
        for i in 0..6 {
            bed.echoed(&Request::get(&format!("/{i}?pad=500")));
        }
    }
    bed.end();
}

#[test]
fn a_peer_that_breaks_off_its_bodies_costs_no_get_and_is_ejected() {
    for fault in broken_bodies() {
        let mut bed = Bed::new(3, &["--hold-ms", "20000", "--eject-failures", "3", "--eject-base-ms", "60000"]);
        bed.backends[0].set(fault.clone()).unwrap();
        for i in 0..40 {
            let response = bed.echoed(&Request::get(&format!("/{i}?pad=2000")));
            assert_ne!(response.fields.first("x-backend"), Some("b0"), "{fault}");
        }
        // Out for a minute: it was asked until its third failure, and no more.
        assert_eq!(bed.backends[0].requests(), 3, "{fault}");
        bed.end();
    }
}

#[test]
fn the_gateway_says_what_went_wrong() {
    let mut bed = Bed::new(1, &["--read-timeout-ms", "100", "--label", "gate"]);
    for (fault, status, error) in [
        (Behaviour::Garbage, 502, "http_protocol_error"),
        (Behaviour::Reset, 502, "connection_terminated"),
        (Behaviour::Hang, 504, "connection_read_timeout"),
        // Nobody is there, and that is known: a client can be told when to come back.
        (Behaviour::Refuse, 503, "destination_unavailable"),
    ] {
        bed.backends[0].set(fault.clone()).unwrap();
        let r = bed.ask(&Request::get("/").field("Accept", "application/problem+json"));
        let said = r.fields.first("proxy-status").unwrap_or_default();
        assert!(r.status == status && said.starts_with("gate;") && said.contains(error), "{fault}: {r:?}");
        assert_eq!(r.fields.first("content-type"), Some("application/problem+json"), "{r:?}");
        let later = r.fields.first("retry-after").is_some_and(|s| s.parse::<u32>().is_ok_and(|s| s >= 1));
        assert!(later == (status == 503) && r.reusable, "{r:?}");
    }
    bed.end();
}

/// A template of any size that templates may have, and gRPC, which has none.
#[test]
fn the_operator_says_what_errors_look_like() {
    let scratch = tidegate_testbed::Scratch::new("proxy-templates");
    let page = scratch.path().join("page.html");
    std::fs::write(&page, format!("<p>{{{{cause}}}} {{{{upstream}}}}</p>{}", "x".repeat(20_000))).unwrap();
    let template = format!("html={}", page.display());
    let mut bed = Bed::new(
        1,
        &["--error-template", &template, "--error-type", "https://docs.example/#", "--upstream-name", "orders"],
    );
    bed.backends[0].set(Behaviour::Garbage).unwrap();
    let html = bed.ask(&Request::get("/").field("Accept", "text/html"));
    assert!(html.text().starts_with("<p>http_protocol_error orders</p>xxx") && html.body.len() > 20_000, "{html:?}");
    let problem = bed.ask(&Request::get("/").field("Accept", "application/problem+json"));
    assert!(problem.text().contains("\"type\":\"https://docs.example/#http_protocol_error\""), "{problem:?}");
    let grpc = bed.ask(&Request::post("/", b"x").field("Content-Type", "application/grpc"));
    assert_eq!((grpc.status, grpc.fields.first("grpc-status"), grpc.body.len()), (200, Some("14"), 0), "{grpc:?}");
    bed.end();
}

#[test]
fn a_streamed_body_is_sent_once_and_an_early_answer_arrives() {
    let mut bed = Bed::new(2, &[]);
    let big = vec![b'x'; 300_000];
    bed.backends[0].set(Behaviour::Reset).unwrap();
    for i in 0..4 {
        let r = bed.ask(&Request::post("/", &big).method("PUT").id(&i.to_string()));
        assert!([200, 502].contains(&r.status), "{r:?}");
    }
    // The answer comes before the body is complete: it arrives, and the connection ends, for the rest is not read.
    bed.backends.iter_mut().for_each(|b| b.set(raw("", Then::Close)).unwrap());
    let r = bed.raw(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX").unwrap();
    assert_eq!((r.status, r.reusable), (400, false));
    bed.end();
}

/// Where the usual time is known a request that may be repeated does not wait for the whole time-out: here it would end
/// the test.
#[test]
fn a_peer_that_hangs_is_given_up_in_time() {
    let mut bed = Bed::new(2, &["--read-timeout-ms", "600000"]);
    // A tick has to come by before anything is known.
    let page = |bed: &mut Bed| bed.ask(&Request::get("/tidegate-status")).body;
    while String::from_utf8_lossy(&page(&mut bed)).contains("\"head_p99_ms\":null") {
        for i in 0..100 {
            bed.echoed(&Request::get(&format!("/{i}")));
        }
    }
    bed.backends[0].set(Behaviour::Hang).unwrap();
    for i in 0..4 {
        let response = bed.echoed(&Request::get(&format!("/hang{i}")));
        assert_eq!(response.fields.first("x-backend"), Some("b1"));
    }
    assert_eq!(in_flight(&mut bed), 0);
    bed.end();
}

#[test]
fn a_limit_makes_requests_wait_and_turns_away_who_waited_too_long() {
    let mut bed = Bed::new(1, &["--max-in-flight", "1", "--queue", "1", "--queue-ms", "30"]);
    bed.backends[0].set(Behaviour::Hang).unwrap();
    let mut held = Client::new(bed.proxy.addr(), LIMIT);
    held.connect().unwrap();
    held.send(&Request::get("/held").to_bytes(bed.proxy.addr())).unwrap();
    assert!(tidegate_testbed::process::wait_until(LIMIT, || bed.backends[0].requests() == 1));
    let response = bed.ask(&Request::get("/"));
    assert_eq!(response.status, 503);
    // A second, and up to another one, so that not all come back at once.
    assert!(matches!(response.fields.first("retry-after"), Some("1" | "2")));
    drop(held);
    assert!(tidegate_testbed::process::wait_until(LIMIT, || in_flight(&mut bed) == 0));
    bed.backends[0].set(Behaviour::Ok).unwrap();
    bed.echoed(&Request::get("/"));
    bed.end();
}
