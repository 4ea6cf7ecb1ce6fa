//! Bodies, beside a reader that does the obvious thing: it has the whole stream in memory, and reads length-delimited,
//! chunked and close-delimited bodies with slices and searches. Both must find the same body, the same end, or both
//! refuse. Chunk framing that exceeds a budget is refused by the validator alone, and named as such.
//!
//! The first byte chooses the framing, the second how the stream is cut, the third how it ends; the rest is the body.

use tidegate::validator::{End, Event, Options, Reason, Validator};

const HEADS: [&[u8]; 4] = [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
];

/// Judges one body.
pub fn run(data: &[u8]) {
    let [framing, cut, end, body @ ..] = data else { return };
    // Mostly chunked: there is most to get wrong.
    let framing = Some(usize::from(*framing)).filter(|&n| n < HEADS.len()).unwrap_or(0);
    let end = [End::Close, End::Reset, End::Timeout][usize::from(*end) % 3];
    let stream = [HEADS[framing], body].concat();
    let seen = feed(&stream, usize::from(*cut) + 1, end);
    assert_eq!(seen, feed(&stream, usize::MAX, end), "cuts change nothing");
    let twin = match framing {
        0 => chunked(body),
        1 if body.len() >= 20 => Some((body[..20].to_vec(), 20)),
        2 if matches!(end, End::Close) => Some((body.to_vec(), body.len())),
        3 => Some((Vec::new(), 0)),
        _ => None,
    };
    match (&seen.end, twin) {
        ((Event::Complete, _, offset), Some((body, taken))) => {
            assert_eq!(seen.body, body);
            assert_eq!(*offset, (HEADS[framing].len() + taken) as u64);
        }
        ((Event::Reject, ..), None) => {}
        ((Event::Reject, reason, _), Some(_)) => {
            assert!(BUDGETS.contains(reason), "{} is fine for the twin", reason.name());
        }
        (end, twin) => panic!("{end:?}, {twin:?}"),
    }
}

/// Bounds that the twin knows nothing of.
const BUDGETS: &[Reason] = &[
    Reason::CHUNK_EXTENSION_TOO_LARGE,
    Reason::CHUNK_OVERHEAD,
    Reason::TRAILER_TOO_LARGE,
    Reason::TRAILER_LINE_TOO_LONG,
    Reason::TOO_MANY_TRAILERS,
    Reason::TRAILER_NAME_TOO_LONG,
];

#[derive(Debug, PartialEq)]
struct Seen {
    body: Vec<u8>,
    end: (Event, Reason, u64),
}

fn feed(stream: &[u8], most: usize, end: End) -> Seen {
    let mut validator = Validator::new(&Options::default());
    let mut body = Vec::new();
    for mut part in stream.chunks(most.min(stream.len())) {
        loop {
            let seen = validator.feed(part);
            match seen.event {
                Event::NeedMore => break,
                Event::Data => body.extend(&part[seen.data..seen.data + seen.data_len]),
                Event::Interim | Event::Head => {}
                Event::Complete | Event::Reject => return Seen { body, end: (seen.event, seen.reason, seen.offset) },
            }
            part = &part[seen.consumed..];
        }
    }
    let seen = validator.finish(end);
    Seen { body, end: (seen.event, seen.reason, seen.offset) }
}

/// RFC 9112, section 7.1, over a body that is all there: the data, and the bytes up to its end.
fn chunked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = line(bytes, &mut at)?;
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (size, extensions) = line.split_at(digits);
        if digits == 0 || digits > 16 || !are_extensions(extensions) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        let size = usize::try_from(size).ok().filter(|&n| n <= i64::MAX as usize)?;
        if size == 0 {
            break;
        }
        body.extend(bytes.get(at..at.checked_add(size)?)?);
        at += size;
        if bytes.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    loop {
        let line = trailer_line(bytes, &mut at)?;
        if line.is_empty() {
            return Some((body, at));
        }
        let colon = line.iter().position(|&b| b == b':')?;
        let (name, value) = line.split_at(colon);
        if name.is_empty() || !name.iter().all(|&b| is_token(b)) || !value.iter().all(|&b| is_text(b)) {
            return None;
        }
    }
}

/// The line at `at`, which must end with CR LF and hold no other of either.
fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = bytes.get(*at..)?;
    let end = rest.windows(2).position(|w| w == b"\r\n")?;
    *at += end + 2;
    rest.get(..end).filter(|line| !line.iter().any(|b| b"\r\n".contains(b)))
}

/// A field line may end with a lone LF (RFC 9112, section 2.2); the empty line behind the fields is framing, and may not.
fn trailer_line<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = bytes.get(*at..)?;
    let end = rest.iter().position(|&b| b == b'\n')?;
    *at += end + 1;
    let line = rest.get(..end)?;
    let content = line.strip_suffix(b"\r").unwrap_or(line);
    (!content.contains(&b'\r') && !line.is_empty()).then_some(content)
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        rest = spaces(rest);
        let Some(next) = rest.strip_prefix(b";") else { return false };
        rest = spaces(next);
        let Some(next) = token(rest) else { return false };
        rest = next;
        if let Some(value) = spaces(rest).strip_prefix(b"=") {
            let value = spaces(value);
            let Some(next) = token(value).or_else(|| quoted(value)) else { return false };
            rest = next;
        }
    }
    true
}

fn spaces(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|b| b" \t".contains(b)).count()..]
}

fn token(bytes: &[u8]) -> Option<&[u8]> {
    let len = bytes.iter().take_while(|&&b| is_token(b)).count();
    (len > 0).then(|| &bytes[len..])
}

fn quoted(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"\"")?.iter();
    loop {
        match *rest.next()? {
            b'"' => return Some(rest.as_slice()),
            b'\\' if is_text(*rest.next()?) => {}
            b'\\' => return None,
            b if is_text(b) => {}
            _ => return None,
        }
    }
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn is_text(b: u8) -> bool {
    b == b'\t' || b >= b' ' && b != 0x7f
}
