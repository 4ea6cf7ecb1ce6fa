//! A thread that drives an engine: every signal blocked, one wait at a time, ended by a word and a wake-up.
//!
//! The host's signals are the host's: a handler of its must not run here. The mask is set before the thread exists and
//! inherited by it, so there is no moment without. The clock is CLOCK_MONOTONIC, the host's own.

use super::engine::{Engine, WAKE};
use crate::error::{Error, TIDEGATE_ERR_SYSTEM};
use mio::Waker;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// An engine with its thread.
pub(super) struct Running {
    end: Arc<AtomicBool>,
    waker: Waker,
    thread: JoinHandle<()>,
}

impl Running {
    pub fn start(mut engine: Engine) -> Result<Running, Error> {
        let failed = |what: &str, e: std::io::Error| Error::new(TIDEGATE_ERR_SYSTEM, format!("{what}: {e}"));
        let waker = Waker::new(engine.registry(), WAKE).map_err(|e| failed("eventfd", e))?;
        let end = Arc::new(AtomicBool::new(false));
        let seen = end.clone();
        let turn = move || {
            while !seen.load(Ordering::Acquire) {
                engine.wait(now(), now);
            }
            engine.stop();
        };
        let spawn = || std::thread::Builder::new().name("tidegate-check".into()).spawn(turn);
        let thread = signals::blocked(spawn).map_err(|e| failed("a thread for checks", e))?;
        Ok(Running { end, waker, thread })
    }

    /// Ends the thread and waits for that: it never blocks for longer than a turn takes.
    pub fn stop(self) {
        self.end.store(true, Ordering::Release);
        if self.waker.wake().is_ok() {
            let _ = self.thread.join();
        }
    }
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[allow(unsafe_code)]
mod signals {
    /// Calls `spawn` with every signal blocked; the mask is then as it was.
    pub(super) fn blocked<T>(spawn: impl FnOnce() -> T) -> T {
        // SAFETY: an all-zero sigset_t is a valid one, filled before use.
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { std::mem::zeroed() };
        // SAFETY: both sets are ours, and live through the calls.
        let masked = unsafe {
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before) == 0
        };
        let thread = spawn();
        if masked {
            // SAFETY: as above; `before` was filled by the call that succeeded.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
        }
        thread
    }
}
