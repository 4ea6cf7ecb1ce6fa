//! `tidegate_answer_*`: the gateway's own error responses.

use super::{Error, Struct, guard, init_struct, read_struct, tidegate_status, write_struct};
use std::ffi::c_char;

/// Body format: by the client's `accept`.
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

/// The request was HEAD: the same head, no body.
pub const TIDEGATE_ANSWER_HEAD: u32 = 1;
/// Write `Connection: close`.
pub const TIDEGATE_ANSWER_CLOSE: u32 = 2;
/// Write `Connection: keep-alive` (for HTTP/1.0 clients).
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
    /// The status that an upstream had answered with, for Proxy-Status.
    pub received_status: u32,
    /// TIDEGATE_FORMAT_*
    pub format: u32,
    /// TIDEGATE_ANSWER_* bits.
    pub flags: u32,
    /// Date in seconds since 1970-01-01 UTC; 0: no such field.
    pub date: i64,
    /// The value of the request's Accept field.
    pub accept: *const c_char,
    /// Its length in bytes.
    pub accept_len: usize,
    /// The gateway's name in Proxy-Status; default "tidegate". An RFC 8941 token, or else written as a string.
    pub label: *const c_char,
    /// Its length in bytes, at most 64.
    pub label_len: usize,
    /// The upstream's public name (`upstreamService`); unset: not shown.
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
}
// SAFETY: integers and raw pointers only, size first, no implicit padding.
unsafe impl Struct for tidegate_answer {}

/// Where the parts of an answer are, for hosts that build the head themselves (nginx). Pointers lead into the
/// caller's buffer or to static text; none is terminated by a NUL.
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
    /// This gateway's member of Proxy-Status; append it to what is there. Length 0: none.
    pub proxy_status: *const c_char,
    /// Its length in bytes.
    pub proxy_status_len: usize,
    /// The body.
    pub body: *const c_char,
    /// Its length in bytes, also of the body that a HEAD request would have got.
    pub body_len: usize,
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

/// Writes a complete HTTP/1.1 response. `*needed` (may be NULL) is its length; 4096 bytes are always enough.
///
/// Thread rule: any-thread. Errors: NULL, INVALID (`status`, or a length above its bound), STRUCT_SIZE, BUFFER.
/// Cost: no allocation. Source: RFC 9110 sections 10.2.3, 12.5.1 and 15.6; RFC 9209; RFC 9457.
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
    guard(|| Err(Error::of(super::TIDEGATE_ERR_STATE)))
}

/// Writes the parts of the same response, for a host that builds the head itself. 4096 bytes are always enough.
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
    guard(|| Err(Error::of(super::TIDEGATE_ERR_STATE)))
}
