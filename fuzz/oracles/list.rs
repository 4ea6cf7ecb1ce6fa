//! Header lists of HTTP/2 and HTTP/3, beside the rules of RFC 9113, section 8, written down one after the other over
//! the whole list: both must take the same lists, with the same status and framing, and the same content.
//!
//! The first byte chooses protocol and method. Then come fields: a byte for the name (its length, or from 64 up one of
//! `NAMES`), a byte for the value's length (from 64 up one of `VALUES`), and the bytes of both. 255 ends the list; each
//! byte behind it is a DATA frame of that size.

use tidegate::validator::{End, Event, FieldLine, Framing, Method, Options, Protocol, Validator};

const NAMES: [&[u8]; 12] = [
    b":status",
    b"content-length",
    b"connection",
    b"te",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
    b"Server",
    b":path",
    b"x",
    b"content-type",
];
const VALUES: [&[u8]; 9] = [b"200", b"204", b"103", b"101", b"304", b"5", b"0", b"a b", b"600"];

/// Judges one list and what follows it.
pub fn run(data: &[u8]) {
    let [kind, rest @ ..] = data else { return };
    let protocol = if kind & 1 == 0 { Protocol::Http2 } else { Protocol::Http3 };
    let method = [Method::Get, Method::Head, Method::Connect, Method::Get][usize::from(kind >> 1 & 3)];
    let (fields, frames) = parse(rest);
    // Limits are not the twin's.
    if fields.len() > 64 || data.len() > 8192 {
        return;
    }
    let mut validator = Validator::new(&Options { method, protocol, ..Options::default() });
    let seen = validator.fields(fields.iter().map(|&(name, value)| FieldLine { name, value }));
    let Some((status, framing, length)) = twin(&fields, method) else {
        assert_eq!(seen.event, Event::Reject, "the twin refuses it");
        assert!(seen.consumed <= fields.len(), "one of the fields, or the list as a whole");
        return;
    };
    let event = if matches!(status, 100..=199) { Event::Interim } else { Event::Head };
    assert_eq!((seen.event, seen.status, seen.consumed), (event, status, fields.len()), "{:?}", seen.reason);
    if event == Event::Interim {
        return;
    }
    assert_eq!((seen.framing, seen.content_length), (framing, length));
    let mut sum = 0;
    for &size in frames {
        sum += u64::from(size);
        let fits = match framing {
            Framing::None => sum == 0,
            Framing::Length => sum <= length,
            _ => true,
        };
        let seen = validator.data(u64::from(size), None);
        assert_eq!(seen.event, if fits { Event::NeedMore } else { Event::Reject });
        if !fits {
            return;
        }
    }
    let whole = framing != Framing::Length || sum == length;
    assert_eq!(validator.finish(End::Close).event, if whole { Event::Complete } else { Event::Reject });
}

type Fields<'a> = Vec<(&'a [u8], &'a [u8])>;

fn parse(mut rest: &[u8]) -> (Fields<'_>, &[u8]) {
    let mut fields = Vec::new();
    while let [name, value, text @ ..] = rest {
        if *name == 255 {
            return (fields, &rest[1..]);
        }
        rest = text;
        let mut take = |code: u8, known: &[&'static [u8]]| match usize::from(code) {
            len @ ..64 => {
                let (taken, behind) = rest.split_at(len.min(rest.len()));
                rest = behind;
                taken
            }
            code => known[code % known.len()],
        };
        fields.push((take(*name, &NAMES), take(*value, &VALUES)));
    }
    (fields, b"")
}

fn twin(fields: &Fields<'_>, method: Method) -> Option<(u16, Framing, u64)> {
    let pseudo = fields.iter().take_while(|(name, _)| name.starts_with(b":")).count();
    let [(b":status", status)] = fields[..pseudo] else { return None };
    if status.len() != 3 || !status.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status: u16 = std::str::from_utf8(status).ok()?.parse().ok()?;
    if !(100..600).contains(&status) || status == 101 {
        return None;
    }
    let mut length = None;
    for (name, value) in &fields[pseudo..] {
        if name.is_empty() || !name.iter().all(|&b| is_token(b) && !b.is_ascii_uppercase()) {
            return None;
        }
        if [&b"connection"[..], b"te", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"]
            .contains(name)
        {
            return None;
        }
        let is_ows = |b: &u8| b" \t".contains(b);
        if value.first().is_some_and(is_ows) || value.last().is_some_and(is_ows) || !value.iter().all(|&b| is_text(b)) {
            return None;
        }
        let ignored = method == Method::Connect && (200..300).contains(&status);
        if *name == b"content-length" && !ignored {
            if length.is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let digits = std::str::from_utf8(value).ok()?;
            if digits.len() > 64 || digits.trim_start_matches('0').len() > 19 {
                return None;
            }
            length = Some(digits.parse().ok().filter(|&n| n <= i64::MAX as u64)?);
        }
    }
    Some(match length {
        _ if method == Method::Connect && (200..300).contains(&status) => (status, Framing::Tunnel, 0),
        _ if method == Method::Head || matches!(status, 204 | 304) => (status, Framing::None, 0),
        Some(length) => (status, Framing::Length, length),
        None => (status, Framing::Close, 0),
    })
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn is_text(b: u8) -> bool {
    b == b'\t' || b >= b' ' && b != 0x7f
}
