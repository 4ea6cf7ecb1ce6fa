//! `tidegate_request_times`, `_expire`, `_queued`: how long to wait, for a peer and for a place; and Retry-After.

use super::request::{
    export_decision, parse_outcome, request_mut, tidegate_decision, tidegate_outcome, tidegate_request,
};
use super::{
    Error, Struct, TIDEGATE_ERR_NULL, bytes, guard, guard_value, init_struct, out, read_struct, tidegate_status,
    write_struct,
};
use crate::failover;
use std::ffi::c_char;

/// Advice on the open attempt, in nanoseconds from its pick; 0: none, the host's own time-out holds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_times {
    /// sizeof(tidegate_times)
    pub struct_size: usize,
    /// Until the response's head: then ask tidegate_request_expire.
    pub timeout_ns: u64,
    /// Until a new connection stands, TLS included: then ask tidegate_request_expire.
    pub connect_timeout_ns: u64,
    /// After this a second attempt beside the first would pay: 95 % of the upstream's responses have come by then.
    pub hedge_ns: u64,
}
// SAFETY: integers only, size first, no implicit padding.
unsafe impl Struct for tidegate_times {}

/// Sets `*times` to zeros and `size`. Thread rule: any-thread.
///
/// # Safety
/// `times` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_times_init(times: *mut tidegate_times, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(times, size) }
}

/// How long to wait for the attempt that was picked, from the latency that this upstream has shown: three times what
/// 99 % of the responses took, at least `tidegate_upstream_options.timeout_floor_ns`. The host's own time-outs bound it
/// from above. All zeros where another attempt could not follow (no other peer, no attempt left, for `timeout_ns` and
/// `hedge_ns` also: the request may not be repeated), and while too little is known: the latencies are those that
/// tidegate_request_head is told, and tidegate_worker_tick makes the advice of them.
///
/// Thread rule: worker-owned. Errors: NULL, STATE, STRUCT_SIZE. Cost: a handful of loads.
///
/// # Safety
/// `request` was started by this worker; `times` is writable and its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_request_times(
    request: *mut tidegate_request,
    now_ns: u64,
    times: *mut tidegate_times,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the request.
        let advised = unsafe { request_mut(request) }?.times(now_ns);
        let exported = tidegate_times {
            struct_size: 0,
            timeout_ns: advised.timeout_ns,
            connect_timeout_ns: advised.connect_timeout_ns,
            hedge_ns: advised.hedge_ns,
        };
        // SAFETY: the caller vouches for `times`.
        unsafe { write_struct(times, &exported) }
    })
}

/// Asks what to do when a time of `tidegate_times` is over: RETRY (the attempt is closed and a token of the retry budget
/// is spent: drop it, wait `wait_ns`, pick again) or WAIT (it goes on, until the host's own time-out; don't ask again).
/// `outcome` says how far the attempt is; its `cause` may be unset. The peer is charged, but for being slow it is not
/// ejected before it has been silent for twice the time.
///
/// Thread rule: worker-owned. Errors: as tidegate_request_report. Cost: as the report of a failure.
///
/// # Safety
/// As tidegate_request_report.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_request_expire(
    request: *mut tidegate_request,
    outcome: *const tidegate_outcome,
    now_ns: u64,
    decision: *mut tidegate_decision,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for all three.
        let (request, o, decision) = unsafe { (request_mut(request)?, read_struct(outcome)?, out(decision)?) };
        let decided = request.expire(&parse_outcome(&o)?, now_ns)?;
        decision.write(&export_decision(&decided));
        Ok(())
    })
}

/// After TIDEGATE_ERR_QUEUED: `*again_ns` is when to pick again, in nanoseconds from now, for another worker may have
/// freed a place by then, and `*left_ns` what is left of the request's time in the queue: a pick after it answers NO_PEER.
/// Keep waiting requests of an upstream in their order, and pick for the first of them only: after `*again_ns`, and
/// whenever an attempt of this worker on the upstream has ended; go on with the next one until a pick answers QUEUED.
/// Zeros: the request waits for nothing. tidegate_request_end leaves the queue.
///
/// Thread rule: worker-owned. Errors: NULL, STATE.
///
/// # Safety
/// `request` was started by this worker; `again_ns` and `left_ns` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_request_queued(
    request: *mut tidegate_request,
    now_ns: u64,
    again_ns: *mut u64,
    left_ns: *mut u64,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the request.
        let waits = unsafe { request_mut(request) }?.waits(now_ns);
        if again_ns.is_null() || left_ns.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        // SAFETY: not NULL, and the caller vouches for both.
        unsafe {
            again_ns.write(waits.again_ns);
            left_ns.write(waits.left_ns);
        }
        Ok(())
    })
}

/// The value of Retry-After as seconds from now, for `tidegate_outcome.retry_after_s`: a number of seconds, or a date in
/// one of the three forms of RFC 9110, section 5.6.7, compared with `unix_seconds`. 0: it is neither, or over. At most 86400.
///
/// Thread rule: any-thread. Cost: linear in the value.
///
/// # Safety
/// `value` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_retry_after_parse(value: *const c_char, len: usize, unix_seconds: i64) -> u32 {
    // SAFETY: the caller vouches for the bytes.
    guard_value(0, || match unsafe { bytes(value, len) } {
        Ok(value) => failover::retry_after_s(value, unix_seconds),
        Err(_) => 0,
    })
}
