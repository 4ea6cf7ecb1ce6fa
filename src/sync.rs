//! The one door to atomics, so that a model checker can be put behind it.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence, fence};
