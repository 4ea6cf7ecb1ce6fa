//! Whole lines of a head at once, where they lie in the input: the usual case, at a fraction of the cost.
//!
//! It only ever accepts. A line that is not whole, breaks a rule, passes a limit or is merely rare (a lone LF, a
//! repeated framing field) is left untouched for `head`, which judges it byte by byte; then this path goes on behind
//! it. So both are exchangeable at every line, and the tests exchange them. Cost: two masks a block of 64 bytes
//! (`scan`), two hops a line. A line left to `head` has cost one batch of blocks, so the whole stays linear.

use super::bytes::trim;
use super::scan::Masks;
use super::value::Field;
use super::{State, Validator, bits};

/// A shorter input seldom holds a whole line; it is left to `head`.
const LEAST: usize = 32;

impl Validator {
    /// Takes as many whole lines as it can from the start of `input`; returns their length. The empty line stays.
    #[inline]
    pub(super) fn whole_lines(&mut self, input: &[u8]) -> usize {
        if input.len() < LEAST {
            return 0;
        }
        match self.state {
            State::LineStart => self.lines(input, 0),
            State::Protocol if self.section_len == 0 => match self.status_line_begin(input) {
                0 => 0,
                phrase => self.lines(input, phrase),
            },
            _ => 0,
        }
    }

    /// Takes `HTTP/1.x NNN ` and leaves the state that `head` would: inside the reason phrase.
    #[inline]
    fn status_line_begin(&mut self, input: &[u8]) -> usize {
        const LEN: u32 = 13;
        let Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor, b' ', hundreds, tens, units, b' ']) =
            input.first_chunk::<{ LEN as usize }>()
        else {
            return 0;
        };
        let version = match minor {
            b'1' => 0,
            b'0' => bits::HTTP_1_0,
            _ => return 0,
        };
        // 1xx is rare and has rules of its own.
        if !matches!(hundreds, b'2'..=b'5') || !tens.is_ascii_digit() || !units.is_ascii_digit() {
            return 0;
        }
        if self.max_head < LEN || self.max_line < LEN {
            return 0;
        }
        let digit = |b: &u8| u16::from(b - b'0');
        self.code = digit(hundreds) * 100 + digit(tens) * 10 + digit(units);
        self.bits |= version;
        if self.code_known().is_err() {
            return 0;
        }
        self.state = State::ReasonPhrase;
        self.section_len = LEN;
        self.line_len = LEN;
        LEN as usize
    }

    /// Hops over lines. `from` is 0 at the start of a line, or where the reason phrase begins.
    fn lines(&mut self, input: &[u8], from: usize) -> usize {
        let taken_before = self.section_len as usize - from;
        let room = (self.head_limit() as usize).saturating_sub(taken_before);
        let input = input.get(..room).unwrap_or(input);

        let mut masks = Masks::default();
        // The start of the batch and of the line being read: each batch begins with a line.
        let mut base = 0;
        let mut line = 0;
        let mut fields = self.fields;
        'batches: loop {
            masks.classify(input.get(base..).unwrap_or_default());
            for end in masks.control_runs() {
                let end = base + end;
                if input.get(end..end + 2) != Some(b"\r\n") || end - line > self.max_line as usize {
                    break 'batches;
                }
                if line > 0 || from == 0 {
                    // Names beyond the window, and the empty line, are not for here.
                    let Some(name_len @ 1..) = masks.token_run(line - base) else { break 'batches };
                    let colon = line + name_len;
                    if input.get(colon) != Some(&b':') || fields >= self.max_fields {
                        break 'batches;
                    }
                    let field = Field::of(input.get(line..colon).unwrap_or_default());
                    if field != Field::Other && !self.take_value(field, input.get(colon + 1..end).unwrap_or_default()) {
                        break 'batches;
                    }
                    fields += 1;
                }
                line = end + 2;
            }
            // A line that one batch does not hold is left to the other path, which skips long values as fast.
            if line == base || input.len() <= base + Masks::BYTES {
                break;
            }
            base = line;
        }
        if line == 0 {
            return from;
        }
        self.fields = fields;
        self.section_len = (taken_before + line) as u32;
        self.line_len = 0;
        self.state = State::LineStart;
        line
    }

    /// The usual values of the fields that matter. False for any other: `head` reads it to the letter.
    fn take_value(&mut self, field: Field, value: &[u8]) -> bool {
        let value = trim(value);
        match field {
            Field::Other => {}
            Field::ContentLength => {
                let Some(length) = usual_length(value) else { return false };
                if self.has(bits::LENGTH | bits::CHUNKED | bits::UNFRAMED) {
                    return false;
                }
                self.content_length = length;
                self.bits |= bits::LENGTH;
            }
            Field::TransferEncoding => {
                if self.has(bits::LENGTH | bits::CHUNKED | bits::UNFRAMED) || !value.eq_ignore_ascii_case(b"chunked") {
                    return false;
                }
                self.bits |= bits::CHUNKED;
            }
            Field::Connection => {
                self.bits |= match value.len() {
                    10 if value.eq_ignore_ascii_case(b"keep-alive") => bits::KEEP_ALIVE,
                    5 if value.eq_ignore_ascii_case(b"close") => bits::CLOSE,
                    _ => return false,
                };
            }
            Field::Upgrade => return self.code != 101,
            Field::HopByHop => self.bits |= bits::NORMALISE,
        }
        true
    }
}

/// A number of at most 18 digits without leading zeros.
#[inline]
fn usual_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || (value.len() > 1 && value.first() == Some(&b'0')) {
        return None;
    }
    let mut length = 0;
    for b in value {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        length = length * 10 + u64::from(digit);
    }
    Some(length)
}
