//! How many requests an upstream takes at once, and how many wait: the words that count both.
//!
//! Places are taken by CAS on one word, so a limit is exact over all processes. Waiting requests are counted twice, as
//! those in flight are: in the worker's lane, and in one word an upstream that scrubs bring to the sum of the lanes
//! after a death. Who may wait and who is turned away is `failover::admission`'s business.
//!
//! # Orderings
//! All Relaxed: the words are counts, and nothing is published by them.

use super::layout::timing as word;
use super::policy::Policy;
use super::{Table, UpstreamId};
use crate::sync::Ordering;

/// What the operator allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admission {
    /// Most requests in flight; 0: no limit.
    pub limit: u32,
    /// Most in the queue; 0: none may wait.
    pub queue: u32,
    /// Longest time in it.
    pub queue_ns: u64,
}

impl Table {
    pub(super) fn write_admission(&self, id: UpstreamId, policy: &Policy) {
        let set = |w: usize, value: u64| {
            if let Some(word) = self.timing_word(id, w) {
                word.store(value, Ordering::Relaxed);
            }
        };
        set(word::FLOOR, policy.timeout_floor_ns);
        set(word::RETRY_AFTER, policy.retry_after_max_ns);
        set(word::QUEUE_TIME, policy.queue_ns);
        set(word::ADMISSION, u64::from(policy.max_in_flight) | u64::from(policy.max_queue) << 32);
    }

    /// Least time-out that is advised; 0: none is.
    pub(crate) fn timeout_floor_ns(&self, id: UpstreamId) -> u64 {
        self.timing_value(id, word::FLOOR)
    }

    /// Longest Retry-After that is honoured; 0: none is.
    pub(crate) fn retry_after_max_ns(&self, id: UpstreamId) -> u64 {
        self.timing_value(id, word::RETRY_AFTER)
    }

    pub(crate) fn admission(&self, id: UpstreamId) -> Admission {
        let value = self.timing_value(id, word::ADMISSION);
        Admission {
            limit: value as u32,
            queue: (value >> 32) as u32,
            queue_ns: self.timing_value(id, word::QUEUE_TIME),
        }
    }

    /// Takes a place below the limit in force. Whether there was one.
    pub(crate) fn take_place(&self, id: UpstreamId) -> bool {
        let limit = self.limit_in_force(id);
        let Some(total) = self.in_flight_word(id) else { return false };
        let below = |n: u64| (n < limit).then(|| n + 1);
        let taken = total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).is_ok();
        if !taken && let Some(met) = self.timing_word(id, word::MET) {
            met.store(1, Ordering::Relaxed);
        }
        taken
    }

    /// The operator's limit, or the adaptive one where that is lower.
    pub(crate) fn limit_in_force(&self, id: UpstreamId) -> u64 {
        let fixed = match self.admission(id).limit {
            0 => u64::MAX,
            n => u64::from(n),
        };
        match self.packed_policy(id).is_adaptive() {
            true => fixed.min(self.adaptive(id).limit as u64),
            false => fixed,
        }
    }

    /// Requests that wait, and that ever did.
    pub(crate) fn queue_counts(&self, id: UpstreamId) -> (u64, u64) {
        (self.timing_value(id, word::WAITING), self.timing_value(id, word::QUEUED))
    }

    /// Counts a request in, unless `most` are waiting. Whether it is.
    pub(crate) fn enter_queue(&self, id: UpstreamId, most: u32) -> bool {
        let Some(waiting) = self.timing_word(id, word::WAITING) else { return false };
        let below = |n: u64| (n < u64::from(most)).then(|| n + 1);
        let entered = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).is_ok();
        if entered && let Some(queued) = self.timing_word(id, word::QUEUED) {
            queued.fetch_add(1, Ordering::Relaxed);
        }
        entered
    }

    /// Counts it out, which a scrub may have done already.
    pub(crate) fn leave_queue(&self, id: UpstreamId) {
        if let Some(waiting) = self.timing_word(id, word::WAITING) {
            let _ = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        }
    }

    /// Forgets who waits in a lane.
    pub(super) fn clear_waiting(&self, lane: u32) {
        let start = lane as usize * self.region.requests_row;
        let row = self.region.waiting.get(start..start + self.region.requests_row).unwrap_or(&[]);
        row.iter().filter(|w| w.load(Ordering::Relaxed) != 0).for_each(|w| w.store(0, Ordering::Relaxed));
    }

    /// Brings the counts of those who wait to the sums of the lanes, as `scrub` does for those in flight.
    pub(super) fn scrub_queues(&self) {
        for id in self.upstream_ids().filter(|&id| self.packed_policy(id).queues()) {
            let Some(waiting) = self.timing_word(id, word::WAITING) else { continue };
            let seen = waiting.load(Ordering::Relaxed);
            let sum = || (0..self.region.capacity.workers).map(|lane| self.waiting_in(lane, id)).sum::<u64>();
            let counted = sum();
            if seen != counted && sum() == counted {
                let _ = waiting.compare_exchange(seen, counted, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    fn waiting_in(&self, lane: u32, id: UpstreamId) -> u64 {
        let word = self.region.waiting.get(lane as usize * self.region.requests_row + id.index());
        if self.is_lane_out(lane) { 0 } else { word.map_or(0, |w| w.load(Ordering::Relaxed) & 0xff_ffff) }
    }

    /// The adaptive limit as it stands.
    pub(crate) fn adaptive(&self, id: UpstreamId) -> Adaptive {
        let limit = match self.timing_value(id, word::LIMIT) {
            0 => FIRST_LIMIT,
            n => n as f64 / 256.0,
        };
        Adaptive { limit, normal_ns: self.timing_value(id, word::NORMAL) as f64 }
    }

    pub(crate) fn set_adaptive(&self, id: UpstreamId, adaptive: Adaptive) {
        for (w, value) in [(word::LIMIT, adaptive.limit * 256.0), (word::NORMAL, adaptive.normal_ns)] {
            if let Some(word) = self.timing_word(id, w) {
                word.store(value as u64, Ordering::Relaxed);
            }
        }
    }

    /// Takes a latency in for the adaptive limit. A load and a store each: see `timing`.
    pub(crate) fn note_for_limit(&self, id: UpstreamId, ns: u64) {
        for (w, by) in [(word::SUM, ns), (word::COUNT, 1)] {
            if let Some(word) = self.timing_word(id, w) {
                word.store(word.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
            }
        }
    }

    /// What was taken in since the last time this was asked: the mean, or `None`; and whether a pick met the limit.
    pub(crate) fn take_for_limit(&self, id: UpstreamId) -> (Option<f64>, bool) {
        let take = |w: usize| self.timing_word(id, w).map_or(0, |word| word.swap(0, Ordering::Relaxed));
        let (sum, count, met) = (take(word::SUM), take(word::COUNT), take(word::MET));
        ((count != 0).then(|| sum as f64 / count as f64), met != 0)
    }
}

/// An adaptive limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adaptive {
    pub limit: f64,
    /// The latency that it takes for normal; 0: not known yet.
    pub normal_ns: f64,
}

/// Where an adaptive limit begins.
const FIRST_LIMIT: f64 = 64.0;
