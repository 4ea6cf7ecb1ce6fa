//! `tidegate_validator_*`: judging the bytes of a response.

use super::{
    Error, Struct, TIDEGATE_ERR_END, TIDEGATE_ERR_NULL, TIDEGATE_ERR_STATE, bytes, guard, guard_value, init_struct,
    is_whole, read_struct, tidegate_status, write_struct,
};
use crate::validator::{
    End, MAX_NAME, Method, Options, Protocol, Reason, Rules, Validator, Verdict, WORD, next_field, rewrite_head,
    tolerance,
};
use std::ffi::c_char;

pub mod list;
pub mod policy;
pub mod ranges;
pub mod reason;
pub mod rules;

use policy::*;
use rules::tidegate_rules;

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
/// Something was tolerated that must be rewritten before it is forwarded: never forward the head's raw bytes, nor the
/// trailers'. `tidegate_head_rewrite` writes a head that can be.
pub const TIDEGATE_VERDICT_FLAG_NORMALISE: u32 = 8;
/// Chunk extensions came, or chunk framing was tolerated: forward the body in framing of your own. The head is not
/// concerned; known with the DATA or COMPLETE behind it.
pub const TIDEGATE_VERDICT_FLAG_REFRAME: u32 = 16;

/// How the connection ended, for `tidegate_validator_finish`: by FIN.
pub const TIDEGATE_END_CLOSE: u32 = 1;
/// By a reset or another error.
pub const TIDEGATE_END_RESET: u32 = 2;
/// It did not end, but the host stops waiting.
pub const TIDEGATE_END_TIMEOUT: u32 = 3;

/// Leave DATA events out: body bytes are checked and taken, but not reported. For hosts that forward raw bytes.
pub const TIDEGATE_VALIDATOR_NO_DATA: u32 = 1;

/// The state of one response, in the host's memory: 512 bytes, no clean-up. May be copied. It points to nothing but the
/// `rules` of its options.
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
    /// Largest trailer section in bytes; default 16384.
    pub max_trailer: u32,
    /// Largest body in bytes, framing not counted; default no limit.
    pub max_body: u64,
    /// TIDEGATE_PROTOCOL_*; default HTTP_1.
    pub protocol: u32,
    /// TIDEGATE_POLICY_*; default STRICT.
    pub policy: u32,
    /// TIDEGATE_TOLERATE_* bits, besides those of the policy.
    pub tolerate: u32,
    /// Longest field name in bytes, in trailers too; default 256, at most 16384.
    pub max_name: u32,
    /// Most trailer fields; default 64.
    pub max_trailers: u32,
    /// 0.
    pub reserved: u32,
    /// The operator's rules, which must outlive every use of the validator; NULL: none.
    pub rules: *const tidegate_rules,
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
    /// Bytes taken so far. REJECT: the first offending byte's offset from the first byte of the response stream (interim ones count).
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
    /// The first thing that the policy let through and a strict reader would have refused, as a TIDEGATE_REASON_*
    /// number; 0: none so far.
    pub tolerated: u32,
    /// TIDEGATE_TOLERATE_* bits: all that was let through so far.
    pub tolerances: u32,
    /// The offset of what `tolerated` names.
    pub tolerated_offset: u64,
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
    guard(|| {
        if validator.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        let validator = validator.cast::<Started>();
        if options.is_null() {
            // SAFETY: not NULL, and the caller vouches for the memory, whose type is as large and as aligned.
            unsafe { validator.write(START) };
            return Ok(());
        }
        // SAFETY: not NULL, and the caller vouches for the struct.
        let options = unsafe { read_struct(options) }?;
        // SAFETY: the caller vouches for the offer and its length, and that the rules live on.
        let options = unsafe { parse_options(&options) }?;
        // SAFETY: as above; what is borrowed has just been written.
        unsafe {
            validator.write(START);
            (*validator).state.set(&options);
        }
        Ok(())
    })
}

/// What lies in a `tidegate_validator`.
#[repr(C)]
struct Started {
    /// [`MARK`]; anything else was never started, and must not be read as a state.
    mark: u64,
    /// The rules outlive it by the host's word, so it may be copied as bytes.
    state: Validator<'static>,
}

const MARK: u64 = u64::from_le_bytes(*b"tidegv01");
const START: Started = Started { mark: MARK, state: Validator::START };
const _: () = assert!(size_of::<Started>() <= size_of::<tidegate_validator>());
const _: () = assert!(align_of::<Started>() <= align_of::<tidegate_validator>());

/// # Safety
/// `validator` is NULL or points to a `tidegate_validator` that nothing else uses during `'a`.
#[inline]
unsafe fn started<'a>(validator: *mut tidegate_validator) -> Result<&'a mut Validator<'static>, Error> {
    if validator.is_null() {
        return Err(Error::of(TIDEGATE_ERR_NULL));
    }
    let started = validator.cast::<Started>();
    // SAFETY: the caller vouches for the memory; the mark is an integer, which any bytes are.
    if unsafe { (*started).mark } != MARK {
        return Err(Error::of(TIDEGATE_ERR_STATE));
    }
    // SAFETY: the mark says that tidegate_validator_start wrote the rest.
    Ok(unsafe { &mut (*started).state })
}

/// # Safety
/// `options.upgrade` is NULL or points to `upgrade_len` bytes that stay as they are for `'a`, and `options.rules` is
/// NULL or came from tidegate_rules_new and lives as long.
unsafe fn parse_options<'a>(options: &tidegate_validator_options) -> Result<Options<'a>, Error> {
    let default = Options::default();
    let or = |value: u32, default: u32| if value == 0 { default } else { value };
    let Some(method) = Method::from_number(options.method) else {
        return Err(Error::invalid(format!("method is {}: not a TIDEGATE_METHOD_*", options.method)));
    };
    if options.flags & !TIDEGATE_VALIDATOR_NO_DATA != 0 {
        return Err(Error::invalid(format!(
            "flags is {:#x}: has bits that are no TIDEGATE_VALIDATOR_*",
            options.flags
        )));
    }
    if options.upgrade_len > WORD {
        return Err(Error::invalid(format!("upgrade_len is {}: at most {WORD} bytes", options.upgrade_len)));
    }
    let tolerate = match options.policy {
        TIDEGATE_POLICY_STRICT => options.tolerate,
        TIDEGATE_POLICY_COMPATIBLE => options.tolerate | tolerance::COMPATIBLE,
        TIDEGATE_POLICY_OBSERVE => tolerance::OBSERVE,
        other => return Err(Error::invalid(format!("policy is {other}: not a TIDEGATE_POLICY_*"))),
    };
    if options.tolerate & !tolerance::ALL != 0 {
        return Err(Error::invalid(format!("tolerate is {:#x}: has unknown bits", options.tolerate)));
    }
    let protocol = match options.protocol {
        TIDEGATE_PROTOCOL_HTTP_1 => Protocol::Http1,
        TIDEGATE_PROTOCOL_HTTP_2 => Protocol::Http2,
        TIDEGATE_PROTOCOL_HTTP_3 => Protocol::Http3,
        TIDEGATE_PROTOCOL_CGI => Protocol::Cgi,
        other => return Err(Error::invalid(format!("protocol is {other}: not a TIDEGATE_PROTOCOL_*"))),
    };
    if options.max_name > MAX_NAME {
        return Err(Error::invalid(format!("max_name is {}: at most {MAX_NAME} bytes", options.max_name)));
    }
    if options.reserved != 0 {
        return Err(Error::invalid("reserved is not 0"));
    }
    Ok(Options {
        method,
        protocol,
        tolerate,
        // SAFETY: NULL or made by tidegate_rules_new, and alive, by the caller's word.
        rules: unsafe { options.rules.cast::<Rules>().as_ref() },
        max_name: or(options.max_name, default.max_name),
        max_trailers: or(options.max_trailers, default.max_trailers),
        no_data: options.flags & TIDEGATE_VALIDATOR_NO_DATA != 0,
        // SAFETY: the caller's promise is the same.
        upgrade: unsafe { bytes(options.upgrade, options.upgrade_len) }?,
        max_head: or(options.max_head, default.max_head),
        max_line: or(options.max_line, default.max_line),
        max_fields: or(options.max_fields, default.max_fields),
        max_interim: or(options.max_interim, default.max_interim),
        max_chunk_extension: or(options.max_chunk_extension, default.max_chunk_extension),
        max_trailer: or(options.max_trailer, default.max_trailer),
        max_body: if options.max_body == 0 { default.max_body } else { options.max_body },
    })
}

#[inline(always)]
fn to_c(verdict: &Verdict) -> tidegate_verdict {
    tidegate_verdict {
        struct_size: size_of::<tidegate_verdict>(),
        event: verdict.event as u32,
        cause: if verdict.reason == Reason::NONE { 0 } else { verdict.reason.cause().number() },
        consumed: verdict.consumed,
        data: verdict.data,
        data_len: verdict.data_len,
        offset: verdict.offset,
        content_length: verdict.content_length,
        status: u32::from(verdict.status),
        framing: verdict.framing as u32,
        flags: verdict.flags,
        reason: verdict.reason.number(),
        tolerated: verdict.tolerated.number(),
        tolerances: verdict.tolerances,
        tolerated_offset: verdict.tolerated_offset,
    }
}

/// Judges the next bytes of the response stream, up to the next event. The bytes need not be kept; any cut of the
/// stream gives the same verdicts at the same offsets. Call it again with what was not consumed until the event is
/// NEED_MORE, COMPLETE or REJECT: after the HEAD of a response without a body, and after the last DATA, COMPLETE
/// comes from one more call, which may bring no bytes.
///
/// Thread rule: one thread at a time for one validator. Errors: NULL, STRUCT_SIZE, STATE (never started, or HTTP/2, HTTP/3).
/// Cost: linear in the bytes, no allocation. Source: RFC 9112 sections 2 to 9, RFC 9110 sections 5, 6, 8.6 and 15.
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
    guard(|| {
        // SAFETY: the caller vouches for the validator and the input.
        let (state, input) = unsafe { (started(validator)?, bytes(data, len)?) };
        // SAFETY: as above, for the verdict. Checked before anything is taken, so that no event is lost.
        unsafe { check_verdict(verdict) }?;
        if !state.reads_bytes() {
            return Err(Error::of(TIDEGATE_ERR_STATE));
        }
        match state.usual(input) {
            // SAFETY: as above.
            Some(seen) => unsafe { write_verdict(verdict, &seen) },
            // SAFETY: as above.
            None => unsafe { feed_any(state, input, verdict) },
        }
    })
}

/// Apart, so that the usual calls do not save its registers.
///
/// # Safety
/// As [`write_verdict`].
#[inline(never)]
unsafe fn feed_any(state: &mut Validator<'_>, input: &[u8], verdict: *mut tidegate_verdict) -> Result<(), Error> {
    let seen = state.feed_any(input);
    // SAFETY: the caller's promise.
    unsafe { write_verdict(verdict, &seen) }
}

/// Writes what was seen. A verdict of this library's own size is stored field by field: copied in larger pieces, the
/// fields would be loaded before their stores have ended.
///
/// # Safety
/// `verdict` has passed [`check_verdict`] and points to `struct_size` writable bytes.
#[inline(always)]
unsafe fn write_verdict(verdict: *mut tidegate_verdict, seen: &Verdict) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    unsafe {
        if is_whole(verdict) {
            verdict.write_unaligned(to_c(seen));
            return Ok(());
        }
        write_struct(verdict, &to_c(seen))
    }
}

/// # Safety
/// `verdict` is NULL or points to its `struct_size`.
#[inline]
unsafe fn check_verdict(verdict: *const tidegate_verdict) -> Result<(), Error> {
    if verdict.is_null() {
        return Err(Error::of(TIDEGATE_ERR_NULL));
    }
    // SAFETY: not NULL, and the caller vouches for the size field.
    match unsafe { verdict.cast::<usize>().read_unaligned() } {
        8..=65536 => Ok(()),
        _ => Err(Error::of(super::TIDEGATE_ERR_STRUCT_SIZE)),
    }
}

/// Says that no more bytes come, and how: TIDEGATE_END_*. COMPLETE: the response had ended, or ends so by its
/// framing. REJECT otherwise, with the cause: connection_terminated (nothing came), http_response_incomplete,
/// connection_read_timeout.
///
/// Thread rule, errors: as tidegate_validator_feed; INVALID for an unknown `end`.
///
/// # Safety
/// As tidegate_validator_feed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_validator_finish(
    validator: *mut tidegate_validator,
    end: u32,
    verdict: *mut tidegate_verdict,
) -> tidegate_status {
    guard(|| {
        let end = match end {
            TIDEGATE_END_CLOSE => End::Close,
            TIDEGATE_END_RESET => End::Reset,
            TIDEGATE_END_TIMEOUT => End::Timeout,
            other => return Err(Error::invalid(format!("end is {other}: not a TIDEGATE_END_*"))),
        };
        // SAFETY: the caller vouches for the validator.
        let state = unsafe { started(validator) }?;
        // SAFETY: the caller vouches for the verdict.
        unsafe { check_verdict(verdict) }?;
        let seen = state.finish(end);
        // SAFETY: as above.
        unsafe { write_verdict(verdict, &seen) }
    })
}

/// The short stable name of a REJECT's `reason` ("content-length-differs"). Static text; "unknown" for any other number.
///
/// Thread rule: any-thread.
#[unsafe(no_mangle)]
pub extern "C" fn tidegate_reason_name(reason: u32) -> *const c_char {
    guard_value(c"unknown".as_ptr(), || match Reason::from_number(reason) {
        Some(reason) => reason.name_c().as_ptr(),
        None => c"unknown".as_ptr(),
    })
}

/// The clause that a REJECT's `reason` follows from ("RFC 9112 section 6.3"). Static text.
///
/// Thread rule: any-thread.
#[unsafe(no_mangle)]
pub extern "C" fn tidegate_reason_clause(reason: u32) -> *const c_char {
    guard_value(c"".as_ptr(), || match Reason::from_number(reason) {
        Some(reason) => reason.clause_c().as_ptr(),
        None => c"".as_ptr(),
    })
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
    guard(|| {
        if cursor.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        // SAFETY: the caller vouches for the head; the cursor is not NULL.
        let (head, from) = unsafe { (bytes(head, len)?, cursor.read()) };
        let Some((line, next)) = next_field(head, from) else {
            return Err(Error::of(TIDEGATE_ERR_END));
        };
        let found = tidegate_field {
            struct_size: size_of::<tidegate_field>(),
            name: line.name.as_ptr().cast(),
            name_len: line.name.len(),
            value: line.value.as_ptr().cast(),
            value_len: line.value.len(),
        };
        // SAFETY: the caller vouches for both outputs; the cursor moves only if the field could be written.
        unsafe {
            write_struct(field, &found)?;
            cursor.write(next);
        }
        Ok(())
    })
}

/// Writes a head that the validator has passed, from its status line to the empty line, in the strictest form: what the
/// policy tolerated, lone LFs, fields of the connection (Connection and what it names, Keep-Alive, Upgrade …) and
/// superfluous lengths are gone; the version is 1.1. Unlike the head itself, it may be forwarded and goes through
/// `tidegate_head_next_field`. `*needed` (may be NULL) is its length, at most the head's plus one for each line and 16.
///
/// Thread rule: any-thread. Errors: NULL, BUFFER (nothing of use was written). Cost: linear in the head, but for
/// Connection's options times fields; no allocation.
///
/// # Safety
/// `head` points to `len` readable bytes, `buf` to `cap` writable ones that do not overlap; `needed` is NULL or
/// writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_head_rewrite(
    head: *const c_char,
    len: usize,
    buf: *mut c_char,
    cap: usize,
    needed: *mut usize,
) -> tidegate_status {
    guard(|| {
        if buf.is_null() && cap > 0 {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        // SAFETY: the caller vouches for the head.
        let head = unsafe { bytes(head, len) }?;
        let out: &mut [u8] = match cap {
            0 => &mut [],
            // SAFETY: not NULL, and the caller vouches for `cap` bytes that nothing else uses.
            _ => unsafe { std::slice::from_raw_parts_mut(buf.cast(), cap.min(isize::MAX as usize)) },
        };
        let written = rewrite_head(head, out);
        if !needed.is_null() {
            // SAFETY: not NULL, and the caller vouches for it.
            unsafe { needed.write(written) };
        }
        if written > cap { Err(Error::of(super::TIDEGATE_ERR_BUFFER)) } else { Ok(()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::{TIDEGATE_ERR_INVALID, TIDEGATE_OK};
    use std::mem::zeroed;
    use std::ptr::null;

    fn sized<T>() -> T {
        // SAFETY: the structs of this file are valid when all zero, and begin with their size.
        unsafe {
            let mut value: T = zeroed();
            (&raw mut value).cast::<usize>().write(size_of::<T>());
            value
        }
    }

    #[test]
    fn a_response_through_the_abi() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX:  y \r\n\r\n";
        let mut validator = tidegate_validator { opaque: [0; 64] };
        let mut verdict: tidegate_verdict = sized();
        // SAFETY: every pointer is to a local of the right type, every length is that of its slice.
        unsafe {
            assert_eq!(tidegate_validator_feed(&mut validator, null(), 0, &mut verdict), TIDEGATE_ERR_STATE);
            assert_eq!(tidegate_validator_start(&mut validator, null()), TIDEGATE_OK);
            let fed = tidegate_validator_feed(&mut validator, head.as_ptr().cast(), head.len(), &mut verdict);
            assert_eq!((fed, verdict.event, verdict.consumed), (TIDEGATE_OK, TIDEGATE_VERDICT_HEAD, head.len()));
            assert_eq!((verdict.status, verdict.framing, verdict.content_length), (200, TIDEGATE_FRAMING_LENGTH, 5));

            assert_eq!(tidegate_validator_finish(&mut validator, 9, &mut verdict), TIDEGATE_ERR_INVALID);
            let ended = tidegate_validator_finish(&mut validator, TIDEGATE_END_CLOSE, &mut verdict);
            assert_eq!((ended, verdict.event), (TIDEGATE_OK, TIDEGATE_VERDICT_REJECT));
            assert_eq!(verdict.cause, crate::ffi::cause::TIDEGATE_CAUSE_HTTP_RESPONSE_INCOMPLETE);
            assert_eq!(verdict.reason, reason::TIDEGATE_REASON_BODY_INCOMPLETE);
            let name = std::ffi::CStr::from_ptr(tidegate_reason_name(verdict.reason));
            assert_eq!(name, c"body-incomplete");
            assert_eq!(std::ffi::CStr::from_ptr(tidegate_reason_clause(verdict.reason)), c"RFC 9112 section 8");
            assert_eq!(std::ffi::CStr::from_ptr(tidegate_reason_name(9999)), c"unknown");

            let mut cursor = 0;
            let mut field: tidegate_field = sized();
            for (name_len, value) in [(14, &b"5"[..]), (1, b"y")] {
                let found = tidegate_head_next_field(head.as_ptr().cast(), head.len(), &mut cursor, &mut field);
                assert_eq!((found, field.name_len), (TIDEGATE_OK, name_len));
                assert_eq!(std::slice::from_raw_parts(field.value.cast::<u8>(), field.value_len), value);
            }
            let end = tidegate_head_next_field(head.as_ptr().cast(), head.len(), &mut cursor, &mut field);
            assert_eq!(end, TIDEGATE_ERR_END);
        }
    }

    #[test]
    fn wrong_options_are_refused() {
        let mut validator = tidegate_validator { opaque: [0; 64] };
        let mut start = |change: fn(&mut tidegate_validator_options)| {
            let mut options: tidegate_validator_options = sized();
            change(&mut options);
            // SAFETY: pointers to locals; `upgrade` stays NULL where its length is 0 or refused.
            unsafe { tidegate_validator_start(&mut validator, &options) }
        };
        assert_eq!(start(|_| {}), TIDEGATE_OK);
        assert_eq!(start(|o| o.method = 11), TIDEGATE_ERR_INVALID);
        assert_eq!(start(|o| o.flags = 2), TIDEGATE_ERR_INVALID);
        assert_eq!(start(|o| o.upgrade_len = 65), TIDEGATE_ERR_INVALID);
        assert_eq!(start(|o| o.upgrade_len = 9), TIDEGATE_ERR_NULL);
    }
}
