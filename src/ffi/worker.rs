//! `tidegate_worker_*`: who serves requests.

use super::table::{table_arc, tidegate_table};
use super::{Error, Struct, TIDEGATE_ERR_NULL, guard, init_struct, read_struct, reserved, tidegate_status};
use crate::failover::Worker;

/// A worker: one process or thread that serves requests. It owns one lane of the in-flight counters.
pub struct tidegate_worker {
    _private: (),
}

/// Several threads use this worker at once: its counters are then atomic adds (about 6 ns each) instead of stores.
pub const TIDEGATE_WORKER_SHARED: u32 = 1;

/// How a worker joins; 0 is the default everywhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_worker_options {
    /// sizeof(tidegate_worker_options)
    pub struct_size: usize,
    /// TIDEGATE_WORKER_* bits.
    pub flags: u32,
    /// Reserved, 0: anything else is INVALID.
    pub reserved: u32,
    /// Seed of this worker's choices; default: from the lane, the process and the time of joining.
    pub seed: u64,
    /// After so long without `tidegate_worker_tick`, in nanoseconds, the worker is out: its requests in flight count no
    /// longer until it wakes up. At least 2 s. Default: never while its process can be seen to live, however long it is
    /// stopped, for its connections are open; and 10 s where all others are in another PID namespace and cannot see it.
    pub lease_ns: u64,
}
// SAFETY: integers only, size first, no implicit padding.
unsafe impl Struct for tidegate_worker_options {}

/// Ticks come once a second or so: less would take workers for silent that are not.
const LEAST_LEASE_NS: u64 = 2_000_000_000;

/// Sets `*options` to its defaults: zeros and `size`.
///
/// Thread rule: any-thread.
///
/// # Safety
/// `options` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_worker_options_init(
    options: *mut tidegate_worker_options,
    size: usize,
) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(options, size) }
}

/// Joins the table as a worker: takes a lane, also one that a dead worker left. Call it after fork(), in the process
/// that will serve. `options` may be NULL: the defaults.
///
/// The lane is this worker's until it leaves or its process ends, which the others notice at their next tick or join.
/// Within a PID namespace they tell by its process id and start time; from another one only by its ticks: a worker
/// that does not tick for `lease_ns` is out. Nobody else gets its lane, only its requests in flight no longer count. When
/// it wakes up, its next call (start, pick, head, report, end or tick) takes the lease back before it writes anything:
/// its open requests count again, none fails, and events WORKER_OUT and WORKER_BACK tell of it. The lane of a worker
/// that is out is freed only by itself or, if it has ended, from its own PID namespace.
///
/// Thread rule: any-thread; the handle is then worker-owned. Errors: NULL, INVALID, STRUCT_SIZE, FULL (every lane belongs
/// to a worker that lives, or may live in another PID namespace), SYSTEM (Linux 4.14 or later is needed). Leave with
/// `tidegate_worker_leave`.
///
/// # Safety
/// `table` is a live handle; `options` is NULL or valid; `worker` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_worker_join(
    table: *const tidegate_table,
    options: *const tidegate_worker_options,
    now_ns: u64,
    worker: *mut *mut tidegate_worker,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_arc(table) }?;
        let (mut flags, mut seed, mut lease_ns) = (0, 0, 0);
        if !options.is_null() {
            // SAFETY: not NULL, and the caller vouches for it.
            let o = unsafe { read_struct(options) }?;
            reserved(o.reserved)?;
            (flags, seed, lease_ns) = (o.flags, o.seed, o.lease_ns);
        }
        if flags & !TIDEGATE_WORKER_SHARED != 0 {
            return Err(Error::invalid(format!("flags is {flags:#x}: not TIDEGATE_WORKER_* bits")));
        }
        if (1..LEAST_LEASE_NS).contains(&lease_ns) {
            return Err(Error::invalid(format!("lease_ns is {lease_ns}: 0 (default) or at least 2 s")));
        }
        if worker.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        let joined = Worker::join_patiently(table, flags & TIDEGATE_WORKER_SHARED != 0, seed, lease_ns, now_ns)?;
        // SAFETY: not NULL, and the caller vouches for it.
        unsafe { worker.write(Box::into_raw(joined).cast()) };
        Ok(())
    })
}

/// Leaves the table and frees the handle: requests that are still open are taken off the in-flight counts. In a
/// process forked from the one that joined it only frees the memory. NULL is a no-op.
///
/// Thread rule: worker-owned; no request of this worker may be used afterwards.
///
/// # Safety
/// `worker` is NULL or a live handle that is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_worker_leave(worker: *mut tidegate_worker) {
    guard(|| {
        if !worker.is_null() {
            // SAFETY: it came from tidegate_worker_join, and the caller uses it no more.
            drop(unsafe { Box::from_raw(worker.cast::<Worker>()) });
        }
        Ok(())
    });
}

/// Does what falls due: takes dead workers' lanes off, repairs the in-flight aggregates, finishes a declaration of peers
/// whose process died on the way. Call it once a second or so in every worker, for it is also the worker's heartbeat
/// (`lease_ns`); the work is shared out and done once.
///
/// Thread rule: worker-owned. Errors: NULL, FORKED, LEASE_LOST. Cost: linear in the peers, for those with a limit or
/// least_request times the workers; a few system calls a worker.
///
/// # Safety
/// `worker` is a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_worker_tick(worker: *mut tidegate_worker, now_ns: u64) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let worker = unsafe { worker.cast::<Worker>().as_ref() }.ok_or_else(|| Error::of(TIDEGATE_ERR_NULL))?;
        worker.tick(now_ns)
    })
}
