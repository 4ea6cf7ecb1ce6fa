//! Lists of fields (HTTP/2, HTTP/3, CGI), the operator's rules, policies as properties, and heads written anew.

use proptest::prelude::*;
use tidegate::cause::Cause;
use tidegate::validator::*;

type Line<'a> = (&'a str, &'a str);

fn lines<'a>(lines: &'a [Line<'a>]) -> impl Iterator<Item = FieldLine<'a>> {
    lines.iter().map(|(name, value)| FieldLine { name: name.as_bytes(), value: value.as_bytes() })
}

fn h2(method: Method) -> Options<'static> {
    Options { method, protocol: Protocol::Http2, ..Options::default() }
}

/// The verdict on one list: the event or the reason, and how many fields were taken.
fn head(options: &Options<'_>, list: &[Line<'_>]) -> (String, usize) {
    let seen = Validator::new(options).fields(lines(list));
    let what = if seen.event == Event::Reject { seen.reason.name().into() } else { format!("{:?}", seen.event) };
    (what, seen.consumed)
}

#[test]
fn lists_to_the_letter() {
    let get = h2(Method::Get);
    let ok = (":status", "200");
    let cases: &[(&[Line<'_>], &str, usize)] = &[
        (&[ok], "Head", 1),
        (&[ok, ("content-type", "a/b"), ("x", "")], "Head", 3),
        (&[ok, ("x", "caf\u{e9} \t b")], "Head", 2),
        (&[(":status", "103"), ("link", "</a>")], "Interim", 2),
        (&[], "status-missing", 0),
        (&[("x", "y")], "status-missing", 1),
        (&[ok, ok], "pseudo-field-repeated", 1),
        (&[("x", "y"), ok], "pseudo-field-late", 1),
        (&[ok, (":path", "/")], "pseudo-field-unknown", 1),
        (&[(":method", "GET"), ok], "pseudo-field-unknown", 0),
        (&[(":Status", "200")], "pseudo-field-unknown", 0),
        (&[(":status", "20")], "status-malformed", 0),
        (&[(":status", "2000")], "status-malformed", 0),
        (&[(":status", "200 OK")], "status-malformed", 0),
        (&[(":status", "")], "status-malformed", 0),
        (&[(":status", "099")], "status-out-of-range", 0),
        (&[(":status", "600")], "status-out-of-range", 0),
        (&[(":status", "101")], "upgrade-over-stream", 0),
        (&[ok, ("X", "y")], "field-name-uppercase", 1),
        (&[ok, ("content-Length", "1")], "field-name-uppercase", 1),
        (&[ok, ("", "y")], "field-name-empty", 1),
        (&[ok, ("x y", "z")], "field-name-character", 1),
        (&[ok, ("x:", "z")], "field-name-character", 1),
        (&[ok, ("x\0", "z")], "field-name-character", 1),
        (&[ok, ("x", "a\0b")], "field-value-character", 1),
        (&[ok, ("x", "a\r\nb: c")], "field-value-character", 1),
        (&[ok, ("x", "a\nb")], "field-value-character", 1),
        (&[ok, ("x", " a")], "field-value-space", 1),
        (&[ok, ("x", "a\t")], "field-value-space", 1),
        (&[ok, ("connection", "close")], "connection-field", 1),
        (&[ok, ("proxy-connection", "close")], "connection-field", 1),
        (&[ok, ("keep-alive", "timeout=5")], "connection-field", 1),
        (&[ok, ("transfer-encoding", "chunked")], "connection-field", 1),
        (&[ok, ("upgrade", "h2c")], "connection-field", 1),
        (&[ok, ("te", "gzip")], "connection-field", 1),
        (&[ok, ("content-length", "5"), ("content-length", "5")], "content-length-repeated", 2),
        (&[ok, ("content-length", "5"), ("content-length", "6")], "content-length-differs", 2),
        (&[ok, ("content-length", "5,5")], "content-length-list", 1),
        (&[ok, ("content-length", "-5")], "content-length-malformed", 1),
        (&[ok, ("content-length", "")], "content-length-malformed", 1),
    ];
    for (list, expected, taken) in cases {
        assert_eq!(head(&get, list), (expected.to_string(), *taken), "{list:?}");
        let h3 = Options { protocol: Protocol::Http3, ..get };
        assert_eq!(head(&h3, list), (expected.to_string(), *taken), "{list:?} over HTTP/3");
    }
    // What the host parsed from HTTP/1 may hold what HTTP/1 may.
    let parsed = Options { protocol: Protocol::Http1, ..get };
    assert_eq!(head(&parsed, &[ok, ("Connection", "close"), ("X", "y")]).0, "Head");
    assert_eq!(head(&parsed, &[ok, ("Content-Length", "1"), ("Transfer-Encoding", "chunked")]).1, 2);
    let many = vec![("x", "y"); 101];
    assert_eq!(head(&Options { protocol: Protocol::Cgi, ..get }, &many).0, "too-many-fields");
    let long = "v".repeat(16384);
    assert_eq!(head(&get, &[ok, ("x", &long)]).0, "line-too-long");
    let long = "v".repeat(16000);
    assert_eq!(
        head(&get, &[ok, ("x", &long), ("x", &long), ("x", &long), ("x", &long), ("x", &long)]).0,
        "head-too-large"
    );
}

/// A whole exchange: `H` list, `D` length, then the end.
fn exchange(
    options: &Options<'_>,
    heads: &[&[Line<'_>]],
    data: &[u64],
    trailers: Option<&[Line<'_>]>,
    end: End,
) -> String {
    let mut validator = Validator::new(options);
    for list in heads {
        let seen = validator.fields(lines(list));
        if seen.event == Event::Reject {
            return seen.reason.name().into();
        }
    }
    let mut seen = data.iter().map(|&len| validator.data(len, None)).collect::<Vec<_>>();
    seen.extend(trailers.map(|list| validator.fields(lines(list))));
    if let Some(refused) = seen.iter().find(|seen| seen.event == Event::Reject) {
        let again = validator.finish(end);
        assert_eq!((again.event, again.reason), (Event::Reject, refused.reason), "a verdict stands");
        return refused.reason.name().into();
    }
    let last = validator.finish(end);
    assert_eq!(last.flags & REUSABLE, 0);
    if last.event == Event::Reject { last.reason.name().into() } else { format!("{:?}", last.event) }
}

#[test]
fn streams_against_their_length() {
    let get = h2(Method::Get);
    let ok = (":status", "200");
    let five: &[Line<'_>] = &[ok, ("content-length", "5")];
    let close = End::Close;
    assert_eq!(exchange(&get, &[five], &[5], None, close), "Complete");
    assert_eq!(exchange(&get, &[five], &[2, 0, 3], Some(&[("x", "y")]), close), "Complete");
    assert_eq!(exchange(&get, &[five], &[2, 4], None, close), "body-beyond-length");
    assert_eq!(exchange(&get, &[five], &[2, 2], None, close), "body-short-of-length");
    assert_eq!(exchange(&get, &[five], &[], None, close), "body-short-of-length");
    assert_eq!(exchange(&get, &[five], &[4], Some(&[]), close), "body-short-of-length");
    assert_eq!(exchange(&get, &[five], &[2], None, End::Reset), "body-incomplete");
    assert_eq!(exchange(&get, &[&[ok]], &[7, 7], None, close), "Complete");
    assert_eq!(exchange(&get, &[&[ok]], &[7], None, End::Reset), "body-incomplete");
    assert_eq!(exchange(&get, &[&[ok]], &[7], None, End::Timeout), "read-timeout");
    assert_eq!(exchange(&get, &[&[ok, ("content-length", "0")]], &[1], None, close), "body-beyond-length");
    assert_eq!(exchange(&get, &[], &[1], None, close), "frame-out-of-place");
    assert_eq!(exchange(&get, &[], &[], None, close), "nothing-received");
    assert_eq!(exchange(&get, &[&[(":status", "103")]], &[], None, close), "head-incomplete");
    assert_eq!(exchange(&get, &[&[(":status", "103")]], &[3], None, close), "frame-out-of-place");
    assert_eq!(exchange(&get, &[&[(":status", "100")], &[(":status", "103")], &[ok]], &[1], None, close), "Complete");
    assert_eq!(exchange(&get, &[&[(":status", "100")][..]; 17], &[], None, close), "too-many-interim");
    assert_eq!(exchange(&get, &[&[ok], &[("a", "b")], &[("a", "b")]], &[], None, close), "frame-out-of-place");
    assert_eq!(exchange(&get, &[&[ok], &[(":status", "200")]], &[], None, close), "pseudo-field-in-trailer");
    assert_eq!(exchange(&get, &[&[ok], &[("A", "b")]], &[], None, close), "field-name-uppercase");
    assert_eq!(exchange(&get, &[&[ok], &[("connection", "b")]], &[], None, close), "connection-field");
    assert_eq!(exchange(&get, &[&[(":status", "204")]], &[1], None, close), "content-not-allowed");
    assert_eq!(exchange(&get, &[&[(":status", "204")]], &[0], None, close), "Complete");
    assert_eq!(exchange(&get, &[&[(":status", "304"), ("content-length", "9")]], &[], None, close), "Complete");
    assert_eq!(exchange(&h2(Method::Head), &[five], &[], None, close), "Complete");
    assert_eq!(exchange(&h2(Method::Head), &[five], &[5], None, close), "content-not-allowed");
    assert_eq!(exchange(&h2(Method::Connect), &[five], &[50], None, close), "Complete");
    let small = Options { max_body: 9, ..get };
    assert_eq!(exchange(&small, &[&[ok]], &[5, 5], None, close), "body-too-large");
    let cgi = Options { protocol: Protocol::Cgi, ..get };
    assert_eq!(exchange(&cgi, &[&[("Status", " 404 x"), ("X", "y")]], &[5], None, close), "Complete");
    assert_eq!(exchange(&cgi, &[&[("X", "y")]], &[5], None, close), "cgi-field-missing");
}

/// What becomes of `response` under `rules`: the reason and its offset, and the same for every cut.
fn under(rules: &str, response: &[u8]) -> (&'static str, u64) {
    let rules = Rules::parse(rules.as_bytes()).unwrap();
    let run = |parts: &[&[u8]], no_data: bool| {
        let mut validator = Validator::new(&Options { rules: Some(&rules), no_data, ..Options::default() });
        for part in parts {
            let mut rest = *part;
            loop {
                let seen = validator.feed(rest);
                match seen.event {
                    Event::NeedMore => break,
                    Event::Complete | Event::Reject => return (seen.reason, seen.offset),
                    _ => rest = &rest[seen.consumed..],
                }
            }
        }
        let seen = validator.finish(End::Close);
        (seen.reason, seen.offset)
    };
    let (reason, offset) = run(&[response], false);
    assert_eq!(run(&response.chunks(1).collect::<Vec<_>>(), false), (reason, offset));
    for cut in 0..response.len() {
        let (a, b) = response.split_at(cut);
        assert_eq!(run(&[a, b], cut % 2 == 0), (reason, offset), "cut at {cut}");
    }
    assert!(reason == Reason::NONE || reason.cause() == Cause::RESPONSE_UNEXPECTED, "{reason:?}");
    (reason.name(), offset)
}

#[test]
fn rules_on_live_responses() {
    let page = |head: &str, body: &str| {
        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let chunked = |body: &str| {
        let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.as_bytes().chunks(3) {
            out.extend(format!("{:x}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
        }
        out.extend(b"0\r\nX: y\r\n\r\n");
        out
    };
    let json = page("200 OK\r\nContent-Type: Application/JSON ;charset=utf-8", "{}");
    assert_eq!(under("type application/json", &json), ("none", json.len() as u64));
    assert_eq!(under("type text/html application/*", &json).0, "none");
    assert_eq!(under("type text/*", &json), ("content-type-unexpected", json.len() as u64 - 3));
    assert_eq!(under("type text/html", &page("200 OK", "")).0, "content-type-unexpected");
    assert_eq!(under("type text/html", &page("500 Oops\r\nContent-Type: a/b", "")).0, "none");
    assert_eq!(
        under("status 500-599; type text/html", &page("500 Oops\r\nContent-Type: a/b", "")).0,
        "content-type-unexpected"
    );
    assert_eq!(under("type text/html", b"HTTP/1.1 204 No\r\n\r\n").0, "none");

    assert_eq!(under("field X-Id", &page("200 OK\r\nx-id: 1", "")).0, "none");
    assert_eq!(under("field X-Id", &page("200 OK", "")).0, "required-field-missing");
    assert_eq!(
        under("field X-Id", b"HTTP/1.1 103 a\r\nX-Id: 1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").0,
        "required-field-missing"
    );
    assert_eq!(under("no-field x-debug", &page("200 OK\r\nX-Debug: 1", "")).0, "forbidden-field-present");
    assert_eq!(under("field content-length;field connection", &page("200 OK\r\nConnection: close", "")).0, "none");

    assert_eq!(under("min-body 3", &page("200 OK", "ab")).0, "body-below-minimum");
    assert_eq!(under("min-body 2", &page("200 OK", "ab")).0, "none");
    assert_eq!(under("max-body 1", &page("200 OK", "ab")), ("body-above-maximum", 37));
    let body = chunked("abcdefgh");
    assert_eq!(under("min-body 9", &body), ("body-below-minimum", 47 + 8 + 8 + 7 + 2));
    assert_eq!(under("min-body 8; max-body 8", &body).0, "none");
    assert_eq!(under("max-body 5", &body), ("body-above-maximum", 47 + 8 + 2));
    assert_eq!(under("min-body 1", b"HTTP/1.1 200 OK\r\n\r\n"), ("body-below-minimum", 19));
    assert_eq!(under("max-body 3", b"HTTP/1.1 200 OK\r\n\r\nabcd"), ("body-above-maximum", 22));

    assert_eq!(under("no-marker Error", &page("200 OK", "An ErErrors")), ("body-marker-found", 39 + 9));
    assert_eq!(under("no-marker aab", &chunked("aaaaab")), ("body-marker-found", 47 + 8 + 3 + 2));
    assert_eq!(under("no-marker Error within 9", &page("200 OK", "An ErErrors")).0, "none");
    assert_eq!(under("marker </html>", &page("200 OK", "<html></html>")).0, "none");
    assert_eq!(under("marker </html>", &chunked("<html></htm")).0, "body-marker-missing");
    assert_eq!(under("marker ok within 4", &page("200 OK", "abcdefok")), ("body-marker-missing", 38 + 3));
    assert_eq!(under("marker ok within 4", b"HTTP/1.1 200 OK\r\n\r\nabo"), ("body-marker-missing", 22));
    assert_eq!(under("marker a\nmarker b\nno-marker c", &page("200 OK", "xaxb")).0, "none");
}

#[test]
fn a_wrong_rule_says_what_and_where() {
    let wrong = |text: &str| Rules::parse(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(wrong("min-body 1; typ text/html"), "rules, byte 12: no such rule");
    assert_eq!(wrong("min-body"), "rules, byte 8: a size in bytes is missing");
    assert_eq!(wrong("max-body 3x"), "rules, byte 9: not a size: a number of bytes, or one followed by k, m or g");
    assert_eq!(wrong("max-body 99999999999999g"), "rules, byte 9: the size is too large");
    assert_eq!(wrong("min-body 5\nmax-body 4"), "rules, byte 21: min-body is above max-body");
    assert_eq!(wrong("status 100"), "rules, byte 7: not a status of 200 to 599, or two with a hyphen between");
    assert_eq!(wrong("type html"), "rules, byte 5: not a media type: type/subtype or type/*");
    assert_eq!(wrong("field a b"), "rules, byte 8: one word too many");
    assert_eq!(wrong("field \"a b\""), "rules, byte 6: not a field name");
    assert_eq!(wrong("marker \"abc"), "rules, byte 7: the text has no closing quote");
    assert_eq!(wrong("marker \"a\\qb\""), "rules, byte 9: not an escape: \\\" \\\\ \\n \\r \\t \\xHH");
    assert_eq!(wrong("marker abc within 2"), "rules, byte 7: the marker is longer than the bytes it is sought in");
    assert_eq!(wrong("marker \"\""), "rules, byte 7: a marker has 1 to 64 bytes");
    assert_eq!(wrong(&"no-marker x;".repeat(5)), "rules, byte 58: at most 4 markers");
    assert!(Rules::parse(b" # nothing\n;; \r\n field x # yes\n").is_ok());
    assert_eq!(Rules::parse(b"marker \"\\x41\\\\\\\"\""), Rules::parse(b"marker \"A\\x5c\\x22\""));
}

/// Bytes near enough to a response to get far.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("X: a".to_string()),
        Just("Content-Length: 5".to_string()),
        Just("Content-Length: 5, 5".to_string()),
        Just("Transfer-Encoding: chunked".to_string()),
        Just("Transfer-Encoding: gzip".to_string()),
        Just("Connection: x, close, keep-alive".to_string()),
        Just(" folded".to_string()),
        Just("Name : a".to_string()),
        Just("no colon".to_string()),
        Just("Content-Type: text/html; a=b".to_string()),
        Just("Location: /".to_string()),
        "[ -~]{0,12}",
    ];
    let ends = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r"]);
    let start = prop::sample::select(vec![
        "HTTP/1.1 200 OK",
        "HTTP/1.0 200",
        "HTTP/1.1  200 OK",
        "\r\nHTTP/1.1 200 OK",
        "HTTP/2.0 700 \u{1}",
        "HTTP/1.1 403.2 No",
        "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK",
        "Status: 200",
        "X: y",
    ]);
    let body = prop::sample::select(vec![
        "5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\nX: y\n\n",
        "5;a=\"\r\nhello\r\n0\r\n\r\n",
        "hello",
        "hello, more",
        "",
    ]);
    let damage =
        prop::collection::vec((any::<usize>(), prop::sample::select(b"\0\r\n\t :,;x5\x7f\x80".to_vec())), 0..2);
    (start, prop::collection::vec((line, ends), 0..5), body, damage).prop_map(|(start, lines, body, damage)| {
        let mut out = format!("{start}\r\n").into_bytes();
        for (line, end) in lines {
            out.extend(line.bytes().chain(end.bytes()));
        }
        out.extend(b"\r\n");
        out.extend(body.bytes());
        for (at, b) in damage {
            let at = at % out.len();
            out[at] = b;
        }
        out
    })
}

/// The events of a stream, its body, and the last verdict.
fn run<'a>(options: &Options<'_>, parts: impl Iterator<Item = &'a [u8]>) -> (Vec<(Event, u64, u32)>, Vec<u8>, Verdict) {
    let mut validator = Validator::new(options);
    let (mut events, mut body, mut last) = (vec![], vec![], None);
    for mut part in parts {
        loop {
            let seen = validator.feed(part);
            match seen.event {
                Event::NeedMore => break,
                Event::Data => body.extend(&part[seen.data..seen.data + seen.data_len]),
                // Bytes may still follow, as excess.
                Event::Complete | Event::Reject => {
                    last = Some(Verdict { consumed: 0, ..seen });
                    break;
                }
                _ => events.push((seen.event, seen.offset, seen.tolerances)),
            }
            part = &part[seen.consumed..];
        }
    }
    (events, body, last.unwrap_or_else(|| validator.finish(End::Close)))
}

fn config() -> ProptestConfig {
    let standard = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { standard } else { ProptestConfig { cases: 3000, ..standard } }
}

proptest! {
    #![proptest_config(config())]

    /// Every cut, under any policy, with rules.
    #[test]
    fn no_cut_changes_a_policy_s_verdict(
        bytes in damaged(), cut: usize, bits: u32, mode in 0..3u8, ruled: bool, cgi: bool,
    ) {
        let rules = Rules::parse(b"type text/*; min-body 3; max-body 9; no-field location; no-marker lo; marker h").unwrap();
        let tolerate = match mode { 0 => bits & tolerance::ALL, 1 => tolerance::COMPATIBLE, _ => tolerance::OBSERVE };
        let protocol = if cgi { Protocol::Cgi } else { Protocol::Http1 };
        let options = Options { tolerate, protocol, rules: ruled.then_some(&rules), ..Options::default() };
        let slow = run(&options, bytes.chunks(1));
        prop_assert_eq!(&run(&options, std::iter::once(&bytes[..])), &slow);
        let (a, b) = bytes.split_at(cut % (bytes.len() + 1));
        prop_assert_eq!(&run(&options, [a, b].into_iter()), &slow);
    }

    /// Many DATA events in one call are the same events.
    #[test]
    fn ranges_are_the_data(bytes in damaged(), room in 1..4usize) {
        let options = Options { tolerate: tolerance::COMPATIBLE, ..Options::default() };
        let (.., body, last) = run(&options, std::iter::once(&bytes[..]));
        let mut validator = Validator::new(&options);
        let (mut rest, mut seen_body, mut ranges) = (&bytes[..], Vec::new(), [[0usize; 2]; 4]);
        let seen = loop {
            let (seen, count) = validator.feed_ranges(rest, &mut ranges[..room]);
            prop_assert!(count <= room && (seen.event != Event::Data || count == room));
            for [at, len] in &ranges[..count] {
                seen_body.extend_from_slice(&rest[*at..at + len]);
            }
            match seen.event {
                Event::NeedMore => break validator.finish(End::Close),
                Event::Complete | Event::Reject => break Verdict { consumed: 0, ..seen },
                _ => rest = &rest[seen.consumed..],
            }
        };
        prop_assert_eq!(seen_body, body);
        prop_assert_eq!(seen, last);
    }

    /// What a strict reader accepts, every policy reads alike; what it refuses, an observer names at the same byte.
    #[test]
    fn a_policy_names_what_a_strict_reader_refuses(bytes in damaged(), bits: u32) {
        let strict = run(&Options::default(), std::iter::once(&bytes[..]));
        for tolerate in [bits & tolerance::ALL, tolerance::COMPATIBLE, tolerance::OBSERVE] {
            let other = run(&Options { tolerate, ..Options::default() }, std::iter::once(&bytes[..]));
            if strict.2.event == Event::Complete {
                prop_assert_eq!(&other, &strict);
            } else if other.2.tolerated == Reason::NONE {
                prop_assert_eq!((other.2.reason, other.2.offset), (strict.2.reason, strict.2.offset));
            } else {
                prop_assert_eq!((other.2.tolerated, other.2.tolerated_offset), (strict.2.reason, strict.2.offset));
                prop_assert_eq!(other.2.tolerances & !tolerate, 0);
            }
        }
    }

    /// A head that some policy let through, written anew, is one that a strict reader takes as it is.
    #[test]
    fn a_head_written_anew_needs_no_policy(bytes in damaged()) {
        let compatible = Options { tolerate: tolerance::OBSERVE & !tolerance::CODINGS, ..Options::default() };
        let mut validator = Validator::new(&compatible);
        let seen = validator.feed(&bytes);
        if seen.event == Event::Head {
            let mut out = [0; 1024];
            let len = rewrite_head(&bytes[..seen.consumed], &mut out);
            prop_assert!(len <= out.len());
            let again = Validator::new(&Options { tolerate: tolerance::STATUS_RANGE, ..Options::default() }).feed(&out[..len]);
            prop_assert_eq!((again.event, again.consumed, again.status), (Event::Head, len, seen.status), "{}", out[..len].escape_ascii());
            prop_assert_eq!(again.flags & (NORMALISE | HTTP_1_0), 0, "{}", out[..len].escape_ascii());
            prop_assert_eq!((again.framing, again.content_length), (seen.framing, seen.content_length));
        }
    }

    #[test]
    fn rewriting_is_total(bytes: Vec<u8>, room in 0..64usize) {
        rewrite_head(&bytes, &mut vec![0; room]);
    }

    #[test]
    fn parsing_rules_is_total(text in "[a-z0-9 ;\"\\\\#\n/*-]{0,60}") {
        let _ = Rules::parse(text.as_bytes());
    }
}
