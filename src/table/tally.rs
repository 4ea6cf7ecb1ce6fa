//! What passive health remembers of a peer beside its state word, and of an upstream: attempts and failures of the last
//! while, and when the peer last answered. What it means is the business of `health`.
//!
//! | word of a peer | content |
//! |---|---|
//! | answered | the time of its last answer, to within `health`'s step |
//! | pending | what was seen of requests that it leaves unanswered: see `health::pending` |
//! | counts | decayed attempts (`f32`, high half) and failures (`f32`, low half) |
//! | mark | attempts (low 32 bits of their number) << 32 and time in milliseconds up to which `counts` goes |
//!
//! Attempts are not counted here: the lanes have them, so a success costs nothing. Who notes a failure sums the lanes and
//! takes what came since the mark, as if it had come evenly. Bits are taken as they come: any are some counts.
//!
//! Cost: a failure sums the lanes of its peer and the requests of its upstream, once in a few milliseconds.
//!
//! # Orderings
//! All Relaxed: statistics, which order nothing. The CAS on a mark gives each stretch of attempts to one worker; if that
//! one dies before it adds them they are lost, and the peer's share of failures seems higher until the counts decay.

use super::layout::tally as word;
use super::{Table, UpstreamId};
use crate::sync::{AtomicU64, Ordering};

/// Counts decay to 1/e in this time: long enough for some hundred answers of a busy peer, short enough to forget.
const DECAY_MS: f32 = 10_000.0;
/// Failures that follow each other faster share one sum over the lanes.
const STEP_MS: u32 = 4;

/// Attempts and failures, decayed.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Counts {
    pub attempts: f32,
    pub failures: f32,
}

impl Counts {
    fn from_bits(bits: u64) -> Counts {
        let part = |half: u32| Some(f32::from_bits(half)).filter(|f| f.is_finite()).map_or(0.0, |f| f.clamp(0.0, 1e9));
        let failures = part(bits as u32);
        Counts { attempts: part((bits >> 32) as u32), failures }
    }

    fn bits(self) -> u64 {
        u64::from(self.attempts.to_bits()) << 32 | u64::from(self.failures.to_bits())
    }

    /// What is left of `all` without these.
    pub fn others(self, all: Counts) -> Counts {
        let failures = (all.failures - self.failures).max(0.0);
        Counts { attempts: (all.attempts - self.attempts).max(failures), failures }
    }

    /// The share of failures, 0 to 1.
    pub fn share(self) -> f32 {
        if self.attempts <= 0.0 { 0.0 } else { (self.failures / self.attempts).min(1.0) }
    }
}

/// Where counts are kept.
struct Place<'a> {
    counts: &'a AtomicU64,
    mark: &'a AtomicU64,
}

impl Place<'_> {
    /// Brings the counts up to now and adds failures. `attempts`: how many there have been in all.
    fn note(&self, attempts: impl FnOnce() -> u64, failures: f32, now_ms: u32) -> Counts {
        let mark = self.mark.load(Ordering::Relaxed);
        let past = now_ms.wrapping_sub(mark as u32);
        // Another worker's clock may be ahead.
        let past = if past > u32::MAX / 2 { 0 } else { past };
        let (mut more, mut keep) = (0.0, 1.0);
        if past >= STEP_MS {
            let attempts = attempts() as u32;
            let next = u64::from(attempts) << 32 | u64::from(now_ms);
            if self.mark.compare_exchange(mark, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                let ages = past as f32 / DECAY_MS;
                keep = (-ages).exp();
                more = attempts.wrapping_sub((mark >> 32) as u32) as f32 * (1.0 - keep) / ages;
            }
        }
        let mut seen = self.counts.load(Ordering::Relaxed);
        loop {
            let old = Counts::from_bits(seen);
            let failures = (old.failures * keep + failures).max(0.0);
            let new = Counts { attempts: (old.attempts * keep + more).max(failures), failures };
            match self.counts.compare_exchange_weak(seen, new.bits(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return new,
                Err(other) => seen = other,
            }
        }
    }

    fn take_off(&self, less: Counts) {
        let _ = self.counts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
            let old = Counts::from_bits(bits);
            let failures = (old.failures - less.failures).max(0.0);
            Some(Counts { attempts: (old.attempts - less.attempts).max(failures), failures }.bits())
        });
    }
}

impl Table {
    /// Adds failures (or takes back, below 0) to the counts of a peer and its upstream. Both, up to now.
    pub(crate) fn note_failures(&self, slot: u32, id: UpstreamId, failures: f32, now: u64) -> Option<(Counts, Counts)> {
        let now_ms = self.tally_ms(now);
        let of_peer = self.peer_tally(slot)?.note(|| self.slot_counts(slot).0, failures, now_ms);
        let attempts = || self.requests(id).wrapping_add(self.upstream_tally_word(id, word::EXTRA));
        let of_all = self.upstream_tally(id)?.note(attempts, failures, now_ms);
        Some((of_peer, of_all))
    }

    /// Forgets what a peer's counts say, also in those of its upstream: it is out, or begins anew.
    pub(crate) fn forget_failures(&self, slot: u32, id: UpstreamId, now: u64) {
        let (Some(place), Some(all)) = (self.peer_tally(slot), self.upstream_tally(id)) else { return };
        let own = place.counts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |_| Some(0)).unwrap_or(0);
        all.take_off(Counts::from_bits(own));
        let mark = u64::from(self.slot_counts(slot).0 as u32) << 32 | u64::from(self.tally_ms(now));
        place.mark.store(mark, Ordering::Relaxed);
    }

    /// Counts attempts of an upstream beyond one a request, or requests without one.
    pub(crate) fn count_extra_attempts(&self, id: UpstreamId, n: i64) {
        if let Some(extra) = self.region.upstream_tallies.get(id.index() * word::UPSTREAM_WORDS + word::EXTRA) {
            extra.fetch_add(n as u64, Ordering::Relaxed);
        }
    }

    /// When the peer last answered.
    #[inline]
    pub(crate) fn answered_word(&self, slot: u32) -> Option<&AtomicU64> {
        self.region.tallies.get(slot as usize * word::WORDS + word::ANSWERED)
    }

    /// What was seen of requests that the peer leaves unanswered.
    pub(crate) fn pending_word(&self, slot: u32) -> Option<&AtomicU64> {
        self.region.tallies.get(slot as usize * word::WORDS + word::PENDING)
    }

    /// The time that most answers of an upstream take, an `f32` of nanoseconds.
    pub(crate) fn slow_answer_word(&self, id: UpstreamId) -> Option<&AtomicU64> {
        self.region.upstream_tallies.get(id.index() * word::UPSTREAM_WORDS + word::SLOW_ANSWER)
    }

    /// Until when no share of failures ejects, because the rest of the pool could not carry the load.
    pub(crate) fn rates_held_until(&self, id: UpstreamId) -> u64 {
        self.upstream_tally_word(id, word::RATES_HELD)
    }

    pub(crate) fn hold_rates(&self, id: UpstreamId, until: u64) {
        if let Some(held) = self.region.upstream_tallies.get(id.index() * word::UPSTREAM_WORDS + word::RATES_HELD) {
            held.store(until, Ordering::Relaxed);
        }
    }

    /// Requests that hang for less than this are none.
    pub(crate) fn pending_ns(&self, id: UpstreamId) -> u64 {
        self.upstream_tally_word(id, word::LEAST_PENDING)
    }

    pub(super) fn set_pending_ns(&self, id: UpstreamId, ns: u64) {
        if let Some(least) = self.region.upstream_tallies.get(id.index() * word::UPSTREAM_WORDS + word::LEAST_PENDING) {
            least.store(ns, Ordering::Relaxed);
        }
    }

    /// The clock of marks: milliseconds of the table's time, wrapping after 49 days.
    pub(crate) fn tally_ms(&self, now: u64) -> u32 {
        (now.saturating_sub(self.epoch()) / 1_000_000) as u32
    }

    /// Empties what is kept of whoever had the slot; `attempts` were made before.
    pub(super) fn clear_tally(&self, slot: u32, attempts: u64, now: u64) {
        let start = slot as usize * word::WORDS;
        let mark = u64::from(attempts as u32) << 32 | u64::from(self.tally_ms(now));
        // It has answered to its declaration: silence counts from here on.
        for (word, value) in
            self.region.tallies.get(start..start + word::WORDS).unwrap_or(&[]).iter().zip([now, 0, 0, mark])
        {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn peer_tally(&self, slot: u32) -> Option<Place<'_>> {
        let words = self.region.tallies.get(slot as usize * word::WORDS..)?;
        Some(Place { counts: words.get(word::COUNTS)?, mark: words.get(word::MARK)? })
    }

    fn upstream_tally(&self, id: UpstreamId) -> Option<Place<'_>> {
        let words = self.region.upstream_tallies.get(id.index() * word::UPSTREAM_WORDS..)?;
        Some(Place { counts: words.get(word::ALL_COUNTS)?, mark: words.get(word::ALL_MARK)? })
    }

    fn upstream_tally_word(&self, id: UpstreamId, which: usize) -> u64 {
        let word = self.region.upstream_tallies.get(id.index() * word::UPSTREAM_WORDS + which);
        word.map_or(0, |w| w.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_decay_and_come_up_to_now() {
        let (counts, mark) = (AtomicU64::new(0), AtomicU64::new(0));
        let place = Place { counts: &counts, mark: &mark };
        // Ten attempts a millisecond, for a minute.
        let steady = place.note(|| 600_000, 1.0, 60_000);
        assert!((steady.attempts / 100_000.0 - 1.0).abs() < 0.01, "{steady:?}");
        let later = place.note(|| 600_000, 1.0, 70_000);
        assert!((later.attempts / steady.attempts - (-1f32).exp()).abs() < 0.01, "{later:?}");
        assert!((later.failures - 1.0 - (-1f32).exp()).abs() < 0.01, "{later:?}");
        // A clock that is behind changes nothing but the failure.
        assert_eq!(place.note(|| 700_000, 1.0, 69_000).attempts, later.attempts);
    }

    #[test]
    fn any_bits_are_some_counts() {
        for bits in [u64::MAX, 0x7f80_0000_ff80_0000, 1, 0xbf80_0000_bf80_0000] {
            let (counts, mark) = (AtomicU64::new(bits), AtomicU64::new(bits));
            let after = Place { counts: &counts, mark: &mark }.note(|| 7, 1.0, 0);
            assert!(after.attempts >= after.failures && after.failures >= 1.0, "{after:?}");
        }
    }
}
