//! Bytes into the caller's buffer: copies, decimal numbers, and nothing else.
//!
//! A [`Writer`] never writes outside its buffer. Past the end it only counts, so that the length of what would have
//! been written is known exactly. A [`Block`] is written whole, or not at all where the buffer ends before it does: a
//! buffer needs [`SLACK`] bytes behind what is written to it. Cost: one comparison a copy; no allocation.
//!
//! The path of the default answer is inlined whole, so that the position stays in a register: through memory each copy
//! would wait for the one before it to store its length. What is not inlined goes through [`Writer::lend`].

use super::block::Block;

/// No block is larger.
pub(super) const SLACK: usize = 96;

/// A cursor over the caller's buffer.
pub(super) struct Writer<'a> {
    buf: &'a mut [u8],
    /// Half a word, so that adding a block's size can't overflow and one comparison tells whether there is room.
    len: u32,
}

impl<'a> Writer<'a> {
    pub(super) fn new(buf: &'a mut [u8]) -> Writer<'a> {
        Writer { buf, len: 0 }
    }

    /// Bytes put so far, also those that found no room.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline(always)]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.room(bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.skip(bytes.len());
    }

    #[inline(always)]
    pub(super) fn put_block<const N: usize>(&mut self, block: &Block<N>) {
        const { assert!(N <= SLACK) };
        if let Some(room) = self.room(N) {
            room.copy_from_slice(block.whole());
        }
        self.skip(block.len());
    }

    /// The next `count` bytes, if there are as many.
    #[inline(always)]
    pub(super) fn room(&mut self, count: usize) -> Option<&mut [u8]> {
        let at = self.len();
        self.buf.get_mut(at..at + count)
    }

    /// Runs `write` on a writer of its own at the same place. A writer that is never passed on by itself need not live
    /// in memory.
    #[inline(always)]
    pub(super) fn lend<T>(&mut self, write: impl FnOnce(&mut Writer<'_>) -> T) -> T {
        let mut other = Writer { buf: &mut *self.buf, len: self.len };
        let value = write(&mut other);
        self.len = other.len;
        value
    }

    /// Goes on behind the next `count` bytes, which the caller has filled in [`Writer::room`].
    #[inline(always)]
    pub(super) fn skip(&mut self, count: usize) {
        self.len += count as u32;
    }

    /// Moves everything from `from` on to `to`: the tail of a gap whose size was guessed wrong.
    #[cold]
    pub(super) fn shift(&mut self, from: usize, to: usize) {
        let end = self.len();
        let moved = end - from + to;
        if end <= self.buf.len() && moved <= self.buf.len() {
            self.buf.copy_within(from..end, to);
        }
        self.len = moved as u32;
    }

    /// Forgets what stands behind `len`, which is not more than there is.
    #[inline(always)]
    pub(super) fn truncate(&mut self, len: usize) {
        debug_assert!(len <= self.len());
        self.len = len as u32;
    }

    #[inline(always)]
    pub(super) fn put_number(&mut self, n: u32) {
        if n >= 10 {
            return self.lend(|w| w.put_digits(n));
        }
        self.put(&[b'0' + n as u8]);
    }

    #[inline(never)]
    fn put_digits(&mut self, n: u32) {
        let at = self.len();
        self.skip(digits(n));
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

    /// [`Writer::patch_number`] for a number of `N` digits.
    #[inline(always)]
    pub(super) fn patch_digits<const N: usize>(&mut self, at: usize, mut n: u32) {
        if let Some(room) = self.buf.get_mut(at..).and_then(|b| b.first_chunk_mut::<N>()) {
            for digit in room.iter_mut().rev() {
                *digit = b'0' + (n % 10) as u8;
                n /= 10;
            }
        }
    }

    /// [`Writer::patch_number`] for a number of three digits, `BACK` bytes before `at`.
    #[inline(always)]
    pub(super) fn patch_three_digits<const BACK: usize>(&mut self, at: usize, n: u32) {
        let before = self.buf.get_mut(..at).and_then(|b| b.last_chunk_mut::<BACK>());
        if let Some(room) = before.and_then(|b| b.first_chunk_mut()) {
            let tens = n / 10;
            let hundreds = tens / 10;
            *room = [hundreds, tens - 10 * hundreds, n - 10 * tens].map(|digit| b'0' + digit as u8);
        }
    }
}

/// How many digits `n` has in decimal.
#[inline(always)]
pub(super) fn digits(n: u32) -> usize {
    n.checked_ilog10().map_or(1, |log| log as usize + 1)
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
    fn three_digits_are_patched_in() {
        for n in 100..1000 {
            let mut buf = *b"a...b";
            Writer::new(&mut buf).patch_three_digits::<3>(4, n);
            assert_eq!(buf, *format!("a{n}b").as_bytes());
        }
    }

    #[test]
    fn four_digits_are_patched_in() {
        for n in [1000, 1234, 9999] {
            let mut buf = *b"a....b";
            Writer::new(&mut buf).patch_digits::<4>(1, n);
            assert_eq!(buf, *format!("a{n}b").as_bytes());
        }
    }

    #[test]
    fn a_block_is_written_whole_or_not_at_all() {
        const BLOCK: Block<4> = Block::new(&["abc"]);
        let mut buf = [b'.'; 8];
        let mut w = Writer::new(&mut buf);
        w.put_block(&BLOCK);
        w.put_block(&BLOCK);
        w.put_block(&BLOCK);
        assert_eq!(w.len(), 9);
        assert_eq!(&buf, b"abcabc\0.");
    }

    #[test]
    fn past_the_end_it_only_counts() {
        let mut buf = *b"......";
        let mut w = Writer::new(&mut buf[..4]);
        w.put(b"ab");
        w.put(b"cde");
        w.put(b"");
        w.patch_number(3, 12);
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
