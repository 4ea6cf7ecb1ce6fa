//! Whole lines of a head at once, where they lie in the input: the usual case, at a fraction of the cost.
//!
//! It only ever accepts. A line that is not whole, breaks a rule, passes a limit or is merely rare (a lone LF, a
//! repeated framing field) is left untouched for `head`, which judges it byte by byte; then this path goes on behind
//! it. So both are exchangeable at every line, and the tests exchange them. Cost: two masks a block of 64 bytes
//! (`scan`), each block once, and two hops a line; the state is read and written once a call. A line left to `head`
//! has been scanned at most once before, so the whole stays linear.

use super::bytes::trim;
use super::scan::{self, Block, Blocks, WIDTH};
use super::value::Field;
use super::{Method, Protocol, State, Validator, bits};

/// A shorter input seldom holds a whole line; it is left to `head`.
const LEAST: usize = 32;

/// With any of these, a framing field is more than itself.
const TAKEN: u32 = bits::LENGTH | bits::CHUNKED | bits::CODED | bits::UNFRAMED;

const HTTP_1_1: u64 = u64::from_le_bytes(*b"HTTP/1.1");
const HTTP_1_0: u64 = u64::from_le_bytes(*b"HTTP/1.0");

impl Validator<'_> {
    /// Takes as many whole lines as it can from the start of `input`; returns their length. The empty line stays.
    #[inline(always)]
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
    #[inline(always)]
    fn status_line_begin(&mut self, input: &[u8]) -> usize {
        const LEN: u32 = 13;
        let Some((version, [b' ', hundreds, tens, units, b' ', ..])) = input.split_first_chunk::<8>() else {
            return 0;
        };
        let version = match u64::from_le_bytes(*version) {
            HTTP_1_1 => 0,
            HTTP_1_0 => bits::HTTP_1_0,
            _ => return 0,
        };
        // 1xx is rare and has rules of its own; so has 2xx to CONNECT.
        if !matches!(hundreds, b'2'..=b'5') || !tens.is_ascii_digit() || !units.is_ascii_digit() {
            return 0;
        }
        if self.max_head < LEN || self.max_line < LEN || self.method == Method::Connect {
            return 0;
        }
        let digit = |b: &u8| u16::from(b - b'0');
        self.code = digit(hundreds) * 100 + digit(tens) * 10 + digit(units);
        self.bits |= version;
        self.state = State::ReasonPhrase;
        self.section_len = LEN;
        self.line_len = LEN;
        LEN as usize
    }

    /// Hops over lines. `from` is 0 at the start of a line, or where the reason phrase begins.
    #[inline(always)]
    fn lines(&mut self, input: &[u8], from: usize) -> usize {
        let taken_before = self.section_len as usize - from;
        let room = (self.head_limit() as usize).saturating_sub(taken_before);
        let line = scan::lines(self, input.get(..room).unwrap_or(input), from);
        if line == 0 {
            return from;
        }
        // A framing field is left to `head` where a fold may follow.
        self.field = Field::Other;
        self.section_len = (taken_before + line) as u32;
        self.line_len = 0;
        self.state = State::LineStart;
        line
    }

    /// The walk itself, to be compiled for each kind of processor. Returns where the last whole line ends.
    #[inline(always)]
    pub(super) fn walk(&mut self, input: &[u8], from: usize, block: impl Fn(&[u8; WIDTH]) -> Block) -> usize {
        if self.has(bits::WATCH) {
            self.walk_for::<true>(input, from, block)
        } else {
            self.walk_for::<false>(input, from, block)
        }
    }

    /// WATCH: rules or CGI look at more fields than framing does.
    #[inline(always)]
    fn walk_for<const WATCH: bool>(
        &mut self,
        input: &[u8],
        from: usize,
        block: impl Fn(&[u8; WIDTH]) -> Block,
    ) -> usize {
        let max_name = usize::from(self.max_name);
        let max_line = self.max_line as usize;
        let max_fields = self.max_fields;
        let mut fields = self.fields;
        // The start of the line being read, and its colon once that is known: 0 if not, and in the status line `from`.
        let mut line = 0usize;
        let mut colon = from;
        let mut field = Field::Other;
        let mut short = [0; WIDTH];
        let blocks = Blocks::of(input, &mut short);
        let mut ahead = blocks.known(0, &block);
        'blocks: for base in (0..input.len()).step_by(WIDTH) {
            let known = ahead;
            // One block ahead: where a line ends within a block is hard to predict, and a wrong guess would otherwise
            // wait for the next masks.
            ahead = blocks.known(base + WIDTH, &block);
            // What lies before the line being read is done with: at most the LF of the line before.
            let mut pos = line.saturating_sub(base);
            let mut control = known.control & u64::MAX << pos;
            loop {
                if colon == 0 {
                    let separators = known.not_token & u64::MAX << pos;
                    if separators == 0 {
                        break;
                    }
                    colon = base + separators.trailing_zeros() as usize;
                    // An empty name is the empty line, most of the time.
                    let Some(name @ [_, ..]) = input.get(line..colon) else { break 'blocks };
                    if input.get(colon) != Some(&b':') || name.len() > max_name || fields >= max_fields {
                        break 'blocks;
                    }
                    field = if WATCH { self.watched(name) } else { Field::of(name) };
                    fields += 1;
                }
                if control == 0 {
                    break;
                }
                let end = base + control.trailing_zeros() as usize;
                let next = end + 2;
                if input.get(end..next) != Some(b"\r\n") || end - line > max_line {
                    break 'blocks;
                }
                if field != Field::Other {
                    let folded = input.get(next).is_none_or(|&b| b == b' ' || b == b'\t');
                    if folded || WATCH && self.protocol == Protocol::Cgi {
                        break 'blocks;
                    }
                    if !self.take_value(field, input.get(colon + 1..end).unwrap_or_default()) {
                        break 'blocks;
                    }
                    field = Field::Other;
                }
                self.fields = fields;
                line = next;
                colon = 0;
                pos = next - base;
                if pos >= WIDTH {
                    break;
                }
                // The CR and the LF.
                control &= control - 1;
                control &= control.wrapping_sub(1);
            }
        }
        line
    }

    /// The usual values of the fields that matter. False for any other: `head` reads it to the letter.
    fn take_value(&mut self, field: Field, value: &[u8]) -> bool {
        let value = trim(value);
        match field {
            Field::Other => {}
            Field::ContentLength => {
                let Some(length) = usual_length(value) else { return false };
                if self.has(TAKEN) {
                    return false;
                }
                self.content_length = length;
                self.bits |= bits::LENGTH;
            }
            Field::TransferEncoding => {
                if self.has(TAKEN) || !value.eq_ignore_ascii_case(b"chunked") {
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
            Field::Codings | Field::ContentType | Field::Location | Field::Status => return false,
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
