//! Bytes into the caller's buffer: copies, decimal numbers, and nothing else.
//!
//! A [`Writer`] never writes outside its buffer. Past the end it only counts, so that the length of what would have
//! been written is known exactly. Cost: one comparison a copy; no allocation.
//!
//! The path of the default answer is inlined whole, so that the position stays in a register: through memory each copy
//! would wait for the one before it to store its length. What is not inlined goes through [`Writer::lend`].

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

    /// [`Writer::put`] for short text of a length not known at compile time: in place instead of by a call.
    #[inline(always)]
    pub(super) fn put_short(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        match self.buf.get_mut(self.len..end) {
            Some(room) if bytes.len() <= 32 => copy_in_halves::<16>(room, bytes)
                .or_else(|| copy_in_halves::<8>(room, bytes))
                .or_else(|| copy_in_halves::<4>(room, bytes))
                .unwrap_or_else(|| room.copy_from_slice(bytes)),
            Some(room) => room.copy_from_slice(bytes),
            None => {}
        }
        self.len = end;
    }

    /// Runs `write` on a writer of its own at the same place. A writer that is never passed on by itself need not live
    /// in memory.
    #[inline(always)]
    pub(super) fn lend(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let mut other = Writer { buf: &mut *self.buf, len: self.len };
        write(&mut other);
        self.len = other.len;
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

    #[inline(always)]
    pub(super) fn put_number(&mut self, n: u32) {
        let at = self.len;
        self.len += digits(n);
        self.patch_number(at, n);
    }

    /// Overwrites what stands at `at` with `n` in decimal.
    #[inline(always)]
    pub(super) fn patch_number(&mut self, at: usize, mut n: u32) {
        if let Some(room) = self.buf.get_mut(at..at + digits(n)) {
            for digit in room.iter_mut().rev() {
                *digit = b'0' + (n % 10) as u8;
                n /= 10;
            }
        }
    }

    /// Lets `fill` write `N` bytes where they belong: built elsewhere from small pieces and copied in one, they would
    /// wait for the pieces' stores.
    #[inline(always)]
    pub(super) fn put_array<const N: usize>(&mut self, fill: impl FnOnce(&mut [u8; N])) {
        if let Some(room) = self.buf.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut) {
            fill(room);
        }
        self.len += N;
    }
}

/// How many digits `n` has in decimal.
#[inline(always)]
pub(super) fn digits(n: u32) -> usize {
    n.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Copies `HALF` to twice `HALF` bytes as two blocks that may overlap. `None` if they are fewer, or more.
#[inline(always)]
fn copy_in_halves<const HALF: usize>(to: &mut [u8], from: &[u8]) -> Option<()> {
    if from.len() > 2 * HALF {
        return None;
    }
    *to.first_chunk_mut::<HALF>()? = *from.first_chunk::<HALF>()?;
    *to.last_chunk_mut::<HALF>()? = *from.last_chunk::<HALF>()?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        for n in (0..100_000).chain((0..32).flat_map(|s| [(1u32 << s) - 1, 1 << s])).chain([u32::MAX]) {
            let mut buf = [0; 12];
            let mut w = Writer::new(&mut buf);
            w.put_number(n);
            let len = w.len();
            assert_eq!(buf[..len], *n.to_string().as_bytes());
        }
    }

    #[test]
    fn short_copies_are_copies() {
        let text: Vec<u8> = (1..=40).collect();
        for len in 0..=40 {
            let mut buf = [0; 48];
            let mut w = Writer::new(&mut buf);
            w.put(b"x");
            w.put_short(&text[..len]);
            assert_eq!(w.len(), len + 1);
            assert_eq!(buf[1..=len], text[..len]);
            assert!(buf[len + 1..].iter().all(|&b| b == 0), "{len}");
            let mut small = [0; 20];
            Writer::new(&mut small[..len / 2]).put_short(&text[..len]);
            assert_eq!(small, [0; 20]);
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
