//! `tidegate_answer_*`: the gateway's own error responses. Numbers become `crate::responder` types here, or errors.

use super::template::{self, tidegate_template};
use super::{Error, Struct, TIDEGATE_ERR_BUFFER, TIDEGATE_ERR_NULL, bytes, guard, init_struct, is_whole, read_struct};
use super::{tidegate_status, write_struct};
use crate::cause::Cause;
use crate::responder::{
    ANSWER_MAX, Answer, Connection, Date, Format, Needed, Short, Status, TEMPLATE_MAX, Templates, Uri,
};
use std::ffi::c_char;

/// A buffer of this many bytes holds every answer without a template; with one see `tidegate_template_answer_max`.
pub const TIDEGATE_ANSWER_MAX: usize = 8192;
const _: () = assert!(TIDEGATE_ANSWER_MAX == ANSWER_MAX);

/// Body format: by the request's `content_type` (gRPC) and `accept`.
pub const TIDEGATE_FORMAT_AUTO: u32 = 0;
/// `{"error":{"code":502,"message":"Bad Gateway","details":…}}`, application/json.
pub const TIDEGATE_FORMAT_JSON: u32 = 1;
/// `{"error":"upstream_failure","upstreamService":…,"message":…}`, application/json.
pub const TIDEGATE_FORMAT_JSON_FLAT: u32 = 2;
/// RFC 9457, application/problem+json.
pub const TIDEGATE_FORMAT_PROBLEM: u32 = 3;
/// text/html; charset=utf-8.
pub const TIDEGATE_FORMAT_HTML: u32 = 4;
/// text/plain; charset=utf-8.
pub const TIDEGATE_FORMAT_TEXT: u32 = 5;
/// gRPC's trailers-only response: HTTP status 200, application/grpc, no body; `grpc-status` is 14 (UNAVAILABLE) for 502,
/// 503 and 504, as gRPC maps HTTP statuses, and 2 (UNKNOWN) for 500; `grpc-message` is the sentence, percent-encoded.
/// gRPC needs HTTP/2: a host that speaks it takes the parts and ends the stream with the head. `tidegate_answer_write`
/// gives the same over HTTP/1.1 with a Content-Length of 0, for a hop in front that translates.
pub const TIDEGATE_FORMAT_GRPC: u32 = 6;

/// The request was HEAD: the same head, no body. The parts' `body` is still there, for its length.
pub const TIDEGATE_ANSWER_HEAD: u32 = 1;
/// Write `Connection: close`. Without this flag and the next no such field is written, as HTTP/2 and HTTP/3 need it, and
/// an HTTP/1.1 host that keeps the connection.
pub const TIDEGATE_ANSWER_CLOSE: u32 = 2;
/// Write `Connection: keep-alive` (for HTTP/1.0 clients). CLOSE wins over it.
pub const TIDEGATE_ANSWER_KEEP_ALIVE: u32 = 4;
/// Where `accept` asks for JSON, use the flat shape.
pub const TIDEGATE_ANSWER_FLAT: u32 = 8;
/// Leave Proxy-Status out.
pub const TIDEGATE_ANSWER_NO_PROXY_STATUS: u32 = 16;

/// An error response to be written. 0, NULL and length 0 are "unset" everywhere; only `status` must be set.
/// `tidegate_request_answer` fills in `status`, `cause`, `retry_after_s` and `received_status`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_answer {
    /// sizeof(tidegate_answer)
    pub struct_size: usize,
    /// 500, 502, 503 or 504.
    pub status: u32,
    /// TIDEGATE_CAUSE_*: decides the Proxy-Status error type and the sentence in the body.
    pub cause: u32,
    /// Retry-After in seconds; 0: no such field.
    pub retry_after_s: u32,
    /// The status that an upstream had answered with, for Proxy-Status: 100 to 599.
    pub received_status: u32,
    /// TIDEGATE_FORMAT_*
    pub format: u32,
    /// TIDEGATE_ANSWER_* bits.
    pub flags: u32,
    /// Date in seconds since 1970-01-01 UTC, before the year 10000; 0: no such field.
    pub date: i64,
    /// The value of the request's Accept field; join several lines by commas. Read if `format` is AUTO. Missing or
    /// empty: JSON. Nothing acceptable: text.
    pub accept: *const c_char,
    /// Its length in bytes.
    pub accept_len: usize,
    /// The gateway's name in Proxy-Status; default "tidegate". An RFC 8941 token, or else written as a string, in
    /// which bytes other than printable ASCII become "?" (also in `next_hop` and `details`).
    pub label: *const c_char,
    /// Its length in bytes, at most 64.
    pub label_len: usize,
    /// The upstream's public name (`upstreamService`), shown in the body; unset: not shown. Escaped; what is not UTF-8
    /// becomes U+FFFD (also in `request_id`).
    pub upstream: *const c_char,
    /// Its length in bytes, at most 255.
    pub upstream_len: usize,
    /// The request's id, shown in the body; unset: not shown.
    pub request_id: *const c_char,
    /// Its length in bytes, at most 255.
    pub request_id_len: usize,
    /// Proxy-Status `next-hop`. It tells clients an address of yours: unset unless you want that.
    pub next_hop: *const c_char,
    /// Its length in bytes, at most 255.
    pub next_hop_len: usize,
    /// Proxy-Status `details`. It tells clients about your insides: unset unless you want that.
    pub details: *const c_char,
    /// Its length in bytes, at most 255.
    pub details_len: usize,
    /// The value of the request's Content-Type field. Read if `format` is AUTO: application/grpc (also with a suffix
    /// like +proto) is answered as TIDEGATE_FORMAT_GRPC whatever `accept` says.
    pub content_type: *const c_char,
    /// Its length in bytes.
    pub content_type_len: usize,
    /// The Proxy-Status value that the response had before (of gateways nearer to the origin), where an upstream's
    /// response is replaced: this gateway's member is appended to it. Join several lines by commas. What is no list as
    /// RFC 9209 has it, or longer than 512 bytes, is left out, or readers would drop the whole field.
    pub earlier_proxy_status: *const c_char,
    /// Its length in bytes.
    pub earlier_proxy_status_len: usize,
    /// Proxy-Status `next-protocol`: the ALPN id spoken with the upstream ("http/1.1", "h2").
    pub next_protocol: *const c_char,
    /// Its length in bytes, at most 64.
    pub next_protocol_len: usize,
    /// What the `type` of problem details begins with; the cause's name follows. The URI of a page that explains causes,
    /// up to its "#": docs/causes.md has an anchor for each. Unset: the type is "about:blank".
    pub type_base: *const c_char,
    /// Its length in bytes, at most 255; only characters of a URI.
    pub type_base_len: usize,
    /// Where the format comes out as HTML: this template is the body. NULL: the default page.
    pub html_template: *const tidegate_template,
    /// The same for JSON, in the place of both shapes.
    pub json_template: *const tidegate_template,
    /// The same for text.
    pub text_template: *const tidegate_template,
}
// SAFETY: integers and raw pointers only, size first, no implicit padding.
unsafe impl Struct for tidegate_answer {}

/// Where the parts of an answer are, for hosts that build the head themselves (nginx). Pointers lead into the
/// caller's buffer or to static text; none is terminated by a NUL. Such a host also sends `Cache-Control: no-store`,
/// `Retry-After` if `retry_after_s` is not 0, and `Vary: Accept` if `format` is AUTO. It never sends a `Connection` field
/// over HTTP/2 or HTTP/3.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_answer_parts {
    /// sizeof(tidegate_answer_parts)
    pub struct_size: usize,
    /// "Bad Gateway"
    pub reason: *const c_char,
    /// Its length in bytes.
    pub reason_len: usize,
    /// The value of Content-Type.
    pub content_type: *const c_char,
    /// Its length in bytes.
    pub content_type_len: usize,
    /// This gateway's member of Proxy-Status: append it to what is there. With `earlier_proxy_status` the value of the
    /// whole field. Length 0: none.
    pub proxy_status: *const c_char,
    /// Its length in bytes.
    pub proxy_status_len: usize,
    /// The body.
    pub body: *const c_char,
    /// Its length in bytes, also of the body that a HEAD request would have got.
    pub body_len: usize,
    /// The status to send: that of the answer, or 200 for gRPC.
    pub status: u32,
    /// The value of the field `grpc-status`: 14 or 2; 0: the answer is not gRPC's, and has no such field.
    pub grpc_status: u32,
    /// The value of the field `grpc-message`, percent-encoded.
    pub grpc_message: *const c_char,
    /// Its length in bytes; 0 if `grpc_status` is 0.
    pub grpc_message_len: usize,
}
// SAFETY: as above.
unsafe impl Struct for tidegate_answer_parts {}

/// Sets `*answer` to its defaults: zeros and `size`. Thread rule: any-thread.
///
/// # Safety
/// `answer` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_answer_init(answer: *mut tidegate_answer, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(answer, size) }
}

/// Sets `*parts` to zeros and `size`. Thread rule: any-thread.
///
/// # Safety
/// `parts` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_answer_parts_init(parts: *mut tidegate_answer_parts, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(parts, size) }
}

/// Writes a complete HTTP/1.1 response. `*needed` (may be NULL) is its length, also with TIDEGATE_ERR_BUFFER, which
/// leaves `buf` as it was; TIDEGATE_ANSWER_MAX bytes are always enough, with a template
/// `tidegate_template_answer_max`. Bytes of `buf` behind the response may change.
/// With a `cap` of 0 `buf` may be NULL.
///
/// Thread rule: any-thread. Errors: NULL, INVALID (a value that its field does not allow, or a length above its
/// bound), STRUCT_SIZE, BUFFER. Cost: no allocation; a generous `cap` (TIDEGATE_ANSWER_MAX) spares a copy.
/// Source: RFC 9110 sections 10.2.3, 12.5.1 and 15.6; RFC 9209; RFC 9457.
///
/// # Safety
/// `answer` is valid; `buf` points to `cap` writable bytes; `needed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_answer_write(
    answer: *const tidegate_answer,
    buf: *mut c_char,
    cap: usize,
    needed: *mut usize,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the struct, the strings in it and the buffer.
        let Some(len) = (unsafe { write_usual(answer, buf, cap) }) else {
            // SAFETY: as above.
            return unsafe { write_any(answer, buf, cap, needed) };
        };
        if !needed.is_null() {
            // SAFETY: not NULL, and the caller vouches for it.
            unsafe { needed.write(len) };
        }
        Ok(())
    })
}

/// The default answer, from a struct that is read where it lies. `None`: go the long way, which says what is wrong.
///
/// # Safety
/// As [`tidegate_answer_write`].
#[inline(always)]
unsafe fn write_usual(answer: *const tidegate_answer, buf: *mut c_char, cap: usize) -> Option<usize> {
    // SAFETY: the caller's promise is the same.
    unsafe {
        // In place: a copy would cost more than all that is read of it.
        let raw = (is_whole(answer) && answer.is_aligned()).then(|| &*answer)?;
        let more = raw.received_status as usize
            | raw.label_len
            | raw.next_hop_len
            | raw.details_len
            | raw.content_type_len
            | raw.earlier_proxy_status_len
            | raw.next_protocol_len
            | raw.type_base_len;
        if raw.format > TIDEGATE_FORMAT_JSON || more != 0 || !raw.json_template.is_null() {
            return None;
        }
        parse_usual(raw).ok()?.write_usual(buffer(buf, cap).ok()?)
    }
}

/// # Safety
/// As [`tidegate_answer_write`].
#[inline(never)]
unsafe fn write_any(
    answer: *const tidegate_answer,
    buf: *mut c_char,
    cap: usize,
    needed: *mut usize,
) -> Result<(), Error> {
    // SAFETY: the caller vouches for the struct and the strings in it.
    let answer = unsafe { read_and_parse(answer) }?;
    // SAFETY: the caller vouches for the buffer.
    let written = answer.write_any(unsafe { buffer(buf, cap) }?);
    // SAFETY: the caller vouches for `needed`.
    unsafe { tell(written, needed) }
}

/// Writes the parts of the same response, for a host that builds the head itself. TIDEGATE_ANSWER_MAX bytes are always
/// enough, with a template `tidegate_template_answer_max`; with TIDEGATE_ERR_BUFFER `buf` and `*parts` stay as they were.
///
/// Thread rule, errors, cost: as `tidegate_answer_write`.
///
/// # Safety
/// `answer` is valid; `buf` points to `cap` writable bytes; `parts` is writable and its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_answer_write_parts(
    answer: *const tidegate_answer,
    buf: *mut c_char,
    cap: usize,
    parts: *mut tidegate_answer_parts,
) -> tidegate_status {
    guard(|| {
        if parts.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        // SAFETY: the caller vouches for the struct and the strings in it.
        let raw = unsafe { read_struct(answer) }?;
        // SAFETY: as above.
        let answer = unsafe { parse(&raw) }?;
        // SAFETY: the caller vouches for the buffer.
        let buf = unsafe { buffer(buf, cap) }?;
        let found = answer.write_parts(buf).map_err(|_| Error::of(TIDEGATE_ERR_BUFFER))?;
        let (proxy_status, body) = (&buf[found.proxy_status], &buf[found.body]);
        let value = tidegate_answer_parts {
            struct_size: size_of::<tidegate_answer_parts>(),
            reason: found.reason.as_ptr().cast(),
            reason_len: found.reason.len(),
            content_type: found.content_type.as_ptr().cast(),
            content_type_len: found.content_type.len(),
            proxy_status: proxy_status.as_ptr().cast(),
            proxy_status_len: proxy_status.len(),
            body: body.as_ptr().cast(),
            body_len: body.len(),
            status: found.status.into(),
            grpc_status: found.grpc_status.unwrap_or(0),
            grpc_message: found.grpc_message.as_ptr().cast(),
            grpc_message_len: found.grpc_message.len(),
        };
        // SAFETY: the caller vouches for `parts`.
        unsafe { write_struct(parts, &value) }
    })
}

/// Writes the value of Proxy-Status and nothing else: this gateway's member, behind `earlier_proxy_status`. For the
/// trailers of a response whose head has gone out (RFC 9209, section 2: it says why a body broke off), or for a host
/// that writes its own answers. `status` and `format` have no influence on it. TIDEGATE_ANSWER_MAX bytes are always
/// enough. With TIDEGATE_ANSWER_NO_PROXY_STATUS it writes nothing.
///
/// Thread rule, errors: as `tidegate_answer_write`. Cost: no allocation, one copy more than needed.
///
/// # Safety
/// As `tidegate_answer_write`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_answer_write_proxy_status(
    answer: *const tidegate_answer,
    buf: *mut c_char,
    cap: usize,
    needed: *mut usize,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the struct and the strings in it.
        let raw = unsafe { read_struct(answer) }?;
        // SAFETY: as above.
        let answer = unsafe { parse(&raw) }?;
        // SAFETY: the caller vouches for the buffer.
        let written = answer.write_proxy_status(unsafe { buffer(buf, cap) }?);
        // SAFETY: the caller vouches for `needed`.
        unsafe { tell(written, needed) }
    })
}

/// Length and status of what was written, or would have been.
///
/// # Safety
/// `needed` is NULL or writable.
unsafe fn tell(written: Result<usize, Needed>, needed: *mut usize) -> Result<(), Error> {
    let (len, result) = match written {
        Ok(len) => (len, Ok(())),
        Err(Needed(len)) => (len, Err(Error::of(TIDEGATE_ERR_BUFFER))),
    };
    if !needed.is_null() {
        // SAFETY: not NULL, and the caller vouches for it.
        unsafe { needed.write(len) };
    }
    result
}

/// The caller's buffer. NULL is allowed where `cap` is 0: it asks for the length.
///
/// # Safety
/// `buf` is NULL or points to `cap` writable bytes that nothing else uses during `'a`.
unsafe fn buffer<'a>(buf: *mut c_char, cap: usize) -> Result<&'a mut [u8], Error> {
    if cap == 0 {
        return Ok(&mut []);
    }
    if buf.is_null() {
        return Err(Error::of(TIDEGATE_ERR_NULL));
    }
    // SAFETY: not NULL, and the caller vouches for `cap` bytes, of which no answer uses more than the first LARGEST. The
    // responder reads none that it has not written.
    Ok(unsafe { std::slice::from_raw_parts_mut(buf.cast::<u8>(), cap.min(LARGEST)) })
}

/// No answer is larger: a template's body is at most twice the longest template.
const LARGEST: usize = ANSWER_MAX + 2 * TEMPLATE_MAX;

/// Reads the struct where it lies if it can: it is large, and a copy costs.
///
/// # Safety
/// As [`tidegate_answer_write`], for `'a`.
#[inline]
unsafe fn read_and_parse<'a>(answer: *const tidegate_answer) -> Result<Answer<'a>, Error> {
    // SAFETY: the caller's promise is the same.
    unsafe { if is_whole(answer) && answer.is_aligned() { parse(&*answer) } else { parse(&read_struct(answer)?) } }
}

/// Checks what the host wrote into the struct.
///
/// # Safety
/// Each string of `raw` is NULL or points to as many readable bytes as its length says, for `'a`.
#[inline(never)]
unsafe fn parse<'a>(raw: &tidegate_answer) -> Result<Answer<'a>, Error> {
    if !matches!(raw.received_status, 0 | 100..=599) {
        return Err(refused("received_status", raw.received_status.into(), "100 to 599"));
    }
    // SAFETY: the caller vouches for each pair and each template.
    unsafe {
        Ok(Answer {
            received_status: raw.received_status as u16,
            label: short("label_len", raw.label, raw.label_len)?,
            next_hop: short("next_hop_len", raw.next_hop, raw.next_hop_len)?,
            details: short("details_len", raw.details, raw.details_len)?,
            content_type: bytes(raw.content_type, raw.content_type_len)?,
            earlier: bytes(raw.earlier_proxy_status, raw.earlier_proxy_status_len)?,
            next_protocol: short("next_protocol_len", raw.next_protocol, raw.next_protocol_len)?,
            type_base: uri(raw.type_base, raw.type_base_len)?,
            templates: Templates {
                html: template::of(raw.html_template),
                json: template::of(raw.json_template),
                text: template::of(raw.text_template),
            },
            ..parse_usual(raw)?
        })
    }
}

/// [`parse`] without the members that the usual answer leaves unset.
///
/// # Safety
/// As [`parse`].
#[inline(always)]
unsafe fn parse_usual<'a>(raw: &tidegate_answer) -> Result<Answer<'a>, Error> {
    const KNOWN: u32 = TIDEGATE_ANSWER_HEAD
        | TIDEGATE_ANSWER_CLOSE
        | TIDEGATE_ANSWER_KEEP_ALIVE
        | TIDEGATE_ANSWER_FLAT
        | TIDEGATE_ANSWER_NO_PROXY_STATUS;
    let has = |flag| raw.flags & flag != 0;
    if raw.flags & !KNOWN != 0 {
        return Err(refused("flags", raw.flags.into(), "not TIDEGATE_ANSWER_* bits"));
    }
    let Some(status) = Status::from_code(raw.status) else {
        return Err(refused("status", raw.status.into(), "500, 502, 503 and 504 are generated"));
    };
    let Some(cause) = Cause::from_number(raw.cause) else {
        return Err(refused("cause", raw.cause.into(), "not a TIDEGATE_CAUSE_*"));
    };
    let format = match raw.format {
        TIDEGATE_FORMAT_AUTO => None,
        TIDEGATE_FORMAT_JSON => Some(Format::Json),
        TIDEGATE_FORMAT_JSON_FLAT => Some(Format::JsonFlat),
        TIDEGATE_FORMAT_PROBLEM => Some(Format::Problem),
        TIDEGATE_FORMAT_HTML => Some(Format::Html),
        TIDEGATE_FORMAT_TEXT => Some(Format::Text),
        TIDEGATE_FORMAT_GRPC => Some(Format::Grpc),
        other => return Err(refused("format", other.into(), "not a TIDEGATE_FORMAT_*")),
    };
    let date = match (raw.date, Date::from_unix(raw.date)) {
        (0, _) => None,
        (_, Some(date)) => Some(date),
        (seconds, None) => return Err(refused("date", seconds, "not between the years 1970 and 9999")),
    };
    // SAFETY: the caller vouches for each pair.
    unsafe {
        Ok(Answer {
            status,
            cause,
            retry_after_s: raw.retry_after_s,
            format,
            flat: has(TIDEGATE_ANSWER_FLAT),
            head: has(TIDEGATE_ANSWER_HEAD),
            connection: match raw.flags & (TIDEGATE_ANSWER_CLOSE | TIDEGATE_ANSWER_KEEP_ALIVE) {
                0 => Connection::Unsaid,
                TIDEGATE_ANSWER_KEEP_ALIVE => Connection::KeepAlive,
                _ => Connection::Close,
            },
            proxy_status: !has(TIDEGATE_ANSWER_NO_PROXY_STATUS),
            date,
            accept: bytes(raw.accept, raw.accept_len)?,
            upstream: short("upstream_len", raw.upstream, raw.upstream_len)?,
            request_id: short("request_id_len", raw.request_id, raw.request_id_len)?,
            ..Answer::new(status)
        })
    }
}

/// # Safety
/// `ptr` is NULL or points to `len` readable bytes for `'a`.
#[inline]
unsafe fn short<'a, const MAX: usize>(field: &str, ptr: *const c_char, len: usize) -> Result<Short<'a, MAX>, Error> {
    // SAFETY: the caller's promise is the same.
    let text = unsafe { bytes(ptr, len) }?;
    Short::new(text).ok_or_else(|| refused(field, i64::try_from(len).unwrap_or(i64::MAX), "too long"))
}

/// # Safety
/// As [`short`].
#[inline]
unsafe fn uri<'a>(ptr: *const c_char, len: usize) -> Result<Uri<'a>, Error> {
    // SAFETY: the caller's promise is the same.
    let text = unsafe { bytes(ptr, len) }?;
    Uri::new(text).ok_or_else(|| Error::invalid("type_base is not the start of a URI of at most 255 bytes"))
}

#[cold]
fn refused(field: &str, value: i64, why: &str) -> Error {
    Error::invalid(format!("{field} is {value}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::super::{TIDEGATE_ERR_INVALID, TIDEGATE_OK};
    use super::*;

    fn minimal() -> tidegate_answer {
        // SAFETY: the type is valid when all zero.
        let mut answer: tidegate_answer = unsafe { std::mem::zeroed() };
        answer.struct_size = size_of::<tidegate_answer>();
        answer.status = 502;
        answer
    }

    fn write(answer: &tidegate_answer, buf: &mut [u8]) -> (tidegate_status, usize) {
        let mut needed = usize::MAX;
        // SAFETY: all of it is live.
        let status = unsafe { tidegate_answer_write(answer, buf.as_mut_ptr().cast(), buf.len(), &mut needed) };
        (status, needed)
    }

    #[test]
    fn the_length_can_be_asked_for_first() {
        let answer = minimal();
        let mut needed = 0;
        // SAFETY: NULL is allowed with a capacity of 0.
        let status = unsafe { tidegate_answer_write(&answer, std::ptr::null_mut(), 0, &mut needed) };
        assert_eq!(status, TIDEGATE_ERR_BUFFER);
        let mut buf = vec![0; needed];
        assert_eq!(write(&answer, &mut buf), (TIDEGATE_OK, needed));
        assert!(buf.starts_with(b"HTTP/1.1 502 Bad Gateway\r\n"));
        // SAFETY: `needed` may be NULL; `buf` may not where the capacity is more than 0.
        unsafe {
            assert_eq!(
                tidegate_answer_write(&answer, buf.as_mut_ptr().cast(), needed, std::ptr::null_mut()),
                TIDEGATE_OK
            );
            assert_eq!(tidegate_answer_write(&answer, std::ptr::null_mut(), 1, &mut needed), TIDEGATE_ERR_NULL);
            assert_eq!(
                tidegate_answer_write(std::ptr::null(), buf.as_mut_ptr().cast(), 1, &mut needed),
                TIDEGATE_ERR_NULL
            );
        }
    }

    #[test]
    fn values_that_a_field_does_not_allow_are_refused() {
        type Change = fn(&mut tidegate_answer);
        let refused: [Change; 15] = [
            |a| a.status = 0,
            |a| a.status = 200,
            |a| a.status = 501,
            |a| a.cause = 9999,
            |a| a.received_status = 99,
            |a| a.received_status = 65536 + 500,
            |a| a.format = 7,
            |a| a.flags = 32,
            |a| a.date = -1,
            |a| a.date = i64::MAX,
            |a| (a.label, a.label_len) = (TEXT.as_ptr().cast(), 65),
            |a| (a.details, a.details_len) = (TEXT.as_ptr().cast(), 256),
            |a| (a.next_protocol, a.next_protocol_len) = (TEXT.as_ptr().cast(), 65),
            |a| (a.type_base, a.type_base_len) = (TEXT.as_ptr().cast(), 256),
            |a| (a.type_base, a.type_base_len) = (c"a\"b".as_ptr(), 3),
        ];
        for (i, change) in refused.into_iter().enumerate() {
            let mut answer = minimal();
            change(&mut answer);
            let mut buf = [7; ANSWER_MAX];
            assert_eq!(write(&answer, &mut buf), (TIDEGATE_ERR_INVALID, usize::MAX), "{i}");
            assert!(buf.iter().all(|&b| b == 7), "{i}");
        }
        let mut answer = minimal();
        answer.upstream_len = 1;
        assert_eq!(write(&answer, &mut [0; 1]).0, TIDEGATE_ERR_NULL);
    }

    #[test]
    fn parts_lead_into_the_buffer() {
        let mut answer = minimal();
        answer.cause = Cause::CONNECTION_REFUSED.number();
        answer.format = TIDEGATE_FORMAT_TEXT;
        let mut buf = [0u8; ANSWER_MAX];
        // SAFETY: the type is valid when all zero.
        let mut parts: tidegate_answer_parts = unsafe { std::mem::zeroed() };
        parts.struct_size = size_of::<tidegate_answer_parts>();
        // SAFETY: all of it is live.
        let status = unsafe { tidegate_answer_write_parts(&answer, buf.as_mut_ptr().cast(), 8, &mut parts) };
        assert_eq!((status, parts.body_len), (TIDEGATE_ERR_BUFFER, 0));
        // SAFETY: all of it is live.
        let status = unsafe { tidegate_answer_write_parts(&answer, buf.as_mut_ptr().cast(), buf.len(), &mut parts) };
        assert_eq!(status, TIDEGATE_OK);
        // SAFETY: the pointers come with their lengths.
        let text = |ptr, len| unsafe { std::str::from_utf8(bytes(ptr, len).unwrap()).unwrap() };
        assert_eq!(text(parts.reason, parts.reason_len), "Bad Gateway");
        assert_eq!(text(parts.content_type, parts.content_type_len), "text/plain; charset=utf-8");
        assert_eq!(text(parts.proxy_status, parts.proxy_status_len), "tidegate;error=connection_refused");
        assert!(text(parts.body, parts.body_len).starts_with("502 Bad Gateway\n\n"));
    }

    #[test]
    fn grpc_is_answered_as_grpc() {
        let mut answer = minimal();
        answer.cause = Cause::CONNECTION_READ_TIMEOUT.number();
        answer.status = 504;
        (answer.content_type, answer.content_type_len) = (c"application/grpc+proto".as_ptr(), 22);
        (answer.accept, answer.accept_len) = (c"text/html".as_ptr(), 9);
        let mut buf = [0u8; ANSWER_MAX];
        let (status, len) = write(&answer, &mut buf);
        assert_eq!(status, TIDEGATE_OK);
        let text = std::str::from_utf8(&buf[..len]).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n"), "{text}");
        let end = "\r\ngrpc-status: 14\r\ngrpc-message: The service behind this gateway took too long to answer.\r\n\
                   Content-Length: 0\r\n\r\n";
        assert!(text.ends_with(end), "{text}");
        // SAFETY: the type is valid when all zero.
        let mut parts: tidegate_answer_parts = unsafe { std::mem::zeroed() };
        parts.struct_size = size_of::<tidegate_answer_parts>();
        // SAFETY: all of it is live.
        let status = unsafe { tidegate_answer_write_parts(&answer, buf.as_mut_ptr().cast(), buf.len(), &mut parts) };
        assert_eq!((status, parts.status, parts.grpc_status, parts.body_len), (TIDEGATE_OK, 200, 14, 0));
        answer.format = TIDEGATE_FORMAT_GRPC;
        (answer.status, answer.content_type_len) = (500, 0);
        // SAFETY: as above.
        let status = unsafe { tidegate_answer_write_parts(&answer, buf.as_mut_ptr().cast(), buf.len(), &mut parts) };
        assert_eq!((status, parts.status, parts.grpc_status), (TIDEGATE_OK, 200, 2));
        answer.format = TIDEGATE_FORMAT_JSON;
        // SAFETY: as above.
        let status = unsafe { tidegate_answer_write_parts(&answer, buf.as_mut_ptr().cast(), buf.len(), &mut parts) };
        assert_eq!((status, parts.status, parts.grpc_status), (TIDEGATE_OK, 500, 0));
    }

    #[test]
    fn a_member_can_be_had_alone() {
        let mut answer = minimal();
        answer.cause = Cause::HTTP_RESPONSE_INCOMPLETE.number();
        (answer.earlier_proxy_status, answer.earlier_proxy_status_len) = (c"origin".as_ptr(), 6);
        let (mut buf, mut needed) = ([0u8; 64], 0);
        let want = "origin, tidegate;error=http_response_incomplete";
        let mut written = |cap| {
            // SAFETY: all of it is live.
            let status =
                unsafe { tidegate_answer_write_proxy_status(&answer, buf.as_mut_ptr().cast(), cap, &mut needed) };
            (status, needed, buf)
        };
        assert_eq!(written(want.len() - 1), (TIDEGATE_ERR_BUFFER, want.len(), [0; 64]));
        let (status, len, buf) = written(want.len());
        assert_eq!((status, &buf[..len]), (TIDEGATE_OK, want.as_bytes()));
    }

    #[test]
    fn flags_become_fields() {
        let mut answer = minimal();
        answer.flags = TIDEGATE_ANSWER_CLOSE | TIDEGATE_ANSWER_KEEP_ALIVE | TIDEGATE_ANSWER_NO_PROXY_STATUS;
        let mut buf = [0; ANSWER_MAX];
        let (status, len) = write(&answer, &mut buf);
        assert_eq!(status, TIDEGATE_OK);
        let text = std::str::from_utf8(&buf[..len]).unwrap();
        assert!(text.contains("\r\nConnection: close\r\n") && !text.contains("keep-alive"), "{text}");
        assert!(!text.contains("Proxy-Status"), "{text}");
    }

    static TEXT: [u8; 256] = [b'a'; 256];
}
