//! Hold-back: how much of a response, and how long, a host should keep before its first byte goes to the client, so that
//! a body that breaks off can still be had from another peer.
//!
//! It delays a response, so it is advised only where it can help: the end of the body can be judged and is within the
//! bounds, and the request may go to another peer after this one, by the rules of `decide`; or one has failed it already,
//! and then a clean 502 is worth the wait even if nobody is left to try. An event stream is never held: its pauses are
//! its content. Nothing is reserved: when the body does break off, `decide` is asked anew.
//! Cost: a look at the candidates up to the first, and at one word of the budget. Source: RFC 9112, section 8 (a message
//! that is incomplete must not pass for a complete one).

use super::budget;
use super::request::Request;

/// How the rest of a response will come.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    /// How its end is found.
    pub end: BodyEnd,
    /// The value of Content-Type; empty: none.
    pub content_type: &'a [u8],
}

/// How the end of a body is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyEnd {
    /// Nothing more comes; or it ends with the connection, or never: then a host can't tell whether it is complete.
    Unjudged,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
}

/// How much and how long to keep; zeros: not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hold {
    /// Bytes of the body, framing counted.
    pub bytes: u32,
    /// Time from the head on.
    pub ns: u64,
}

impl Hold {
    /// Let it go.
    /// cbindgen:ignore
    pub const NONE: Hold = Hold { bytes: 0, ns: 0 };
}

impl Request {
    /// How long to hold a response that `head` said to deliver.
    pub fn hold(&self, body: &Body<'_>, now: u64) -> Hold {
        if body.end == BodyEnd::Unjudged || !self.may_be_repeated() {
            return Hold::NONE;
        }
        let (bytes, ns) = self.table().hold(self.upstream());
        let fits = match body.end {
            BodyEnd::Length(n) => n != 0 && n <= u64::from(bytes),
            _ => true,
        };
        let helps = || self.attempts() > 1 || self.could_be_retried(now);
        let held = bytes != 0 && fits && !is_event_stream(body.content_type) && helps();
        if held { Hold { bytes, ns } } else { Hold::NONE }
    }

    fn could_be_retried(&self, now: u64) -> bool {
        self.has_attempts_left()
            && !self.is_past_deadline(now)
            && self.has_candidate(now)
            && budget::has(self.table(), self.upstream(), now)
    }
}

/// Parameters may follow the type.
fn is_event_stream(content_type: &[u8]) -> bool {
    let kind = content_type.split(|&b| b == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

#[cfg(test)]
mod tests {
    use super::is_event_stream;

    #[test]
    fn an_event_stream_is_known_with_and_without_parameters() {
        for kind in ["text/event-stream", "Text/Event-Stream ; charset=utf-8", " text/event-stream"] {
            assert!(is_event_stream(kind.as_bytes()), "{kind}");
        }
        for kind in ["", ";", "text/event-streams", "text/plain; a=text/event-stream"] {
            assert!(!is_event_stream(kind.as_bytes()), "{kind}");
        }
    }
}
