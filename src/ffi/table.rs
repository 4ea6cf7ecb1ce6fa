//! `tidegate_table_*`: the region that holds all state, and its events.

use super::{
    Error, Struct, TIDEGATE_ERR_END, TIDEGATE_ERR_NULL, guard, init_struct, read_struct, tidegate_status, write_struct,
};
use crate::table::{Capacity, Event, Table};
use std::ffi::c_void;
use std::sync::Arc;

/// A table: all state of the upstreams, in memory shared between processes. Make it before fork(); each process and
/// thread that serves requests then joins it as a worker.
pub struct tidegate_table {
    _private: (),
}

/// Capacities of a table, fixed for its life; 0 is the default everywhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_table_options {
    /// sizeof(tidegate_table_options)
    pub struct_size: usize,
    /// Most upstreams; default 64, at most 4096.
    pub max_upstreams: u32,
    /// Most peers of all upstreams, with those removed whose requests are still open; default 1024, at most 65536.
    pub max_peers: u32,
    /// Most workers (processes or threads) at one time; default 64, at most 1024. During a reload old and new ones
    /// count both.
    pub max_workers: u32,
    /// Events kept, a power of two; default 1024, at most 65536.
    pub events: u32,
}
// SAFETY: integers only, size first, no implicit padding.
unsafe impl Struct for tidegate_table_options {}

/// Something that happened to a peer or an upstream.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_event {
    /// sizeof(tidegate_event)
    pub struct_size: usize,
    /// When: the `now` of the call that caused it, in nanoseconds of CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// Its number; events are numbered from 1 without gaps. A gap in what is read are events that were overwritten
    /// unread, or not yet whole when a later one was read.
    pub number: u64,
    /// The peer's handle, 0 if the event concerns none.
    pub peer: u64,
    /// TIDEGATE_EVENT_PEER_* and following.
    pub kind: u32,
    /// The upstream's id.
    pub upstream: u32,
    /// TIDEGATE_CAUSE_* of the outcome that caused it, 0 if none did.
    pub cause: u32,
    /// WORKER_RECLAIMED: the lane of the worker that died; else 0.
    pub worker: u32,
    /// PEER_EJECTED: for how long, in milliseconds. PEER_ADMIN: the new TIDEGATE_ADMIN_*. MEMBERSHIP: how many peers
    /// there are now. WORKER_RECLAIMED: how many requests in flight were taken off.
    pub value: u64,
}
// SAFETY: as above.
unsafe impl Struct for tidegate_event {}

/// A peer was ejected for failures in traffic.
pub const TIDEGATE_EVENT_PEER_EJECTED: u32 = 1;
/// An ejection ended: the first trial request was let through.
pub const TIDEGATE_EVENT_PEER_HALF_OPEN: u32 = 2;
/// The trials succeeded: the peer takes traffic again.
pub const TIDEGATE_EVENT_PEER_HEALTHY: u32 = 3;
/// A peer failed often enough to be ejected, but nothing else could carry the traffic: it stays.
pub const TIDEGATE_EVENT_PEER_SPARED: u32 = 4;
/// A peer's administrative state was changed: `value` is the new TIDEGATE_ADMIN_*.
pub const TIDEGATE_EVENT_PEER_ADMIN: u32 = 5;
/// A new list of peers was published.
pub const TIDEGATE_EVENT_MEMBERSHIP: u32 = 6;
/// A dead worker's lane was cleared: `value` in-flight requests were taken off.
pub const TIDEGATE_EVENT_WORKER_RECLAIMED: u32 = 7;

/// Sets `*options` to its defaults: zeros and `size`.
///
/// Thread rule: any-thread.
///
/// # Safety
/// `options` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_table_options_init(
    options: *mut tidegate_table_options,
    size: usize,
) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(options, size) }
}

/// Sets `*event` to zeros and `size`.
///
/// Thread rule: any-thread.
///
/// # Safety
/// `event` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_event_init(event: *mut tidegate_event, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(event, size) }
}

/// How many bytes a table with these capacities takes. `options` may be NULL: the defaults.
///
/// Thread rule: any-thread. Errors: INVALID (a capacity is out of range), STRUCT_SIZE.
///
/// # Safety
/// `options` is NULL or valid; `size` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_table_size(
    options: *const tidegate_table_options,
    size: *mut usize,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for `options`.
        let capacity = unsafe { capacity(options) }?;
        if size.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        // SAFETY: not NULL, and the caller vouches for it.
        unsafe { size.write(Table::size_for(&capacity)?) };
        Ok(())
    })
}

/// Makes a table in anonymous shared memory, sealed against truncation: processes forked from this one share it.
/// `options` may be NULL: the defaults. All memory is taken now.
///
/// Thread rule: set-up only. Errors: INVALID, STRUCT_SIZE, MEMORY, SYSTEM. Free it with `tidegate_table_free`.
///
/// # Safety
/// `options` is NULL or valid; `table` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_table_new(
    options: *const tidegate_table_options,
    now_ns: u64,
    table: *mut *mut tidegate_table,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for `options`.
        let capacity = unsafe { capacity(options) }?;
        let made = Table::anonymous(&capacity, now_ns)?;
        // SAFETY: the caller vouches for `table`.
        unsafe { give(made, table) }
    })
}

/// Makes a table in the caller's memory: `size` bytes at `memory`, aligned to 64, at least
/// `tidegate_table_size`; shared memory if other processes are to use it. The memory must outlive every handle.
///
/// Thread rule: set-up only. Errors: NULL, INVALID, STRUCT_SIZE.
///
/// # Safety
/// `memory` points to `size` bytes that nothing else uses; `options` is NULL or valid; `table` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_table_new_at(
    memory: *mut c_void,
    size: usize,
    options: *const tidegate_table_options,
    now_ns: u64,
    table: *mut *mut tidegate_table,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for `options`.
        let capacity = unsafe { capacity(options) }?;
        // SAFETY: the caller vouches for `memory`.
        let made = unsafe { Table::create_at(memory.cast(), size, &capacity, now_ns) }?;
        // SAFETY: the caller vouches for `table`.
        unsafe { give(made, table) }
    })
}

/// Opens a table that `tidegate_table_new_at` made in this memory earlier, here or in another process: for a reload
/// that keeps the state. The header is checked; the memory stays untouched if it does not fit.
///
/// Thread rule: set-up only. Errors: NULL, INVALID, LAYOUT.
///
/// # Safety
/// `memory` points to `size` readable and writable bytes that outlive the handle; `table` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_table_attach_at(
    memory: *mut c_void,
    size: usize,
    table: *mut *mut tidegate_table,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for `memory`.
        let made = unsafe { Table::attach_at(memory.cast(), size) }?;
        // SAFETY: the caller vouches for `table`.
        unsafe { give(made, table) }
    })
}

/// Gives the handle back. Workers of this process that still use the table keep it alive. NULL is a no-op.
///
/// Thread rule: set-up only.
///
/// # Safety
/// `table` is NULL or came from a function above and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_table_free(table: *mut tidegate_table) {
    guard(|| {
        if !table.is_null() {
            // SAFETY: it came from `give`, and the caller uses it no more.
            drop(unsafe { Arc::from_raw(table.cast_const().cast::<Table>()) });
        }
        Ok(())
    });
}

/// Reads the oldest event with a number above `*cursor` that is still kept, and moves the cursor to it. Start with a
/// cursor of 0. TIDEGATE_ERR_END: there is none yet.
///
/// Thread rule: any-thread; one cursor a reader. Cost: reads one slot, all of them at worst; waits for nobody.
///
/// # Safety
/// `table` is a live handle; `cursor` and `event` are writable, `event->struct_size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_table_next_event(
    table: *const tidegate_table,
    cursor: *mut u64,
    event: *mut tidegate_event,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        if cursor.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        // SAFETY: not NULL, and the caller vouches for it.
        let after = unsafe { cursor.read() };
        let Some(Event { number, time_ns, kind, upstream, peer, cause, worker, value }) = table.event_after(after)
        else {
            return Err(Error::of(TIDEGATE_ERR_END));
        };
        let out = tidegate_event {
            struct_size: 0,
            time_ns,
            number,
            peer,
            kind: kind.number(),
            upstream,
            cause: cause.number(),
            worker,
            value,
        };
        // SAFETY: the caller vouches for `event` and `cursor`.
        unsafe {
            write_struct(event, &out)?;
            cursor.write(number);
        }
        Ok(())
    })
}

/// # Safety
/// `table` is NULL or a live handle.
pub(super) unsafe fn table_ref<'a>(table: *const tidegate_table) -> Result<&'a Table, Error> {
    // SAFETY: a live handle is an `Arc<Table>` made by `give`.
    unsafe { table.cast::<Table>().as_ref() }.ok_or_else(|| Error::of(TIDEGATE_ERR_NULL))
}

/// # Safety
/// As [`table_ref`].
pub(super) unsafe fn table_arc(table: *const tidegate_table) -> Result<Arc<Table>, Error> {
    if table.is_null() {
        return Err(Error::of(TIDEGATE_ERR_NULL));
    }
    // SAFETY: a live handle is an `Arc<Table>` made by `give`; the count goes up before the second Arc exists.
    unsafe {
        Arc::increment_strong_count(table.cast::<Table>());
        Ok(Arc::from_raw(table.cast::<Table>()))
    }
}

/// # Safety
/// `out` is NULL or writable.
unsafe fn give(table: Table, out: *mut *mut tidegate_table) -> Result<(), Error> {
    if out.is_null() {
        return Err(Error::of(TIDEGATE_ERR_NULL));
    }
    // SAFETY: not NULL, and the caller vouches for it.
    unsafe { out.write(Arc::into_raw(Arc::new(table)).cast_mut().cast()) };
    Ok(())
}

/// # Safety
/// `options` is NULL or valid.
unsafe fn capacity(options: *const tidegate_table_options) -> Result<Capacity, Error> {
    if options.is_null() {
        return Capacity::new(0, 0, 0, 0);
    }
    // SAFETY: not NULL, and the caller vouches for it.
    let o = unsafe { read_struct(options) }?;
    Capacity::new(o.max_upstreams, o.max_peers, o.max_workers, o.events)
}
