//! Who gets a place at an upstream that takes only so many requests at once: go, wait, or be turned away.
//!
//! Limits are exact over all workers: of a peer (`selector`), and of the whole upstream (`table::admission`). Where the
//! operator allows a queue, a request that finds no place waits for one: the pick answers QUEUED, and the host picks
//! again after [`Request::waits`] says, at latest, or as soon as an attempt of its own on that upstream ends. The queue
//! is bounded in length and in time. While anybody waits, no newcomer takes a place: it goes to the queue's end or is
//! turned away. Order within a worker is the host's (first come, first served: equal waits end in order, so the one who
//! came first is also the one whose time ends first); between workers whoever asks first. A request that is turned away is
//! answered 503 `connection_limit_reached`.
//!
//! Cost: nothing for upstreams without a limit; a CAS a request with one; while nobody waits a queue costs one load.

use super::request::Request;
use super::{Worker, answer};
use crate::cause::Cause;
use crate::selector::Refusal;
use crate::table;

/// How a waiting request is to go on.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Waits {
    /// Pick again after this, for another worker may have freed a place.
    pub again_ns: u64,
    /// Its time in the queue is over after this.
    pub left_ns: u64,
}

/// What came of a pick without a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    Wait,
    Away(Cause),
}

/// How often whoever is first in a worker's queue looks for a place that another worker freed: at random between this
/// and twice this, or one worker would always be the first to look.
const LOOK_NS: u64 = 2_000_000;

impl Request {
    /// How long it still waits; zeros: it doesn't.
    pub fn waits(&self, now: u64) -> Waits {
        match self.waits_until() {
            0 => Waits::default(),
            until => {
                let left_ns = until.saturating_sub(now).max(1);
                let again = LOOK_NS + self.random().below(LOOK_NS as usize) as u64;
                Waits { again_ns: again.min(left_ns), left_ns }
            }
        }
    }

    /// Whether it must let others go first, who wait already.
    pub(super) fn must_queue(&self) -> bool {
        self.waits_until() == 0 && self.table().queue_counts(self.upstream()).0 != 0
    }

    /// What to do with a request that found no place.
    pub(super) fn turn(&mut self, refusal: Refusal, now: u64) -> Turn {
        let rules = self.table().admission(self.upstream());
        let limit = answer::limit(refusal);
        match self.waits_until() {
            0 if rules.queue == 0 => Turn::Away(limit),
            0 => {
                let until = now.saturating_add(rules.queue_ns.max(1));
                if self.is_past_deadline(now) {
                    return Turn::Away(limit);
                }
                if !self.table().enter_queue(self.upstream(), rules.queue) {
                    return Turn::Away(Cause::QUEUE_FULL);
                }
                count_waiting(self.worker(), self.upstream(), true);
                self.set_waits_until(self.deadline().map_or(until, |deadline| until.min(deadline)).max(1));
                Turn::Wait
            }
            until if now < until => Turn::Wait,
            _ => {
                self.leave_queue();
                Turn::Away(Cause::QUEUE_TIMEOUT)
            }
        }
    }

    /// Leaves the queue, if it is in it.
    pub(super) fn leave_queue(&mut self) {
        if self.waits_until() != 0 {
            self.set_waits_until(0);
            // The lane first, so that the sum is never below it.
            count_waiting(self.worker(), self.upstream(), false);
            self.table().leave_queue(self.upstream());
        }
    }
}

fn count_waiting(worker: &Worker, upstream: table::UpstreamId, comes: bool) {
    let Some(cell) = worker.seat.waiting_word(upstream) else { return };
    if comes {
        table::count_request(cell, worker.seat.writers);
    } else {
        table::end(cell, worker.seat.writers);
    }
}
