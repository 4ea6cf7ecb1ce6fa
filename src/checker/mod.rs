//! Active checks: whether each peer answers as it should, asked by one process for all workers.
//!
//! This is the only layer that does I/O, reads a clock or owns a thread, and it does so only when asked: a [`Checker`] is
//! either driven by its host (`descriptor`, `next_ns`, `run`) or given a thread of its own (`start`, `stop`). It decides
//! nothing on the path of a request; its results are one bit of a peer's state word (see `health::checks`).
//!
//! | file | concept |
//! |---|---|
//! | `spec` | what is checked, parsed once |
//! | `engine` | turns: events, time-outs, what is due; the watch; what results do |
//! | `roster` | whom to check and when |
//! | `probe` | one check under way |
//! | `judge` | whether a response is what a healthy peer answers |
//! | `socket` | connections, and whose fault their failures are |
//! | `thread` | a thread of its own |
//! | `tls` | TLS, with the feature of that name |
//!
//! Every process that serves has a checker with its own configuration; the one that holds the table's watch uses its
//! own. What a checker counts towards rise and fall is its own too: a successor counts anew, from the bit in the table.

mod engine;
mod judge;
mod probe;
mod roster;
mod socket;
mod spec;
mod thread;
#[cfg(feature = "tls")]
mod tls;

pub use spec::{CheckOptions, Kind};

use crate::error::{Error, TIDEGATE_ERR_FORKED, TIDEGATE_ERR_NOT_FOUND, TIDEGATE_ERR_STATE};
use crate::random::mix;
use crate::table::{Table, UpstreamId};
use engine::Engine;
use roster::Watch;
use spec::Spec;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thread::Running;

/// Checks under way at once, by default and at the most.
const OPEN: (usize, usize) = (256, 16_384);

/// What a checker did since it was made.
#[derive(Default)]
pub(crate) struct Stats {
    /// The number of its tenure; 0: another checks, or nobody.
    pub elected: AtomicU64,
    pub begun: AtomicU64,
    pub passed: AtomicU64,
    pub failed: AtomicU64,
    pub void: AtomicU64,
    pub local: AtomicU64,
    pub put_off: AtomicU64,
    pub hurried: AtomicU64,
    pub open: AtomicU64,
}

/// A reading of what a checker did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Its tenure, counted over all checkers since the table was made; 0: it does not check.
    pub elected: u64,
    /// Checks begun; one that began anew on another connection counts twice.
    pub begun: u64,
    /// Those that passed.
    pub passed: u64,
    /// Those that failed by the peer's fault.
    pub failed: u64,
    /// Those that failed while this process had no time: they say nothing.
    pub void: u64,
    /// Those that this machine could not make.
    pub local: u64,
    /// Those that good traffic put off.
    pub put_off: u64,
    /// Those that failures in traffic brought forward.
    pub hurried: u64,
    /// Those under way.
    pub open: u64,
}

/// Active checks of a table's peers.
///
/// Set up (`set`), then either `start` and `stop`, or `run` whenever `descriptor` is readable and at `next_ns`. Nothing is
/// opened before the first of these: it may be made before a fork, and used after it.
pub struct Checker {
    table: Arc<Table>,
    most_open: usize,
    seed: u64,
    watches: Vec<Watch>,
    stats: Arc<Stats>,
    state: State,
    /// The process that opened what is open; 0: nothing is.
    process: u32,
}

enum State {
    Fresh,
    Driven(Box<Engine>),
    Running(Running),
}

impl Checker {
    /// `most_open` checks at once; 0: 256.
    pub fn new(table: Arc<Table>, most_open: usize, seed: u64) -> Result<Checker, Error> {
        table.writable()?;
        if most_open > OPEN.1 {
            return Err(Error::invalid(format!("max_open is {most_open}: at most {}", OPEN.1)));
        }
        let most_open = if most_open == 0 { OPEN.0 } else { most_open };
        let (watches, stats) = (Vec::new(), Arc::default());
        Ok(Checker { table, most_open, seed, watches, stats, state: State::Fresh, process: 0 })
    }

    /// Checks the peers of an upstream from now on; `None`: not any more. Only before it is used.
    pub fn set(&mut self, upstream: UpstreamId, options: Option<&CheckOptions<'_>>) -> Result<(), Error> {
        if !matches!(self.state, State::Fresh) {
            return Err(Error::new(TIDEGATE_ERR_STATE, "the checker runs: what it checks is set before"));
        }
        let no_such = || Error::new(TIDEGATE_ERR_NOT_FOUND, format!("there is no upstream {}", upstream.number()));
        let name = self.table.upstream_name(upstream).ok_or_else(no_such)?;
        let watch = options.map(|o| Spec::new(o, &name)).transpose()?.map(|spec| Watch::new(upstream, spec));
        self.watches.retain(|w| w.upstream != upstream);
        self.watches.extend(watch);
        Ok(())
    }

    /// The descriptor that becomes readable when there is something to do: an epoll's.
    pub fn descriptor(&mut self) -> Result<RawFd, Error> {
        Ok(self.driven()?.descriptor())
    }

    /// When to call `run` next, at the latest.
    pub fn next_ns(&mut self) -> Result<u64, Error> {
        Ok(self.driven()?.next_ns())
    }

    /// Does what is to be done, without waiting.
    pub fn run(&mut self, now: u64) -> Result<(), Error> {
        self.driven()?.run(now);
        Ok(())
    }

    /// Drives it by a thread of its own.
    pub fn start(&mut self) -> Result<(), Error> {
        if !matches!(self.state, State::Fresh) {
            return Err(Error::new(TIDEGATE_ERR_STATE, "the checker runs"));
        }
        let engine = self.engine()?;
        self.state = State::Running(Running::start(engine)?);
        self.process = std::process::id();
        Ok(())
    }

    /// Ends its checks, and its thread if it has one; another checker may take over at once.
    pub fn stop(&mut self) {
        let foreign = self.process != 0 && self.process != std::process::id();
        self.process = 0;
        match std::mem::replace(&mut self.state, State::Fresh) {
            State::Fresh => {}
            // Copies of a parent's: theirs is the watch, and the thread.
            State::Driven(_) | State::Running(_) if foreign => {}
            State::Driven(mut engine) => engine.stop(),
            State::Running(running) => running.stop(),
        }
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let s = &*self.stats;
        Counts {
            elected: of(&s.elected),
            begun: of(&s.begun),
            passed: of(&s.passed),
            failed: of(&s.failed),
            void: of(&s.void),
            local: of(&s.local),
            put_off: of(&s.put_off),
            hurried: of(&s.hurried),
            open: of(&s.open),
        }
    }

    fn driven(&mut self) -> Result<&mut Engine, Error> {
        if self.process != 0 && self.process != std::process::id() {
            return Err(Error::new(TIDEGATE_ERR_FORKED, "the checker was opened before fork()"));
        }
        if matches!(self.state, State::Fresh) {
            self.state = State::Driven(Box::new(self.engine()?));
            self.process = std::process::id();
        }
        match &mut self.state {
            State::Driven(engine) => Ok(engine),
            _ => Err(Error::new(TIDEGATE_ERR_STATE, "the checker has a thread")),
        }
    }

    fn engine(&mut self) -> Result<Engine, Error> {
        let own = mix(u64::from(std::process::id()) ^ std::ptr::from_ref(self) as u64);
        let seed = if self.seed == 0 { own } else { self.seed };
        let mut engine = Engine::new(self.table.clone(), self.most_open, seed, self.stats.clone())?;
        engine.watch(self.watches.clone());
        Ok(engine)
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.stop();
    }
}
