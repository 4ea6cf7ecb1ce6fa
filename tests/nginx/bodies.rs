//! Bodies that break off or break their framing: had from another peer while they are held back, cut visibly after.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use tidegate_testbed::h2::{self, StreamEnd};
use tidegate_testbed::ports::free_port;
use tidegate_testbed::process::wait_until;
use tidegate_testbed::raw::{self, Seen};
use tidegate_testbed::wire::Wire;
use tidegate_testbed::{Behaviour, Nginx, Request, Then};

use crate::bed::{Bed, get, in_flight, load, need_nginx, peers, status};

const PATHS: [&str; 2] = ["/buffered", "/unbuffered"];
const LOCATIONS: &str = "proxy_read_timeout 1s;
     location /unbuffered { proxy_pass http://app; proxy_buffering off; }
     location /patient { proxy_pass http://app; proxy_read_timeout 60s; }
     location /patient/unbuffered { proxy_pass http://app; proxy_read_timeout 60s; proxy_buffering off; }";

/// Held for long enough that a busy machine lets nothing go early.
fn held(backends: usize) -> Bed {
    Bed::new(backends, "round_robin fails=31 budget=off; tidegate_health without=rate; tidegate_hold_back 64k 20s")
        .server(LOCATIONS)
}

/// A response with `size` bytes of body, broken at its end.
fn faults(size: usize) -> Vec<(&'static str, Behaviour, &'static str)> {
    let length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", size + 9, "x".repeat(size)).into_bytes();
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..size / 1000 {
        chunked.extend_from_slice(format!("3e8\r\n{}\r\n", "y".repeat(1000)).as_bytes());
    }
    let and = |more: &[u8]| [&chunked, more].concat();
    let (broken, coding) = ("http_response_incomplete", "http_response_transfer_coding");
    vec![
        ("length, FIN", Behaviour::Raw(length.clone(), Then::Close), broken),
        ("length, RST", Behaviour::Raw(length.clone(), Then::Reset), broken),
        ("length, stall", Behaviour::Raw(length, Then::KeepOpen), "connection_read_timeout"),
        ("chunks, FIN in one", Behaviour::Raw(and(b"3e8\r\nyy"), Then::Close), broken),
        ("chunks, RST", Behaviour::Raw(and(b"3e8\r\nyy"), Then::Reset), broken),
        ("chunks, stall", Behaviour::Raw(chunked.clone(), Then::KeepOpen), "connection_read_timeout"),
        ("no last chunk", Behaviour::Raw(chunked.clone(), Then::Close), broken),
        ("no chunk size", Behaviour::Raw(and(b"zz\r\nyy\r\n0\r\n\r\n"), Then::KeepOpen), coding),
        ("a chunk too long", Behaviour::Raw(and(b"2\r\nyyy\r\n0\r\n\r\n"), Then::KeepOpen), coding),
        ("bare LF", Behaviour::Raw(and(b"2\nyy\n0\n\n"), Then::KeepOpen), coding),
        ("NUL in an extension", Behaviour::Raw(and(b"2;\0\r\nyy\r\n0\r\n\r\n"), Then::KeepOpen), coding),
        (
            "a trailer that is none",
            Behaviour::Raw(and(b"0\r\nno colon\r\n\r\n"), Then::KeepOpen),
            "http_protocol_error",
        ),
    ]
}

/// A reset takes with it what the gateway has not read yet: on a busy machine that may be all.
fn may_lose_the_head(what: &str) -> bool {
    what.ends_with("RST")
}

fn ask(nginx: &Nginx, request: &[u8]) -> Seen {
    raw::exchange(nginx.addr(), request, LIMIT).unwrap().judge("GET")
}

fn ask_for(nginx: &Nginx, path: &str) -> Seen {
    ask(nginx, &Request::get(path).field("Connection", "close").to_bytes(nginx.addr()))
}

#[test]
fn what_breaks_off_while_it_is_held_is_had_from_another_peer() {
    need_nginx!();
    let mut bed = held(2);
    let nginx = bed.nginx();
    for (size, path) in [3000, 50_000].into_iter().flat_map(|size| PATHS.map(|path| (size, path))) {
        for (what, fault, _) in faults(size) {
            bed.backends[0].set(fault).unwrap();
            let before = bed.backends[0].requests();
            for _ in 0..MANY {
                let seen = ask_for(&nginx, path);
                let good = matches!(&seen, Seen::Whole { status: 200, body, .. } if body.starts_with(b"backend=b1\n"));
                assert!(good, "{what} {size} {path}: {seen:?}\n{}", nginx.log());
                if bed.backends[0].requests() > before {
                    break;
                }
            }
            assert!(bed.backends[0].requests() > before, "{what}: the bad peer was not asked");
            bed.backends[0].set(Behaviour::Ok).unwrap();
            (0..4).for_each(|_| drop(get(&nginx, "/recover")));
        }
    }
    nginx.assert_clean_log();
}

/// Its beginning has gone: no client may take what comes for the whole, and the peer is charged.
#[test]
fn beyond_the_hold_back_the_cut_shows() {
    need_nginx!();
    let mut bed =
        Bed::new(1, "round_robin fails=31 budget=off; tidegate_health without=rate; tidegate_hold_back 64k 20s")
            .server(LOCATIONS)
            .http("log_format cause '$uri $http_x_request_id $tidegate_cause';")
            .server("access_log access.log cause;");
    let nginx = bed.nginx();
    let mut failures = 0;
    for (i, (what, fault, cause)) in faults(300_000).into_iter().enumerate() {
        bed.set_all(&fault);
        for path in PATHS {
            for (version, id) in ["1.1", "1.0"].map(|v| (v, format!("{i}-{v}"))) {
                let request =
                    format!("GET {path} HTTP/{version}\r\nHost: a\r\nConnection: close\r\nX-Request-Id: {id}\r\n\r\n");
                let seen = ask(&nginx, request.as_bytes());
                failures += 1;
                if may_lose_the_head(what) && matches!(seen, Seen::Whole { status: 502, .. }) {
                    continue;
                }
                assert_eq!(seen, Seen::Cut, "{what} {path} {version}\n{}", nginx.log());
                let line = format!("{path} {id} {cause}\n");
                let logged = wait_until(LIMIT, || nginx.file("access.log").contains(&line));
                assert!(logged, "{what}: no {line}{}", nginx.file("access.log"));
            }
        }
        bed.set_all(&Behaviour::Ok);
        get(&nginx, "/recover");
    }
    let charged: u64 = peers(&status(&nginx)).iter().map(|p| p["failures"].as_u64().unwrap()).sum();
    assert_eq!(charged, failures);
    nginx.assert_clean_log();
}

/// A part of a response fails over like a whole one; and if it is cut, so is the whole.
#[test]
fn a_subrequest_is_held_and_cut_like_any_request() {
    need_nginx!();
    let mut bed = held(2).server(
        "location /main { proxy_pass http://app; addition_types *; add_after_body /buffered?pad=3000; }
         location /unbuffered/main { proxy_pass http://app; addition_types *; add_after_body /unbuffered?pad=3000; }
         location /static { return 200 static; addition_types *; add_after_body /buffered; }",
    );
    let nginx = bed.nginx();
    for path in ["/main", "/unbuffered/main"] {
        bed.backends[0].set(Behaviour::BreakOff).unwrap();
        for _ in 0..6 {
            let seen = ask_for(&nginx, path);
            let Seen::Whole { status: 200, body, .. } = seen else { panic!("{path}: {seen:?}\n{}", nginx.log()) };
            assert_eq!(String::from_utf8_lossy(&body).matches("backend=b1\n").count(), 2, "{path}\n{}", nginx.log());
        }
        assert!(bed.backends[0].requests() > 0);
        bed.backends[0].set(Behaviour::Ok).unwrap();
        (0..4).for_each(|_| drop(get(&nginx, "/recover")));
    }
    let whole = ask_for(&nginx, "/static");
    assert!(
        matches!(&whole, Seen::Whole { status: 200, body, .. } if body.starts_with(b"staticbackend=")),
        "{whole:?}"
    );
    for (what, fault, _) in faults(300_000).into_iter().filter(|(what, ..)| !may_lose_the_head(what)) {
        bed.set_all(&fault);
        for version in ["1.1", "1.0"] {
            let request = format!("GET /static HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n");
            assert_eq!(ask(&nginx, request.as_bytes()), Seen::Cut, "{what} {version}\n{}", nginx.log());
        }
        bed.set_all(&Behaviour::Ok);
        (0..4).for_each(|_| drop(get(&nginx, "/recover")));
    }
    nginx.assert_clean_log();
}

/// An HTTP/2 client's connection goes on: its stream is reset.
#[test]
fn an_http_2_stream_is_reset() {
    need_nginx!();
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut bed = Bed::new(1, "round_robin fails=31 budget=off").http(&format!(
        "server {{ listen {addr} http2; location / {{ proxy_pass http://app; proxy_read_timeout 1s; }}
         {LOCATIONS} }}"
    ));
    let nginx = bed.nginx();
    assert!(matches!(h2::get(addr, "/x?pad=300000", LIMIT).unwrap(), StreamEnd::Whole(n) if n > 300_000));
    for (what, fault, _) in faults(300_000).into_iter().filter(|(what, ..)| !may_lose_the_head(what)) {
        bed.set_all(&fault);
        for path in PATHS {
            let end = h2::get(addr, path, LIMIT).unwrap();
            assert!(matches!(end, StreamEnd::Reset(_)), "{what} {path}: {end:?}\n{}", nginx.log());
        }
        bed.set_all(&Behaviour::Ok);
        get(&nginx, "/recover");
    }
    nginx.assert_clean_log();
}

/// What follows the end of a response is not the next one's beginning.
#[test]
fn bytes_behind_the_end_end_the_connection() {
    need_nginx!();
    let mut bed = held(1);
    let nginx = bed.nginx();
    let body = "x".repeat(300_000);
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{body}EXTRA");
    for (method, bytes) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloEXTRA"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nEXTRA"),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nEXTRA"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\nEXTRA"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("GET", &large),
    ] {
        bed.set_all(&Behaviour::Raw(bytes.into(), Then::KeepOpen));
        for path in PATHS {
            let before = bed.backends[0].accepted();
            for _ in 0..4 {
                let request = Request::get(path).method(method).field("Connection", "close").to_bytes(nginx.addr());
                let seen = raw::exchange(nginx.addr(), &request, LIMIT).unwrap().judge(method);
                assert!(matches!(seen, Seen::Whole { .. }), "{method} {path}: {seen:?}\n{}", nginx.log());
            }
            let made = bed.backends[0].accepted() - before;
            // The first may come on one that was idle, from before.
            assert!(made >= 3, "{method} {path} {:?}: {made} connections", &bytes[..40]);
        }
    }
    nginx.assert_clean_log();
}

#[test]
fn a_peer_that_breaks_off_its_bodies_costs_no_get_and_is_ejected() {
    need_nginx!();
    // The defaults, but for a time that a busy machine can't exceed.
    let mut bed = Bed::new(4, "round_robin budget=off; tidegate_hold_back 64k 20s");
    bed.backends[1].set(Behaviour::BreakOff).unwrap();
    let nginx = bed.nginx();
    let mut load = load(&nginx);
    load.post_percent = 0;
    load.duration = Duration::from_secs(4);
    let report = load.run();
    println!("{report}");
    assert_eq!((report.get.failed, report.get.wrong, report.get.malformed), (0, 0, 0), "{report}\n{}", nginx.log());
    assert_eq!(report.get.done, report.get.good, "{report}");
    let status = status(&nginx);
    let bad = bed.backends[1].addr().to_string();
    for peer in peers(&status) {
        let ejected = peer["ejections"].as_u64().unwrap() > 0;
        assert_eq!(ejected, peer["address"] == bad.as_str(), "{status:#}");
    }
    nginx.assert_clean_log();
}

#[test]
fn bodies_of_every_size_pass_whole() {
    need_nginx!();
    let bed = held(2);
    let nginx = bed.nginx();
    let mut client = crate::bed::client(&nginx);
    for pad in [0, 1, 3000, 4000, 8000, 60_000, 65_000, 65_536, 66_000, 400_000] {
        for (path, framing) in PATHS.iter().flat_map(|path| ["length", "chunked"].map(|framing| (path, framing))) {
            let request = Request::get(&format!("{path}?pad={pad}&framing={framing}"));
            for _ in 0..4 {
                let response = client.exchange(&request).unwrap();
                assert!(request.is_echoed_by(&response), "{} {:?}\n{}", request.path, response.ending, nginx.log());
            }
        }
    }
    nginx.assert_clean_log();
}

/// Clients that read nothing until everybody has asked: what is held, and the buffer that grew for it, wait for them.
#[test]
fn slow_clients_get_it_whole() {
    need_nginx!();
    let bed = held(2);
    let nginx = bed.nginx();
    for (size, framing) in [50_000, 1_000_000].into_iter().flat_map(|size| ["length", "chunked"].map(|f| (size, f))) {
        for path in ["/patient", "/patient/unbuffered"] {
            let request = Request::get(&format!("{path}?pad={size}&framing={framing}"));
            let mut clients: Vec<_> = (0..10).map(|_| crate::bed::client(&nginx)).collect();
            let before = bed.requests();
            for client in &mut clients {
                client.connect().unwrap();
                client.send(&request.to_bytes(nginx.addr())).unwrap();
            }
            assert!(wait_until(LIMIT, || bed.requests() == before + 10));
            for client in &mut clients {
                let response = client.read("GET").unwrap();
                assert!(
                    request.is_echoed_by(&response),
                    "{} {} {:?}\n{}",
                    request.path,
                    response.status,
                    response.ending,
                    nginx.log()
                );
            }
        }
    }
    nginx.assert_clean_log();
}

/// Waits until these bytes have come, and gives back the connection.
fn arrives(nginx: &Nginx, path: &str, what: &[u8]) -> Wire {
    let mut wire = Wire::new(TcpStream::connect(nginx.addr()).unwrap());
    wire.set_deadline(Some(Instant::now() + LIMIT));
    wire.send(&Request::get(path).to_bytes(nginx.addr())).unwrap();
    while !wire.buffered().windows(what.len()).any(|w| w == what) {
        let came = String::from_utf8_lossy(wire.buffered()).into_owned();
        wire.fill().unwrap_or_else(|end| panic!("{path}: {end:?} after {came:?}\n{}", nginx.log()));
    }
    wire
}

/// A stream whose pauses are its content is passed on as it comes.
#[test]
fn an_event_stream_is_not_held() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin; tidegate_hold_back 64k 60s").server(LOCATIONS);
    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
    bed.set_all(&Behaviour::Raw([head, b"9\r\ndata: 1\n\n\r\n".as_slice()].concat(), Then::KeepOpen));
    let nginx = bed.nginx();
    for path in ["/patient", "/patient/unbuffered"] {
        arrives(&nginx, path, b"data: 1\n\n");
    }
    nginx.assert_clean_log();
}

/// 50 ms by default, then a response that pauses is let go; the rest of it may take its time.
#[test]
fn a_response_that_pauses_is_let_go() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin").server(LOCATIONS);
    let nginx = bed.nginx();
    let xs = "x".repeat(20_000);
    let length = format!("HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n{xs}part");
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4e24\r\n{xs}part\r\n");
    // With buffering nginx itself keeps the last part of a buffer until that is full: the first has to do.
    for (bytes, path, what) in [
        (&length, "/patient/unbuffered", "xpart"),
        (&length, "/patient", "xxx"),
        (&chunked, "/patient/unbuffered", "xpart"),
        (&chunked, "/patient", "xxx"),
    ] {
        bed.set_all(&Behaviour::Raw(bytes.as_bytes().to_vec(), Then::KeepOpen));
        arrives(&nginx, path, what.as_bytes());
    }
    assert!(wait_until(LIMIT, || in_flight(&nginx) == 0));
    nginx.assert_clean_log();
}

/// What is let go in the middle goes on where it was.
#[test]
fn what_comes_after_the_hold_back_is_passed_on() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin; tidegate_hold_back 64k 5ms").server(LOCATIONS);
    bed.set_all(&Behaviour::Pause(Duration::from_millis(40)));
    let nginx = bed.nginx();
    let mut client = crate::bed::client(&nginx);
    for pad in [0, 100, 5000, 30_000, 60_000, 300_000] {
        for (path, framing) in PATHS.iter().flat_map(|path| ["length", "chunked"].map(|framing| (path, framing))) {
            let request = Request::get(&format!("{path}?pad={pad}&framing={framing}"));
            let response = client.exchange(&request).unwrap();
            assert!(request.is_echoed_by(&response), "{} {:?}\n{}", request.path, response.ending, nginx.log());
        }
    }
    // No attempt was lost to it, and idle connections were kept.
    assert_eq!(bed.requests(), 24);
    nginx.assert_clean_log();
}

#[test]
fn a_client_that_leaves_while_its_response_is_held_takes_nothing_with_it() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin; tidegate_hold_back 64k 60s").server(LOCATIONS);
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\npart".to_vec();
    bed.set_all(&Behaviour::Raw(bytes, Then::KeepOpen));
    let nginx = bed.nginx();
    let request = Request::get("/patient").to_bytes(nginx.addr());
    let mut clients: Vec<_> = (0..8).map(|_| TcpStream::connect(nginx.addr()).unwrap()).collect();
    clients.iter_mut().for_each(|client| std::io::Write::write_all(client, &request).unwrap());
    assert!(wait_until(LIMIT, || bed.requests() == 8 && in_flight(&nginx) == 8));
    drop(clients);
    assert!(wait_until(LIMIT, || in_flight(&nginx) == 0), "{}", nginx.log());
    nginx.assert_clean_log();
}

#[test]
fn where_it_is_off_nothing_is_held() {
    need_nginx!();
    for (upstream, location) in [("tidegate_hold_back off", "on"), ("tidegate_hold_back 64k 60s", "off")] {
        let mut bed = Bed::new(2, &format!("round_robin; {upstream}")).server(LOCATIONS);
        bed = bed.server(&format!("tidegate_hold_back {location};"));
        bed.set_all(&Behaviour::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart".to_vec(), Then::KeepOpen));
        let nginx = bed.nginx();
        arrives(&nginx, "/patient/unbuffered", b"part");
        nginx.assert_clean_log();
    }
}

/// Of a GET whose response is right, wherever it comes from.
fn cache_status(nginx: &Nginx, path: &str) -> String {
    let request = Request::get(path);
    let response = crate::bed::exchange(nginx, &request);
    assert!(request.is_echoed_by(&response), "{path} {:?}\n{}", response.ending, nginx.log());
    response.fields.first("x-cache").unwrap_or_default().to_owned()
}

/// Only what is whole is stored, held back or not.
#[test]
fn the_cache_stores_no_broken_body() {
    need_nginx!();
    let mut bed =
        Bed::new(1, "round_robin fails=31 budget=off; tidegate_health without=rate; tidegate_hold_back 64k 20s")
            .http("proxy_cache_path cache keys_zone=c:1m;")
            .server(LOCATIONS)
            .server(
                "location /cached {
                 proxy_pass http://app;
                 proxy_cache c;
                 proxy_cache_valid 200 1h;
                 proxy_ignore_headers Cache-Control;
                 add_header X-Cache $upstream_cache_status;
             }",
            );
    let nginx = bed.nginx();
    for (i, size) in [3000, 300_000].into_iter().enumerate() {
        for (j, (what, fault, _)) in faults(size).into_iter().enumerate() {
            let path = format!("/cached/{i}/{j}?pad={size}");
            bed.set_all(&fault);
            let seen = ask_for(&nginx, &path);
            assert!(!matches!(seen, Seen::Whole { status: 200, .. }), "{what}: {seen:?}");
            bed.set_all(&Behaviour::Ok);
            assert_eq!(cache_status(&nginx, &path), "MISS", "{what}\n{}", nginx.log());
            // A client has the last byte a moment before the file has its name.
            assert!(wait_until(LIMIT, || cache_status(&nginx, &path) == "HIT"), "{what}");
        }
    }
    nginx.assert_clean_log();
}

/// Held, grown and stored: the buffer's beginning is the cache file's header.
#[test]
fn what_was_held_is_stored_whole() {
    need_nginx!();
    let mut bed = held(2).http("proxy_cache_path cache keys_zone=c:1m;").server(
        "location /cached {
             proxy_pass http://app;
             proxy_cache c;
             proxy_cache_valid 200 1h;
             add_header X-Cache $upstream_cache_status;
         }",
    );
    let nginx = bed.nginx();
    for pad in [100, 5000, 50_000] {
        for framing in ["length", "chunked"] {
            bed.backends[0].set(Behaviour::BreakOff).unwrap();
            for i in 0..6 {
                let path = format!("/cached/{i}?pad={pad}&framing={framing}");
                assert_eq!(cache_status(&nginx, &path), "MISS", "{}", nginx.log());
                assert!(wait_until(LIMIT, || cache_status(&nginx, &path) == "HIT"), "{path}");
            }
            bed.backends[0].set(Behaviour::Ok).unwrap();
            (0..4).for_each(|_| drop(get(&nginx, "/recover")));
        }
    }
    nginx.assert_clean_log();
}

/// Requests until one comes to a certain peer of two.
const MANY: usize = 12;
const LIMIT: Duration = Duration::from_secs(20);
