//! `tidegate_validator_fields`, `_data`: responses that come as lists of fields and runs of data.

use super::super::{Error, TIDEGATE_ERR_STATE, bytes, guard, read_struct, tidegate_status};
use super::{check_verdict, started, tidegate_field, tidegate_validator, tidegate_verdict, write_verdict};
use crate::validator::FieldLine;
use std::ffi::c_char;

/// Most fields of one list: more is a mistake in the call, whatever `max_fields` says.
const MOST: usize = 1 << 20;

/// Judges a list of fields: the head of the response, `:status` first, or an interim one; behind the head, the
/// trailers. INTERIM, HEAD, NEED_MORE (trailers) or REJECT. `consumed` counts fields, and is the index of the offending
/// one; `offset` counts the bytes of names, values and data so far.
///
/// For TIDEGATE_PROTOCOL_HTTP_2 and HTTP_3 to the letter of RFC 9113 section 8 and RFC 9114 section 4; for CGI without
/// `:status`; for HTTP_1 with `:status` for the status line. The end of the stream is told by
/// tidegate_validator_finish: TIDEGATE_END_CLOSE for END_STREAM, the FIN of the stream or the end of the request's
/// records, TIDEGATE_END_RESET for a reset.
///
/// Thread rule: one thread at a time for one validator. Errors: NULL, STRUCT_SIZE, STATE (never started), INVALID.
/// Cost: linear in the bytes of the list, no allocation.
///
/// # Safety
/// `validator` was started; `fields` points to `count` elements, `fields[0].struct_size` bytes apart; `verdict` is
/// writable and its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_validator_fields(
    validator: *mut tidegate_validator,
    fields: *const tidegate_field,
    count: usize,
    verdict: *mut tidegate_verdict,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the validator and the verdict.
        let state = unsafe { started(validator) }?;
        // SAFETY: as above.
        unsafe { check_verdict(verdict) }?;
        if count > MOST {
            return Err(Error::invalid(format!("count is {count}: at most {MOST} fields")));
        }
        let mut stride = 0;
        for i in 0..count {
            // SAFETY: the caller vouches for `count` elements; NULL is refused by the first read.
            let size = unsafe { line_at(fields, stride, i) }?.1;
            if i > 0 && size != stride {
                // Not read by its own word: a struct_size that was left unset could say anything.
                return Err(Error::of(super::super::TIDEGATE_ERR_STRUCT_SIZE));
            }
            stride = size;
        }
        // SAFETY: as above; every element has just been read without an error.
        let lines = (0..count).filter_map(|i| unsafe { line_at(fields, stride, i) }.ok()).map(|(line, _)| line);
        let seen = state.fields(lines);
        // SAFETY: the caller vouches for the verdict.
        unsafe { write_verdict(verdict, &seen) }
    })
}

/// The i-th element and its `struct_size`.
///
/// # Safety
/// `fields` is NULL or points to more than `i` elements, `stride` bytes apart, whose strings are readable for `'a`.
unsafe fn line_at<'a>(fields: *const tidegate_field, stride: usize, i: usize) -> Result<(FieldLine<'a>, usize), Error> {
    if fields.is_null() {
        return Err(Error::of(super::super::TIDEGATE_ERR_NULL));
    }
    // SAFETY: within the elements, by the caller's word.
    let at = unsafe { fields.byte_add(stride * i) };
    // SAFETY: as above.
    let field = unsafe { read_struct(at) }?;
    // SAFETY: the caller vouches for the strings of each element.
    let (name, value) = unsafe { (bytes(field.name, field.name_len)?, bytes(field.value, field.value_len)?) };
    Ok((FieldLine { name, value }, field.struct_size))
}

/// Judges the next `len` bytes of content of a response whose head came by tidegate_validator_fields: NEED_MORE or
/// REJECT. `data` may be NULL if the bytes are not at hand; then the rules' markers are not sought.
///
/// Thread rule: one thread at a time for one validator. Errors: NULL, STRUCT_SIZE, STATE (never started, or fed with
/// bytes). Cost: constant, but for markers.
///
/// # Safety
/// `validator` was started; `data` is NULL or points to `len` readable bytes; `verdict` is writable and its
/// `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_validator_data(
    validator: *mut tidegate_validator,
    data: *const c_char,
    len: usize,
    verdict: *mut tidegate_verdict,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the validator and the verdict.
        let state = unsafe { started(validator) }?;
        // SAFETY: as above.
        unsafe { check_verdict(verdict) }?;
        if state.is_in_chunks() {
            return Err(Error::of(TIDEGATE_ERR_STATE));
        }
        // SAFETY: the caller vouches for the data.
        let shown = if data.is_null() { None } else { Some(unsafe { bytes(data, len) }?) };
        let seen = state.data(len as u64, shown);
        // SAFETY: as above.
        unsafe { write_verdict(verdict, &seen) }
    })
}
