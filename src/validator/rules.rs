//! The operator's rules on live responses: parsed and checked once, then only read.
//!
//! A text, one rule a line or separated by `;`, `#` begins a comment:
//!
//! ```text
//! status 200-299                          the responses that the others hold for; this is the default
//! type application/json text/*            Content-Type is one of these
//! min-body 2        max-body 10m          bytes; k, m, g
//! field x-request-id                      must be there
//! no-field x-debug                        must not
//! marker "</html>" within 64k             must be in the first bytes of the body, default 4k
//! no-marker "Fatal error"                 must not
//! ```
//!
//! It owns the grammar and the tables; `expect` holds responses against them. Markers are sought in the bytes as sent:
//! a body with a content coding hides them. Cost: a step a byte and marker (Knuth, Morris and Pratt, "Fast pattern
//! matching in strings"), so a cut may fall anywhere and three bytes of state are enough.

use super::{Reason, WORD};
use std::fmt;

/// Most markers of a set of rules.
pub(crate) const MAX_MARKERS: usize = 4;
/// Most fields, and most media types.
const MAX_FIELDS: usize = 16;
const MAX_TYPES: usize = 16;
/// Where a marker is sought unless said otherwise, in bytes.
const REACH: u64 = 4096;

/// A compiled set of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    statuses: (u16, u16),
    types: Vec<Vec<u8>>,
    fields: Vec<Vec<u8>>,
    required: u16,
    forbidden: u16,
    min_body: u64,
    max_body: u64,
    markers: Vec<Marker>,
    reach: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Marker {
    text: Vec<u8>,
    /// For each length of a match, that of the longest proper one that ends it.
    shorter: Vec<u8>,
    within: u64,
    forbidden: bool,
}

/// What is known of the markers so far.
pub(super) struct Sight {
    /// How much of each marker the last bytes match.
    pub(super) matched: [u8; MAX_MARKERS],
    /// Those found, one bit each.
    pub(super) found: u8,
}

/// What is wrong with a text of rules, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Offset in bytes.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rules, byte {}: {}", self.at, self.what)
    }
}

impl Rules {
    /// Parses and checks a text of rules.
    pub fn parse(text: &[u8]) -> Result<Rules, RuleError> {
        let mut rules = Rules {
            statuses: (200, 299),
            types: vec![],
            fields: vec![],
            required: 0,
            forbidden: 0,
            min_body: 0,
            max_body: u64::MAX,
            markers: vec![],
            reach: 0,
        };
        let mut words = Words { text, at: 0 };
        while let Some(word) = words.next_rule()? {
            rules.rule(&word, &mut words)?;
            words.end_of_rule()?;
        }
        if rules.min_body > rules.max_body {
            return Err(RuleError { at: text.len(), what: "min-body is above max-body" });
        }
        Ok(rules)
    }

    fn rule(&mut self, word: &Word, words: &mut Words<'_>) -> Result<(), RuleError> {
        match &word.text[..] {
            b"status" => self.statuses = words.need("a status such as 200, or 200-299 is missing")?.statuses()?,
            b"type" => {
                let mut next = words.need("a media type such as application/json, or text/* is missing")?;
                loop {
                    self.media_type(next)?;
                    match words.next_word()? {
                        Some(word) => next = word,
                        None => break,
                    }
                }
            }
            b"min-body" => self.min_body = words.need("a size in bytes is missing")?.size()?,
            b"max-body" => self.max_body = words.need("a size in bytes is missing")?.size()?,
            b"field" => self.required |= self.field(words.need("a field name is missing")?)?,
            b"no-field" => self.forbidden |= self.field(words.need("a field name is missing")?)?,
            b"marker" | b"no-marker" => {
                let text = words.need("a text is missing")?;
                let within = match words.next_word()? {
                    None => REACH,
                    Some(word) if word.text == b"within" => words.need("a size in bytes is missing")?.size()?,
                    Some(word) => return Err(word.wrong("expected \"within\" and a size, or the end of the rule")),
                };
                self.marker(text, within, word.text == b"no-marker")?;
            }
            _ => return Err(word.wrong("no such rule")),
        }
        Ok(())
    }

    fn media_type(&mut self, word: Word) -> Result<(), RuleError> {
        let slashes = word.text.iter().filter(|&&b| b == b'/').count();
        let valid = word.text.iter().all(|&b| b == b'/' || super::bytes::is_token(b));
        if slashes != 1 || !valid || word.text.starts_with(b"/") || word.text.ends_with(b"/") {
            return Err(word.wrong("not a media type: type/subtype or type/*"));
        }
        if self.types.len() == MAX_TYPES || word.text.len() > WORD {
            return Err(word.wrong("at most 16 media types of at most 64 bytes"));
        }
        self.types.push(word.text.to_ascii_lowercase());
        Ok(())
    }

    /// The bit of the field with this name.
    fn field(&mut self, word: Word) -> Result<u16, RuleError> {
        if word.text.is_empty() || !word.text.iter().all(|&b| super::bytes::is_token(b)) {
            return Err(word.wrong("not a field name"));
        }
        if self.fields.len() == MAX_FIELDS || word.text.len() > WORD {
            return Err(word.wrong("at most 16 fields, with names of at most 64 bytes"));
        }
        self.fields.push(word.text);
        Ok(1 << (self.fields.len() - 1))
    }

    fn marker(&mut self, word: Word, within: u64, forbidden: bool) -> Result<(), RuleError> {
        if word.text.is_empty() || word.text.len() > WORD {
            return Err(word.wrong("a marker has 1 to 64 bytes"));
        }
        if self.markers.len() == MAX_MARKERS {
            return Err(word.wrong("at most 4 markers"));
        }
        if within < word.text.len() as u64 {
            return Err(word.wrong("the marker is longer than the bytes it is sought in"));
        }
        let text = word.text;
        let mut shorter = vec![0u8; text.len()];
        let mut matched = 0usize;
        for i in 1..text.len() {
            while matched > 0 && text[i] != text[matched] {
                matched = usize::from(shorter[matched - 1]);
            }
            matched += usize::from(text[i] == text[matched]);
            shorter[i] = matched as u8;
        }
        self.reach = self.reach.max(within);
        self.markers.push(Marker { text, shorter, within, forbidden });
        Ok(())
    }

    pub(super) fn hold_for(&self, status: u16) -> bool {
        (self.statuses.0..=self.statuses.1).contains(&status)
    }

    pub(super) fn name_types(&self) -> bool {
        !self.types.is_empty()
    }

    /// Whether a media type in lower case is one of the list.
    pub(super) fn allow_type(&self, media: &[u8]) -> bool {
        self.types.iter().any(|allowed| match allowed.strip_suffix(b"*") {
            Some(range) if range.ends_with(b"/") => media.starts_with(range),
            _ => allowed == media,
        })
    }

    /// The bits of the field rules with this name.
    pub(super) fn fields_named(&self, name: &[u8]) -> u16 {
        let named = |(i, field): (usize, &Vec<u8>)| u16::from(field.eq_ignore_ascii_case(name)) << i;
        self.fields.iter().enumerate().map(named).fold(0, |all, one| all | one)
    }

    pub(super) fn required(&self) -> u16 {
        self.required
    }

    pub(super) fn forbidden(&self) -> u16 {
        self.forbidden
    }

    pub(super) fn min_body(&self) -> u64 {
        self.min_body
    }

    pub(super) fn max_body(&self) -> u64 {
        self.max_body
    }

    /// How many bytes of a body are looked at.
    pub(super) fn reach(&self) -> u64 {
        self.reach
    }

    /// Looks at the body's byte at `at`; a reason if that byte decides against the response.
    pub(super) fn look(&self, b: u8, at: u64, sight: &mut Sight) -> Option<Reason> {
        let mut reason = None;
        for (i, (marker, matched)) in self.markers.iter().zip(&mut sight.matched).enumerate() {
            if at >= marker.within || sight.found & 1 << i != 0 {
                continue;
            }
            let mut len = usize::from(*matched);
            while len > 0 && marker.text.get(len) != Some(&b) {
                len = usize::from(marker.shorter.get(len - 1).copied().unwrap_or_default());
            }
            len += usize::from(marker.text.get(len) == Some(&b));
            *matched = len as u8;
            if len == marker.text.len() {
                sight.found |= 1 << i;
                if marker.forbidden {
                    reason = reason.or(Some(Reason::BODY_MARKER_FOUND));
                }
            } else if at + 1 == marker.within && !marker.forbidden {
                reason = reason.or(Some(Reason::BODY_MARKER_MISSING));
            }
        }
        reason
    }

    /// Whether a required marker was not found.
    pub(super) fn lacks_marker(&self, found: u8) -> bool {
        self.markers.iter().enumerate().any(|(i, marker)| !marker.forbidden && found & 1 << i == 0)
    }
}

/// A word of a text, without its quotes.
struct Word {
    at: usize,
    text: Vec<u8>,
}

impl Word {
    fn wrong(&self, what: &'static str) -> RuleError {
        RuleError { at: self.at, what }
    }

    /// A number, and k, m or g behind it.
    fn size(&self) -> Result<u64, RuleError> {
        let (digits, unit) = match self.text.split_last() {
            Some((b'k', digits)) => (digits, 1 << 10),
            Some((b'm', digits)) => (digits, 1 << 20),
            Some((b'g', digits)) => (digits, 1 << 30),
            _ => (&self.text[..], 1u64),
        };
        if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(self.wrong("not a size: a number of bytes, or one followed by k, m or g"));
        }
        let number = digits.iter().fold(0u64, |n, b| n * 10 + u64::from(b - b'0'));
        number.checked_mul(unit).ok_or_else(|| self.wrong("the size is too large"))
    }

    fn statuses(&self) -> Result<(u16, u16), RuleError> {
        let wrong = || self.wrong("not a status of 200 to 599, or two with a hyphen between");
        let one = |digits: &[u8]| match digits {
            [h @ b'2'..=b'5', t @ b'0'..=b'9', u @ b'0'..=b'9'] => {
                Ok(u16::from(h - b'0') * 100 + u16::from(t - b'0') * 10 + u16::from(u - b'0'))
            }
            _ => Err(wrong()),
        };
        let mut ends = self.text.splitn(2, |&b| b == b'-');
        let first = one(ends.next().unwrap_or_default())?;
        let last = ends.next().map_or(Ok(first), one)?;
        if first <= last { Ok((first, last)) } else { Err(wrong()) }
    }
}

/// The words of a text.
struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

impl Words<'_> {
    /// The first word of the next rule.
    fn next_rule(&mut self) -> Result<Option<Word>, RuleError> {
        loop {
            match self.text.get(self.at) {
                None => return Ok(None),
                Some(b'#') => {
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    self.at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
                }
                Some(b' ' | b'\t' | b'\r' | b'\n' | b';') => self.at += 1,
                Some(_) => return self.next_word(),
            }
        }
    }

    /// The next word of this rule.
    fn next_word(&mut self) -> Result<Option<Word>, RuleError> {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r')) {
            self.at += 1;
        }
        let at = self.at;
        match self.text.get(at) {
            None | Some(b'\n' | b';' | b'#') => Ok(None),
            Some(b'"') => self.quoted(at).map(Some),
            Some(_) => {
                let rest = self.text.get(at..).unwrap_or_default();
                let len = rest.iter().position(|b| b" \t\r\n;\"#".contains(b)).unwrap_or(rest.len());
                self.at += len;
                Ok(Some(Word { at, text: rest.get(..len).unwrap_or_default().to_vec() }))
            }
        }
    }

    /// `"…"`, with `\"`, `\\`, `\n`, `\r`, `\t` and `\xHH`.
    fn quoted(&mut self, at: usize) -> Result<Word, RuleError> {
        let mut text = vec![];
        self.at += 1;
        loop {
            let (from, b) = (self.at, self.byte(at)?);
            let escape = RuleError { at: from, what: "not an escape: \\\" \\\\ \\n \\r \\t \\xHH" };
            text.push(match b {
                b'"' => return Ok(Word { at, text }),
                b'\\' => match self.byte(at)? {
                    b @ (b'"' | b'\\') => b,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'x' => {
                        let (high, low) = (self.byte(at)? as char, self.byte(at)? as char);
                        match (high.to_digit(16), low.to_digit(16)) {
                            (Some(high), Some(low)) => (high << 4 | low) as u8,
                            _ => return Err(escape),
                        }
                    }
                    _ => return Err(escape),
                },
                b => b,
            });
        }
    }

    fn byte(&mut self, at: usize) -> Result<u8, RuleError> {
        let b = self.text.get(self.at).ok_or(RuleError { at, what: "the text has no closing quote" })?;
        self.at += 1;
        Ok(*b)
    }

    fn need(&mut self, what: &'static str) -> Result<Word, RuleError> {
        let at = self.at;
        self.next_word()?.ok_or(RuleError { at, what })
    }

    fn end_of_rule(&mut self) -> Result<(), RuleError> {
        match self.next_word()? {
            None => Ok(()),
            Some(word) => Err(word.wrong("one word too many")),
        }
    }
}
