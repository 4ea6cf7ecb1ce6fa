//! The closed sets that an answer is made of: statuses, formats, what is said of the connection, bounded text.
//!
//! What the ABI hands over as numbers and lengths is one of these or refused, so that nothing behind this file has to
//! doubt it. No function here costs more than a look-up, but [`Uri::new`], which looks at each byte.

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
    pub(super) const ALL: [Status; 4] =
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

    /// The code.
    pub(super) const fn number(self) -> u16 {
        match self {
            Status::InternalServerError => 500,
            Status::BadGateway => 502,
            Status::ServiceUnavailable => 503,
            Status::GatewayTimeout => 504,
        }
    }

    /// The code as text.
    #[inline]
    pub(super) const fn code(self) -> &'static str {
        match self {
            Status::InternalServerError => "500",
            Status::BadGateway => "502",
            Status::ServiceUnavailable => "503",
            Status::GatewayTimeout => "504",
        }
    }

    /// The word for programs in the flat JSON: stable.
    #[inline]
    pub(super) fn kind(self) -> &'static str {
        match self {
            Status::InternalServerError => "gateway_error",
            Status::BadGateway => "upstream_failure",
            Status::ServiceUnavailable => "upstream_unavailable",
            Status::GatewayTimeout => "upstream_timeout",
        }
    }

    /// Whether the fault is the gateway's own.
    #[inline]
    pub(super) fn is_ours(self) -> bool {
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
    /// gRPC's trailers-only response: no body, the failure in `grpc-status` and `grpc-message`.
    Grpc,
}

impl Format {
    pub(super) const ALL: [Format; 6] =
        [Format::Json, Format::JsonFlat, Format::Problem, Format::Html, Format::Text, Format::Grpc];

    /// The value of Content-Type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Json | Format::JsonFlat => "application/json",
            Format::Problem => "application/problem+json",
            Format::Html => "text/html; charset=utf-8",
            Format::Text => "text/plain; charset=utf-8",
            Format::Grpc => "application/grpc",
        }
    }

    /// The number of digits that Content-Length mostly has. A wrong guess costs a move, nothing else.
    #[inline]
    pub(super) fn usual_digits(self) -> usize {
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
pub struct Short<'a, const MAX: usize>(pub(super) &'a [u8]);

impl<'a, const MAX: usize> Short<'a, MAX> {
    /// `None` if it is longer than `MAX`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() <= MAX { Some(Short(bytes)) } else { None }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// The start of a URI reference, at most 255 bytes; empty is unset. Its characters stand in JSON as they are.
#[derive(Clone, Copy)]
pub struct Uri<'a>(pub(super) &'a [u8]);

impl<'a> Uri<'a> {
    /// `None` if it is too long or holds a byte that no URI may (RFC 3986, section 2).
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(b);
        if bytes.len() <= 255 && bytes.iter().all(allowed) { Some(Uri(bytes)) } else { None }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.0
    }
}
