//! Whatever a host puts into an answer, what is written is a response that our own validator passes to the last byte,
//! or an error; the length is the one that was said, and nothing else of the buffer than it may hold is needed.
//!
//! The first bytes choose numbers and flags, the rest is shared out over the strings.

use std::ptr::null_mut;
use tidegate::ffi::responder::*;
use tidegate::http::Method;
use tidegate::validator::{End, Event, Framing, Options, Validator, next_field};

/// The bytes that make an answer, taken from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number(&mut self, n: u32) -> u32 {
        // Out of range now and then.
        u32::from(self.byte()) % (n + 2)
    }

    fn string(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (string, rest) = self.0.split_at(len);
        self.0 = rest;
        string
    }
}

/// Writes one answer.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    // SAFETY: integers and pointers only.
    let mut answer: tidegate_answer = unsafe { std::mem::zeroed() };
    answer.struct_size = size_of::<tidegate_answer>();
    answer.status = [500, 502, 503, 504, 200, 0][input.number(4) as usize];
    answer.cause = input.number(38);
    answer.format = input.number(6);
    answer.flags = u32::from(input.byte()) & 31;
    answer.received_status = [0, 503, 599, 100, 99, 600][input.number(4) as usize];
    answer.retry_after_s = [0, 1, 30, u32::MAX][usize::from(input.byte() & 3)];
    answer.date = [0, 1, 784_111_777, 253_402_300_799, -1, i64::MAX][input.number(4) as usize];
    let strings: [&[u8]; 10] = std::array::from_fn(|_| input.string());
    let [accept, label, upstream, request_id, next_hop, details, content_type, earlier, next_protocol, type_base] =
        strings;
    (answer.accept, answer.accept_len) = (accept.as_ptr().cast(), accept.len());
    (answer.label, answer.label_len) = (label.as_ptr().cast(), label.len());
    (answer.upstream, answer.upstream_len) = (upstream.as_ptr().cast(), upstream.len());
    (answer.request_id, answer.request_id_len) = (request_id.as_ptr().cast(), request_id.len());
    (answer.next_hop, answer.next_hop_len) = (next_hop.as_ptr().cast(), next_hop.len());
    (answer.details, answer.details_len) = (details.as_ptr().cast(), details.len());
    (answer.content_type, answer.content_type_len) = (content_type.as_ptr().cast(), content_type.len());
    (answer.earlier_proxy_status, answer.earlier_proxy_status_len) = (earlier.as_ptr().cast(), earlier.len());
    (answer.next_protocol, answer.next_protocol_len) = (next_protocol.as_ptr().cast(), next_protocol.len());
    (answer.type_base, answer.type_base_len) = (type_base.as_ptr().cast(), type_base.len());

    let mut buf = [0u8; TIDEGATE_ANSWER_MAX];
    let mut needed = usize::MAX;
    // SAFETY: the strings outlive the calls, and the buffer has the length that is said.
    let status = unsafe { tidegate_answer_write(&answer, buf.as_mut_ptr().cast(), buf.len(), &mut needed) };
    if status != 0 {
        assert!(status == tidegate::ffi::TIDEGATE_ERR_INVALID, "{status}");
        assert_eq!(needed, usize::MAX, "outputs only on success");
        return;
    }
    let head_only = answer.flags & TIDEGATE_ANSWER_HEAD != 0;
    let member = proxy_status(&answer);
    is_a_response(&buf[..needed], answer.status, head_only, &member);
    parts_agree(&answer, &buf[..needed], &member);

    // A buffer that is too small by one says so and gets nothing.
    let mut length = 0;
    let mut short = vec![0u8; needed - 1];
    // SAFETY: as above.
    let status = unsafe { tidegate_answer_write(&answer, short.as_mut_ptr().cast(), short.len(), &mut length) };
    assert_eq!((status, length), (tidegate::ffi::TIDEGATE_ERR_BUFFER, needed));
    assert!(short.iter().all(|&b| b == 0));
    // SAFETY: as above; no buffer at all.
    let status = unsafe { tidegate_answer_write(&answer, null_mut(), 0, &mut length) };
    assert_eq!((status, length), (tidegate::ffi::TIDEGATE_ERR_BUFFER, needed));
}

/// The value of Proxy-Status by itself.
fn proxy_status(answer: &tidegate_answer) -> Vec<u8> {
    let (mut buf, mut len) = ([0u8; TIDEGATE_ANSWER_MAX], 0);
    // SAFETY: the strings of `answer` live, and the buffer has the length that is said.
    let status = unsafe { tidegate_answer_write_proxy_status(answer, buf.as_mut_ptr().cast(), buf.len(), &mut len) };
    assert_eq!(status, 0);
    buf[..len].to_vec()
}

/// A host that builds the head itself says the same.
fn parts_agree(answer: &tidegate_answer, whole: &[u8], member: &[u8]) {
    let mut buf = [0u8; TIDEGATE_ANSWER_MAX];
    // SAFETY: integers and pointers only.
    let mut parts: tidegate_answer_parts = unsafe { std::mem::zeroed() };
    parts.struct_size = size_of::<tidegate_answer_parts>();
    // SAFETY: as above; the parts lead into the buffer, with their lengths.
    let (body, field) = unsafe {
        assert_eq!(tidegate_answer_write_parts(answer, buf.as_mut_ptr().cast(), buf.len(), &mut parts), 0);
        let part = |ptr: *const std::ffi::c_char, len| std::slice::from_raw_parts(ptr.cast::<u8>(), len);
        (part(parts.body, parts.body_len), part(parts.proxy_status, parts.proxy_status_len))
    };
    assert_eq!(field, member);
    assert!(answer.flags & TIDEGATE_ANSWER_HEAD != 0 || whole.ends_with(body));
    assert!(parts.grpc_status == 0 || body.is_empty());
    assert_eq!(parts.status, if parts.grpc_status == 0 { answer.status } else { 200 });
}

fn is_a_response(bytes: &[u8], status: u32, head_only: bool, member: &[u8]) {
    let method = if head_only { Method::Head } else { Method::Get };
    let mut validator = Validator::new(&Options { method, ..Options::default() });
    let head = validator.feed(bytes);
    assert_eq!(head.event, Event::Head, "{:?}", head.reason);
    let grpc = bytes[..head.consumed].windows(14).any(|w| w == b"\r\ngrpc-status:");
    let status = if grpc { 200 } else { status };
    assert_eq!((u32::from(head.status), head.flags & tidegate::validator::NORMALISE), (status, 0));
    assert_eq!(head.framing, if head_only { Framing::None } else { Framing::Length });
    let mut at = head.consumed;
    let mut body = Vec::new();
    loop {
        let seen = validator.feed(&bytes[at..]);
        at += seen.consumed;
        match seen.event {
            Event::Data => body.extend(&bytes[at - seen.data_len..at]),
            Event::Complete => break,
            other => panic!("{other:?} {:?}", seen.reason),
        }
    }
    assert_eq!(at, bytes.len(), "nothing behind the end");
    assert_eq!(validator.finish(End::Close).event, Event::Complete);
    // Each field once: a string of the host made no field of its own.
    let (mut cursor, mut names) = (0, Vec::new());
    while let Some((field, next)) = next_field(&bytes[..head.consumed], cursor) {
        let name = field.name.to_ascii_lowercase();
        assert!(!names.contains(&name) && FIELDS.contains(&name.as_slice()), "{}", name.escape_ascii());
        assert!(name != b"proxy-status" || field.value == member, "{}", field.value.escape_ascii());
        names.push(name);
        cursor = next;
    }
    assert!(std::str::from_utf8(&body).is_ok(), "the body is UTF-8");
}

const FIELDS: &[&[u8]] = &[
    b"date",
    b"grpc-status",
    b"grpc-message",
    b"content-type",
    b"content-length",
    b"cache-control",
    b"connection",
    b"proxy-status",
    b"retry-after",
    b"vary",
];
