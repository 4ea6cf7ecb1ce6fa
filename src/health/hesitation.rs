//! Softer evidence: a peer that was given up before the operator's time-out was over, and one that asks for a pause.
//!
//! A time-out that we chose ourselves is a guess. It adds to the streak of failures as any other, but it ejects only once
//! the peer has been silent, without one success, for as long again as the time-out itself, counted from the first
//! request that was given up: a pause as long as one time-out ejects nobody, however many requests it met.
//!
//! Meanwhile the peer is *doubtful*: requests that can't be repeated, and would be lost with it, avoid it where they can.
//!
//! `Retry-After` on a failing status is the peer's own word that it needs time: it is put aside for as long, jittered by
//! up to an eighth more and bounded by the operator, and then tried like any ejected peer. Like an ejection this is never
//! done to the last usable peer; unlike one it doesn't make the next one longer. A 429 counts only where the operator
//! counts it as a failure: often it means one client, not the peer.

use super::{Evidence, Role, floor};
use crate::cause::Cause;
use crate::sync::Ordering;
use crate::table::{Detector, EventKind, Health, Table, Tick, UpstreamId};

/// For how long after an attempt was given up doubtful peers are looked out for.
const DOUBT_NS: u64 = 2_000_000_000;

/// Whether any peer may be doubtful. One load.
#[inline]
pub(crate) fn has_doubtful(table: &Table, upstream: UpstreamId, now: u64) -> bool {
    let last = table.doubt_word(upstream).map_or(0, |w| w.load(Ordering::Relaxed));
    last != 0 && now.abs_diff(last) < DOUBT_NS
}

impl Evidence<'_> {
    /// The attempt was given up after `took_ns`. Whether that ejected the peer.
    #[cold]
    pub fn hesitation(&self, cause: Cause, took_ns: u64) -> bool {
        let threshold = self.policy.eject_failures();
        if let Some(doubt) = self.table.doubt_word(self.upstream) {
            doubt.store(self.now.max(1), Ordering::Relaxed);
        }
        while let Some(state) = self.current() {
            if state.health() != Health::Healthy || self.role != Role::Ordinary {
                return self.failure(cause);
            }
            let since = self.table.hesitation_word(self.peer.slot());
            if state.streak() == 0 {
                since.inspect(|w| w.store(self.now.max(1), Ordering::Relaxed));
            }
            let began = since.map_or(self.now, |w| w.load(Ordering::Relaxed));
            if state.streak() + 1 >= threshold && self.now.saturating_sub(began) >= took_ns {
                return self.failure(cause);
            }
            if self.change(state, state.with_streak((state.streak() + 1).min(threshold.saturating_sub(1)))) {
                return false;
            }
        }
        self.table.count_late_outcome();
        false
    }

    /// The peer asked for a pause. Whether it got one.
    #[cold]
    pub fn pause(&self, cause: Cause, asked_ns: u64) -> bool {
        let most = self.table.retry_after_max_ns(self.upstream);
        let asked = asked_ns.min(most);
        let threshold = self.policy.eject_failures();
        while asked != 0
            && let Some(state) = self.current()
        {
            if state.health() != Health::Healthy || self.policy.judges_only() {
                return false;
            }
            let Some(reservation) = floor::reserve(self, threshold) else { return false };
            let length = asked.saturating_add(self.random.below((asked / 8) as usize) as u64);
            let until = Tick::at(self.now, self.table.epoch()).after(length);
            let done = self.change(state, state.with_health(Health::Ejected).with_until(until));
            reservation.settle(self, done.then_some(state));
            if done {
                let (peer, upstream, for_ms) = (self.peer, self.upstream, length / 1_000_000);
                let detector = Detector::RetryAfter;
                self.table.note_ejection(peer.slot(), detector, cause);
                self.table.emit(EventKind::Ejected { peer, upstream, cause, for_ms, detector }, self.now);
                floor::recount(self.table, self.upstream, self.now);
                return true;
            }
        }
        false
    }
}
