//! What can go wrong in a call, as a status of the ABI and, on set-up paths, a sentence.

#![allow(non_camel_case_types)]

/// What every fallible function returns: 0, or one of the negative `TIDEGATE_ERR_*`.
pub type tidegate_status = i32;

/// Success.
pub const TIDEGATE_OK: tidegate_status = 0;
/// A pointer that must not be NULL was NULL.
pub const TIDEGATE_ERR_NULL: tidegate_status = -1;
/// An argument is out of its range; `tidegate_last_error` says which.
pub const TIDEGATE_ERR_INVALID: tidegate_status = -2;
/// A struct's `struct_size` is too small, or bytes that this library does not know are not zero.
pub const TIDEGATE_ERR_STRUCT_SIZE: tidegate_status = -3;
/// The buffer is too small; `*needed` says how large it must be. Nothing was written to it.
pub const TIDEGATE_ERR_BUFFER: tidegate_status = -4;
/// The library caught a panic of its own. The host goes on; for this request it does without Tidegate.
pub const TIDEGATE_ERR_PANIC: tidegate_status = -5;
/// Memory could not be had.
pub const TIDEGATE_ERR_MEMORY: tidegate_status = -6;
/// The table has no room for another upstream, peer, worker or snapshot.
pub const TIDEGATE_ERR_FULL: tidegate_status = -7;
/// There is no such upstream or peer, or the peer has been removed since.
pub const TIDEGATE_ERR_NOT_FOUND: tidegate_status = -8;
/// The handle was made before fork(): this process must call `tidegate_worker_join` first.
pub const TIDEGATE_ERR_FORKED: tidegate_status = -9;
/// The memory or file is not a table, or one of another layout or capacity, or it is damaged.
pub const TIDEGATE_ERR_LAYOUT: tidegate_status = -10;
/// Another process is changing the membership and did not finish in time. Try again.
pub const TIDEGATE_ERR_BUSY: tidegate_status = -11;
/// The call does not fit the request's state: a second pick without a report, a report without a pick.
pub const TIDEGATE_ERR_STATE: tidegate_status = -12;
/// No peer may be tried now. `tidegate_request_answer` says what to tell the client.
pub const TIDEGATE_ERR_NO_PEER: tidegate_status = -13;
/// An operating system call failed; `tidegate_last_error` says which and why.
pub const TIDEGATE_ERR_SYSTEM: tidegate_status = -14;
/// There is nothing more: the end of an iteration.
pub const TIDEGATE_ERR_END: tidegate_status = -15;
/// The table was opened with `tidegate_table_open_read_only`, and the call would write to it.
pub const TIDEGATE_ERR_READ_ONLY: tidegate_status = -16;

/// This worker's lease is gone: somebody who could not see its process took it for ended, or the table was damaged.
/// Leave, and join anew. (A worker that was merely out takes its lease back by itself.)
pub const TIDEGATE_ERR_LEASE_LOST: tidegate_status = -17;
/// The table's times are of another clock than this process's: it was made in another time namespace, or later than
/// `now_ns`.
pub const TIDEGATE_ERR_CLOCK: tidegate_status = -18;

/// What the layers below return: a status and, for the error path, a sentence.
#[derive(Debug)]
pub struct Error {
    pub(crate) status: tidegate_status,
    pub(crate) detail: Option<Box<str>>,
}

impl Error {
    /// An error whose status says it all. Allocates nothing.
    #[cold]
    pub(crate) fn of(status: tidegate_status) -> Error {
        Error { status, detail: None }
    }

    /// An error with a sentence that names what was wrong and where. For set-up calls: it allocates.
    #[cold]
    pub(crate) fn new(status: tidegate_status, detail: impl Into<Box<str>>) -> Error {
        Error { status, detail: Some(detail.into()) }
    }

    /// `TIDEGATE_ERR_INVALID` with a sentence.
    #[cold]
    pub(crate) fn invalid(detail: impl Into<Box<str>>) -> Error {
        Error::new(TIDEGATE_ERR_INVALID, detail)
    }
}

impl Error {
    /// What was wrong, in English.
    pub(crate) fn text(&self) -> &str {
        self.detail.as_deref().unwrap_or_else(|| describe(self.status).to_str().unwrap_or(""))
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}

/// What a status means. Any integer is answered.
pub(crate) fn describe(status: tidegate_status) -> &'static std::ffi::CStr {
    match status {
        TIDEGATE_OK => c"success",
        TIDEGATE_ERR_NULL => c"a pointer that must not be NULL was NULL",
        TIDEGATE_ERR_INVALID => c"an argument is out of its range",
        TIDEGATE_ERR_STRUCT_SIZE => c"struct_size is wrong, or the struct sets fields that this library does not know",
        TIDEGATE_ERR_BUFFER => c"the buffer is too small",
        TIDEGATE_ERR_PANIC => c"the library caught an internal error of its own",
        TIDEGATE_ERR_MEMORY => c"out of memory",
        TIDEGATE_ERR_FULL => c"the table has no room left",
        TIDEGATE_ERR_NOT_FOUND => c"no such upstream or peer",
        TIDEGATE_ERR_FORKED => c"the handle was made before fork(): call tidegate_worker_join in this process",
        TIDEGATE_ERR_LAYOUT => c"the memory is not a table of this layout",
        TIDEGATE_ERR_BUSY => c"another process is changing the membership",
        TIDEGATE_ERR_STATE => c"the call does not fit the request's state",
        TIDEGATE_ERR_NO_PEER => c"no peer may be tried now",
        TIDEGATE_ERR_SYSTEM => c"an operating system call failed",
        TIDEGATE_ERR_END => c"there is nothing more",
        TIDEGATE_ERR_READ_ONLY => c"the table was opened to be read only",
        TIDEGATE_ERR_LEASE_LOST => c"the worker's lease is gone: leave and join anew",
        TIDEGATE_ERR_CLOCK => c"the table's times are of another clock",
        _ => c"unknown status",
    }
}
