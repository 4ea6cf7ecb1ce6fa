//! What the tests stand on: backends, an nginx with the module in front of them, and its status page read as JSON.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidegate_testbed::nginx::binary;
use tidegate_testbed::{Backend, Behaviour, Client, Config, Executions, Load, Nginx, Request, Response, Scratch};

/// Whether there is an nginx to test with.
pub fn have_nginx() -> bool {
    let found = binary().is_some();
    if !found {
        assert!(std::env::var_os("TIDEGATE_REQUIRE_NGINX").is_none(), "nginx is required and not installed");
        eprintln!("skipped: nginx is not installed");
    }
    let module = tidegate_testbed::nginx_config::module();
    assert!(!found || module.exists(), "{} is missing: run `make nginx-module`", module.display());
    found
}

/// Returns from a test, with a word, where nginx is missing.
macro_rules! need_nginx {
    () => {
        if !$crate::bed::have_nginx() {
            return;
        }
    };
}
pub(crate) use need_nginx;

/// Backends and the configuration that leads to them.
pub struct Bed {
    pub backends: Vec<Backend>,
    pub executions: Arc<Executions>,
    pub config: Config,
    _scratch: Scratch,
}

impl Bed {
    /// `count` backends in upstream `app`, behind `tidegate` with these arguments. `/` leads there.
    pub fn new(count: usize, tidegate: &str) -> Bed {
        let scratch = Scratch::new("nginx-bed");
        let executions = Arc::new(Executions::open(scratch.path().join("executions")).unwrap());
        let backends: Vec<_> = (0..count).map(|i| Backend::start(&format!("b{i}"), 0, &executions).unwrap()).collect();
        let servers: Vec<_> = backends.iter().map(|b| b.addr().to_string()).collect();
        let config = Config::tidegate()
            .upstream("app", &format!("tidegate {tidegate};"), &servers, "keepalive 16;")
            .http(PROXY)
            .server("location = /tidegate { tidegate_status; }\nlocation / { proxy_pass http://app; }");
        Bed { backends, executions, config, _scratch: scratch }
    }

    /// With more directives in the server.
    pub fn server(mut self, text: &str) -> Bed {
        self.config = self.config.server(text);
        self
    }

    /// With more directives in `http`.
    pub fn http(mut self, text: &str) -> Bed {
        self.config = self.config.http(text);
        self
    }

    /// Starts nginx.
    pub fn nginx(&self) -> Nginx {
        Nginx::start(&self.config).unwrap()
    }

    /// Makes every backend answer so.
    pub fn set_all(&mut self, behaviour: &Behaviour) {
        for backend in &mut self.backends {
            backend.set(behaviour.clone()).unwrap();
        }
    }

    /// Requests that the backends have read whole.
    pub fn requests(&self) -> u64 {
        self.backends.iter().map(Backend::requests).sum()
    }
}

/// A client with time enough for a busy machine.
pub fn client(nginx: &Nginx) -> Client {
    Client::new(nginx.addr(), Duration::from_secs(20))
}

/// One GET on a connection of its own.
pub fn get(nginx: &Nginx, path: &str) -> Response {
    exchange(nginx, &Request::get(path))
}

/// One request on a connection of its own.
pub fn exchange(nginx: &Nginx, request: &Request) -> Response {
    let response = client(nginx).exchange(request);
    response.unwrap_or_else(|why| panic!("{} {}: {why:?}\n{}", request.method, request.path, nginx.log()))
}

/// Load of 300 requests a second, one in five a POST.
pub fn load(nginx: &Nginx) -> Load {
    Load { rate: 300, ..Load::new(nginx.addr()) }
}

/// The status page.
pub fn status(nginx: &Nginx) -> Value {
    let response = get(nginx, "/tidegate");
    assert_eq!(response.status, 200);
    serde_json::from_slice(&response.body).unwrap()
}

/// Every peer on the status page.
pub fn peers(status: &Value) -> Vec<&Value> {
    let upstreams = status["upstreams"].as_array().expect("upstreams");
    upstreams.iter().flat_map(|u| u["peers"].as_array().expect("peers")).collect()
}

/// Requests in flight over all peers.
pub fn in_flight(nginx: &Nginx) -> u64 {
    peers(&status(nginx)).iter().map(|p| p["in_flight"].as_u64().expect("in_flight")).sum()
}

const PROXY: &str = "proxy_http_version 1.1;
proxy_set_header Connection \"\";
proxy_connect_timeout 2s;
proxy_read_timeout 2s;";
