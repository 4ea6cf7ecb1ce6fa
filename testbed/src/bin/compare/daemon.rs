//! A rival as a process in the foreground, on a leash, ended by its id.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidegate_testbed::process::{Leash, Signal, end, wait_for};

/// The process and, through `end`, its children.
pub struct Daemon {
    child: Child,
    _leash: Leash,
}

impl Daemon {
    /// Starts it; both outputs go to the end of `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Daemon, String> {
        let log = File::options().create(true).append(true).open(log).map_err(|e| e.to_string())?;
        let both = log.try_clone().map_err(|e| e.to_string())?;
        let child = command.stdin(Stdio::null()).stdout(both).stderr(log).spawn();
        let mut child = child.map_err(|e| format!("{}: {e}", command.get_program().display()))?;
        match Leash::on(child.id()) {
            Ok(leash) => Ok(Daemon { child, _leash: leash }),
            Err(e) => {
                end(&mut child, Signal::TERM, LIMIT);
                Err(format!("sh: {e}"))
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end; false if it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> bool {
        wait_for(&mut self.child, limit).is_some()
    }

    /// By SIGKILL; it is gone when this returns.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.child, Signal::TERM, LIMIT);
    }
}

const LIMIT: Duration = Duration::from_secs(5);
