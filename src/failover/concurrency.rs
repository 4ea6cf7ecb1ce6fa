//! The adaptive limit: how many requests an upstream can take at once before they only queue up behind its door.
//!
//! With each round of tick work the mean latency since the last one is compared with what is normal. While it is within
//! half again of normal the limit grows by its square root, if it is being used; above, it shrinks in proportion, by no
//! more than half. Normal follows the latency slowly, hardly at all upwards while the limit is
//! being used (it would learn its own queue), and quickly downwards when it lies far below: no window in which requests
//! are turned away on purpose is needed to learn it. An upstream that is overloaded for many minutes without a break is
//! in the end taken for a slow one. Source: the Gradient2 limit of Netflix's
//! concurrency-limits (2018); there a sample is one request, here the mean of a round.

use crate::sync::Ordering;
use crate::table::{Adaptive, Table};

/// Never below this: with less a latency can hardly be told from chance.
const LEAST: f64 = 8.0;
const MOST: f64 = 1e6;
/// How far above normal is still normal.
const TOLERANCE: f64 = 1.5;
/// What one round's latency changes of what is normal; upwards, while the limit is being used.
const SLOWLY: f64 = 0.02;
const HARDLY: f64 = 0.001;

/// Sets all adaptive limits anew. Linear in the upstreams.
pub(super) fn adapt(table: &Table) {
    for id in table.upstream_ids().filter(|&id| table.packed_policy(id).is_adaptive()) {
        let (latency, met) = table.take_for_limit(id);
        let in_flight = table.in_flight_word(id).map_or(0, |w| w.load(Ordering::Relaxed));
        if let Some(latency) = latency {
            let before = table.adaptive(id);
            let used = met || in_flight as f64 * 2.0 >= before.limit;
            table.set_adaptive(id, next(before, latency, used));
        }
    }
}

fn next(before: Adaptive, latency_ns: f64, used: bool) -> Adaptive {
    let latency = latency_ns.max(1.0);
    let Adaptive { limit, normal_ns: normal } = before;
    let normal = match normal {
        0.0 => latency,
        n if n > 2.0 * latency => n * 0.8,
        n if used && latency > n => n + (latency - n) * HARDLY,
        n => n + (latency - n) * SLOWLY,
    };
    let gradient = (TOLERANCE * normal / latency).clamp(0.5, 1.0);
    let room = if used { limit.sqrt() } else { 0.0 };
    let limit = if gradient < 1.0 || used { limit * gradient + room } else { limit };
    Adaptive { limit: limit.clamp(LEAST, MOST), normal_ns: normal }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An upstream that works on so many at once; what comes above that waits. Offered load is without end.
    fn settle(capacity: f64, rounds: u32) -> f64 {
        let mut adaptive = Adaptive { limit: 64.0, normal_ns: 0.0 };
        // It is learned while there is little to do.
        for _ in 0..20 {
            adaptive = next(adaptive, 10e6, false);
        }
        for _ in 0..rounds {
            let latency = 10e6 * (adaptive.limit / capacity).max(1.0);
            adaptive = next(adaptive, latency, true);
        }
        adaptive.limit
    }

    #[test]
    fn it_settles_near_what_the_upstream_can_do() {
        for capacity in [20.0, 100.0, 500.0] {
            let limit = settle(capacity, 60);
            assert!((capacity..capacity * 3.0).contains(&limit), "{limit} for {capacity}");
        }
    }

    #[test]
    fn it_stays_where_it_is_not_used_and_recovers_after_a_slowdown() {
        let mut adaptive = Adaptive { limit: 100.0, normal_ns: 10e6 };
        for _ in 0..100 {
            adaptive = next(adaptive, 10e6, false);
        }
        assert!((99.0..101.0).contains(&adaptive.limit));
        for _ in 0..10 {
            adaptive = next(adaptive, 100e6, true);
        }
        assert!(adaptive.limit < 50.0);
        for _ in 0..20 {
            adaptive = next(adaptive, 10e6, true);
        }
        assert!(adaptive.limit > 100.0, "{adaptive:?}");
    }

    #[test]
    fn a_limit_never_shuts_the_door() {
        let mut adaptive = Adaptive { limit: 64.0, normal_ns: 1e6 };
        for _ in 0..50 {
            adaptive = next(adaptive, 10e9, true);
        }
        assert!(adaptive.limit >= LEAST);
    }
}
