//! `tidegate_request_record`: the decision record as a value.

use super::request::{request_mut, tidegate_request};
use super::{Error, Struct, TIDEGATE_ERR_NULL, guard, init_struct, out, tidegate_status};
use crate::failover::{Attempt, Record, Standing};

/// Why the last peer was picked, in `tidegate_record.chosen`: nobody was.
pub const TIDEGATE_CHOSEN_NOBODY: u32 = 0;
/// The selector's choice among the candidates.
pub const TIDEGATE_CHOSEN_SELECTOR: u32 = 1;
/// It was due for a trial.
pub const TIDEGATE_CHOSEN_TRIAL: u32 = 2;
/// It is out for failures, and nobody else was left.
pub const TIDEGATE_CHOSEN_LAST_RESORT: u32 = 3;
/// The panic policy applied: health was ignored.
pub const TIDEGATE_CHOSEN_PANIC: u32 = 4;
/// At random: the selector goes by a key, and the request had none.
pub const TIDEGATE_CHOSEN_NO_KEY: u32 = 5;

/// The counts are of the time of tidegate_request_record, not of the pick: plain picks count nothing.
pub const TIDEGATE_RECORD_LATER: u32 = 1;
/// Only the first 256 members were looked at.
pub const TIDEGATE_RECORD_PARTIAL: u32 = 2;
/// The last pick found nobody; the counts are of that pick.
pub const TIDEGATE_RECORD_REFUSED: u32 = 4;

/// One attempt of a request: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_attempt {
    /// The peer's slot, as in tidegate_pick.
    pub slot: u32,
    /// How long it took in microseconds, saturating, in steps of 16.
    pub length_us: u32,
    /// The slot's generation: the peer's handle is `(uint64_t)generation << 32 | slot`.
    pub generation: u16,
    /// The response's status, 0 if there was none.
    pub status: u16,
    /// TIDEGATE_CAUSE_*
    pub cause: u8,
    /// TIDEGATE_PICK_* bits, FRESH left out.
    pub flags: u8,
    /// TIDEGATE_DECISION_*; 0: it is open.
    pub verdict: u8,
    /// TIDEGATE_WHY_*: why it was not retried.
    pub reason: u8,
}

/// The decision record of a request: what it tried and why, 112 bytes.
///
/// The counts tell how the upstream's members stood at the last pick; each member is counted once, by the first of
/// these that holds, in this order: picked, tried, draining, disabled, out (ejected, down), at_limit, slow_start,
/// priority, zone, else it is a candidate. They are kept for retries, refusals, and picks that are trials, last
/// resorts, in panic, of backups or of another zone; for all others see TIDEGATE_RECORD_LATER. At most
/// 256 members are looked at. A bound on load (`load_bound_percent`) is not among them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_record {
    /// sizeof(tidegate_record)
    pub struct_size: usize,
    /// The upstream's id.
    pub upstream: u32,
    /// How many members it had.
    pub members: u32,
    /// TIDEGATE_SELECTOR_*
    pub selector: u8,
    /// TIDEGATE_CHOSEN_*: why the last attempt's peer.
    pub chosen: u8,
    /// TIDEGATE_RECORD_* bits.
    pub flags: u8,
    /// Attempts made.
    pub attempts_made: u8,
    /// TIDEGATE_CAUSE_* of the last failure.
    pub cause: u8,
    /// Elements of `attempts` that are set.
    pub attempts_len: u8,
    /// The last status that came from the upstream, 0: none.
    pub received_status: u16,
    /// Members that were picked or could have been.
    pub candidates: u16,
    /// Tried by this request before.
    pub tried: u16,
    /// Out for failures in traffic.
    pub ejected: u16,
    /// Out by active checks.
    pub down: u16,
    /// Drained by a person.
    pub draining: u16,
    /// Disabled by a person.
    pub disabled: u16,
    /// At their `max_in_flight`.
    pub at_limit: u16,
    /// In slow start, which lets them in to a part of the picks.
    pub slow_start: u16,
    /// Of the other side of the zone: far where a near one was picked, near where a far one was.
    pub zone: u16,
    /// Of the other priority than the one picked.
    pub priority: u16,
    /// Reserved, 0.
    pub reserved: u32,
    /// The last attempts, the oldest of them first.
    pub attempts: [tidegate_attempt; 4],
}
// SAFETY: integers only, size first, no implicit padding.
unsafe impl Struct for tidegate_record {}

const _: () = assert!(size_of::<tidegate_record>() <= 128);

/// Sets `*record` to zeros and `size`. Thread rule: any-thread.
///
/// # Safety
/// `record` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_record_init(record: *mut tidegate_record, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(record, size) }
}

/// Fills in the decision record of a request, at any time from its start on. It names no strings and points to
/// nothing: it can be kept, sent and compared. `tidegate_request_describe` has the same for people.
///
/// Thread rule: worker-owned. Errors: NULL, STATE (never started), STRUCT_SIZE. Cost: a copy; where the counts are of
/// now, a look at each of at most 256 members. No allocation.
///
/// # Safety
/// `request` was started by this worker; `record` is writable and its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_request_record(
    request: *const tidegate_request,
    record: *mut tidegate_record,
) -> tidegate_status {
    guard(|| {
        if record.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        // SAFETY: the caller vouches for both.
        let (request, record) = unsafe { (request_mut(request.cast_mut())?, out(record)?) };
        record.write(&export(&request.explain()));
        Ok(())
    })
}

fn export(r: &Record) -> tidegate_record {
    let flag = |on: bool, bit: u32| if on { bit as u8 } else { 0 };
    let count = |standing: Standing| r.standings.counts[standing as usize];
    tidegate_record {
        struct_size: 0,
        upstream: r.upstream,
        members: r.standings.members,
        selector: r.selector,
        chosen: r.chosen as u8,
        flags: flag(r.counted_later, TIDEGATE_RECORD_LATER)
            | flag(r.standings.is_partial(), TIDEGATE_RECORD_PARTIAL)
            | flag(r.refused, TIDEGATE_RECORD_REFUSED),
        attempts_made: r.made,
        cause: r.cause.number() as u8,
        attempts_len: r.attempts.iter().flatten().count() as u8,
        received_status: r.received_status,
        candidates: count(Standing::Candidate),
        tried: count(Standing::Tried),
        ejected: count(Standing::Ejected),
        down: count(Standing::Down),
        draining: count(Standing::Draining),
        disabled: count(Standing::Disabled),
        at_limit: count(Standing::AtLimit),
        slow_start: count(Standing::SlowStart),
        zone: count(Standing::Zone),
        priority: count(Standing::Priority),
        reserved: 0,
        attempts: r.attempts.map(|attempt| attempt.map_or(NO_ATTEMPT, |attempt| export_attempt(&attempt))),
    }
}

fn export_attempt(a: &Attempt) -> tidegate_attempt {
    tidegate_attempt {
        slot: a.peer().slot(),
        length_us: a.length_us(),
        generation: a.peer().generation(),
        status: a.status,
        cause: a.cause.number() as u8,
        flags: a.pick_flags() as u8,
        verdict: a.verdict,
        reason: a.why,
    }
}

const NO_ATTEMPT: tidegate_attempt =
    tidegate_attempt { slot: 0, length_us: 0, generation: 0, status: 0, cause: 0, flags: 0, verdict: 0, reason: 0 };
