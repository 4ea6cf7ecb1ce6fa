//! Random numbers for choices and jitter: wyrand (Wang Yi, public domain), one multiplication each. Not for secrets.

use crate::sync::{AtomicU64, Ordering};

/// A generator that threads may share; two that draw at the same instant may draw the same number, which is harmless
/// for choices.
pub(crate) struct Random(AtomicU64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(AtomicU64::new(seed))
    }

    /// 64 random bits.
    #[inline]
    pub fn next(&self) -> u64 {
        let seed = self.0.load(Ordering::Relaxed).wrapping_add(0xa076_1d64_78bd_642f);
        self.0.store(seed, Ordering::Relaxed);
        mix(seed)
    }

    /// Takes the last draw back, for whoever begins anew with the same.
    #[inline]
    pub fn undraw(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(0xa076_1d64_78bd_642f), Ordering::Relaxed);
    }

    /// A number below `n` (0 if `n` is 0), by multiplication rather than division.
    #[inline]
    pub fn below(&self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

/// A hash of some bytes: the same in every process and on every machine. Not against those who choose the bytes to
/// collide; that costs them their own locality and no more.
#[inline]
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    let start = mix(bytes.len() as u64 ^ 0x9e37_79b9_7f4a_7c15);
    mix(bytes.chunks(8).fold(start, |hash, chunk| mix(hash ^ word(chunk)).wrapping_add(hash.rotate_left(23))))
}

/// Spreads a number over all 64 bits.
#[inline]
pub(crate) fn mix(seed: u64) -> u64 {
    let product = u128::from(seed) * u128::from(seed ^ 0xe703_7ed1_a0b4_28db);
    (product >> 64) as u64 ^ product as u64
}
