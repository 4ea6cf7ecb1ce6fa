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
pub(super) fn lines(validator: &mut Validator<'_>, input: &[u8], from: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if x86::is_wide() {
        // SAFETY: the processor has AVX2 and BMI1.
        unsafe { x86::lines_avx2(validator, input, from) }
    } else {
        x86::lines_sse2(validator, input, from)
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
    let mut short = [0; WIDTH];
    let blocks = Blocks::of(input, &mut short);
    for base in (0..input.len()).step_by(WIDTH) {
        let control = blocks.known(base, &block).control;
        if control != 0 {
            return base + control.trailing_zeros() as usize;
        }
    }
    input.len()
}

/// Input to be classified, with at least one block to load from.
pub(super) struct Blocks<'a> {
    /// The input, or a padded copy of one that is shorter than a block.
    bytes: &'a [u8],
    /// Where the last block starts: it ends with the input and overlaps the one before. No branch tells it from others.
    last: usize,
}

impl<'a> Blocks<'a> {
    #[inline(always)]
    pub(super) fn of(input: &'a [u8], short: &'a mut [u8; WIDTH]) -> Blocks<'a> {
        let bytes = if input.len() < WIDTH {
            *short = padded(input);
            &short[..]
        } else {
            input
        };
        Blocks { bytes, last: bytes.len().saturating_sub(WIDTH) }
    }

    /// What is known of the 64 bytes at `base`; of no meaning where that lies behind the input.
    #[inline(always)]
    pub(super) fn known(&self, base: usize, block: &impl Fn(&[u8; WIDTH]) -> Block) -> Block {
        let start = base.min(self.last);
        let Some(bytes) = self.bytes.get(start..start + WIDTH).and_then(<[u8]>::first_chunk) else {
            return Block { control: u64::MAX, not_token: u64::MAX };
        };
        let known = block(bytes);
        let shift = (base - start) % WIDTH;
        Block { control: known.control >> shift, not_token: known.not_token >> shift }
    }
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

    /// Kinds of a byte, told by the kinds that both halves of it allow. For tokens these are rows of the ASCII table;
    /// row 6 has no bit of its own, since rows 3 and 4 together have all its columns.
    const TOKEN: u8 = 31;
    const ROW_BITS: [u8; 8] = [CONTROL_0, CONTROL_1, 1, 2, 4, 8, 2 | 4, 16 | DELETE];
    /// Row 0 without HTAB, row 1, and DEL.
    const CONTROL_0: u8 = 32;
    const CONTROL_1: u8 = 64;
    const DELETE: u8 = 128;

    const BY_LOW: [i8; 16] = {
        let mut table = [0i8; 16];
        let mut low = 0;
        while low < 16 {
            let mut kinds = CONTROL_1;
            kinds |= if low as u8 != b'\t' { CONTROL_0 } else { 0 };
            kinds |= if low == 0x0f { DELETE } else { 0 };
            let mut row = 2;
            while row < 8 {
                if row != 6 && is_token_const((row << 4 | low) as u8) {
                    kinds |= ROW_BITS[row] & TOKEN;
                }
                row += 1;
            }
            table[low] = kinds as i8;
            low += 1;
        }
        table
    };
    const BY_HIGH: [i8; 16] = {
        let mut table = [0i8; 16];
        let mut row = 0;
        while row < 8 {
            table[row] = ROW_BITS[row] as i8;
            row += 1;
        }
        table
    };

    const fn is_token_const(b: u8) -> bool {
        !matches!(b, b' ' | b'"' | b'(' | b')' | b',' | b'/' | b':'..=b'@' | b'['..=b']' | b'{' | b'}' | 0x7f)
    }

    /// Whether the AVX2 forms may run. BMI1 takes bits off a word in one instruction; who has AVX2 has it.
    #[inline]
    pub(super) fn is_wide() -> bool {
        std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi1")
    }

    #[target_feature(enable = "avx2,bmi1")]
    pub(super) fn lines_avx2(validator: &mut Validator<'_>, input: &[u8], from: usize) -> usize {
        validator.walk(input, from, |bytes| block_avx2(bytes))
    }

    #[inline(never)]
    pub(super) fn lines_sse2(validator: &mut Validator<'_>, input: &[u8], from: usize) -> usize {
        // SAFETY: SSE2 is part of every x86-64.
        validator.walk(input, from, |bytes| unsafe { block_sse2(bytes) })
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
            unsafe { (_mm_loadu_si128(BY_LOW.as_ptr().cast()), _mm_loadu_si128(BY_HIGH.as_ptr().cast())) };
        // The shuffle looks at the low half only, and yields 0 above ASCII: neither control nor token.
        let low = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(by_low), v);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(v), _mm256_set1_epi8(0x0f));
        let kind = _mm256_and_si256(low, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(by_high), high));
        // 0 for neither, 1 to 31 for a token, more for a control. Saturating sums lift the wanted ones to bit 7.
        let control = _mm256_adds_epu8(kind, _mm256_set1_epi8((0x7f - TOKEN) as i8));
        let not_token =
            _mm256_adds_epu8(_mm256_sub_epi8(kind, _mm256_set1_epi8(1)), _mm256_set1_epi8((0x80 - TOKEN) as i8));
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
        let mut short = [0; WIDTH];
        let blocks = Blocks::of(input, &mut short);
        for (i, part) in input.chunks(WIDTH).enumerate() {
            let (base, expected) = (i * WIDTH, block_scalar(&padded(part)));
            assert_eq!(blocks.known(base, &block_scalar), expected);
            #[cfg(target_arch = "x86_64")]
            {
                // SAFETY: SSE2 is part of every x86-64.
                assert_eq!(blocks.known(base, &|bytes| unsafe { x86::block_sse2(bytes) }), expected);
                if x86::is_wide() {
                    // SAFETY: the processor has AVX2.
                    assert_eq!(blocks.known(base, &|bytes| unsafe { x86::block_avx2(bytes) }), expected);
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
