//! What requests and responses have in common: fields, framing, bodies; strictly by RFC 9112.
//!
//! Whatever a lenient reader would let pass is malformed here: the test bed must see what a gateway got wrong, or let
//! through. Nothing of this code is shared with Tidegate's own validator: two readers that share code share errors.

use crate::wire::{Broken, Wire};

/// Field lines in the order they came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads field lines up to and with the empty line.
    pub fn read(wire: &mut Wire) -> Result<Fields, Broken> {
        let mut fields = Vec::new();
        loop {
            let line = wire.line(MAX_LINE)?;
            if line.is_empty() {
                return Ok(Fields(fields));
            }
            if fields.len() == MAX_FIELDS {
                return Err(Broken::Malformed(format!("more than {MAX_FIELDS} fields")));
            }
            fields.push(parse_field(&line).map_err(Broken::Malformed)?);
        }
    }

    /// The first value of a field; names compare without case.
    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All values of a field, a line each.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Whether a list-valued field holds this token.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
    }

    /// Name and value of each line.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// What Content-Length and Transfer-Encoding say; None if neither is there.
    pub fn framing(&self) -> Result<Option<Framing>, String> {
        let codings: Vec<_> = self.all("transfer-encoding").collect();
        let lengths: Vec<_> = self.all("content-length").collect();
        match (codings.as_slice(), lengths.as_slice()) {
            ([], []) => Ok(None),
            ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
            ([], [length]) => {
                // `parse` alone would take a sign.
                let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
                let n = length.parse().ok().filter(|_| digits);
                n.map(|n| Some(Framing::Length(n))).ok_or_else(|| format!("Content-Length: {length}"))
            }
            ([], _) => Err("more than one Content-Length".into()),
            (_, []) => Err(format!("Transfer-Encoding: {}", codings.join(", "))),
            _ => Err("both Transfer-Encoding and Content-Length".into()),
        }
    }
}

/// Where a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// By chunks.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// Appends a body to `body`; what had come before an error stays there.
pub fn read_body(wire: &mut Wire, framing: Framing, body: &mut Vec<u8>) -> Result<(), Broken> {
    match framing {
        Framing::None => Ok(()),
        Framing::Length(n) => wire.exactly(n, body).map_err(Broken::End),
        Framing::Chunked => read_chunks(wire, body),
        Framing::UntilClose => loop {
            let n = wire.buffered().len();
            body.extend_from_slice(&wire.take(n));
            match wire.fill() {
                Ok(()) => {}
                Err(crate::wire::End::Closed) => return Ok(()),
                Err(end) => return Err(Broken::End(end)),
            }
        },
    }
}

/// Whether these bytes may be a method or a field name (RFC 9110, section 5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

fn read_chunks(wire: &mut Wire, body: &mut Vec<u8>) -> Result<(), Broken> {
    loop {
        let line = wire.line(MAX_LINE)?;
        let size = line.split(|&b| b == b';').next().unwrap_or_default();
        let n = std::str::from_utf8(size)
            .ok()
            .filter(|s| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|s| u64::from_str_radix(s, 16).ok())
            .ok_or_else(|| Broken::Malformed(format!("chunk size {:?}", String::from_utf8_lossy(&line))))?;
        if n == 0 {
            return Fields::read(wire).map(drop);
        }
        wire.exactly(n, body).map_err(Broken::End)?;
        if !wire.line(MAX_LINE)?.is_empty() {
            return Err(Broken::Malformed("a chunk longer than its size".into()));
        }
    }
}

fn parse_field(line: &[u8]) -> Result<(String, String), String> {
    let shown = || String::from_utf8_lossy(line).into_owned();
    let colon = line.iter().position(|&b| b == b':').ok_or_else(|| format!("field without colon: {}", shown()))?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if !is_token(name) {
        return Err(format!("field name: {}", shown()));
    }
    if value.iter().any(|&b| (b < b' ' && b != b'\t') || b == 0x7f) {
        return Err(format!("control character in a field: {}", shown()));
    }
    Ok((String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned()))
}

/// Larger than any server in a test allows, so that the server's limit is the one that is met.
pub const MAX_LINE: usize = 128 * 1024;
const MAX_FIELDS: usize = 1000;
