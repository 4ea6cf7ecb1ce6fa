//! Envoy: one process, or two while a hot restart is under way.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tidegate_testbed::Scratch;
use tidegate_testbed::ports::free_port;
use tidegate_testbed::process::wait_until;

use crate::config;
use crate::daemon::Daemon;
use crate::gateway::{LIMIT, SUPERVISOR};

/// It runs.
pub struct Envoy {
    /// The newest is the last; those before it drain, and end by themselves.
    processes: Vec<Daemon>,
    addr: SocketAddr,
    epoch: u32,
    scratch: Scratch,
}

impl Envoy {
    pub fn start(peers: &[SocketAddr]) -> Result<Envoy, String> {
        let scratch = Scratch::new("envoy");
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        std::fs::write(scratch.path().join("envoy.yaml"), config::envoy(addr, peers)).map_err(|e| e.to_string())?;
        let mut envoy = Envoy { processes: Vec::new(), addr, epoch: 0, scratch };
        envoy.launch()?;
        Ok(envoy)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn pid(&self) -> u32 {
        self.processes.last().expect("one at least").pid()
    }

    /// SIGKILL, and what a supervisor does then.
    pub fn kill(&mut self) -> Result<(), String> {
        self.processes.last_mut().expect("one at least").kill();
        self.processes.clear();
        std::thread::sleep(SUPERVISOR);
        self.epoch = 0;
        self.launch()
    }

    /// Starts the next one, which takes the listener over; waits until the one before has handed it on.
    pub fn restart_hot(&mut self) -> Result<(), String> {
        self.epoch += 1;
        self.launch()?;
        let seen = wait_until(LIMIT, || {
            let log = std::fs::read_to_string(self.scratch.path().join("envoy.log")).unwrap_or_default();
            log.matches(STARTED).count() > self.epoch as usize
        });
        if seen { Ok(()) } else { Err("envoy did not restart".into()) }
    }

    fn launch(&mut self) -> Result<(), String> {
        let mut command = Command::new(binary().ok_or("envoy is not installed")?);
        command.arg("-c").arg(self.scratch.path().join("envoy.yaml"));
        command.args(["--concurrency", "2", "--log-level", "info"]);
        // Two Envoys of one base id are one another's successors; the port is nobody else's.
        command.args(["--base-id", &self.addr.port().to_string(), "--restart-epoch", &self.epoch.to_string()]);
        command.args(["--drain-time-s", "1", "--parent-shutdown-time-s", "2"]);
        self.processes.push(Daemon::start(&mut command, &self.scratch.path().join("envoy.log"))?);
        Ok(())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.processes.clear();
        let _ = std::fs::remove_file(format!("/dev/shm/envoy_shared_memory_{}0", self.addr.port()));
    }
}

/// What each process logs when it has taken over.
const STARTED: &str = "starting main dispatch loop";

/// TIDEGATE_ENVOY, or what `scripts/setup.sh compare` has put under `build`, or one in PATH.
pub fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("TIDEGATE_ENVOY") {
        return Some(path.into());
    }
    let ours = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent()?.join("build/envoy");
    let path = std::env::var_os("PATH").unwrap_or_default();
    [ours].into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join("envoy")).find(|file| file.is_file())
}
