//! Bad directives are refused by `nginx -t`: file, line, what was wrong, what is allowed.

use tidegate_testbed::Config;
use tidegate_testbed::nginx::nginx_test;

use crate::bed::need_nginx;

const SERVER: &str = "127.0.0.1:1";

fn upstream(first: &str, servers: &[&str], last: &str) -> Config {
    let servers: Vec<_> = servers.iter().map(|s| s.to_string()).collect();
    Config::tidegate().upstream("app", first, &servers, last)
}

/// What nginx says of a configuration that it must refuse, naming its file and a line.
fn refusal(config: &Config) -> String {
    let (ok, text) = nginx_test(config).unwrap();
    assert!(!ok, "accepted: {config:?}");
    let line = text.lines().find(|l| l.contains("[emerg]")).unwrap_or_else(|| panic!("no [emerg]: {text}"));
    let place = line.split("nginx.conf:").nth(1).unwrap_or_else(|| panic!("no place in {line}"));
    assert!(place.starts_with(|c: char| c.is_ascii_digit()), "no line number in {line}");
    line.to_owned()
}

fn assert_refused(config: &Config, words: &[&str]) {
    let line = refusal(config);
    for word in words {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
}

#[test]
fn a_bad_argument_of_tidegate_is_refused() {
    need_nginx!();
    let cases: &[(&str, &[&str])] = &[
        ("fastest", &["\"fastest\"", "round_robin, least_request"]),
        ("round_robin speed=1", &["\"speed=1\"", "fails, eject, eject_max"]),
        ("round_robin fails", &["\"fails\"", "followed by \"=\""]),
        ("round_robin fails=0", &["\"0\" of \"fails\"", "1 to 31"]),
        ("round_robin fails=", &["\"\" of \"fails\"", "1 to 31"]),
        ("round_robin fails=2 fails=3", &["\"fails\" is given twice"]),
        ("round_robin eject=fast", &["\"fast\" of \"eject\"", "1ms to 1h"]),
        ("round_robin eject_max=2h", &["\"2h\" of \"eject_max\"", "1ms to 1h"]),
        ("round_robin trials=8", &["\"8\" of \"trials\"", "1 to 7"]),
        ("round_robin attempts=17", &["\"17\" of \"attempts\"", "1 to 16"]),
        ("round_robin budget=20", &["\"20\" of \"budget\"", "1% to 100%, or \"off\""]),
        ("round_robin budget=0%", &["\"0%\" of \"budget\"", "1% to 100%"]),
        ("round_robin panic=101%", &["\"101%\" of \"panic\"", "1% to 100%, or \"off\""]),
        ("round_robin statuses=502,600", &["\"502,600\" of \"statuses\"", "500, 502, 503, 504, 429, 403 and 404"]),
        ("round_robin statuses=", &["\"\" of \"statuses\""]),
        ("round_robin \"label=a b\"", &["\"a b\" of \"label\"", "printable ASCII"]),
    ];
    for (arguments, words) in cases {
        assert_refused(&upstream(&format!("tidegate {arguments};"), &[SERVER], ""), words);
    }
}

/// What only the library knows to be wrong is refused by `nginx -t` too, with its own words.
#[test]
fn what_the_library_refuses_is_refused() {
    need_nginx!();
    let config = upstream("tidegate round_robin eject=2m;", &[SERVER], "");
    assert_refused(&config, &["\"app\"", "eject_base_ns", "eject_max_ns"]);
}

#[test]
fn bad_servers_and_shadows_are_refused() {
    need_nginx!();
    let with = |text: &str| upstream("tidegate round_robin;", &[SERVER], text);
    let server = |rest: &str| with(&format!("tidegate_server {SERVER} {rest};"));
    assert_refused(&server("zone=0"), &["\"0\" of \"zone\"", "1 to 255"]);
    assert_refused(&server("state=away"), &["\"away\" of \"state\"", "\"drain\""]);
    assert_refused(&server("weight=2"), &["\"weight=2\"", "zone, state, name"]);
    assert_refused(&server(&format!("zone=1; tidegate_server {SERVER} zone=2")), &[SERVER, "duplicate"]);
    assert_refused(&with("tidegate_server 127.0.0.1:9 zone=1;"), &["127.0.0.1:9", "\"app\"", "nginx.conf:"]);
    let early = upstream(&format!("tidegate_server {SERVER} zone=1; tidegate round_robin;"), &[SERVER], "");
    assert_refused(&early, &["behind \"tidegate\""]);
    assert_refused(&with("tidegate_shadow fastest;"), &["\"fastest\"", "tidegate_shadow", "peak_ewma"]);
    assert_refused(&with("tidegate_shadow random fails=0;"), &["\"0\" of \"fails\"", "1 to 31"]);
    assert_refused(&with("tidegate_shadow random label=x;"), &["\"label\""]);
    assert_refused(&with("tidegate_shadow random; tidegate_shadow random;"), &["duplicate"]);
    let small = with("tidegate_shadow random;").http("tidegate_table peers=1;");
    assert_refused(&small, &["2 upstreams with 2 servers", "1 peers"]);
}

#[test]
fn a_second_balancer_is_refused() {
    need_nginx!();
    assert_refused(&upstream("least_conn; tidegate round_robin;", &[SERVER], ""), &["only balancer"]);
    assert_refused(&upstream("tidegate round_robin;", &[SERVER], "least_conn;"), &["\"app\"", "another balancer"]);
    assert_refused(&upstream("keepalive 4;", &[SERVER], "tidegate round_robin;"), &["before \"keepalive\""]);
    assert_refused(&upstream("tidegate round_robin; tidegate round_robin;", &[SERVER], ""), &["duplicate"]);
}

#[test]
fn bad_servers_and_a_small_table_are_refused() {
    need_nginx!();
    assert_refused(&upstream("tidegate round_robin;", &[SERVER, SERVER], ""), &[SERVER, "given twice"]);
    assert_refused(&upstream("tidegate round_robin;", &["127.0.0.1:1 weight=65536"], ""), &["1 to 65535"]);
    let two = upstream("tidegate round_robin;", &[SERVER, "127.0.0.1:2"], "");
    assert_refused(&two.http("tidegate_table peers=1;"), &["2 servers", "1 peers", "tidegate_table"]);
    assert_refused(&Config::tidegate().http("tidegate_table peers=0;"), &["\"0\" of \"peers\"", "1 to 65536"]);
    assert_refused(&Config::tidegate().http("tidegate_table room=1;"), &["\"room=1\"", "peers, upstreams, workers"]);
    assert_refused(&Config::tidegate().http("tidegate_table path=;"), &["\"\" of \"path\"", "a file on a tmpfs"]);
    assert_refused(&Config::tidegate().http("tidegate_table mismatch=replace;"), &["\"mismatch\" without \"path\""]);
    assert_refused(&Config::tidegate().http("tidegate_table path=/x mismatch=no;"), &["\"refuse\" or \"replace\""]);
}

#[test]
fn bad_words_of_location_directives_are_refused() {
    need_nginx!();
    let cases: &[(&str, &[&str])] = &[
        ("tidegate_errors xml;", &["\"xml\"", "auto, json, json_flat, problem, html, text, off"]),
        ("tidegate_retry maybe;", &["\"maybe\"", "default, safe, off"]),
        ("tidegate_label \"a b\";", &["\"a b\"", "1 to 64 printable"]),
        ("tidegate_errors html; tidegate_errors html;", &["duplicate"]),
        ("tidegate_hold_back 64k 50ms;", &["invalid number of arguments"]),
        ("tidegate_hold_back 64k;", &["\"64k\"", "\"on\" or \"off\""]),
    ];
    for (directive, words) in cases {
        assert_refused(&Config::tidegate().server(directive), words);
    }
    for (value, words) in [
        ("0", ["\"0\"", "1 to 16m"]),
        ("17m", ["\"17m\"", "1 to 16m"]),
        ("64k 0", ["\"0\"", "1ms to 1m"]),
        ("off 1s", ["\"off\"", "\"off\" alone"]),
        ("1k; tidegate_hold_back off", ["duplicate", "tidegate_hold_back"]),
    ] {
        let directives = format!("tidegate round_robin; tidegate_hold_back {value};");
        assert_refused(&upstream(&directives, &[SERVER], ""), &words);
    }
    let location = Config::tidegate().server("location /s { tidegate_status xml; }");
    assert_refused(&location, &["\"xml\"", "?format=text"]);
}

#[test]
fn parameters_without_effect_are_warned_of() {
    need_nginx!();
    let (ok, text) = nginx_test(&upstream("tidegate round_robin;", &["127.0.0.1:1 max_fails=3"], "")).unwrap();
    assert!(ok && text.contains("[warn]") && text.contains("use its \"fails\" and \"eject\""), "{text}");
}

#[test]
fn every_directive_is_accepted() {
    need_nginx!();
    let full = "tidegate least_request fails=3 eject=500ms eject_max=10s trials=1 attempts=3 budget=10% budget_min=5 \
                backoff=10ms backoff_max=100ms deadline=5s statuses=500,503 panic=40% slow_start=5s decay=2s overflow=140% bound=150% zone=3 \
                label=orders-service; \
                tidegate_hold_back 256k 100ms; tidegate_hash_key $uri; tidegate_shadow peak_ewma fails=2 zone=4;";
    let servers =
        [SERVER, "127.0.0.1:2 weight=3 max_conns=10", "127.0.0.1:3 backup", "[::1]:4 down", "unix:/run/x.sock"];
    let more = "tidegate_server 127.0.0.1:2 zone=3 state=drain name=second; tidegate_server unix:/run/x.sock state=up; \
                keepalive 4; zone app 64k;";
    let config = upstream(full, &servers, more)
        .upstream(
            "b",
            "tidegate round_robin budget=off panic=off statuses=off; tidegate_hold_back off;",
            &[SERVER.to_owned()],
            "",
        )
        .http("tidegate_table peers=100 upstreams=8 workers=16;")
        .http("tidegate_errors problem type=https://docs.example/causes#; tidegate_replace_upstream_errors on; \
             tidegate_request_id $http_x_id; tidegate_validator compatible tolerate=nul; tidegate_label gate; tidegate_retry off; tidegate_hold_back off;")
        .server(
            "location /a { tidegate_errors off; tidegate_error_template html off; tidegate_upstream_label my-orders; \
             tidegate_expect 'type text/html' 'min-body 2'; tidegate_retry safe; tidegate_hold_back on; proxy_pass http://app; }",
        )
        .server("location = /s { tidegate_status; }");
    let (ok, text) = nginx_test(&config).unwrap();
    assert!(ok, "{text}");
}
