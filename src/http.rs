//! The words of HTTP that more than one module needs: request methods and whether they may be repeated.

/// A request method, as far as decisions depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u32)]
pub enum Method {
    /// GET, also where the host did not say.
    #[default]
    Get = 1,
    /// HEAD: a response never has a body.
    Head = 2,
    /// POST.
    Post = 3,
    /// PUT.
    Put = 4,
    /// DELETE.
    Delete = 5,
    /// CONNECT: a 2xx response starts a tunnel.
    Connect = 6,
    /// OPTIONS.
    Options = 7,
    /// TRACE.
    Trace = 8,
    /// PATCH.
    Patch = 9,
    /// Any other: never assumed repeatable.
    Other = 10,
}

impl Method {
    /// By its number in the ABI; 0 reads as GET.
    pub fn from_number(n: u32) -> Option<Method> {
        Some(match n {
            0 | 1 => Method::Get,
            2 => Method::Head,
            3 => Method::Post,
            4 => Method::Put,
            5 => Method::Delete,
            6 => Method::Connect,
            7 => Method::Options,
            8 => Method::Trace,
            9 => Method::Patch,
            10 => Method::Other,
            _ => return None,
        })
    }

    /// By its token (case-sensitive, RFC 9110, section 9.1).
    pub fn from_token(token: &[u8]) -> Method {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            _ => Method::Other,
        }
    }

    /// Whether a gateway may repeat it by itself (RFC 9110, section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options | Method::Trace)
    }
}
