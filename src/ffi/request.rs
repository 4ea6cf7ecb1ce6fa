//! `tidegate_request_*`: the path of one request, from the pick to the answer.

use super::responder::tidegate_answer;
use super::validator::{TIDEGATE_FRAMING_CHUNKED, TIDEGATE_FRAMING_LENGTH};
use super::worker::tidegate_worker;
use super::{
    Error, Struct, TIDEGATE_ERR_NO_PEER, TIDEGATE_ERR_NULL, TIDEGATE_ERR_STATE, TIDEGATE_OK, bytes, guard, guard_value,
    init_struct, is_whole, out, read_struct, read_whole, tidegate_status, write_bytes, write_struct, write_whole,
};
use crate::cause::Cause;
use crate::failover::{self, Body, BodyEnd, Outcome, Phase, Request, Verdict, Worker};
use crate::http::Method;
use crate::table::Selector;
use std::ffi::{c_char, c_int, c_void};

/// GET; also what 0 means.
pub const TIDEGATE_METHOD_GET: u32 = 1;
/// HEAD
pub const TIDEGATE_METHOD_HEAD: u32 = 2;
/// POST
pub const TIDEGATE_METHOD_POST: u32 = 3;
/// PUT
pub const TIDEGATE_METHOD_PUT: u32 = 4;
/// DELETE
pub const TIDEGATE_METHOD_DELETE: u32 = 5;
/// CONNECT
pub const TIDEGATE_METHOD_CONNECT: u32 = 6;
/// OPTIONS
pub const TIDEGATE_METHOD_OPTIONS: u32 = 7;
/// TRACE
pub const TIDEGATE_METHOD_TRACE: u32 = 8;
/// PATCH
pub const TIDEGATE_METHOD_PATCH: u32 = 9;
/// Any other method: never repeated without proof that it is safe.
pub const TIDEGATE_METHOD_OTHER: u32 = 10;

/// The body can't be sent a second time: no retry once a part of it left.
pub const TIDEGATE_REQUEST_NOT_REPLAYABLE: u32 = 1;
/// The embedder's word that repeating is safe whatever the method (an Idempotency-Key, say).
pub const TIDEGATE_REQUEST_RETRY_SAFE: u32 = 2;
/// Never retry.
pub const TIDEGATE_REQUEST_NO_RETRY: u32 = 4;

/// How far an attempt had come: connecting.
pub const TIDEGATE_PHASE_CONNECT: u32 = 1;
/// In the TLS handshake.
pub const TIDEGATE_PHASE_TLS: u32 = 2;
/// Sending the request.
pub const TIDEGATE_PHASE_SEND: u32 = 3;
/// Waiting for the response's head, or reading it.
pub const TIDEGATE_PHASE_HEAD: u32 = 4;
/// Reading the body.
pub const TIDEGATE_PHASE_BODY: u32 = 5;
/// The response was complete.
pub const TIDEGATE_PHASE_DONE: u32 = 6;

/// The connection had served a request before.
pub const TIDEGATE_OUTCOME_REUSED: u32 = 1;
/// A byte of the request, encryption's own not counted, left the gateway.
pub const TIDEGATE_OUTCOME_SENT: u32 = 2;
/// A byte of a response arrived.
pub const TIDEGATE_OUTCOME_RECEIVED: u32 = 4;
/// A byte of the response went to the client: nothing can be taken back.
pub const TIDEGATE_OUTCOME_DELIVERED: u32 = 8;

/// Pass the response on.
pub const TIDEGATE_DECISION_DELIVER: u32 = 1;
/// Wait `wait_ns`, then pick again.
pub const TIDEGATE_DECISION_RETRY: u32 = 2;
/// Answer with `status`: `tidegate_request_answer` fills in the answer.
pub const TIDEGATE_DECISION_ANSWER: u32 = 3;
/// The response is broken and part of it has gone out: end the client's connection so that it can see the cut.
pub const TIDEGATE_DECISION_ABORT: u32 = 4;

/// Why there was no (further) retry, in `tidegate_decision.reason`: there was one, or none was needed.
pub const TIDEGATE_WHY_NONE: u32 = 0;
/// The cause is one that a retry can't help.
pub const TIDEGATE_WHY_HOPELESS: u32 = 1;
/// Repeating the request might run it twice.
pub const TIDEGATE_WHY_NOT_SAFE: u32 = 2;
/// The body can't be sent again.
pub const TIDEGATE_WHY_NOT_REPLAYABLE: u32 = 3;
/// Part of the response has gone to the client.
pub const TIDEGATE_WHY_DELIVERED: u32 = 4;
/// All attempts are used.
pub const TIDEGATE_WHY_ATTEMPTS: u32 = 5;
/// No untried peer may be picked.
pub const TIDEGATE_WHY_NO_PEER: u32 = 6;
/// No time is left.
pub const TIDEGATE_WHY_DEADLINE: u32 = 7;
/// The upstream's retry budget is spent.
pub const TIDEGATE_WHY_BUDGET: u32 = 8;
/// The host forbade it.
pub const TIDEGATE_WHY_FORBIDDEN: u32 = 9;

/// The pick is a trial of a half-open peer.
pub const TIDEGATE_PICK_TRIAL: u32 = 1;
/// Health was ignored.
pub const TIDEGATE_PICK_PANIC: u32 = 2;
/// The peer is a backup.
pub const TIDEGATE_PICK_BACKUP: u32 = 4;
/// Use a new connection, no idle one: this request has met one that was closed, or it can't be repeated and others
/// have met such ones on this upstream in the last minute.
pub const TIDEGATE_PICK_FRESH: u32 = 8;

/// The outcome was charged to the peer.
pub const TIDEGATE_DECISION_FLAG_CHARGED: u32 = 1;
/// It ejected the peer.
pub const TIDEGATE_DECISION_FLAG_EJECTED: u32 = 2;

/// The state of one request, in the host's memory: 512 bytes, no clean-up beyond `tidegate_request_end`.
/// Do not copy or move it while an attempt is open.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_request {
    /// Private.
    pub opaque: [u64; 64],
}

/// One request; 0 is the default everywhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_request_options {
    /// sizeof(tidegate_request_options)
    pub struct_size: usize,
    /// The upstream's id.
    pub upstream: u32,
    /// TIDEGATE_METHOD_*; default GET.
    pub method: u32,
    /// TIDEGATE_REQUEST_* bits.
    pub flags: u32,
    /// Most attempts; default: the upstream's.
    pub max_attempts: u32,
    /// No retry starts after this time (CLOCK_MONOTONIC, like every `now_ns`); default: the upstream's.
    pub deadline_ns: u64,
    /// What the selectors maglev and source_hash go by: any bytes, for source_hash the client's struct sockaddr (its
    /// port does not count, and of an IPv6 address the first 64 bits). Only read during the call. Default none: the
    /// request goes anywhere, by weight.
    pub key: *const c_void,
    /// Its length in bytes.
    pub key_len: usize,
}
// SAFETY: integers and raw pointers only, size first, no implicit padding.
unsafe impl Struct for tidegate_request_options {}

/// The peer to try.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_pick {
    /// sizeof(tidegate_pick)
    pub struct_size: usize,
    /// Its handle: never reused for another peer while this request is open.
    pub peer: u64,
    /// A number below the table's max_peers: an index for what the host keeps by peer. It may go to another peer
    /// later; `peer` tells.
    pub slot: u32,
    /// 1 for the first attempt of the request.
    pub attempt: u32,
    /// TIDEGATE_PICK_* bits.
    pub flags: u32,
    /// Reserved, 0.
    pub reserved: u32,
}
// SAFETY: as above.
unsafe impl Struct for tidegate_pick {}

/// What the host saw of an attempt. Unset fields are 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_outcome {
    /// sizeof(tidegate_outcome)
    pub struct_size: usize,
    /// TIDEGATE_CAUSE_*; NONE: it went well, or failed only by its status.
    pub cause: u32,
    /// TIDEGATE_PHASE_* that it had reached.
    pub phase: u32,
    /// TIDEGATE_OUTCOME_* bits.
    pub flags: u32,
    /// The response's status, 0 if there was none.
    pub status: u32,
    /// The validator's `reason`, if it rejected. Taken in; no decision depends on it yet.
    pub reason: u32,
    /// The response's Retry-After in seconds. Taken in; no decision depends on it yet.
    pub retry_after_s: u32,
    /// How long connecting took, in nanoseconds; 0 on a reused connection.
    pub connect_ns: u64,
    /// From the pick to the head: what peak_ewma compares. Unset: `total_ns` is, and without it the time to the report.
    pub head_ns: u64,
    /// From the pick to the end.
    pub total_ns: u64,
    /// For tidegate_request_head: the body's length if `framing` is LENGTH.
    pub content_length: u64,
    /// For tidegate_request_head: the value of Content-Type; NULL: there is none.
    pub content_type: *const c_char,
    /// Its length in bytes.
    pub content_type_len: usize,
    /// For tidegate_request_head: TIDEGATE_FRAMING_* of the body, by which its end can be known. Leave it 0 where a
    /// hold-back makes no sense: the response is complete already, or this host can't hold it.
    pub framing: u32,
    /// Reserved, 0.
    pub reserved: u32,
}
// SAFETY: integers and raw pointers only, size first, no implicit padding.
unsafe impl Struct for tidegate_outcome {}

/// What to do next.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_decision {
    /// sizeof(tidegate_decision)
    pub struct_size: usize,
    /// TIDEGATE_DECISION_DELIVER, RETRY, ANSWER or ABORT.
    pub verdict: u32,
    /// TIDEGATE_WHY_*: why there is no retry.
    pub reason: u32,
    /// TIDEGATE_CAUSE_* that the request would be answered with.
    pub cause: u32,
    /// ANSWER: 500, 502, 503 or 504.
    pub status: u32,
    /// RETRY: wait this long before the next pick, in nanoseconds; 0: at once.
    pub wait_ns: u64,
    /// ANSWER: Retry-After in seconds, 0: none.
    pub retry_after_s: u32,
    /// Attempts made so far.
    pub attempts: u32,
    /// TIDEGATE_DECISION_FLAG_* bits.
    pub flags: u32,
    /// Reserved, 0.
    pub reserved: u32,
    /// DELIVER of tidegate_request_head: keep the response until it is complete, but not for longer than this from its
    /// head on, in nanoseconds. 0: don't.
    pub hold_ns: u64,
    /// And no more than this many bytes of its body, framing counted. Once either bound is passed let it go: a body that
    /// breaks off before can be retried, for no byte was delivered. 0: don't hold.
    pub hold_bytes: u32,
    /// Reserved, 0.
    pub reserved_hold: u32,
}
// SAFETY: as above.
unsafe impl Struct for tidegate_decision {}

/// Sets `*options` to its defaults: zeros and `size`. Thread rule: any-thread.
///
/// # Safety
/// `options` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_request_options_init(
    options: *mut tidegate_request_options,
    size: usize,
) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(options, size) }
}

/// Sets `*pick` to zeros and `size`. Thread rule: any-thread.
///
/// # Safety
/// `pick` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_pick_init(pick: *mut tidegate_pick, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(pick, size) }
}

/// Sets `*outcome` to zeros and `size`. Thread rule: any-thread.
///
/// # Safety
/// `outcome` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_outcome_init(outcome: *mut tidegate_outcome, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(outcome, size) }
}

/// Sets `*decision` to zeros and `size`. Thread rule: any-thread.
///
/// # Safety
/// `decision` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_decision_init(decision: *mut tidegate_decision, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(decision, size) }
}

/// The number of a request method's token (case-sensitive): TIDEGATE_METHOD_*.
///
/// Thread rule: any-thread. Cost: a comparison or two.
///
/// # Safety
/// `token` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_method_parse(token: *const c_char, len: usize) -> u32 {
    // SAFETY: the caller vouches for the bytes.
    guard_value(TIDEGATE_METHOD_OTHER, || match unsafe { bytes(token, len) } {
        Ok(token) => Method::from_token(token) as u32,
        Err(_) => TIDEGATE_METHOD_OTHER,
    })
}

/// The name of a cause in logs and metrics ("connection_refused"); "internal_error" for an unknown number. Static
/// text.
///
/// Thread rule: any-thread. Cost: a look-up.
#[unsafe(no_mangle)]
pub extern "C" fn tidegate_cause_name(cause: u32) -> *const c_char {
    guard_value(c"internal_error".as_ptr(), || {
        Cause::from_number(cause).unwrap_or(Cause::INTERNAL_ERROR).c_name().as_ptr()
    })
}

/// The cause behind an errno at a phase of an attempt: TIDEGATE_CAUSE_*. `flags` are TIDEGATE_OUTCOME_* bits as far
/// as known. `error` 0 means that the peer closed. Errors of this machine (EMFILE, EADDRNOTAVAIL, ENOMEM, …) are
/// TIDEGATE_CAUSE_LOCAL_FAULT.
///
/// Thread rule: any-thread. Cost: a look-up.
#[unsafe(no_mangle)]
pub extern "C" fn tidegate_cause_from_errno(error: c_int, phase: u32, flags: u32) -> u32 {
    guard_value(Cause::INTERNAL_ERROR.number(), || {
        let phase = Phase::from_number(phase).unwrap_or(Phase::Connect);
        failover::cause_from_errno(error, phase, flags).number()
    })
}

/// Begins a request: to be called once for each client request, before the first pick. Whatever stood in `*request`
/// is forgotten: end the previous one first.
///
/// Thread rule: worker-owned; the worker must outlive the request. Errors: NULL, INVALID, STRUCT_SIZE, NOT_FOUND,
/// FORKED, LEASE_LOST. Cost: clears some fields.
///
/// # Safety
/// `worker` is a live handle; `request` is writable; `options` is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_request_start(
    worker: *const tidegate_worker,
    request: *mut tidegate_request,
    options: *const tidegate_request_options,
    now_ns: u64,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle and the options.
        let (worker, o) = unsafe { (worker.cast::<Worker>().as_ref(), read_struct(options)?) };
        let worker = worker.ok_or_else(|| Error::of(TIDEGATE_ERR_NULL))?;
        if request.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        let method = Method::from_number(o.method).ok_or_else(|| Error::invalid("method: not a TIDEGATE_METHOD_*"))?;
        // SAFETY: the caller vouches that the worker outlives the request.
        let mut begun =
            unsafe { Request::start(worker, o.upstream, method, o.flags, o.max_attempts, o.deadline_ns, now_ns) }?;
        if o.key_len != 0 {
            // SAFETY: the caller vouches for the key, as for all of the options.
            begun.set_key(unsafe { bytes(o.key, o.key_len) }?);
        }
        // SAFETY: `request` is writable, large enough and aligned (asserted at compile time).
        unsafe { request.cast::<Request>().write(begun) };
        Ok(())
    })
}

/// Picks a peer for the next attempt and counts the request as in flight on it, until it is reported or ended.
///
/// Thread rule: worker-owned. Errors: NULL, STATE (an attempt is open, or `*request` was never started: zeroed memory
/// is known as such), STRUCT_SIZE, FORKED, LEASE_LOST, NO_PEER (`tidegate_request_answer` has the answer). Cost: O(1) at any number
/// of peers while a tenth of them is eligible, else linear in them at worst; no allocation, lock or system call.
///
/// # Safety
/// `request` was started by this worker; `pick` is writable and its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_request_pick(
    request: *mut tidegate_request,
    now_ns: u64,
    pick: *mut tidegate_pick,
) -> tidegate_status {
    // The plain cases stand outside the guard, so that nothing needs saving around it: they can't panic.
    // Functions of the C ABI don't unwind, which lets each of these calls be the last thing its caller does.
    // SAFETY: the caller vouches for both.
    unsafe {
        match started(request) {
            Some(started) if is_whole(pick) => match started.plain_selector() {
                Some(Selector::RoundRobin) => pick_round_robin(started, now_ns, pick),
                Some(Selector::LeastRequest) => pick_least_request(started, now_ns, pick),
                Some(Selector::Random) => pick_random(started, now_ns, pick),
                Some(Selector::PeakEwma) => pick_peak_ewma(started, now_ns, pick),
                Some(Selector::Maglev | Selector::SourceHash) => pick_hashed(started, now_ns, pick),
                None => pick_by_rules(request, now_ns, pick),
            },
            _ => pick_by_rules(request, now_ns, pick),
        }
    }
}

/// # Safety
/// `pick` is writable, and [`is_whole`] holds for it.
#[inline(never)]
unsafe extern "C" fn pick_round_robin(request: &mut Request, now_ns: u64, pick: *mut tidegate_pick) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        if let Some(picked) = request.pick_in_turn(now_ns) {
            write_whole(pick, &export_pick(&picked));
            return TIDEGATE_OK;
        }
        pick_out_of_turn(request, now_ns, pick)
    }
}

/// # Safety
/// As [`pick_round_robin`].
#[inline(never)]
unsafe extern "C" fn pick_out_of_turn(request: &mut Request, now_ns: u64, pick: *mut tidegate_pick) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        if let Some(picked) = request.pick_round_robin(now_ns) {
            write_whole(pick, &export_pick(&picked));
            return TIDEGATE_OK;
        }
        pick_by_rules((&raw mut *request).cast(), now_ns, pick)
    }
}

/// # Safety
/// As [`pick_round_robin`].
#[inline(never)]
unsafe extern "C" fn pick_least_request(
    request: &mut Request,
    now_ns: u64,
    pick: *mut tidegate_pick,
) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        if let Some(picked) = request.pick_least_request(now_ns) {
            write_whole(pick, &export_pick(&picked));
            return TIDEGATE_OK;
        }
        pick_by_rules((&raw mut *request).cast(), now_ns, pick)
    }
}

/// # Safety
/// As [`pick_round_robin`].
#[inline(never)]
unsafe extern "C" fn pick_random(request: &mut Request, now_ns: u64, pick: *mut tidegate_pick) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        if let Some(picked) = request.pick_random(now_ns) {
            write_whole(pick, &export_pick(&picked));
            return TIDEGATE_OK;
        }
        pick_by_rules((&raw mut *request).cast(), now_ns, pick)
    }
}

/// # Safety
/// As [`pick_round_robin`].
#[inline(never)]
unsafe extern "C" fn pick_peak_ewma(request: &mut Request, now_ns: u64, pick: *mut tidegate_pick) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        if let Some(picked) = request.pick_peak_ewma(now_ns) {
            write_whole(pick, &export_pick(&picked));
            return TIDEGATE_OK;
        }
        pick_by_rules((&raw mut *request).cast(), now_ns, pick)
    }
}

/// # Safety
/// As [`pick_round_robin`].
#[inline(never)]
unsafe extern "C" fn pick_hashed(request: &mut Request, now_ns: u64, pick: *mut tidegate_pick) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        if let Some(picked) = request.pick_hashed(now_ns) {
            write_whole(pick, &export_pick(&picked));
            return TIDEGATE_OK;
        }
        pick_by_rules((&raw mut *request).cast(), now_ns, pick)
    }
}

/// # Safety
/// As [`tidegate_request_pick`].
#[cold]
#[inline(never)]
unsafe extern "C" fn pick_by_rules(
    request: *mut tidegate_request,
    now_ns: u64,
    pick: *mut tidegate_pick,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for both.
        let (request, pick) = unsafe { (request_mut(request)?, out(pick)?) };
        let Some(picked) = request.pick_by_rules(now_ns)? else {
            return Err(Error::of(TIDEGATE_ERR_NO_PEER));
        };
        pick.write(&export_pick(&picked));
        Ok(())
    })
}

/// Judges the status of a response whose head has come, before anything goes to the client: DELIVER (the attempt
/// stays open: report it when the body ends), RETRY (the attempt is closed: drop the response, pick again) or ANSWER.
/// When a failing status can't be retried the verdict is DELIVER: an upstream's own answer passes.
///
/// DELIVER comes with advice to hold the response back (`hold_ns`, `hold_bytes`) where that can help: its end can be
/// judged (`framing` LENGTH, within the bound, or CHUNKED) and it is no event stream; the request may be repeated and
/// has attempts, time, an untried peer and retry budget left, or has failed on a peer before: then a clean 502 is worth
/// the wait.
///
/// Thread rule: worker-owned. Errors: NULL, STATE (no attempt is open), INVALID, STRUCT_SIZE, FORKED, LEASE_LOST; none
/// of them has an effect. Cost: as a report.
///
/// # Safety
/// `request` was started by this worker; `outcome` is valid; `decision` is writable and its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_request_head(
    request: *mut tidegate_request,
    outcome: *const tidegate_outcome,
    now_ns: u64,
    decision: *mut tidegate_decision,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for all three.
        let (request, o, decision) = unsafe { (request_mut(request)?, read_struct(outcome)?, out(decision)?) };
        // SAFETY: the caller vouches for the content type.
        let content_type = unsafe { bytes(o.content_type, o.content_type_len) }?;
        let decided = request.head(&parse_outcome(&o)?, now_ns)?;
        let mut exported = export_decision(&decided);
        if decided.verdict == Verdict::Deliver {
            let hold = request.hold(&Body { end: parse_body_end(&o), content_type }, now_ns);
            exported.hold_ns = hold.ns;
            exported.hold_bytes = hold.bytes;
        }
        decision.write(&exported);
        Ok(())
    })
}

/// Reports how an attempt ended, closes it, and decides what comes next. Every attempt is reported once or ended.
///
/// Thread rule: worker-owned. Errors: NULL, STATE (no attempt is open), INVALID, STRUCT_SIZE, FORKED, LEASE_LOST; none
/// of them has an effect. Cost: O(1), after a failure linear in the peers; no allocation, lock or system call.
///
/// # Safety
/// `request` was started by this worker; `outcome` is valid; `decision` is writable and its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_request_report(
    request: *mut tidegate_request,
    outcome: *const tidegate_outcome,
    now_ns: u64,
    decision: *mut tidegate_decision,
) -> tidegate_status {
    // As in tidegate_request_pick: without the guard, for it can't panic.
    // SAFETY: the caller vouches for all three.
    unsafe {
        if let Some(request) = started(request)
            && let Some(o) = read_whole(outcome)
            && is_whole(decision)
            && o.cause == Cause::NONE.number()
            && o.phase <= TIDEGATE_PHASE_DONE
        {
            if request.is_measured() {
                return report_measured(request, outcome, now_ns, decision);
            }
            if let Some(decided) = request.report_plainly::<false>(o.status, 0, o.total_ns, now_ns) {
                write_whole(decision, &export_decision(&decided));
                return TIDEGATE_OK;
            }
        }
        report_by_rules(request, outcome, now_ns, decision)
    }
}

/// # Safety
/// [`is_whole`] holds for `outcome` and `decision`.
#[inline(never)]
unsafe extern "C" fn report_measured(
    request: &mut Request,
    outcome: *const tidegate_outcome,
    now_ns: u64,
    decision: *mut tidegate_decision,
) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        let o = outcome.read_unaligned();
        let (status, head_ns, total_ns) = (o.status, o.head_ns, o.total_ns);
        if let Some(decided) = request.report_plainly::<true>(status, head_ns, total_ns, now_ns) {
            write_whole(decision, &export_decision(&decided));
            return TIDEGATE_OK;
        }
        report_by_rules((&raw mut *request).cast(), outcome, now_ns, decision)
    }
}

/// # Safety
/// As [`tidegate_request_report`].
#[cold]
#[inline(never)]
unsafe extern "C" fn report_by_rules(
    request: *mut tidegate_request,
    outcome: *const tidegate_outcome,
    now_ns: u64,
    decision: *mut tidegate_decision,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for all three.
        let (request, o, decision) = unsafe { (request_mut(request)?, read_struct(outcome)?, out(decision)?) };
        let decided = request.report(&parse_outcome(&o)?, now_ns)?;
        decision.write(&export_decision(&decided));
        Ok(())
    })
}

/// Ends a request at any point, for example when the client has gone: an open attempt is taken off the in-flight
/// counts and charged to nobody. Harmless after a report, and on zeroed memory. NULL is a no-op. In a process forked
/// from the one that picked it leaves the attempt open there.
///
/// Thread rule: worker-owned.
///
/// # Safety
/// `request` is NULL or was started by this worker.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_request_end(request: *mut tidegate_request, now_ns: u64) {
    guard(|| {
        if !request.is_null() {
            // SAFETY: the caller vouches for the request.
            unsafe { request_mut(request) }?.end(now_ns);
        }
        Ok(())
    });
}

/// Fills in what to tell the client after TIDEGATE_ERR_NO_PEER or an ANSWER: sets `status`, `cause`,
/// `retry_after_s` and `received_status` of `*answer` and leaves its other fields. The last attempt's failure decides,
/// with one exception: where it never reached its peer (refused, unroutable) and no usable peer is left, the answer is
/// 503 no_eligible_peer with Retry-After. Counts the answer by its cause:
/// call it once for each answer that is sent.
///
/// Thread rule: worker-owned. Errors: NULL, STATE (nothing failed), STRUCT_SIZE. Cost: O(1); linear in the peers when
/// no peer may be tried (for Retry-After).
///
/// # Safety
/// `request` was started by this worker; `answer` is valid and writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_request_answer(
    request: *mut tidegate_request,
    now_ns: u64,
    answer: *mut tidegate_answer,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for both.
        let (request, mut filled) = unsafe { (request_mut(request)?, read_struct(answer.cast_const())?) };
        let told = request.answer(now_ns)?;
        filled.status = told.status;
        filled.cause = told.cause.number();
        filled.retry_after_s = told.retry_after_s;
        filled.received_status = told.received_status;
        // SAFETY: the caller vouches for `answer`.
        unsafe { write_struct(answer, &filled) }
    })
}

/// Copies the decision record as one line of text: every attempt with its peer, cause, time and verdict
/// ("10.0.0.1:80 connection_refused 0.2ms retry; 10.0.0.2:80 200 12.0ms deliver"), at most 1024 bytes.
///
/// Thread rule: worker-owned. Errors: NULL, BUFFER. Cost: formats text; call it for the log, not on every request.
///
/// # Safety
/// `request` was started by this worker; `buf` points to `cap` writable bytes; `needed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_request_describe(
    request: *const tidegate_request,
    buf: *mut c_char,
    cap: usize,
    needed: *mut usize,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the request.
        let text = unsafe { request_mut(request.cast_mut()) }?.describe();
        // SAFETY: the caller vouches for the buffer.
        unsafe { write_bytes(text.as_bytes(), buf, cap, needed) }
    })
}

/// # Safety
/// `request` is NULL or points to a `tidegate_request` that is not used by another thread; where it was started, its
/// worker lives.
#[inline]
unsafe fn request_mut<'a>(request: *mut tidegate_request) -> Result<&'a mut Request, Error> {
    const { assert!(size_of::<Request>() <= size_of::<tidegate_request>() && align_of::<Request>() <= 8) };
    let refusal = if request.is_null() { TIDEGATE_ERR_NULL } else { TIDEGATE_ERR_STATE };
    // SAFETY: the caller's promise is the same.
    unsafe { started(request) }.ok_or_else(|| Error::of(refusal))
}

/// # Safety
/// As [`request_mut`].
#[inline(always)]
unsafe fn started<'a>(request: *mut tidegate_request) -> Option<&'a mut Request> {
    let place = request.cast::<Request>();
    // SAFETY: not NULL, and the caller vouches for its size.
    if place.is_null() || !unsafe { Request::is_started(place) } {
        return None;
    }
    // SAFETY: `start` wrote a `Request` here, and nobody else uses it now.
    Some(unsafe { &mut *place })
}

#[inline]
fn parse_outcome(o: &tidegate_outcome) -> Result<Outcome, Error> {
    let (Some(cause), Some(phase)) = (Cause::from_number(o.cause), Phase::from_number(o.phase)) else {
        return Err(Error::new(
            super::TIDEGATE_ERR_INVALID,
            "outcome: cause is not a TIDEGATE_CAUSE_*, or phase not a TIDEGATE_PHASE_*",
        ));
    };
    Ok(Outcome {
        cause,
        phase,
        flags: o.flags,
        status: o.status.min(999) as u16,
        reason: o.reason,
        retry_after_s: o.retry_after_s,
        head_ns: o.head_ns,
        total_ns: o.total_ns,
    })
}

fn parse_body_end(o: &tidegate_outcome) -> BodyEnd {
    match o.framing {
        TIDEGATE_FRAMING_LENGTH => BodyEnd::Length(o.content_length),
        TIDEGATE_FRAMING_CHUNKED => BodyEnd::Chunked,
        _ => BodyEnd::Unjudged,
    }
}

#[inline(always)]
fn export_pick(picked: &failover::Picked) -> tidegate_pick {
    tidegate_pick {
        struct_size: 0,
        peer: picked.peer.number(),
        slot: picked.peer.slot(),
        attempt: picked.attempt,
        flags: picked.flags,
        reserved: 0,
    }
}

#[inline(always)]
fn export_decision(d: &failover::Decision) -> tidegate_decision {
    tidegate_decision {
        struct_size: 0,
        verdict: d.verdict as u32,
        reason: d.reason as u32,
        cause: d.cause.number(),
        status: d.status as u32,
        wait_ns: d.wait_ns,
        retry_after_s: d.retry_after_s,
        attempts: d.attempts,
        flags: d.flags,
        reserved: 0,
        hold_ns: 0,
        hold_bytes: 0,
        reserved_hold: 0,
    }
}
