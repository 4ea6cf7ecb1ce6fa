//! The gateway's own error responses: a complete HTTP/1.1 response, or its parts, into the caller's buffer.
//!
//! It owns the head (status line, `Date`, `Content-Type`, `Cache-Control: no-store`, `Vary`, `Proxy-Status`,
//! `Retry-After`, `Connection`, `Content-Length`), the choice of format by `Accept`, and the bodies. It knows nothing
//! of peers or tables, reads no clock, and tells a client nothing of the insides that the caller did not put into the
//! [`Answer`]. It refuses to write half an answer: what does not fit leaves the buffer as it was and says exactly how
//! much is needed. Foreign text can't break the structure: it is escaped in bodies, and bytes that could end a field
//! line never reach the head.
//!
//! Cost: no allocation. A buffer that is large enough whatever the texts escape to is written in place; one that might
//! not be goes through a scratch buffer on the stack. Reference: RFC 9110 (sections 10.2.3, 12.5.1, 15.6), RFC 9111 section 5.2, RFC 9209,
//! RFC 9457.

mod block;
mod body;
mod date;
mod escape;
mod html;
mod negotiate;
mod proxy_status;
mod sentence;
mod writer;

pub use date::Date;

use crate::cause::Cause;
use block::Block;
use std::ops::Range;
use writer::{SLACK, Writer, digits};

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
}

/// Too small a buffer: what it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needed(pub usize);

/// Where the parts of an answer are: ranges of the caller's buffer, and static text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    /// "Bad Gateway"
    pub reason: &'static str,
    /// The value of Content-Type.
    pub content_type: &'static str,
    /// This gateway's member of Proxy-Status; empty: none.
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
            None => !self.flat && negotiate::is_usual(self.accept),
            Some(format) => format == Format::Json,
        };
        let plain_member = self.received_status == 0
            && self.label.bytes().is_empty()
            && self.next_hop.bytes().is_empty()
            && self.details.bytes().is_empty();
        if !json || !plain_member || buf.len() < self.bound(Format::Json) {
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
        let compose = |w: &mut Writer<'_>| {
            if self.proxy_status {
                proxy_status::write(w, self);
            }
            let body = w.len();
            body::write(w, self, format);
            body
        };
        let (len, body) = if buf.len() < self.bound(format) {
            by_way_of_scratch(buf, compose)?
        } else {
            let mut w = Writer::new(buf);
            let body = compose(&mut w);
            (w.len(), body)
        };
        Ok(Parts {
            reason: self.status.reason(),
            content_type: format.content_type(),
            proxy_status: 0..body,
            body: body..len,
        })
    }

    /// A size that this answer never exceeds, with what the writer needs behind it; at most [`ANSWER_MAX`].
    fn bound(&self, format: Format) -> usize {
        SLACK
            + HEAD_FIXED
            + if format == Format::Html { HTML_FIXED } else { BODY_FIXED }
            + 2 * (self.label.0.len() + self.next_hop.0.len() + self.details.0.len())
            + escape::LARGEST * (self.upstream.0.len() + self.request_id.0.len())
    }

    #[inline(always)]
    fn chosen(&self) -> Format {
        match self.format.unwrap_or_else(|| negotiate::negotiate(self.accept)) {
            Format::Json if self.flat && self.format.is_none() => Format::JsonFlat,
            format => format,
        }
    }

    /// `USUAL`: `format` is JSON, and its body is to be inlined.
    #[inline(always)]
    fn compose<const USUAL: bool>(&self, w: &mut Writer<'_>, format: Format) {
        w.put_block(&LINES[self.status as usize]);
        if let Some(date) = self.date {
            w.put_block(&date.line());
        }
        let [without, with] = &FIELDS[format as usize][usize::from(self.format.is_none())];
        if self.proxy_status {
            w.put_block(with);
            proxy_status::write(w, self);
        } else {
            w.put_block(without);
        }
        if self.retry_after_s > 0 {
            w.put_block(&RETRY_AFTER);
            w.put_number(self.retry_after_s);
        }
        match self.connection {
            Connection::Unsaid => {}
            Connection::Close => w.put_block(&CLOSE),
            Connection::KeepAlive => w.put_block(&KEEP_ALIVE),
        }

        // The length is known once the body is written. The gap left for it nearly always has the right number of
        // digits; where it has not, the rest moves.
        w.put_block(if format.usual_digits() == 3 { &LENGTH_OF_3 } else { &LENGTH_OF_4 });
        let mut start = w.len();
        if USUAL {
            body::json(w, self);
        } else {
            w.lend(|w| body::write(w, self, format));
        }
        let length = (w.len() - start) as u32;
        if format.usual_digits() == 3 && (100..1000).contains(&length) {
            w.patch_three_digits::<{ 3 + HEAD_END.len() }>(start, length);
        } else {
            start = w.lend(|w| fill_in(w, start - HEAD_END.len() - format.usual_digits(), start, length));
        }
        if self.head {
            w.truncate(start);
        }
    }
}

/// Writes the length of the body, which begins at `start`, into its gap, and answers where the body begins then.
#[inline(never)]
fn fill_in(w: &mut Writer<'_>, gap: usize, start: usize, length: u32) -> usize {
    let right = gap + digits(length) + HEAD_END.len();
    if right != start {
        w.shift(start - HEAD_END.len(), right - HEAD_END.len());
    }
    w.patch_number(gap, length);
    right
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

/// The statuses that a gateway generates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// 500
    InternalServerError,
    /// 502
    BadGateway,
    /// 503
    ServiceUnavailable,
    /// 504
    GatewayTimeout,
}

impl Status {
    const ALL: [Status; 4] =
        [Status::InternalServerError, Status::BadGateway, Status::ServiceUnavailable, Status::GatewayTimeout];

    /// By its code.
    pub fn from_code(code: u32) -> Option<Status> {
        Some(match code {
            500 => Status::InternalServerError,
            502 => Status::BadGateway,
            503 => Status::ServiceUnavailable,
            504 => Status::GatewayTimeout,
            _ => return None,
        })
    }

    /// The reason phrase.
    #[inline]
    pub const fn reason(self) -> &'static str {
        match self {
            Status::InternalServerError => "Internal Server Error",
            Status::BadGateway => "Bad Gateway",
            Status::ServiceUnavailable => "Service Unavailable",
            Status::GatewayTimeout => "Gateway Timeout",
        }
    }

    /// The code as text.
    #[inline]
    const fn code(self) -> &'static str {
        match self {
            Status::InternalServerError => "500",
            Status::BadGateway => "502",
            Status::ServiceUnavailable => "503",
            Status::GatewayTimeout => "504",
        }
    }

    /// The word for programs in the flat JSON: stable.
    #[inline]
    fn kind(self) -> &'static str {
        match self {
            Status::InternalServerError => "gateway_error",
            Status::BadGateway => "upstream_failure",
            Status::ServiceUnavailable => "upstream_unavailable",
            Status::GatewayTimeout => "upstream_timeout",
        }
    }

    /// Whether the fault is the gateway's own.
    #[inline]
    fn is_ours(self) -> bool {
        self == Status::InternalServerError
    }
}

/// What a body looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `{"error":{…}}`
    Json,
    /// `{"error":"…",…}`
    JsonFlat,
    /// RFC 9457
    Problem,
    /// The page.
    Html,
    /// Plain text.
    Text,
}

impl Format {
    const ALL: [Format; 5] = [Format::Json, Format::JsonFlat, Format::Problem, Format::Html, Format::Text];

    /// The value of Content-Type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Json | Format::JsonFlat => "application/json",
            Format::Problem => "application/problem+json",
            Format::Html => "text/html; charset=utf-8",
            Format::Text => "text/plain; charset=utf-8",
        }
    }

    /// The number of digits that Content-Length mostly has. A wrong guess costs a move, nothing else.
    #[inline]
    fn usual_digits(self) -> usize {
        if self == Format::Html { 4 } else { 3 }
    }
}

/// What the head says of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connection {
    /// Nothing.
    Unsaid,
    /// `Connection: close`
    Close,
    /// `Connection: keep-alive`, for HTTP/1.0 clients.
    KeepAlive,
}

/// Bytes of foreign text, at most `MAX` of them; empty is unset.
#[derive(Clone, Copy)]
pub struct Short<'a, const MAX: usize>(&'a [u8]);

impl<'a, const MAX: usize> Short<'a, MAX> {
    /// `None` if it is longer than `MAX`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() <= MAX { Some(Short(bytes)) } else { None }
    }

    #[inline]
    fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

// The head, in blocks that begin with the end of the line before them.

/// By status.
static LINES: [Block<40>; Status::ALL.len()] = {
    let mut all = [Block::EMPTY; Status::ALL.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = Block::new(&["HTTP/1.1 ", Status::ALL[i].code(), " ", Status::ALL[i].reason()]);
        i += 1;
    }
    all
};

/// By format, by whether it was negotiated, and by whether a Proxy-Status follows.
static FIELDS: [[[Block<96>; 2]; 2]; Format::ALL.len()] = {
    let mut all = [[[Block::EMPTY; 2]; 2]; Format::ALL.len()];
    let mut i = 0;
    while i < 4 * all.len() {
        let (format, negotiated, proxy_status) = (i / 4, i / 2 % 2, i % 2);
        all[format][negotiated][proxy_status] = Block::new(&[
            "\r\nContent-Type: ",
            Format::ALL[format].content_type(),
            "\r\nCache-Control: no-store",
            if negotiated == 1 { "\r\nVary: Accept" } else { "" },
            if proxy_status == 1 { "\r\nProxy-Status: " } else { "" },
        ]);
        i += 1;
    }
    all
};

static RETRY_AFTER: Block<16> = Block::new(&["\r\nRetry-After: "]);
static CLOSE: Block<24> = Block::new(&["\r\nConnection: close"]);
static KEEP_ALIVE: Block<24> = Block::new(&["\r\nConnection: keep-alive"]);
static LENGTH_OF_3: Block<32> = Block::new(&["\r\nContent-Length: 000", HEAD_END]);
static LENGTH_OF_4: Block<32> = Block::new(&["\r\nContent-Length: 0000", HEAD_END]);

const HEAD_END: &str = "\r\n\r\n";

/// What the head takes beside foreign text, generously: the tests hold the worst cases against it.
const HEAD_FIXED: usize = 448;
/// What a body takes beside foreign text.
const BODY_FIXED: usize = 384;
/// What the page takes beside foreign text.
const HTML_FIXED: usize = 2560;

const _: () = assert!(
    SLACK + HEAD_FIXED + HTML_FIXED + 2 * (64 + 255 + 255) + escape::LARGEST * (255 + 255) <= ANSWER_MAX,
    "ANSWER_MAX must hold the largest answer"
);

#[cfg(test)]
mod tests;
