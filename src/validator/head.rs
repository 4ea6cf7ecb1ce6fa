//! Status lines, field lines and trailers, byte by byte, and what follows from a head that has ended.
//!
//! This is the reference: it judges every byte by itself, in any cut, and it alone rejects. `fast` only takes whole
//! lines off its hands. A lone LF is accepted as a line end in a head and after a trailer field (RFC 9112,
//! section 2.2) and marks the response NORMALISE; chunk framing has no such allowance. Cost: a few steps a byte.

use super::bytes::{CR, LF, is_ows, is_text, is_token};
use super::scan;
use super::value::Field;
use super::{Event, Framing, Method, Reason, State, Step, Validator, WORD, bits};

/// Longest field name.
pub(super) const MAX_NAME: u16 = 256;
/// Most trailer fields.
const MAX_TRAILERS: u32 = 64;
/// Most bytes of interim responses in all.
const MAX_INTERIM_LEN: u32 = 65536;

impl Validator {
    /// Reads on in a head or a trailer section.
    #[inline]
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

    /// Takes the CR LF that ends a head, if both are there and within the limits.
    #[inline]
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
                    b'0' => bits::HTTP_1_0,
                    b'1' => 0,
                    _ => bits::NORMALISE,
                };
                self.state = State::SpaceAfterVersion;
            }
            State::SpaceAfterVersion => match b {
                b' ' => self.state = State::Hundreds,
                CR | LF | b'\t' => return Err(Reason::STATUS_MALFORMED),
                _ => return Err(Reason::VERSION_MALFORMED),
            },
            State::Hundreds => match b {
                b'1'..=b'5' => self.code_digit(b, State::Tens),
                b'0' | b'6'..=b'9' => return Err(Reason::STATUS_OUT_OF_RANGE),
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
                _ => return Err(Reason::STATUS_MALFORMED),
            },
            State::ReasonPhrase => match b {
                CR | LF => self.end_line(b),
                _ if is_text(b) => {}
                _ => return Err(Reason::REASON_PHRASE_CHARACTER),
            },
            State::LineFeed if b == LF => self.end_line(b),
            State::LineStart => return self.line_start(b),
            State::Name => self.name_byte(b)?,
            State::Value => match b {
                CR | LF => {
                    self.value_end()?;
                    if b == LF {
                        self.bits |= bits::NORMALISE;
                    }
                    self.end_line(b);
                }
                _ if is_text(b) => self.value_byte(b)?,
                _ => return Err(Reason::FIELD_VALUE_CHARACTER),
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
            return Err(if trailer { Reason::TRAILER_TOO_LARGE } else { Reason::HEAD_TOO_LARGE });
        }
        if self.has(bits::INTERIM) && self.section_len > self.interim_room() {
            return Err(Reason::INTERIM_TOO_LARGE);
        }
        if b != CR && b != LF {
            self.line_len = self.line_len.saturating_add(1);
            if self.line_len > self.max_line {
                return Err(if trailer { Reason::TRAILER_LINE_TOO_LONG } else { Reason::LINE_TOO_LONG });
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
        Err(match (step, b) {
            (0, CR | LF) => Reason::EMPTY_LINE_BEFORE_STATUS,
            (0..=4, _) => Reason::STATUS_LINE_MISSING,
            (5, b'0'..=b'9') => Reason::VERSION_UNSUPPORTED,
            _ => Reason::VERSION_MALFORMED,
        })
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
                    return Err(Reason::TOO_MANY_INTERIM);
                }
            }
            200..=299 if self.method == Method::Connect => self.bits |= bits::UNFRAMED,
            _ => {}
        }
        Ok(())
    }

    fn end_line(&mut self, b: u8) {
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

    fn line_start(&mut self, b: u8) -> Result<bool, Reason> {
        let trailer = self.has(bits::TRAILER);
        match b {
            CR => {
                self.state = State::LastLineFeed;
                Ok(false)
            }
            // The line behind the trailers is chunk framing, not a field line.
            LF if trailer => Err(Reason::CHUNK_LINE_END),
            LF => {
                self.bits |= bits::NORMALISE;
                Ok(true)
            }
            b' ' | b'\t' if self.fields == 0 && !trailer => Err(Reason::SPACE_BEFORE_FIRST_FIELD),
            b' ' | b'\t' => Err(Reason::LINE_FOLDED),
            b':' => Err(Reason::FIELD_NAME_EMPTY),
            _ if !is_token(b) => Err(Reason::FIELD_NAME_CHARACTER),
            _ if trailer && self.fields >= MAX_TRAILERS => Err(Reason::TOO_MANY_TRAILERS),
            _ if !trailer && self.fields >= self.max_fields => Err(Reason::TOO_MANY_FIELDS),
            _ => {
                self.fields += 1;
                self.state = State::Name;
                self.word_len = 0;
                self.push(b);
                Ok(false)
            }
        }
    }

    fn name_byte(&mut self, b: u8) -> Result<(), Reason> {
        let trailer = self.has(bits::TRAILER);
        match b {
            b':' => {
                self.state = State::Value;
                self.field = Field::Other;
                let Some(name) = self.word.get(..usize::from(self.word_len)) else {
                    return Ok(());
                };
                if !trailer {
                    self.field = Field::of(name);
                    return self.value_begin();
                }
                if super::value::is_barred_from_trailers(name) {
                    self.bits |= bits::NORMALISE;
                }
                Ok(())
            }
            _ if is_ows(b) => Err(Reason::SPACE_BEFORE_COLON),
            CR | LF => Err(Reason::COLON_MISSING),
            _ if !is_token(b) => Err(Reason::FIELD_NAME_CHARACTER),
            _ if self.word_len >= MAX_NAME => {
                Err(if trailer { Reason::TRAILER_NAME_TOO_LONG } else { Reason::FIELD_NAME_TOO_LONG })
            }
            _ => {
                self.push(b);
                Ok(())
            }
        }
    }

    /// Adds a byte to the word being read, in lower case.
    pub(super) fn push(&mut self, b: u8) {
        if let Some(slot) = self.word.get_mut(usize::from(self.word_len)) {
            *slot = b.to_ascii_lowercase();
        }
        self.word_len = self.word_len.saturating_add(1);
    }

    /// The framing of RFC 9112, section 6.3, in its order.
    #[inline]
    pub(super) fn end_head(&mut self) -> Result<Event, Reason> {
        let framed = self.has(bits::LENGTH) || self.has(bits::CHUNKED);
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
        } else if self.has(bits::LENGTH) {
            if self.content_length > self.max_body {
                return Err(Reason::BODY_TOO_LARGE);
            }
            self.remaining = self.content_length;
            (Framing::Length, if self.remaining == 0 { State::Done } else { State::Length })
        } else {
            (Framing::Close, State::UntilClose)
        };
        self.framing = framing;
        self.status = self.code;
        self.state = state;
        Ok(Event::Head)
    }

    fn normalise_if(&mut self, condition: bool) {
        if condition {
            self.bits |= bits::NORMALISE;
        }
    }

    /// Expects the next head, after an interim one.
    pub(super) fn begin_head(&mut self) {
        self.bits &= !bits::PER_HEAD;
        self.begin_section(State::Protocol);
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
        self.state = state;
    }
}

const _: () = assert!(WORD < MAX_NAME as usize);
