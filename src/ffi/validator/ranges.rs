//! `tidegate_validator_feed_ranges`: many DATA events in one call.

use super::super::{Error, TIDEGATE_ERR_NULL, TIDEGATE_ERR_STATE, bytes, guard, tidegate_status};
use super::{check_verdict, started, tidegate_validator, tidegate_verdict, write_verdict};
use std::ffi::c_char;

/// As tidegate_validator_feed, but goes on over DATA: `ranges` holds `2 * cap` numbers and gets, for each run of body
/// bytes, its offset in this call's input and its length; `*count` is the number of runs. The event is DATA if there
/// was no more room, else what came behind the last run: call again with what was not consumed until it is NEED_MORE,
/// COMPLETE or REJECT. The runs before a REJECT are valid. `data` and `data_len` of the verdict are 0.
///
/// Thread rule: one thread at a time for one validator. Errors: NULL, STRUCT_SIZE, STATE (as feed), INVALID (`cap` is
/// 0 or above 65536). Cost: for a body in small chunks about two thirds of a feed for each.
///
/// # Safety
/// As tidegate_validator_feed; `ranges` points to `2 * cap` writable numbers, `count` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_validator_feed_ranges(
    validator: *mut tidegate_validator,
    data: *const c_char,
    len: usize,
    ranges: *mut usize,
    cap: usize,
    count: *mut usize,
    verdict: *mut tidegate_verdict,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the validator and the input.
        let (state, input) = unsafe { (started(validator)?, bytes(data, len)?) };
        // SAFETY: as above, for the verdict.
        unsafe { check_verdict(verdict) }?;
        if ranges.is_null() || count.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        if !(1..=65536).contains(&cap) {
            return Err(Error::invalid(format!("cap is {cap}: from 1 to 65536 ranges")));
        }
        if !state.reads_bytes() {
            return Err(Error::of(TIDEGATE_ERR_STATE));
        }
        // SAFETY: not NULL, and the caller vouches for 2 * cap numbers, which nothing else uses.
        let ranges = unsafe { std::slice::from_raw_parts_mut(ranges.cast::<[usize; 2]>(), cap) };
        let (seen, found) = state.feed_ranges(input, ranges);
        // SAFETY: not NULL, and the caller vouches for both.
        unsafe {
            count.write(found);
            write_verdict(verdict, &seen)
        }
    })
}
