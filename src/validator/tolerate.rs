//! Letting through what a policy tolerates, and remembering what a strict reader would have said.
//!
//! Asked only where the strict reading has already found a fault, so a strict validator pays nothing for policies. The
//! first fault is kept with its offset, the rest as bits. It decides nothing about framing: each place that asks knows
//! how to read on, and says so there. Constant cost.

use super::options::tolerance;
use super::{Reason, Validator, bits};

/// What concerns the framing of chunks, not a head.
const CHUNKS: u32 = tolerance::CHUNK_LF | tolerance::CHUNK_SPACE | tolerance::CHUNK_EXTENSIONS;
/// What leaves nothing to rewrite.
const AS_IT_CAME: u32 = tolerance::CONTENT | tolerance::REST | tolerance::STATUS_RANGE;

impl Validator<'_> {
    /// Lets a fault at `here` through if all of `tolerances` are granted.
    #[cold]
    pub(super) fn tolerate(&mut self, tolerances: u32, reason: Reason) -> Result<(), Reason> {
        if self.tolerate & tolerances != tolerances {
            return Err(reason);
        }
        if self.tolerated == Reason::NONE {
            self.tolerated = reason;
            self.tolerated_at = self.here;
        }
        self.tolerances |= tolerances;
        if tolerances & CHUNKS != 0 {
            self.bits |= bits::REFRAME;
        } else if tolerances & AS_IT_CAME == 0 {
            self.bits |= bits::NORMALISE;
        }
        Ok(())
    }

    /// What a control character in text needs.
    pub(super) fn control(b: u8, others: u32) -> u32 {
        if b == 0 { others | tolerance::NUL } else { others }
    }
}
