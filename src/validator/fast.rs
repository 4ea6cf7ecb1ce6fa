//! Whole lines of a head at once, where they lie in the input: the usual case, at a fraction of the cost.
//!
//! It only ever accepts. A line that is not whole, breaks a rule, passes a limit or is merely rare (a lone LF, a
//! repeated framing field) is left untouched for `head`, which judges it byte by byte; then this path goes on behind
//! it. So both are exchangeable at every line, and the tests exchange them. Cost: two masks a block of 64 bytes
//! (`scan`), and two hops a line. A line that the masks cut off, or that is left to `head`, is scanned once more; a
//! line longer than all masks is left to `head` too, so the whole stays linear.

use super::bytes::trim;
use super::scan::{self, Block, Line, Lines, Masks, SPAN, WIDTH};
use super::value::{Field, is_keep_alive};
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
        // No line that the masks hold is longer than they, so that its length needs no check below.
        if input.len() < LEAST || self.max_line < SPAN as u32 {
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
        if self.max_head < LEN || self.method == Method::Connect {
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
        let mut masks = Masks::NONE;
        let mut lines = masks.read(input, &block);
        let mut taken = 0;
        if from > 0 {
            let Some(end) = lines.text(from) else { return 0 };
            taken = end + 2;
        }
        let (mut part, mut line) = (input, taken);
        loop {
            line = self.hop::<WATCH>(part, &lines, line);
            // Where the masks end, the line that they cut off begins the next ones.
            if part.len() <= SPAN || line == 0 {
                return input.len() - part.len() + line;
            }
            part = part.get(line..).unwrap_or_default();
            lines = masks.read(part, &block);
            line = 0;
        }
    }

    /// From line to line; returns where the last whole one ends.
    #[inline(always)]
    fn hop<const WATCH: bool>(&mut self, input: &[u8], lines: &Lines<'_>, mut at: usize) -> usize {
        let max_name = usize::from(self.max_name);
        let max_fields = self.max_fields;
        let mut fields = self.fields;
        while let Some(line) = lines.line(at) {
            let len = line.colon - at;
            if len > max_name || fields >= max_fields {
                break;
            }
            let matters = WATCH || Field::may_matter(line.initial, len);
            if matters && !self.take_line::<WATCH>(input, at, &line) {
                break;
            }
            fields += 1;
            at = line.end + 2;
        }
        self.fields = fields;
        at
    }

    /// A line whose field may matter; false leaves it to `head`, as a framing field is where a fold may follow.
    #[inline(always)]
    fn take_line<const WATCH: bool>(&mut self, input: &[u8], at: usize, line: &Line) -> bool {
        let name = input.get(at..line.colon).unwrap_or_default();
        let field = if WATCH { self.watched(name) } else { Field::of(name) };
        if field == Field::Other {
            return true;
        }
        let folded = input.get(line.end + 2).is_none_or(|&b| b == b' ' || b == b'\t');
        if folded || WATCH && self.protocol == Protocol::Cgi {
            return false;
        }
        self.take_value(field, input.get(line.colon + 1..line.end).unwrap_or_default())
    }

    /// The usual values of the fields that matter. False for any other: `head` reads it to the letter.
    #[inline(never)]
    fn take_value(&mut self, field: Field, value: &[u8]) -> bool {
        // One space and no more, most of the time.
        let value = match value {
            [b' ', usual @ ..] if !matches!(usual, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) => usual,
            other => trim(other),
        };
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
                    10 if is_keep_alive(value) => bits::KEEP_ALIVE,
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
