//! The gateway's own error responses: a complete HTTP/1.1 response, or its parts, into the caller's buffer.
//!
//! It owns the head (status line, `Date`, `Content-Type`, `Cache-Control: no-store`, `Vary`, `Proxy-Status`,
//! `Retry-After`, `Connection`, `Content-Length`), the choice of format by `Accept`, and the bodies, its own and those
//! of operators' templates. It knows nothing
//! of peers or tables, reads no clock, and tells a client nothing of the insides that the caller did not put into the
//! [`Answer`]. It refuses to write half an answer: what does not fit leaves the buffer as it was and says exactly how
//! much is needed. Foreign text can't break the structure: it is escaped in bodies, and bytes that could end a field
//! line never reach the head.
//!
//! Cost: no allocation. A buffer that is large enough whatever the texts escape to is written in place; one that might
//! not be goes through a scratch buffer on the stack. A template is rendered twice, to count and to write. Reference:
//! RFC 9110 (sections 10.2.3, 12.5.1, 15.6), RFC 9111 section 5.2, RFC 9209, RFC 9457.

mod block;
mod body;
mod date;
mod escape;
mod grpc;
mod head;
mod html;
mod kinds;
mod negotiate;
mod proxy_status;
mod sentence;
mod structured;
mod template;
mod writer;

pub use date::Date;
pub use kinds::{Connection, Format, Short, Status, Uri};
pub use template::{TEMPLATE_MAX, Template};

use crate::cause::Cause;
use std::ops::Range;
use structured::Earlier;
use writer::{SLACK, Writer};

/// cbindgen:ignore
/// A buffer of this size holds every answer.
pub const ANSWER_MAX: usize = 8192;

/// An error response to be written. Each field is valid by its type; what is empty, 0 or `None` does not appear.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// The status code.
    pub status: Status,
    /// Decides the Proxy-Status error type and the sentence for people.
    pub cause: Cause,
    /// `Retry-After`.
    pub retry_after_s: u32,
    /// The status that an upstream had answered with, for Proxy-Status.
    pub received_status: u16,
    /// The body's format; `None`: by `accept`.
    pub format: Option<Format>,
    /// Where `accept` asks for JSON, use the flat shape.
    pub flat: bool,
    /// The request was HEAD.
    pub head: bool,
    /// What `Connection` says.
    pub connection: Connection,
    /// Whether Proxy-Status is written.
    pub proxy_status: bool,
    /// `Date`.
    pub date: Option<Date>,
    /// The request's Accept field.
    pub accept: &'a [u8],
    /// The request's Content-Type field: gRPC is answered as gRPC, whatever `accept` says.
    pub content_type: &'a [u8],
    /// The gateway's name in Proxy-Status.
    pub label: Short<'a, 64>,
    /// The upstream's public name.
    pub upstream: Short<'a, 255>,
    /// The request's id.
    pub request_id: Short<'a, 255>,
    /// Proxy-Status `next-hop`.
    pub next_hop: Short<'a, 255>,
    /// Proxy-Status `details`.
    pub details: Short<'a, 255>,
    /// Proxy-Status `next-protocol`: an ALPN id.
    pub next_protocol: Short<'a, 64>,
    /// The value of the Proxy-Status field that the response had before. What is no such value, or longer than 512
    /// bytes, is left out.
    pub earlier: &'a [u8],
    /// What a problem's `type` begins with, before the cause's name.
    pub type_base: Uri<'a>,
    /// Bodies of the operator's, in the place of the default ones.
    pub templates: Templates<'a>,
}

/// By format. A template for JSON takes the place of both shapes of it; problem details and gRPC have none.
#[derive(Clone, Copy, Default)]
pub struct Templates<'a> {
    /// For [`Format::Html`].
    pub html: Option<&'a Template>,
    /// For [`Format::Json`] and [`Format::JsonFlat`].
    pub json: Option<&'a Template>,
    /// For [`Format::Text`].
    pub text: Option<&'a Template>,
}

/// Too small a buffer: what it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needed(pub usize);

/// Where the parts of an answer are: ranges of the caller's buffer, and static text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    /// The status code to send: 200 for gRPC.
    pub status: u16,
    /// What `grpc-status` says; `None`: the answer is not for gRPC.
    pub grpc_status: Option<u32>,
    /// What `grpc-message` says, percent-encoded; empty unless `grpc_status` is there.
    pub grpc_message: &'static str,
    /// "Bad Gateway"
    pub reason: &'static str,
    /// The value of Content-Type.
    pub content_type: &'static str,
    /// This gateway's member of Proxy-Status, behind the earlier ones that were given; empty: none.
    pub proxy_status: Range<usize>,
    /// The body, for HEAD too: its length is the Content-Length.
    pub body: Range<usize>,
}

impl Answer<'_> {
    /// An answer of which only the status is known.
    pub const fn new(status: Status) -> Self {
        Answer {
            status,
            cause: Cause::NONE,
            retry_after_s: 0,
            received_status: 0,
            format: None,
            flat: false,
            head: false,
            connection: Connection::Unsaid,
            proxy_status: true,
            date: None,
            accept: &[],
            label: Short(&[]),
            upstream: Short(&[]),
            request_id: Short(&[]),
            next_hop: Short(&[]),
            details: Short(&[]),
            next_protocol: Short(&[]),
            earlier: &[],
            type_base: Uri(&[]),
            templates: Templates { html: None, json: None, text: None },
            content_type: &[],
        }
    }

    /// Writes the complete response to the start of `buf` and answers its length. What stands behind it may change.
    #[inline]
    pub fn write(&self, buf: &mut [u8]) -> Result<usize, Needed> {
        self.write_usual(buf).map_or_else(|| self.write_any(buf), Ok)
    }

    /// [`Answer::write`] for the default JSON, nothing but an error type in Proxy-Status, and a generous buffer.
    /// `None`: it is not that, and `buf` is as it was.
    ///
    /// It is inlined whole and gives the answer to nobody else, so that the answer need not exist in memory.
    #[inline(always)]
    pub(crate) fn write_usual(&self, buf: &mut [u8]) -> Option<usize> {
        let json = match self.format {
            None => !self.flat && negotiate::is_usual(self.accept) && !grpc::is_grpc(self.content_type),
            Some(format) => format == Format::Json,
        };
        let unusual = self.received_status as usize
            | self.label.bytes().len()
            | self.next_hop.bytes().len()
            | self.details.bytes().len()
            | self.next_protocol.bytes().len()
            | self.earlier.len();
        if !json || unusual != 0 || self.templates.json.is_some() || buf.len() < self.bound(Format::Json) {
            return None;
        }
        let mut w = Writer::new(buf);
        self.compose::<true>(&mut w, Format::Json);
        Some(w.len())
    }

    /// [`Answer::write`] for all others.
    #[inline(never)]
    pub(crate) fn write_any(&self, buf: &mut [u8]) -> Result<usize, Needed> {
        let format = self.chosen();
        if let Some(template) = self.template(format) {
            return self.write_from(template, format, buf);
        }
        let compose = |w: &mut Writer<'_>| self.compose::<false>(w, format);
        if buf.len() < self.bound(format) {
            return by_way_of_scratch(buf, compose).map(|(len, ())| len);
        }
        let cap = buf.len();
        let mut w = Writer::new(buf);
        compose(&mut w);
        debug_assert!(w.len() <= cap, "bound() is too low");
        if w.len() <= cap { Ok(w.len()) } else { Err(Needed(w.len())) }
    }

    /// Writes the parts of the same response for a host that builds the head itself.
    pub fn write_parts(&self, buf: &mut [u8]) -> Result<Parts, Needed> {
        let format = self.chosen();
        let (body, len) = match self.template(format) {
            Some(template) => {
                let body = self.member_len();
                let len = body + template.length(self);
                let buf = buf.get_mut(..len).ok_or(Needed(len))?;
                by_way_of_scratch(buf, |w| self.write_member(w))?;
                template.render(&mut Writer::new(&mut buf[body..]), self);
                (body, len)
            }
            None => self.write_parts_of(format, buf)?,
        };
        let grpc = format == Format::Grpc;
        Ok(Parts {
            status: if grpc { 200 } else { self.status.number() },
            grpc_status: grpc.then(|| grpc::status(self.status)),
            grpc_message: if grpc { sentence::sentence(self.cause) } else { "" },
            reason: if grpc { "OK" } else { self.status.reason() },
            content_type: format.content_type(),
            proxy_status: 0..body,
            body: body..len,
        })
    }

    /// Writes Proxy-Status and the default body: where the body begins and ends.
    fn write_parts_of(&self, format: Format, buf: &mut [u8]) -> Result<(usize, usize), Needed> {
        let compose = |w: &mut Writer<'_>| {
            self.write_member(w);
            let body = w.len();
            body::write(w, self, format);
            body
        };
        if buf.len() < self.bound(format) {
            return by_way_of_scratch(buf, compose).map(|(len, body)| (body, len));
        }
        let mut w = Writer::new(buf);
        let body = compose(&mut w);
        Ok((body, w.len()))
    }

    /// Writes the value of Proxy-Status and nothing else: for the trailers of a response whose head has gone out.
    pub fn write_proxy_status(&self, buf: &mut [u8]) -> Result<usize, Needed> {
        by_way_of_scratch(buf, |w| self.write_member(w)).map(|(len, ())| len)
    }

    fn write_member(&self, w: &mut Writer<'_>) {
        if self.proxy_status {
            proxy_status::write(w, self);
        }
    }

    fn member_len(&self) -> usize {
        let mut w = Writer::new(&mut []);
        self.write_member(&mut w);
        w.len()
    }

    /// The head is small and goes through the scratch buffer; a template's text may be larger than any.
    #[inline(never)]
    fn write_from(&self, template: &Template, format: Format, buf: &mut [u8]) -> Result<usize, Needed> {
        let body = template.length(self);
        let mut scratch = [0; ANSWER_MAX];
        let mut w = Writer::new(&mut scratch);
        self.head_of(&mut w, format, body);
        let head = w.len();
        let needed = if self.head { head } else { head + body };
        let Some(buf) = buf.get_mut(..needed) else { return Err(Needed(needed)) };
        buf[..head].copy_from_slice(&scratch[..head]);
        if !self.head {
            template.render(&mut Writer::new(&mut buf[head..]), self);
        }
        Ok(needed)
    }

    #[inline]
    fn template(&self, format: Format) -> Option<&Template> {
        match format {
            Format::Html => self.templates.html,
            Format::Json | Format::JsonFlat => self.templates.json,
            Format::Text => self.templates.text,
            Format::Problem | Format::Grpc => None,
        }
    }

    /// A size that no answer made with this template exceeds, nor one without.
    pub fn most_with(template: &Template) -> usize {
        ANSWER_MAX.max(HEAD_MOST + template.longest())
    }

    /// A size that this answer never exceeds, with what the writer needs behind it; at most [`ANSWER_MAX`].
    #[inline(always)]
    fn bound(&self, format: Format) -> usize {
        let body = match format {
            Format::Html => HTML_FIXED + escape::LARGEST_HTML * self.shown(),
            Format::Problem => {
                BODY_FIXED
                    + self.type_base.bytes().len()
                    + escape::LARGEST_URI * self.request_id.bytes().len()
                    + escape::LARGEST * self.shown()
            }
            _ => BODY_FIXED + escape::LARGEST * self.shown(),
        };
        let member = self.label.0.len() + self.next_hop.0.len() + self.details.0.len() + self.next_protocol.0.len();
        SLACK + HEAD_FIXED + 2 * member + self.earlier.len().min(Earlier::LONGEST) + body
    }

    /// Bytes of foreign text in a body.
    #[inline(always)]
    fn shown(&self) -> usize {
        self.upstream.0.len() + self.request_id.0.len()
    }

    #[inline(always)]
    fn chosen(&self) -> Format {
        let format = self.format.unwrap_or_else(|| {
            if grpc::is_grpc(self.content_type) { Format::Grpc } else { negotiate::negotiate(self.accept) }
        });
        match format {
            Format::Json if self.flat && self.format.is_none() => Format::JsonFlat,
            format => format,
        }
    }
}

/// Runs `compose` where there is room for any answer, and copies the result to `buf` if it fits.
#[cold]
#[inline(never)]
fn by_way_of_scratch<T>(buf: &mut [u8], compose: impl Fn(&mut Writer<'_>) -> T) -> Result<(usize, T), Needed> {
    let mut scratch = [0; ANSWER_MAX];
    let mut w = Writer::new(&mut scratch);
    let value = compose(&mut w);
    let len = w.len();
    match (buf.get_mut(..len), scratch.get(..len)) {
        (Some(to), Some(from)) => {
            to.copy_from_slice(from);
            Ok((len, value))
        }
        _ => Err(Needed(len)),
    }
}

/// What the head takes beside foreign text, generously: the tests hold the worst cases against it.
const HEAD_FIXED: usize = 448;
/// What a body takes beside foreign text.
const BODY_FIXED: usize = 512;
/// What the page takes beside foreign text.
const HTML_FIXED: usize = 3264;

/// The longest texts that the head can hold.
const MEMBER_MOST: usize = 2 * (64 + 255 + 255 + 64) + Earlier::LONGEST;
/// No head is larger.
const HEAD_MOST: usize = SLACK + HEAD_FIXED + MEMBER_MOST;

const _: () = assert!(
    HEAD_MOST + HTML_FIXED + escape::LARGEST_HTML * (255 + 255) <= ANSWER_MAX
        && HEAD_MOST + BODY_FIXED + 255 + escape::LARGEST_URI * 255 + escape::LARGEST * (255 + 255) <= ANSWER_MAX,
    "ANSWER_MAX must hold the largest answer"
);

#[cfg(test)]
mod tests;
