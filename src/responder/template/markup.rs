//! HTML's side of a template: in what a place lies (text, an attribute, a tag, a comment, a script), and so whether a
//! value may stand there and how it is escaped.
//!
//! A tokenizer of the few states that matter, no parser of trees. Values may stand in text, in titles and text areas,
//! in quoted attributes that hold mere text, and, percent-encoded, in those that hold a URI of a harmless scheme.
//! Everywhere else escaping would not make them safe, and they are refused. Reference: HTML Living Standard, section
//! 13.2.5.

use super::value::Escape;

/// The tokenizer's state. Two are equal if what follows is read alike.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Markup {
    state: State,
    /// The element's name while its start tag is read, and of a raw text element up to its end.
    element: Name,
    attribute: Name,
    /// What an attribute's value begins with.
    begins: Name,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// Behind "<".
    TagOpen,
    TagName,
    /// In an end tag, or in a declaration.
    Skipped,
    /// Between attributes.
    InTag,
    AttributeName,
    /// Behind "=".
    BeforeValue,
    Quoted(u8),
    Unquoted,
    /// The number of dashes just read, of the two that end it.
    Comment(u8),
    /// In an element that holds no tags; how much of "</name" has just been read.
    Raw(u8),
}

impl Markup {
    pub(super) fn feed(&mut self, text: &[u8]) {
        let mut rest = text;
        while let [b, after @ ..] = rest {
            if self.state == State::TagOpen && rest.starts_with(b"!--") {
                self.state = State::Comment(0);
                rest = rest.get(3..).unwrap_or_default();
                continue;
            }
            self.step(*b);
            rest = after;
        }
    }

    fn step(&mut self, b: u8) {
        let white = b.is_ascii_whitespace();
        self.state = match self.state {
            State::Text if b == b'<' => State::TagOpen,
            State::Text => State::Text,
            State::TagOpen if b.is_ascii_alphabetic() => {
                self.element = Name::default();
                self.element.push(b);
                State::TagName
            }
            State::TagOpen if matches!(b, b'/' | b'!' | b'?') => State::Skipped,
            State::TagOpen if b == b'<' => State::TagOpen,
            State::TagOpen => State::Text,
            State::Skipped if b == b'>' => State::Text,
            State::Skipped => State::Skipped,
            State::TagName | State::InTag | State::AttributeName | State::Unquoted if b == b'>' => self.content(),
            State::TagName if white || b == b'/' => State::InTag,
            State::TagName => {
                self.element.push(b);
                State::TagName
            }
            State::InTag if white || b == b'/' => State::InTag,
            // White space may stand before it.
            State::InTag | State::AttributeName if b == b'=' => {
                self.begins = Name::default();
                State::BeforeValue
            }
            State::InTag => {
                self.attribute = Name::default();
                self.attribute.push(b);
                State::AttributeName
            }
            State::AttributeName if white || b == b'/' => State::InTag,
            State::AttributeName => {
                self.attribute.push(b);
                State::AttributeName
            }
            State::BeforeValue if white => State::BeforeValue,
            State::BeforeValue if b == b'"' || b == b'\'' => State::Quoted(b),
            State::BeforeValue if b == b'>' => self.content(),
            State::BeforeValue => State::Unquoted,
            State::Quoted(quote) if b == quote => State::InTag,
            State::Quoted(quote) => {
                if b > b' ' {
                    self.begins.push(b);
                }
                State::Quoted(quote)
            }
            State::Unquoted if white => State::InTag,
            State::Unquoted => State::Unquoted,
            State::Comment(dashes) => match b {
                b'-' => State::Comment((dashes + 1).min(2)),
                b'>' if dashes == 2 => State::Text,
                _ => State::Comment(0),
            },
            State::Raw(matched) => self.raw(matched, b),
        };
    }

    /// What a start tag that ends here is followed by.
    fn content(&self) -> State {
        if RAW.contains(&self.element.text()) || SHOWN_RAW.contains(&self.element.text()) {
            State::Raw(0)
        } else {
            State::Text
        }
    }

    /// An element without tags ends at "</", its name, and a byte that ends the name.
    fn raw(&self, matched: u8, b: u8) -> State {
        let at = usize::from(matched);
        let name = self.element.text();
        if at == name.len() + 2 && (b.is_ascii_whitespace() || matches!(b, b'/' | b'>')) {
            return if b == b'>' { State::Text } else { State::Skipped };
        }
        let wanted = match at {
            0 => Some(b'<'),
            1 => Some(b'/'),
            _ => name.get(at - 2).copied(),
        };
        match wanted {
            Some(wanted) if b.to_ascii_lowercase() == wanted => State::Raw(matched + 1),
            _ => State::Raw(u8::from(b == b'<')),
        }
    }

    /// How a value is escaped here, or why it can't stand here.
    pub(super) fn escape(&self) -> Result<Escape, String> {
        let element = String::from_utf8_lossy(self.element.text());
        match self.state {
            State::Text => Ok(Escape::Html),
            State::Raw(_) if SHOWN_RAW.contains(&self.element.text()) => Ok(Escape::Html),
            State::Raw(_) => Err(format!("no value may stand in <{element}>: nothing there is escaped")),
            State::Quoted(_) => self.escape_attribute(),
            State::BeforeValue | State::Unquoted => Err("an attribute that holds a value needs quotes".into()),
            State::Comment(_) => Err("no value may stand in a comment".into()),
            _ => Err("no value may stand inside a tag, but in an attribute's quotes".into()),
        }
    }

    fn escape_attribute(&self) -> Result<Escape, String> {
        let name = self.attribute.text();
        let begins = self.begins.text();
        if URIS.contains(&name) {
            if BARRED_SCHEMES.iter().any(|scheme| begins.starts_with(scheme)) {
                return Err("no value may stand in a URI of this scheme".into());
            }
            return Ok(Escape::Uri);
        }
        if TEXTS.contains(&name) || name.starts_with(b"aria-") || name.starts_with(b"data-") {
            return Ok(Escape::Html);
        }
        Err(format!(
            "no value may stand in the attribute \"{}\": title, alt, value, lang, datetime, aria-* and data-* may hold \
             one, and href, src, action and cite a percent-encoded one",
            String::from_utf8_lossy(name)
        ))
    }

    pub(super) fn finish(&self) -> Result<(), String> {
        match self.state {
            State::Text => Ok(()),
            State::Comment(_) => Err("the template ends in a comment".into()),
            State::Raw(_) => Err(format!("<{}> is not closed", String::from_utf8_lossy(self.element.text()))),
            _ => Err("the template ends inside a tag".into()),
        }
    }
}

/// Elements whose content has no tags and no character references.
const RAW: [&[u8]; 7] = [b"script", b"style", b"xmp", b"iframe", b"noembed", b"noframes", b"plaintext"];
/// Elements whose content has no tags but character references.
const SHOWN_RAW: [&[u8]; 2] = [b"title", b"textarea"];
const URIS: [&[u8]; 4] = [b"href", b"src", b"action", b"cite"];
const TEXTS: [&[u8]; 7] = [b"title", b"alt", b"value", b"lang", b"datetime", b"placeholder", b"label"];
/// Their rest is code or markup, in which percent-encoding protects nothing.
const BARRED_SCHEMES: [&[u8]; 3] = [b"javascript:", b"data:", b"vbscript:"];

/// The start of a name in lower case, as much as any that is looked for has.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Name {
    text: [u8; 12],
    len: u8,
}

impl Name {
    fn push(&mut self, b: u8) {
        // One place is kept for what is longer, which then equals no shorter name.
        if let Some(place) = self.text.get_mut(usize::from(self.len)) {
            *place = b.to_ascii_lowercase();
            self.len += 1;
        }
    }

    fn text(&self) -> &[u8] {
        self.text.get(..usize::from(self.len)).unwrap_or_default()
    }
}
