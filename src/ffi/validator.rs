//! `tidegate_validator_*`: judging the bytes of a response.

use super::{Error, Struct, guard, guard_value, init_struct, read_struct, tidegate_status, write_struct};
use std::ffi::c_char;

/// What the validator saw, in `tidegate_verdict.event`. All bytes were taken and none of these happened: more is needed.
pub const TIDEGATE_VERDICT_NEED_MORE: u32 = 0;
/// The head of an interim (1xx) response ended. Do not forward it as the final one.
pub const TIDEGATE_VERDICT_INTERIM: u32 = 1;
/// The head of the final response ended; `status`, `framing`, `content_length` and `flags` are set.
pub const TIDEGATE_VERDICT_HEAD: u32 = 2;
/// Body bytes: `data_len` bytes from `data` in this call's input, without chunk framing.
pub const TIDEGATE_VERDICT_DATA: u32 = 3;
/// The response is complete. Bytes after `consumed` belong to no response: close the connection.
pub const TIDEGATE_VERDICT_COMPLETE: u32 = 4;
/// The bytes are not a valid response: `cause`, `reason` and `offset` say why. Every later call answers the same.
pub const TIDEGATE_VERDICT_REJECT: u32 = 5;

/// No body: HEAD, 204, 304.
pub const TIDEGATE_FRAMING_NONE: u32 = 1;
/// `content_length` bytes.
pub const TIDEGATE_FRAMING_LENGTH: u32 = 2;
/// Chunked transfer coding.
pub const TIDEGATE_FRAMING_CHUNKED: u32 = 3;
/// Until the peer closes.
pub const TIDEGATE_FRAMING_CLOSE: u32 = 4;
/// A tunnel: 101 as asked for, or 2xx to CONNECT. All later bytes are DATA.
pub const TIDEGATE_FRAMING_TUNNEL: u32 = 5;

/// The connection may be used again after this response.
pub const TIDEGATE_VERDICT_FLAG_REUSABLE: u32 = 1;
/// Bytes came after the end of the response: they were not taken. Never reuse the connection.
pub const TIDEGATE_VERDICT_FLAG_EXCESS: u32 = 2;
/// The response is HTTP/1.0.
pub const TIDEGATE_VERDICT_FLAG_HTTP_1_0: u32 = 4;
/// Something was tolerated that must be rewritten before it is forwarded: never forward the head's raw bytes.
pub const TIDEGATE_VERDICT_FLAG_NORMALISE: u32 = 8;

/// How the connection ended, for `tidegate_validator_finish`: by FIN.
pub const TIDEGATE_END_CLOSE: u32 = 1;
/// By a reset or another error.
pub const TIDEGATE_END_RESET: u32 = 2;
/// It did not end, but the host stops waiting.
pub const TIDEGATE_END_TIMEOUT: u32 = 3;

/// Leave DATA events out: body bytes are checked and taken, but not reported. For hosts that forward raw bytes.
pub const TIDEGATE_VALIDATOR_NO_DATA: u32 = 1;

/// The state of one response, in the host's memory: 512 bytes, no pointers, no clean-up. May be copied.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_validator {
    /// Private.
    pub opaque: [u64; 64],
}

/// What the validator needs to know of the request, and limits; 0 is the default everywhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_validator_options {
    /// sizeof(tidegate_validator_options)
    pub struct_size: usize,
    /// TIDEGATE_METHOD_* of the request; default GET.
    pub method: u32,
    /// TIDEGATE_VALIDATOR_* bits.
    pub flags: u32,
    /// Protocols that the request offered in Upgrade, as the field's value ("websocket"); NULL: none. At most 64 bytes.
    pub upgrade: *const c_char,
    /// Its length in bytes.
    pub upgrade_len: usize,
    /// Largest head in bytes, also of each interim one; default 65536.
    pub max_head: u32,
    /// Longest field line in bytes, and longest status line; default 16384.
    pub max_line: u32,
    /// Most fields in a head; default 100.
    pub max_fields: u32,
    /// Most interim responses; default 16.
    pub max_interim: u32,
    /// Most bytes of chunk extensions in a body; default 16384.
    pub max_chunk_extension: u32,
    /// Largest trailer section in bytes; default 16384. At most 64 trailer fields are taken.
    pub max_trailer: u32,
    /// Largest body in bytes, framing not counted; default no limit.
    pub max_body: u64,
}
// SAFETY: integers and raw pointers only, size first, no implicit padding.
unsafe impl Struct for tidegate_validator_options {}

/// What one call saw.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_verdict {
    /// sizeof(tidegate_verdict)
    pub struct_size: usize,
    /// TIDEGATE_VERDICT_*
    pub event: u32,
    /// TIDEGATE_CAUSE_* of a REJECT.
    pub cause: u32,
    /// Bytes of this call's input that were taken. Call again with the rest.
    pub consumed: usize,
    /// DATA: where the body bytes start in this call's input.
    pub data: usize,
    /// DATA: how many there are.
    pub data_len: usize,
    /// REJECT: the first offending byte's offset from the first byte of the response stream (interim ones count).
    pub offset: u64,
    /// The body's length if `framing` is LENGTH.
    pub content_length: u64,
    /// The status of the last head that ended, 0 before.
    pub status: u32,
    /// TIDEGATE_FRAMING_* of the final response, 0 before its head ended.
    pub framing: u32,
    /// TIDEGATE_VERDICT_FLAG_* bits.
    pub flags: u32,
    /// REJECT: TIDEGATE_REASON_* number; `tidegate_reason_name` gives the name to grep for.
    pub reason: u32,
}
// SAFETY: as above.
unsafe impl Struct for tidegate_verdict {}

/// One field of a head that the validator has passed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_field {
    /// sizeof(tidegate_field)
    pub struct_size: usize,
    /// The name, as sent; not terminated.
    pub name: *const c_char,
    /// Its length in bytes.
    pub name_len: usize,
    /// The value without the white space around it; not terminated.
    pub value: *const c_char,
    /// Its length in bytes.
    pub value_len: usize,
}
// SAFETY: as above.
unsafe impl Struct for tidegate_field {}

/// Sets `*options` to its defaults: zeros and `size`. Thread rule: any-thread.
///
/// # Safety
/// `options` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_validator_options_init(
    options: *mut tidegate_validator_options,
    size: usize,
) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(options, size) }
}

/// Sets `*verdict` to zeros and `size`. Thread rule: any-thread.
///
/// # Safety
/// `verdict` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_verdict_init(verdict: *mut tidegate_verdict, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(verdict, size) }
}

/// Sets `*field` to zeros and `size`. Thread rule: any-thread.
///
/// # Safety
/// `field` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_field_init(field: *mut tidegate_field, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(field, size) }
}

/// Begins a response: to be called once for each attempt. `options` may be NULL: the answer to a plain GET.
///
/// Thread rule: any-thread, one thread at a time for one validator. Errors: NULL, INVALID, STRUCT_SIZE.
///
/// # Safety
/// `validator` is writable; `options` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_validator_start(
    validator: *mut tidegate_validator,
    options: *const tidegate_validator_options,
) -> tidegate_status {
    guard(|| Err(Error::of(super::TIDEGATE_ERR_STATE)))
}

/// Judges the next bytes of the response stream, up to the next event. The bytes need not be kept; any cut of the
/// stream gives the same verdicts at the same offsets. Call it again with what was not consumed until the event is
/// NEED_MORE, COMPLETE or REJECT.
///
/// Thread rule: one thread at a time for one validator. Errors: NULL, STRUCT_SIZE. Cost: linear in the bytes, no
/// allocation. Source: RFC 9112 sections 2 to 9, RFC 9110 sections 5, 6, 8.6 and 15.
///
/// # Safety
/// `validator` was started; `data` points to `len` readable bytes; `verdict` is writable and its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_validator_feed(
    validator: *mut tidegate_validator,
    data: *const c_char,
    len: usize,
    verdict: *mut tidegate_verdict,
) -> tidegate_status {
    guard(|| Err(Error::of(super::TIDEGATE_ERR_STATE)))
}

/// Says that no more bytes come, and how: TIDEGATE_END_*. COMPLETE: the response had ended, or ends so by its
/// framing. REJECT otherwise, with the cause: connection_terminated (nothing came), http_response_incomplete,
/// connection_read_timeout.
///
/// Thread rule, errors: as tidegate_validator_feed.
///
/// # Safety
/// As tidegate_validator_feed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_validator_finish(
    validator: *mut tidegate_validator,
    end: u32,
    verdict: *mut tidegate_verdict,
) -> tidegate_status {
    guard(|| Err(Error::of(super::TIDEGATE_ERR_STATE)))
}

/// The short stable name of a REJECT's `reason` ("content-length-differs"). Static text; "unknown" for any other number.
///
/// Thread rule: any-thread.
#[unsafe(no_mangle)]
pub extern "C" fn tidegate_reason_name(reason: u32) -> *const c_char {
    guard_value(c"unknown".as_ptr(), || c"unknown".as_ptr())
}

/// The clause that a REJECT's `reason` follows from ("RFC 9112 section 6.3"). Static text.
///
/// Thread rule: any-thread.
#[unsafe(no_mangle)]
pub extern "C" fn tidegate_reason_clause(reason: u32) -> *const c_char {
    guard_value(c"".as_ptr(), || c"".as_ptr())
}

/// The next field of a head that the validator has passed, from its status line to the empty line. Start with a
/// `*cursor` of 0; TIDEGATE_ERR_END behind the last field. Bytes that are not such a head end the iteration early.
///
/// Thread rule: any-thread. Errors: NULL, STRUCT_SIZE, END. Cost: linear in the field; no allocation.
///
/// # Safety
/// `head` points to `len` readable bytes; `cursor` and `field` are writable, `field->struct_size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_head_next_field(
    head: *const c_char,
    len: usize,
    cursor: *mut usize,
    field: *mut tidegate_field,
) -> tidegate_status {
    guard(|| Err(Error::of(super::TIDEGATE_ERR_END)))
}
