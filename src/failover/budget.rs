//! The retry budget of an upstream: a share of its requests, and a few a second in any case, over all workers.
//!
//! One word holds the tokens and what they were last filled from:
//!
//! | bits | field |
//! |---|---|
//! | 0–19 | tokens in hundredths, at most 10,485 tokens |
//! | 20–43 | requests of the upstream at the last fill, modulo 2^24 |
//! | 44–63 | time of the last fill in units of 16 ms, modulo 2^20 (4.6 hours) |
//!
//! Requests cost nothing here: each worker counts its own in its lane, and only a retry sums them up. A retry fills the
//! bucket by (requests since) · share + (time since) · rate, up to ten seconds' worth of the rate or a tenth of the
//! share of a thousand requests, whichever is more, and takes a token: one CAS. Workers whose sum or clock lags behind
//! the word's add nothing. Retries that add no load to a peer (no byte was sent, or an idle connection was closed) need
//! none. Source: the budgets of Finagle and of gRPC A6, made one for the machine.

use crate::sync::Ordering;
use crate::table::{Table, UpstreamId};

const TOKEN: u64 = 100;
const MOST: u64 = (1 << 20) - 1;
const REQUESTS_MASK: u64 = (1 << 24) - 1;
const TIME_MASK: u64 = (1 << 20) - 1;
const TIME_UNIT_NS: u64 = 16_000_000;

/// Takes a token. Whether there was one.
pub(crate) fn take(table: &Table, upstream: UpstreamId, now: u64) -> bool {
    let (ppm, per_second) = table.budget_policy(upstream);
    if ppm == u32::MAX {
        return true;
    }
    let Some(word) = table.budget_word(upstream) else { return false };
    let requests = table.requests(upstream);
    let take =
        |bits: u64| Bucket::from_bits(bits).filled(requests, now, ppm, per_second).less_a_token().map(Bucket::bits);
    word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
}

/// Whether there is a token now. Takes none; sums the requests only if the word itself holds none.
pub(super) fn has(table: &Table, upstream: UpstreamId, now: u64) -> bool {
    let (ppm, per_second) = table.budget_policy(upstream);
    let Some(word) = table.budget_word(upstream) else { return false };
    let bits = word.load(Ordering::Relaxed);
    ppm == u32::MAX
        || bits == 0
        || Bucket::from_bits(bits).tokens >= TOKEN
        || Bucket::from_bits(bits).filled(table.requests(upstream), now, ppm, per_second).tokens >= TOKEN
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bucket {
    tokens: u64,
    requests: u64,
    time: u64,
}

impl Bucket {
    fn from_bits(bits: u64) -> Bucket {
        Bucket { tokens: bits & MOST, requests: bits >> 20 & REQUESTS_MASK, time: bits >> 44 }
    }

    fn bits(self) -> u64 {
        self.tokens | self.requests << 20 | self.time << 44
    }

    fn filled(self, requests: u64, now: u64, ppm: u32, per_second: u32) -> Bucket {
        let (requests, time) = (requests & REQUESTS_MASK, (now / TIME_UNIT_NS) & TIME_MASK);
        let (ppm, per_second) = (u64::from(ppm), u64::from(per_second));
        let most = (per_second * 10 * TOKEN).max(ppm * TOKEN / 1_000_000 * 100).clamp(TOKEN, MOST);
        if self.bits() == 0 {
            return Bucket { tokens: most, requests, time };
        }
        let (since, requests) = advance(self.requests, requests, REQUESTS_MASK);
        let (units, time) = advance(self.time, time, TIME_MASK);
        let by_requests = since * ppm / (1_000_000 / TOKEN);
        let by_time = units * per_second * TOKEN * (TIME_UNIT_NS / 1_000_000) / 1000;
        if by_time == 0 && units > 0 && per_second > 0 {
            // Too little time for a hundredth of a token: keep counting from the last fill.
            return Bucket { tokens: (self.tokens + by_requests).min(most), requests, time: self.time };
        }
        Bucket { tokens: (self.tokens + by_requests + by_time).min(most), requests, time }
    }

    fn less_a_token(self) -> Option<Bucket> {
        Some(Bucket { tokens: self.tokens.checked_sub(TOKEN)?, ..self })
    }
}

/// How far a counter that wraps came since `then`, and what to keep of it. Another worker may have filled the bucket
/// with a later sum or a later clock than ours: a 256th of the range is taken for such a lag, not for a whole round,
/// which would fill the bucket whenever two workers retry at once.
fn advance(then: u64, now: u64, mask: u64) -> (u64, u64) {
    let distance = now.wrapping_sub(then) & mask;
    if distance > mask - mask / 256 { (0, then) } else { (distance, now) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn drain(mut bucket: Bucket, requests: u64, now: u64) -> (Bucket, u64) {
        let mut taken = 0;
        while let Some(next) = bucket.filled(requests, now, 200_000, 10).less_a_token() {
            (bucket, taken) = (next, taken + 1);
        }
        (bucket, taken)
    }

    #[test]
    fn a_share_of_the_requests_and_a_rate() {
        let (bucket, _) = drain(Bucket::from_bits(0), 0, SECOND);
        let (bucket, by_requests) = drain(bucket, 100, SECOND);
        assert_eq!(by_requests, 20);
        let (_, by_time) = drain(bucket, 100, 2 * SECOND);
        assert!((9..=10).contains(&by_time), "{by_time}");
    }

    #[test]
    fn a_worker_that_lags_behind_fills_nothing() {
        let (bucket, _) = drain(Bucket::from_bits(0), 5000, 100 * SECOND);
        for (requests, now) in [(4999, 100 * SECOND), (5000, 100 * SECOND - 20_000_000), (4000, 90 * SECOND)] {
            let (after, taken) = drain(bucket, requests, now);
            assert_eq!((after, taken), (bucket, 0), "{requests} at {now}");
        }
        let (_, taken) = drain(bucket, 5000, 101 * SECOND);
        assert!((9..=10).contains(&taken), "{taken}");
    }

    #[test]
    fn the_longest_silence_fills_it() {
        for hours in [1, 2, 3, 4] {
            let (bucket, _) = drain(Bucket::from_bits(0), 5000, 100 * SECOND);
            let (_, taken) = drain(bucket, 5000, (100 + hours * 3600) * SECOND);
            assert_eq!(taken, 100, "after {hours} h");
        }
    }

    proptest! {
        #[test]
        fn retries_never_exceed_the_budget(steps in prop::collection::vec((0u64..200, 0u64..SECOND), 1..60)) {
            let (mut requests, mut now) = (1u64, SECOND);
            let (mut bucket, first) = drain(Bucket::from_bits(0), requests, now);
            let mut taken = 0;
            let start = (requests, now);
            for (more, later) in steps {
                (requests, now) = (requests + more, now + later);
                let (next, n) = drain(bucket, requests, now);
                (bucket, taken) = (next, taken + n);
            }
            prop_assert!(first <= 100);
            let allowed = (requests - start.0) as f64 * 0.2 + (now - start.1) as f64 / 1e9 * 10.0 + 1.5;
            prop_assert!(taken as f64 <= allowed, "{} > {}", taken, allowed);
        }
    }
}
