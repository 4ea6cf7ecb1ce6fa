//! Clients: malformed, unusual, hasty, slow and gone.

use super::*;

#[test]
fn malformed_requests_are_refused_and_go_nowhere() {
    let mut bed = Bed::new(1, &[]);
    let long = "x".repeat(40_000);
    let many = "A: b\r\n".repeat(101);
    for (status, bytes) in [
        (400, "\x16\x03\x01\x02\x00\x01"),
        (400, "GET / HTTP/1.1\nHost: a\n\n"),
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
        (400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a\"b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nA: b\x00\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n"),
        (400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\nab"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1111111111111111\r\n"),
        (417, "POST / HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 1\r\n\r\nx"),
        (501, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (501, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        (414, &format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (431, &format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n")),
        (431, &format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
    ] {
        let r = bed.raw(bytes.as_bytes()).unwrap_or_else(|e| panic!("{bytes:?}: {e:?}"));
        assert_eq!((r.status, r.reusable), (status, false), "{bytes:?}");
    }
    assert_eq!(bed.backends[0].requests(), 0);
    bed.echoed(&Request::get("/"));
    bed.end();
}

#[test]
fn unusual_but_valid_requests_are_served() {
    let mut bed = Bed::new(1, &[]);
    let r = bed.raw(b"\r\nGET http://other:80/p?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert!(r.text().contains("\npath=/p?q\n"), "{r:?}");
    let r = bed.raw(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(r.text().contains("\npath=*\n"), "{r:?}");
    bed.client.connect().unwrap();
    bed.client.send(b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").unwrap();
    bed.client.send(b"hi").unwrap();
    assert_eq!(bed.client.read("POST").unwrap().status, 200);
    // A byte at a time: no cut of the stream changes what it means.
    bed.client.connect().unwrap();
    for byte in chunked("/b", b"abc", 2) {
        bed.client.send(&[byte]).unwrap();
    }
    let r = bed.client.read("POST").unwrap();
    assert!(Request::post("/b", b"abc").is_echoed_by(&r), "{r:?}");
    bed.end();
}

#[test]
fn continue_is_answered_before_the_body_comes() {
    let bed = Bed::new(1, &[]);
    let mut stream = TcpStream::connect(bed.proxy.addr()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
        .write_all(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 ") && rest.contains("\nlength=2\n"), "{rest}");
    bed.end();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let bed = Bed::new(2, &[]);
    let mut requests = String::new();
    for i in 0..30 {
        let close = if i == 29 { "Connection: close\r\n" } else { "" };
        match i % 3 {
            0 => write!(requests, "GET /n={i}; HTTP/1.1\r\nHost: a\r\n{close}\r\n"),
            1 => write!(requests, "POST /n={i}; HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n{close}\r\nabc"),
            _ => write!(
                requests,
                "POST /n={i}; HTTP/1.1\r\nHost: a\r\n{close}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ),
        }
        .unwrap();
    }
    let mut stream = TcpStream::connect(bed.proxy.addr()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(requests.as_bytes()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    let seen: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("path=/n=")).collect();
    assert_eq!(seen, (0..30).map(|i| format!("{i};")).collect::<Vec<_>>());
    bed.end();
}

#[test]
fn slow_and_stuck_clients_are_given_up() {
    let mut bed = Bed::new(1, &["--client-timeout-ms", "200"]);
    for bytes in [
        "GET / HTTP/1.1\r\nHos",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc",
    ] {
        assert_eq!(bed.raw(bytes.as_bytes()).unwrap().status, 408, "{bytes}");
    }
    // Nothing at all: closed without a word.
    assert_eq!(bed.raw(b""), Err(Failure::Nothing(End::Closed)));
    // Asks for much and reads nothing, until the proxy has lost patience.
    let mut stuck = TcpStream::connect(bed.proxy.addr()).unwrap();
    stuck.write_all(b"GET /?pad=30000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut log = Vec::new();
    assert!(wait_until(LIMIT, || {
        log.extend(bed.proxy.output());
        log.iter().any(|line| line.contains("pad=") && line.contains("client_closed"))
    }));
    bed.echoed(&Request::get("/"));
    bed.end();
}

#[test]
fn clients_that_leave_take_nothing_with_them() {
    let mut bed = Bed::new(1, &[]);
    for behaviour in [Behaviour::Slow(Duration::from_millis(20)), Behaviour::Ok] {
        bed.backends[0].set(behaviour).unwrap();
        for i in 0..30 {
            let mut stream = TcpStream::connect(bed.proxy.addr()).unwrap();
            stream.write_all(b"GET /?pad=2000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            if i % 3 == 0 {
                stream.shutdown(Shutdown::Write).unwrap();
            } else if i % 3 == 1 {
                let _ = stream.read(&mut [0; 100]);
            }
        }
    }
    assert!(wait_until(LIMIT, || in_flight(&mut bed) == 0));
    bed.end();
}
