//! `tidegate_table_*`: the region that holds all state, and its events.

use super::{
    Error, Struct, TIDEGATE_ERR_END, TIDEGATE_ERR_NULL, bytes, guard, init_struct, read_struct, reserved,
    tidegate_status, write_struct,
};
use crate::table::{Capacity, Event, FileOptions, Table};
use std::ffi::{OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
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
    /// TIDEGATE_MISMATCH_*: what `tidegate_table_open` does with a table in the file that is not what is asked for;
    /// default REFUSE. Other calls do not read it.
    pub on_mismatch: u32,
    /// Reserved, 0: anything else is INVALID.
    pub reserved: u32,
}
// SAFETY: integers only, size first, no implicit padding.
unsafe impl Struct for tidegate_table_options {}

/// A table of another layout or capacity, or a damaged one, stays, and `tidegate_table_open` fails.
pub const TIDEGATE_MISMATCH_REFUSE: u32 = 1;
/// A fresh table takes its place: TIDEGATE_EVENT_TABLE_REPLACED is its first event. Processes that use the old one go
/// on with it, apart from the new.
pub const TIDEGATE_MISMATCH_REPLACE: u32 = 2;

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
    /// WORKER_RECLAIMED, WORKER_OUT, WORKER_BACK: the worker's lane; else 0.
    pub worker: u32,
    /// PEER_EJECTED: for how long, in milliseconds. PEER_ADMIN: the new TIDEGATE_ADMIN_*. MEMBERSHIP: how many peers
    /// there are now. WORKER_RECLAIMED, WORKER_OUT, WORKER_BACK: how many requests in flight. TABLE_REPLACED:
    /// TIDEGATE_REPLACED_*.
    pub value: u64,
    /// PEER_EJECTED, PEER_SPARED, PEER_NOTED: TIDEGATE_DETECTOR_*, what found it; else 0.
    pub detector: u32,
    /// Reserved, 0.
    pub reserved: u32,
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
/// A worker that may live was silent for too long: its lane is left out of the sums, and with it `value` requests in
/// flight. See `tidegate_worker_join`.
pub const TIDEGATE_EVENT_WORKER_OUT: u32 = 9;
/// It is back, with `value` requests in flight.
pub const TIDEGATE_EVENT_WORKER_BACK: u32 = 10;
/// A peer would have been ejected, but TIDEGATE_HEALTH_JUDGE_ONLY is set.
pub const TIDEGATE_EVENT_PEER_NOTED: u32 = 11;
/// This table took the place of another in its file: `value` says why, TIDEGATE_REPLACED_*.
pub const TIDEGATE_EVENT_TABLE_REPLACED: u32 = 8;

/// Active checks found a peer dead: `cause` says how, `value` is the status that it answered, 0 if none.
pub const TIDEGATE_EVENT_PEER_DOWN: u32 = 20;
/// A peer that was down takes traffic again: its checks pass, or a last resort succeeded.
pub const TIDEGATE_EVENT_PEER_UP: u32 = 21;
/// Failures in a row.
pub const TIDEGATE_DETECTOR_STREAK: u32 = 1;
/// A connection was refused, or the address can't be reached.
pub const TIDEGATE_DETECTOR_REFUSED: u32 = 2;
/// A share of failures above that of the other peers.
pub const TIDEGATE_DETECTOR_RATE: u32 = 3;
/// Requests hang while other peers answer.
pub const TIDEGATE_DETECTOR_PENDING: u32 = 4;
/// A trial failed.
pub const TIDEGATE_DETECTOR_TRIAL: u32 = 5;

/// The old table was of another layout version, or had other features.
pub const TIDEGATE_REPLACED_LAYOUT: u64 = 1;
/// The old table had other capacities.
pub const TIDEGATE_REPLACED_CAPACITY: u64 = 2;
/// The old table was damaged: its header contradicted itself or the size of the file.
pub const TIDEGATE_REPLACED_DAMAGED: u64 = 3;
/// The old table was left from before a reboot, which starts CLOCK_MONOTONIC anew.
pub const TIDEGATE_REPLACED_REBOOT: u64 = 4;

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

/// Opens the table in the file of this name, or makes it there: its state outlives every process that uses it. The file
/// must lie on a tmpfs (/run, /dev/shm): on a disk the kernel would write it out for ever. Capacities that are 0 in
/// `options` (which may be NULL) are the defaults if the table is made, and whatever it has if it is there.
///
/// However many processes start at once, they agree on one table. It gets its name only when it is whole, with mode
/// 0600 and all its memory taken; a call that fails leaves nothing behind.
///
/// What is there is checked before it is used, and stays as it is if the call fails:
/// - not a regular file, a symbolic link, owned by neither this process's effective user nor root, or writable by others
///   than its owner: INVALID or SYSTEM.
/// - not a table at all: LAYOUT, whatever `on_mismatch` says.
/// - another layout version or feature, another capacity than a non-zero one asked for, a header that contradicts itself
///   or the size of the file: as `on_mismatch` says, LAYOUT or a fresh table.
/// - a table left from before a reboot: a fresh table, whatever `on_mismatch` says.
/// - made in a time namespace whose clocks differ, or more than 60 s after `now_ns`: CLOCK, whatever
///   `on_mismatch` says, because its users may be alive.
///
/// Whoever may write to the file can cut it short, and a process that uses it then gets SIGBUS; the tables of
/// `tidegate_table_new` are sealed against that. Processes of several PID namespaces may share a table: see
/// `tidegate_worker_join`; who dies while it changes the membership is succeeded only from its own. To remove a table, remove
/// its file: processes that use it go on.
///
/// Thread rule: set-up only; it may wait for another process that replaces the same table, 2 s at most. Errors: NULL,
/// INVALID, STRUCT_SIZE, LAYOUT, CLOCK, BUSY, SYSTEM (no space, no permission, no descriptor …). Free it with
/// `tidegate_table_free`.
///
/// # Safety
/// `path` points to `path_len` bytes; `options` is NULL or valid; `table` is writable. Nothing cuts the file short while
/// the handle lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_table_open(
    path: *const c_char,
    path_len: usize,
    options: *const tidegate_table_options,
    now_ns: u64,
    table: *mut *mut tidegate_table,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for `path` and `options`.
        let (path, options) = unsafe { (bytes(path, path_len)?, file_options(options)?) };
        if table.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        let opened = Table::open_file(Path::new(OsStr::from_bytes(path)), &options, now_ns)?;
        // SAFETY: the caller vouches for `table`.
        unsafe { give(opened, table) }
    })
}

/// Says what `tidegate_table_open` with the same arguments would say, and makes, changes and replaces nothing: for the
/// test of a configuration while the table is in use. OK: it would open the table that is there, make one, or, as far as
/// `on_mismatch` allows, replace it. Space and memory are not tried.
///
/// Thread rule: set-up only. Errors: NULL, INVALID, STRUCT_SIZE, LAYOUT, SYSTEM.
///
/// # Safety
/// `path` points to `path_len` bytes; `options` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_table_check(
    path: *const c_char,
    path_len: usize,
    options: *const tidegate_table_options,
    now_ns: u64,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for `path` and `options`.
        let (path, options) = unsafe { (bytes(path, path_len)?, file_options(options)?) };
        Table::check_file(Path::new(OsStr::from_bytes(path)), &options, now_ns)
    })
}

/// Opens the table in the file of this name to look at it: mapped so that this process cannot write to it, whatever
/// happens. Status, descriptions and events can be read; calls that would write (opening upstreams, declaring peers,
/// changing their administrative state, joining as a worker) answer READ_ONLY. Checks and their answers are those of
/// `tidegate_table_open`, without owner, mode and capacities; a table left from before a reboot is LAYOUT.
///
/// Thread rule: set-up only. Errors: NULL, INVALID, LAYOUT, CLOCK, SYSTEM. Free it with `tidegate_table_free`.
///
/// # Safety
/// As `tidegate_table_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_table_open_read_only(
    path: *const c_char,
    path_len: usize,
    table: *mut *mut tidegate_table,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for `path`.
        let path = unsafe { bytes(path, path_len) }?;
        if table.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        let opened = Table::open_file_read_only(Path::new(OsStr::from_bytes(path)))?;
        // SAFETY: the caller vouches for `table`.
        unsafe { give(opened, table) }
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
        let detects = matches!(
            kind.number(),
            TIDEGATE_EVENT_PEER_EJECTED | TIDEGATE_EVENT_PEER_SPARED | TIDEGATE_EVENT_PEER_NOTED
        );
        let (worker, detector) = if detects { (0, worker) } else { (worker, 0) };
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
            detector,
            reserved: 0,
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
    reserved(o.reserved)?;
    Capacity::new(o.max_upstreams, o.max_peers, o.max_workers, o.events)
}

/// # Safety
/// `options` is NULL or valid.
unsafe fn file_options(options: *const tidegate_table_options) -> Result<FileOptions, Error> {
    if options.is_null() {
        return Ok(FileOptions::default());
    }
    // SAFETY: not NULL, and the caller vouches for it.
    let o = unsafe { read_struct(options) }?;
    reserved(o.reserved)?;
    let replace = match o.on_mismatch {
        0 | TIDEGATE_MISMATCH_REFUSE => false,
        TIDEGATE_MISMATCH_REPLACE => true,
        other => return Err(Error::invalid(format!("on_mismatch is {other}: not a TIDEGATE_MISMATCH_*"))),
    };
    let (upstreams, peers) = (o.max_upstreams, o.max_peers);
    Ok(FileOptions { upstreams, peers, workers: o.max_workers, events: o.events, replace })
}
