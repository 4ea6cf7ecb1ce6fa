//! Holding a response against the operator's rules, as it comes.
//!
//! Fields are noted while the head is read and judged at its end; a Content-Length says the size there too. Without
//! one, a body that is too large is refused at the chunk or byte that passes the limit, one that is too small at its
//! end, and a marker at the byte that completes it. So every verdict comes as early as it can be known. Nothing here
//! runs without rules. Cost: a comparison a rule and field; a step a marker and byte, within the markers' reach.

use super::bytes::is_ows;
use super::rules::Sight;
use super::value::{AFTER, BEFORE, Field, INSIDE};
use super::{Framing, Protocol, Reason, Step, Validator, bits, tolerance};

impl Validator<'_> {
    /// Which field this name is, where rules or CGI look at more than framing does.
    pub(super) fn watched(&mut self, name: &[u8]) -> Field {
        if let Some(rules) = self.rules {
            self.fields_seen |= rules.fields_named(name);
        }
        match Field::of(name) {
            Field::Other if name.eq_ignore_ascii_case(b"content-type") => Field::ContentType,
            Field::Other if self.protocol != Protocol::Cgi => Field::Other,
            Field::Other if name.eq_ignore_ascii_case(b"location") => Field::Location,
            Field::Other if name.eq_ignore_ascii_case(b"status") => Field::Status,
            field => field,
        }
    }

    /// Content-Type, up to its parameters.
    pub(super) fn type_byte(&mut self, b: u8) {
        match self.value_state {
            AFTER => {}
            BEFORE if is_ows(b) => {}
            _ if is_ows(b) || b == b';' => self.value_state = AFTER,
            _ => {
                self.value_state = INSIDE;
                self.push(b);
            }
        }
    }

    pub(super) fn type_end(&mut self) {
        self.bits |= bits::CONTENT_TYPE;
        let Some(rules) = self.rules else { return };
        let allowed = self.word.get(..usize::from(self.word_len)).is_some_and(|media| rules.allow_type(media));
        if !allowed {
            self.bits |= bits::TYPE_BARRED;
        }
    }

    /// The final head ended.
    #[cold]
    pub(super) fn expect_head(&mut self) -> Result<(), Reason> {
        let Some(rules) = self.rules.filter(|rules| rules.hold_for(self.status)) else { return Ok(()) };
        if rules.required() & !self.fields_seen != 0 {
            self.tolerate(tolerance::REST, Reason::REQUIRED_FIELD_MISSING)?;
        }
        if rules.forbidden() & self.fields_seen != 0 {
            self.tolerate(tolerance::REST, Reason::FORBIDDEN_FIELD_PRESENT)?;
        }
        let typed = self.has(bits::CONTENT_TYPE) && !self.has(bits::TYPE_BARRED);
        if rules.name_types() && !typed && !matches!(self.status, 204 | 304) && self.framing != Framing::Tunnel {
            self.tolerate(tolerance::REST, Reason::CONTENT_TYPE_UNEXPECTED)?;
        }
        match self.framing {
            Framing::None | Framing::Tunnel | Framing::Unknown => return Ok(()),
            Framing::Length => {
                if self.content_length < rules.min_body() {
                    self.tolerate(tolerance::REST, Reason::BODY_BELOW_MINIMUM)?;
                }
                if self.content_length > rules.max_body() {
                    self.tolerate(tolerance::REST, Reason::BODY_ABOVE_MAXIMUM)?;
                }
            }
            Framing::Chunked | Framing::Close => self.max_body = self.max_body.min(rules.max_body()),
        }
        self.bits |= bits::EXPECT;
        if rules.reach() > 0 {
            self.bits |= bits::INSPECT;
        }
        Ok(())
    }

    /// Which limit a body without a length has passed.
    pub(super) fn above_maximum(&self) -> Reason {
        match self.rules {
            Some(rules) if rules.max_body() == self.max_body => Reason::BODY_ABOVE_MAXIMUM,
            _ => Reason::BODY_TOO_LARGE,
        }
    }

    /// How many of these body bytes may be taken before one that decides against the response.
    pub(super) fn inspect(&mut self, bytes: &[u8]) -> Result<usize, Reason> {
        let Some(rules) = self.rules else { return Ok(bytes.len()) };
        let mut sight = Sight { matched: self.matched, found: self.markers_found };
        for (i, &b) in bytes.iter().enumerate() {
            let at = self.body.saturating_add(i as u64);
            if at >= rules.reach() {
                self.bits &= !bits::INSPECT;
                break;
            }
            (self.matched, self.markers_found) = (sight.matched, sight.found);
            if let Some(reason) = rules.look(b, at, &mut sight) {
                if i > 0 {
                    return Ok(i);
                }
                self.tolerate(tolerance::REST, reason)?;
            }
        }
        (self.matched, self.markers_found) = (sight.matched, sight.found);
        Ok(bytes.len())
    }

    /// The body is complete.
    #[cold]
    pub(super) fn expect_end(&mut self) -> Result<Step, Reason> {
        if let Some(rules) = self.rules.filter(|_| self.has(bits::EXPECT)) {
            self.bits &= !bits::EXPECT;
            if self.body < rules.min_body() && self.framing != Framing::Length {
                self.tolerate(tolerance::REST, Reason::BODY_BELOW_MINIMUM)?;
            }
            if self.has(bits::INSPECT) && rules.lacks_marker(self.markers_found) {
                self.tolerate(tolerance::REST, Reason::BODY_MARKER_MISSING)?;
            }
        }
        Ok(Step::On)
    }
}
