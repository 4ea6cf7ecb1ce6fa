//! Nothing malformed reaches a client, and what can be repeated fails over.

use tidegate_testbed::{Behaviour, Nginx, Request, Then};

use crate::bed::{Bed, exchange, get, need_nginx};

/// Heads that must be refused, and bodies that are broken in the bytes that come with the head.
const MALFORMED: &[(&str, &[u8])] = &[
    ("no HTTP", b"SSH-2.0-OpenSSH_9.6\r\n\r\nhello"),
    ("HTTP/0.9", b"<html>hello</html>\n"),
    ("letters in the status", b"HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ("another protocol", b"ICAP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhellohi"),
    ("length and chunks", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("NUL in a value", b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nhi"),
    ("NUL in a name", b"HTTP/1.1 200 OK\r\nX\0A: a\r\nContent-Length: 2\r\n\r\nhi"),
    ("a negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
    ("a length of junk", b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello"),
    ("a length beyond 64 bits", b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello"),
    ("a space in a name", b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello"),
    ("a broken first chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"),
    ("a head that ends early", b"HTTP/1.1 200 OK\r\nContent-Le"),
    ("nothing at all", b""),
    ("only early hints", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
];

fn assert_fails_over(nginx: &Nginx, what: &str) {
    for _ in 0..4 {
        let request = Request::get("/x").id("r");
        let response = exchange(nginx, &request);
        assert!(request.is_echoed_by(&response), "{what}: {response:?}\n{}", nginx.log());
    }
}

#[test]
fn gets_fail_over_from_malformed_responses() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin fails=31 budget=off");
    let nginx = bed.nginx();
    for (what, bytes) in MALFORMED {
        bed.backends[0].set(Behaviour::Raw(bytes.to_vec(), Then::Close)).unwrap();
        assert_fails_over(&nginx, what);
    }
    nginx.assert_clean_log();
}

#[test]
fn where_all_are_malformed_the_gateway_answers() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin fails=31 budget=off");
    let nginx = bed.nginx();
    for (what, bytes) in MALFORMED {
        bed.set_all(&Behaviour::Raw(bytes.to_vec(), Then::Close));
        let response = get(&nginx, "/x");
        assert_eq!(response.status, 502, "{what}: {response:?}");
        let proxy_status = response.fields.first("proxy-status").expect("Proxy-Status");
        assert!(proxy_status.starts_with("tidegate;error="), "{what}: {proxy_status}");
    }
    nginx.assert_clean_log();
}

#[test]
fn interim_responses_are_swallowed() {
    need_nginx!();
    let mut bed = Bed::new(1, "round_robin");
    let nginx = bed.nginx();
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    bed.set_all(&Behaviour::Raw(bytes.to_vec(), Then::KeepOpen));
    for _ in 0..3 {
        let response = get(&nginx, "/x");
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    }
    nginx.assert_clean_log();
}

/// nginx counts every interim head against proxy_buffer_size; here only the longest one has to fit.
#[test]
fn many_interim_responses_need_no_larger_buffer() {
    need_nginx!();
    let mut bed = Bed::new(1, "round_robin").http("proxy_buffer_size 4k;");
    let nginx = bed.nginx();
    let hint = [b"HTTP/1.1 103 Early Hints\r\nLink: <", "a".repeat(1000).as_bytes(), b">\r\n\r\n"].concat();
    let bytes = [hint.repeat(10).as_slice(), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"].concat();
    bed.set_all(&Behaviour::Raw(bytes, Then::KeepOpen));
    assert_eq!(get(&nginx, "/x").text(), "hello");
    nginx.assert_clean_log();
}

/// An upgrade that the client asked for becomes a tunnel; one that nobody asked for is no response.
#[test]
fn only_a_wanted_upgrade_passes() {
    need_nginx!();
    let mut bed = Bed::new(1, "round_robin fails=31").server(
        "location /socket {
             proxy_pass http://app;
             proxy_set_header Upgrade $http_upgrade;
             proxy_set_header Connection upgrade;
         }",
    );
    let nginx = bed.nginx();
    let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    bed.set_all(&Behaviour::Raw([head, b"hello".as_slice()].concat(), Then::Close));
    let wanted = Request::get("/socket").field("Upgrade", "websocket").field("Connection", "Upgrade");
    let response = exchange(&nginx, &wanted);
    assert_eq!((response.status, response.text().as_str()), (101, "hello"));
    assert_eq!(get(&nginx, "/socket").status, 502);
    nginx.assert_clean_log();
}

#[test]
fn a_head_beyond_the_buffer_is_a_failure_of_the_peer() {
    need_nginx!();
    let mut bed = Bed::new(2, "round_robin fails=31");
    let nginx = bed.nginx();
    let head = [b"HTTP/1.1 200 OK\r\nX: ", "a".repeat(9000).as_bytes(), b"\r\nContent-Length: 0\r\n\r\n"].concat();
    bed.backends[0].set(Behaviour::Raw(head, Then::Close)).unwrap();
    assert_fails_over(&nginx, "a head of 9000 bytes");
    nginx.assert_clean_log();
}

/// A body that breaks off after its head has gone out can't be taken back, but the client must see the cut.
#[test]
fn a_body_that_breaks_off_is_seen_to() {
    need_nginx!();
    let mut bed = Bed::new(1, "round_robin fails=31")
        .server("location /unbuffered { proxy_pass http://app; proxy_buffering off; }");
    let nginx = bed.nginx();
    for behaviour in [Behaviour::BreakOff, Behaviour::BadChunk] {
        bed.set_all(&behaviour);
        for path in ["/x?pad=2000", "/unbuffered?pad=2000", "/x?pad=200000"] {
            let response = crate::bed::client(&nginx).exchange(&Request::get(path));
            let complete =
                response.is_ok_and(|r| r.status == 200 && r.ending == tidegate_testbed::client::Ending::Complete);
            assert!(!complete, "{behaviour} looks complete at {path}");
        }
    }
    nginx.assert_clean_log();
}
