//! Constant text in blocks of a fixed size, so that copying it takes a few moves of a length known at compile time.
//!
//! A block is copied whole, with the zeros behind its text; what is written next overwrites them. It is put together
//! when the library is compiled, where text that is too long for its block is an error. It knows nothing of buffers.
//! Cost of a copy: two instructions for each sixteen bytes.

/// Text of at most `N` bytes.
#[derive(Clone, Copy)]
pub(super) struct Block<const N: usize> {
    /// The text, and zeros behind it.
    bytes: [u8; N],
    /// At most `N`.
    len: u8,
}

impl<const N: usize> Block<N> {
    pub(super) const EMPTY: Self = Block { bytes: [0; N], len: 0 };

    /// The parts, joined. For constants and statics.
    pub(super) const fn new(parts: &[&str]) -> Self {
        let mut block = Self::EMPTY;
        let mut i = 0;
        while i < parts.len() {
            let part = parts[i].as_bytes();
            let mut j = 0;
            while j < part.len() {
                block.bytes[block.len as usize] = part[j];
                block.len += 1;
                j += 1;
            }
            i += 1;
        }
        block
    }

    /// Text that is made at run time: the first `len` of `bytes`.
    pub(super) fn made(bytes: [u8; N], len: usize) -> Self {
        Block { bytes, len: len.min(N) as u8 }
    }

    /// The text with what is behind it.
    #[inline(always)]
    pub(super) const fn whole(&self) -> &[u8; N] {
        &self.bytes
    }

    #[inline(always)]
    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(super) fn text(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined() {
        const BLOCK: Block<8> = Block::new(&["ab", "", "cde"]);
        assert_eq!(BLOCK.text(), b"abcde");
        assert_eq!(BLOCK.whole(), b"abcde\0\0\0");
        assert_eq!(Block::<4>::EMPTY.text(), b"");
        assert_eq!(Block::made(*b"abcd", 3).text(), b"abc");
    }
}
