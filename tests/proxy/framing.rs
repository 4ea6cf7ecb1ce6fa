//! Heads and bodies: kept connections, framing both ways, what stays behind.

use super::*;

#[test]
fn connections_are_kept_on_both_sides() {
    let mut bed = Bed::new(1, &[]);
    for i in 0..10 {
        bed.echoed(&Request::get(&format!("/{i}?pad=3000")));
        bed.echoed(&Request::get(&format!("/{i}?pad=3000&framing=chunked")));
        bed.echoed(&Request::post(&format!("/{i}"), b"body"));
        let head = bed.ask(&Request::get("/?pad=9").method("HEAD"));
        assert!(head.body.is_empty() && head.fields.first("content-length").is_some());
    }
    assert_eq!((bed.client.connections(), bed.backends[0].accepted()), (1, 1));
    bed.end();
}

#[test]
fn without_keep_alive_each_request_has_its_connection() {
    let mut bed = Bed::new(1, &["--no-keepalive"]);
    for _ in 0..5 {
        bed.echoed(&Request::get("/"));
    }
    assert_eq!((bed.client.connections(), bed.backends[0].accepted()), (1, 5));
    bed.end();
}

#[test]
fn bodies_of_any_size_and_framing_pass_both_ways() {
    let mut bed = Bed::new(1, &[]);
    for n in [0, 1, 1000, 65_535, 65_536, 65_537, 1_000_000] {
        let body: Vec<u8> = (0..n).map(|i| (i * 7 + i / 256) as u8).collect();
        for path in [format!("/?pad={n}"), format!("/?pad={n}&framing=chunked")] {
            let request = Request::post(&path, &body);
            bed.echoed(&request);
            for size in [5000, 70_000] {
                let response = bed.client.exchange_raw(&chunked(&path, &body, size), "POST").unwrap();
                assert!(request.is_echoed_by(&response), "{n} {path} {size}");
            }
        }
    }
    assert_eq!(bed.backends[0].accepted(), 1);
    bed.end();
}

#[test]
fn responses_are_framed_anew_and_hop_by_hop_fields_stay_behind() {
    let mut bed = Bed::new(1, &[]);
    let mut answer = |bytes: &str, then| {
        bed.backends[0].set(raw(bytes, then)).unwrap();
        bed.ask(&Request::get("/"))
    };
    let r = answer(
        "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 Fine\r\nConnection: x-mine, close\r\nX-Mine: 1\r\n\
         X-Yours: 2\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
        Then::Close,
    );
    assert_eq!((r.status, r.reason.as_str(), r.text().as_str(), r.reusable), (200, "Fine", "ok", true));
    assert!(r.interim.is_empty() && r.fields.first("x-yours") == Some("2"));
    assert!(["x-mine", "keep-alive", "connection"].iter().all(|name| r.fields.first(name).is_none()), "{r:?}");
    // Until the peer closes: chunks for a client that can't see that end.
    let r = answer("HTTP/1.0 200 OK\r\n\r\nuntil the end", Then::Close);
    assert_eq!((r.text().as_str(), r.fields.first("transfer-encoding")), ("until the end", Some("chunked")));
    for bytes in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 7\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    ] {
        let r = answer(bytes, Then::KeepOpen);
        assert!(r.body.is_empty() && r.ending == Ending::Complete && r.reusable, "{r:?}");
    }
    // Bytes behind the end of a response are never the start of the next one.
    for _ in 0..3 {
        let r = answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", Then::KeepOpen);
        assert_eq!((r.text().as_str(), r.ending), ("ok", Ending::Complete));
    }
    bed.end();
}

#[test]
fn http_1_0_clients_get_no_chunks() {
    let mut bed = Bed::new(1, &[]);
    let r = bed.raw(b"GET /?framing=chunked HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((r.fields.first("transfer-encoding"), r.fields.first("connection")), (None, Some("close")));
    assert!(r.text().starts_with("backend=b0\n") && r.text().contains("\nsum="));
    let r = bed.raw(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap();
    assert_eq!((r.fields.first("connection"), r.ending), (Some("keep-alive"), Ending::Complete));
    bed.end();
}
