//! The C proxy of the examples as a process: where nginx can't be had, and for what only a small host shows.

use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::error_log::faults;
use crate::nginx_config::built;
use crate::process::{Leash, Lines, Signal, children_of, end, signal, wait_for, wait_until};
use crate::scratch::Scratch;

/// What to tell it. The defaults are the demo's.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program; by default that of `binary`.
    pub program: PathBuf,
    /// What runs it, if anything, with arguments: valgrind, say. It must keep the process id.
    pub runner: Vec<String>,
    /// Peers as `--peer` takes them: `127.0.0.1:9001`, `127.0.0.1:9002,weight=2`, `127.0.0.1:9003,backup`.
    pub peers: Vec<String>,
    /// `--workers`.
    pub workers: usize,
    /// `--connect-timeout-ms`.
    pub connect_timeout_ms: u64,
    /// `--read-timeout-ms`.
    pub read_timeout_ms: u64,
    /// `--label`: its name in Proxy-Status.
    pub label: String,
    /// Further arguments.
    pub more: Vec<String>,
}

impl Options {
    /// Two workers, a second to connect, two to answer.
    pub fn new(peers: Vec<String>) -> Options {
        Options {
            program: binary(),
            runner: Vec::new(),
            peers,
            workers: 2,
            connect_timeout_ms: 1000,
            read_timeout_ms: 2000,
            label: "tidegate".into(),
            more: Vec::new(),
        }
    }
}

/// A running proxy; ended when dropped.
pub struct Proxy {
    scratch: Scratch,
    child: Child,
    _leash: Leash,
    addr: SocketAddr,
    output: Lines,
    killed: Vec<u32>,
}

impl Proxy {
    /// Starts it on a free port and waits until it says where it listens.
    pub fn start(options: &Options) -> Result<Proxy, String> {
        Proxy::start_with(options, &[])
    }

    /// The same with further environment variables, say for sanitizers.
    pub fn start_with(options: &Options, env: &[(&str, &OsStr)]) -> Result<Proxy, String> {
        let scratch = Scratch::new("proxy");
        let program = options.program.as_os_str();
        let mut words = options.runner.iter().map(OsStr::new).chain([program]);
        let stderr = File::create(scratch.path().join("stderr.log")).map_err(|e| e.to_string())?;
        let mut command = Command::new(words.next().unwrap_or(program));
        command.args(words).args(["--listen", "127.0.0.1:0", "--label", &options.label]);
        command.args(["--workers", &options.workers.to_string()]);
        command.args(["--connect-timeout-ms", &options.connect_timeout_ms.to_string()]);
        command.args(["--read-timeout-ms", &options.read_timeout_ms.to_string()]);
        command.args(options.peers.iter().flat_map(|peer| ["--peer", peer]));
        command.args(&options.more).envs(env.iter().copied());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|e| format!("{}: {e}", command.get_program().display()))?;
        let output = Lines::of(child.stdout.take().expect("piped above"));
        let leash = Leash::on(child.id()).map_err(|e| {
            end(&mut child, Signal::TERM, LIMIT);
            format!("sh: {e}")
        })?;
        let mut proxy =
            Proxy { scratch, child, _leash: leash, addr: ([127, 0, 0, 1], 0).into(), output, killed: Vec::new() };
        let line = proxy.output.next(LIMIT).map_err(|e| format!("the proxy said nothing ({e}):\n{}", proxy.log()))?;
        let addr = line.strip_prefix("listening on ").and_then(|addr| addr.parse().ok());
        proxy.addr = addr.ok_or_else(|| format!("the proxy said {line:?}"))?;
        Ok(proxy)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its worker processes; none if its workers are threads.
    pub fn workers(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// Kills one of its worker processes by SIGKILL and waits until it was replaced. The death is a declared one from
    /// then on.
    ///
    /// # Panics
    /// If it isn't one of its workers.
    pub fn kill_worker(&mut self, pid: u32) -> Result<(), String> {
        let before = self.workers();
        assert!(before.contains(&pid), "{pid} is no worker of this proxy");
        self.killed.push(pid);
        signal(pid, Signal::KILL);
        let replaced = wait_until(LIMIT, || {
            let now = self.workers();
            now.len() >= before.len() && !now.contains(&pid)
        });
        if replaced { Ok(()) } else { Err(format!("worker {pid} was not replaced:\n{}", self.log())) }
    }

    /// Stops it by SIGTERM; an error if it is still there after a bounded time, or ended with a failure.
    pub fn quit(&mut self) -> Result<(), String> {
        signal(self.pid(), Signal::TERM);
        match wait_for(&mut self.child, LIMIT) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("the proxy ended with {status}:\n{}", self.log())),
            None => Err("the proxy did not end".into()),
        }
    }

    /// Lines of its standard output that were not taken yet.
    pub fn output(&self) -> Vec<String> {
        self.output.so_far()
    }

    /// Its standard error.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.scratch.path().join("stderr.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Lines of its standard error that betray a fault: sanitizer reports, panics, deaths by signal that the test did
    /// not declare.
    pub fn faults(&self) -> Vec<String> {
        faults(&self.log(), &self.killed).into_iter().map(str::to_owned).collect()
    }

    /// # Panics
    /// If there are `faults`.
    pub fn assert_clean_log(&self) {
        let faults = self.faults();
        assert!(faults.is_empty(), "the proxy's log has faults:\n{}", faults.join("\n"));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        end(&mut self.child, Signal::TERM, LIMIT);
    }
}

/// Where it is: TIDEGATE_PROXY, or where `make examples` puts it.
pub fn binary() -> PathBuf {
    std::env::var_os("TIDEGATE_PROXY").map_or_else(|| built("examples/tidegate-proxy"), PathBuf::from)
}

/// For a machine that is very busy.
const LIMIT: Duration = Duration::from_secs(10);
