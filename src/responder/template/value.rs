//! The named values of a template: their names, what they are in an answer, and how long they get.
//!
//! Values are what clients may see. Addresses and details have no name here. Cost of writing one: a copy, or a walk
//! over the text where it needs escaping.

use super::super::body::advice;
use super::super::sentence::{sentence, title};
use super::super::writer::Writer;
use super::super::{Answer, escape};
use crate::cause::Cause;

/// A value by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Status,
    Reason,
    Cause,
    Title,
    Message,
    Advice,
    RequestId,
    Upstream,
    Gateway,
    RetryAfter,
    ReceivedStatus,
    Date,
}

/// How a value is written where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Escape {
    /// Inside the quotes of a JSON string.
    Json,
    /// In HTML's text, or in a quoted attribute.
    Html,
    /// In a line of text.
    Plain,
    /// In a component of a URI.
    Uri,
}

impl Value {
    pub(super) const ALL: [(&'static str, Value); 12] = [
        ("status", Value::Status),
        ("reason", Value::Reason),
        ("cause", Value::Cause),
        ("title", Value::Title),
        ("message", Value::Message),
        ("advice", Value::Advice),
        ("request_id", Value::RequestId),
        ("upstream", Value::Upstream),
        ("gateway", Value::Gateway),
        ("retry_after", Value::RetryAfter),
        ("received_status", Value::ReceivedStatus),
        ("date", Value::Date),
    ];

    pub(super) fn named(name: &str) -> Option<Value> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub(super) fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }

    /// Whether it is a number, which JSON writes without quotes; 0 where it is unset.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Value::Status | Value::RetryAfter | Value::ReceivedStatus)
    }

    /// Whether it can be unset.
    pub(super) fn is_optional(self) -> bool {
        !matches!(self, Value::Status | Value::Reason | Value::Title | Value::Message | Value::Advice | Value::Gateway)
    }

    pub(super) fn is_set(self, answer: &Answer<'_>) -> bool {
        match self {
            Value::Cause => answer.cause != Cause::NONE,
            Value::RequestId => !answer.request_id.bytes().is_empty(),
            Value::Upstream => !answer.upstream.bytes().is_empty(),
            Value::RetryAfter => answer.retry_after_s != 0,
            Value::ReceivedStatus => answer.received_status != 0,
            Value::Date => answer.date.is_some(),
            _ => true,
        }
    }

    /// The most bytes that it takes before it is escaped.
    pub(super) fn longest(self) -> usize {
        match self {
            Value::RequestId | Value::Upstream => 255,
            Value::Gateway => 64,
            _ => 96,
        }
    }

    pub(super) fn write(self, w: &mut Writer<'_>, answer: &Answer<'_>, escape: Escape) {
        match self {
            Value::Status => w.put(answer.status.code().as_bytes()),
            Value::RetryAfter => w.put_number(answer.retry_after_s),
            Value::ReceivedStatus => w.put_number(u32::from(answer.received_status)),
            Value::Reason => escape.write(w, answer.status.reason().as_bytes()),
            Value::Cause if answer.cause == Cause::NONE => {}
            Value::Cause => escape.write(w, answer.cause.name().as_bytes()),
            Value::Title => escape.write(w, title(answer.cause).as_bytes()),
            Value::Message => escape.write(w, sentence(answer.cause).as_bytes()),
            Value::Advice => {
                let mut buf = [0; 96];
                let mut own = Writer::new(&mut buf);
                advice(&mut own, answer);
                let len = own.len();
                escape.write(w, buf.get(..len).unwrap_or_default());
            }
            Value::RequestId => escape.write(w, answer.request_id.bytes()),
            Value::Upstream => escape.write(w, answer.upstream.bytes()),
            Value::Gateway if answer.label.bytes().is_empty() => w.put(b"tidegate"),
            Value::Gateway => escape.write(w, answer.label.bytes()),
            Value::Date => {
                if let Some(date) = answer.date {
                    escape.write(w, date.value(&mut [0; 29]));
                }
            }
        }
    }
}

impl Escape {
    /// The most that a byte grows to.
    pub(super) fn growth(self) -> usize {
        match self {
            Escape::Json => escape::LARGEST,
            Escape::Html => escape::LARGEST_HTML,
            Escape::Plain | Escape::Uri => escape::LARGEST_URI,
        }
    }

    fn write(self, w: &mut Writer<'_>, text: &[u8]) {
        match self {
            Escape::Json => {
                escape::json(w, text);
                // The quote that ends the string is the template's.
                w.truncate(w.len() - 1);
            }
            Escape::Html => escape::html(w, text),
            Escape::Plain => escape::plain(w, text),
            Escape::Uri => escape::uri(w, text),
        }
    }
}
