//! What an operator sees: variables in the access log, and the status page.

use tidegate_testbed::process::wait_until;
use tidegate_testbed::{Behaviour, Nginx};

use crate::bed::{Bed, get, need_nginx, status};

const FORMAT: &str = "log_format tidegate '$uri|$status|$tidegate_cause|$tidegate_origin|$tidegate_attempts|\
                   $tidegate_peer|$tidegate_decision';";

/// The fields of the access log's last line for a path.
fn logged(nginx: &Nginx, path: &str) -> Vec<String> {
    let find = || nginx.file("access.log").lines().rfind(|l| l.starts_with(&format!("{path}|"))).map(str::to_owned);
    assert!(wait_until(std::time::Duration::from_secs(10), || find().is_some()), "{}", nginx.file("access.log"));
    find().unwrap().split('|').map(str::to_owned).collect()
}

fn bed(count: usize) -> Bed {
    Bed::new(count, "round_robin fails=31 budget=off").http(FORMAT).server("access_log access.log tidegate;")
}

#[test]
fn a_success_is_logged_as_the_upstreams() {
    need_nginx!();
    let bed = bed(1);
    let nginx = bed.nginx();
    get(&nginx, "/good");
    let peer = bed.backends[0].addr().to_string();
    assert_eq!(logged(&nginx, "/good")[1..6], ["200", "-", "upstream", "1", &peer]);
    assert!(logged(&nginx, "/good")[6].contains(&peer));
    nginx.assert_clean_log();
}

#[test]
fn causes_are_true() {
    need_nginx!();
    let mut bed = bed(1).server("location /slow { proxy_read_timeout 100ms; proxy_pass http://app; }");
    let nginx = bed.nginx();
    let cases = [
        ("/reset", Behaviour::Reset, "502", "connection_terminated"),
        ("/garbage", Behaviour::Garbage, "502", "http_protocol_error"),
        ("/slow", Behaviour::Hang, "504", "connection_read_timeout"),
        // The only peer, and ejected by this: nobody is left to try.
        ("/refuse", Behaviour::Refuse, "503", "no_eligible_peer"),
    ];
    for (path, behaviour, code, cause) in cases {
        bed.set_all(&behaviour);
        get(&nginx, path);
        assert_eq!(logged(&nginx, path)[1..5], [code, cause, "gateway", "1"], "{behaviour}");
    }
    assert!(logged(&nginx, "/refuse")[6].contains("connection_refused"));
    nginx.assert_clean_log();
}

#[test]
fn a_retry_shows_in_attempts_and_in_the_decision() {
    need_nginx!();
    let mut bed = bed(2);
    bed.backends[0].set(Behaviour::Reset).unwrap();
    let nginx = bed.nginx();
    for path in ["/one", "/two", "/three", "/four"] {
        assert_eq!(get(&nginx, path).status, 200);
    }
    let tried: Vec<_> = ["/one", "/two", "/three", "/four"].map(|path| logged(&nginx, path)).into();
    let retried = tried.iter().find(|fields| fields[4] == "2").expect("one in two starts at the peer that resets");
    let peers: Vec<_> = bed.backends.iter().map(|b| b.addr().to_string()).collect();
    assert_eq!(retried[5], peers[1]);
    for word in [peers[0].as_str(), "connection_terminated", "retry", peers[1].as_str()] {
        assert!(retried[6].contains(word), "{word} is not in {}", retried[6]);
    }
    nginx.assert_clean_log();
}

/// They survive the redirect to the operator's page, and are empty where Tidegate had no part.
#[test]
fn variables_outlive_an_error_page() {
    need_nginx!();
    let mut bed = bed(1).server(
        "location /paged { error_page 502 /sorry; proxy_pass http://app; }
         location = /sorry { internal; return 200 sorry; }
         location = /static { return 200 static; }",
    );
    let nginx = bed.nginx();
    bed.set_all(&Behaviour::Reset);
    get(&nginx, "/paged");
    // $uri is the page's by now.
    assert_eq!(logged(&nginx, "/sorry")[1..4], ["502", "connection_terminated", "gateway"]);
    get(&nginx, "/static");
    assert_eq!(logged(&nginx, "/static")[1..6], ["200", "-", "-", "-", "-"]);
    nginx.assert_clean_log();
}

#[test]
fn the_table_is_shown_as_json_and_as_text() {
    need_nginx!();
    let mut bed = bed(2);
    bed.backends[1].set(Behaviour::Refuse).unwrap();
    let nginx = bed.nginx();
    for _ in 0..4 {
        get(&nginx, "/x");
    }
    let response = get(&nginx, "/tidegate");
    assert_eq!(response.fields.first("content-type"), Some("application/json"));
    let json = status(&nginx);
    assert_eq!(json["upstreams"].as_array().unwrap().len(), 1, "{json:#}");
    assert_eq!(crate::bed::peers(&json).len(), 2, "{json:#}");
    assert!(json.to_string().contains("connection_refused"), "{json:#}");
    let text = get(&nginx, "/tidegate?format=text");
    assert!(text.fields.first("content-type").unwrap().starts_with("text/plain"));
    assert!(text.text().contains(&bed.backends[0].addr().to_string()), "{}", text.text());
    assert_eq!(get(&nginx, "/tidegate?format=xml").status, 400);
    nginx.assert_clean_log();
}
