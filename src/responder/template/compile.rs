//! From text to pieces: finds the tags, asks the format whether a value may stand there and how it is escaped, and says
//! by line and column what is wrong.
//!
//! It runs when a configuration is read. Cost: linear in the text; for JSON once more for each combination of the
//! sections' values.

use super::value::{Escape, Value};
use super::{Piece, TEMPLATE_MAX, Template, Then, json, markup};
use crate::responder::Format;

/// What is wrong, at a byte of the text.
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) why: String,
}

pub(super) fn fault<T>(at: usize, why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { at, why: why.into() })
}

/// Where a value would stand, by the format's rules.
#[derive(Clone, PartialEq, Eq)]
enum Context {
    Html(markup::Markup),
    Json(json::Strings),
    Text,
}

impl Context {
    fn feed(&mut self, text: &[u8]) {
        match self {
            Context::Html(markup) => markup.feed(text),
            Context::Json(strings) => strings.feed(text),
            Context::Text => {}
        }
    }

    /// How the value is escaped here, or why it can't stand here.
    fn escape(&self, value: Value) -> Result<Escape, String> {
        match self {
            Context::Html(markup) => markup.escape(),
            Context::Json(strings) => strings.escape(value),
            Context::Text => Ok(Escape::Plain),
        }
    }
}

pub(super) fn compile(format: Format, text: &[u8]) -> Result<Template, String> {
    compile_at(format, text).map_err(|fault| {
        let before = text.get(..fault.at).unwrap_or(text);
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        // Characters, not bytes, as editors count.
        let column = 1 + before[start..].iter().filter(|&&b| b & 0xc0 != 0x80).count();
        format!("line {line}, column {column}: {}", fault.why)
    })
}

fn compile_at(format: Format, text: &[u8]) -> Result<Template, Fault> {
    if text.len() > TEMPLATE_MAX {
        return fault(0, format!("the template has {} bytes: {TEMPLATE_MAX} are allowed", text.len()));
    }
    let source = std::str::from_utf8(text).or_else(|e| fault(e.valid_up_to(), "this is not UTF-8"))?;
    let mut context = match format {
        Format::Html => Context::Html(markup::Markup::default()),
        Format::Json => Context::Json(json::Strings::default()),
        Format::Text => Context::Text,
        _ => return fault(0, "templates are for HTML, JSON and text"),
    };
    let mut pieces = vec![];
    let mut open: Vec<(Value, usize, usize, Context)> = vec![];
    let mut from = 0;
    let mut longest = 0usize;
    while let Some(found) = source[from..].find("{{") {
        let at = from + found;
        context.feed(&text[from..at]);
        let (tag, end) = read_tag(source, at)?;
        let then = match tag {
            Tag::Value(value) => {
                let escape = context.escape(value).or_else(|why| fault(at, why))?;
                longest = longest.saturating_add(value.longest() * escape.growth());
                Then::Value(value, escape)
            }
            Tag::Open(value) => {
                open.push((value, pieces.len(), at, context.clone()));
                Then::Section(value, 0)
            }
            Tag::Close(value) => {
                match open.pop() {
                    Some((opened, piece, _, before)) if opened == value => {
                        if before != context {
                            return fault(at, "a section must end where it began: in the same tag, string or text");
                        }
                        let end = pieces.len() + 1;
                        pieces.get_mut(piece).into_iter().for_each(|p: &mut Piece| p.then = Then::Section(value, end));
                    }
                    _ => return fault(at, "this closes no section, or not the one that was opened last"),
                }
                Then::Nothing
            }
        };
        pieces.push(Piece { literal: from..at, then });
        longest = longest.saturating_add(at - from);
        from = end;
    }
    context.feed(&text[from..]);
    longest = longest.saturating_add(text.len() - from);
    pieces.push(Piece { literal: from..text.len(), then: Then::Nothing });
    if let Some((_, _, at, _)) = open.pop() {
        return fault(at, "this section is not closed");
    }
    if let Context::Html(markup) = &context {
        markup.finish().or_else(|why| fault(text.len(), why))?;
    }
    if longest > 2 * TEMPLATE_MAX {
        return fault(
            0,
            format!("with its values it could become {longest} bytes long: {} are allowed", 2 * TEMPLATE_MAX),
        );
    }
    let template = Template { text: text.into(), pieces: pieces.into(), longest };
    if format == Format::Json {
        json::check(&template)?;
    }
    Ok(template)
}

enum Tag {
    Value(Value),
    Open(Value),
    Close(Value),
}

/// The tag that begins at `at`, and where it ends.
fn read_tag(source: &str, at: usize) -> Result<(Tag, usize), Fault> {
    let inside = &source[at + 2..];
    let end = inside.find(['{', '}', '\n']).filter(|&end| inside[end..].starts_with("}}"));
    let Some(end) = end else { return fault(at, "these braces are not closed: a value is written {{name}}") };
    let name = inside[..end].trim();
    let (kind, name): (fn(Value) -> Tag, &str) = match name.as_bytes().first() {
        Some(b'#') => (Tag::Open, name[1..].trim()),
        Some(b'/') => (Tag::Close, name[1..].trim()),
        _ => (Tag::Value, name),
    };
    let Some(value) = Value::named(name) else {
        let known: Vec<&str> = Value::ALL.iter().map(|(name, _)| *name).collect();
        let shown: String = name.chars().take(24).collect();
        return fault(at, format!("there is no value \"{shown}\": known are {}", known.join(", ")));
    };
    if matches!(kind(value), Tag::Open(_)) && !value.is_optional() {
        return fault(at, format!("\"{name}\" is always set: no section is needed"));
    }
    Ok((kind(value), at + 2 + end + 2))
}
