//! Which gateway the demo runs, and how it is configured.

use std::net::SocketAddr;
use std::str::FromStr;

use tidegate_testbed::{Config, Nginx, Proxy, nginx, nginx_config, proxy};

/// What to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Auto,
    Nginx,
    Proxy,
    /// nginx with its own balancer: what the same faults do without Tidegate.
    Plain,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        Ok(match text {
            "auto" => Kind::Auto,
            "nginx" => Kind::Nginx,
            "proxy" => Kind::Proxy,
            "plain-nginx" => Kind::Plain,
            _ => return Err("auto, nginx, proxy or plain-nginx".into()),
        })
    }
}

/// It runs.
pub enum Gateway {
    Nginx(Nginx),
    Proxy(Proxy),
}

impl Gateway {
    /// Starts it before these backends.
    pub fn start(kind: Kind, backends: &[SocketAddr]) -> Result<Gateway, String> {
        let servers: Vec<_> = backends.iter().map(SocketAddr::to_string).collect();
        let kind = match kind {
            Kind::Auto if nginx::binary().is_some() && nginx_config::module().exists() => Kind::Nginx,
            Kind::Auto => Kind::Proxy,
            other => other,
        };
        match kind {
            Kind::Plain => {
                let config = Config::plain().upstream("app", "", &servers, "keepalive 32;").server(LOCATION);
                Nginx::start(&config).map(Gateway::Nginx)
            }
            Kind::Proxy => {
                let mut options = proxy::Options::new(servers);
                options.more = ["--upstream-name", "app", "--status-path", STATUS].map(str::to_owned).to_vec();
                Proxy::start(&options).map(Gateway::Proxy)
            }
            Kind::Nginx | Kind::Auto => {
                let config = Config::tidegate()
                    .upstream("app", "tidegate round_robin;", &servers, "keepalive 32;")
                    .http(LOG)
                    .server(&format!("location = {STATUS} {{ tidegate_status; access_log off; }}"))
                    .server(LOCATION)
                    .server("access_log gateway.log gateway;");
                Nginx::start(&config).map(Gateway::Nginx)
            }
        }
    }

    pub fn addr(&self) -> SocketAddr {
        match self {
            Gateway::Nginx(nginx) => nginx.addr(),
            Gateway::Proxy(proxy) => proxy.addr(),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Gateway::Nginx(_) => "nginx",
            Gateway::Proxy(_) => "the C proxy",
        }
    }

    pub fn workers(&self) -> Vec<u32> {
        match self {
            Gateway::Nginx(nginx) => nginx.workers(),
            Gateway::Proxy(proxy) => proxy.workers(),
        }
    }

    pub fn kill_worker(&mut self, pid: u32) -> Result<(), String> {
        match self {
            Gateway::Nginx(nginx) => nginx.kill_worker(pid),
            Gateway::Proxy(proxy) => proxy.kill_worker(pid),
        }
    }

    /// What its log has against it.
    pub fn faults(&self) -> Vec<String> {
        match self {
            Gateway::Nginx(nginx) => nginx.faults(),
            Gateway::Proxy(proxy) => proxy.faults(),
        }
    }

    /// The last lines of its own access log that have a cause.
    pub fn causes_logged(&self, most: usize) -> Vec<String> {
        let Gateway::Nginx(nginx) = self else { return Vec::new() };
        let log = nginx.file("gateway.log");
        let told = log.lines().rev().filter(|line| line.contains(" cause=") && !line.contains(" cause=- "));
        told.take(most).map(str::to_owned).collect()
    }
}

/// Where it tells its state.
pub const STATUS: &str = "/tidegate";

const LOCATION: &str = "location / {
    proxy_pass http://app;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_connect_timeout 1s;
    proxy_read_timeout 2s;
}";

const LOG: &str = "log_format gateway '$request_method $uri $status cause=$tidegate_cause origin=$tidegate_origin \
                   attempts=$tidegate_attempts peer=$tidegate_peer decision=$tidegate_decision';";
