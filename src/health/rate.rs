//! Whether a peer fails more often than the others: one answer for two peers and for four thousand.
//!
//! Of the last while (see `table::tally`) the peer has made f failures in n attempts, all others together F in N. Two
//! hypotheses: each has a share of its own, or one share fits both. The logarithm of their likelihood ratio (Wilks 1938;
//! Dunning 1993, for counts as small as these) has to reach [`DOUBT`] and the logarithm of the number of peers, for so
//! many are judged side by side. That takes eleven failures of eleven where half the pool's answers are compared with
//! them, nineteen answers of which half failed, fifty of which a fifth did.
//!
//! It never ejects when all fail alike, for the fault is not the peer's, nor for a difference that is sure but small.
//! Attempts that are under way count on both sides, so an outage in which the answers stay away tips no scale.
//! Cost: two sums over the lanes and four logarithms, on failures alone and once in a few milliseconds.

use crate::table::Counts;

/// Of one judgement in about a thousand; a false one needs many.
const DOUBT: f32 = 7.0;
/// Of so few attempts it can't be said who carries the traffic.
const FEW: f32 = 50.0;
/// Fewer failures prove nothing.
const LEAST_FAILURES: f32 = 4.5;
/// What the others' share may be at the most for a streak to be the peer's own.
const COMMON_SHARE: f32 = 0.25;

/// A peer beside the others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Comparison {
    own: Counts,
    others: Counts,
}

impl Comparison {
    pub fn new(own: Counts, all: Counts) -> Comparison {
        Comparison { own, others: own.others(all) }
    }

    /// Whether the peer fails more often than the others by at least `percent` of its attempts, beyond doubt.
    pub fn is_outlier(&self, percent: u32, peers: usize) -> bool {
        let (own, others) = (self.own.share(), self.others.share());
        self.own.failures >= LEAST_FAILURES
            && own - others >= percent as f32 / 100.0
            && own >= 2.0 * others
            && self.evidence() >= DOUBT + (peers as f32).ln()
    }

    /// Whether the others fail so often that failures in a row say nothing of this peer.
    pub fn is_common(&self) -> bool {
        self.others.failures >= LEAST_FAILURES && self.others.share() > COMMON_SHARE
    }

    /// Whether the others have lately carried a part of the traffic, so that it can be left to them.
    pub fn others_carry(&self) -> bool {
        self.others.attempts * 16.0 >= self.own.attempts - FEW
    }

    /// The logarithm of the likelihood ratio.
    fn evidence(&self) -> f32 {
        let log = |counts: Counts| {
            let (n, f) = (counts.attempts.max(1e-3), counts.failures);
            let part = |k: f32| if k <= 0.0 { 0.0 } else { k * (k / n).ln() };
            part(f) + part(n - f)
        };
        let all = Counts {
            attempts: self.own.attempts + self.others.attempts,
            failures: self.own.failures + self.others.failures,
        };
        log(self.own) + log(self.others) - log(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn compare(own: (f32, f32), others: (f32, f32)) -> Comparison {
        let counts = |(failures, attempts): (f32, f32)| Counts { attempts, failures };
        Comparison { own: counts(own), others: counts(others) }
    }

    #[test]
    fn half_the_answers_wrong_is_beyond_doubt_within_a_few_dozens() {
        for peers in [2, 4, 40, 4000] {
            let found = (1..100).find(|&n| {
                let n = n as f32;
                compare((n / 2.0, n), (0.0, n * (peers - 1) as f32)).is_outlier(3, peers)
            });
            assert!(found.is_some_and(|n| n <= 36), "{peers} peers: {found:?} answers");
        }
    }

    #[test]
    fn whoever_fails_like_the_others_is_no_outlier() {
        for share in [0.01f32, 0.2, 0.5, 1.0] {
            for n in [10.0f32, 100.0, 10_000.0] {
                assert!(!compare((share * n, n), (share * n * 3.0, n * 3.0)).is_outlier(1, 4));
                assert!(!compare((share * n, n), (0.0, 0.0)).is_outlier(1, 1));
            }
        }
    }

    /// Judged at every failure, as in life, without decay: harder than in life.
    #[test]
    fn chance_ejects_next_to_nobody() {
        let random = Random::new(11);
        for share in [0.005, 0.05, 0.3] {
            let mut found = 0;
            for _ in 0..500 {
                let (mut own, mut others) = (Counts::default(), Counts::default());
                for _ in 0..1500 {
                    let fails = |counts: &mut Counts| {
                        counts.attempts += 1.0;
                        let failed = (random.next() >> 11) as f64 / (1u64 << 53) as f64 <= share;
                        counts.failures += f32::from(u8::from(failed));
                        failed
                    };
                    (0..3).for_each(|_| {
                        fails(&mut others);
                    });
                    if fails(&mut own) && (Comparison { own, others }).is_outlier(3, 4) {
                        found += 1;
                        break;
                    }
                }
            }
            // 500 peers of 1,500 answers each.
            assert!(found <= 2, "{found} of 500 at a share of {share}");
        }
    }
}
