//! Requests within requests and stored responses: auth_request, SSI, mirror, proxy_cache, each with Tidegate below.

use std::fs;
use std::time::Duration;

use tidegate_testbed::process::wait_until;
use tidegate_testbed::{Behaviour, Nginx};

use crate::bed::{Bed, client, get, in_flight, need_nginx};

/// Three servers whose failures are retried after a delay, each of them long enough alive.
const PATIENT: &str = "round_robin fails=31 backoff=20ms backoff_max=40ms budget=off";

fn ended(nginx: &Nginx) {
    assert!(wait_until(LIMIT, || in_flight(nginx) == 0));
    nginx.assert_clean_log();
}

#[test]
fn an_auth_request_fails_over() {
    need_nginx!();
    let mut bed = Bed::new(3, PATIENT).server(
        "location = /auth { internal; proxy_pass http://app; proxy_pass_request_body off; \
         proxy_set_header Content-Length \"\"; }
         location /guarded { auth_request /auth; }",
    );
    for backend in &mut bed.backends[..2] {
        backend.set(Behaviour::Reset).unwrap();
    }
    let nginx = bed.nginx();
    // There is no such file: 404 says that the check let it pass.
    for _ in 0..8 {
        assert_eq!(get(&nginx, "/guarded").status, 404, "{}", nginx.log());
    }
    bed.set_all(&Behaviour::Status { code: 403, percent: 100 });
    assert_eq!(get(&nginx, "/guarded").status, 403);
    // What nginx makes of any answer that is neither 2xx nor 401 nor 403.
    bed.set_all(&Behaviour::Refuse);
    for _ in 0..4 {
        assert_eq!(get(&nginx, "/guarded").status, 500);
    }
    bed.set_all(&Behaviour::Ok);
    assert!(wait_until(LIMIT, || get(&nginx, "/guarded").status == 404));
    ended(&nginx);
}

#[test]
fn an_include_fails_over_and_fails_alone() {
    need_nginx!();
    let mut bed = Bed::new(3, PATIENT).server("location /page { ssi on; ssi_types *; }");
    for backend in &mut bed.backends[..2] {
        backend.set(Behaviour::Reset).unwrap();
    }
    let nginx = bed.nginx();
    let pages = nginx.prefix().join("html/page");
    fs::create_dir_all(&pages).unwrap();
    let include = |path: &str| format!("<!--#include virtual=\"{path}\" -->");
    fs::write(pages.join("index.html"), format!("<{}|{}>", include("/one"), include("/two"))).unwrap();
    for _ in 0..6 {
        let page = get(&nginx, "/page/index.html");
        assert_eq!(page.status, 200);
        let text = page.text();
        assert!(text.contains("path=/one\n") && text.contains("path=/two\n") && text.ends_with('>'), "{text:?}");
    }
    bed.set_all(&Behaviour::Refuse);
    let page = get(&nginx, "/page/index.html");
    assert_eq!(page.status, 200);
    assert!(page.text().starts_with('<') && page.text().ends_with('>'), "{:?}", page.text());
    ended(&nginx);
}

#[test]
fn a_mirror_is_nobodys_concern() {
    need_nginx!();
    let mut bed = Bed::new(3, PATIENT).server(
        "location /seen { mirror /mirror; proxy_pass http://app; }
         location = /mirror { internal; proxy_pass http://app; }",
    );
    let nginx = bed.nginx();
    for _ in 0..6 {
        assert_eq!(get(&nginx, "/seen").status, 200);
    }
    assert!(wait_until(LIMIT, || bed.requests() == 12), "{}", bed.requests());
    bed.backends[0].set(Behaviour::Reset).unwrap();
    bed.backends[1].set(Behaviour::Hang).unwrap();
    for _ in 0..2 {
        let mut client = client(&nginx);
        assert_eq!(client.exchange(&tidegate_testbed::Request::get("/seen")).unwrap().status, 200);
    }
    bed.set_all(&Behaviour::Refuse);
    assert_eq!(get(&nginx, "/seen").status, 503);
    ended(&nginx);
}

const CACHE: &str = "proxy_cache_path cache keys_zone=stored:1m;";
const STORED: &str = "location /stored { proxy_cache stored; proxy_cache_valid 200 1s; proxy_cache_lock on;
    proxy_cache_use_stale error timeout invalid_header updating http_500 http_502 http_503 http_504;
    add_header X-Cache $upstream_cache_status always; proxy_pass http://app; }";

fn cached(nginx: &Nginx, path: &str) -> (u16, String) {
    let response = get(nginx, path);
    (response.status, response.fields.first("x-cache").unwrap_or("-").to_owned())
}

/// Whether the stored response is too old and stands in. UPDATING: nginx has not quite finished the request before.
fn stale(nginx: &Nginx, path: &str) -> bool {
    let (status, cache) = cached(nginx, path);
    assert_eq!(status, 200, "{}", nginx.log());
    assert!(["HIT", "STALE", "UPDATING"].contains(&&*cache), "{cache}");
    cache != "HIT"
}

#[test]
fn a_stored_response_stands_in() {
    need_nginx!();
    let mut bed = Bed::new(3, PATIENT).http(CACHE).server(STORED);
    let nginx = bed.nginx();
    assert_eq!(cached(&nginx, "/stored/a"), (200, "MISS".into()));
    assert!(wait_until(LIMIT, || cached(&nginx, "/stored/a") == (200, "HIT".into())));
    let faults = [
        Behaviour::Reset,
        Behaviour::Garbage,
        Behaviour::Status { code: 503, percent: 100 },
        // The last one: all are ejected by it, and nobody is left to try.
        Behaviour::Refuse,
    ];
    for fault in faults {
        bed.set_all(&fault);
        assert!(wait_until(LIMIT, || stale(&nginx, "/stored/a")), "{fault}");
        for _ in 0..4 {
            assert!(stale(&nginx, "/stored/a"), "{fault}");
        }
    }
    // What is not stored has nothing to stand in for it.
    assert_eq!(get(&nginx, "/stored/b").status, 503);
    bed.set_all(&Behaviour::Ok);
    assert!(wait_until(LIMIT, || cached(&nginx, "/stored/a").1 == "EXPIRED"), "it is fetched anew");
    assert!(wait_until(LIMIT, || cached(&nginx, "/stored/a").1 == "HIT"));
    ended(&nginx);
}

/// The client has the stored response at once, a request of nginx's own fetches the new one.
#[test]
fn a_stored_response_is_renewed_behind_the_clients_back() {
    need_nginx!();
    let stored = STORED.replace("add_header", "proxy_cache_background_update on; add_header");
    let mut bed = Bed::new(3, PATIENT).http(CACHE).server(&stored);
    let nginx = bed.nginx();
    assert_eq!(cached(&nginx, "/stored/a").1, "MISS");
    for fault in [Behaviour::Reset, Behaviour::Refuse] {
        bed.set_all(&fault);
        assert!(wait_until(LIMIT, || stale(&nginx, "/stored/a")), "{fault}");
    }
    bed.set_all(&Behaviour::Ok);
    let before = bed.requests();
    assert!(wait_until(LIMIT, || {
        let (status, cache) = cached(&nginx, "/stored/a");
        assert_eq!(status, 200);
        cache == "HIT" && bed.requests() > before
    }));
    ended(&nginx);
}

/// For a machine that is very busy.
const LIMIT: Duration = Duration::from_secs(15);
