//! The gateway's own answers: status, fields and body, and when the operator's or the upstream's come instead.

use std::time::{Duration, Instant};

use tidegate_testbed::process::wait_until;
use tidegate_testbed::{Behaviour, Request, Response};

use crate::bed::{Bed, client, exchange, get, need_nginx};

/// An upstream none of whose peers listens, after the first requests have found that out.
fn dead(config: fn(Bed) -> Bed) -> (Bed, tidegate_testbed::Nginx) {
    let mut bed = config(Bed::new(2, "round_robin eject=10s label=orders"));
    bed.set_all(&Behaviour::Refuse);
    let nginx = bed.nginx();
    let ejected = wait_until(Duration::from_secs(10), || get(&nginx, "/x").status == 503);
    assert!(ejected, "{}", nginx.log());
    (bed, nginx)
}

fn accept(path: &str, types: &str) -> Request {
    Request::get(path).field("Accept", types)
}

fn assert_gateway(response: &Response, content_type: &str) {
    assert_eq!(response.status, 503, "{response:?}");
    let field = |name| response.fields.first(name).unwrap_or_else(|| panic!("no {name}: {response:?}"));
    assert!(field("retry-after").parse::<u32>().unwrap() >= 1);
    assert!(field("proxy-status").contains("error=destination_unavailable"), "{response:?}");
    assert_eq!(field("cache-control"), "no-store");
    assert!(field("content-type").starts_with(content_type), "{response:?}");
}

#[test]
fn an_outage_is_told_in_the_clients_language() {
    need_nginx!();
    let (_bed, nginx) = dead(|bed| bed);
    let json = exchange(&nginx, &accept("/x", "application/json"));
    assert_gateway(&json, "application/json");
    let body: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(body["error"]["code"], 503);
    let html = exchange(&nginx, &accept("/x", "text/html,application/xhtml+xml,*/*;q=0.8"));
    assert_gateway(&html, "text/html");
    assert!(html.text().contains("<html"), "{}", html.text());
    assert!(!html.text().contains("nginx"), "{}", html.text());
    nginx.assert_clean_log();
}

#[test]
fn head_and_keep_alive_are_right() {
    need_nginx!();
    let (_bed, nginx) = dead(|bed| bed);
    let mut client = client(&nginx);
    let get = client.exchange(&accept("/x", "application/json")).unwrap();
    let head = client.exchange(&accept("/x", "application/json").method("HEAD")).unwrap();
    assert_eq!(head.body, b"");
    assert_eq!(head.fields.first("content-type"), get.fields.first("content-type"));
    assert!(head.fields.first("content-length").is_some());
    let post = client.exchange(&Request::post("/x", b"body").field("Accept", "application/json")).unwrap();
    assert_gateway(&post, "application/json");
    assert_eq!(client.connections(), 1);
    nginx.assert_clean_log();
}

#[test]
fn the_location_chooses_format_and_label() {
    need_nginx!();
    let (_bed, nginx) = dead(|bed| {
        bed.server(
            "location /problem { tidegate_errors problem; proxy_pass http://app; }
             location /flat { tidegate_errors json_flat; proxy_pass http://app; }
             location /text { tidegate_errors text; tidegate_label edge; proxy_pass http://app; }
             location /off { tidegate_errors off; proxy_pass http://app; }",
        )
    });
    assert_gateway(&get(&nginx, "/problem"), "application/problem+json");
    let flat = get(&nginx, "/flat");
    assert_gateway(&flat, "application/json");
    let body: serde_json::Value = serde_json::from_slice(&flat.body).unwrap();
    assert_eq!(body["upstreamService"], "orders");
    let text = get(&nginx, "/text");
    assert_gateway(&text, "text/plain");
    assert!(text.fields.first("proxy-status").unwrap().starts_with("edge;"), "{text:?}");
    let off = get(&nginx, "/off");
    assert_eq!(off.status, 503);
    assert!(off.text().contains("nginx"), "{}", off.text());
    nginx.assert_clean_log();
}

#[test]
fn an_error_page_wins() {
    need_nginx!();
    let (_bed, nginx) = dead(|bed| {
        bed.server(
            "location /page { error_page 503 /sorry; proxy_pass http://app; }
             location /ok { error_page 503 =200 /sorry; proxy_pass http://app; }
             location /named { error_page 503 = @other; proxy_pass http://app; }
             location /unmatched { error_page 502 /sorry; proxy_pass http://app; }
             location = /sorry { internal; return 200 \"sorry\"; }
             location @other { return 202 \"other\"; }",
        )
    });
    let page = get(&nginx, "/page");
    assert_eq!((page.status, page.text().as_str()), (503, "sorry"));
    assert_eq!(get(&nginx, "/ok").status, 200);
    let named = get(&nginx, "/named");
    assert_eq!((named.status, named.text().as_str()), (202, "other"));
    assert_gateway(&get(&nginx, "/unmatched"), "application/json");
    nginx.assert_clean_log();
}

/// An upstream's own error is its answer, byte for byte, when no other peer has a better one.
#[test]
fn an_upstreams_own_error_passes() {
    need_nginx!();
    let mut bed = Bed::new(1, "round_robin fails=31");
    let nginx = bed.nginx();
    for code in [500, 502, 503, 504] {
        bed.set_all(&Behaviour::Status { code, percent: 100 });
        let response = get(&nginx, "/x");
        assert_eq!(response.status, code);
        assert_eq!(response.fields.first("x-backend"), Some("b0"), "{response:?}");
        assert_eq!(response.fields.first("proxy-status"), None);
    }
    nginx.assert_clean_log();
}

#[test]
fn a_read_timeout_is_a_504() {
    need_nginx!();
    let mut bed = Bed::new(1, "round_robin fails=31")
        .server("location /fast { proxy_read_timeout 100ms; proxy_pass http://app; }");
    let nginx = bed.nginx();
    bed.set_all(&Behaviour::Hang);
    let response = get(&nginx, "/fast");
    assert_eq!(response.status, 504);
    let proxy_status = response.fields.first("proxy-status").expect("Proxy-Status");
    assert!(proxy_status.contains("connection_read_timeout"), "{proxy_status}");
    nginx.assert_clean_log();
}

#[test]
fn the_first_good_answer_follows_the_first_return() {
    need_nginx!();
    let mut bed = Bed::new(4, "round_robin");
    let nginx = bed.nginx();
    assert_eq!(get(&nginx, "/x").status, 200);
    bed.set_all(&Behaviour::Refuse);
    let down = wait_until(Duration::from_secs(10), || {
        let response = exchange(&nginx, &accept("/x", "application/json"));
        assert!([502, 503].contains(&response.status), "{response:?}");
        response.status == 503
    });
    assert!(down, "{}", nginx.log());
    for returns in [2, 0, 3] {
        for _ in 0..100 {
            assert_eq!(get(&nginx, "/x").status, 503);
        }
        let since = Instant::now();
        bed.backends[returns].set(Behaviour::Ok).unwrap();
        assert!(wait_until(Duration::from_secs(10), || get(&nginx, "/x").status == 200), "{}", nginx.log());
        eprintln!("first good answer after {:?}", since.elapsed());
        bed.backends[returns].set(Behaviour::Refuse).unwrap();
        assert!(wait_until(Duration::from_secs(10), || get(&nginx, "/x").status == 503), "{}", nginx.log());
    }
    nginx.assert_clean_log();
}
