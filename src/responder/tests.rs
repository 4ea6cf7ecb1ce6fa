//! Whole answers: every cause in every format, exact lengths, and what hostile text can't do.

use super::*;
use crate::validator::{Event, Method, Options, Validator};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const FORMATS: [Option<Format>; 6] =
    [None, Some(Format::Json), Some(Format::JsonFlat), Some(Format::Problem), Some(Format::Html), Some(Format::Text)];

/// What Tidegate asks of an upstream holds for itself: the validator takes these bytes as one whole response.
fn assert_valid(bytes: &[u8], head: bool, status: u16) {
    let method = if head { Method::Head } else { Method::Get };
    let mut validator = Validator::new(&Options { method, ..Options::default() });
    let mut rest = bytes;
    loop {
        let verdict = validator.feed(rest);
        rest = &rest[verdict.consumed..];
        match verdict.event {
            Event::Head => assert_eq!(verdict.status, status),
            Event::Data => {}
            Event::Complete => break,
            other => panic!("{other:?} ({:?}): {}", verdict.reason, String::from_utf8_lossy(bytes)),
        }
    }
    assert!(rest.is_empty());
}

struct Response {
    line: String,
    fields: BTreeMap<String, String>,
    body: String,
}

impl Response {
    /// A strict reading: one CRLF a line, no control characters, no field twice.
    fn parse(bytes: &[u8]) -> Response {
        let text = std::str::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let mut fields = BTreeMap::new();
        for field in lines {
            assert!(field.bytes().all(|b| (b' '..=b'~').contains(&b)), "{field:?}");
            let (name, value) = field.split_once(": ").unwrap();
            assert_eq!(fields.insert(name.to_owned(), value.to_owned()), None, "{name} twice");
        }
        Response { line, fields, body: body.to_owned() }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

fn bytes(answer: &Answer<'_>) -> Vec<u8> {
    let mut buf = vec![0; ANSWER_MAX];
    let len = answer.write(&mut buf).unwrap();
    buf.truncate(len);
    buf
}

fn response(answer: &Answer<'_>) -> Response {
    Response::parse(&bytes(answer))
}

fn full<'a>() -> Answer<'a> {
    Answer {
        cause: Cause::CONNECTION_REFUSED,
        retry_after_s: 12,
        date: Date::from_unix(784_111_777),
        upstream: Short::new(b"orders-service").unwrap(),
        request_id: Short::new(b"7f3a-01").unwrap(),
        ..Answer::new(Status::BadGateway)
    }
}

#[test]
fn the_default_answer_byte_by_byte() {
    let body = "{\"error\":{\"code\":502,\"message\":\"Bad Gateway\",\"details\":{\"cause\":\"connection_refused\",\
                \"upstream\":\"orders-service\",\"requestId\":\"7f3a-01\",\"retryAfter\":12}}}\n";
    let want = format!(
        "HTTP/1.1 502 Bad Gateway\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: application/json\r\n\
         Cache-Control: no-store\r\nVary: Accept\r\nProxy-Status: tidegate;error=connection_refused\r\n\
         Retry-After: 12\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(String::from_utf8(bytes(&full())).unwrap(), want);
}

#[test]
fn every_cause_in_every_format_is_a_response() {
    for cause in Cause::ALL {
        let status = Status::from_code(cause.properties().status.into()).unwrap_or(Status::BadGateway);
        for format in FORMATS {
            for (retry_after_s, head) in [(0, false), (1, false), (90, true), (3600, false)] {
                let answer = Answer { cause: *cause, format, retry_after_s, head, ..full() };
                let answer = Answer { status, ..answer };
                assert_valid(&bytes(&answer), head, status.number());
                let r = response(&answer);
                let get = response(&Answer { head: false, ..answer });
                assert_eq!(r.line, format!("HTTP/1.1 {} {}", status.code(), status.reason()));
                assert_eq!(r.fields, get.fields);
                assert_eq!(r.body, if head { "" } else { &get.body });
                assert_eq!(r.field("Content-Length"), Some(&*get.body.len().to_string()));
                assert_eq!(r.field("Content-Type"), Some(format.unwrap_or(Format::Json).content_type()));
                assert_eq!(r.field("Cache-Control"), Some("no-store"));
                assert_eq!(r.field("Vary"), format.is_none().then_some("Accept"));
                assert_eq!(r.field("Date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
                assert_eq!(r.field("Retry-After").map(|s| s.parse().unwrap()).unwrap_or(0), retry_after_s);
                let member = r.field("Proxy-Status").unwrap();
                assert_eq!(member.contains(";error="), !cause.properties().proxy_status.is_empty(), "{member}");
                check_body(&answer, &get.body);
            }
        }
    }
}

fn check_body(answer: &Answer<'_>, body: &str) {
    let (code, reason) = (answer.status.code(), answer.status.reason());
    let code_number: u32 = code.parse().unwrap();
    let sentence = sentence::sentence(answer.cause);
    let mut members = json!({ "upstream": "orders-service", "requestId": "7f3a-01" });
    if answer.retry_after_s > 0 {
        members["retryAfter"] = answer.retry_after_s.into();
    }
    let mut with_cause = members.clone();
    if answer.cause != Cause::NONE {
        with_cause["cause"] = answer.cause.name().into();
    }
    let parsed = || serde_json::from_str::<Value>(body).unwrap();
    match answer.chosen() {
        Format::Json => {
            assert_eq!(parsed(), json!({ "error": { "code": code_number, "message": reason, "details": with_cause } }));
        }
        Format::JsonFlat => {
            let upstream = members.as_object_mut().unwrap().remove("upstream").unwrap();
            members["upstreamService"] = upstream;
            members["error"] = match answer.status {
                Status::InternalServerError => "gateway_error",
                Status::BadGateway => "upstream_failure",
                Status::ServiceUnavailable => "upstream_unavailable",
                Status::GatewayTimeout => "upstream_timeout",
            }
            .into();
            members["message"] = sentence.into();
            assert_eq!(parsed(), members);
        }
        Format::Problem => {
            with_cause["type"] = "about:blank".into();
            with_cause["title"] = reason.into();
            with_cause["status"] = code_number.into();
            with_cause["detail"] = sentence.into();
            with_cause["instance"] = "#7f3a-01".into();
            assert_eq!(parsed(), with_cause);
        }
        Format::Grpc => assert_eq!(body, ""),
        Format::Html | Format::Text => {
            let title = format!("{code} {reason}");
            for needle in [&*title, sentence, "orders-service", "7f3a-01", "lease"] {
                assert!(body.contains(needle), "{needle} in {body}");
            }
        }
    }
}

#[test]
fn grpc_is_told_in_fields() {
    for cause in Cause::ALL {
        for status in Status::ALL {
            let answer =
                Answer { status, cause: *cause, content_type: b"application/grpc", accept: b"text/html", ..full() };
            assert_valid(&bytes(&answer), false, 200);
            let r = response(&answer);
            assert_eq!(r.line, "HTTP/1.1 200 OK");
            assert_eq!(r.field("Content-Type"), Some("application/grpc"));
            assert_eq!(r.field("grpc-status"), Some(if status == Status::InternalServerError { "2" } else { "14" }));
            assert_eq!(r.field("grpc-message"), Some(sentence::sentence(*cause)));
            assert_eq!((r.field("Content-Length"), &*r.body), (Some("0"), ""));
            assert!(r.field("Proxy-Status").is_some());
        }
    }
}

#[test]
fn a_problem_has_the_type_that_the_operator_explains() {
    let typed = Answer {
        format: Some(Format::Problem),
        type_base: Uri::new(b"https://gw.example/causes#").unwrap(),
        request_id: Short::new(b"a/b \"c").unwrap(),
        ..full()
    };
    let body: Value = serde_json::from_str(&response(&typed).body).unwrap();
    assert_eq!(body["type"], "https://gw.example/causes#connection_refused");
    assert_eq!(body["title"], "Connection refused");
    assert_eq!(body["instance"], "#a%2Fb%20%22c");
    assert_eq!(body["requestId"], "a/b \"c");
    let untyped = response(&Answer { cause: Cause::NONE, ..typed }).body;
    assert_eq!(serde_json::from_str::<Value>(&untyped).unwrap()["type"], "about:blank");
    assert!(Uri::new(b"https://gw.example/\"#").is_none() && Uri::new(&[b'a'; 256]).is_none());
}

/// An anchor in docs/causes.md for each cause, and none without one.
#[test]
fn every_cause_is_explained() {
    let page = include_str!("../../docs/causes.md");
    let mut explained: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let mut causes: Vec<&str> = Cause::ALL.iter().filter(|c| **c != Cause::NONE).map(|c| c.name()).collect();
    explained.sort_unstable();
    causes.sort_unstable();
    assert_eq!(explained, causes);
    for cause in Cause::ALL.iter().filter(|c| **c != Cause::NONE) {
        let p = cause.properties();
        let section = page.split(&format!("\n### {}\n", p.name)).nth(1).unwrap_or_default();
        let section = section.split("\n### ").next().unwrap_or_default();
        for (needle, wanted) in
            [(p.status.to_string(), p.status != 0), (format!("`error={}`", p.proxy_status), p.status != 0)]
        {
            assert!(!wanted || section.contains(&needle), "{}: {needle}", p.name);
        }
        for needle in ["**Confirm**", "**Fix**"] {
            assert!(section.contains(needle) || p.status == 0 || p.status == 503, "{}: {needle}", p.name);
        }
    }
}

#[test]
fn what_is_unset_is_absent() {
    let answer = Answer::new(Status::ServiceUnavailable);
    let r = response(&answer);
    assert_eq!(serde_json::from_str::<Value>(&r.body).unwrap()["error"]["details"], json!({}));
    for name in ["Date", "Retry-After", "Connection"] {
        assert_eq!(r.field(name), None);
    }
    let flat = response(&Answer { format: Some(Format::JsonFlat), ..answer });
    assert_eq!(
        serde_json::from_str::<Value>(&flat.body).unwrap(),
        json!({ "error": "upstream_unavailable", "message": "The gateway could not complete this request." })
    );
    let html = response(&Answer { format: Some(Format::Html), ..answer });
    assert!(!html.body.contains("<dl>") && !html.body.contains("Request id"));
    let text = response(&Answer { format: Some(Format::Text), proxy_status: false, ..answer });
    assert_eq!(text.field("Proxy-Status"), None);
    assert_eq!(
        text.body,
        "503 Service Unavailable\n\nThe gateway could not complete this request.\nPlease try again in a moment.\n"
    );
}

#[test]
fn flat_changes_json_that_was_asked_for_and_nothing_else() {
    let answer = |accept, format| Answer { accept, format, flat: true, ..full() }.chosen();
    assert_eq!(answer(b"", None), Format::JsonFlat);
    assert_eq!(answer(b"application/json", None), Format::JsonFlat);
    assert_eq!(answer(b"application/problem+json", None), Format::Problem);
    assert_eq!(answer(b"text/html", None), Format::Html);
    assert_eq!(answer(b"", Some(Format::Json)), Format::Json);
}

#[test]
fn waiting_times_read_well() {
    let wait = |retry_after_s| response(&Answer { retry_after_s, format: Some(Format::Text), ..full() }).body;
    for (seconds, want) in [
        (1, "in 1 second."),
        (2, "in 2 seconds."),
        (119, "in 119 seconds."),
        (120, "in 2 minutes."),
        (121, "in 3 minutes."),
        (u32::MAX, "in 71582789 minutes."),
    ] {
        assert!(wait(seconds).contains(want), "{}", wait(seconds));
    }
}

#[test]
fn the_page_is_small_and_loads_nothing() {
    let body = response(&Answer { format: Some(Format::Html), ..full() }).body;
    assert!(body.len() < HTML_FIXED, "{}", body.len());
    for needle in ["<script", "http:", "https:", "url(", "@import", "<img", "<link"] {
        assert!(!body.contains(needle), "{needle}");
    }
    assert!(body.contains("prefers-color-scheme:dark") && body.contains("name=\"viewport\""));
}

/// The longest texts in the bytes that grow most, in every combination of cause, status and format.
#[test]
fn no_answer_exceeds_its_bound() {
    let mut largest = 0;
    for b in [b'a', 0x01, b'"', b'&', 0xff] {
        let (label, text) = ([b; 64], [b; 255]);
        for cause in Cause::ALL {
            for (status, format) in Status::ALL.into_iter().flat_map(|s| FORMATS.map(|f| (s, f))) {
                let answer = Answer {
                    status,
                    cause: *cause,
                    retry_after_s: u32::MAX,
                    received_status: 599,
                    format,
                    connection: Connection::KeepAlive,
                    label: Short::new(&label).unwrap(),
                    upstream: Short::new(&text).unwrap(),
                    request_id: Short::new(&text).unwrap(),
                    next_hop: Short::new(&text).unwrap(),
                    details: Short::new(&text).unwrap(),
                    next_protocol: Short::new(&label).unwrap(),
                    earlier: &[b'a'; 512],
                    type_base: Uri::new(&[b'/'; 255]).unwrap(),
                    ..full()
                };
                let len = bytes(&answer).len();
                assert!(len <= answer.bound(answer.chosen()), "{len}");
                assert!(answer.bound(answer.chosen()) <= ANSWER_MAX);
                largest = largest.max(len);
            }
        }
    }
    assert!(largest > ANSWER_MAX / 2, "ANSWER_MAX could be halved: {largest}");
}

/// Where foreign text is short, the fixed parts must fit by themselves.
#[test]
fn no_bare_answer_exceeds_its_bound() {
    for cause in Cause::ALL {
        for (status, format) in Status::ALL.into_iter().flat_map(|s| FORMATS.map(|f| (s, f))) {
            let answer = Answer {
                cause: *cause,
                format,
                retry_after_s: u32::MAX,
                received_status: 599,
                connection: Connection::KeepAlive,
                date: Date::from_unix(1),
                upstream: Short::new(b"a").unwrap(),
                request_id: Short::new(b"a").unwrap(),
                next_hop: Short::new(b"a").unwrap(),
                details: Short::new(b"a").unwrap(),
                ..Answer::new(status)
            };
            assert!(bytes(&answer).len() <= answer.bound(answer.chosen()));
        }
    }
}

prop_compose! {
    fn text(max: usize)(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..=max),
            proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'"'), Just(b'\\'), Just(b'<'), Just(b'&'), Just(0), Just(0xc3)], 0..=max),
            "[a-z0-9-]{0,40}".prop_map(String::into_bytes),
        ]
    ) -> Vec<u8> { bytes }
}

proptest! {
    #[test]
    fn hostile_text_never_breaks_the_structure(
        texts in (text(64), text(255), text(255), text(255), text(255)),
        more in (text(64), text(600)),
        accept in text(300),
        numbers in (0..4usize, 0..Cause::ALL.len(), any::<u32>(), 100..600u16, 0..FORMATS.len()),
        flags in any::<(bool, bool, bool)>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (status, cause, retry_after_s, received_status, format) = numbers;
        let answer = Answer {
            status: Status::ALL[status],
            cause: Cause::ALL[cause],
            retry_after_s,
            received_status,
            format: FORMATS[format],
            flat: flags.0,
            head: flags.1,
            connection: Connection::Close,
            proxy_status: flags.2,
            date: None,
            accept: &accept,
            label: Short::new(&texts.0).unwrap(),
            upstream: Short::new(&texts.1).unwrap(),
            request_id: Short::new(&texts.2).unwrap(),
            next_hop: Short::new(&texts.3).unwrap(),
            details: Short::new(&texts.4).unwrap(),
            next_protocol: Short::new(&more.0).unwrap(),
            earlier: &more.1,
            type_base: Uri::new(b"https://gw.example/causes#").unwrap(),
            ..Answer::new(Status::BadGateway)
        };
        let written = bytes(&answer);
        assert_valid(&written, answer.head, answer.status.number());
        let grpc = Answer { format: Some(Format::Grpc), ..answer };
        assert_valid(&bytes(&grpc), answer.head, 200);
        let r = Response::parse(&written);
        let names: Vec<&str> = r.fields.keys().map(String::as_str).collect();
        for name in names {
            prop_assert!(["Cache-Control", "Connection", "Content-Length", "Content-Type", "Proxy-Status", "Retry-After", "Vary"].contains(&name));
        }
        let get = response(&Answer { head: false, ..answer });
        prop_assert_eq!(get.body.len().to_string(), r.field("Content-Length").unwrap());
        let (up, id) = (String::from_utf8_lossy(&texts.1), String::from_utf8_lossy(&texts.2));
        let shown = |v: &Value, want: &str| v.as_str().unwrap_or("") == want;
        match answer.chosen() {
            Format::Json => {
                let details = &serde_json::from_str::<Value>(&get.body).unwrap()["error"]["details"];
                prop_assert!(shown(&details["upstream"], &up) && shown(&details["requestId"], &id));
            }
            Format::JsonFlat => {
                let all = serde_json::from_str::<Value>(&get.body).unwrap();
                prop_assert!(shown(&all["upstreamService"], &up) && shown(&all["requestId"], &id));
            }
            Format::Problem => {
                let all = serde_json::from_str::<Value>(&get.body).unwrap();
                prop_assert!(shown(&all["upstream"], &up) && shown(&all["requestId"], &id));
            }
            Format::Html => {
                let tags = |s: &str| (s.matches('<').count(), s.matches('>').count());
                let given = (!texts.1.is_empty(), !texts.2.is_empty());
                let place = |given| Short::new(if given { b"x" } else { b"" }).unwrap();
                let harmless = Answer { upstream: place(given.0), request_id: place(given.1), head: false, ..answer };
                prop_assert_eq!(tags(&get.body), tags(&response(&harmless).body));
                prop_assert!(!get.body.chars().any(|c| c.is_control() && c != '\n'));
            }
            Format::Grpc => prop_assert_eq!(&get.body, ""),
            Format::Text => {
                let lines = 4 + [&texts.1, &texts.2].iter().filter(|t| !t.is_empty()).count();
                prop_assert!(get.body.lines().count() <= lines + 1);
                prop_assert!(!get.body.chars().any(|c| c.is_control() && c != '\n'));
            }
        }

        // A smaller buffer of any size stays as it was and hears the exact length.
        let mut small = vec![0xa5; cut.index(written.len())];
        prop_assert_eq!(answer.write(&mut small), Err(Needed(written.len())));
        prop_assert!(small.iter().all(|&b| b == 0xa5));
        let mut exact = vec![0; written.len()];
        prop_assert_eq!(answer.write(&mut exact), Ok(written.len()));
        prop_assert_eq!(&exact, &written);

        // The parts are those of the whole.
        let mut buf = vec![0; ANSWER_MAX];
        let parts = answer.write_parts(&mut buf).unwrap();
        prop_assert_eq!(&buf[parts.body.clone()], get.body.as_bytes());
        prop_assert_eq!(&buf[parts.proxy_status.clone()], r.field("Proxy-Status").unwrap_or("").as_bytes());
        prop_assert_eq!(Some(parts.content_type), r.field("Content-Type"));
        let mut small = vec![0xa5; parts.body.end - 1];
        prop_assert_eq!(answer.write_parts(&mut small), Err(Needed(parts.body.end)));
        prop_assert!(small.iter().all(|&b| b == 0xa5));
    }
}
