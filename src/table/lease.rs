//! Who serves requests: leases on lanes, and how they end.
//!
//! A lease is one word, so that taking, losing and regaining it is one CAS:
//!
//! | bits | field |
//! |---|---|
//! | 63 | out: the process named may live, but its lane is left out of the sums |
//! | 62 | being cleared: the process named is taking a dead worker's counts off |
//! | 0–61 | a process: see `identity` |
//!
//! 0 is free. Two words beside it are its holder's: the time of its last tick, and after what silence it counts as out.
//!
//! # How a lease ends
//! | its holder, as whoever ticks sees it | what happens |
//! |---|---|
//! | left | its lane is cleared and free |
//! | ended, which only its own PID namespace can tell | the same, at the next tick or join |
//! | lives, in our namespace | it keeps its lease however long it is stopped, for its connections are open and its counts true; unless it asked for less patience (`lease_ns`) and has been silent for as long |
//! | of another PID namespace | known by its heartbeat alone: out after `lease_ns` without a tick, 10 s by default |
//!
//! A lane that is *out* is left out of the sums and of the aggregates, and nobody else gets it: its holder may be
//! stopped in the middle of a store, and when it wakes, that store lands where nobody looks. It notices at its next call, before it writes,
//! and takes its lease back by one CAS; its lane, still with the counts of what it has open, is in the sums again. So no request of
//! a host fails because its process was stopped. A lane that is out is freed by its holder, or once a process of the
//! holder's own namespace finds it ended; where none is left to look, it stays out, and `join` says so when all are.
//!
//! Silence is a difference of `now`s of CLOCK_MONOTONIC, which stands still while the machine is suspended, for all alike:
//! waking up makes nobody late.
//!
//! # Orderings
//! The CAS that takes a lease is AcqRel and pairs with the store that frees it (Release): a new holder sees the cleared
//! words. A process that died has made no store after its last one; its lane is cleared by CAS from whatever value that
//! was, by one process at a time, for the lease says who; if that one dies too, the next takes over, for clearing twice
//! is clearing once. Whoever takes a lane clears it again: counts that stand in a free lane, however they came there,
//! end with that. Whether a lease is out is loaded Relaxed on the path of a request: the holder that misses it by a
//! moment does what one stopped a moment later would have done, in its own lane. The heartbeat is Relaxed: it is
//! compared with a bound of seconds.

use super::identity::Life;
use super::layout::{LEASE_WORDS, lease as word};
use super::{EventKind, ProcessIdentity, Table};
use crate::error::{Error, TIDEGATE_ERR_FULL, TIDEGATE_ERR_LEASE_LOST};
use crate::sync::{AtomicU64, Ordering};

pub(super) const OUT: u64 = 1 << 63;
const CLEARING: u64 = 1 << 62;

/// The silence after which a process that nobody here can see is out, where it did not say.
const PATIENCE_NS: u64 = 10_000_000_000;

/// A heartbeat so far ahead is none: a day.
const DAMAGE_NS: u64 = 86_400_000_000_000;

/// A lease that this process holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lane {
    index: u32,
    identity: ProcessIdentity,
}

impl Lane {
    /// Its number.
    pub fn index(self) -> u32 {
        self.index
    }
}

/// Whether a lease is out, as its holder sees it.
#[inline(always)]
pub(super) fn is_out(lease: &AtomicU64) -> bool {
    // OUT is the sign: one comparison with memory.
    lease.load(Ordering::Relaxed).cast_signed() < 0
}

impl Table {
    /// Takes a lane: a free one, or else one that a dead worker left.
    pub fn join(&self) -> Result<Lane, Error> {
        self.writable()?;
        self.register_to_settle();
        self.take_free_lane()
            .or_else(|| (self.sweep(0, false) > 0).then(|| self.take_free_lane()).flatten())
            .ok_or_else(|| Error::new(TIDEGATE_ERR_FULL, self.why_full()))
    }

    fn why_full(&self) -> String {
        let all = self.region.capacity.workers;
        let out = (0..all).filter(|&lane| self.is_lane_out(lane)).count();
        match out {
            0 => format!("all {all} workers of the table are alive (raise max_workers)"),
            _ => format!(
                "of {all} workers of the table, {out} are silent and may live, the others live (raise max_workers)"
            ),
        }
    }

    fn take_free_lane(&self) -> Option<Lane> {
        let identity = ProcessIdentity::current();
        (0..self.region.capacity.workers).find_map(|index| {
            self.lease(index)?.compare_exchange(0, identity.bits(), Ordering::AcqRel, Ordering::Relaxed).ok()?;
            self.clear_lane(index, true);
            Some(Lane { index, identity })
        })
    }

    /// Tells that the holder is there, and how long it may be silent. 0: for ever where its process can be seen.
    pub(crate) fn beat(&self, lane: Lane, patience_ns: u64, now: u64) {
        self.set_lease_word(lane.index, word::BEAT, now);
        self.set_lease_word(lane.index, word::PATIENCE, patience_ns);
    }

    /// Gives a lane back; what is still in flight on it is taken off.
    pub fn leave(&self, lane: Lane) {
        let Some(lease) = self.lease(lane.index) else { return };
        let held = lane.identity.bits();
        let seen = lease.load(Ordering::Relaxed);
        if seen & !OUT != held {
            return;
        }
        self.clear_lane(lane.index, seen & OUT == 0);
        // It may have been found out meanwhile.
        let free = |from| lease.compare_exchange(from, 0, Ordering::Release, Ordering::Relaxed).is_ok();
        let _ = free(seen) || free(held | OUT);
    }

    /// Frees the lanes of workers that have ended and takes off what they left in flight; leaves out those of workers
    /// that are silent. How many lanes that were.
    pub fn reclaim(&self, now: u64) -> usize {
        self.sweep(now, true)
    }

    /// The same; without looking for the silent where the time is not known.
    fn sweep(&self, now: u64, silent_too: bool) -> usize {
        if self.writable().is_err() {
            return 0;
        }
        let me = ProcessIdentity::current();
        let is_silent = |index, otherwise| silent_too && self.is_silent(index, otherwise, now);
        let (mut freed, mut left_out) = (0, 0);
        for index in 0..self.region.capacity.workers {
            let Some(lease) = self.lease(index) else { break };
            let held = lease.load(Ordering::Relaxed);
            let holder = ProcessIdentity::from_bits(held);
            if held == 0 || holder == me {
                continue;
            }
            match holder.life(me) {
                Life::Ended => freed += usize::from(self.free_lane_of_dead(index, held, me, now)),
                Life::Doubtful if is_silent(index, PATIENCE_NS) => {
                    freed += usize::from(self.free_lane_of_dead(index, held, me, now));
                }
                Life::OutOfSight if held & OUT == 0 && is_silent(index, PATIENCE_NS) => {
                    left_out += usize::from(self.leave_out(index, held, now));
                }
                Life::Alive if held & (OUT | CLEARING) == 0 && is_silent(index, u64::MAX) => {
                    left_out += usize::from(self.leave_out(index, held, now));
                }
                _ => {}
            }
        }
        if left_out > 0 {
            self.scrub();
        }
        freed + left_out
    }

    fn free_lane_of_dead(&self, index: u32, held: u64, me: ProcessIdentity, now: u64) -> bool {
        let Some(lease) = self.lease(index) else { return false };
        let mine = me.bits() | CLEARING;
        if lease.compare_exchange(held, mine, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        // A lane that was out is in no aggregate.
        let taken = self.clear_lane(index, held & OUT == 0);
        let free = |from| lease.compare_exchange(from, 0, Ordering::Release, Ordering::Relaxed).is_ok();
        let _ = free(mine) || free(mine | OUT);
        self.emit(EventKind::WorkerReclaimed { lane: index, taken }, now);
        true
    }

    fn leave_out(&self, index: u32, held: u64, now: u64) -> bool {
        let Some(lease) = self.lease(index) else { return false };
        let done = lease.compare_exchange(held, held | OUT, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if done {
            self.emit(EventKind::WorkerOut { lane: index, taken: self.lane_in_flight(index) }, now);
        }
        done
    }

    /// Whether a holder was silent for longer than it may be: `otherwise`, if it did not say.
    fn is_silent(&self, index: u32, otherwise: u64, now: u64) -> bool {
        let patience = match self.lease_word(index, word::PATIENCE) {
            0 => otherwise,
            asked => asked,
        };
        let beat = self.lease_word(index, word::BEAT);
        // A beat may lie ahead of one who was stopped since it asked for the time; far ahead it is damage.
        patience != u64::MAX && (now.saturating_sub(beat) > patience || beat.saturating_sub(now) > DAMAGE_NS)
    }

    /// Makes sure that this process holds the lane, if need be by taking it back: what it has open counts again.
    #[cold]
    #[inline(never)]
    pub(crate) fn regain(&self, lane: Lane, now: u64) -> Result<(), Error> {
        let lost = || Error::of(TIDEGATE_ERR_LEASE_LOST);
        let (lease, held) = (self.lease(lane.index).ok_or_else(lost)?, lane.identity.bits());
        match lease.compare_exchange(held | OUT, held, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => {
                self.set_lease_word(lane.index, word::BEAT, now);
                self.scrub();
                self.emit(EventKind::WorkerBack { lane: lane.index, held: self.lane_in_flight(lane.index) }, now);
                Ok(())
            }
            // Another thread of a shared worker was faster.
            Err(seen) if seen == held => Ok(()),
            Err(_) => Err(lost()),
        }
    }

    /// Whether this process holds the lane: not whether it is out.
    pub(crate) fn holds(&self, lane: Lane) -> bool {
        self.lease(lane.index).is_some_and(|l| l.load(Ordering::Relaxed) == lane.identity.bits())
    }

    /// The workers in the sums, for status output: lane and process id.
    pub(crate) fn workers(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0..self.region.capacity.workers).filter_map(|index| {
            let holder = self.lease(index)?.load(Ordering::Relaxed);
            (holder != 0 && holder & (CLEARING | OUT) == 0).then(|| (index, ProcessIdentity::from_bits(holder).pid()))
        })
    }

    pub(super) fn is_lane_out(&self, index: u32) -> bool {
        self.lease(index).is_some_and(is_out)
    }

    pub(super) fn lease(&self, index: u32) -> Option<&'static AtomicU64> {
        self.region.leases.get(index as usize * LEASE_WORDS)
    }

    fn lease_word(&self, index: u32, word: usize) -> u64 {
        self.region.leases.get(index as usize * LEASE_WORDS + word).map_or(0, |w| w.load(Ordering::Relaxed))
    }

    fn set_lease_word(&self, index: u32, word: usize, value: u64) {
        if let Some(word) = self.region.leases.get(index as usize * LEASE_WORDS + word) {
            word.store(value, Ordering::Relaxed);
        }
    }
}
