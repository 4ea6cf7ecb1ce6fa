//! Classifying 64 bytes at a time: which end a value, which end a field name.
//!
//! The idea: a head is valid byte by byte, and its structure hangs on two questions only. In a value the next control
//! character must be the CR of the line's end; in a name the next character that is no token must be its colon. So
//! one pass yields two bit masks a block, and `fast` hops from bit to bit. Token characters are told by two table
//! look-ups in registers, one by low and one by high half of the byte (AVX2); without AVX2 by comparisons (SSE2), and
//! elsewhere by the table of `bytes`. All three give the same masks. Nothing beyond the input is read: the last block
//! is loaded so that it ends with the input, or copied.
//!
//! Cost: about 0.1 ns a byte with AVX2. Reference: G. Langdale and D. Lemire, "Parsing gigabytes of JSON per second".

#![allow(unsafe_code)]

use super::bytes::{is_text, is_token};

/// Bytes in a block.
const WIDTH: usize = 64;
/// Blocks that are classified at once. Eight are a typical head; more would be wasted on the body behind it.
const BATCH: usize = 8;

/// What is known of 64 bytes; bit 0 is the first. Bits beyond the input are 0.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Block {
    /// Control characters without HTAB: what no value may hold, and CR and LF.
    control: u64,
    /// What no field name may hold.
    not_token: u64,
}

/// What is known of up to `BATCH` blocks in a row, to be asked from any position. Two empty words behind the blocks
/// let a question start on the last byte, or on the LF behind it.
#[derive(Default, Debug)]
pub(super) struct Masks {
    control: [u64; BATCH + 2],
    not_token: [u64; BATCH + 2],
    /// Bytes classified.
    len: usize,
}

impl Masks {
    /// Bytes that one batch covers at most.
    pub(super) const BYTES: usize = WIDTH * BATCH;

    /// Classifies the first `BYTES` bytes of the input. In place: a copy would load what was just stored in smaller
    /// pieces, and wait for it.
    #[inline]
    pub(super) fn classify(&mut self, input: &[u8]) {
        let input = input.get(..Self::BYTES).unwrap_or(input);
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has AVX2.
                unsafe { x86::classify_avx2(self, input) }
            } else {
                // SAFETY: SSE2 is part of every x86-64.
                self.fill(input, |bytes| unsafe { x86::block_sse2(bytes) })
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        self.fill(input, block_scalar)
    }

    /// Where runs of control characters begin, in order: the ends of lines, as long as every run is one CR LF, with
    /// the empty line's behind the last. Bits are taken off one word at a time, so that finding the next end waits for
    /// nothing but the word.
    #[inline]
    pub(super) fn control_runs(&self) -> impl Iterator<Item = usize> {
        let mut before = 0;
        self.control.iter().take(self.len.div_ceil(WIDTH)).enumerate().flat_map(move |(i, &word)| {
            let mut starts = word & !(word << 1 | before >> 63);
            before = word;
            std::iter::from_fn(move || {
                if starts == 0 {
                    return None;
                }
                let at = starts.trailing_zeros() as usize;
                starts &= starts - 1;
                Some(i * WIDTH + at)
            })
        })
    }

    /// How many token characters follow from `from` on; None if there are more than 63.
    #[inline]
    pub(super) fn token_run(&self, from: usize) -> Option<usize> {
        match window(&self.not_token, from) {
            0 => None,
            window => Some(window.trailing_zeros() as usize),
        }
    }

    /// Applies `block` to each 64 bytes. The last ones overlap those before, so that they end with the input.
    #[inline(always)]
    fn fill(&mut self, input: &[u8], block: impl Fn(&[u8; WIDTH]) -> Block) {
        *self = Masks { len: input.len(), ..Masks::default() };
        let short;
        let padded_input = if input.len() < WIDTH {
            short = padded(input);
            &short[..]
        } else {
            input
        };
        let last = padded_input.len() - WIDTH;
        let words = self.control.iter_mut().zip(self.not_token.iter_mut());
        for ((control, not_token), from) in words.zip((0..input.len()).step_by(WIDTH)) {
            let start = from.min(last);
            if let Some(bytes) = padded_input.get(start..).and_then(<[u8]>::first_chunk) {
                let known = block(bytes);
                *control = known.control >> (from - start);
                *not_token = known.not_token >> (from - start);
            }
        }
    }
}

/// How many bytes at the start of the input a value may hold.
pub(super) fn text_run(input: &[u8]) -> usize {
    if input.len() < WIDTH {
        return input.iter().position(|&b| !is_text(b)).unwrap_or(input.len());
    }
    let mut masks = Masks::default();
    for (i, part) in input.chunks(Masks::BYTES).enumerate() {
        masks.classify(part);
        if let Some(at) = masks.control_runs().next() {
            return i * Masks::BYTES + at;
        }
    }
    input.len()
}

/// The 64 bits from bit `from` on.
#[inline]
fn window(words: &[u64; BATCH + 2], from: usize) -> u64 {
    let shift = from % WIDTH;
    match words.get(from / WIDTH..) {
        Some([low, high, ..]) => low >> shift | high << 1 << (WIDTH - 1 - shift),
        _ => 0,
    }
}

/// Fewer than 64 bytes, and token characters behind them.
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
    use super::{Block, Masks, WIDTH};
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

    #[target_feature(enable = "avx2")]
    pub(super) fn classify_avx2(masks: &mut Masks, input: &[u8]) {
        masks.fill(input, |bytes| block_avx2(bytes));
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn block_avx2(bytes: &[u8; WIDTH]) -> Block {
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

    fn agrees(input: &[u8]) {
        let whole = input;
        let input = &input[..input.len().min(Masks::BYTES)];
        let mut expected = Masks::default();
        for (i, part) in input.chunks(WIDTH).take(BATCH).enumerate() {
            let block = block_scalar(&padded(part));
            expected.control[i] = block.control;
            expected.not_token[i] = block.not_token;
        }
        let check = |masks: &Masks| {
            assert_eq!(masks.control, expected.control);
            assert_eq!(masks.not_token, expected.not_token);
        };
        let mut masks = Masks { control: [!0; BATCH + 2], not_token: [!0; BATCH + 2], len: 0 };
        masks.classify(whole);
        check(&masks);
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: SSE2 is part of every x86-64.
            masks.fill(input, |bytes| unsafe { x86::block_sse2(bytes) });
            check(&masks);
        }
        let control = |at: usize| input.get(at).is_some_and(|&b| !is_text(b));
        let runs: Vec<usize> = (0..input.len()).filter(|&i| control(i) && (i == 0 || !control(i - 1))).collect();
        assert_eq!(masks.control_runs().collect::<Vec<_>>(), runs);
        assert_eq!(text_run(whole), whole.iter().position(|&b| !is_text(b)).unwrap_or(whole.len()));
        for from in 0..=input.len() + 1 {
            let rest = input.get(from..).unwrap_or_default();
            assert_eq!(masks.token_run(from), rest.iter().take(WIDTH).position(|&b| !is_token(b)));
        }
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
