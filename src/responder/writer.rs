//! Bytes into the caller's buffer: copies, decimal numbers, and nothing else.
//!
//! A [`Writer`] never writes outside its buffer. Past the end it only counts, so that the length of what would have
//! been written is known exactly. Cost: one comparison a copy; no allocation.

/// A cursor over the caller's buffer.
pub(super) struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(buf: &'a mut [u8]) -> Writer<'a> {
        Writer { buf, len: 0 }
    }

    /// Bytes put so far, also those that found no room.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(room) = self.buf.get_mut(self.len..end) {
            room.copy_from_slice(bytes);
        }
        self.len = end;
    }

    /// Leaves a gap of `count` bytes, to be filled by [`Writer::patch`].
    #[inline(always)]
    pub(super) fn skip(&mut self, count: usize) {
        self.len += count;
    }

    /// Overwrites what stands at `at`; the length stays.
    #[inline(always)]
    pub(super) fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.buf.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    /// Moves everything from `from` on to `to`: the tail of a gap whose size was guessed wrong.
    #[cold]
    pub(super) fn shift(&mut self, from: usize, to: usize) {
        let end = self.len;
        let moved = end - from + to;
        if end <= self.buf.len() && moved <= self.buf.len() {
            self.buf.copy_within(from..end, to);
        }
        self.len = moved;
    }

    /// Forgets what stands behind `len`.
    #[inline(always)]
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    #[inline]
    pub(super) fn put_number(&mut self, n: u32) {
        let mut digits = [0; 10];
        self.put(decimal(n, &mut digits));
    }
}

/// `n` in decimal, at the end of `digits`.
#[inline]
pub(super) fn decimal(mut n: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        // A u32 has at most ten digits, so `at` ends at 0 at the latest; saying so here spares the bounds check.
        if n == 0 || at == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        for n in (0..100_000).chain((0..32).flat_map(|s| [(1u32 << s) - 1, 1 << s])).chain([u32::MAX]) {
            assert_eq!(decimal(n, &mut [0; 10]), n.to_string().as_bytes());
        }
    }

    #[test]
    fn past_the_end_it_only_counts() {
        let mut buf = *b"......";
        let mut w = Writer::new(&mut buf[..4]);
        w.put(b"ab");
        w.put(b"cde");
        w.put(b"");
        w.patch(3, b"xy");
        assert_eq!(w.len(), 5);
        assert_eq!(&buf, b"ab....");
    }

    #[test]
    fn a_shift_moves_the_tail_both_ways() {
        let mut buf = [b'.'; 8];
        let mut w = Writer::new(&mut buf);
        w.put(b"abcdef");
        w.shift(2, 4);
        assert_eq!(w.len(), 8);
        w.shift(4, 1);
        assert_eq!(w.len(), 5);
        assert_eq!(&buf[..5], b"acdef");
    }
}
