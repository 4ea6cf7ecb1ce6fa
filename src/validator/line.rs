//! Field lines, byte by byte: where they begin, their names, and lines that are none.
//!
//! Names are kept in lower case up to `WORD` bytes, which is longer than any that matters. What a policy tolerates
//! here never lets a framing field change its meaning: a fold or white space at one is refused under every policy, and
//! a line that is no field is dropped as a whole. A step a byte. Source: RFC 9112, section 5.

use super::bytes::{CR, LF, is_ows, is_token};
use super::value::Field;
use super::{Protocol, Reason, State, Validator, bits, tolerance};

impl Validator<'_> {
    /// The first byte of a line; true if it ends the section.
    pub(super) fn line_start(&mut self, b: u8) -> Result<bool, Reason> {
        let trailer = self.has(bits::TRAILER);
        match b {
            CR => {
                self.state = State::LastLineFeed;
                return Ok(false);
            }
            // The line behind the trailers is chunk framing, not a field line.
            LF if trailer => {
                self.tolerate(tolerance::CHUNK_LF, Reason::CHUNK_LINE_END)?;
                return Ok(true);
            }
            LF => {
                self.bits |= bits::NORMALISE;
                return Ok(true);
            }
            b' ' | b'\t' if self.fields == 0 && !trailer => self.no_field(Reason::SPACE_BEFORE_FIRST_FIELD)?,
            b' ' | b'\t' => self.fold()?,
            b':' => self.no_field(Reason::FIELD_NAME_EMPTY)?,
            _ if !is_token(b) => self.no_field(Reason::FIELD_NAME_CHARACTER)?,
            _ => self.state = State::Name,
        }
        if b == b' ' || b == b'\t' {
            return Ok(false);
        }
        if trailer && self.fields >= self.max_trailers {
            self.tolerate(tolerance::REST, Reason::TOO_MANY_TRAILERS)?;
        }
        if !trailer && self.fields >= self.max_fields {
            self.tolerate(tolerance::REST, Reason::TOO_MANY_FIELDS)?;
        }
        self.fields = self.fields.saturating_add(1);
        self.word_len = 0;
        self.push(b);
        Ok(false)
    }

    /// White space at the start of a line that follows a field.
    fn fold(&mut self) -> Result<(), Reason> {
        match self.field {
            Field::Other | Field::HopByHop | Field::Location | Field::ContentType | Field::Connection => {}
            _ => return Err(Reason::LINE_FOLDED),
        }
        self.tolerate(tolerance::FOLDED, Reason::LINE_FOLDED)?;
        if self.field == Field::Connection {
            // What the rest of the list says is not read, so it may be "close".
            self.bits |= bits::CLOSE;
        }
        self.field = Field::Other;
        self.state = State::Value;
        Ok(())
    }

    /// A line that is no field.
    fn no_field(&mut self, reason: Reason) -> Result<(), Reason> {
        self.tolerate(tolerance::BAD_LINES, reason)?;
        self.field = Field::Other;
        self.state = State::NoField;
        Ok(())
    }

    pub(super) fn no_field_byte(&mut self, b: u8) -> Result<(), Reason> {
        match b {
            CR | LF => self.end_line(b),
            0 => self.tolerate(tolerance::BAD_LINES | tolerance::NUL, Reason::FIELD_VALUE_CHARACTER)?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn name_byte(&mut self, b: u8) -> Result<(), Reason> {
        match b {
            b':' => self.name_end(),
            _ if is_ows(b) => {
                if self.has(bits::TRAILER) || !self.named().is_framing() {
                    self.tolerate(tolerance::SPACE_BEFORE_COLON, Reason::SPACE_BEFORE_COLON)?;
                    self.state = State::AfterName;
                    return Ok(());
                }
                Err(Reason::SPACE_BEFORE_COLON)
            }
            CR | LF => {
                self.no_field(Reason::COLON_MISSING)?;
                self.end_line(b);
                Ok(())
            }
            b'/' if self.protocol == Protocol::Cgi && self.fields == 1 && self.is_named(b"http") => {
                self.cgi_status_line();
                Ok(())
            }
            _ if !is_token(b) => self.no_field(Reason::FIELD_NAME_CHARACTER),
            _ => {
                if self.word_len >= self.max_name {
                    let trailer = self.has(bits::TRAILER);
                    let reason = if trailer { Reason::TRAILER_NAME_TOO_LONG } else { Reason::FIELD_NAME_TOO_LONG };
                    self.tolerate(tolerance::REST, reason)?;
                }
                self.push(b);
                Ok(())
            }
        }
    }

    pub(super) fn after_name(&mut self, b: u8) -> Result<(), Reason> {
        match b {
            b':' => self.name_end(),
            _ if is_ows(b) => Ok(()),
            _ => {
                self.no_field(Reason::SPACE_BEFORE_COLON)?;
                self.no_field_byte(b)
            }
        }
    }

    /// The colon.
    fn name_end(&mut self) -> Result<(), Reason> {
        self.state = State::Value;
        self.field = Field::Other;
        if self.has(bits::TRAILER) {
            let barred = self.word.get(..usize::from(self.word_len)).is_some_and(super::value::is_barred_from_trailers);
            self.normalise_if(barred);
            return Ok(());
        }
        self.field = self.named();
        self.value_begin()
    }

    /// Which field the name that was read is.
    fn named(&mut self) -> Field {
        let word = self.word;
        match word.get(..usize::from(self.word_len)) {
            Some(name) if self.has(bits::WATCH) => self.watched(name),
            Some(name) => Field::of(name),
            None => Field::Other,
        }
    }

    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        self.word.get(..usize::from(self.word_len)) == Some(name)
    }

    /// Adds a byte to the word being read, in lower case.
    pub(super) fn push(&mut self, b: u8) {
        if let Some(slot) = self.word.get_mut(usize::from(self.word_len)) {
            *slot = b.to_ascii_lowercase();
        }
        self.word_len = self.word_len.saturating_add(1);
    }
}
