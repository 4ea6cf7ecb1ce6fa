//! The response catalogue in `data/response-cases.txt`, row by row: whole, byte by byte, and in every two parts.

use tidegate::validator::{
    EXCESS, End, Event, Framing, Method, NORMALISE, Options, Protocol, REFRAME, REUSABLE, Reason, Validator, Verdict,
    tolerance,
};

struct Case {
    id: &'static str,
    method: Method,
    upgrade: &'static [u8],
    tolerate: u32,
    protocol: Protocol,
    end: End,
    verdict: &'static str,
    seen: &'static str,
    bytes: Vec<u8>,
}

fn cases() -> Vec<Case> {
    include_str!("data/response-cases.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut columns = line.splitn(5, " | ");
            let mut next = || columns.next().unwrap_or_else(|| panic!("five columns: {line}"));
            let (id, context, verdict, seen, bytes) = (next(), next(), next(), next(), next());
            let (request, end) = context.split_once(' ').expect("a request and an end");
            let (request, mode) = request.split_once('/').unwrap_or((request, ""));
            let (tolerate, protocol) = match mode {
                "" => (0, Protocol::Http1),
                "compatible" => (tolerance::COMPATIBLE, Protocol::Http1),
                "observe" => (tolerance::OBSERVE, Protocol::Http1),
                "cgi" => (0, Protocol::Cgi),
                other => panic!("{id}: {other}"),
            };
            let (method, upgrade) = request.split_once('+').unwrap_or((request, ""));
            let end = match end {
                "close" => End::Close,
                "rst" => End::Reset,
                "open" => End::Timeout,
                other => panic!("{id}: end {other}"),
            };
            let method = match method {
                "GET" => Method::Get,
                "HEAD" => Method::Head,
                "CONNECT" => Method::Connect,
                other => panic!("{id}: method {other}"),
            };
            let (upgrade, bytes) = (upgrade.as_bytes(), parse(bytes));
            Case { id, method, upgrade, tolerate, protocol, end, verdict, seen, bytes }
        })
        .collect()
}

/// `"text"*3 "more"`.
fn parse(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == ' ' {
            continue;
        }
        assert_eq!(c, '"', "a string begins with a quote: {text}");
        let mut part = Vec::new();
        loop {
            let b = match chars.next().expect("a closing quote") {
                '"' => break,
                '\\' => match chars.next().expect("an escape") {
                    'r' => b'\r',
                    'n' => b'\n',
                    't' => b'\t',
                    'x' => {
                        let hex: String = chars.by_ref().take(2).collect();
                        u8::from_str_radix(&hex, 16).expect("two hexadecimal digits")
                    }
                    c @ ('"' | '\\') => c as u8,
                    other => panic!("escape {other}"),
                },
                c => u8::try_from(c).expect("ASCII"),
            };
            part.push(b);
        }
        let mut times = 1;
        if chars.next_if_eq(&'*').is_some() {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            times = digits.parse().expect("a number");
        }
        out.extend(part.repeat(times));
    }
    out
}

/// What a host gets to see of a stream that arrives in `parts` and then ends.
#[derive(Default)]
struct Seen {
    interim: u32,
    interim_normalised: bool,
    body: usize,
    last: Option<Verdict>,
}

impl Seen {
    /// Feeds until an event that ends the conversation; true if there was one.
    fn feed(&mut self, validator: &mut Validator, mut part: &[u8]) -> bool {
        loop {
            let verdict = validator.feed(part);
            assert!(verdict.consumed <= part.len());
            match verdict.event {
                Event::NeedMore => {
                    assert_eq!(verdict.consumed, part.len(), "NEED_MORE takes everything");
                    return false;
                }
                Event::Interim => {
                    self.interim += 1;
                    self.interim_normalised |= verdict.flags & NORMALISE != 0;
                }
                Event::Head => assert_eq!(verdict.flags & REUSABLE, 0, "known at the end only"),
                Event::Data => {
                    assert_eq!(verdict.data + verdict.data_len, verdict.consumed);
                    assert!(verdict.data_len > 0);
                    self.body += verdict.data_len;
                }
                Event::Complete | Event::Reject => {
                    self.last = Some(verdict);
                    return true;
                }
            }
            part = &part[verdict.consumed..];
        }
    }
}

fn run<'a>(case: &Case, parts: impl Iterator<Item = &'a [u8]>, no_data: bool) -> String {
    let &Case { method, upgrade, tolerate, protocol, .. } = case;
    let options = Options { method, upgrade, tolerate, protocol, no_data, ..Options::default() };
    let mut validator = Validator::new(&options);
    let mut seen = Seen::default();
    let mut over = false;
    for part in parts {
        let again = seen.feed(&mut validator, part);
        assert!(again || !over, "{}: a verdict once given may not be taken back", case.id);
        over = again;
    }
    if !over {
        seen.last = Some(validator.finish(case.end));
    }
    let last = seen.last.expect("a final verdict");
    if last.event == Event::Reject {
        let repeated = validator.feed(b"anything");
        assert_eq!((repeated.event, repeated.reason, repeated.offset), (Event::Reject, last.reason, last.offset));
        return format!("{} @{}", last.reason.name(), last.offset);
    }
    let mut text = String::new();
    if seen.interim > 0 {
        text += &format!("interim={} ", seen.interim);
    }
    if seen.interim_normalised {
        text += "interim-normalise ";
    }
    let framing = match last.framing {
        Framing::Unknown => "unknown",
        Framing::None => "none",
        Framing::Length => "length",
        Framing::Chunked => "chunked",
        Framing::Close => "close",
        Framing::Tunnel => "tunnel",
    };
    text += &format!("{} {framing}", last.status);
    if last.framing != Framing::None {
        text += &if no_data { " body=?".to_string() } else { format!(" body={}", seen.body) };
    }
    for (flag, name) in [(REUSABLE, " reuse"), (NORMALISE, " normalise"), (REFRAME, " reframe"), (EXCESS, " excess")] {
        text += if last.flags & flag != 0 { name } else { "" };
    }
    if last.tolerated != Reason::NONE {
        text += &format!(" tolerated={}@{}", last.tolerated.name(), last.tolerated_offset);
    }
    text
}

#[test]
fn every_row_in_one_piece() {
    let mut wrong = String::new();
    for case in cases() {
        let seen = run(&case, std::iter::once(&case.bytes[..]), false);
        if seen != case.seen {
            wrong += &format!("{}\t{seen}\n", case.id);
        }
        let rejected = seen.contains(" @");
        let rewritten = seen.contains("normalise")
            || seen.contains("reframe")
            || seen.contains("excess")
            || !seen.contains("reuse");
        let verdict_fits = match case.verdict {
            "accept" => !rejected && !seen.contains("normalise") && !seen.contains("excess"),
            "normalise" => !rejected && rewritten,
            "reject" => rejected,
            other => panic!("{}: verdict {other}", case.id),
        };
        if !verdict_fits {
            wrong += &format!("{}\t{seen}\tis to {}\n", case.id, case.verdict);
        }
    }
    assert!(wrong.is_empty(), "seen instead:\n{wrong}");
}

#[test]
fn byte_by_byte() {
    for case in cases() {
        assert_eq!(run(&case, case.bytes.chunks(1), false), case.seen, "{}", case.id);
    }
}

#[test]
fn in_every_two_parts() {
    for case in cases() {
        let len = case.bytes.len();
        // Long rows repeat themselves: a prime step still meets every place of a line.
        let step = if len < 4096 { 1 } else { (len / 97) | 1 };
        for cut in (0..=len).step_by(step) {
            let parts = [&case.bytes[..cut], &case.bytes[cut..]];
            // Bytes that come after the end in a call of their own are excess as well.
            assert_eq!(run(&case, parts.into_iter(), false), case.seen, "{} cut at {cut}", case.id);
        }
    }
}

#[test]
fn without_data_events() {
    for case in cases() {
        let expected: Vec<&str> =
            case.seen.split(' ').map(|w| if w.starts_with("body=") { "body=?" } else { w }).collect();
        for size in [1, 7, usize::MAX] {
            let parts = case.bytes.chunks(size);
            assert_eq!(run(&case, parts, true), expected.join(" "), "{} in parts of {size}", case.id);
        }
    }
}
