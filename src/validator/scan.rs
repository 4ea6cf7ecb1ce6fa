//! Classifying 64 bytes at a time: which end a value, which end a field name.
//!
//! The idea: a head is valid byte by byte, and its structure hangs on two questions only. In a value the next control
//! character must be the CR of the line's end; in a name the next character that is no token must be its colon. So
//! one pass over some blocks yields two bit masks each, and `fast` then hops from bit to bit: two loops, of which the
//! first has no branch and keeps its constants in registers. Both are compiled here once for each kind of processor.
//! Token characters are told by two table look-ups in registers, one by low and one by high half of the byte (AVX2);
//! without AVX2 by comparisons (SSE2), and elsewhere by the table of `bytes`. All three give the same masks. Nothing
//! beyond the input is read: the last block is loaded so that it ends with the input, or copied.
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
        // SAFETY: the processor has AVX2, BMI1 and BMI2.
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
        // SAFETY: the processor has AVX2, BMI1 and BMI2.
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
    for (i, bytes) in whole(input).enumerate() {
        let control = block(bytes).control;
        if control != 0 {
            return i * WIDTH + control.trailing_zeros() as usize;
        }
    }
    let control = last(input, &block).control;
    if control == 0 { input.len() } else { input.len() - input.len() % WIDTH + control.trailing_zeros() as usize }
}

/// Blocks whose masks are held at once.
const BLOCKS: usize = 15;
/// Bytes that these cover.
pub(super) const SPAN: usize = BLOCKS * WIDTH;

/// The masks of up to `SPAN` bytes, one word a block.
pub(super) struct Masks {
    control: [u64; BLOCKS + 1],
    not_token: [u64; BLOCKS + 1],
}

/// The lines among the first `SPAN` bytes of an input.
pub(super) struct Lines<'a> {
    input: &'a [u8],
    masks: &'a Masks,
    /// Positions below may be asked for. At the last of them, and behind it in its word, all bits are set, so every
    /// search ends there at the latest; and two bytes of the input stand there, if not more.
    reach: usize,
}

/// A line from its start to its CR LF.
pub(super) struct Line {
    /// The first byte of the name.
    pub(super) initial: u8,
    pub(super) colon: usize,
    /// Where the CR is.
    pub(super) end: usize,
}

impl Masks {
    pub(super) const NONE: Masks = Masks { control: [0; BLOCKS + 1], not_token: [0; BLOCKS + 1] };

    #[inline(always)]
    pub(super) fn read<'a>(&'a mut self, input: &'a [u8], block: &impl Fn(&[u8; WIDTH]) -> Block) -> Lines<'a> {
        let (count, rest) = ((input.len() / WIDTH).min(BLOCKS), input.len() % WIDTH);
        let words = self.control.iter_mut().zip(&mut self.not_token);
        for ((control, not_token), bytes) in words.zip(whole(input.get(..count * WIDTH).unwrap_or_default())) {
            let known = block(bytes);
            (*control, *not_token) = (known.control, known.not_token);
        }
        // `count` is at most BLOCKS.
        if count < BLOCKS && rest > 0 {
            let known = last(input, block);
            (self.control[count & BLOCKS], self.not_token[count & BLOCKS]) = (known.control, known.not_token);
        }
        let reach = input.len().saturating_sub(1).min(SPAN + 1);
        if reach > 0 {
            let limit = reach - 1;
            let behind = u64::MAX << (limit % WIDTH);
            self.control[(limit / WIDTH) & BLOCKS] |= behind;
            self.not_token[(limit / WIDTH) & BLOCKS] |= behind;
        }
        Lines { input, masks: self, reach }
    }
}

impl Lines<'_> {
    /// The field line at `at`, if it is whole: a name of at least one byte, a colon, text, CR LF.
    #[inline(always)]
    pub(super) fn line(&self, at: usize) -> Option<Line> {
        if at >= self.reach {
            return None;
        }
        let (colon, end) = (next(&self.masks.not_token, at), next(&self.masks.control, at));
        debug_assert!(at <= colon && colon + 2 <= self.input.len() && end + 2 <= self.input.len());
        // SAFETY: all positions are below `reach`: `at` was compared, and the searches end there. At each of these, two
        // bytes are readable.
        let (initial, colon_byte, line_end) = unsafe {
            let start = self.input.as_ptr();
            (*start.add(at), *start.add(colon), start.add(end).cast::<[u8; 2]>().read())
        };
        (colon_byte == b':' && colon != at && line_end == *b"\r\n").then_some(Line { initial, colon, end })
    }

    /// Where the text from `at` ends, if it does so with CR LF.
    #[inline(always)]
    pub(super) fn text(&self, at: usize) -> Option<usize> {
        if at >= self.reach {
            return None;
        }
        let end = next(&self.masks.control, at);
        self.input.get(end..).is_some_and(|rest| rest.starts_with(b"\r\n")).then_some(end)
    }
}

#[inline(always)]
fn next(words: &[u64; BLOCKS + 1], at: usize) -> usize {
    let word = at / WIDTH;
    let ahead = words[word & BLOCKS] >> (at % WIDTH);
    if ahead != 0 {
        return at + ahead.trailing_zeros() as usize;
    }
    let mut word = word + 1;
    while words[word & BLOCKS] == 0 {
        word += 1;
    }
    word * WIDTH + words[word & BLOCKS].trailing_zeros() as usize
}

#[inline(always)]
fn whole(input: &[u8]) -> impl Iterator<Item = &[u8; WIDTH]> {
    input.chunks_exact(WIDTH).map(|bytes| bytes.first_chunk().unwrap_or(&[0; WIDTH]))
}

/// What is known of the bytes behind the last whole block. Bits beyond the input are 0.
#[inline(always)]
fn last(input: &[u8], block: &impl Fn(&[u8; WIDTH]) -> Block) -> Block {
    let rest = input.len() % WIDTH;
    let Some(bytes) = input.last_chunk() else { return block(&padded(input)) };
    let (known, shift) = (block(bytes), (WIDTH - rest) % WIDTH);
    match rest {
        0 => Block::default(),
        _ => Block { control: known.control >> shift, not_token: known.not_token >> shift },
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
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

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

    /// Whether the AVX2 forms may run. BMI1 and BMI2 search words in fewer instructions; who has AVX2 has them.
    #[inline]
    pub(super) fn is_wide() -> bool {
        match WIDE.load(Relaxed) {
            UNKNOWN => detect(),
            known => known == YES,
        }
    }

    /// What was detected. All threads detect the same, so it matters to none who stores it.
    static WIDE: AtomicU8 = AtomicU8::new(UNKNOWN);
    const UNKNOWN: u8 = 0;
    const YES: u8 = 1;
    const NO: u8 = 2;

    #[cold]
    fn detect() -> bool {
        let wide = std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2");
        WIDE.store(if wide { YES } else { NO }, Relaxed);
        wide
    }

    #[target_feature(enable = "avx2,bmi1,bmi2")]
    pub(super) fn lines_avx2(validator: &mut Validator<'_>, input: &[u8], from: usize) -> usize {
        validator.walk(input, from, |bytes| block_avx2(bytes))
    }

    #[inline(never)]
    pub(super) fn lines_sse2(validator: &mut Validator<'_>, input: &[u8], from: usize) -> usize {
        // SAFETY: SSE2 is part of every x86-64.
        validator.walk(input, from, |bytes| unsafe { block_sse2(bytes) })
    }

    #[target_feature(enable = "avx2,bmi1,bmi2")]
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
        let control = u64::from(low.0) | u64::from(high.0) << 32;
        let neither = u64::from(low.1) | u64::from(high.1) << 32;
        Block { control, not_token: neither | control }
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
        // 0 for neither, 1 to 31 for a token; a control is one of 32, 64 and 128. Sums lift the wanted ones to bit 7,
        // for not_token those that are no control, which is all that is missing then.
        let control = _mm256_movemask_epi8(_mm256_add_epi8(kind, _mm256_set1_epi8(0x60))) as u32;
        let neither = _mm256_movemask_epi8(_mm256_sub_epi8(kind, _mm256_set1_epi8(1))) as u32;
        (control, neither)
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

    type Found = Vec<(Option<(u8, usize, usize)>, Option<usize>)>;

    /// What `line` and `text` find at each position.
    fn found(input: &[u8], block: impl Fn(&[u8; WIDTH]) -> Block) -> Found {
        // What an earlier, longer input left behind is not seen.
        let mut masks = Masks::NONE;
        masks.read(&[b'a'; 2 * SPAN], &block);
        let lines = masks.read(input, &block);
        let line = |at| lines.line(at).map(|line| (line.initial, line.colon, line.end));
        (0..=input.len().min(SPAN) + 2).map(|at| (line(at), lines.text(at))).collect()
    }

    /// The same by the obvious means, as far as the masks reach.
    fn expected(input: &[u8]) -> Found {
        let limit = input.len().saturating_sub(2).min(SPAN);
        let text = |at: usize| {
            let end = (at..limit).find(|&i| !is_text(input[i])).unwrap_or(limit);
            (input.len() >= 2 && at <= limit && &input[end..end + 2] == b"\r\n").then_some(end)
        };
        let line = |at: usize| {
            let end = text(at)?;
            let colon = (at..limit).find(|&i| !is_token(input[i])).unwrap_or(limit);
            (input[colon] == b':' && colon > at).then_some((input[at], colon, end))
        };
        (0..=input.len().min(SPAN) + 2).map(|at| (line(at), text(at))).collect()
    }

    /// Each form against the obvious one; and the run of text.
    fn agrees(input: &[u8]) {
        let expected = expected(input);
        assert_eq!(found(input, block_scalar), expected);
        let text = input.iter().position(|&b| !is_text(b)).unwrap_or(input.len());
        assert_eq!(text_run(input), text);
        assert_eq!(text_run_by(input, block_scalar), text);
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: SSE2 is part of every x86-64.
            let sse2 = |bytes: &[u8; WIDTH]| unsafe { x86::block_sse2(bytes) };
            assert_eq!(found(input, sse2), expected);
            assert_eq!(text_run_by(input, sse2), text);
            if x86::is_wide() {
                // SAFETY: the processor has AVX2.
                assert_eq!(found(input, |bytes| unsafe { x86::block_avx2(bytes) }), expected);
            }
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

    /// Text, names, colons and line ends, so that there are lines; and any byte now and then.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => "[a-z-]{1,30}".prop_map(String::into_bytes),
            4 => Just(b": ".to_vec()),
            4 => Just(b"\r\n".to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..3),
            1 => "[ -~]{40,200}".prop_map(String::into_bytes),
        ];
        prop::collection::vec(piece, 0..90).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn all_forms_agree(input in pieces()) {
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
            for len in (0..200).chain(SPAN - 70..SPAN + 70) {
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
