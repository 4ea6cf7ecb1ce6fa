//! Status lines and sections of lines, byte by byte, and what follows from a head that has ended.
//!
//! This is the reference: it judges every byte by itself, in any cut, and it alone rejects. `fast` only takes whole
//! lines off its hands; `line` has what lies between two line ends. A lone LF is accepted as a line end in a head and after a trailer field (RFC 9112,
//! section 2.2) and marks the response NORMALISE; chunk framing has no such allowance. Cost: a few steps a byte.

use super::bytes::{CR, LF, is_text, is_token};
use super::scan;
use super::value::Field;
use super::{Event, Framing, Method, Protocol, Reason, State, Step, Validator, bits, tolerance};

/// The first byte of the records that a TLS server answers a plain request with.
const TLS_ALERT: u8 = 0x15;
const TLS_HANDSHAKE: u8 = 0x16;
/// Most bytes of interim responses in all.
const MAX_INTERIM_LEN: u32 = 65536;

impl Validator<'_> {
    /// Reads on in a head or a trailer section.
    #[inline(always)]
    pub(super) fn section(&mut self, input: &[u8], at: &mut usize) -> Result<Step, Reason> {
        if !self.has(bits::TRAILER) {
            let rest = input.get(*at..).unwrap_or_default();
            *at += self.whole_lines(rest);
            if self.take_empty_line(input.get(*at..).unwrap_or_default()) {
                *at += 2;
                return Ok(Step::SectionEnd);
            }
        }
        self.section_bytes(input, at)
    }

    /// The same, byte by byte, to the end of the line.
    #[inline(never)]
    fn section_bytes(&mut self, input: &[u8], at: &mut usize) -> Result<Step, Reason> {
        loop {
            if self.state == State::Value && self.field == Field::Other {
                *at += self.plain_value(input.get(*at..).unwrap_or_default());
            }
            let Some(&b) = input.get(*at) else { return Ok(Step::More) };
            self.here = self.base.saturating_add(*at as u64);
            let ended = self.section_byte(b)?;
            *at += 1;
            if ended {
                return Ok(Step::SectionEnd);
            }
            if self.state == State::LineStart {
                return Ok(Step::On);
            }
        }
    }

    /// Takes an input of one byte, if that lies within a name or a value that nobody looks at, and within the limits.
    #[inline(always)]
    pub(super) fn plain_byte(&mut self, input: &[u8]) -> bool {
        let &[b] = input else { return false };
        if self.has(bits::TRAILER | bits::INTERIM)
            || self.section_len >= self.max_head
            || self.line_len >= self.max_line
        {
            return false;
        }
        if self.state == State::Name {
            if !is_token(b) || self.word_len >= self.max_name {
                return false;
            }
            self.push(b);
        } else if self.field != Field::Other || !is_text(b) {
            return false;
        }
        self.section_len += 1;
        self.line_len += 1;
        true
    }

    /// Takes the CR LF that ends a head, if both are there and within the limits.
    #[inline(always)]
    fn take_empty_line(&mut self, input: &[u8]) -> bool {
        let limit = self.head_limit();
        let ends =
            self.state == State::LineStart && input.starts_with(b"\r\n") && limit.saturating_sub(self.section_len) >= 2;
        if ends {
            self.section_len += 2;
        }
        ends
    }

    /// Takes what the limits allow of a value that nobody looks at, up to the first control character.
    fn plain_value(&mut self, input: &[u8]) -> usize {
        let limit = if self.has(bits::TRAILER) { self.max_trailer } else { self.head_limit() };
        let room = limit.saturating_sub(self.section_len).min(self.max_line.saturating_sub(self.line_len));
        let len = scan::text_run(input.get(..room as usize).unwrap_or(input));
        self.section_len += len as u32;
        self.line_len += len as u32;
        len
    }

    /// Takes one byte; true if it ends the section.
    fn section_byte(&mut self, b: u8) -> Result<bool, Reason> {
        self.count(b)?;
        match self.state {
            State::Protocol => self.protocol(b)?,
            State::Minor => {
                if !b.is_ascii_digit() {
                    return Err(Reason::VERSION_MALFORMED);
                }
                // A higher minor version is to be treated as the highest one known: RFC 9110, section 2.5.
                self.bits |= match b {
                    _ if self.has(bits::OTHER_MAJOR) => 0,
                    b'0' => bits::HTTP_1_0,
                    b'1' => 0,
                    _ => bits::NORMALISE,
                };
                self.state = State::SpaceAfterVersion;
            }
            State::SpaceAfterVersion => match b {
                b' ' => self.state = State::Hundreds,
                b'\t' => {
                    self.tolerate(tolerance::STATUS_SPACE, Reason::STATUS_MALFORMED)?;
                    self.state = State::Hundreds;
                }
                CR | LF => return Err(Reason::STATUS_MALFORMED),
                _ => return Err(Reason::VERSION_MALFORMED),
            },
            State::Hundreds => match b {
                b'1'..=b'5' => self.code_digit(b, State::Tens),
                b'6'..=b'9' => {
                    self.tolerate(tolerance::STATUS_RANGE, Reason::STATUS_OUT_OF_RANGE)?;
                    self.code_digit(b, State::Tens);
                }
                b'0' => return Err(Reason::STATUS_OUT_OF_RANGE),
                b' ' | b'\t' => self.tolerate(tolerance::STATUS_SPACE, Reason::STATUS_MALFORMED)?,
                _ => return Err(Reason::STATUS_MALFORMED),
            },
            State::Tens if b.is_ascii_digit() => self.code_digit(b, State::Units),
            State::Units if b.is_ascii_digit() => {
                self.code_digit(b, State::AfterStatus);
                self.code_known()?;
            }
            State::AfterStatus => match b {
                b' ' => self.state = State::ReasonPhrase,
                CR | LF => {
                    self.bits |= bits::NORMALISE;
                    self.end_line(b);
                }
                b'.' => {
                    self.tolerate(tolerance::SUBSTATUS, Reason::STATUS_MALFORMED)?;
                    self.state = State::ReasonPhrase;
                }
                _ => return Err(Reason::STATUS_MALFORMED),
            },
            State::ReasonPhrase => match b {
                CR | LF => self.end_line(b),
                _ if is_text(b) => {}
                _ => {
                    let needed = Self::control(b, tolerance::REASON_CONTROLS);
                    self.tolerate(needed, Reason::REASON_PHRASE_CHARACTER)?;
                }
            },
            State::LineFeed if b == LF => self.end_line(b),
            State::LineStart => return self.line_start(b),
            State::Name => self.name_byte(b)?,
            State::AfterName => self.after_name(b)?,
            State::NoField => self.no_field_byte(b)?,
            State::Value => match b {
                CR | LF => {
                    self.value_end()?;
                    if b == LF {
                        self.bits |= bits::NORMALISE;
                    }
                    self.end_line(b);
                }
                _ if is_text(b) => self.value_byte(b)?,
                _ => {
                    self.tolerate(Self::control(b, tolerance::VALUE_CONTROLS), Reason::FIELD_VALUE_CHARACTER)?;
                    self.value_byte(b)?;
                }
            },
            State::LastLineFeed if b == LF => return Ok(true),
            State::LineFeed | State::LastLineFeed => return Err(Reason::BARE_CR),
            _ => return Err(Reason::STATUS_MALFORMED),
        }
        Ok(false)
    }

    /// The limits come first: a byte that is too many is refused whatever it is.
    #[inline]
    fn count(&mut self, b: u8) -> Result<(), Reason> {
        let trailer = self.has(bits::TRAILER);
        self.section_len = self.section_len.saturating_add(1);
        if self.section_len > if trailer { self.max_trailer } else { self.max_head } {
            let reason = if trailer { Reason::TRAILER_TOO_LARGE } else { Reason::HEAD_TOO_LARGE };
            self.tolerate(tolerance::REST, reason)?;
        }
        if self.has(bits::INTERIM) && self.section_len > self.interim_room() {
            self.tolerate(tolerance::REST, Reason::INTERIM_TOO_LARGE)?;
        }
        if b != CR && b != LF {
            self.line_len = self.line_len.saturating_add(1);
            if self.line_len > self.max_line {
                let reason = if trailer { Reason::TRAILER_LINE_TOO_LONG } else { Reason::LINE_TOO_LONG };
                self.tolerate(tolerance::REST, reason)?;
            }
        }
        Ok(())
    }

    /// Most bytes of the head being read.
    #[inline]
    pub(super) fn head_limit(&self) -> u32 {
        if self.has(bits::INTERIM) { self.max_head.min(self.interim_room()) } else { self.max_head }
    }

    /// Bytes that the interim responses before this one have left over.
    fn interim_room(&self) -> u32 {
        MAX_INTERIM_LEN.saturating_sub(self.interim_len)
    }

    fn protocol(&mut self, b: u8) -> Result<(), Reason> {
        let step = self.value_state;
        if b"HTTP/1.".get(step as usize) == Some(&b) {
            self.value_state = step + 1;
            if step == 6 {
                self.state = State::Minor;
            }
            return Ok(());
        }
        match (step, b) {
            (0, CR | LF) => self.tolerate(tolerance::EMPTY_LINES, Reason::EMPTY_LINE_BEFORE_STATUS),
            (0, TLS_ALERT | TLS_HANDSHAKE) => Err(Reason::TLS_RECORD),
            (0..=4, _) => Err(Reason::STATUS_LINE_MISSING),
            (5, b'2'..=b'9') => {
                self.tolerate(tolerance::VERSION, Reason::VERSION_UNSUPPORTED)?;
                self.bits |= bits::OTHER_MAJOR;
                self.value_state = step + 1;
                Ok(())
            }
            (5, b'0') => Err(Reason::VERSION_UNSUPPORTED),
            _ => Err(Reason::VERSION_MALFORMED),
        }
    }

    #[inline]
    fn code_digit(&mut self, b: u8, next: State) {
        self.code = self.code.saturating_mul(10).saturating_add(u16::from(b - b'0'));
        self.state = next;
    }

    /// What the status alone decides.
    #[inline]
    pub(super) fn code_known(&mut self) -> Result<(), Reason> {
        match self.code {
            101 if self.offered_len == 0 => return Err(Reason::UPGRADE_NOT_REQUESTED),
            101 if self.has(bits::HTTP_1_0) => return Err(Reason::UPGRADE_VERSION),
            101 => {}
            100..=199 => {
                self.bits |= bits::INTERIM;
                if self.interim >= self.max_interim {
                    self.tolerate(tolerance::REST, Reason::TOO_MANY_INTERIM)?;
                }
            }
            200..=299 if self.method == Method::Connect => self.bits |= bits::UNFRAMED,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn end_line(&mut self, b: u8) {
        if b == CR {
            self.state = State::LineFeed;
            return;
        }
        if self.state == State::ReasonPhrase {
            self.bits |= bits::NORMALISE;
        }
        self.state = State::LineStart;
        self.line_len = 0;
    }

    /// The framing of RFC 9112, section 6.3, in its order.
    #[inline]
    pub(super) fn end_head(&mut self) -> Result<Event, Reason> {
        if self.protocol == Protocol::Cgi {
            self.cgi_status()?;
        }
        let framed = self.has(bits::LENGTH | bits::CHUNKED | bits::CODED);
        if self.has(bits::INTERIM) {
            self.interim += 1;
            self.interim_len = self.interim_len.saturating_add(self.section_len);
            // An interim response has no framing fields (RFC 9110, section 8.6), and HTTP/1.0 has no interim responses.
            self.normalise_if(framed || self.has(bits::HTTP_1_0));
            self.status = self.code;
            return Ok(Event::Interim);
        }
        let (framing, state) = if self.code == 101 {
            if !self.has(bits::UPGRADED) {
                return Err(Reason::UPGRADE_MISSING);
            }
            if !self.has(bits::UPGRADE) {
                return Err(Reason::UPGRADE_UNCONFIRMED);
            }
            self.normalise_if(framed);
            (Framing::Tunnel, State::Tunnel)
        } else if self.has(bits::UNFRAMED) {
            (Framing::Tunnel, State::Tunnel)
        } else if self.method == Method::Head || matches!(self.code, 204 | 304) {
            self.normalise_if(framed && self.code == 204 || self.has(bits::CHUNKED) && self.has(bits::HTTP_1_0));
            (Framing::None, State::Done)
        } else if self.has(bits::CHUNKED) {
            self.normalise_if(self.has(bits::HTTP_1_0));
            self.begin_chunk();
            (Framing::Chunked, State::ChunkSize)
        } else if self.has(bits::CODED) {
            (Framing::Close, State::UntilClose)
        } else if self.has(bits::LENGTH) {
            if self.content_length > self.max_body {
                self.tolerate(tolerance::REST, Reason::BODY_TOO_LARGE)?;
            }
            self.remaining = self.content_length;
            (Framing::Length, if self.remaining == 0 { State::Done } else { State::Length })
        } else {
            (Framing::Close, State::UntilClose)
        };
        self.framing = framing;
        self.status = self.code;
        self.state = state;
        if self.rules.is_some() {
            self.expect_head()?;
        }
        Ok(Event::Head)
    }

    pub(super) fn normalise_if(&mut self, condition: bool) {
        if condition {
            self.bits |= bits::NORMALISE;
        }
    }

    /// Expects the next head, after an interim one.
    pub(super) fn begin_head(&mut self) {
        self.bits &= !bits::PER_HEAD;
        self.fields_seen = 0;
        self.begin_section(if self.protocol == Protocol::Cgi { State::LineStart } else { State::Protocol });
        self.code = 0;
        self.value_state = 0;
    }

    /// Expects the trailer section.
    pub(super) fn begin_trailer(&mut self) {
        self.bits |= bits::TRAILER;
        self.begin_section(State::LineStart);
    }

    fn begin_section(&mut self, state: State) {
        self.section_len = 0;
        self.line_len = 0;
        self.fields = 0;
        // A fold at its start must not depend on what the section before ended with.
        self.field = Field::Other;
        self.state = state;
    }
}
