//! `tidegate_rules_*`: an operator's rules, compiled.

use super::super::{Error, TIDEGATE_ERR_NULL, bytes, guard, tidegate_status};
use crate::validator::Rules;
use std::ffi::c_char;

/// A compiled set of rules on live responses, read by any number of validators at once.
pub struct tidegate_rules {
    _private: (),
}

/// Compiles rules: one a line, or separated by `;`; `#` begins a comment.
///
/// - `status 200-299`: the responses that the others hold for; this is the default
/// - `type application/json text/…`: Content-Type is one of these; `text/` with a star stands for every text type
/// - `min-body 2`, `max-body 10m`: the body's size in bytes; k, m, g are powers of 1024
/// - `field x-request-id`, `no-field x-debug`: a field that must, or must not, be there
/// - `marker "</html>" within 64k`, `no-marker "Fatal error"`: a text that must, or must not, be in the first bytes of
///   the body, by default 4k. It is sought in the bytes as sent, so a content coding hides it.
///
/// At most 16 types, 16 fields and 4 markers, of 64 bytes each. Rules on bodies do not hold where there is none.
///
/// Thread rule: any-thread. Errors: NULL, INVALID (tidegate_last_error: what is wrong, and at which byte). Cost: linear
/// in the text; allocates.
///
/// # Safety
/// `text` points to `len` readable bytes; `rules` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_rules_new(
    text: *const c_char,
    len: usize,
    rules: *mut *mut tidegate_rules,
) -> tidegate_status {
    guard(|| {
        if rules.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        // SAFETY: the caller vouches for the text.
        let text = unsafe { bytes(text, len) }?;
        let parsed = Rules::parse(text).map_err(|error| Error::invalid(error.to_string()))?;
        // SAFETY: not NULL, and the caller vouches for it.
        unsafe { rules.write(Box::into_raw(Box::new(parsed)).cast()) };
        Ok(())
    })
}

/// Gives the rules back. No validator that was started with them may be used any more. NULL is a no-op.
///
/// Thread rule: set-up only.
///
/// # Safety
/// `rules` is NULL or came from tidegate_rules_new and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_rules_free(rules: *mut tidegate_rules) {
    guard(|| {
        if !rules.is_null() {
            // SAFETY: it came from tidegate_rules_new, and the caller uses it no more.
            drop(unsafe { Box::from_raw(rules.cast::<Rules>()) });
        }
        Ok(())
    });
}
