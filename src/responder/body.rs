//! The bodies: two shapes of JSON, problem details (RFC 9457) and plain text. HTML has its own file.
//!
//! Members that are unset are absent. Fixed parts and sentences are copied as they are; foreign text goes through
//! `escape`. Every body is valid UTF-8 and ends with a newline. Cost: two copies a member.

use super::block::Block;
use super::sentence::{sentence, title};
use super::writer::Writer;
use super::{Answer, Format, Status, escape, html};
use crate::cause::Cause;

/// Writes the body of this format.
pub(super) fn write(w: &mut Writer<'_>, answer: &Answer<'_>, format: Format) {
    match format {
        Format::Json => json(w, answer),
        Format::JsonFlat => json_flat(w, answer),
        Format::Problem => problem(w, answer),
        Format::Html => html::write(w, answer),
        Format::Text => text(w, answer),
        Format::Grpc => {}
    }
}

/// `{"error":{"code":502,"message":"Bad Gateway","details":{…}}}`; `details` is an object even when it is empty.
#[inline(always)]
pub(super) fn json(w: &mut Writer<'_>, answer: &Answer<'_>) {
    w.put_block(&OPENINGS[answer.status as usize]);
    let mut details = Members { w, first: true };
    details.cause(answer);
    details.text(&UPSTREAM, answer.upstream.bytes());
    details.text(&REQUEST_ID, answer.request_id.bytes());
    details.retry_after(answer);
    w.put(b"}}}\n");
}

/// `{"error":"upstream_failure","upstreamService":…,"message":…,"requestId":…,"retryAfter":…}`
fn json_flat(w: &mut Writer<'_>, answer: &Answer<'_>) {
    w.put(b"{\"error\":\"");
    w.put(answer.status.kind().as_bytes());
    w.put(b"\"");
    let mut members = Members { w, first: false };
    members.text(&UPSTREAM_SERVICE, answer.upstream.bytes());
    members.plain(&MESSAGE, sentence(answer.cause));
    members.text(&REQUEST_ID, answer.request_id.bytes());
    members.retry_after(answer);
    w.put(b"}\n");
}

/// RFC 9457: with `about:blank` the title is the status's own; with a type of its own it is the cause's. What is ours
/// are extension members. `instance` is the request's id as a fragment of the request's own URI.
fn problem(w: &mut Writer<'_>, answer: &Answer<'_>) {
    let base = if answer.cause == Cause::NONE { &[] } else { answer.type_base.bytes() };
    w.put(b"{\"type\":\"");
    if base.is_empty() {
        w.put(b"about:blank\",\"title\":\"");
        w.put(answer.status.reason().as_bytes());
    } else {
        w.put(base);
        w.put(answer.cause.name().as_bytes());
        w.put(b"\",\"title\":\"");
        w.put(title(answer.cause).as_bytes());
    }
    w.put(b"\",\"status\":");
    w.put(answer.status.code().as_bytes());
    let mut members = Members { w, first: false };
    members.plain(&DETAIL, sentence(answer.cause));
    members.instance(answer);
    members.cause(answer);
    members.text(&UPSTREAM, answer.upstream.bytes());
    members.text(&REQUEST_ID, answer.request_id.bytes());
    members.retry_after(answer);
    w.put(b"}\n");
}

fn text(w: &mut Writer<'_>, answer: &Answer<'_>) {
    w.put(answer.status.code().as_bytes());
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

/// The members of a JSON object.
struct Members<'w, 'b> {
    w: &'w mut Writer<'b>,
    first: bool,
}

impl Members<'_, '_> {
    /// What stands before a value: a comma, the quoted name, a colon, and the opening quote if it is a string.
    #[inline(always)]
    fn key<const N: usize>(&mut self, key: &Block<N>) {
        if self.first {
            self.w.put(key.text().get(1..).unwrap_or_default());
        } else {
            self.w.put_block(key);
        }
        self.first = false;
    }

    #[inline(always)]
    fn text<const N: usize>(&mut self, key: &Block<N>, value: &[u8]) {
        if !value.is_empty() {
            self.key(key);
            escape::json(self.w, value);
        }
    }

    /// A text of ours, which needs no escaping.
    fn plain<const N: usize>(&mut self, key: &Block<N>, value: &'static str) {
        self.key(key);
        self.w.put(value.as_bytes());
        self.w.put(b"\"");
    }

    #[inline(always)]
    fn cause(&mut self, answer: &Answer<'_>) {
        let Some(member) = CAUSES.get(answer.cause.number() as usize).filter(|m| m.len() > 0) else { return };
        if !self.first {
            self.w.put(b",");
        }
        self.first = false;
        self.w.put_block(member);
    }

    fn instance(&mut self, answer: &Answer<'_>) {
        if !answer.request_id.bytes().is_empty() {
            self.key(&INSTANCE);
            escape::uri(self.w, answer.request_id.bytes());
            self.w.put(b"\"");
        }
    }

    #[inline(always)]
    fn retry_after(&mut self, answer: &Answer<'_>) {
        if answer.retry_after_s > 0 {
            self.key(&RETRY_AFTER);
            self.w.put_number(answer.retry_after_s);
        }
    }
}

static UPSTREAM: Block<16> = Block::new(&[",\"upstream\":\""]);
static UPSTREAM_SERVICE: Block<24> = Block::new(&[",\"upstreamService\":\""]);
static REQUEST_ID: Block<16> = Block::new(&[",\"requestId\":\""]);
static RETRY_AFTER: Block<16> = Block::new(&[",\"retryAfter\":"]);
static MESSAGE: Block<16> = Block::new(&[",\"message\":\""]);
static INSTANCE: Block<16> = Block::new(&[",\"instance\":\"#"]);
static DETAIL: Block<16> = Block::new(&[",\"detail\":\""]);

/// By status: what the default body starts with.
static OPENINGS: [Block<80>; Status::ALL.len()] = {
    let mut all = [Block::EMPTY; Status::ALL.len()];
    let mut i = 0;
    while i < all.len() {
        let status = Status::ALL[i];
        let parts = ["{\"error\":{\"code\":", status.code(), ",\"message\":\"", status.reason(), "\",\"details\":{"];
        all[i] = Block::new(&parts);
        i += 1;
    }
    all
};

/// By cause: the member that names it.
static CAUSES: [Block<48>; Cause::ALL.len()] = {
    let mut all = [Block::EMPTY; Cause::ALL.len()];
    let mut i = 1;
    while i < all.len() {
        all[i] = Block::new(&["\"cause\":\"", Cause::ALL[i].properties().name, "\""]);
        i += 1;
    }
    all
};
