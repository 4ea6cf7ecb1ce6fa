//! The checks of one process: who is due, what is under way, and what its results do.
//!
//! It moves in *turns*: the events of its sockets first, then the checks whose time is up, then those that are due. All
//! time comes in, so that a host's loop or a thread of ours can drive it. Only an engine that holds the table's watch
//! (see `table::watch`) checks; the others look for its end four times an interval.
//!
//! *Late is not failed.* A turn that comes later than was asked for says that this process had no time, and its peers'
//! answers may lie unread or may have been cut off meanwhile. Every check that was under way across a delay of more than
//! a quarter of its time-out is void if it fails; one that passes counts. After a delay of an interval what fell due is
//! spread over the next one.
//!
//! Cost: a check on loopback takes seven to nine system calls; see docs/checks.md for what was measured.

use super::Stats;
use super::judge::Verdict;
use super::probe::{Probe, Progress};
use super::roster::{Roster, Watch};
use super::socket::Fault;
use crate::cause::Cause;
use crate::error::{Error, TIDEGATE_ERR_SYSTEM};
use crate::health;
use crate::random::Random;
use crate::table::{Admin, PeerHandle, Table, Tenure};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The token of whatever wakes the loop and is no check.
pub(super) const WAKE: Token = Token(usize::MAX);
const EVENTS: usize = 1024;
/// Checks begun in one turn, so that answers are not left waiting for long.
const BATCH: usize = 128;
/// How often lists and traffic are looked at.
const LOOK_NS: u64 = 100_000_000;
/// Bounds of the silence after which a checker is succeeded: an interval, but not more nor less than these.
const LAPSE_NS: (u64, u64) = (200_000_000, 10_000_000_000);

pub(super) struct Engine {
    table: Arc<Table>,
    watches: Vec<Watch>,
    roster: Roster,
    probes: Vec<Option<Slot>>,
    free: Vec<usize>,
    open: usize,
    most_open: usize,
    deadlines: BinaryHeap<Reverse<(u64, usize)>>,
    random: Random,
    poll: Poll,
    events: Events,
    scratch: Box<[u8]>,
    tenure: Option<Tenure>,
    beat_due: u64,
    look_due: u64,
    /// When the next turn was asked for; `None`: no turn yet.
    asked_for: Option<u64>,
    serial: usize,
    pub stats: Arc<Stats>,
}

struct Slot {
    probe: Probe,
    entry: usize,
    /// Whom the entry stood for: it may have gone to another peer since.
    peer: PeerHandle,
    token: usize,
    /// Whether the process slept while it was under way.
    void: bool,
}

impl Engine {
    pub fn new(table: Arc<Table>, most_open: usize, seed: u64, stats: Arc<Stats>) -> Result<Engine, Error> {
        let poll = Poll::new().map_err(|e| Error::new(TIDEGATE_ERR_SYSTEM, format!("epoll: {e}")))?;
        Ok(Engine {
            table,
            watches: Vec::new(),
            roster: Roster::default(),
            probes: Vec::new(),
            free: Vec::new(),
            open: 0,
            most_open,
            deadlines: BinaryHeap::new(),
            random: Random::new(seed),
            poll,
            events: Events::with_capacity(EVENTS),
            scratch: vec![0; 16_384].into(),
            tenure: None,
            beat_due: 0,
            look_due: 0,
            asked_for: None,
            serial: 0,
            stats,
        })
    }

    /// Puts another set of checks in force.
    pub fn watch(&mut self, watches: Vec<Watch>) {
        self.stop();
        self.watches = watches;
    }

    pub fn descriptor(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    pub fn registry(&self) -> &mio::Registry {
        self.poll.registry()
    }

    /// Waits for events until the next turn is due, then takes it. `clock` is read when the wait is over.
    pub fn wait(&mut self, now: u64, clock: impl Fn() -> u64) {
        let ns = self.asked_for.map_or(0, |then| then.saturating_sub(now));
        // Whole milliseconds, rounded up by mio: a turn is late by one at most, never early in a circle.
        let _ = self.poll.poll(&mut self.events, Some(Duration::from_nanos(ns)));
        self.turn(clock());
    }

    /// Takes a turn without waiting.
    pub fn run(&mut self, now: u64) {
        let _ = self.poll.poll(&mut self.events, Some(Duration::ZERO));
        self.turn(now);
    }

    /// When the next turn should come, at the latest.
    pub fn next_ns(&self) -> u64 {
        self.asked_for.unwrap_or(0)
    }

    fn turn(&mut self, now: u64) {
        let late = self.asked_for.map_or(0, |then| now.saturating_sub(then));
        if now >= self.beat_due {
            self.hold(now);
        }
        if self.tenure.is_some() {
            self.note_delay(late, now);
            let drained = self.take_events(now);
            if drained {
                self.expire(now);
            }
            if now >= self.look_due {
                self.look(now);
            }
            let started = self.start_due(now);
            if !drained || started == BATCH {
                self.asked_for = Some(now);
                return;
            }
        }
        self.asked_for = Some(self.next(now));
    }

    fn next(&mut self, now: u64) -> u64 {
        let mut next = self.beat_due;
        if self.tenure.is_some() {
            next = next.min(self.look_due);
            if self.open < self.most_open {
                next = self.roster.next_due().map_or(next, |due| next.min(due));
            }
            while let Some(&Reverse((deadline, token))) = self.deadlines.peek() {
                if self.slot_of(token).is_some() {
                    next = next.min(deadline);
                    break;
                }
                self.deadlines.pop();
            }
        }
        next.max(now)
    }

    /// The shortest interval: it sets how fast a silent checker is succeeded.
    fn interval(&self) -> u64 {
        self.watches.iter().map(|w| w.spec.interval_ns).min().unwrap_or(LAPSE_NS.1).clamp(LAPSE_NS.0, LAPSE_NS.1)
    }

    /// Keeps the watch, loses it, or takes it.
    fn hold(&mut self, now: u64) {
        let interval = self.interval();
        self.beat_due = now + interval / 4;
        match &mut self.tenure {
            Some(tenure) => {
                if !self.table.beat_watch(tenure, now) {
                    self.tenure = None;
                    self.abandon();
                }
            }
            None => {
                self.tenure = self.table.take_watch(now, interval);
                self.look_due = now;
            }
        }
        self.stats.elected.store(self.tenure.map_or(0, Tenure::token), Ordering::Relaxed);
    }

    /// Gives the watch up and forgets what is under way.
    pub fn stop(&mut self) {
        if let Some(tenure) = self.tenure.take() {
            self.table.leave_watch(tenure);
        }
        self.stats.elected.store(0, Ordering::Relaxed);
        self.abandon();
        self.asked_for = None;
        self.beat_due = 0;
    }

    fn abandon(&mut self) {
        self.probes.clear();
        self.free.clear();
        self.deadlines.clear();
        self.open = 0;
        self.roster.clear(&mut self.watches);
    }

    fn note_delay(&mut self, late: u64, now: u64) {
        if late < LAPSE_NS.0 / 20 {
            return;
        }
        for slot in self.probes.iter_mut().flatten() {
            let spec = self.roster.of(slot.entry, slot.peer).map(|e| &self.watches[e.watch].spec);
            slot.void |= spec.is_none_or(|spec| late > spec.timeout_ns / 4);
        }
        if late >= self.interval() {
            self.roster.spread(&self.watches, now, &self.random);
        }
    }

    /// Whether all that had come was taken.
    fn take_events(&mut self, now: u64) -> bool {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let mut n = 0;
        for event in &events {
            n += 1;
            let token = event.token().0;
            // The slot may have gone to another check within these events: the token tells.
            if self.slot_of(token).is_some() {
                self.advance(token, event.is_writable(), now);
            } else if event.token() != WAKE {
                self.drop_idle(token);
            }
        }
        events.clear();
        self.events = events;
        n < EVENTS
    }

    /// Something happened on a connection between two checks: the peer closes it, or sends what nobody asked for.
    fn drop_idle(&mut self, token: usize) {
        let entry = token & INDEX;
        if let Some(entry) = self.roster.get(entry).filter(|_| token & IDLE != 0) {
            entry.idle = None;
        }
    }

    fn slot_of(&self, token: usize) -> Option<usize> {
        let index = token & INDEX;
        self.probes.get(index)?.as_ref().filter(|slot| slot.token == token).map(|_| index)
    }

    fn advance(&mut self, token: usize, writable: bool, now: u64) {
        let Some(index) = self.slot_of(token) else { return };
        let Some(slot) = &mut self.probes[index] else { return };
        let Some(entry) = self.roster.of(slot.entry, slot.peer) else { return drop(self.release(index)) };
        let spec = &self.watches[entry.watch].spec;
        match slot.probe.advance(spec, writable, &mut self.scratch) {
            Progress::Pending => {}
            Progress::Over(verdict) => self.finish(index, verdict, now),
            Progress::Local => self.skip(index, now),
            Progress::Stale => {
                let entry = slot.entry;
                self.release(index);
                self.begin(entry, now);
            }
        }
    }

    fn expire(&mut self, now: u64) {
        while let Some(&Reverse((deadline, token))) = self.deadlines.peek()
            && deadline <= now
        {
            self.deadlines.pop();
            let Some(index) = self.slot_of(token) else { continue };
            let Some(slot) = &mut self.probes[index] else { continue };
            let Some(entry) = self.roster.of(slot.entry, slot.peer) else {
                self.release(index);
                continue;
            };
            let verdict = slot.probe.time_out(&self.watches[entry.watch].spec);
            self.finish(index, verdict, now);
        }
    }

    fn look(&mut self, now: u64) {
        self.look_due = now + LOOK_NS;
        self.roster.refresh(&self.table, &mut self.watches, now, &self.random);
        let hurried = self.roster.hurry(&self.table, &self.watches, now, &self.random);
        self.stats.hurried.fetch_add(hurried, Ordering::Relaxed);
    }

    fn start_due(&mut self, now: u64) -> usize {
        let mut started = 0;
        while started < BATCH && self.open < self.most_open {
            let Some(index) = self.roster.take_due(now) else { break };
            started += 1;
            let Some(entry) = self.roster.get(index) else { continue };
            let watch = &self.watches[entry.watch];
            let disabled = self.table.state(entry.peer).is_none_or(|s| s.admin() == Admin::Disabled);
            if disabled || entry.is_put_off(&self.table, watch) {
                if !disabled {
                    self.stats.put_off.fetch_add(1, Ordering::Relaxed);
                }
                let due = now + jittered(watch.spec.interval_ns, &self.random);
                self.roster.set_due(index, due);
                continue;
            }
            self.begin(index, now);
        }
        started
    }

    /// Begins a check of this entry; on the connection of the one before, if there is one.
    fn begin(&mut self, index: usize, now: u64) {
        let Some(entry) = self.roster.get(index) else { return };
        let spec = &self.watches[entry.watch].spec;
        entry.begin(now);
        let (peer, deadline) = (entry.peer, now + spec.timeout_ns);
        let (probe, is_new) = match entry.idle.take() {
            Some(idle) => (Ok(Probe::reuse(spec, idle)), false),
            None => (Probe::open(spec, &entry.address), true),
        };
        self.stats.begun.fetch_add(1, Ordering::Relaxed);
        let probe = match probe {
            Ok(probe) => probe,
            Err(Fault::Local) => return self.skip_entry(index, now),
            Err(Fault::Peer(cause)) => return self.conclude(index, Verdict::Failed { cause, status: 0 }, false, now),
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.probes.push(None);
            self.probes.len() - 1
        });
        self.serial = self.serial.wrapping_add(1);
        let token = (self.serial << SERIAL_SHIFT) & !IDLE | place;
        let fd = probe.socket.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let registered = if is_new {
            registry.register(&mut SourceFd(&fd), Token(token), interest)
        } else {
            registry.reregister(&mut SourceFd(&fd), Token(token), interest)
        };
        if registered.is_err() {
            self.free.push(place);
            return self.skip_entry(index, now);
        }
        self.probes[place] = Some(Slot { probe, entry: index, peer, token, void: false });
        self.open += 1;
        self.stats.open.store(self.open as u64, Ordering::Relaxed);
        self.deadlines.push(Reverse((deadline, token)));
        // A reused connection is ready, and its state is not an event.
        if !is_new {
            self.advance(token, true, now);
        }
    }

    fn release(&mut self, index: usize) -> Option<Slot> {
        let slot = self.probes[index].take()?;
        self.free.push(index);
        self.open -= 1;
        self.stats.open.store(self.open as u64, Ordering::Relaxed);
        Some(slot)
    }

    fn finish(&mut self, index: usize, verdict: Verdict, now: u64) {
        let Some(slot) = self.release(index) else { return };
        let (entry_index, void) = (slot.entry, slot.void);
        let Some(entry) = self.roster.of(entry_index, slot.peer) else { return };
        if verdict == (Verdict::Passed { reusable: true }) && self.watches[entry.watch].spec.keep_alive {
            let idle = slot.probe.into_idle();
            let fd = idle.socket.as_raw_fd();
            let token = Token(entry_index | IDLE);
            if self.poll.registry().reregister(&mut SourceFd(&fd), token, Interest::READABLE).is_ok() {
                entry.idle = Some(idle);
            }
        }
        self.conclude(entry_index, verdict, void, now);
    }

    fn skip(&mut self, index: usize, now: u64) {
        if let Some(slot) = self.release(index) {
            self.skip_entry(slot.entry, now);
        }
    }

    /// This machine's fault: the check says nothing.
    fn skip_entry(&mut self, index: usize, now: u64) {
        self.stats.local.fetch_add(1, Ordering::Relaxed);
        self.again(index, now, false);
    }

    /// What a result does to the peer, and when it is checked next.
    fn conclude(&mut self, index: usize, verdict: Verdict, void: bool, now: u64) {
        let (Some(tenure), Some(entry)) = (self.tenure, self.roster.get(index)) else { return };
        // Whoever took over decides from here on.
        if !self.table.holds_watch(tenure) {
            return;
        }
        let spec = &self.watches[entry.watch].spec;
        let down = self.table.state(entry.peer).is_some_and(|s| s.is_down());
        let count = |counter: &std::sync::atomic::AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let change = match verdict {
            Verdict::Passed { .. } => {
                count(&self.stats.passed);
                entry.failed = 0;
                entry.passed = if down { entry.passed + 1 } else { 0 };
                (entry.passed >= spec.rise).then_some((false, Cause::NONE, 0))
            }
            Verdict::Failed { .. } if void => {
                count(&self.stats.void);
                return self.again(index, now, true);
            }
            Verdict::Failed { cause, status } => {
                count(&self.stats.failed);
                entry.passed = 0;
                entry.failed = if down { 0 } else { entry.failed + 1 };
                (entry.failed >= spec.fall).then_some((true, cause, status))
            }
        };
        if let Some((down, cause, status)) = change {
            (entry.passed, entry.failed) = (0, 0);
            let _ = health::set_down(&self.table, entry.peer, down, cause, status, now);
        }
        let near = entry.passed != 0 || entry.failed != 0;
        self.again(index, now, near);
    }

    fn again(&mut self, index: usize, now: u64, fast: bool) {
        let Some(entry) = self.roster.get(index) else { return };
        entry.open = false;
        let spec = &self.watches[entry.watch].spec;
        let due = now + jittered(if fast { spec.fast_ns } else { spec.interval_ns }, &self.random);
        self.roster.set_due(index, due);
    }
}

/// Tokens: the place of a check or of an entry, whether it is an idle connection, and a serial number.
const SERIAL_SHIFT: u32 = 25;
const INDEX: usize = (1 << 24) - 1;
const IDLE: usize = 1 << 24;

/// A time, longer or shorter by up to a sixteenth.
fn jittered(ns: u64, random: &Random) -> u64 {
    ns - ns / 16 + random.below(ns as usize / 8) as u64
}
