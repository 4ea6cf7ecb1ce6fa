//! Writing a head that was tolerated as one that nobody needs to tolerate.
//!
//! In: a head that the validator has passed under some policy. Out: the same response head in the strictest form, with
//! version 1.1, CR LF line ends, one space where one belongs, folds and control characters turned into spaces, lines
//! that are no fields dropped, and one framing field: Transfer-Encoding if there is any, else one Content-Length
//! without leading zeros. Fields of the connection are dropped, those that Connection names too. It judges nothing:
//! any bytes may come in, and what cannot be read is left out. Linear in the head, but for Connection's options times
//! fields; no allocation. Source: RFC 9112, sections 2.2, 5.1 and 5.2; RFC 9110, sections 5.5, 7.6.1 and 8.6.

use super::bytes::{is_ows, is_text, is_token, trim};

/// Writes the head to `out`, as far as there is room; returns the length of all of it.
pub fn rewrite_head(head: &[u8], out: &mut [u8]) -> usize {
    let mut sink = Sink { out, len: 0 };
    let mut lines = Lines { rest: head };
    // Empty lines before the status line may have been tolerated.
    let status = loop {
        match lines.next() {
            // Empty, or of lone CRs, which a policy may let through before the status line.
            Some(line) if line.iter().all(|&b| b == b'\r') => {}
            line => break line.unwrap_or_default(),
        }
    };
    // RFC 9110, section 8.6, and RFC 9112, section 6.1: neither may have framing fields.
    let bare = matches!(status_line(status, &mut sink), [b'1', ..] | b"204");
    let coded = lines.fields().any(|(name, _)| name.eq_ignore_ascii_case(b"transfer-encoding"));
    let mut length_written = false;
    for (name, value) in lines.fields() {
        if is_of_connection(name) || lines.nominate(name) || bare && is_framing(name) {
            continue;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            if !coded && !length_written {
                length_written = true;
                sink.bytes(name);
                sink.bytes(b": ");
                // No number behind CONNECT, where it means nothing and was not judged.
                sink.text(plain_length(value));
                sink.bytes(b"\r\n");
            }
            continue;
        }
        sink.bytes(name);
        sink.bytes(b": ");
        let mut kept = 0;
        for (i, part) in value.split(|&b| b == b'\n').enumerate() {
            let part = trim(part.strip_suffix(b"\r").unwrap_or(part));
            if i > 0 && kept > 0 && !part.is_empty() {
                sink.bytes(b" ");
            }
            kept += part.len();
            sink.text(part);
        }
        sink.bytes(b"\r\n");
    }
    sink.bytes(b"\r\n");
    sink.len
}

/// `HTTP/1.1 NNN reason`; returns the code.
fn status_line<'a>(line: &'a [u8], sink: &mut Sink<'_>) -> &'a [u8] {
    let after_version = line.iter().position(|&b| is_ows(b)).map_or(line.len(), |at| at);
    let rest = trim(line.get(after_version..).unwrap_or_default());
    let (code, rest) = rest.split_at(rest.len().min(3));
    let reason = rest.iter().position(|&b| is_ows(b)).and_then(|at| rest.get(at + 1..)).unwrap_or_default();
    sink.bytes(b"HTTP/1.1 ");
    sink.text(code);
    sink.bytes(b" ");
    sink.text(trim(reason));
    sink.bytes(b"\r\n");
    code
}

fn is_framing(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}

/// Fields that speak of the connection and are not framing.
fn is_of_connection(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 5] = [b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"];
    NAMES.iter().any(|one| name.eq_ignore_ascii_case(one))
}

/// The first of equal lengths, without leading zeros.
fn plain_length(value: &[u8]) -> &[u8] {
    let first = trim(value.split(|&b| b == b',').next().unwrap_or_default());
    let zeros = first.iter().take_while(|&&b| b == b'0').count().min(first.len().saturating_sub(1));
    first.get(zeros..).unwrap_or_default()
}

/// The lines of a head without their ends, up to the empty one.
#[derive(Clone, Copy)]
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|&b| b == b'\n')?;
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

impl<'a> Lines<'a> {
    /// Names and values; a value holds its folds as they came.
    fn fields(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut lines = self;
        std::iter::from_fn(move || {
            loop {
                let from = lines.rest;
                let line = lines.next().filter(|line| !line.is_empty())?;
                let mut len = line.len();
                while matches!(lines.rest.first(), Some(b' ' | b'\t')) {
                    lines.next()?;
                    len = from.len() - lines.rest.len() - 1;
                }
                let whole = from.get(..len).unwrap_or_default();
                let Some(colon) = whole.iter().position(|&b| b == b':') else { continue };
                let (name, value) = whole.split_at(colon);
                let name = trim_end(name);
                if !name.is_empty() && name.iter().all(|&b| is_token(b)) {
                    return Some((name, trim(value.get(1..).unwrap_or_default())));
                }
            }
        })
    }

    /// Whether Connection names this field; framing fields cannot be taken away so.
    fn nominate(self, name: &[u8]) -> bool {
        let mut options = self.fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
        !is_framing(name)
            && options.any(|(_, value)| value.split(|&b| b == b',').any(|o| trim(o).eq_ignore_ascii_case(name)))
    }
}

fn trim_end(mut name: &[u8]) -> &[u8] {
    while let [rest @ .., last] = name {
        if !is_ows(*last) {
            break;
        }
        name = rest;
    }
    name
}

/// Counts what is written, and keeps what there is room for.
struct Sink<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Sink<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(to) = self.out.get_mut(self.len..self.len + bytes.len()) {
            to.copy_from_slice(bytes);
        }
        self.len += bytes.len();
    }

    /// With spaces for what text may not hold.
    fn text(&mut self, text: &[u8]) {
        for &b in text {
            self.bytes(&[if is_text(b) { b } else { b' ' }]);
        }
    }
}
