//! What the validator is told before the first byte: the request, the protocol, the limits, the policy, the rules.
//!
//! The defaults are the strict reading of a plain GET over HTTP/1.x. A policy is a set of tolerances, one bit each;
//! without a bit the thing is refused. Nothing is checked here: the ABI refuses what makes no sense before it gets in.

use super::{Method, Rules};

/// What the response came over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Protocol {
    /// HTTP/1.x bytes.
    #[default]
    Http1 = 0,
    /// HTTP/2: header lists and DATA.
    Http2 = 2,
    /// HTTP/3: the same.
    Http3 = 3,
    /// FastCGI, SCGI or uwsgi: bytes that begin with fields, or a list of these.
    Cgi = 4,
}

/// What the validator needs to know of the request, and the limits.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The request's method.
    pub method: Method,
    /// What the response comes over.
    pub protocol: Protocol,
    /// Check and take body bytes without reporting them.
    pub no_data: bool,
    /// The protocols that the request offered in Upgrade, as the field's value; at most 64 bytes.
    pub upgrade: &'a [u8],
    /// What is let through although a strict reader would refuse it: bits of [`tolerance`].
    pub tolerate: u32,
    /// The operator's rules.
    pub rules: Option<&'a Rules>,
    /// Largest head in bytes, also of each interim one.
    pub max_head: u32,
    /// Longest status, field or trailer line in bytes, its line end not counted.
    pub max_line: u32,
    /// Most fields in a head.
    pub max_fields: u32,
    /// Longest field name in bytes, in heads and trailers; at most 16384.
    pub max_name: u32,
    /// Most interim responses.
    pub max_interim: u32,
    /// Most bytes of chunk extensions in a body.
    pub max_chunk_extension: u32,
    /// Largest trailer section in bytes.
    pub max_trailer: u32,
    /// Most trailer fields.
    pub max_trailers: u32,
    /// Largest body in bytes, framing not counted.
    pub max_body: u64,
}

impl Options<'_> {
    pub(super) const DEFAULT: Options<'static> = Options {
        method: Method::Get,
        protocol: Protocol::Http1,
        no_data: false,
        upgrade: b"",
        tolerate: 0,
        rules: None,
        max_head: 65536,
        max_line: 16384,
        max_fields: 100,
        max_name: 256,
        max_interim: 16,
        max_chunk_extension: 16384,
        max_trailer: 16384,
        max_trailers: 64,
        max_body: u64::MAX,
    };
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options::DEFAULT
    }
}

/// The tolerances, one bit each. All but the last two groups leave one reading only; how the response is to be
/// forwarded is said at each, and the verdict then has NORMALISE or REFRAME.
pub mod tolerance {
    /// Empty lines before the status line: drop them.
    /// cbindgen:ignore
    pub const EMPTY_LINES: u32 = 1;
    /// A major version other than 0 and 1 in HTTP/1 syntax: read as 1.1.
    /// cbindgen:ignore
    pub const VERSION: u32 = 1 << 1;
    /// More white space, or HTAB, between version and status: RFC 9112, section 4.
    /// cbindgen:ignore
    pub const STATUS_SPACE: u32 = 1 << 2;
    /// A sub-status, as in "403.1": drop it.
    /// cbindgen:ignore
    pub const SUBSTATUS: u32 = 1 << 3;
    /// A status of 600 to 999.
    /// cbindgen:ignore
    pub const STATUS_RANGE: u32 = 1 << 4;
    /// Control characters in the reason phrase: drop the phrase, or write SP for them.
    /// cbindgen:ignore
    pub const REASON_CONTROLS: u32 = 1 << 5;
    /// Folded lines, but for framing fields: write SP for the fold (RFC 9112, section 5.2).
    /// cbindgen:ignore
    pub const FOLDED: u32 = 1 << 6;
    /// White space between name and colon, but for framing fields: drop it (RFC 9112, section 5.1).
    /// cbindgen:ignore
    pub const SPACE_BEFORE_COLON: u32 = 1 << 7;
    /// Lines that are no fields: drop them.
    /// cbindgen:ignore
    pub const BAD_LINES: u32 = 1 << 8;
    /// Control characters other than NUL, CR and LF in values: write SP for them.
    /// cbindgen:ignore
    pub const VALUE_CONTROLS: u32 = 1 << 9;
    /// NUL where a control character is tolerated: write SP (RFC 9110, section 5.5).
    /// cbindgen:ignore
    pub const NUL: u32 = 1 << 10;
    /// Content-Length repeated with the same value: keep one (RFC 9110, section 8.6).
    /// cbindgen:ignore
    pub const LENGTH_REPEATED: u32 = 1 << 11;
    /// Content-Length beside Transfer-Encoding: drop the length, close behind (RFC 9112, section 6.3).
    /// cbindgen:ignore
    pub const LENGTH_AND_CODING: u32 = 1 << 12;
    /// Transfer codings besides `chunked`: the body stays coded, and the connection is closed behind it.
    /// cbindgen:ignore
    pub const CODINGS: u32 = 1 << 13;
    /// A lone LF as a line end of chunk framing.
    /// cbindgen:ignore
    pub const CHUNK_LF: u32 = 1 << 14;
    /// White space between a chunk's size, or an extension, and the line's end.
    /// cbindgen:ignore
    pub const CHUNK_SPACE: u32 = 1 << 15;
    /// Chunk extensions that break their grammar: drop them.
    /// cbindgen:ignore
    pub const CHUNK_EXTENSIONS: u32 = 1 << 16;
    /// DATA although the response has no content (HTTP/2, HTTP/3): drop it.
    /// cbindgen:ignore
    pub const CONTENT: u32 = 1 << 17;
    /// Whatever passes a limit or breaks a rule of the operator's, and what is left: see OBSERVE.
    pub(in super::super) const REST: u32 = 1 << 31;

    /// What browsers and nginx live with.
    /// cbindgen:ignore
    pub const COMPATIBLE: u32 = EMPTY_LINES
        | VERSION
        | STATUS_SPACE
        | SUBSTATUS
        | STATUS_RANGE
        | REASON_CONTROLS
        | FOLDED
        | SPACE_BEFORE_COLON
        | BAD_LINES
        | VALUE_CONTROLS
        | LENGTH_REPEATED
        | LENGTH_AND_CODING
        | CHUNK_LF
        | CHUNK_SPACE
        | CHUNK_EXTENSIONS;
    /// Every tolerance that can be asked for.
    /// cbindgen:ignore
    pub const ALL: u32 = CONTENT * 2 - 1;
    /// Judge and let through, limits and rules included: only what has no framing, or ends early, is refused.
    /// cbindgen:ignore
    pub const OBSERVE: u32 = ALL | REST;
}
