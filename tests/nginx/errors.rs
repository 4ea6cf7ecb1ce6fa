//! What errors look like where the operator has a say: templates, labels, problem types, gRPC, and an upstream's own
//! errors, passed or replaced.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use tidegate_testbed::h2::{self, StreamEnd};
use tidegate_testbed::nginx::nginx_test;
use tidegate_testbed::{Behaviour, Config, Request, Response, Scratch, Then};

use crate::bed::{Bed, client, exchange, get, need_nginx};

/// One peer that resets every connection, and is not ejected for it: every request is answered by the gateway.
fn resetting(server: &str) -> Bed {
    let mut bed = Bed::new(1, "round_robin fails=31 label=orders").server(server);
    bed.set_all(&Behaviour::Reset);
    bed
}

fn field<'a>(response: &'a Response, name: &'a str) -> &'a str {
    response.fields.first(name).unwrap_or_else(|| panic!("no {name}: {response:?}"))
}

fn json(response: &Response) -> serde_json::Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|why| panic!("{why}: {}", response.text()))
}

fn accept(path: &str, types: &str) -> Request {
    Request::get(path).field("Accept", types)
}

#[test]
fn a_template_is_the_body_and_is_inherited() {
    need_nginx!();
    let scratch = Scratch::new("nginx-templates");
    let file = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let page = file("page.html", "<p title=\"{{upstream}}\">{{status}} {{cause}} {{request_id}}</p>");
    let other = file("other.html", &format!("<p>other</p>{}", "x".repeat(20_000)));
    let body = file("body.json", "{\"what\": \"{{cause}}\", \"status\": {{status}}, \"of\": \"{{upstream}}\"}");
    let bed = resetting(&format!(
        "tidegate_error_template json {body};
         location /other {{ tidegate_error_template html {other}; proxy_pass http://app; }}
         location /none {{ tidegate_error_template html off; proxy_pass http://app; }}
         location /id {{ tidegate_request_id \"$arg_id\"; proxy_pass http://app; }}"
    ))
    .http(&format!("tidegate_error_template html {page};"));
    let nginx = bed.nginx();
    let html = exchange(&nginx, &accept("/x", "text/html"));
    let (before, after) =
        html.text().split_once("connection_terminated ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(before, "<p title=\"orders\">502 ");
    // nginx's own $request_id.
    assert_eq!(after.len(), 32 + "</p>".len(), "{after}");
    assert!(after[..32].bytes().all(|b| b.is_ascii_hexdigit()));
    let other = exchange(&nginx, &accept("/other", "text/html"));
    assert!(other.text().starts_with("<p>other</p>xxx") && other.body.len() == 20_012);
    assert!(exchange(&nginx, &accept("/none", "text/html")).text().starts_with("<!doctype html>"));
    let hostile = exchange(&nginx, &accept("/id?id=<b>\"", "text/html"));
    assert!(!hostile.text().contains("<b>"), "{}", hostile.text());
    for path in ["/x", "/other"] {
        let body = json(&get(&nginx, path));
        assert_eq!((&body["what"], &body["status"]), (&"connection_terminated".into(), &502.into()));
    }
    nginx.assert_clean_log();
}

/// The template's own line and column, beside those of the configuration.
#[test]
fn a_bad_template_is_refused_with_its_place() {
    need_nginx!();
    let scratch = Scratch::new("nginx-bad-templates");
    let bad = scratch.path().join("bad.html");
    std::fs::write(&bad, "<h1>\n  {{statsu}}</h1>\n").unwrap();
    let long = scratch.path().join("long.html");
    std::fs::write(&long, "x".repeat(70_000)).unwrap();
    let missing = scratch.path().join("missing.html");
    for (line, words) in [
        (format!("html {}", bad.display()), vec!["bad.html", "line 2, column 3", "statsu"]),
        (format!("html {}", long.display()), vec!["long.html", "65536"]),
        (format!("html {}", missing.display()), vec!["missing.html", "No such file"]),
        (format!("xml {}", bad.display()), vec!["\"xml\"", "html, json, text"]),
    ] {
        let config = Config::tidegate().http(&format!("tidegate_error_template {line};"));
        let (ok, text) = nginx_test(&config).unwrap();
        assert!(!ok, "{text}");
        let line = text.lines().find(|l| l.contains("[emerg]")).unwrap();
        for word in words.iter().copied().chain(["nginx.conf:"]) {
            assert!(line.contains(word), "{word:?} is not in: {line}");
        }
    }
}

#[test]
fn a_problem_has_a_type_and_an_upstream_its_label() {
    need_nginx!();
    let bed = resetting(
        "location /problem { tidegate_errors problem type=https://docs.example/causes#; proxy_pass http://app; }
         location /label { tidegate_upstream_label payments; proxy_pass http://app; }",
    );
    let nginx = bed.nginx();
    let problem = get(&nginx, "/problem");
    assert_eq!(field(&problem, "content-type"), "application/problem+json");
    assert_eq!(json(&problem)["type"], "https://docs.example/causes#connection_terminated");
    assert_eq!(json(&problem)["upstream"], "orders");
    assert_eq!(json(&get(&nginx, "/label"))["error"]["details"]["upstream"], "payments");
    nginx.assert_clean_log();
}

#[test]
fn grpc_gets_trailers_and_nothing_else() {
    need_nginx!();
    let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let bed = resetting("").http(&format!("server {{ listen {addr} http2; location / {{ proxy_pass http://app; }} }}"));
    let nginx = bed.nginx();
    let mut client = client(&nginx);
    for _ in 0..2 {
        let response =
            client.exchange(&Request::post("/x", b"").field("Content-Type", "application/grpc+proto")).unwrap();
        assert_eq!((response.status, response.body.len()), (200, 0));
        assert_eq!(field(&response, "content-type"), "application/grpc");
        assert_eq!(field(&response, "grpc-status"), "14");
        assert!(field(&response, "grpc-message").ends_with("broke off before its answer was complete."));
        assert_eq!(field(&response, "content-length"), "0");
    }
    assert_eq!(client.connections(), 1);
    let end = h2::get_with(addr, "/x", &[("content-type", "application/grpc")], LIMIT).unwrap();
    assert_eq!(end, StreamEnd::Whole(0));
    let end = h2::get(addr, "/x", LIMIT).unwrap();
    assert!(matches!(end, StreamEnd::Whole(n) if n > 50), "{end:?}");
    nginx.assert_clean_log();
}

/// An upstream's error, with everything that would be wrong of another body.
fn own_error(body: usize) -> Behaviour {
    let head = "HTTP/1.1 503 Gone Fishing\r\nContent-Type: text/html; charset=koi8-r\r\nContent-Encoding: gzip\r\n\
                ETag: \"a\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n\
                Cache-Control: max-age=60\r\nExpires: Mon, 01 Jan 2035 00:00:00 GMT\r\nRetry-After: 7\r\n\
                Proxy-Status: origin;error=dns_error\r\nProxy-Status: near\r\nX-Own: kept\r\n";
    let mut bytes = format!("{head}Content-Length: {body}\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + body, b'Z');
    Behaviour::Raw(bytes, Then::KeepOpen)
}

#[test]
fn an_upstreams_error_passes_with_our_member() {
    need_nginx!();
    let mut bed = Bed::new(1, "round_robin fails=31 statuses=off").server("tidegate_label edge;");
    bed.set_all(&own_error(10));
    let nginx = bed.nginx();
    let response = get(&nginx, "/x");
    assert_eq!((response.status, response.text().as_str()), (503, "ZZZZZZZZZZ"));
    assert_eq!(field(&response, "content-encoding"), "gzip");
    let lines: Vec<_> = response.fields.all("proxy-status").collect();
    assert_eq!(lines, ["origin;error=dns_error, near, edge;received-status=503"]);
    nginx.assert_clean_log();
}

#[test]
fn an_upstreams_error_is_replaced_where_asked() {
    need_nginx!();
    let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let mut bed = Bed::new(1, "round_robin fails=31 statuses=off label=orders")
        .http(&format!(
            "tidegate_replace_upstream_errors on; gzip on; gzip_types *; gzip_min_length 1;
             server {{ listen {addr} http2; location / {{ proxy_pass http://app; }} }}"
        ))
        .server(
            "location /stream { proxy_buffering off; proxy_pass http://app; }
             location /file { proxy_buffers 2 4k; proxy_busy_buffers_size 4k; proxy_pass http://app; }
             location /page { proxy_intercept_errors on; error_page 503 =410 /sorry; proxy_pass http://app; }
             location /off { tidegate_replace_upstream_errors off; proxy_pass http://app; }
             location /nginx { tidegate_errors off; proxy_pass http://app; }
             location = /sorry { internal; return 200 sorry; }",
        );
    let nginx = bed.nginx();
    for size in [0, 10, 300_000] {
        bed.set_all(&own_error(size));
        let mut client = client(&nginx);
        for path in ["/x", "/stream", "/file", "/x"] {
            let response = client.exchange(&accept(path, "text/html")).unwrap();
            assert_eq!(response.status, 503, "{path} {size}");
            assert!(response.text().contains("reported an error"), "{path} {size}: {}", response.text());
            assert!(!response.text().contains("ZZ"));
            for gone in ["content-encoding", "etag", "last-modified", "accept-ranges", "expires"] {
                assert_eq!(response.fields.first(gone), None, "{path} {size}: {response:?}");
            }
            assert_eq!(response.fields.all("cache-control").collect::<Vec<_>>(), ["no-store"]);
            assert_eq!(field(&response, "content-type"), "text/html; charset=utf-8");
            assert_eq!(response.fields.all("retry-after").collect::<Vec<_>>(), ["7"]);
            assert_eq!(field(&response, "x-own"), "kept");
            let lines: Vec<_> = response.fields.all("proxy-status").collect();
            assert_eq!(lines, ["origin;error=dns_error, near, tidegate;received-status=503"]);
            let head = client.exchange(&accept(path, "text/html").method("HEAD")).unwrap();
            assert_eq!((head.status, head.body.len()), (503, 0));
            assert_eq!(field(&head, "content-type"), "text/html; charset=utf-8");
        }
        assert_eq!(client.connections(), 1, "{size}");
        let end = h2::get(addr, "/x", LIMIT).unwrap();
        assert!(matches!(end, StreamEnd::Whole(n) if (50..5000).contains(&n)), "{end:?}");
        let page = get(&nginx, "/page");
        assert_eq!((page.status, page.text().as_str()), (410, "sorry"));
        for path in ["/off", "/nginx"] {
            assert_eq!(get(&nginx, path).body.len(), size, "{path}");
        }
    }
    // Only what the library has answers for.
    bed.set_all(&Behaviour::Status { code: 501, percent: 100 });
    assert_eq!(field(&get(&nginx, "/x"), "x-backend"), "b0");
    bed.set_all(&Behaviour::Ok);
    let good = get(&nginx, "/x");
    assert_eq!((good.status, good.fields.first("proxy-status")), (200, None));
    nginx.assert_clean_log();
}

/// What comes of a body that nobody gets: the answer is whole, and the connection to the peer is not used again.
#[test]
fn a_replaced_body_may_break_off() {
    need_nginx!();
    let mut bed = Bed::new(1, "round_robin fails=31 statuses=off")
        .http("tidegate_replace_upstream_errors on; tidegate_hold_back off;");
    let bytes = b"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    bed.set_all(&Behaviour::Raw(bytes, Then::Close));
    let nginx = bed.nginx();
    let response = get(&nginx, "/x");
    assert_eq!((response.status, &json(&response)["error"]["code"]), (500, &500.into()));
    nginx.assert_clean_log();
}

const LIMIT: Duration = Duration::from_secs(20);
