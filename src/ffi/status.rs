//! `tidegate_table_write_status`: the whole table as JSON or text, for people and scripts.

use super::table::{table_ref, tidegate_table};
use super::{Error, guard, tidegate_status, write_bytes};
use std::ffi::c_char;

/// One JSON object: table, workers, upstreams, peers, counts by cause.
pub const TIDEGATE_STATUS_FORMAT_JSON: u32 = 1;
/// Aligned columns for a terminal.
pub const TIDEGATE_STATUS_FORMAT_TEXT: u32 = 2;

/// Writes the state of the whole table: TIDEGATE_STATUS_FORMAT_*. Not terminated by a NUL.
///
/// Thread rule: any-thread. Errors: NULL, INVALID, BUFFER (`*needed` may have grown by the next call). Cost: linear in
/// peers and workers; allocates; takes no lock.
///
/// # Safety
/// `table` is a live handle; `buf` points to `cap` writable bytes; `needed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_table_write_status(
    table: *const tidegate_table,
    format: u32,
    now_ns: u64,
    buf: *mut c_char,
    cap: usize,
    needed: *mut usize,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        let text = match format {
            TIDEGATE_STATUS_FORMAT_JSON => crate::status::json(table, now_ns),
            TIDEGATE_STATUS_FORMAT_TEXT => crate::status::text(table, now_ns),
            other => return Err(Error::invalid(format!("format is {other}: not a TIDEGATE_STATUS_FORMAT_*"))),
        };
        // SAFETY: the caller vouches for the buffer.
        unsafe { write_bytes(text.as_bytes(), buf, cap, needed) }
    })
}
