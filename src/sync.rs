//! The one door to atomics, so that a model checker can be put behind it: std's atomics themselves, or under `--cfg loom`
//! words of the same methods that loom watches (see `modelled`). The code on this side of the door is the same.

pub(crate) use std::sync::atomic::Ordering;

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, compiler_fence, fence};

#[cfg(loom)]
pub(crate) mod modelled;
#[cfg(loom)]
pub(crate) use modelled::{AtomicU32, AtomicU64, compiler_fence, fence};

/// Lets others go on, for set-up that waits for another process.
pub(crate) fn pause(time: std::time::Duration) {
    #[cfg(not(loom))]
    std::thread::sleep(time);
    #[cfg(loom)]
    modelled::pause(time);
}
