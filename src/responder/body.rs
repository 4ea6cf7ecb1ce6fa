//! The bodies: two shapes of JSON, problem details (RFC 9457) and plain text. HTML has its own file.
//!
//! Members that are unset are absent. Fixed parts and sentences are copied as they are; foreign text goes through
//! `escape`. Every body is valid UTF-8 and ends with a newline. Cost: two copies a member.

use super::sentence::sentence;
use super::writer::Writer;
use super::{Answer, Format, Status, escape, html};

/// Writes the body of this format.
#[inline(always)]
pub(super) fn write(w: &mut Writer<'_>, answer: &Answer<'_>, format: Format) {
    match format {
        Format::Json => json(w, answer),
        other => w.lend(|w| write_other(w, answer, other)),
    }
}

#[inline(never)]
fn write_other(w: &mut Writer<'_>, answer: &Answer<'_>, format: Format) {
    match format {
        Format::Json => json(w, answer),
        Format::JsonFlat => json_flat(w, answer),
        Format::Problem => problem(w, answer),
        Format::Html => html::write(w, answer),
        Format::Text => text(w, answer),
    }
}

/// `{"error":{"code":502,"message":"Bad Gateway","details":{…}}}`; `details` is an object even when it is empty.
#[inline(always)]
fn json(w: &mut Writer<'_>, answer: &Answer<'_>) {
    w.put(match answer.status {
        Status::InternalServerError => {
            b"{\"error\":{\"code\":500,\"message\":\"Internal Server Error\",\"details\":{".as_slice()
        }
        Status::BadGateway => b"{\"error\":{\"code\":502,\"message\":\"Bad Gateway\",\"details\":{",
        Status::ServiceUnavailable => b"{\"error\":{\"code\":503,\"message\":\"Service Unavailable\",\"details\":{",
        Status::GatewayTimeout => b"{\"error\":{\"code\":504,\"message\":\"Gateway Timeout\",\"details\":{",
    });
    let mut details = Members { w, first: true };
    details.cause(answer);
    details.text(b"\"upstream\":\"", answer.upstream.bytes());
    details.text(b"\"requestId\":\"", answer.request_id.bytes());
    details.retry_after(answer);
    w.put(b"}}}\n");
}

/// `{"error":"upstream_failure","upstreamService":…,"message":…,"requestId":…,"retryAfter":…}`
fn json_flat(w: &mut Writer<'_>, answer: &Answer<'_>) {
    w.put(b"{\"error\":\"");
    w.put(answer.status.kind().as_bytes());
    w.put(b"\"");
    let mut members = Members { w, first: false };
    members.text(b"\"upstreamService\":\"", answer.upstream.bytes());
    members.text(b"\"message\":\"", sentence(answer.cause).as_bytes());
    members.text(b"\"requestId\":\"", answer.request_id.bytes());
    members.retry_after(answer);
    w.put(b"}\n");
}

/// RFC 9457: with `about:blank` the title is the status's own, and what is ours are extension members.
fn problem(w: &mut Writer<'_>, answer: &Answer<'_>) {
    w.put(b"{\"type\":\"about:blank\",\"title\":\"");
    w.put(answer.status.reason().as_bytes());
    w.put(b"\",\"status\":");
    w.put(answer.status.digits());
    let mut members = Members { w, first: false };
    members.text(b"\"detail\":\"", sentence(answer.cause).as_bytes());
    members.cause(answer);
    members.text(b"\"upstream\":\"", answer.upstream.bytes());
    members.text(b"\"requestId\":\"", answer.request_id.bytes());
    members.retry_after(answer);
    w.put(b"}\n");
}

fn text(w: &mut Writer<'_>, answer: &Answer<'_>) {
    w.put(answer.status.digits());
    w.put(b" ");
    w.put(answer.status.reason().as_bytes());
    w.put(b"\n\n");
    w.put(sentence(answer.cause).as_bytes());
    w.put(b"\n");
    advice(w, answer);
    w.put(b"\n");
    for (name, value) in [(&b"\nService: "[..], answer.upstream), (b"\nRequest id: ", answer.request_id)] {
        if !value.bytes().is_empty() {
            w.put(name);
            escape::plain(w, value.bytes());
        }
    }
    if !answer.upstream.bytes().is_empty() || !answer.request_id.bytes().is_empty() {
        w.put(b"\n");
    }
}

/// When to try again, for people: a number of seconds or of minutes if it is known.
pub(super) fn advice(w: &mut Writer<'_>, answer: &Answer<'_>) {
    match answer.retry_after_s {
        0 if answer.status.is_ours() => w.put(b"If this keeps happening, please tell the people who run this site."),
        0 => w.put(b"Please try again in a moment."),
        1 => w.put(b"Please try again in 1 second."),
        s @ 2..120 => {
            w.put(b"Please try again in ");
            w.put_number(s);
            w.put(b" seconds.");
        }
        s => {
            w.put(b"Please try again in ");
            w.put_number(s.div_ceil(60));
            w.put(b" minutes.");
        }
    }
}

/// The members of a JSON object; keys come with their quotes and colon, those of strings with the opening quote too.
struct Members<'w, 'b> {
    w: &'w mut Writer<'b>,
    first: bool,
}

impl Members<'_, '_> {
    #[inline(always)]
    fn key(&mut self, key: &[u8]) {
        if !self.first {
            self.w.put(b",");
        }
        self.first = false;
        self.w.put(key);
    }

    #[inline(always)]
    fn text(&mut self, key: &[u8], value: &[u8]) {
        if !value.is_empty() {
            self.key(key);
            escape::json(self.w, value);
            self.w.put(b"\"");
        }
    }

    #[inline(always)]
    fn cause(&mut self, answer: &Answer<'_>) {
        if answer.cause.number() != 0 {
            self.key(b"\"cause\":\"");
            self.w.put_short(answer.cause.name().as_bytes());
            self.w.put(b"\"");
        }
    }

    #[inline(always)]
    fn retry_after(&mut self, answer: &Answer<'_>) {
        if answer.retry_after_s > 0 {
            self.key(b"\"retryAfter\":");
            self.w.put_number(answer.retry_after_s);
        }
    }
}
