//! Who may change the membership: one process at a time, by a word in the header that names it.
//!
//! Not a robust pthread mutex: glibc keeps a list of those through the memory that they lie in, and follows it when a
//! process ends, so a damaged table would lead the host's exit astray. Here a dead owner is recognised by its identity
//! (see `identity`) and succeeded by one CAS; what it left half done is finished by whoever comes next (see
//! `membership`). Never taken on the request path. An owner of another PID namespace is never succeeded, for nobody here
//! can tell whether it has ended: others are told BUSY until a process of its own namespace has looked. A word without its
//! seal names nobody: it is damaged, or its owner has not begun.
//!
//! # Orderings
//! The CAS that takes the word is Acquire and pairs with the Release CAS that frees it: a writer sees all that the one
//! before it wrote, Relaxed though it was. One that succeeds a dead owner pairs with nothing and needs nothing: the
//! stores of a process that has ended are in memory.

use super::identity::Life;
use super::layout::header;
use super::{ProcessIdentity, Table};
use crate::error::{Error, TIDEGATE_ERR_BUSY};
use crate::sync::Ordering;
use std::time::Duration;

/// Tries before giving up, a millisecond apart.
const TRIES: u32 = 1000;
/// Tries before an owner that has not sealed the word is taken for damage.
const UNSEALED_TRIES: u32 = 4;

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
        for attempt in 0..TRIES {
            if let Some(owner) = self.free_or_over(attempt, identity)
                && self.take_control(owner, identity)
            {
                let control = Control { table: self, identity, _turn: turn };
                if owner != 0 {
                    self.upstream_ids().for_each(|id| self.finish(id));
                }
                return Ok(control);
            }
            crate::sync::pause(Duration::from_millis(1));
        }
        Err(busy())
    }
}

impl Table {
    /// The turn of an owner that died, if there is one. Waits for nobody.
    pub(super) fn succeed(&self) -> Option<Control<'_>> {
        self.writable().ok()?;
        let owner = self.region.header[header::CONTROL].load(Ordering::Relaxed);
        if owner == 0 {
            return None;
        }
        let turn = self.set_up.try_lock()?;
        let identity = ProcessIdentity::current();
        (is_over(owner, identity) && self.take_control(owner, identity)).then(|| Control {
            table: self,
            identity,
            _turn: turn,
        })
    }

    /// The word as it stands, if it may be taken. The owner is asked about seldom, for that takes system calls.
    fn free_or_over(&self, attempt: u32, me: ProcessIdentity) -> Option<u64> {
        let owner = self.region.header[header::CONTROL].load(Ordering::Relaxed);
        let sealed = self.region.header[header::CONTROL_SEAL].load(Ordering::Relaxed) == owner;
        let over = || attempt.is_multiple_of(16) && is_over(owner, me) || attempt >= UNSEALED_TRIES && !sealed;
        (owner == 0 || over()).then_some(owner)
    }

    /// Takes the word and seals it. Whoever stood still between the two may find that somebody else has it.
    fn take_control(&self, from: u64, me: ProcessIdentity) -> bool {
        let [word, seal] = [header::CONTROL, header::CONTROL_SEAL].map(|w| &self.region.header[w]);
        let sealed = seal.load(Ordering::Relaxed);
        if word.compare_exchange(from, me.bits(), Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        let mine = seal.compare_exchange(sealed, me.bits(), Ordering::Relaxed, Ordering::Relaxed).is_ok();
        let owner = word.load(Ordering::Acquire);
        if owner != me.bits() && mine {
            let _ = seal.compare_exchange(me.bits(), owner, Ordering::Relaxed, Ordering::Relaxed);
        }
        owner == me.bits()
    }
}

fn is_over(owner: u64, me: ProcessIdentity) -> bool {
    matches!(ProcessIdentity::from_bits(owner).life(me), Life::Ended | Life::Doubtful)
}
