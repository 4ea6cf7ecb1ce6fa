//! Properties of the validator over random responses, random damage and random cuts.

use proptest::prelude::*;
use tidegate::validator::{End, Event, Framing, Method, Options, Reason, Validator, Verdict};

/// What a host sees, with neighbouring DATA events joined: the same for every cut.
#[derive(Debug, PartialEq, Default)]
struct Log {
    heads: Vec<(Event, u16, u32, u64)>,
    body: Vec<u8>,
    end: Option<(Event, Reason, u64, u32)>,
}

fn run<'a>(options: &Options<'_>, parts: impl Iterator<Item = &'a [u8]>, end: End) -> Log {
    let mut validator = Validator::new(options);
    let mut log = Log::default();
    for mut part in parts {
        loop {
            let seen = validator.feed(part);
            match seen.event {
                Event::NeedMore => break,
                Event::Data => log.body.extend(&part[seen.data..seen.data + seen.data_len]),
                Event::Interim | Event::Head => log.heads.push((seen.event, seen.status, seen.flags, seen.offset)),
                Event::Complete | Event::Reject => {
                    log.end = Some(outcome(&seen));
                    break;
                }
            }
            part = &part[seen.consumed..];
        }
    }
    log.end.get_or_insert_with(|| outcome(&validator.finish(end)));
    log
}

fn outcome(seen: &Verdict) -> (Event, Reason, u64, u32) {
    (seen.event, seen.reason, seen.offset, seen.flags)
}

fn in_parts<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ("[A-Za-z][A-Za-z0-9-]{0,24}", "[ -~]{0,90}").prop_map(|(name, value)| format!("X{name}: {value}\r\n")),
        1 => Just("Connection: close\r\n".to_string()),
        1 => Just("connection: Keep-Alive\r\n".to_string()),
        1 => Just("Connection: a, keep-alive ,close\r\n".to_string()),
        1 => Just("Keep-Alive: timeout=5\r\n".to_string()),
        1 => Just("Upgrade: websocket\r\n".to_string()),
        1 => "[a-z]{300,700}".prop_map(|value| format!("Cookie:{value}\t\r\n")),
    ]
}

#[derive(Debug, Clone)]
enum Body {
    None,
    Length(Vec<u8>),
    Chunks(Vec<Vec<u8>>, &'static str, &'static str),
    Close(Vec<u8>),
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        Just(Body::None),
        bytes().prop_map(Body::Length),
        (
            prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            prop::sample::select(vec!["", ";a", ";a=b", " ; a = \"q;\\\"\""]),
            prop::sample::select(vec!["", "X: y\r\n", "A:\r\nB: c\r\n"]),
        )
            .prop_map(|(chunks, extension, trailers)| Body::Chunks(chunks, extension, trailers)),
        bytes().prop_map(Body::Close),
    ]
}

/// A valid response, and what its naive reading is: the generator knows the answer.
fn response() -> impl Strategy<Value = (Vec<u8>, u16, Framing, Vec<u8>)> {
    let fields = || prop::collection::vec(field(), 0..9);
    (any::<bool>(), prop::sample::select(vec![200u16, 201, 302, 404, 503, 599]), fields(), fields(), body()).prop_map(
        |(interim, status, before, after, body)| {
            let mut out = Vec::new();
            if interim {
                out.extend(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n");
            }
            let status = if matches!(body, Body::None) { 204 } else { status };
            out.extend(format!("HTTP/1.1 {status} Because\r\n").bytes());
            out.extend(before.concat().bytes());
            let framing = match &body {
                Body::None => Framing::None,
                Body::Length(bytes) => {
                    out.extend(format!("Content-Length: {}\r\n", bytes.len()).bytes());
                    Framing::Length
                }
                Body::Chunks(..) => {
                    out.extend(b"Transfer-Encoding: chunked\r\n");
                    Framing::Chunked
                }
                Body::Close(_) => Framing::Close,
            };
            out.extend(after.concat().bytes());
            out.extend(b"\r\n");
            let expected = match body {
                Body::None => Vec::new(),
                Body::Length(bytes) | Body::Close(bytes) => {
                    out.extend(&bytes);
                    bytes
                }
                Body::Chunks(chunks, extension, trailers) => {
                    for chunk in &chunks {
                        out.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
                        out.extend(chunk);
                        out.extend(b"\r\n");
                    }
                    out.extend(format!("0\r\n{trailers}\r\n").bytes());
                    chunks.concat()
                }
            };
            (out, status, framing, expected)
        },
    )
}

/// Replace, insert, delete, or repeat a stretch: at a place, with a byte that matters to the grammar or any other.
fn damage() -> impl Strategy<Value = (u8, usize, u8)> {
    let byte = prop_oneof![prop::sample::select(b"\r\n\t :;,\"0159afAchunkedTE\0\x7f\x80".to_vec()), any::<u8>()];
    (0..4u8, any::<usize>(), byte)
}

fn apply(bytes: &mut Vec<u8>, (kind, at, b): (u8, usize, u8)) {
    let at = at % bytes.len().max(1);
    match kind {
        0 if !bytes.is_empty() => bytes[at] = b,
        1 => bytes.insert(at.min(bytes.len()), b),
        2 if !bytes.is_empty() => drop(bytes.remove(at)),
        _ => {
            let stretch = bytes[at..(at + usize::from(b)).min(bytes.len())].to_vec();
            bytes.splice(at..at, stretch);
        }
    }
}

/// 1,500 cases, or as many as PROPTEST_CASES says.
fn config() -> ProptestConfig {
    let standard = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { standard } else { ProptestConfig { cases: 1500, ..standard } }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_valid_response_is_read_as_it_was_built((bytes, status, framing, body) in response(), cuts: Vec<usize>) {
        let log = run(&Options::default(), in_parts(&bytes, &cuts).into_iter(), End::Close);
        let (event, reason, offset, _) = log.end.expect("an end");
        prop_assert_eq!((event, reason), (Event::Complete, Reason::NONE));
        prop_assert_eq!(offset, bytes.len() as u64);
        prop_assert_eq!(log.heads.last().map(|head| head.1), Some(status));
        prop_assert_eq!(log.body, body);
        // Nothing shorter is complete, unless only the close says so.
        let short = run(&Options::default(), std::iter::once(&bytes[..bytes.len() - 1]), End::Close);
        let early = short.end.expect("an end").0;
        prop_assert!(early == Event::Reject || framing == Framing::Close);
        let reset = run(&Options::default(), std::iter::once(&bytes[..]), End::Reset);
        prop_assert_eq!(reset.end.expect("an end").0 == Event::Reject, framing == Framing::Close);
    }

    #[test]
    fn no_cut_changes_what_is_seen(
        (bytes, ..) in response(),
        damages in prop::collection::vec(damage(), 0..4),
        cuts: Vec<usize>,
        tight: bool,
        method in prop::sample::select(vec![Method::Get, Method::Head, Method::Connect]),
    ) {
        let mut bytes = bytes;
        damages.into_iter().for_each(|one| apply(&mut bytes, one));
        let mut options = Options { method, upgrade: b"websocket, h2c", ..Options::default() };
        if tight {
            options = Options { max_head: 400, max_line: 120, max_fields: 6, max_trailer: 10, max_body: 50, ..options };
        }
        // Byte by byte, no line is ever whole: the slow form throughout.
        let slow = run(&options, bytes.chunks(1), End::Close);
        prop_assert_eq!(&run(&options, std::iter::once(&bytes[..]), End::Close), &slow);
        prop_assert_eq!(&run(&options, in_parts(&bytes, &cuts).into_iter(), End::Close), &slow);
        let silent = Options { no_data: true, ..options };
        let quiet = run(&silent, std::iter::once(&bytes[..]), End::Close);
        prop_assert_eq!((quiet.heads, quiet.end), (slow.heads, slow.end));
    }

    #[test]
    fn any_bytes_are_judged(bytes: Vec<u8>, cuts: Vec<usize>) {
        let slow = run(&Options::default(), bytes.chunks(1), End::Timeout);
        prop_assert_eq!(run(&Options::default(), in_parts(&bytes, &cuts).into_iter(), End::Timeout), slow);
    }
}

#[test]
fn limits_name_the_first_byte_beyond() {
    let case = |options: &Options<'_>, bytes: &[u8]| {
        let whole = run(options, std::iter::once(bytes), End::Close).end.expect("an end");
        assert_eq!(run(options, bytes.chunks(1), End::Close).end, Some(whole));
        (whole.1, whole.2)
    };
    let head = |field: &str| format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 0\r\n\r\n").into_bytes();
    let defaults = Options::default();

    let name = |n: usize| head(&format!("{}: x\r\n", "a".repeat(n)));
    assert_eq!(case(&defaults, &name(256)).0, Reason::NONE);
    assert_eq!(case(&defaults, &name(257)), (Reason::FIELD_NAME_TOO_LONG, 17 + 256));

    let line = |n: usize| head(&format!("a:{}\r\n", "x".repeat(n - 2)));
    assert_eq!(case(&defaults, &line(16384)).0, Reason::NONE);
    assert_eq!(case(&defaults, &line(16385)), (Reason::LINE_TOO_LONG, 17 + 16384));

    let wide = format!("a:{}\r\n", "x".repeat(10_000)).repeat(7);
    assert_eq!(case(&defaults, &head(&wide)), (Reason::HEAD_TOO_LARGE, 65536));

    let length = |digits: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {digits}\r\n\r\n").into_bytes();
    assert_eq!(case(&defaults, &length("9223372036854775807")).0, Reason::BODY_INCOMPLETE);
    assert_eq!(case(&defaults, &length("9223372036854775808")), (Reason::CONTENT_LENGTH_TOO_LARGE, 33 + 18));

    let interim = format!("HTTP/1.1 102 x\r\na:{}\r\n\r\n", "x".repeat(16_000));
    assert_eq!(case(&defaults, interim.repeat(5).as_bytes()), (Reason::INTERIM_TOO_LARGE, 65536));

    let chunked = |rest: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{rest}").into_bytes();
    let extended = format!("fff;{}\r\n{}\r\n", "x".repeat(300), "d".repeat(4095));
    let first_beyond = 47 + 54 * 4403 + 3 + (16384 - 54 * 301);
    assert_eq!(case(&defaults, &chunked(&extended.repeat(60))), (Reason::CHUNK_EXTENSION_TOO_LARGE, first_beyond));
    let padded = "0000000000000001\r\nZ\r\n".repeat(1000);
    assert_eq!(case(&defaults, &chunked(&padded)), (Reason::CHUNK_OVERHEAD, 47 + 819 * 21 + 4));

    let trailer = |n: usize| chunked(&format!("0\r\n{}\r\n", "a:\r\n".repeat(n)));
    assert_eq!(case(&defaults, &trailer(64)).0, Reason::NONE);
    assert_eq!(case(&defaults, &trailer(65)), (Reason::TOO_MANY_TRAILERS, 50 + 64 * 4));
    let small = Options { max_trailer: 10, max_body: 5, ..defaults };
    assert_eq!(case(&small, &chunked("0\r\nabc: defghi\r\n\r\n")), (Reason::TRAILER_TOO_LARGE, 50 + 10));

    assert_eq!(case(&small, &length("6")).0, Reason::BODY_TOO_LARGE);
    assert_eq!(case(&small, b"HTTP/1.1 200 OK\r\n\r\n123456"), (Reason::BODY_TOO_LARGE, 24));
    assert_eq!(case(&small, &chunked("3\r\nabc\r\n3\r\nabc\r\n")), (Reason::BODY_TOO_LARGE, 47 + 10));
    assert_eq!(case(&small, &chunked("3\r\nabc\r\n2\r\nab\r\n0\r\n\r\n")).0, Reason::NONE);
}
