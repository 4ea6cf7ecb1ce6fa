//! Operators' templates for the bodies: text with named values in double braces, compiled once.
//!
//! `{{status}}` stands for a value, `{{#request_id}}…{{/request_id}}` for text that appears only if the value is set.
//! Every value is escaped for the place where it stands, which is found when the template is compiled; there is no raw
//! form. What can't be made safe (a value in a script, in a tag, outside the quotes of JSON) or can't be right (a name
//! that is not known, braces left open, JSON that is none) is refused then, with line and column.
//!
//! Cost: rendering allocates nothing and copies once; compiling allocates.

mod compile;
mod json;
mod markup;
mod value;

use super::writer::Writer;
use super::{Answer, Format};
use std::ops::Range;
use value::{Escape, Value};

/// cbindgen:ignore
/// Text of a template is no longer than this, and neither is what it becomes twice as long.
pub const TEMPLATE_MAX: usize = 65536;

/// A compiled template. It never changes: any number of threads may use it.
#[derive(Debug)]
pub struct Template {
    text: Box<[u8]>,
    pieces: Box<[Piece]>,
    /// No body made of it is longer.
    longest: usize,
}

/// Literal text, and what follows it.
#[derive(Clone, Debug)]
struct Piece {
    literal: Range<usize>,
    then: Then,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Nothing,
    Value(Value, Escape),
    /// If the value is unset, go on with the piece of this index, which is a later one.
    Section(Value, usize),
}

impl Template {
    /// Compiles a template for HTML, JSON or text. The error is a sentence that begins with line and column.
    pub fn new(format: Format, text: &[u8]) -> Result<Template, String> {
        compile::compile(format, text)
    }

    /// No body made of this template is longer.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The length of the body that [`Template::render`] writes.
    pub(super) fn length(&self, answer: &Answer<'_>) -> usize {
        let mut w = Writer::new(&mut []);
        self.render(&mut w, answer);
        w.len()
    }

    pub(super) fn render(&self, w: &mut Writer<'_>, answer: &Answer<'_>) {
        let mut index = 0;
        while let Some(piece) = self.pieces.get(index) {
            w.put(self.text.get(piece.literal.clone()).unwrap_or_default());
            index += 1;
            match piece.then {
                Then::Nothing => {}
                Then::Value(value, escape) => value.write(w, answer, escape),
                Then::Section(value, end) if !value.is_set(answer) => index = end.max(index),
                Then::Section(..) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
