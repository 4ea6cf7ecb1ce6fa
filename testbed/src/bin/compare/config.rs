//! The configurations, in full. Each rival is tuned as its own manual advises for such faults; Tidegate has its defaults.
//!
//! The same for all: a second to connect, two between reads, two workers or threads, keep-alive to the peers, a POST
//! that may have run is not sent again.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use tidegate_testbed::Config;

/// Stock nginx: shared state, failures counted, and all that `proxy_next_upstream` can do for requests that may be
/// repeated.
pub fn nginx(config: Config, balancer: &str, peers: &[SocketAddr]) -> Config {
    let servers: Vec<_> = peers.iter().map(|peer| format!("{peer} max_fails=3 fail_timeout=2s")).collect();
    let location = format!("{LOCATION}    {NEXT_UPSTREAM}\n}}");
    config.upstream("app", &format!("zone app 256k; {balancer}"), &servers, "keepalive 64;").server(&location)
}

/// nginx with Tidegate: no more than its name.
pub fn tidegate(config: Config, selector: &str, peers: &[SocketAddr]) -> Config {
    let servers: Vec<_> = peers.iter().map(SocketAddr::to_string).collect();
    config.upstream("app", &format!("tidegate {selector};"), &servers, "keepalive 64;").server(&format!("{LOCATION}}}"))
}

/// HAProxy: active checks, failures of live traffic counted, and retries of everything but a POST.
pub fn haproxy(listen: SocketAddr, stats: &Path, peers: &[SocketAddr]) -> String {
    let mut text = format!(
        "global
    nbthread 2
    maxconn 4000
    stats socket {} mode 600 level admin expose-fd listeners

defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 2s
    timeout http-keep-alive 10s
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response junk-response response-timeout 502 503 504

listen app
    bind {listen}
    balance roundrobin
    http-reuse safe
    http-request disable-l7-retry if METH_POST
    option httpchk GET /health
    default-server check inter 1s fastinter 200ms fall 2 rise 2 observe layer7 error-limit 10 on-error mark-down
",
        stats.display()
    );
    for (i, peer) in peers.iter().enumerate() {
        let _ = writeln!(text, "    server s{i} {peer}");
    }
    text
}

/// Envoy: active checks, outlier detection, a retry budget, and retries of everything but a POST on other hosts.
pub fn envoy(listen: SocketAddr, peers: &[SocketAddr]) -> String {
    let mut endpoints = String::new();
    for peer in peers {
        let address = format!("{{ address: {}, port_value: {} }}", peer.ip(), peer.port());
        let _ = writeln!(endpoints, "        - endpoint: {{ address: {{ socket_address: {address} }} }}");
    }
    ENVOY
        .replace("LISTEN_ADDRESS", &listen.ip().to_string())
        .replace("LISTEN_PORT", &listen.port().to_string())
        .replace("ENDPOINTS\n", &endpoints)
}

const LOCATION: &str = "location / {
    proxy_pass http://app;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_connect_timeout 1s;
    proxy_read_timeout 2s;
";

const NEXT_UPSTREAM: &str = "proxy_next_upstream error timeout invalid_header http_502 http_503 http_504;
    proxy_next_upstream_tries 3;";

const ENVOY: &str = r#"static_resources:
  listeners:
  - name: in
    address: { socket_address: { address: LISTEN_ADDRESS, port_value: LISTEN_PORT } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          generate_request_id: false
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: "/", headers: [{ name: ":method", string_match: { exact: POST } }] }
                route:
                  cluster: app
                  timeout: 2s
                  retry_policy:
                    retry_on: connect-failure,refused-stream
                    num_retries: 3
                    host_selection_retry_max_attempts: 5
                    retry_host_predicate: &others
                    - name: envoy.retry_host_predicates.previous_hosts
                      typed_config:
                        "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate
              - match: { prefix: "/" }
                route:
                  cluster: app
                  timeout: 8s
                  retry_policy:
                    retry_on: connect-failure,refused-stream,reset,gateway-error
                    num_retries: 3
                    per_try_timeout: 2s
                    host_selection_retry_max_attempts: 5
                    retry_host_predicate: *others
  clusters:
  - name: app
    type: STATIC
    connect_timeout: 1s
    lb_policy: ROUND_ROBIN
    common_lb_config: { healthy_panic_threshold: { value: 20 } }
    circuit_breakers:
      thresholds:
      - retry_budget: { budget_percent: { value: 20 }, min_retry_concurrency: 100 }
    outlier_detection:
      consecutive_5xx: 5
      interval: 1s
      base_ejection_time: 1s
      max_ejection_percent: 75
    health_checks:
    - timeout: 1s
      interval: 1s
      no_traffic_interval: 1s
      unhealthy_threshold: 2
      healthy_threshold: 1
      http_health_check: { path: /health }
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
ENDPOINTS
"#;
