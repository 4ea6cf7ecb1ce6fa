//! How long to wait before a retry: exponential with full jitter (Brooker, "Exponential Backoff And Jitter", AWS, 2015).
//!
//! The first retry goes to another peer at once, and so does every one behind a failure that put no load on a peer;
//! later ones wait a random time below base · 2^(n-2), at most the largest bound.

use crate::random::Random;

/// Nanoseconds before the retry that follows the `attempts`-th attempt.
pub(super) fn wait_ns(attempts: u32, put_load: bool, (base, most): (u64, u64), random: &Random) -> u64 {
    if attempts < 2 || !put_load {
        return 0;
    }
    let bound = base.saturating_mul(1 << (attempts - 2).min(20)).min(most);
    random.below(usize::try_from(bound).unwrap_or(usize::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_up_to_the_largest() {
        let random = Random::new(7);
        let largest = |attempts| (0..2000).map(|_| wait_ns(attempts, true, (100, 350), &random)).max().unwrap();
        assert_eq!((largest(1), wait_ns(5, false, (100, 350), &random)), (0, 0));
        assert!((90..100).contains(&largest(2)));
        assert!((180..200).contains(&largest(3)));
        assert!((320..350).contains(&largest(4)) && (320..350).contains(&largest(30)));
    }
}
