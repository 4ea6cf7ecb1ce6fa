//! Responses that come as lists of fields and runs of data: HTTP/2, HTTP/3, CGI, or a host that parses for itself.
//!
//! A list is a head, an interim head or the trailers, in the order of calls; the framing fields go through the same
//! machine as bytes do. What only these protocols forbid is judged here: pseudo-fields other than one `:status`, names
//! in upper case, fields of the connection, 101, content beside a length that it does not have. Frames, HPACK and the
//! end of the stream are the host's. Linear in the bytes of the list. Source: RFC 9113, section 8; RFC 9114, section 4.

use super::bytes::{is_ows, is_text, is_token};
use super::value::{Field, is_barred_from_trailers};
use super::{Event, FieldLine, Framing, Protocol, Reason, State, Validator, Verdict, bits, tolerance};

/// A refusal, and the byte of the field that it is about: its name's come first, then its value's.
type Refused = (Reason, usize);

/// What a field counts beyond its name and value: RFC 9113, section 6.5.2.
const FIELD_OVERHEAD: usize = 32;

impl Validator<'_> {
    /// Judges the next list. `consumed` of the verdict counts fields; if one is refused, it is that field's index.
    pub fn fields<'f>(&mut self, lines: impl IntoIterator<Item = FieldLine<'f>>) -> Verdict {
        if self.state == State::Rejected {
            return self.verdict(Event::Reject, 0, 0);
        }
        let resume = self.state;
        self.here = self.base;
        let trailers = self.framing != Framing::Unknown;
        if trailers {
            if self.has(bits::TRAILER) || self.framing == Framing::Tunnel {
                return self.rejected((Reason::FRAME_OUT_OF_PLACE, 0), 0);
            }
            self.begin_trailer();
        }
        let mut taken = 0;
        for line in lines {
            if let Err(refused) = self.list_field(&line) {
                return self.rejected(refused, taken);
            }
            self.base = self.base.saturating_add((line.name.len() + line.value.len()) as u64);
            taken += 1;
        }
        self.here = self.base;
        let event = if trailers {
            self.state = resume;
            Ok(Event::NeedMore)
        } else if self.code == 0 && self.protocol != Protocol::Cgi {
            Err(Reason::STATUS_MISSING)
        } else {
            self.end_head()
        };
        let event = match event {
            Ok(event) => event,
            Err(reason) => return self.rejected((reason, 0), taken),
        };
        // The host takes chunked coding off by itself.
        if self.state == State::ChunkSize {
            self.state = State::UntilClose;
        }
        let mut verdict = self.verdict(event, 0, 0);
        verdict.consumed = taken;
        if event == Event::Interim {
            self.begin_head();
        }
        verdict
    }

    /// Judges the next `len` bytes of content, which `shown` holds if the host has them at hand.
    pub fn data(&mut self, len: u64, shown: Option<&[u8]>) -> Verdict {
        if self.state == State::Rejected {
            return self.verdict(Event::Reject, 0, 0);
        }
        self.here = self.base;
        match self.take_data(len, shown) {
            Ok(()) => {
                self.base = self.base.saturating_add(len);
                self.verdict(Event::NeedMore, 0, 0)
            }
            Err((reason, at)) => self.rejected((reason, at), 0),
        }
    }

    fn take_data(&mut self, len: u64, shown: Option<&[u8]>) -> Result<(), Refused> {
        if self.framing == Framing::Unknown || self.has(bits::TRAILER) {
            return Err((Reason::FRAME_OUT_OF_PLACE, 0));
        }
        let room = match self.framing {
            Framing::Length => self.remaining,
            Framing::Close | Framing::Chunked => self.max_body.saturating_sub(self.body),
            _ => u64::MAX,
        };
        if len > 0 && self.framing == Framing::None {
            return self.tolerate(tolerance::CONTENT, Reason::CONTENT_NOT_ALLOWED).map_err(|reason| (reason, 0));
        }
        if len > room {
            let at = usize::try_from(room).unwrap_or(usize::MAX);
            if self.framing == Framing::Length {
                return Err((Reason::BODY_BEYOND_LENGTH, at));
            }
            self.too_large().map_err(|reason| (reason, at))?;
        }
        match shown {
            Some(mut rest) if self.has(bits::INSPECT) => {
                let whole = rest.len();
                while !rest.is_empty() {
                    let taken = self.inspect(rest).map_err(|reason| (reason, whole - rest.len()))?;
                    self.body = self.body.saturating_add(taken as u64);
                    rest = rest.get(taken..).unwrap_or_default();
                }
            }
            _ => {
                self.bits &= !bits::INSPECT;
                self.body = self.body.saturating_add(len);
            }
        }
        if self.framing == Framing::Length {
            self.remaining -= len;
            self.state = if self.remaining == 0 { State::Done } else { State::Length };
        }
        Ok(())
    }

    fn rejected(&mut self, (reason, at): Refused, taken: usize) -> Verdict {
        self.refuse(reason);
        self.base = self.base.saturating_add(at as u64);
        let mut verdict = self.verdict(Event::Reject, 0, 0);
        verdict.consumed = taken;
        verdict
    }

    fn list_field(&mut self, line: &FieldLine<'_>) -> Result<(), Refused> {
        let &FieldLine { name, value } = line;
        let strict = matches!(self.protocol, Protocol::Http2 | Protocol::Http3);
        let trailer = self.has(bits::TRAILER);
        self.list_limits(name.len(), value.len()).map_err(|reason| (reason, 0))?;
        if let Some(pseudo) = name.strip_prefix(b":").filter(|_| self.protocol != Protocol::Cgi) {
            return self.pseudo_field(pseudo, value);
        }
        self.bits |= bits::REGULAR;
        self.word_len = 0;
        for (i, &b) in name.iter().enumerate() {
            let reason = match b {
                b'A'..=b'Z' if strict => Reason::FIELD_NAME_UPPERCASE,
                _ if is_token(b) => {
                    self.push(b);
                    continue;
                }
                _ => Reason::FIELD_NAME_CHARACTER,
            };
            return Err((reason, i));
        }
        if name.is_empty() {
            return Err((Reason::FIELD_NAME_EMPTY, 0));
        }
        let field = if self.has(bits::WATCH) { self.watched(name) } else { Field::of(name) };
        if strict && (field.is_of_connection() || self.is_named(b"te")) {
            return Err((Reason::CONNECTION_FIELD, 0));
        }
        match (value.first(), value.last()) {
            (Some(&b), _) if strict && is_ows(b) => return Err((Reason::FIELD_VALUE_SPACE, name.len())),
            (_, Some(&b)) if strict && is_ows(b) => {
                return Err((Reason::FIELD_VALUE_SPACE, name.len() + value.len() - 1));
            }
            _ => {}
        }
        self.field = Field::Other;
        if trailer {
            self.normalise_if(is_barred_from_trailers(&name.to_ascii_lowercase()));
        } else {
            self.field = field;
            self.value_begin().map_err(|reason| (reason, 0))?;
        }
        for (i, &b) in value.iter().enumerate() {
            let at = name.len() + i;
            self.here = self.base.saturating_add(at as u64);
            let read = match b {
                // Nothing lets these through: whoever writes this field in HTTP/1 would write another one.
                b'\r' | b'\n' => Err(Reason::FIELD_VALUE_CHARACTER),
                _ if !is_text(b) => {
                    self.tolerate(Self::control(b, tolerance::VALUE_CONTROLS), Reason::FIELD_VALUE_CHARACTER)
                }
                _ => Ok(()),
            };
            read.and_then(|()| self.value_byte(b)).map_err(|reason| (reason, at))?;
        }
        self.value_end().map_err(|reason| (reason, name.len() + value.len()))
    }

    fn list_limits(&mut self, name: usize, value: usize) -> Result<(), Reason> {
        self.here = self.base;
        let trailer = self.has(bits::TRAILER);
        let either = |head: Reason, trailers: Reason| if trailer { trailers } else { head };
        let size = u32::try_from(name + value + FIELD_OVERHEAD).unwrap_or(u32::MAX);
        self.section_len = self.section_len.saturating_add(size);
        self.fields = self.fields.saturating_add(1);
        if self.section_len > if trailer { self.max_trailer } else { self.head_limit() } {
            self.tolerate(tolerance::REST, either(Reason::HEAD_TOO_LARGE, Reason::TRAILER_TOO_LARGE))?;
        }
        if self.fields > if trailer { self.max_trailers } else { self.max_fields } {
            self.tolerate(tolerance::REST, either(Reason::TOO_MANY_FIELDS, Reason::TOO_MANY_TRAILERS))?;
        }
        if name > usize::from(self.max_name) {
            self.tolerate(tolerance::REST, either(Reason::FIELD_NAME_TOO_LONG, Reason::TRAILER_NAME_TOO_LONG))?;
        }
        if name + value > self.max_line as usize {
            self.tolerate(tolerance::REST, either(Reason::LINE_TOO_LONG, Reason::TRAILER_LINE_TOO_LONG))?;
        }
        Ok(())
    }

    /// `:status`, exactly once, before every other field.
    fn pseudo_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refused> {
        let refused = |reason| Err((reason, 0));
        if self.has(bits::TRAILER) {
            return refused(Reason::PSEUDO_FIELD_IN_TRAILER);
        }
        if name != b"status" {
            return refused(Reason::PSEUDO_FIELD_UNKNOWN);
        }
        if self.code != 0 {
            return refused(Reason::PSEUDO_FIELD_REPEATED);
        }
        if self.has(bits::REGULAR) {
            return refused(Reason::PSEUDO_FIELD_LATE);
        }
        let at = b":status".len();
        if value.len() != 3 || !value.iter().all(u8::is_ascii_digit) {
            return Err((Reason::STATUS_MALFORMED, at));
        }
        self.code = value.iter().fold(0, |code, b| code * 10 + u16::from(b - b'0'));
        match self.code {
            ..=99 => return Err((Reason::STATUS_OUT_OF_RANGE, at)),
            101 if self.protocol != Protocol::Http1 => return Err((Reason::UPGRADE_OVER_STREAM, at)),
            600.. => self.tolerate(tolerance::STATUS_RANGE, Reason::STATUS_OUT_OF_RANGE).map_err(|r| (r, at))?,
            _ => {}
        }
        self.code_known().map_err(|reason| (reason, at))
    }
}
