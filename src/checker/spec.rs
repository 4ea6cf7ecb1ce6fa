//! What is checked of an upstream's peers, and when: options parsed once, bounds refused with a sentence, and the bytes
//! of the request made ready.
//!
//! It opens nothing and knows no peer. Cost: set-up only; one allocation a string.

use crate::error::Error;
use crate::http::Method;
use crate::table::Address;
use std::ops::RangeInclusive;

/// What a check speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The connection is enough.
    Tcp,
    /// One request, one response.
    Http,
}

/// A check, as configured; 0 and the empty string are the defaults.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions<'a> {
    /// What it speaks.
    pub kind: Kind,
    /// Over TLS.
    pub tls: bool,
    /// Keep the connection for the next check.
    pub keep_alive: bool,
    /// Begin with a PROXY protocol header, version 2.
    pub proxy_v2: bool,
    /// Whatever traffic says, check on time.
    pub ignore_traffic: bool,
    /// From check to check of a peer that is up, or down.
    pub interval_ns: u64,
    /// The same while a change is near.
    pub fast_interval_ns: u64,
    /// For the whole check.
    pub timeout_ns: u64,
    /// Successes in a row that bring a peer up.
    pub rise: u32,
    /// Failures in a row that take it down.
    pub fall: u32,
    /// Another port than the peer's.
    pub port: u16,
    /// A `struct sockaddr` to connect from.
    pub source: &'a [u8],
    /// "GET", "HEAD" or "OPTIONS".
    pub method: &'a [u8],
    /// The request target.
    pub path: &'a [u8],
    /// The Host field; by default the upstream's name.
    pub host: &'a [u8],
    /// More fields, each with its CR LF.
    pub headers: &'a [u8],
    /// "200-299,401"
    pub statuses: &'a [u8],
    /// "Name" or "Name: text that its value contains".
    pub field: &'a [u8],
    /// Bytes that the body contains.
    pub body: &'a [u8],
    /// The name in the TLS handshake; by default the host.
    pub server_name: &'a [u8],
}

impl CheckOptions<'_> {
    const DEFAULT: CheckOptions<'static> = CheckOptions {
        kind: Kind::Tcp,
        tls: false,
        keep_alive: false,
        proxy_v2: false,
        ignore_traffic: false,
        interval_ns: 0,
        fast_interval_ns: 0,
        timeout_ns: 0,
        rise: 0,
        fall: 0,
        port: 0,
        source: b"",
        method: b"",
        path: b"",
        host: b"",
        headers: b"",
        statuses: b"",
        field: b"",
        body: b"",
        server_name: b"",
    };
}

impl Default for CheckOptions<'_> {
    fn default() -> Self {
        CheckOptions::DEFAULT
    }
}

/// A field that must be there, and what its value must contain.
pub(super) type Expected = (Box<[u8]>, Box<[u8]>);

/// A check, ready for use.
#[derive(Debug)]
pub(super) struct Spec {
    pub kind: Kind,
    pub keep_alive: bool,
    pub ignore_traffic: bool,
    pub interval_ns: u64,
    pub fast_ns: u64,
    pub timeout_ns: u64,
    pub rise: u32,
    pub fall: u32,
    pub port: u16,
    pub source: Option<Address>,
    /// What is sent first, in the clear.
    pub preface: &'static [u8],
    pub request: Box<[u8]>,
    pub method: Method,
    pub statuses: Vec<RangeInclusive<u16>>,
    pub field: Option<Expected>,
    pub body: Box<[u8]>,
    #[cfg(feature = "tls")]
    pub tls: Option<super::tls::Client>,
}

/// The PROXY protocol's word for a connection of the proxy's own, a health check: "LOCAL", no addresses.
/// Source: The PROXY protocol, section 2.2.
const PROXY_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

const MS: u64 = 1_000_000;
const INTERVAL_NS: u64 = 2_000 * MS;
const TIMEOUT_NS: u64 = 1_000 * MS;
const HOUR_NS: u64 = 3_600_000 * MS;

impl Spec {
    /// Checks every bound. `upstream` is the name that stands for the host by default.
    pub fn new(o: &CheckOptions<'_>, upstream: &[u8]) -> Result<Spec, Error> {
        let or = |value: u64, default: u64| if value == 0 { default } else { value };
        let interval_ns = within("interval_ns", or(o.interval_ns, INTERVAL_NS), 10 * MS, HOUR_NS)?;
        let fast = (interval_ns / 4).max(100 * MS).min(interval_ns);
        let fast_ns = within("fast_interval_ns", or(o.fast_interval_ns, fast), 10 * MS, interval_ns)?;
        let timeout_ns = within("timeout_ns", or(o.timeout_ns, TIMEOUT_NS), MS, HOUR_NS)?;
        let rise = within("rise", or(o.rise.into(), 2), 1, 100)? as u32;
        let fall = within("fall", or(o.fall.into(), 3), 1, 100)? as u32;
        if o.kind == Kind::Tcp
            && !(o.method.is_empty()
                && o.path.is_empty()
                && o.headers.is_empty()
                && o.statuses.is_empty()
                && o.field.is_empty()
                && o.body.is_empty()
                && !o.keep_alive)
        {
            return Err(Error::invalid("a TCP check has no request and expects no answer"));
        }
        let method = match o.method {
            b"" => Method::Get,
            known @ (b"GET" | b"HEAD" | b"OPTIONS") => Method::from_token(known),
            _ => return Err(Error::invalid("method: GET, HEAD or OPTIONS")),
        };
        if method == Method::Head && !o.body.is_empty() {
            return Err(Error::invalid("body: a response to HEAD has none"));
        }
        let host = if o.host.is_empty() { upstream } else { o.host };
        if o.body.len() > 256 {
            return Err(Error::invalid("body: at most 256 bytes"));
        }
        #[cfg(not(feature = "tls"))]
        if o.tls {
            return Err(Error::invalid("TLS checks: this library was built without the feature \"tls\""));
        }
        Ok(Spec {
            kind: o.kind,
            keep_alive: o.keep_alive,
            ignore_traffic: o.ignore_traffic,
            interval_ns,
            fast_ns,
            timeout_ns,
            rise,
            fall,
            port: o.port,
            source: if o.source.is_empty() { None } else { Some(Address::new(o.source)?) },
            preface: if o.proxy_v2 { PROXY_LOCAL } else { b"" },
            request: match o.kind {
                Kind::Tcp => Box::default(),
                Kind::Http => request(o, method, host)?,
            },
            method,
            statuses: statuses(o.statuses)?,
            field: field(o.field)?,
            body: o.body.into(),
            #[cfg(feature = "tls")]
            tls: if o.tls { Some(super::tls::Client::new(o.server_name, host)?) } else { None },
        })
    }

    /// Whether the status is one that a healthy peer answers.
    pub fn expects(&self, status: u16) -> bool {
        self.statuses.iter().any(|range| range.contains(&status))
    }
}

fn within(what: &str, value: u64, least: u64, most: u64) -> Result<u64, Error> {
    match value {
        n if (least..=most).contains(&n) => Ok(n),
        n => Err(Error::invalid(format!("{what} is {n}: {least} to {most}"))),
    }
}

/// The request's bytes. Whatever could break out of its place in them is refused.
fn request(o: &CheckOptions<'_>, method: Method, host: &[u8]) -> Result<Box<[u8]>, Error> {
    let token: &[u8] = match method {
        Method::Head => b"HEAD",
        Method::Options => b"OPTIONS",
        _ => b"GET",
    };
    let path = if o.path.is_empty() { b"/" } else { o.path };
    if path.len() > 2048 || !path.iter().all(u8::is_ascii_graphic) || !matches!(path[0], b'/' | b'*') {
        return Err(Error::invalid("path: \"/\" and at most 2047 bytes of printable ASCII without spaces"));
    }
    if host.len() > 255 || !host.iter().all(u8::is_ascii_graphic) {
        return Err(Error::invalid("host: at most 255 bytes of printable ASCII without spaces"));
    }
    let mut lines = o.headers.split(|&b| b == b'\n');
    // Behind the last LF nothing may follow.
    let ended = lines.next_back().is_none_or(<[u8]>::is_empty);
    let well_formed = |line: &[u8]| {
        let Some(line) = line.strip_suffix(b"\r") else { return false };
        let Some(colon) = line.iter().position(|&b| b == b':') else { return false };
        let name = &line[..colon];
        let is_own = [&b"host"[..], b"connection", b"content-length", b"transfer-encoding"]
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own));
        let is_text = |&b: &u8| b == b'\t' || b >= b' ' && b != 0x7f;
        colon > 0
            && !is_own
            && name.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
            && line.iter().all(is_text)
    };
    if o.headers.len() > 4096 || !ended || !lines.all(well_formed) {
        return Err(Error::invalid(
            "headers: lines \"Name: value\" that end with CR LF, 4096 bytes at most; Host, Connection and the framing are ours",
        ));
    }
    let connection: &[u8] = if o.keep_alive { b"" } else { b"Connection: close\r\n" };
    let agent = b"User-Agent: tidegate-check\r\n";
    Ok([token, b" ", path, b" HTTP/1.1\r\nHost: ", host, b"\r\n", agent, connection, o.headers, b"\r\n"]
        .concat()
        .into())
}

/// "200-299,401"
fn statuses(text: &[u8]) -> Result<Vec<RangeInclusive<u16>>, Error> {
    let refuse = || Error::invalid("statuses: a list like \"200-299,401\" of numbers from 100 to 599");
    let text = if text.is_empty() { b"200-299" } else { text };
    let number = |text: &[u8]| {
        let n = std::str::from_utf8(text).ok().filter(|t| t.len() == 3)?.parse::<u16>().ok()?;
        (100..=599).contains(&n).then_some(n)
    };
    let range = |part: &[u8]| {
        let (first, last) = match part.iter().position(|&b| b == b'-') {
            Some(dash) => (number(&part[..dash])?, number(&part[dash + 1..])?),
            None => (number(part)?, number(part)?),
        };
        (first <= last).then_some(first..=last)
    };
    text.split(|&b| b == b',').map(|part| range(part).ok_or_else(refuse)).collect()
}

fn field(text: &[u8]) -> Result<Option<Expected>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let (name, value) = match text.iter().position(|&b| b == b':') {
        Some(colon) => (&text[..colon], text[colon + 1..].trim_ascii()),
        None => (text, &b""[..]),
    };
    if name.is_empty() || text.len() > 256 || !text.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
        return Err(Error::invalid("field: \"Name\" or \"Name: value\", at most 256 bytes of printable ASCII"));
    }
    Ok(Some((name.into(), value.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: CheckOptions<'static> = CheckOptions { kind: Kind::Http, ..CheckOptions::DEFAULT };

    #[test]
    fn the_request_is_whole() {
        let spec = Spec::new(&CheckOptions { path: b"/health", headers: b"A: b\r\n", ..HTTP }, b"app").unwrap();
        let text = std::str::from_utf8(&spec.request).unwrap();
        let expected =
            "GET /health HTTP/1.1\r\nHost: app\r\nUser-Agent: tidegate-check\r\nConnection: close\r\nA: b\r\n\r\n";
        assert_eq!(text, expected);
        assert!(spec.expects(204) && !spec.expects(302));
    }

    #[test]
    fn nothing_breaks_out_of_its_place() {
        let refused = [
            CheckOptions { path: b"/a b", ..HTTP },
            CheckOptions { path: b"a", ..HTTP },
            CheckOptions { host: b"a\r\nB: c", ..HTTP },
            CheckOptions { headers: b"A: b", ..HTTP },
            CheckOptions { headers: b"\r\nGET / HTTP/1.1\r\n", ..HTTP },
            CheckOptions { headers: b"Content-Length: 5\r\n", ..HTTP },
            CheckOptions { headers: b"A: b\0\r\n", ..HTTP },
            CheckOptions { method: b"POST", ..HTTP },
            CheckOptions { method: b"HEAD", body: b"ok", ..HTTP },
            CheckOptions { statuses: b"299-200", ..HTTP },
            CheckOptions { statuses: b"2xx", ..HTTP },
            CheckOptions { fall: 101, ..HTTP },
            CheckOptions { interval_ns: 1, ..HTTP },
            CheckOptions { kind: Kind::Tcp, path: b"/", ..HTTP },
        ];
        for o in refused {
            assert!(Spec::new(&o, b"app").is_err(), "{o:?}");
        }
    }
}
