//! What really stood on a client's wire: every byte up to the end of the connection, and a judgement of them.
//!
//! `client` reads a response as a client would and stops where it ends. Here nothing is left out: one request is sent
//! with `Connection: close`, all is read until FIN, RST or a deadline, and then judged from the bytes alone. Neither
//! Tidegate's validator nor the test bed's own reader is used.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::wire::{End, Wire};

/// All that came, and how it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Raw {
    /// Every byte.
    pub bytes: Vec<u8>,
    /// The end of the connection.
    pub end: End,
}

/// What a client makes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Exactly one response, whole, and not a byte more.
    Whole {
        /// Its status.
        status: u16,
        /// Its head, the empty line included.
        head: String,
        /// Its body, without chunk framing.
        body: Vec<u8>,
    },
    /// A good beginning, and an end that shows the cut; also if nothing came.
    Cut,
    /// Bytes that are no response, or that follow one.
    Malformed(String),
}

/// Sends `request` and reads to the end.
pub fn exchange(addr: SocketAddr, request: &[u8], timeout: Duration) -> io::Result<Raw> {
    let mut wire = Wire::new(TcpStream::connect_timeout(&addr, timeout)?);
    wire.set_deadline(Some(Instant::now() + timeout));
    wire.send(request)?;
    let end = loop {
        if let Err(end) = wire.fill() {
            break end;
        }
    };
    let n = wire.buffered().len();
    Ok(Raw { bytes: wire.take(n), end })
}

impl Raw {
    /// Judges the answer to a request with this method. Interim responses count as malformed: none was asked for.
    pub fn judge(&self, method: &str) -> Seen {
        let malformed = |why: &str| Seen::Malformed(format!("{why}: {:?}", String::from_utf8_lossy(&self.bytes)));
        let Some(at) = find(&self.bytes, b"\r\n\r\n") else {
            // It may only be the beginning of a head.
            let begins = self.bytes.iter().zip(b"HTTP/1.").all(|(a, b)| a == b);
            return if begins { Seen::Cut } else { malformed("no head") };
        };
        let (head, rest) = self.bytes.split_at(at + 4);
        let Some((status, lines)) = parse_head(head) else { return malformed("head") };
        let all = |name: &str| -> Vec<&str> {
            lines.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
        };
        let body = match (all("content-length").as_slice(), all("transfer-encoding").as_slice()) {
            _ if method == "HEAD" || matches!(status, 204 | 304) => Some((Vec::new(), rest.len())),
            ([length], []) => match length.parse::<usize>() {
                Ok(length) if rest.len() >= length => Some((rest[..length].to_vec(), rest.len() - length)),
                Ok(_) => None,
                Err(_) => return malformed("length"),
            },
            ([], ["chunked"]) => match chunks(rest) {
                Ok(body) => body,
                Err(why) => return malformed(why),
            },
            ([], []) if self.end == End::Closed => Some((rest.to_vec(), 0)),
            ([], []) => None,
            _ => return malformed("framing"),
        };
        match body {
            Some((body, 0)) => Seen::Whole { status, head: String::from_utf8_lossy(head).into(), body },
            Some(_) => malformed("bytes after the end"),
            None => Seen::Cut,
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

/// Status and fields, if every byte of the head is in order.
fn parse_head(head: &[u8]) -> Option<(u16, Vec<(String, String)>)> {
    let text =
        std::str::from_utf8(head).ok().filter(|t| t.chars().all(|c| c == '\r' || c == '\n' || !c.is_control()))?;
    let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
    let first = lines.next()?.strip_prefix("HTTP/1.1 ")?;
    let status: u16 = first.get(..3)?.parse().ok().filter(|n| (200..600).contains(n))?;
    if first.as_bytes().get(3) != Some(&b' ') || text.replace("\r\n", "").contains(['\r', '\n']) {
        return None;
    }
    let fields: Option<Vec<_>> = lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            good.then(|| (name.to_owned(), value.trim().to_owned()))
        })
        .collect();
    Some((status, fields?))
}

/// A chunked body and the number of bytes behind it; None if its last chunk is missing.
fn chunks(mut rest: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let mut body = Vec::new();
    loop {
        let Some(at) = find(rest, b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&rest[..at]).ok().and_then(|s| usize::from_str_radix(s, 16).ok());
        let size = size.ok_or("chunk size")?;
        rest = &rest[at + 2..];
        if rest.len() < size + 2 {
            return Ok(None);
        }
        body.extend_from_slice(&rest[..size]);
        if &rest[size..size + 2] != b"\r\n" {
            return Err("chunk end");
        }
        rest = &rest[size + 2..];
        if size == 0 {
            return Ok(Some((body, rest.len())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(bytes: &str, end: End) -> Seen {
        Raw { bytes: bytes.into(), end }.judge("GET")
    }

    #[test]
    fn whole_cut_and_malformed_are_told_apart() {
        for (whole, end) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", End::Closed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", End::Reset),
            ("HTTP/1.1 200 OK\r\n\r\nhi", End::Closed),
        ] {
            assert!(matches!(judge(whole, end), Seen::Whole { status: 200, ref body, .. } if body == b"hi"), "{whole}");
        }
        for (cut, end) in [
            ("", End::Closed),
            ("HTTP/1.1 20", End::Closed),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", End::Closed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", End::Closed),
            ("HTTP/1.1 200 OK\r\n\r\nhi", End::Reset),
        ] {
            assert_eq!(judge(cut, end), Seen::Cut, "{cut}");
        }
        for malformed in [
            "hello",
            "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: \u{1}\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi!0\r\n\r\n",
        ] {
            assert!(matches!(judge(malformed, End::Closed), Seen::Malformed(_)), "{malformed}");
        }
    }
}
