//! CGI heads, beside a reader that has the whole head and splits it into lines: both must take the same heads, with the
//! same status and the same framing. No cut of the bytes changes what is seen.

use tidegate::validator::{Event, Framing, Options, Protocol, Validator};

/// Judges one head.
pub fn run(data: &[u8]) {
    // A status line has an oracle of its own; limits are not the twin's.
    if data.len() > 4096 || data.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"http/")) {
        return;
    }
    let options = Options { protocol: Protocol::Cgi, max_fields: 4096, max_name: 4096, ..Options::default() };
    let whole = Validator::new(&options).feed(data);
    let mut validator = Validator::new(&options);
    let mut bytes = data.chunks(1).map(|byte| validator.feed(byte)).filter(|seen| seen.event != Event::NeedMore);
    let cut = bytes.next().map(|seen| (seen.event, seen.reason, seen.offset, seen.status, seen.flags));
    let seen = (whole.event, whole.reason, whole.offset, whole.status, whole.flags);
    assert_eq!(cut.unwrap_or(seen), seen, "cut into bytes");
    match (whole.event, twin(data)) {
        (Event::Head, Some(twin)) => {
            assert_eq!((whole.status, whole.framing, whole.content_length, whole.consumed), twin);
        }
        (Event::Reject | Event::NeedMore, None) => {}
        (event, twin) => panic!("{event:?} {:?}, {twin:?}", whole.reason),
    }
}

fn twin(data: &[u8]) -> Option<(u16, Framing, u64, usize)> {
    let (mut at, mut status, mut location, mut content_type, mut length) = (0, None, false, false, None);
    loop {
        let rest = &data[at..];
        let end = rest.iter().position(|&b| b == b'\n')?;
        at += end + 1;
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|&b| b == b':')?;
        let (name, value) = (line[..colon].to_ascii_lowercase(), &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|&b| is_token(b)) || !value.iter().all(|&b| is_text(b)) {
            return None;
        }
        // A character a byte.
        let value: String = value.iter().map(|&b| char::from(b)).collect();
        let value = value.trim_matches([' ', '\t']);
        match &name[..] {
            b"transfer-encoding" => return None,
            b"status" if status.is_some() => return None,
            b"status" => {
                let code = value.split([' ', '\t']).next()?;
                if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
                status = Some(code.parse().ok().filter(|code| (200..600).contains(code))?);
            }
            b"location" if std::mem::replace(&mut location, true) => return None,
            b"content-type" if std::mem::replace(&mut content_type, true) => return None,
            b"content-length" => {
                let whole = !value.is_empty() && value.len() <= 64 && value.bytes().all(|b| b.is_ascii_digit());
                if length.is_some() || !whole || value.trim_start_matches('0').len() > 19 {
                    return None;
                }
                length = Some(value.parse().ok().filter(|&n| n <= i64::MAX as u64)?);
            }
            _ => {}
        }
    }
    if status.is_none() && !location && !content_type {
        return None;
    }
    let status: u16 = status.unwrap_or(if location { 302 } else { 200 });
    let (framing, length) = match length {
        _ if matches!(status, 204 | 304) => (Framing::None, 0),
        Some(length) => (Framing::Length, length),
        None => (Framing::Close, 0),
    };
    Some((status, framing, length, at))
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn is_text(b: u8) -> bool {
    b == b'\t' || b >= b' ' && b != 0x7f
}
