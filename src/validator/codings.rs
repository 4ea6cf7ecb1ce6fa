//! Transfer codings besides `chunked`, where a policy lets them through: which of them is the last.
//!
//! The usual value never comes here: `value` matches it byte by byte and hands over at the first that differs. The body
//! stays coded; all that is decided is where it ends. Constant cost a byte. Source: RFC 9112, sections 6.1 and 6.3.

use super::bytes::is_ows;
use super::value::{AFTER, BEFORE, CHUNKED, Field, INSIDE};
use super::{Reason, Validator, bits, tolerance};

impl Validator<'_> {
    /// Goes on as a list, `matched` bytes of `chunked` (or AFTER: all of it) being read.
    pub(super) fn begin_codings(&mut self, matched: u8, reason: Reason) -> Result<(), Reason> {
        self.tolerate(tolerance::CODINGS, reason)?;
        // Who speaks codings that nobody asked for may not be trusted with another response.
        self.bits |= bits::CLOSE;
        self.field = Field::Codings;
        self.word_len = 0;
        for &b in CHUNKED.iter().take(usize::from(matched)) {
            self.push(b);
        }
        self.value_state = match matched {
            BEFORE | AFTER => matched,
            _ => INSIDE,
        };
        Ok(())
    }

    pub(super) fn codings_byte(&mut self, b: u8) -> Result<(), Reason> {
        match b {
            b',' => return self.coding_member(),
            _ if is_ows(b) => {
                if self.value_state == INSIDE {
                    self.value_state = AFTER;
                }
            }
            // A parameter belongs to the coding, so that `chunked;q=1` is another one.
            _ if self.value_state == AFTER && b != b';' => return Err(Reason::TRANSFER_ENCODING_UNKNOWN),
            _ => {
                self.value_state = INSIDE;
                self.push(b);
            }
        }
        Ok(())
    }

    /// The line ended.
    pub(super) fn coding_end(&mut self) -> Result<(), Reason> {
        self.coding_member()?;
        if self.has(bits::CHUNKED | bits::CODED) { Ok(()) } else { Err(Reason::TRANSFER_ENCODING_UNKNOWN) }
    }

    fn coding_member(&mut self) -> Result<(), Reason> {
        if self.is_named(CHUNKED) {
            if self.has(bits::CHUNKED) {
                return Err(Reason::TRANSFER_ENCODING_LIST);
            }
            self.bits |= bits::CHUNKED;
        } else if self.word_len > 0 {
            self.bits = self.bits & !bits::CHUNKED | bits::CODED;
        }
        self.word_len = 0;
        self.value_state = BEFORE;
        Ok(())
    }
}
