//! The proxies: where they are, how they are started, reloaded and robbed of a worker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use tidegate_testbed::ports::free_port;
use tidegate_testbed::process::{Signal, children_of, signal, wait_until};
use tidegate_testbed::{Config, Nginx, Scratch, nginx, nginx_config};

use crate::config;
use crate::daemon::Daemon;
use crate::envoy::{self, Envoy};

/// Which proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Nginx,
    /// Stock nginx with its other balancer.
    LeastConn,
    Haproxy,
    Envoy,
    /// nginx with Tidegate's module.
    Tidegate,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        let known = ALL.iter().find(|kind| kind.name() == text);
        known.copied().ok_or_else(|| ALL.map(Kind::name).join(", "))
    }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx",
            Kind::LeastConn => "nginx-least-conn",
            Kind::Haproxy => "haproxy",
            Kind::Envoy => "envoy",
            Kind::Tidegate => "tidegate",
        }
    }

    /// What it says of itself; none if it isn't there.
    pub fn version(self) -> Option<String> {
        let (binary, flag) = match self {
            Kind::Tidegate if !nginx_config::module().exists() => return None,
            Kind::Nginx | Kind::LeastConn | Kind::Tidegate => (nginx::binary()?, "-v"),
            Kind::Haproxy => (haproxy()?, "-v"),
            Kind::Envoy => (envoy::binary()?, "--version"),
        };
        let output = Command::new(binary).arg(flag).output().ok()?;
        // nginx tells it on standard error.
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let line = text.lines().find(|line| !line.trim().is_empty())?.trim().to_owned();
        let line = line.split_once("version: ").map_or(line.as_str(), |(_, version)| version).to_owned();
        Some(match self {
            Kind::Tidegate => format!("{line}, module of Tidegate {}", env!("CARGO_PKG_VERSION")),
            _ => line,
        })
    }

    /// For one that isn't there.
    pub fn how_to_get(self) -> &'static str {
        match self {
            Kind::Tidegate => "`make nginx-module` builds it.",
            _ => "`sh scripts/setup.sh compare` installs it where that is possible.",
        }
    }
}

/// A running proxy; ended when dropped.
pub enum Gateway {
    Nginx(Nginx),
    Haproxy(Haproxy),
    Envoy(Envoy),
}

impl Gateway {
    /// Starts it before these backends.
    pub fn start(kind: Kind, peers: &[SocketAddr], selector: &str) -> Result<Gateway, String> {
        match kind {
            Kind::Nginx => Nginx::start(&config::nginx(Config::plain(), "", peers)).map(Gateway::Nginx),
            Kind::LeastConn => Nginx::start(&config::nginx(Config::plain(), "least_conn;", peers)).map(Gateway::Nginx),
            Kind::Tidegate => Nginx::start(&config::tidegate(Config::tidegate(), selector, peers)).map(Gateway::Nginx),
            Kind::Haproxy => Haproxy::start(peers).map(Gateway::Haproxy),
            Kind::Envoy => Envoy::start(peers).map(Gateway::Envoy),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        match self {
            Gateway::Nginx(nginx) => nginx.addr(),
            Gateway::Haproxy(haproxy) => haproxy.addr,
            Gateway::Envoy(envoy) => envoy.addr(),
        }
    }

    /// All its processes.
    pub fn pids(&self) -> Vec<u32> {
        let master = match self {
            Gateway::Nginx(nginx) => nginx.master(),
            Gateway::Haproxy(haproxy) => haproxy.daemon.pid(),
            Gateway::Envoy(envoy) => envoy.pid(),
        };
        let mut all = children_of(master);
        all.push(master);
        all.sort_unstable();
        all
    }

    /// SIGKILL to what serves requests. nginx's master replaces the worker; HAProxy's master ends with it and Envoy has
    /// none, so these two are started anew as systemd would by default, 100 ms later.
    pub fn kill_worker(&mut self) -> Result<(), String> {
        match self {
            Gateway::Nginx(nginx) => {
                let worker = *nginx.workers().first().ok_or("no worker")?;
                nginx.kill_worker(worker)
            }
            Gateway::Haproxy(haproxy) => haproxy.kill_worker(),
            Gateway::Envoy(envoy) => envoy.kill(),
        }
    }

    /// Takes the same configuration anew: HUP, USR2, a hot restart.
    pub fn reload(&mut self) -> Result<(), String> {
        match self {
            Gateway::Nginx(nginx) => nginx.reload(None),
            Gateway::Haproxy(haproxy) => haproxy.reload(),
            Gateway::Envoy(envoy) => envoy.restart_hot(),
        }
    }

    /// What its log has against it; only nginx's is read.
    pub fn faults(&self) -> Vec<String> {
        match self {
            Gateway::Nginx(nginx) => nginx.faults(),
            Gateway::Haproxy(_) | Gateway::Envoy(_) => Vec::new(),
        }
    }
}

/// HAProxy with a master and a worker of two threads.
pub struct Haproxy {
    daemon: Daemon,
    addr: SocketAddr,
    conf: PathBuf,
    scratch: Scratch,
}

impl Haproxy {
    fn start(peers: &[SocketAddr]) -> Result<Haproxy, String> {
        let scratch = Scratch::new("haproxy");
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let conf = scratch.path().join("haproxy.cfg");
        let socket = scratch.path().join("stats");
        std::fs::write(&conf, config::haproxy(addr, &socket, peers)).map_err(|e| e.to_string())?;
        let daemon = Haproxy::launch(&conf, &scratch)?;
        let haproxy = Haproxy { daemon, addr, conf, scratch };
        if wait_until(LIMIT, || !haproxy.workers().is_empty()) {
            Ok(haproxy)
        } else {
            Err("haproxy has no worker".into())
        }
    }

    fn launch(conf: &std::path::Path, scratch: &Scratch) -> Result<Daemon, String> {
        let mut command = Command::new(haproxy().ok_or("haproxy is not installed")?);
        command.arg("-W").arg("-f").arg(conf);
        Daemon::start(&mut command, &scratch.path().join("haproxy.log"))
    }

    fn workers(&self) -> Vec<u32> {
        children_of(self.daemon.pid())
    }

    fn kill_worker(&mut self) -> Result<(), String> {
        let worker = *self.workers().first().ok_or("no worker")?;
        signal(worker, Signal::KILL);
        if !self.daemon.wait(LIMIT) {
            return Err("haproxy's master outlives its worker".into());
        }
        std::thread::sleep(SUPERVISOR);
        self.daemon = Haproxy::launch(&self.conf, &self.scratch)?;
        Ok(())
    }

    fn reload(&mut self) -> Result<(), String> {
        let old = self.workers();
        signal(self.daemon.pid(), Signal::USR2);
        let renewed = wait_until(LIMIT, || self.workers().iter().any(|pid| !old.contains(pid)));
        if renewed { Ok(()) } else { Err("haproxy did not reload".into()) }
    }
}

fn haproxy() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|dir| dir.join("haproxy")).find(|file| file.is_file())
}

const ALL: [Kind; 5] = [Kind::Nginx, Kind::LeastConn, Kind::Haproxy, Kind::Envoy, Kind::Tidegate];
/// systemd's default RestartSec.
pub const SUPERVISOR: Duration = Duration::from_millis(100);
/// For a machine that is very busy.
pub const LIMIT: Duration = Duration::from_secs(15);
