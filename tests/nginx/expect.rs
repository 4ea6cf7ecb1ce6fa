//! The operator's word on responses: rules on live traffic, and how strictly heads are read.

use tidegate_testbed::nginx::nginx_test;
use tidegate_testbed::{Behaviour, Config, Response, Then};

use crate::bed::{Bed, get, need_nginx, peers, status};

fn raw(text: &str) -> Behaviour {
    Behaviour::Raw(text.as_bytes().to_vec(), Then::Close)
}

/// A 200 whose body says otherwise, `before` bytes in.
fn error_page(before: usize) -> Behaviour {
    let body = format!("<html>{}<h1>Fatal error</h1></html>", " ".repeat(before));
    raw(&format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// With what was seen in fields of the response.
const SEEN: &str = "add_header X-Decision \"$tidegate_decision\" always;
add_header X-Tolerated \"$tidegate_tolerated\" always;";

fn field<'a>(response: &'a Response, name: &'a str) -> &'a str {
    response.fields.first(name).unwrap_or_else(|| panic!("no {name}: {response:?}"))
}

/// The marker comes with the head, or later: under hold-back both fail over, and the peer is ejected for it.
#[test]
fn a_200_with_an_error_page_fails_over_and_is_charged() {
    need_nginx!();
    for before in [0, 6_000, 40_000] {
        let rules = "tidegate_expect 'no-marker \"Fatal error\" within 64k' 'status 200'";
        let mut bed = Bed::new(2, &format!("round_robin fails=3 eject=10s budget=off; {rules}")).server(SEEN);
        bed.backends[0].set(error_page(before)).unwrap();
        let nginx = bed.nginx();
        let mut seen = 0;
        for _ in 0..12 {
            let response = get(&nginx, "/x");
            assert_eq!((response.status, field(&response, "x-backend")), (200, "b1"), "{}", nginx.log());
            seen += usize::from(field(&response, "x-decision").contains("response_unexpected"));
        }
        assert_eq!(seen, 3, "ejected after the third");
        let status = status(&nginx);
        let states: Vec<_> = peers(&status).iter().map(|p| p["health"].as_str().unwrap().to_owned()).collect();
        assert!(states.contains(&"ejected".to_owned()), "{states:?}");
        nginx.assert_clean_log();
    }
}

#[test]
fn what_no_peer_can_do_right_is_a_502() {
    need_nginx!();
    let mut bed = Bed::new(1, "round_robin fails=31; tidegate_expect 'type application/json'").server(
        "location /own { tidegate_expect 'field x-own'; tidegate_expect 'max-body 1k'; proxy_pass http://app; }
         location /none { tidegate_expect off; proxy_pass http://app; }",
    );
    bed.set_all(&error_page(0));
    let nginx = bed.nginx();
    for path in ["/x", "/own"] {
        let response = get(&nginx, path);
        assert_eq!(response.status, 502);
        assert!(field(&response, "content-type").starts_with("application/json"));
        assert!(response.text().contains("response_unexpected"), "{}", response.text());
    }
    assert_eq!(get(&nginx, "/none").status, 200);
    bed.set_all(&raw("HTTP/1.1 200 OK\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\nok"));
    assert_eq!(get(&nginx, "/own").status, 200);
    bed.set_all(&raw(&format!("HTTP/1.1 200 OK\r\nX-Own: 1\r\nContent-Length: 2000\r\n\r\n{}", "x".repeat(2000))));
    assert_eq!(get(&nginx, "/own").status, 502, "the second line of rules holds as well");
    nginx.assert_clean_log();
}

/// A head that was tolerated reaches the client in its strictest form.
#[test]
fn a_tolerated_head_is_written_anew() {
    need_nginx!();
    let mut bed = Bed::new(1, "round_robin fails=31").server(SEEN).server(
        "location /compatible { tidegate_validator compatible; proxy_pass http://app; }
         location /one { tidegate_validator strict tolerate=folded,length_repeated; proxy_pass http://app; }
         location /observe { tidegate_validator observe; proxy_pass http://app; }
         location /buffer { tidegate_validator compatible; proxy_buffering off; proxy_pass http://app; }",
    );
    let nginx = bed.nginx();
    bed.set_all(&raw(
        "HTTP/1.1 200 OK\r\nX-Long: a\r\n  b\r\nContent-Length: 2\r\nContent-Length: 2\r\nX-After: c\r\n\r\nok",
    ));
    assert_eq!(get(&nginx, "/x").status, 502);
    for path in ["/compatible", "/one", "/observe", "/buffer"] {
        let response = get(&nginx, path);
        assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{path}: {}", nginx.log());
        assert_eq!(field(&response, "x-long").split_whitespace().collect::<Vec<_>>(), ["a", "b"], "{path}");
        assert_eq!(field(&response, "x-after"), "c");
        assert_ne!(field(&response, "x-tolerated"), "-", "{path}");
    }
    // Only what was named.
    bed.set_all(&raw("HTTP/1.1 200 OK\r\nX-Odd : a\r\nContent-Length: 2\r\n\r\nok"));
    assert_eq!(get(&nginx, "/one").status, 502);
    assert_eq!(field(&get(&nginx, "/compatible"), "x-odd"), "a");
    // A length beside chunks: one of them is believed, by everybody.
    bed.set_all(&raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ));
    let response = get(&nginx, "/compatible");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    nginx.assert_clean_log();
}

#[test]
fn observe_refuses_no_rule_and_tells() {
    need_nginx!();
    let rules = "tidegate_validator observe; tidegate_expect 'type application/json'";
    let mut bed = Bed::new(1, &format!("round_robin fails=31; {rules}")).server(SEEN);
    bed.set_all(&error_page(0));
    let nginx = bed.nginx();
    let response = get(&nginx, "/x");
    assert_eq!(response.status, 200);
    assert!(field(&response, "x-tolerated").contains("type"), "{response:?}");
    nginx.assert_clean_log();
}

#[test]
fn wrong_words_are_refused() {
    need_nginx!();
    for (line, words) in [
        ("tidegate_expect 'colour red';", ["colour", "tidegate_expect"]),
        ("tidegate_expect 'status 200'; tidegate_expect 'max-body much';", ["max-body", "byte"]),
        ("tidegate_expect off; tidegate_expect 'status 200';", ["beside", "off"]),
        ("tidegate_validator lax;", ["\"lax\"", "strict, compatible, observe"]),
        ("tidegate_validator strict tolerate=everything;", ["tolerate=everything", "empty_lines, version"]),
        ("tidegate_validator observe tolerate=folded;", ["tolerate=folded", "\"strict\" or \"compatible\""]),
        ("tidegate_errors json type=https://x/;", ["type=https://x/", "\"auto\" or \"problem\""]),
        ("tidegate_errors problem type=a\\\"b;", ["tidegate_errors", "URI"]),
    ] {
        let (ok, text) = nginx_test(&Config::tidegate().server(line)).unwrap();
        assert!(!ok, "{line}: {text}");
        let told = text.lines().find(|l| l.contains("[emerg]")).unwrap();
        for word in words {
            assert!(told.contains(word), "{word:?} is not in: {told}");
        }
    }
}
