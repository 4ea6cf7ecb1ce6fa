//! How long an upstream's responses take: histograms over all its peers and workers, and what they say.
//!
//! Two histograms an upstream, of the time to the head and of the time to connect. Their classes are a quarter of a
//! doubling wide, from 65 µs to 20 minutes. A round of tick work (twice a second at most, once over all workers) takes a sixteenth off
//! every class, so that they remember some ten seconds, and notes the quantiles that advice is made of in one word; who
//! asks for advice loads that word. Fewer than [`LEAST`] samples say nothing.
//!
//! Adding is a plain load and store: of two workers that add to one class at once one may be lost. Shares matter here,
//! not sums. It decides nothing: see `failover::patience`. Cost of a sample: a load and a store. Related: HdrHistogram's
//! classes, forgetful as in Cormode et al., "Forward decay", ICDE 2009.

use super::layout::timing as word;
use super::{Table, UpstreamId};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Histograms of an upstream.
pub(super) const HISTOGRAMS: usize = 2;
/// Classes of a histogram.
pub(super) const BUCKETS: usize = 96;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// From the pick to the head of a response that was no failure.
    Head = 0,
    /// Until a new connection stood.
    Connect = 1,
}

/// What one sample adds, so that a sixteenth of a class that got few can be taken off.
const SAMPLE: u32 = 16;
/// Samples, those forgotten in part counted in part, without which nothing is said.
const LEAST: u64 = 100;
/// Logarithm of the first class's upper end, rounded down.
const FIRST: u32 = 16;

/// What the histograms said in the last round, in nanoseconds; 0: too little is known.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// 99 % of the heads came within this.
    pub head_p99_ns: u64,
    /// 95 %.
    pub head_p95_ns: u64,
    /// 99 % of the connections stood within this.
    pub connect_p99_ns: u64,
}

impl Table {
    /// Takes a sample in.
    pub(crate) fn note_span(&self, id: UpstreamId, span: Span, ns: u64) {
        let class = self.histogram(id, span).and_then(|h| h.get(class_of(ns)));
        let Some(class) = class else { return };
        class.store(class.load(Ordering::Relaxed).saturating_add(SAMPLE), Ordering::Relaxed);
    }

    /// What the last round found.
    pub(crate) fn found_spans(&self, id: UpstreamId) -> Found {
        let value = self.timing_value(id, word::FOUND);
        // Classes are counted from 1 there.
        let end = |shift: u32| match (value >> shift) as usize & 0xff {
            0 => 0,
            n => end_of((n - 1).min(BUCKETS - 1)),
        };
        Found { head_p99_ns: end(0), head_p95_ns: end(8), connect_p99_ns: end(16) }
    }

    /// Notes what the histograms say, and lets them forget. Linear in the upstreams.
    pub(crate) fn age_spans(&self) {
        for id in self.upstream_ids() {
            let of = |span, percents: &[u64]| self.histogram(id, span).map_or(0, |h| age(h, percents));
            let found = of(Span::Head, &[99, 95]) | of(Span::Connect, &[99]) << 16;
            if let Some(word) = self.timing_word(id, word::FOUND) {
                word.store(found, Ordering::Relaxed);
            }
        }
    }

    /// Since when a peer has been hesitating: see `health::hesitation`.
    pub(crate) fn hesitation_word(&self, slot: u32) -> Option<&AtomicU64> {
        self.region.hesitations.get(slot as usize)
    }

    /// When an attempt was last given up.
    pub(crate) fn doubt_word(&self, id: UpstreamId) -> Option<&AtomicU64> {
        self.timing_word(id, word::DOUBT)
    }

    fn histogram(&self, id: UpstreamId, span: Span) -> Option<&[AtomicU32]> {
        let start = (id.index() * HISTOGRAMS + span as usize) * BUCKETS;
        self.region.histograms.get(start..start + BUCKETS)
    }

    pub(super) fn timing_word(&self, id: UpstreamId, word: usize) -> Option<&AtomicU64> {
        self.region.timings.get(id.index() * word::WORDS + word)
    }

    #[inline]
    pub(super) fn timing_value(&self, id: UpstreamId, word: usize) -> u64 {
        self.timing_word(id, word).map_or(0, |w| w.load(Ordering::Relaxed))
    }
}

/// The classes, from 1, below whose ends these percentages lie, a byte each; then takes a sixteenth off every class.
fn age(classes: &[AtomicU32], percents: &[u64]) -> u64 {
    let total: u64 = classes.iter().map(|c| u64::from(c.load(Ordering::Relaxed))).sum();
    if total == 0 {
        return 0;
    }
    let (mut below, mut found) = (0, 0);
    for (i, class) in classes.iter().enumerate() {
        let n = class.load(Ordering::Relaxed);
        for (k, percent) in percents.iter().enumerate() {
            if below * 100 < total * percent && total >= LEAST * u64::from(SAMPLE) {
                found = found & !(0xff << (8 * k)) | (i as u64 + 1) << (8 * k);
            }
        }
        below += u64::from(n);
        if n != 0 {
            class.store(n - n.div_ceil(16), Ordering::Relaxed);
        }
    }
    found
}

/// The class of a time.
fn class_of(ns: u64) -> usize {
    let ns = ns.max(1 << FIRST);
    let log = ns.ilog2();
    let quarter = (ns >> (log - 2)) & 3;
    (((log - FIRST) * 4) as usize + quarter as usize).min(BUCKETS - 1)
}

/// The upper end of a class.
fn end_of(class: usize) -> u64 {
    (class as u64 % 4 + 5) << (class as u32 / 4 + FIRST - 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Capacity, Policy};
    use proptest::prelude::*;

    fn upstream() -> (Table, UpstreamId) {
        let table = Table::anonymous(&Capacity::new(2, 4, 2, 16).unwrap(), 0).unwrap();
        let id = table.open_upstream(b"app", &Policy::default()).unwrap();
        (table, id)
    }

    proptest! {
        #[test]
        fn a_class_ends_above_its_times_and_not_far(ns in 65_536u64..1_000_000_000_000) {
            let end = end_of(class_of(ns));
            prop_assert!(end > ns && end <= ns + ns / 4 + 1, "{} for {}", end, ns);
        }

        /// The slow twin sorts all samples.
        #[test]
        fn quantiles_are_what_a_slow_twin_says(mut samples in prop::collection::vec(65_536u64..100_000_000_000, 100..400)) {
            let (table, id) = upstream();
            samples.iter().for_each(|&ns| table.note_span(id, Span::Head, ns));
            table.age_spans();
            samples.sort_unstable();
            let found = table.found_spans(id);
            for (percent, found) in [(99, found.head_p99_ns), (95, found.head_p95_ns)] {
                let exact = samples[(samples.len() * percent).div_ceil(100) - 1];
                prop_assert!(found > exact && found <= exact + exact / 4 + 1, "{} for {}", found, exact);
            }
        }
    }

    #[test]
    fn few_samples_say_nothing_and_old_ones_are_forgotten() {
        let (table, id) = upstream();
        (0..99).for_each(|_| table.note_span(id, Span::Connect, 1_000_000));
        table.age_spans();
        assert_eq!(table.found_spans(id), Found::default());
        (0..300).for_each(|_| table.note_span(id, Span::Connect, 1_000_000));
        table.age_spans();
        assert!((1_000_000..1_300_000).contains(&table.found_spans(id).connect_p99_ns));
        (0..40).for_each(|_| table.age_spans());
        assert_eq!(table.found_spans(id), Found::default());
    }
}
