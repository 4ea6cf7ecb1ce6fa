//! Templates that are refused and why, places and their escaping, and that no value breaks out of its place.

use super::*;
use crate::cause::Cause;
use crate::responder::{Date, Short, Status};
use proptest::prelude::*;
use serde_json::Value as Json;

fn refused(format: Format, text: &str) -> String {
    Template::new(format, text.as_bytes()).err().unwrap_or_else(|| panic!("accepted: {text}"))
}

fn render(format: Format, text: &str, answer: &Answer<'_>) -> String {
    let template = Template::new(format, text.as_bytes()).unwrap_or_else(|why| panic!("{why}: {text}"));
    let mut buf = vec![0; template.length(answer)];
    let mut w = Writer::new(&mut buf);
    template.render(&mut w, answer);
    assert_eq!(w.len(), buf.len());
    assert!(buf.len() <= template.longest());
    String::from_utf8(buf).unwrap()
}

fn answer<'a>(id: &'a [u8], upstream: &'a [u8]) -> Answer<'a> {
    Answer {
        cause: Cause::CONNECTION_REFUSED,
        retry_after_s: 7,
        date: Date::from_unix(784_111_777),
        request_id: Short::new(id).unwrap(),
        upstream: Short::new(upstream).unwrap(),
        ..Answer::new(Status::BadGateway)
    }
}

#[test]
fn every_value_has_its_text() {
    let all: String = Value::ALL.iter().map(|(name, _)| format!("{name}={{{{{name}}}}}\n")).collect();
    assert_eq!(
        render(Format::Text, &all, &answer(b"id-1", b"orders")),
        "status=502\nreason=Bad Gateway\ncause=connection_refused\ntitle=Connection refused\n\
         message=The service behind this gateway is not accepting connections.\n\
         advice=Please try again in 7 seconds.\nrequest_id=id-1\nupstream=orders\ngateway=tidegate\nretry_after=7\n\
         received_status=0\ndate=Sun, 06 Nov 1994 08:49:37 GMT\n"
    );
    let bare = Answer::new(Status::BadGateway);
    assert_eq!(render(Format::Text, "{{cause}}{{request_id}}{{ date }}{{retry_after}}", &bare), "0");
}

#[test]
fn a_section_appears_if_its_value_is_set() {
    let text = "a{{#request_id}}[{{request_id}}{{#upstream}} {{upstream}}{{/upstream}}]{{/request_id}}b";
    assert_eq!(render(Format::Text, text, &answer(b"1", b"u")), "a[1 u]b");
    assert_eq!(render(Format::Text, text, &answer(b"1", b"")), "a[1]b");
    assert_eq!(render(Format::Text, text, &answer(b"", b"u")), "ab");
}

#[test]
fn a_value_is_escaped_for_its_place() {
    let hostile = answer(b"<\"'&/: \xff", b"");
    let html = "&lt;&#34;&#39;&amp;/: \u{fffd}";
    for (text, want) in [
        ("<p>{{request_id}}</p>", format!("<p>{html}</p>")),
        ("<title>{{request_id}}</title>", format!("<title>{html}</title>")),
        ("<p title=\"{{request_id}}\">", format!("<p title=\"{html}\">")),
        ("<p aria-label = '{{request_id}}'>", format!("<p aria-label = '{html}'>")),
        ("<a href=\"/help?id={{request_id}}\">x</a>", "<a href=\"/help?id=%3C%22%27%26%2F%3A%20%FF\">x</a>".into()),
        ("<a HREF='{{request_id}}'>x</a>", "<a HREF='%3C%22%27%26%2F%3A%20%FF'>x</a>".into()),
        ("<style>p{a:b}</style>{{request_id}}", format!("<style>p{{a:b}}</style>{html}")),
        ("<!-- <script> -->{{request_id}}", format!("<!-- <script> -->{html}")),
        ("<script>'</scriptx'</script >{{request_id}}", format!("<script>'</scriptx'</script >{html}")),
        ("a < b {{request_id}}", format!("a < b {html}")),
    ] {
        assert_eq!(render(Format::Html, text, &hostile), want);
    }
    assert_eq!(render(Format::Json, "[\"{{request_id}}\",{{status}}]", &hostile), "[\"<\\\"'&/: \u{fffd}\",502]");
    assert_eq!(render(Format::Text, "{{request_id}}", &answer(b"a\r\nb\x1b", b"")), "a\u{fffd}\u{fffd}b\u{fffd}");
}

#[test]
fn what_can_not_be_safe_is_refused() {
    for (text, want) in [
        ("<script>{{status}}</script>", "in <script>"),
        ("<STYLE>\n{{status}}</STYLE>", "line 2, column 1: no value may stand in <style>"),
        ("<p onclick=\"{{message}}\">", "\"onclick\""),
        ("<p style=\"{{message}}\">", "\"style\""),
        ("<iframe srcdoc=\"{{message}}\">", "\"srcdoc\""),
        ("<meta http-equiv=refresh content=\"0;url={{upstream}}\">", "\"content\""),
        ("<a href={{request_id}}>", "needs quotes"),
        ("<a title=x{{request_id}}>", "needs quotes"),
        ("<a href=\" JavaScript:alert('{{request_id}}')\">", "scheme"),
        ("<a href='data:text/html,{{request_id}}'>", "scheme"),
        ("<{{reason}}>", "inside a tag"),
        ("<p {{reason}}>", "inside a tag"),
        ("<p x{{reason}}=1>", "inside a tag"),
        ("</p{{reason}}>", "inside a tag"),
        ("<!-- {{reason}} -->", "comment"),
        ("<!doctype {{reason}}>", "inside a tag"),
        ("<p {{#request_id}}title=\"{{/request_id}}x\">", "must end where it began"),
        ("<p>{{#request_id}}<!--{{/request_id}}-->", "must end where it began"),
        ("<p title=\"x", "ends inside a tag"),
        ("<!-- x", "ends in a comment"),
        ("<script>x", "<script> is not closed"),
    ] {
        let why = refused(Format::Html, text);
        assert!(why.contains(want), "{text}: {why}");
    }
}

#[test]
fn mistakes_are_named_with_line_and_column() {
    for (format, text, want) in [
        (
            Format::Text,
            "a\n b {{requestid}}",
            "line 2, column 4: there is no value \"requestid\": known are status, reason",
        ),
        (Format::Text, "\u{e4}\u{e4}{{status", "line 1, column 3: these braces are not closed"),
        (Format::Text, "{{status}", "line 1, column 1: these braces"),
        (Format::Text, "{{ {{status}}", "line 1, column 1: these braces"),
        (Format::Text, "{{\n}}", "line 1, column 1: these braces"),
        (Format::Text, "{{}}", "line 1, column 1: there is no value \"\""),
        (Format::Text, "x{{#upstream}}", "line 1, column 2: this section is not closed"),
        (Format::Text, "{{/upstream}}", "line 1, column 1: this closes no section"),
        (Format::Text, "{{#upstream}}{{#date}}{{/upstream}}", "line 1, column 23: this closes no section"),
        (Format::Text, "{{#status}}{{/status}}", "line 1, column 1: \"status\" is always set"),
        (Format::Json, "{\n  \"a\": {{message}}\n}", "line 2, column 8: this value is text"),
        (Format::Json, "{\"a\":\"\\{{status}}\"}", "line 1, column 8: a value can't follow a backslash"),
        (Format::Json, "{\"a\":\"\\u00{{status}}\"}", "this is not JSON: invalid escape"),
        (Format::Json, "{\n\"a\": {{status}}5}", "line 2, column 16: this is not JSON"),
        (Format::Json, "{\"a\":1,}", "line 1, column 8: this is not JSON"),
        (
            Format::Json,
            "{\"a\":1{{#date}},\"b\":2{{/date}},{{#cause}}\"c\":3{{/cause}}}",
            "when date and cause are unset",
        ),
        (Format::Json, "", "line 1, column 1: this is not JSON"),
        (Format::Problem, "{}", "HTML, JSON and text"),
    ] {
        let why = refused(format, text);
        assert!(why.contains(want), "{text}: {why}");
        assert!(why.len() <= 240, "{}: {why}", why.len());
    }
    let why = Template::new(Format::Text, b"ab\n\xff").unwrap_err();
    assert_eq!(why, "line 2, column 1: this is not UTF-8");
    assert!(Template::new(Format::Text, &vec![b'a'; TEMPLATE_MAX]).is_ok());
    assert!(refused(Format::Text, &"a".repeat(TEMPLATE_MAX + 1)).contains("65536 are allowed"));
    assert!(refused(Format::Json, &format!("[{}1]", "\"{{upstream}}\",".repeat(100))).contains("131072 are allowed"));
}

#[test]
fn json_is_whole_in_every_combination() {
    let text = "{\"code\":{{status}},\"error\":{\"of\":\"{{#upstream}}({{upstream}}){{/upstream}}\"\
                {{#request_id}},\"id\":\"{{request_id}}\"{{/request_id}}{{#retry_after}},\"again\":{{retry_after}}{{/retry_after}}}}";
    for id in [&b""[..], b"a\"b\\"] {
        for upstream in [&b""[..], b"\n\0"] {
            for retry_after_s in [0, 3] {
                let answer = Answer { retry_after_s, ..answer(id, upstream) };
                let parsed: Json = serde_json::from_str(&render(Format::Json, text, &answer)).unwrap();
                assert_eq!(parsed["code"], 502);
                assert_eq!(parsed["error"]["id"].as_str().unwrap_or("").as_bytes(), id);
                assert_eq!(parsed["error"]["again"].as_u64().unwrap_or(0), u64::from(retry_after_s));
            }
        }
    }
}

proptest! {
    /// Whatever bytes are compiled, nothing panics, and what is accepted stays within its bound.
    #[test]
    fn any_text_is_answered(
        text in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            proptest::collection::vec(prop_oneof![
                Just("{{"), Just("}}"), Just("{{status}}"), Just("{{request_id}}"), Just("{{#upstream}}"),
                Just("{{/upstream}}"), Just("<p title=\""), Just("\">"), Just("<script>"), Just("</script>"), Just("<!--"),
                Just("-->"), Just("\""), Just("{"), Just("}"), Just("\\"), Just(":1,"), Just("<"), Just(" a=")
            ], 0..12).prop_map(|parts| parts.concat().into_bytes()),
        ],
        id in proptest::collection::vec(any::<u8>(), 0..=255),
    ) {
        for format in [Format::Html, Format::Json, Format::Text] {
            let Ok(template) = Template::new(format, &text) else { continue };
            for upstream in [&b""[..], b"\"<"] {
                let answer = answer(&id, upstream);
                let mut buf = vec![0; template.length(&answer)];
                prop_assert!(buf.len() <= template.longest());
                template.render(&mut Writer::new(&mut buf), &answer);
                let text = String::from_utf8(buf);
                prop_assert!(text.is_ok());
                if format == Format::Json {
                    prop_assert!(serde_json::from_str::<Json>(&text.unwrap()).is_ok());
                }
            }
        }
    }
}
