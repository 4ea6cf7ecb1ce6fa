//! The least of many keys, and where it stands: AVX2 where the processor has it, a loop elsewhere.
//!
//! Keys are compared as signed distances from a base, in which their order is right although they wrap. Of equal ones
//! the first at or behind a given place is found, so that workers who start at different places do not all meet the
//! same. Cost with AVX2: five instructions for eight keys, and about as many again for half of them to find the place.
//! After Mula's and Lemire's notes on SIMD arg-min.

#![allow(unsafe_code)]

use crate::sync::{AtomicU32, Ordering};

/// Keys a step. Callers round lengths up to it.
pub(super) const LANES: usize = 8;

/// How the least is found on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Loop,
}

impl Method {
    /// The fastest one.
    pub fn best() -> Method {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Method::Avx2;
        }
        Method::Loop
    }

    /// The place of the least key, the first at or behind `start` of equal ones. `keys` is as long as a number of lanes.
    #[inline(always)]
    pub fn least(self, keys: &[AtomicU32], base: u32, start: usize) -> Option<usize> {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `best` found the feature.
            Method::Avx2 => unsafe { avx2::least(keys, base, start) },
            Method::Loop => least(keys, base, start),
        }
    }
}

fn least(keys: &[AtomicU32], base: u32, start: usize) -> Option<usize> {
    let (mut best, mut place) = (i32::MAX, None);
    let (before, behind) = keys.split_at_checked(start).unwrap_or((keys, &[]));
    for (i, key) in (start..).zip(behind).chain((0..).zip(before)) {
        let cost = key.load(Ordering::Relaxed).wrapping_sub(base) as i32;
        if cost < best || place.is_none() {
            (best, place) = (cost, Some(i));
        }
    }
    place
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{AtomicU32, LANES};
    use std::arch::x86_64::*;

    /// # Safety
    /// The processor has AVX2.
    // Instantiated beside its caller, so that the call is direct.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn least(keys: &[AtomicU32], base: u32, start: usize) -> Option<usize> {
        let (steps, first) = (keys.len() / LANES, start / LANES);
        if steps == 0 || first >= steps || !keys.as_ptr().addr().is_multiple_of(32) {
            return None;
        }
        let at = keys.as_ptr().cast::<__m256i>();
        let base = _mm256_set1_epi32(base as i32);
        let costs = |step: usize| {
            // SAFETY: `step < steps`, so the vector lies within the slice, and the slice is aligned. Others may store to it
            // meanwhile: a volatile load is not torn within a key on x86-64, and any mix of keys is one that could be.
            _mm256_sub_epi32(unsafe { at.add(step).read_volatile() }, base)
        };
        let mut least = costs(0);
        for step in 1..steps {
            least = _mm256_min_epi32(least, costs(step));
        }
        let least = _mm256_min_epi32(least, _mm256_permute2x128_si256::<1>(least, least));
        let least = _mm256_min_epi32(least, _mm256_shuffle_epi32::<0b01_00_11_10>(least));
        let least = _mm256_min_epi32(least, _mm256_shuffle_epi32::<0b10_11_00_01>(least));
        let equal =
            |step: usize| _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(costs(step), least))) as u32;
        let found = |step: usize, mask: u32| Some(step * LANES + mask.trailing_zeros() as usize);
        let behind = equal(first) & (u32::MAX << (start % LANES));
        if behind != 0 {
            return found(first, behind);
        }
        for step in (first + 1..steps).chain(0..=first) {
            let mask = equal(step);
            if mask != 0 {
                return found(step, mask);
            }
        }
        // Stored over since the first look.
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_find_the_same_least(words in prop::collection::vec((0u32..5, any::<u32>()), 16), base: u32, start in 0usize..128) {
            #[repr(align(32))]
            struct Keys([AtomicU32; 128]);
            // Small distances make ties.
            let key = |i: usize| base.wrapping_add(words[i % 16].0).wrapping_add(if i.is_multiple_of(3) { words[i % 16].1 >> 1 } else { 0 });
            let keys = Keys(std::array::from_fn(|i| AtomicU32::new(key(i))));
            for len in [8, 64, 128] {
                let (keys, start) = (&keys.0[..len], start % len);
                prop_assert_eq!(Method::best().least(keys, base, start), least(keys, base, start));
            }
        }
    }

    #[test]
    fn no_keys_have_no_least() {
        assert_eq!(Method::best().least(&[], 0, 0), None);
        assert_eq!(least(&[], 0, 0), None);
    }
}
