//! `tidegate_upstream_set_shadow`: a second policy that decides beside the live one.

use super::table::{table_ref, tidegate_table};
use super::upstream::{policy, tidegate_upstream_options};
use super::{Error, Struct, TIDEGATE_ERR_NOT_FOUND, guard, init_struct, tidegate_status, write_struct};
use crate::table::{Compared, UpstreamId};

/// What a shadow compared since it was set, and how often it would have decided otherwise.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_shadow {
    /// sizeof(tidegate_shadow)
    pub struct_size: usize,
    /// Picks compared, those that found nobody too.
    pub picks: u64,
    /// It would have picked another peer, with the same random numbers from the same place in the cycle; or nobody; or
    /// somebody instead of nobody. Between different selectors, or weights, this says little by itself.
    pub picks_other: u64,
    /// The peer picked would have been out.
    pub picks_out: u64,
    /// Outcomes and heads judged.
    pub outcomes: u64,
    /// Ejections that would have happened, of peers that are not out.
    pub ejections_more: u64,
    /// Ejections that happened, of peers that would not be out.
    pub ejections_fewer: u64,
    /// Retries that would have been made.
    pub retries_more: u64,
    /// Retries that would not have been made.
    pub retries_fewer: u64,
    /// The client would have been given something else: a response instead of an answer, another status, a cut. What a
    /// retry leads to is not known, so requests that differ by one count there and not here.
    pub answers: u64,
}
// SAFETY: integers only, size first, no implicit padding.
unsafe impl Struct for tidegate_shadow {}

/// Sets `*shadow` to zeros and `size`. Thread rule: any-thread.
///
/// # Safety
/// `shadow` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_shadow_init(shadow: *mut tidegate_shadow, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(shadow, size) }
}

/// Lets a second policy decide beside an upstream's own, on the same traffic, and counts what differs. Nothing of the
/// live upstream changes. `options` NULL: no longer. The counters begin anew unless the options are those of before.
///
/// The shadow is an upstream of its own, named after the live one with "~shadow" behind it (whose name may then have 56
/// bytes at most), with a twin of each peer: it takes one of the table's upstreams and as many of its peers again. It
/// follows every declaration of the live list; if a later one finds no room for the twins, the shadow is taken off. It
/// emits no events, and is not for requests of the host's. Requests started after this call are compared. Not compared:
/// deadlines, hold-back, the time waited before a retry. Estimates of latency begin anew.
///
/// Thread rule, waiting: as tidegate_upstream_open. Errors: NULL, INVALID, STRUCT_SIZE, NOT_FOUND, FULL, BUSY. Cost:
/// linear in the peers; each request of this upstream then takes the long path twice.
///
/// # Safety
/// `table` is a live handle; `options` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_upstream_set_shadow(
    table: *const tidegate_table,
    upstream: u32,
    options: *const tidegate_upstream_options,
    now_ns: u64,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for handle and options.
        let (table, policy) = unsafe { (table_ref(table)?, policy(options)?) };
        let id = UpstreamId::new(upstream).ok_or_else(|| Error::of(TIDEGATE_ERR_NOT_FOUND))?;
        table.set_shadow(id, (!options.is_null()).then_some(&policy), now_ns)
    })
}

/// What the shadow of an upstream compared.
///
/// Thread rule: any-thread. Errors: NULL, STRUCT_SIZE, NOT_FOUND (no such upstream, or it has no shadow).
///
/// # Safety
/// `table` is a live handle; `shadow` is writable and its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_upstream_shadow(
    table: *const tidegate_table,
    upstream: u32,
    shadow: *mut tidegate_shadow,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        let compared = UpstreamId::new(upstream).and_then(|id| table.compared(id));
        let c: Compared = compared.ok_or_else(|| Error::of(TIDEGATE_ERR_NOT_FOUND))?;
        let exported = tidegate_shadow {
            struct_size: 0,
            picks: c.picks,
            picks_other: c.picks_other,
            picks_out: c.picks_out,
            outcomes: c.outcomes,
            ejections_more: c.ejections_more,
            ejections_fewer: c.ejections_fewer,
            retries_more: c.retries_more,
            retries_fewer: c.retries_fewer,
            answers: c.answers,
        };
        // SAFETY: the caller vouches for `shadow`.
        unsafe { write_struct(shadow, &exported) }
    })
}
