//! Who may change the membership: one process at a time, by a word in the header that names it.
//!
//! Not a robust pthread mutex: glibc keeps a list of those through the memory that they lie in, and follows it when a
//! process ends, so a damaged table would lead the host's exit astray. Here a dead owner is recognised by its identity
//! (process id and start time) and succeeded by one CAS; what it left half done is done anew by whoever comes next,
//! because every change starts from the slots themselves (see `membership`). Never taken on the request path.
//!
//! # Orderings
//! The CAS that takes the word is Acquire and pairs with the Release CAS that frees it: a writer sees all that the one
//! before it wrote, Relaxed though it was. One that succeeds a dead owner pairs with nothing and needs nothing: the
//! stores of a process that has ended are in memory.

use super::layout::header;
use super::{ProcessIdentity, Table};
use crate::error::{Error, TIDEGATE_ERR_BUSY};
use crate::sync::Ordering;
use std::time::Duration;

/// Tries before giving up, a millisecond apart.
const TRIES: u32 = 1000;

/// Held while the membership is changed.
pub(super) struct Control<'a> {
    table: &'a Table,
    identity: ProcessIdentity,
    /// Threads of this process: freed after the word, which it guards.
    _turn: parking_lot::MutexGuard<'a, ()>,
}

impl Drop for Control<'_> {
    fn drop(&mut self) {
        let word = &self.table.region.header[header::CONTROL];
        let _ = word.compare_exchange(self.identity.bits(), 0, Ordering::Release, Ordering::Relaxed);
    }
}

impl Table {
    /// Waits for its turn: a second at most for the threads of this process, and one for other processes.
    pub(super) fn control(&self) -> Result<Control<'_>, Error> {
        self.writable()?;
        let busy = || Error::of(TIDEGATE_ERR_BUSY);
        let turn = self.set_up.try_lock_for(Duration::from_secs(1)).ok_or_else(busy)?;
        let identity = ProcessIdentity::current();
        let word = &self.region.header[header::CONTROL];
        for attempt in 0..TRIES {
            match word.compare_exchange(0, identity.bits(), Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Ok(Control { table: self, identity, _turn: turn }),
                Err(owner) if attempt % 64 == 0 && !ProcessIdentity::from_bits(owner).is_alive() => {
                    if word.compare_exchange(owner, identity.bits(), Ordering::Acquire, Ordering::Relaxed).is_ok() {
                        return Ok(Control { table: self, identity, _turn: turn });
                    }
                }
                Err(_) => {}
            }
            crate::sync::pause(Duration::from_millis(1));
        }
        Err(busy())
    }
}
