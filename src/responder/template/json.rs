//! JSON's side of a template: whether a place is inside a string, and whether every text that can come of it is JSON.
//!
//! A value can only lengthen a string or be a number, so it changes no structure; sections can. Each combination of set
//! and unset ones is therefore parsed, with stand-ins of the tags' own width, so that the parser's line and column are
//! those of the template. At most six values can be unset: 64 combinations.

use super::compile::{Fault, fault};
use super::value::{Escape, Value};
use super::{Template, Then};

/// Where strings begin and end.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Strings {
    inside: bool,
    escaped: bool,
}

impl Strings {
    pub(super) fn feed(&mut self, text: &[u8]) {
        for &b in text {
            if self.escaped {
                self.escaped = false;
            } else if self.inside && b == b'\\' {
                self.escaped = true;
            } else if b == b'"' {
                self.inside = !self.inside;
            }
        }
    }

    pub(super) fn escape(&self, value: Value) -> Result<Escape, String> {
        match (self.inside, self.escaped) {
            (true, true) => Err("a value can't follow a backslash".into()),
            (true, false) => Ok(Escape::Json),
            (false, _) if value.is_number() => Ok(Escape::Json),
            (false, _) => Err("this value is text: in JSON it stands between quotes".into()),
        }
    }
}

/// Refuses a template that could become something other than JSON.
pub(super) fn check(template: &Template) -> Result<(), Fault> {
    let mut sections = vec![];
    for piece in &template.pieces {
        if let Then::Section(value, _) = piece.then
            && !sections.contains(&value)
        {
            sections.push(value);
        }
    }
    for combination in 0..1u32 << sections.len() {
        let is_set = |value| sections.iter().position(|&s| s == value).is_some_and(|at| combination >> at & 1 == 1);
        let sample = sample(template, is_set);
        if let Err(e) = serde_json::from_slice::<serde::de::IgnoredAny>(&sample) {
            let at = offset(&sample, e.line(), e.column());
            let unset: Vec<&str> = sections.iter().filter(|&&s| !is_set(s)).map(|s| s.name()).collect();
            let when =
                if unset.is_empty() { String::new() } else { format!(" when {} are unset", unset.join(" and ")) };
            let text = e.to_string();
            return fault(at, format!("this is not JSON{when}: {}", text.split(" at line ").next().unwrap_or(&text)));
        }
    }
    Ok(())
}

/// The template with stand-ins for its tags: as long as it is, and with its line ends.
fn sample(template: &Template, is_set: impl Fn(Value) -> bool) -> Vec<u8> {
    let mut out = vec![];
    let mut strings = Strings::default();
    let mut hidden_until = 0;
    for (index, piece) in template.pieces.iter().enumerate() {
        let hidden = index < hidden_until;
        let literal = template.text.get(piece.literal.clone()).unwrap_or_default();
        out.extend(literal.iter().map(|&b| if hidden && b != b'\n' { b' ' } else { b }));
        strings.feed(literal);
        let next = template.pieces.get(index + 1).map_or(template.text.len(), |p| p.literal.start);
        let width = next - piece.literal.end;
        match piece.then {
            Then::Value(..) if !hidden && strings.inside => out.resize(out.len() + width, b'x'),
            Then::Value(..) if !hidden => {
                out.push(b'1');
                out.resize(out.len() + width - 1, b' ');
            }
            _ => out.resize(out.len() + width, b' '),
        }
        if let Then::Section(value, end) = piece.then
            && !hidden
            && !is_set(value)
        {
            hidden_until = end;
        }
    }
    out
}

fn offset(text: &[u8], line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive(|&b| b == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}
