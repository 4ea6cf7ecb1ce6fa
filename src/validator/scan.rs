//! Classifying 64 bytes at a time: which end a value, which end a field name.
//!
//! The idea: a head is valid byte by byte, and its structure hangs on two questions only. In a value the next control
//! character must be the CR of the line's end; in a name the next character that is no token must be its colon. So
//! one pass yields two bit masks a block, and `fast` hops from bit to bit; its walk is compiled here once for each kind
//! of processor, so that masks stay in registers. Token characters are told by two table
//! look-ups in registers, one by low and one by high half of the byte (AVX2); without AVX2 by comparisons (SSE2), and
//! elsewhere by the table of `bytes`. All three give the same masks. Nothing beyond the input is read: the last block
//! is loaded so that it ends with the input, or copied.
//!
//! Cost: about 0.1 ns a byte with AVX2. Reference: G. Langdale and D. Lemire, "Parsing gigabytes of JSON per second".

#![allow(unsafe_code)]

use super::Validator;
use super::bytes::{is_text, is_token};

/// Bytes in a block.
pub(super) const WIDTH: usize = 64;

/// What is known of 64 bytes; bit 0 is the first. Bits beyond the input are 0.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Block {
    /// Control characters without HTAB: what no value may hold, and CR and LF.
    pub(super) control: u64,
    /// What no field name may hold.
    pub(super) not_token: u64,
}

/// [`Validator::walk`] with the widest form of blocks that the processor has.
#[inline]
pub(super) fn lines(validator: &mut Validator, input: &[u8], from: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if x86::is_wide() {
        // SAFETY: the processor has AVX2 and BMI1.
        unsafe { x86::lines_avx2(validator, input, from) }
    } else {
        // SAFETY: SSE2 is part of every x86-64.
        validator.walk(input, from, |bytes| unsafe { x86::block_sse2(bytes) })
    }
    #[cfg(not(target_arch = "x86_64"))]
    validator.walk(input, from, block_scalar)
}

/// How many bytes at the start of the input a value may hold.
pub(super) fn text_run(input: &[u8]) -> usize {
    if input.len() < WIDTH {
        return input.iter().position(|&b| !is_text(b)).unwrap_or(input.len());
    }
    #[cfg(target_arch = "x86_64")]
    if x86::is_wide() {
        // SAFETY: the processor has AVX2 and BMI1.
        unsafe { x86::text_run_avx2(input) }
    } else {
        // SAFETY: SSE2 is part of every x86-64.
        text_run_by(input, |bytes| unsafe { x86::block_sse2(bytes) })
    }
    #[cfg(not(target_arch = "x86_64"))]
    text_run_by(input, block_scalar)
}

#[inline(always)]
fn text_run_by(input: &[u8], block: impl Fn(&[u8; WIDTH]) -> Block) -> usize {
    for base in (0..input.len()).step_by(WIDTH) {
        let control = known(input, base, &block).control;
        if control != 0 {
            return base + control.trailing_zeros() as usize;
        }
    }
    input.len()
}

/// Classifies the 64 bytes at `base`, which lies in the input. The last ones are read together with those before, so
/// that the load ends with the input.
#[inline(always)]
pub(super) fn known(input: &[u8], base: usize, block: &impl Fn(&[u8; WIDTH]) -> Block) -> Block {
    let rest = input.get(base..).unwrap_or_default();
    if let Some(bytes) = rest.first_chunk() {
        return block(bytes);
    }
    let Some(bytes) = input.last_chunk() else { return block(&padded(rest)) };
    let known = block(bytes);
    let shift = (WIDTH - rest.len()) % WIDTH;
    Block { control: known.control >> shift, not_token: known.not_token >> shift }
}

/// Fewer than 64 bytes, and token characters behind them.
#[inline(always)]
fn padded(rest: &[u8]) -> [u8; WIDTH] {
    let mut bytes = [b'a'; WIDTH];
    for (to, from) in bytes.iter_mut().zip(rest) {
        *to = *from;
    }
    bytes
}

/// One byte at a time: the reference, and what runs where there is no SIMD.
#[cfg_attr(all(target_arch = "x86_64", not(test)), allow(dead_code))]
fn block_scalar(bytes: &[u8; WIDTH]) -> Block {
    let mut block = Block::default();
    for (i, &b) in bytes.iter().enumerate() {
        block.control |= u64::from(!is_text(b)) << i;
        block.not_token |= u64::from(!is_token(b)) << i;
    }
    block
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Block, Validator, WIDTH};
    use std::arch::x86_64::*;

    /// For each low half of a byte: bit h is set if the byte with the high half h is a token character.
    const TOKENS_BY_LOW: [i8; 16] = {
        let mut table = [0u8; 16];
        let mut b = 0x20usize;
        while b < 0x80 {
            let c = b as u8;
            let separator = matches!(
                c,
                b' ' | b'"' | b'(' | b')' | b',' | b'/' | b':'..=b'@' | b'['..=b']' | b'{' | b'}' | 0x7f
            );
            if !separator {
                table[b & 15] |= 1 << (b >> 4);
            }
            b += 1;
        }
        let mut signed = [0i8; 16];
        let mut i = 0;
        while i < 16 {
            signed[i] = table[i] as i8;
            i += 1;
        }
        signed
    };
    /// For each high half h: bit h, and nothing above ASCII.
    const BIT_BY_HIGH: [i8; 16] = [1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0];

    /// Whether the AVX2 forms may run. BMI1 takes bits off a word in one instruction; who has AVX2 has it.
    #[inline]
    pub(super) fn is_wide() -> bool {
        std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi1")
    }

    #[target_feature(enable = "avx2,bmi1")]
    pub(super) fn lines_avx2(validator: &mut Validator, input: &[u8], from: usize) -> usize {
        validator.walk(input, from, |bytes| block_avx2(bytes))
    }

    #[target_feature(enable = "avx2,bmi1")]
    pub(super) fn text_run_avx2(input: &[u8]) -> usize {
        super::text_run_by(input, |bytes| block_avx2(bytes))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn block_avx2(bytes: &[u8; WIDTH]) -> Block {
        // SAFETY: both loads lie within the 64 bytes; loadu needs no alignment.
        let (low, high) =
            unsafe { (_mm256_loadu_si256(bytes.as_ptr().cast()), _mm256_loadu_si256(bytes.as_ptr().add(32).cast())) };
        let (low, high) = (half_avx2(low), half_avx2(high));
        Block {
            control: u64::from(low.0) | u64::from(high.0) << 32,
            not_token: u64::from(low.1) | u64::from(high.1) << 32,
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn half_avx2(v: __m256i) -> (u32, u32) {
        // SAFETY: 16 readable bytes each.
        let (by_low, by_high) =
            unsafe { (_mm_loadu_si128(TOKENS_BY_LOW.as_ptr().cast()), _mm_loadu_si128(BIT_BY_HIGH.as_ptr().cast())) };
        let half = _mm256_set1_epi8(0x0f);
        let low = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(by_low), _mm256_and_si256(v, half));
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(v), half);
        let high = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(by_high), high);
        let not_token = _mm256_cmpeq_epi8(_mm256_and_si256(low, high), _mm256_setzero_si256());
        let below_space = _mm256_cmpeq_epi8(_mm256_min_epu8(v, _mm256_set1_epi8(0x1f)), v);
        let tab = _mm256_cmpeq_epi8(v, _mm256_set1_epi8(b'\t' as i8));
        let del = _mm256_cmpeq_epi8(v, _mm256_set1_epi8(0x7f));
        let control = _mm256_or_si256(_mm256_andnot_si256(tab, below_space), del);
        (_mm256_movemask_epi8(control) as u32, _mm256_movemask_epi8(not_token) as u32)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn block_sse2(bytes: &[u8; WIDTH]) -> Block {
        let mut block = Block::default();
        for (i, part) in bytes.chunks_exact(16).enumerate() {
            // SAFETY: 16 readable bytes.
            let v = unsafe { _mm_loadu_si128(part.as_ptr().cast()) };
            let is = |b: u8| _mm_cmpeq_epi8(v, _mm_set1_epi8(b as i8));
            let at_most = |b: u8| _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(b as i8)), v);
            let within = |from: u8, to: u8| {
                let moved = _mm_sub_epi8(v, _mm_set1_epi8(from as i8));
                _mm_cmpeq_epi8(_mm_min_epu8(moved, _mm_set1_epi8((to - from) as i8)), moved)
            };
            let control = _mm_or_si128(_mm_andnot_si128(is(b'\t'), at_most(0x1f)), is(0x7f));
            let mut not_token = _mm_or_si128(at_most(b' '), within(0x7f, 0xff));
            for set in [within(b':', b'@'), within(b'[', b']'), within(b'(', b')')] {
                not_token = _mm_or_si128(not_token, set);
            }
            for b in [b'"', b',', b'/', b'{', b'}'] {
                not_token = _mm_or_si128(not_token, is(b));
            }
            block.control |= u64::from(_mm_movemask_epi8(control) as u16) << (16 * i);
            block.not_token |= u64::from(_mm_movemask_epi8(not_token) as u16) << (16 * i);
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each form at each block, against the table; and the run of text.
    fn agrees(input: &[u8]) {
        for (i, part) in input.chunks(WIDTH).enumerate() {
            let (base, expected) = (i * WIDTH, block_scalar(&padded(part)));
            assert_eq!(known(input, base, &block_scalar), expected);
            #[cfg(target_arch = "x86_64")]
            {
                // SAFETY: SSE2 is part of every x86-64.
                assert_eq!(known(input, base, &|bytes| unsafe { x86::block_sse2(bytes) }), expected);
                if x86::is_wide() {
                    // SAFETY: the processor has AVX2.
                    assert_eq!(known(input, base, &|bytes| unsafe { x86::block_avx2(bytes) }), expected);
                }
            }
        }
        let expected = input.iter().position(|&b| !is_text(b)).unwrap_or(input.len());
        assert_eq!(text_run(input), expected);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: SSE2 is part of every x86-64.
        assert_eq!(text_run_by(input, |bytes| unsafe { x86::block_sse2(bytes) }), expected);
    }

    #[test]
    fn every_byte_at_every_position() {
        for b in 0..=255 {
            for at in 0..WIDTH {
                let mut input = [b'a'; WIDTH];
                input[at] = b;
                agrees(&input);
            }
        }
    }

    proptest! {
        #[test]
        fn all_forms_agree(input in prop::collection::vec(any::<u8>(), 0..700)) {
            agrees(&input);
        }
    }

    /// The input ends where the next page may not be read: one byte too far is a fault.
    #[test]
    #[cfg(target_os = "linux")]
    fn reads_nothing_behind_the_input() {
        // SAFETY: two fresh pages of our own, of which the second is made unreadable; slices stay in the first.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let pages = libc::mmap(std::ptr::null_mut(), 2 * page, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(pages, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(pages.byte_add(page), page, libc::PROT_NONE), 0);
            let first = std::slice::from_raw_parts_mut(pages.cast::<u8>(), page);
            let head = b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 0\r\nX-Long-Enough-For-Blocks: 0123456789\r\n";
            for (i, slot) in first.iter_mut().enumerate() {
                *slot = head[i % head.len()];
            }
            for len in 0..page.min(1500) {
                let input = &first[page - len..];
                agrees(input);
                for start in 0..4 {
                    crate::validator::Validator::new(&Default::default()).feed(input.get(start..).unwrap_or_default());
                }
                let cut = &first[page - len..];
                let from = cut.windows(5).position(|w| w == b"HTTP/").unwrap_or(0);
                crate::validator::Validator::new(&Default::default()).feed(&cut[from..]);
            }
            assert_eq!(libc::munmap(pages, 2 * page), 0);
        }
    }
}
