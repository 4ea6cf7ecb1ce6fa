//! The backends, the two gateways, and one run of one of them.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_testbed::client::{Ending, Response};
use tidegate_testbed::ports::free_port;
use tidegate_testbed::{Client, Config, Nginx, Request, nginx_config};

use crate::cpu;
use crate::figures::Pair;

/// Which gateway.
#[derive(Clone, Copy)]
pub enum Side {
    Stock,
    Tidegate,
}

/// Everything that runs.
pub struct Stage {
    stock: Nginx,
    tidegate: Nginx,
    _backends: Nginx,
    /// Where the gateways' workers run, in words.
    pub placement: String,
}

impl Stage {
    /// Starts it all.
    pub fn set(selector: &str, backends: usize, body: usize) -> Result<Stage, String> {
        let own = format!("tidegate {selector};");
        let (balancer, stock) = match selector {
            "round_robin" => (&*own, ""),
            "least_request" => (&*own, "random two least_conn;"),
            "none" => ("", ""),
            other => return Err(format!("{other:?} is no selector of this bench")),
        };
        if !nginx_config::module().exists() {
            return Err("the module is not built: make nginx-module".into());
        }
        let (behind, servers) = start_backends(backends, body)?;
        let stock = Nginx::start(&gateway(Config::plain(), stock, &servers))?;
        let tidegate = Nginx::start(&gateway(Config::tidegate(), balancer, &servers))?;
        let placement = match cpu::two() {
            Some([own, others]) => {
                for pid in [stock.workers(), tidegate.workers()].concat() {
                    cpu::pin(Some(pid), own)?;
                }
                for pid in behind.workers() {
                    cpu::pin(Some(pid), others)?;
                }
                cpu::pin(None, others)?;
                format!("on CPU {own}, backends and client on CPU {others}")
            }
            None => "on the same CPU as backends and client".into(),
        };
        Ok(Stage { stock, tidegate, _backends: behind, placement })
    }

    /// CPU time a request of each gateway's worker, over so many requests of each. They take turns of `TURN` requests,
    /// the first turn going to `first`: what a neighbour on the machine does to one of them it does to both.
    pub fn pair(&self, first: Side, connections: usize, requests: usize) -> Result<Pair, String> {
        let mut stock = Load::on(&self.stock, connections)?;
        let mut tidegate = Load::on(&self.tidegate, connections)?;
        let turns = requests.div_ceil(TURN);
        for i in 0..turns {
            // A B, B A, A B, …
            if (i % 2 == 0) == matches!(first, Side::Stock) {
                stock.turn()?;
                tidegate.turn()?;
            } else {
                tidegate.turn()?;
                stock.turn()?;
            }
        }
        let us = |load: &Load| load.cpu_ns as f64 / (turns * TURN) as f64 / 1e3;
        Ok(Pair { stock_us: us(&stock), tidegate_us: us(&tidegate) })
    }

    /// Stops the gateways; an error if a log shows that one was not in order.
    pub fn close(mut self) -> Result<(), String> {
        for nginx in [&mut self.stock, &mut self.tidegate] {
            nginx.quit()?;
            let faults = nginx.faults();
            if !faults.is_empty() {
                return Err(faults.join("\n"));
            }
        }
        Ok(())
    }
}

/// A client of one gateway, and what it has cost that gateway.
struct Load<'a> {
    nginx: &'a Nginx,
    worker: u32,
    request: Vec<u8>,
    clients: Vec<Client>,
    cpu_ns: u64,
}

impl Load<'_> {
    /// Connects; each connection's first request is made here.
    fn on(nginx: &Nginx, connections: usize) -> Result<Load<'_>, String> {
        let &[worker] = &nginx.workers()[..] else { return Err("the gateway has lost its worker".into()) };
        let request = request().to_bytes(nginx.addr());
        let mut clients: Vec<_> = (0..connections).map(|_| Client::new(nginx.addr(), LIMIT)).collect();
        for client in &mut clients {
            check(client.exchange_raw(&request, "GET"), nginx)?;
        }
        Ok(Load { nginx, worker, request, clients, cpu_ns: 0 })
    }

    /// `TURN` requests, always one under way on each connection. Responses are read in the order of sending: by the time
    /// the first is read, the others are under way.
    fn turn(&mut self) -> Result<(), String> {
        let before = cpu::time_ns(self.worker)?;
        let connections = self.clients.len();
        for client in self.clients.iter_mut().take(TURN) {
            client.send(&self.request).map_err(|e| e.to_string())?;
        }
        for i in 0..TURN {
            let client = &mut self.clients[i % connections];
            check(client.read("GET"), self.nginx)?;
            if i + connections < TURN {
                client.send(&self.request).map_err(|e| e.to_string())?;
            }
        }
        self.cpu_ns += cpu::time_ns(self.worker)? - before;
        Ok(())
    }
}

/// All of them are one nginx: with a worker each they would only take CPUs from the gateway.
fn start_backends(count: usize, body: usize) -> Result<(Nginx, Vec<String>), String> {
    let mut config = Config::plain().http(&format!("keepalive_requests {WITHOUT_END};"));
    config.workers = 1;
    // nginx takes no longer word than 4 KiB in its configuration.
    let answer = format!(
        "{FIELDS} set $piece {}; location / {{ return 200 {}{}; }}",
        "x".repeat(PIECE),
        "${piece}".repeat(body / PIECE),
        "x".repeat(body % PIECE)
    );
    let mut servers = Vec::new();
    for _ in 1..count {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        config = config.http(&format!("server {{ listen {addr}; {answer} }}"));
        servers.push(addr.to_string());
    }
    let nginx = Nginx::start(&config.server(&answer))?;
    servers.push(nginx.addr().to_string());
    Ok((nginx, servers))
}

fn gateway(mut config: Config, balancer: &str, servers: &[String]) -> Config {
    config.workers = 1;
    config
        .upstream(
            "app",
            &format!("zone app 256k;\n    {balancer}"),
            servers,
            &format!("keepalive 64; keepalive_requests {WITHOUT_END};"),
        )
        .http(&format!("keepalive_requests {WITHOUT_END};"))
        .server("location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; }")
}

fn request() -> Request {
    Request::get("/orders/4711?expand=lines&page=2")
        .field("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        .field("Accept", "application/json, text/plain;q=0.9, */*;q=0.8")
        .field("Accept-Language", "en-GB,en;q=0.7,de;q=0.3")
        .field("Cookie", "sid=6f1c0d2ab94e4f7f8a3b; theme=dark")
        .field("X-Request-Id", "0f8fad5b-d9cb-469f-a165-70867728950e")
}

fn check<E: std::fmt::Debug>(answer: Result<Response, E>, nginx: &Nginx) -> Result<(), String> {
    match answer {
        Ok(response) if response.status == 200 && response.ending == Ending::Complete && response.reusable => Ok(()),
        other => Err(format!("not the answer expected: {other:?}\n{}", nginx.log())),
    }
}

/// What an application puts into its heads.
const FIELDS: &str = r#"default_type application/json;
    add_header Cache-Control "private, max-age=0, must-revalidate";
    add_header ETag '"33a64df551425fcc55e4d42a148795d9f25f89d4"';
    add_header Vary "Accept-Encoding, Cookie";
    add_header X-Request-Id "0f8fad5b-d9cb-469f-a165-70867728950e";
    add_header Strict-Transport-Security "max-age=31536000; includeSubDomains";
    add_header X-Content-Type-Options nosniff;"#;

/// Bytes of a piece that a longer body is made of.
const PIECE: usize = 1024;

/// Some 20 ms: long beside what the change of gateways costs in cold caches, short beside what disturbs.
const TURN: usize = 500;

/// By default nginx closes a connection after a thousand requests.
const WITHOUT_END: u32 = 1_000_000_000;

/// Of a whole pair.
const LIMIT: Duration = Duration::from_secs(120);
