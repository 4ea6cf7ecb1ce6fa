//! How long each peer takes: an estimate that peaks at once and decays with time, and the keys that a pick compares.
//!
//! One word a peer holds the estimate (an `f32` of nanoseconds, high half; negative: assumed, not measured) and when it was made (a
//! *stamp*, low half: time in units of τ·ln 2 / 1024, modulo 2^32). A sample at or above the estimate replaces it; a
//! lower one draws it down by 1 − e^(−Δt/τ): Finagle's peak EWMA. The estimate of a peer that nobody asks decays by
//! e^(−Δt/τ), so that it is asked again. Not that of one that is asked and answers nothing: a pick that finds requests
//! in flight raises the estimate to the time since the last answer, or since the peer was last idle, which is what the
//! oldest of them has waited at least. Else a peer that hangs would look cheaper the longer it hangs.
//!
//! A peer's cost is estimate × (requests in flight + 1) / weight. Costs are kept as logarithms to base 2 in units of
//! 1/1024. All estimates decay at the same rate, so log(cost at its stamp) + stamp orders the peers at any time and need
//! not be touched as time passes (forward decay: Cormode et al., ICDE 2009). That sum is the peer's *key*. Keys of one
//! snapshot lie side by side, in the order of its members, for `minimum` to run over; they wrap, and are compared as
//! distances from now. A key is stored by the pick and the report of its peer; what two workers store at once may be a
//! request off until the next of them. `refresh` writes all keys of an upstream anew, and *parks* those of peers that
//! are not eligible: it runs after each transition, each declaration, and with every tick.
//!
//! Logarithms and powers are off by less than 1/100 of a doubling. A key may be written late, through the place of a
//! snapshot that was replaced: it then spoils the key of some other peer until that one's next report, and nothing else,
//! which is why keys do not lie in the arena. Cost of a report: ten loads and stores, no division.

use super::layout::upstream as upstream_word;
use super::snapshot::Entry;
use super::{PeerHandle, State, Table, UpstreamId};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Units of one doubling.
const UNIT: u32 = 1024;
/// How far from now a parked key lies: beyond any cost, and nearer than half the circle.
const PARKED: u32 = 1 << 30;
/// In a place: the peer was not eligible when its key was written anew.
const OUT: u64 = 1 << 63;
/// No estimate is above this many nanoseconds.
const HIGHEST: f32 = 1e15;
/// What a peer counts as while no peer of its upstream was ever measured.
const UNKNOWN_NS: f32 = 1e6;
/// A pick looks at what requests in flight have waited if the estimate is as old as this: 43 ms where τ is a second.
const WAITED: u32 = 64;
/// Decayed by more than this an estimate says nothing; its stamp is brought nearer, lest it seem to lie ahead.
const OLDEST: u32 = 64 * UNIT;

/// Parts of a word of 64 bits.
const fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// The rate of the stamps for a time constant, as `stamp` takes it: 2^40 · 1024 / (τ · ln 2).
pub(super) fn rate(tau_ns: u64) -> u64 {
    let units_per_ns = f64::from(UNIT) / (tau_ns.max(1) as f64 * std::f64::consts::LN_2);
    (units_per_ns * (1u64 << 40) as f64) as u64
}

#[inline(always)]
pub(super) fn stamp(rate: u64, now: u64) -> u32 {
    ((u128::from(now) * u128::from(rate)) >> 40) as u32
}

/// log2 in units, for numbers of at least 1.
#[inline(always)]
fn log2(x: f32) -> u32 {
    let line = (x.to_bits() >> 13).wrapping_sub(127 << 10);
    let part = line % UNIT;
    line.wrapping_add(bend(part))
}

/// 2^(−units).
#[inline(always)]
fn exp2_of_minus(units: u32) -> f32 {
    let units = units.min(100 * UNIT);
    let (whole, part) = (units / UNIT, UNIT - units % UNIT);
    f32::from_bits(((126 - whole) << 23) + ((part - bend(part)) << 13))
}

/// How far the logarithm bends away from the line between two powers of two.
#[inline(always)]
fn bend(part: u32) -> u32 {
    (part * (UNIT - part) * 352) >> 20
}

/// One peer's estimate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Estimate(u64);

impl Estimate {
    fn new(ns: f32, stamp: u32) -> Estimate {
        Estimate(u64::from(ns.to_bits()) << 32 | u64::from(stamp))
    }

    /// What a peer that was never measured counts as.
    fn assumed(ns: f32, stamp: u32) -> Estimate {
        Estimate::new(-ns, stamp)
    }

    #[inline(always)]
    fn is_measured(self) -> bool {
        self.0 != 0 && self.0 >> 63 == 0
    }

    /// At its stamp. Any bits are some estimate.
    #[inline(always)]
    fn ns(self) -> f32 {
        f32::from_bits(halves(self.0).0 & 0x7fff_ffff).clamp(1.0, HIGHEST)
    }

    /// How long ago it was made; a stamp that lies ahead, by another worker's clock, is now.
    #[inline(always)]
    fn age(self, now: u32) -> u32 {
        let age = now.wrapping_sub(self.0 as u32);
        if age > i32::MAX as u32 { 0 } else { age }
    }

    /// The same kind of estimate with another value and stamp.
    fn moved(self, ns: f32, stamp: u32) -> Estimate {
        if self.is_measured() { Estimate::new(ns, stamp) } else { Estimate::assumed(ns, stamp) }
    }

    /// What it has decayed to.
    fn decayed(self, now: u32) -> f32 {
        self.ns() * exp2_of_minus(self.age(now))
    }

    /// With one more sample.
    #[inline(always)]
    fn with(self, sample: f32, now: u32) -> Estimate {
        let old = self.ns();
        let keep = exp2_of_minus(self.age(now));
        let ns = if sample >= old || !self.is_measured() { sample } else { sample + (old - sample) * keep };
        Estimate::new(ns, now)
    }

    #[inline(always)]
    fn key(self, in_flight: u32, weight_log: u32) -> u32 {
        log2(self.ns())
            .wrapping_add(self.0 as u32)
            .wrapping_add(log2((in_flight.min(1 << 23) + 1) as f32))
            .wrapping_sub(weight_log)
    }
}

/// What is known of the latency of the peers, as one process sees it.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    /// One word a peer slot.
    pub(super) estimates: &'static [AtomicU64],
    /// One word a peer slot: the place of its key | logarithm of its weight << 32 | out << 63.
    pub(super) places: &'static [AtomicU64],
    pub(super) keys: &'static [AtomicU32],
}

impl Latency {
    /// What a peer would cost with one request more, and ordered as of now: the less the better.
    #[inline]
    pub fn cost(&self, slot: u32, weight: u32, in_flight: u32, now: u32) -> i32 {
        let word = self.estimates.get(slot as usize).map_or(0, |w| w.load(Ordering::Relaxed));
        let weight_log = log2(weight.max(1) as f32);
        let estimate = if word == 0 { Estimate::assumed(UNKNOWN_NS, now) } else { Estimate(word) };
        estimate.key(in_flight, weight_log).wrapping_sub(now) as i32
    }

    /// Writes the key of a peer that now has so many requests in flight.
    #[inline(always)]
    pub fn note_in_flight(&self, slot: u32, in_flight: u32, now: u32) -> Option<()> {
        let estimate = Estimate(self.estimates.get(slot as usize)?.load(Ordering::Relaxed));
        let estimate = if estimate.0 != 0 { estimate } else { Estimate::assumed(UNKNOWN_NS, now) };
        self.write_key(slot, estimate, in_flight)
    }

    /// Writes the key of a peer that was just picked and now has so many requests in flight, this one among them.
    #[inline(always)]
    pub fn note_pick(&self, slot: u32, in_flight: u32, now: u32, rate: u64) -> Option<()> {
        let word = self.estimates.get(slot as usize)?;
        let mut estimate = Estimate(word.load(Ordering::Relaxed));
        if estimate.0 == 0 || estimate.age(now) >= WAITED {
            estimate = stale(word, estimate, in_flight, now, rate);
        }
        self.write_key(slot, estimate, in_flight)
    }

    /// Takes a sample in, and writes the key.
    #[inline(always)]
    pub fn note(&self, slot: u32, sample_ns: u64, in_flight: u32, now: u32) -> Option<()> {
        let word = self.estimates.get(slot as usize)?;
        let estimate = Estimate(word.load(Ordering::Relaxed)).with(sample_ns as f32, now);
        word.store(estimate.0, Ordering::Relaxed);
        self.write_key(slot, estimate, in_flight)
    }

    /// Takes a failure in: it never makes a peer cheaper.
    pub fn note_failure(&self, slot: u32, sample_ns: u64, in_flight: u32, now: u32) -> Option<()> {
        let before = Estimate(self.estimates.get(slot as usize)?.load(Ordering::Relaxed)).decayed(now);
        self.note(slot, sample_ns.max(before as u64 + 1), in_flight, now)
    }

    #[inline(always)]
    fn write_key(&self, slot: u32, estimate: Estimate, in_flight: u32) -> Option<()> {
        let (weight_log, place) = halves(self.places.get(slot as usize)?.load(Ordering::Relaxed) & !OUT);
        self.keys.get(place as usize)?.store(estimate.key(in_flight, weight_log), Ordering::Relaxed);
        Some(())
    }

    /// The keys of a snapshot's first `count` members.
    #[inline(always)]
    pub fn keys(&self, offset: usize, count: usize) -> Option<&'static [AtomicU32]> {
        self.keys.get(first_key(offset)..)?.get(..count)
    }
}

/// What a pick makes of an estimate that no report has touched for a while. Its stamp is the last answer's time, or the
/// time at which the peer was picked while it was idle: since then something was in flight all the time.
#[cold]
fn stale(word: &AtomicU64, estimate: Estimate, in_flight: u32, now: u32, rate: u64) -> Estimate {
    let known = estimate.0 != 0;
    let estimate = if known { estimate } else { Estimate::assumed(UNKNOWN_NS, now) };
    let decayed = estimate.decayed(now);
    let next = if in_flight <= 1 {
        // The same cost at any time: only what comes to wait from now on counts.
        estimate.moved(decayed, now)
    } else {
        let age = estimate.age(now);
        let waited = (age as f64 * (1_u64 << 40) as f64 / rate.max(1) as f64) as f32;
        if known && waited <= decayed {
            return estimate;
        }
        // So much at its stamp that it is `waited` now; where that leaves the range, from now on.
        let then = waited / exp2_of_minus(age);
        if then <= HIGHEST { estimate.moved(then.max(1.0), now.wrapping_sub(age)) } else { estimate.moved(waited, now) }
    };
    word.store(next.0, Ordering::Relaxed);
    next
}

/// Where the keys of the snapshot at this offset of the arena begin, aligned for vectors: there is one for each line of
/// the arena, which is more than a snapshot has members.
#[inline(always)]
pub(super) fn first_key(offset: usize) -> usize {
    (offset / 8).next_multiple_of(super::minimum::LANES)
}

impl Table {
    /// The time of an upstream's estimates.
    #[inline]
    pub(crate) fn latency_stamp(&self, id: UpstreamId, now: u64) -> u32 {
        stamp(self.upstream_value(id, upstream_word::DECAY), now)
    }

    pub(crate) fn latency(&self) -> &Latency {
        &self.region.latency
    }

    /// Forgets what was measured of whoever had the slot.
    pub(super) fn clear_latency(&self, slot: u32) {
        for words in [self.region.latency.estimates, self.region.latency.places] {
            if let Some(word) = words.get(slot as usize) {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// The estimate of a peer in nanoseconds, decayed; 0: never measured.
    pub(crate) fn latency_ns(&self, peer: PeerHandle, now: u64) -> u64 {
        let Some(id) = self.peer_upstream(peer.slot()) else { return 0 };
        let word = self.region.latency.estimates.get(peer.slot() as usize).map_or(0, |w| w.load(Ordering::Relaxed));
        if Estimate(word).is_measured() { Estimate(word).decayed(self.latency_stamp(id, now)) as u64 } else { 0 }
    }

    /// Writes the keys of an upstream's published members anew. A peer that was never measured, or that was out and is
    /// eligible again, takes the mean of the others at least: from 0 it would be flooded. Linear in the members.
    pub(crate) fn refresh_keys(&self, id: UpstreamId, now: u64) {
        if !self.packed_policy(id).selector().needs_latency() {
            return;
        }
        let Some(snapshot) = self.snapshot(id) else { return };
        let Latency { estimates, places, keys } = self.region.latency;
        let stamp = self.latency_stamp(id, now);
        let first = first_key(snapshot.offset());
        let members = || snapshot.members().take(self.region.capacity.peers as usize);
        let eligible = |entry: &Entry| {
            let state = self.state_word(entry.slot()).map_or(0, |w| w.load(Ordering::Acquire));
            State::from_bits(state).is_eligible()
        };
        let measured = members().filter(&eligible).filter_map(|entry| {
            let word = estimates.get(entry.slot() as usize)?.load(Ordering::Relaxed);
            Estimate(word).is_measured().then(|| f64::from(Estimate(word).decayed(stamp)))
        });
        let (sum, n) = measured.fold((0.0, 0u32), |(sum, n), ns| (sum + ns, n + 1));
        let mean = if n == 0 { UNKNOWN_NS } else { ((sum / f64::from(n)) as f32).max(1.0) };
        let parked = stamp.wrapping_add(PARKED);
        for (i, entry) in members().enumerate() {
            let slot = entry.slot() as usize;
            let (Some(word), Some(place), Some(key)) = (estimates.get(slot), places.get(slot), keys.get(first + i))
            else {
                continue;
            };
            let weight_log = log2(entry.weight() as f32);
            let was_parked = place.load(Ordering::Relaxed) & OUT != 0;
            let out = if eligible(&entry) { 0 } else { OUT };
            place.store(out | u64::from(weight_log) << 32 | (first + i) as u64, Ordering::Relaxed);
            if out != 0 {
                key.store(parked, Ordering::Relaxed);
                continue;
            }
            let mut estimate = Estimate(word.load(Ordering::Relaxed));
            if estimate.0 == 0 || was_parked && n > 0 && estimate.decayed(stamp) < mean {
                estimate = Estimate::assumed(mean, stamp);
                word.store(estimate.0, Ordering::Relaxed);
            } else if estimate.age(stamp) > OLDEST {
                estimate = Estimate::new(1.0, stamp.wrapping_sub(OLDEST / 2));
                word.store(estimate.0, Ordering::Relaxed);
            }
            let in_flight = self.aggregate(entry.slot()).map_or(0, |a| a.load(Ordering::Relaxed));
            key.store(estimate.key(in_flight, weight_log), Ordering::Relaxed);
        }
        // The run over the keys goes on to the end of a vector.
        let end = first + snapshot.member_count();
        for key in keys.get(end..(end + super::minimum::LANES)).unwrap_or(&[]) {
            key.store(parked, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    proptest! {
        #[test]
        fn logarithms_and_powers_are_near(x in 1f32..1e15, units in 0u32..60_000) {
            let exact = x.log2() * 1024.0;
            prop_assert!((log2(x) as f32 - exact).abs() < 11.0, "{} for {}", log2(x), exact);
            let power = (-(f64::from(units)) / 1024.0).exp2();
            prop_assert!((f64::from(exp2_of_minus(units)) / power - 1.0).abs() < 0.01);
        }

        #[test]
        fn an_estimate_is_what_a_slow_twin_says(samples in prop::collection::vec((1u64..2000, 1u64..3_000_000), 1..60)) {
            let rate = rate(SECOND);
            let (mut estimate, mut twin, mut now, mut last) = (Estimate(0), 0f64, 100 * SECOND, 0);
            for (after_ms, sample_us) in samples {
                now += after_ms * 1_000_000;
                let sample = sample_us as f64 * 1000.0;
                let keep = (-((now - last) as f64) / SECOND as f64).exp();
                twin = if sample >= twin { sample } else { sample + (twin - sample) * keep };
                last = now;
                estimate = estimate.with(sample as f32, stamp(rate, now));
                let off = (f64::from(estimate.ns()) / twin - 1.0).abs();
                prop_assert!(off < 0.03, "{} instead of {}", estimate.ns(), twin);
            }
        }
    }

    #[test]
    fn keys_keep_their_order_as_time_passes_and_wraps() {
        let rate = rate(SECOND);
        for start in [0, 40 * 86_400 * SECOND] {
            let at = |s: u64| stamp(rate, start + s * SECOND);
            let (slow, fast) = (Estimate(0).with(8e6, at(10)), Estimate(0).with(1e6, at(11)));
            let cost = |e: Estimate, now: u64| e.key(0, 0).wrapping_sub(at(now)) as i32;
            assert!(cost(fast, 11) < cost(slow, 11) && cost(fast, 60) < cost(slow, 60));
            // Asked again and again the fast one keeps its cost; the other's falls below after τ·ln 8, 2.1 s.
            let fast = fast.with(1e6, at(14));
            assert!(cost(slow, 14) < cost(fast, 14));
        }
    }
}
