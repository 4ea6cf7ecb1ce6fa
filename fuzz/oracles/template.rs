//! Whatever text is compiled, nothing panics; what is accepted keeps its structure whatever the values are: hostile ones
//! leave the same markup as harmless ones, JSON parses, and no answer exceeds what was said of it.
//!
//! The first bytes choose the format and which values are set, then come the values, then the text.

use tidegate::ffi::responder::*;
use tidegate::ffi::template::*;

/// What the values are, by the lengths that the input says.
struct Values<'a> {
    request_id: &'a [u8],
    upstream: &'a [u8],
    label: &'a [u8],
    retry_after_s: u32,
}

/// Compiles one text and renders it twice.
pub fn run(data: &[u8]) {
    let [choice, a, b, c, rest @ ..] = data else { return };
    let format = [TIDEGATE_FORMAT_HTML, TIDEGATE_FORMAT_JSON, TIDEGATE_FORMAT_TEXT][usize::from(choice % 3)];
    let (request_id, rest) = take(rest, *a);
    let (upstream, rest) = take(rest, *b);
    let (label, text) = take(rest, *c % 65);
    let retry_after_s = u32::from(choice / 3 % 2) * 30;

    let mut template = std::ptr::null_mut();
    // SAFETY: all of it is live.
    let status = unsafe { tidegate_template_new(format, text.as_ptr().cast(), text.len(), &mut template) };
    if status != 0 {
        assert_eq!(status, tidegate::ffi::TIDEGATE_ERR_INVALID);
        assert!(template.is_null(), "outputs only on success");
        return;
    }
    let hostile = render(format, template, &Values { request_id, upstream, label, retry_after_s });
    // Set where the others are: a section appears for both or for neither.
    let plain = |text: &[u8]| if text.is_empty() { &b""[..] } else { b"x" };
    let harmless =
        Values { request_id: plain(request_id), upstream: plain(upstream), label: plain(label), retry_after_s };
    let harmless = render(format, template, &harmless);
    assert_eq!(structure(format, &hostile), structure(format, &harmless), "{hostile:?}\n{harmless:?}");
    if format == TIDEGATE_FORMAT_JSON {
        for body in [&hostile, &harmless] {
            assert!(serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok(), "{body:?}");
        }
    }
    // SAFETY: no answer refers to it any more.
    unsafe { tidegate_template_free(template) };
}

fn take(data: &[u8], len: u8) -> (&[u8], &[u8]) {
    data.split_at(usize::from(len).min(data.len()))
}

fn render(format: u32, template: *mut tidegate_template, values: &Values<'_>) -> String {
    // SAFETY: integers and pointers only.
    let (mut answer, mut parts) =
        unsafe { (std::mem::zeroed::<tidegate_answer>(), std::mem::zeroed::<tidegate_answer_parts>()) };
    (answer.struct_size, parts.struct_size) = (size_of::<tidegate_answer>(), size_of::<tidegate_answer_parts>());
    (answer.status, answer.cause, answer.format) = (503, 26, format);
    (answer.retry_after_s, answer.date) = (values.retry_after_s, 784_111_777);
    (answer.request_id, answer.request_id_len) = (values.request_id.as_ptr().cast(), values.request_id.len());
    (answer.upstream, answer.upstream_len) = (values.upstream.as_ptr().cast(), values.upstream.len());
    (answer.label, answer.label_len) = (values.label.as_ptr().cast(), values.label.len());
    (answer.html_template, answer.json_template, answer.text_template) = (template, template, template);
    // SAFETY: the template lives.
    let mut buf = vec![0u8; unsafe { tidegate_template_answer_max(template) }];
    let mut len = 0;
    // SAFETY: all of it is live, and the buffer has the length that is said.
    let body = unsafe {
        assert_eq!(tidegate_answer_write(&answer, buf.as_mut_ptr().cast(), buf.len(), &mut len), 0);
        let whole = buf[..len].to_vec();
        assert_eq!(tidegate_answer_write_parts(&answer, buf.as_mut_ptr().cast(), buf.len(), &mut parts), 0);
        let body = std::slice::from_raw_parts(parts.body.cast::<u8>(), parts.body_len).to_vec();
        assert!(whole.ends_with(&body), "both ways give one body");
        body
    };
    String::from_utf8(body).expect("a body is UTF-8")
}

/// What values must not change: HTML's brackets and quotes, JSON without the contents of its strings, the control
/// characters of text.
fn structure(format: u32, body: &str) -> String {
    match format {
        TIDEGATE_FORMAT_HTML => body.chars().filter(|c| matches!(c, '<' | '>' | '"' | '\'')).collect(),
        TIDEGATE_FORMAT_JSON => {
            let (mut quoted, mut escaped) = (false, false);
            body.chars()
                .filter(|&c| {
                    let kept = !quoted || (c == '"' && !escaped);
                    if c == '"' && !escaped {
                        quoted = !quoted;
                    }
                    escaped = quoted && c == '\\' && !escaped;
                    kept
                })
                .collect()
        }
        _ => body.chars().filter(|c| c.is_control()).collect(),
    }
}
