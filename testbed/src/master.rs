//! A server's master process: our child, or a daemon that the test bed has adopted (see `process::adopt_orphans`).
//!
//! Dropped, it is ended by its id, with the workers that it had, also when a test panics; and when this process dies,
//! however, its leash ends it.

use std::process::Child;
use std::time::Duration;

use crate::process::{Leash, Signal, children_of, end, end_orphans, is_gone, signal, wait_for, wait_until};

pub(crate) struct Master {
    pid: u32,
    /// What has been waited for is not ours to signal.
    ended: bool,
    child: Option<Child>,
    _leash: Leash,
}

impl Master {
    /// A child of ours.
    pub(crate) fn of(mut child: Child) -> Result<Master, String> {
        match Leash::on(child.id()) {
            Ok(leash) => Ok(Master { pid: child.id(), ended: false, child: Some(child), _leash: leash }),
            Err(e) => {
                end(&mut child, Signal::TERM, LIMIT);
                Err(format!("sh: {e}"))
            }
        }
    }

    /// A daemon that descends from us.
    pub(crate) fn adopt(pid: u32) -> Result<Master, String> {
        match Leash::on(pid) {
            Ok(leash) => Ok(Master { pid, ended: false, child: None, _leash: leash }),
            Err(e) => {
                signal(pid, Signal::TERM);
                Err(format!("sh: {e}"))
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.ended = self.ended
            || match &mut self.child {
                Some(child) => !matches!(child.try_wait(), Ok(None)),
                None => is_gone(self.pid),
            };
        self.ended
    }

    /// Waits for its end; false if it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> bool {
        wait_until(limit, || self.has_ended())
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        let family = children_of(self.pid);
        // TERM: at once, connections or not.
        signal(self.pid, Signal::TERM);
        if self.wait(LIMIT) {
            return;
        }
        signal(self.pid, Signal::KILL);
        match &mut self.child {
            Some(child) => drop(wait_for(child, LIMIT)),
            None => drop(self.wait(LIMIT)),
        }
        end_orphans(&family);
    }
}

const LIMIT: Duration = Duration::from_secs(15);
