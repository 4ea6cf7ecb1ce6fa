//! `tidegate_checker_*`: active checks.

use super::table::{table_arc, tidegate_table};
use super::{Error, Struct, TIDEGATE_ERR_NULL, bytes, guard, init_struct, read_struct, tidegate_status, write_struct};
use crate::checker::{CheckOptions, Checker, Kind};
use crate::table::UpstreamId;
use std::ffi::{c_char, c_int, c_void};

/// Active checks of a table's peers. Every process that serves may have one; one of them checks for all, and another
/// takes over within two intervals when that one dies.
pub struct tidegate_checker {
    _private: (),
}

/// A check is a connection that comes about: the default.
pub const TIDEGATE_CHECK_TCP: u32 = 1;
/// A check is a request and a response by HTTP/1.1.
pub const TIDEGATE_CHECK_HTTP: u32 = 2;

/// Over TLS (a TCP check is then a handshake). Any certificate is accepted. Only if the library was built with the
/// feature "tls".
pub const TIDEGATE_CHECK_TLS: u32 = 1;
/// Keep the connection for the next check. HTTP only.
pub const TIDEGATE_CHECK_KEEP_ALIVE: u32 = 2;
/// Begin with a PROXY protocol header, version 2, LOCAL.
pub const TIDEGATE_CHECK_PROXY_V2: u32 = 4;
/// Check on time whatever traffic says. By default good traffic puts a check off, by two intervals at the most, and a
/// failure brings it forward.
pub const TIDEGATE_CHECK_IGNORE_TRAFFIC: u32 = 8;

/// How the peers of an upstream are checked; 0 and the empty string are the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_check_options {
    /// sizeof(tidegate_check_options)
    pub struct_size: usize,
    /// TIDEGATE_CHECK_TCP or _HTTP; default TCP.
    pub check_type: u32,
    /// TIDEGATE_CHECK_TLS and following bits.
    pub flags: u32,
    /// Nanoseconds from one check of a peer to the next, varied by a sixteenth; 10 ms to 1 h, default 2 s.
    pub interval_ns: u64,
    /// The same while a change is near: after a failure of a peer that is up, a success of one that is down; 10 ms to
    /// `interval_ns`, default a quarter of it and at least 100 ms.
    pub fast_interval_ns: u64,
    /// For the whole check, 1 ms to 1 h; default 1 s.
    pub timeout_ns: u64,
    /// Successes in a row after which a peer that is down is up, 1 to 100; default 2.
    pub rise: u32,
    /// Failures in a row after which a peer is down, 1 to 100; default 3.
    pub fall: u32,
    /// The port to connect to, default the peer's own.
    pub port: u32,
    /// Reserved, 0.
    pub reserved: u32,
    /// A struct sockaddr to connect from, without a port; default the system's choice.
    pub source: *const c_void,
    /// Its length in bytes.
    pub source_len: usize,
    /// GET, HEAD or OPTIONS; default GET.
    pub method: *const c_char,
    /// Its length in bytes.
    pub method_len: usize,
    /// The request target, at most 2048 bytes; default "/".
    pub path: *const c_char,
    /// Its length in bytes.
    pub path_len: usize,
    /// The Host field, at most 255 bytes; default the upstream's name.
    pub host: *const c_char,
    /// Its length in bytes.
    pub host_len: usize,
    /// More field lines, each with its CR LF, at most 4096 bytes.
    pub headers: *const c_char,
    /// Its length in bytes.
    pub headers_len: usize,
    /// Statuses that pass: "200-299,401"; default "200-299". Redirects are not followed.
    pub statuses: *const c_char,
    /// Its length in bytes.
    pub statuses_len: usize,
    /// A field that must be there ("X-Ready"), or whose value must contain a text ("Content-Type: json"); at most 256 bytes.
    pub field: *const c_char,
    /// Its length in bytes.
    pub field_len: usize,
    /// Bytes that the first 64 KiB of the body must contain, at most 256.
    pub body: *const c_char,
    /// Its length in bytes.
    pub body_len: usize,
    /// The name in the TLS handshake; default the host.
    pub server_name: *const c_char,
    /// Its length in bytes.
    pub server_name_len: usize,
}
// SAFETY: integers and raw pointers only, size first, no implicit padding.
unsafe impl Struct for tidegate_check_options {}

/// How a checker works; 0 is the default everywhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_checker_options {
    /// sizeof(tidegate_checker_options)
    pub struct_size: usize,
    /// Checks under way at once, at most 16384; default 256. Each takes a descriptor.
    pub max_open: u32,
    /// Reserved, 0.
    pub reserved: u32,
    /// Seed of its jitter; default from the process.
    pub seed: u64,
}
// SAFETY: as above, integers only.
unsafe impl Struct for tidegate_checker_options {}

/// What a checker did since it was made.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_checker_info {
    /// sizeof(tidegate_checker_info)
    pub struct_size: usize,
    /// 0: another checks, or nobody. Otherwise the number of its tenure, counted over all checkers of the table.
    pub tenure: u64,
    /// Checks begun; one that began anew on another connection counts twice.
    pub begun: u64,
    /// Those that passed.
    pub passed: u64,
    /// Those that failed by the peer's fault.
    pub failed: u64,
    /// Those that failed while this process was late: they say nothing.
    pub voided: u64,
    /// Those that this machine could not make (descriptors, ports, memory): they say nothing.
    pub local: u64,
    /// Those that good traffic put off.
    pub put_off: u64,
    /// Those that failures in traffic brought forward.
    pub hurried: u64,
    /// Those under way.
    pub open: u64,
}
// SAFETY: as above.
unsafe impl Struct for tidegate_checker_info {}

/// Sets `*options` to its defaults: zeros and `size`.
///
/// Thread rule: any-thread.
///
/// # Safety
/// `options` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_check_options_init(
    options: *mut tidegate_check_options,
    size: usize,
) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(options, size) }
}

/// Sets `*options` to its defaults: zeros and `size`.
///
/// Thread rule: any-thread.
///
/// # Safety
/// `options` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_checker_options_init(
    options: *mut tidegate_checker_options,
    size: usize,
) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(options, size) }
}

/// Sets `*info` to zeros and `size`.
///
/// Thread rule: any-thread.
///
/// # Safety
/// `info` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_checker_info_init(info: *mut tidegate_checker_info, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(info, size) }
}

/// Makes a checker. It opens nothing and starts nothing, so this may stand before fork(), and each process use its copy:
/// all that follows belongs to the process that calls it. `options` may be NULL: the defaults.
///
/// The order: tidegate_checker_set_check for each upstream; then either tidegate_checker_start, or tidegate_checker_run
/// whenever tidegate_checker_fd is readable and at tidegate_checker_next_ns. Peers come from the table, as they are
/// declared. A peer that fails `fall` checks is *down*: not eligible, whatever traffic says, until `rise` checks pass.
///
/// Thread rule: any-thread; the handle is then set-up only. Errors: NULL, INVALID, STRUCT_SIZE, READ_ONLY.
///
/// # Safety
/// `table` is a live handle; `options` is NULL or valid; `checker` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_checker_new(
    table: *const tidegate_table,
    options: *const tidegate_checker_options,
    checker: *mut *mut tidegate_checker,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_arc(table) }?;
        let (mut most_open, mut seed) = (0, 0);
        if !options.is_null() {
            // SAFETY: not NULL, and the caller vouches for it.
            let o = unsafe { read_struct(options) }?;
            (most_open, seed) = (o.max_open as usize, o.seed);
        }
        if checker.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        let made = Box::new(Checker::new(table, most_open, seed)?);
        // SAFETY: not NULL, and the caller vouches for it.
        unsafe { checker.write(Box::into_raw(made).cast()) };
        Ok(())
    })
}

/// Checks the peers of an upstream with these options, or no more where `options` is NULL. Peers that are down then
/// stay so until tidegate_upstream_forget_checks. The strings are copied.
///
/// Thread rule: set-up only. Errors: NULL, INVALID (what is wrong, also TLS where the library has none), STRUCT_SIZE,
/// NOT_FOUND, STATE (it was started or run).
///
/// # Safety
/// `checker` is a live handle; `options` is NULL or valid, and so are its strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_checker_set_check(
    checker: *mut tidegate_checker,
    upstream: u32,
    options: *const tidegate_check_options,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let checker = unsafe { checker_mut(checker) }?;
        let id = UpstreamId::new(upstream).ok_or_else(|| Error::invalid("upstream: no such id"))?;
        if options.is_null() {
            return checker.set(id, None);
        }
        // SAFETY: not NULL, and the caller vouches for it.
        let o = unsafe { read_struct(options) }?;
        // SAFETY: the caller vouches for the strings.
        let check = unsafe { check(&o) }?;
        checker.set(id, Some(&check))
    })
}

/// The descriptor to wait for, an epoll's: readable when there is something to do. It stays the same until
/// tidegate_checker_stop or _free, which close it. -1 where it cannot be had, tidegate_last_error says why.
///
/// Thread rule: worker-owned by the thread that drives it.
///
/// # Safety
/// `checker` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_checker_fd(checker: *mut tidegate_checker) -> c_int {
    let mut fd = -1;
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        fd = unsafe { checker_mut(checker) }?.descriptor()?;
        Ok(())
    });
    fd
}

/// When to call tidegate_checker_run next, at the latest; a call that comes much later voids what failed meanwhile.
///
/// Thread rule: worker-owned. Errors: NULL, STATE (it has a thread), FORKED, SYSTEM.
///
/// # Safety
/// `checker` is a live handle; `next_ns` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_checker_next_ns(
    checker: *mut tidegate_checker,
    next_ns: *mut u64,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let next = unsafe { checker_mut(checker) }?.next_ns()?;
        if next_ns.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        // SAFETY: not NULL, and the caller vouches for it.
        unsafe { next_ns.write(next) };
        Ok(())
    })
}

/// Does what is to be done, and never waits: takes answers, ends what is late, begins at most 128 checks.
///
/// Thread rule: worker-owned. Errors: NULL, STATE (it has a thread), FORKED, SYSTEM. Cost: some 10 µs a check begun;
/// ten times a second a look at every peer's state word.
///
/// # Safety
/// `checker` is a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_checker_run(checker: *mut tidegate_checker, now_ns: u64) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        unsafe { checker_mut(checker) }?.run(now_ns)
    })
}

/// Starts a thread that does it all, on CLOCK_MONOTONIC. The thread blocks every signal and raises none. Call it in the
/// process that is to check, never before fork().
///
/// Thread rule: set-up only. Errors: NULL, STATE (it runs), SYSTEM.
///
/// # Safety
/// `checker` is a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_checker_start(checker: *mut tidegate_checker) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        unsafe { checker_mut(checker) }?.start()
    })
}

/// Ends its checks and joins its thread, if it has one; another checker may take over at once. It may be started anew.
/// In a process forked from the one that started it, it only lets go. NULL is a no-op.
///
/// Thread rule: set-up only. Cost: waits for the turn that the thread is in, some milliseconds.
///
/// # Safety
/// `checker` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_checker_stop(checker: *mut tidegate_checker) {
    guard(|| {
        if !checker.is_null() {
            // SAFETY: the caller vouches for the handle.
            unsafe { checker_mut(checker) }?.stop();
        }
        Ok(())
    });
}

/// Stops it and frees the handle. NULL is a no-op.
///
/// Thread rule: set-up only.
///
/// # Safety
/// `checker` is NULL or a live handle that is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_checker_free(checker: *mut tidegate_checker) {
    guard(|| {
        if !checker.is_null() {
            // SAFETY: it came from tidegate_checker_new, and the caller uses it no more.
            drop(unsafe { Box::from_raw(checker.cast::<Checker>()) });
        }
        Ok(())
    });
}

/// What it did so far.
///
/// Thread rule: any-thread, while nobody sets it up or frees it. Errors: NULL, STRUCT_SIZE.
///
/// # Safety
/// `checker` is a live handle; `info` is writable and its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_checker_describe(
    checker: *const tidegate_checker,
    info: *mut tidegate_checker_info,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let checker = unsafe { checker.cast::<Checker>().as_ref() }.ok_or_else(|| Error::of(TIDEGATE_ERR_NULL))?;
        let c = checker.counts();
        let out = tidegate_checker_info {
            struct_size: 0,
            tenure: c.elected,
            begun: c.begun,
            passed: c.passed,
            failed: c.failed,
            voided: c.void,
            local: c.local,
            put_off: c.put_off,
            hurried: c.hurried,
            open: c.open,
        };
        // SAFETY: the caller vouches for `info`.
        unsafe { write_struct(info, &out) }
    })
}

/// # Safety
/// `checker` is NULL or a live handle that nothing else uses meanwhile.
unsafe fn checker_mut<'a>(checker: *mut tidegate_checker) -> Result<&'a mut Checker, Error> {
    // SAFETY: the caller's promise is the same.
    unsafe { checker.cast::<Checker>().as_mut() }.ok_or_else(|| Error::of(TIDEGATE_ERR_NULL))
}

/// # Safety
/// The strings of `o` are what their lengths say, and stay for `'a`.
unsafe fn check<'a>(o: &tidegate_check_options) -> Result<CheckOptions<'a>, Error> {
    const FLAGS: u32 =
        TIDEGATE_CHECK_TLS | TIDEGATE_CHECK_KEEP_ALIVE | TIDEGATE_CHECK_PROXY_V2 | TIDEGATE_CHECK_IGNORE_TRAFFIC;
    if o.flags & !FLAGS != 0 {
        return Err(Error::invalid(format!("flags is {:#x}: not TIDEGATE_CHECK_* bits", o.flags)));
    }
    // SAFETY: the caller vouches for every string.
    unsafe {
        Ok(CheckOptions {
            kind: match o.check_type {
                0 | TIDEGATE_CHECK_TCP => Kind::Tcp,
                TIDEGATE_CHECK_HTTP => Kind::Http,
                other => return Err(Error::invalid(format!("type is {other}: TIDEGATE_CHECK_TCP or _HTTP"))),
            },
            tls: o.flags & TIDEGATE_CHECK_TLS != 0,
            keep_alive: o.flags & TIDEGATE_CHECK_KEEP_ALIVE != 0,
            proxy_v2: o.flags & TIDEGATE_CHECK_PROXY_V2 != 0,
            ignore_traffic: o.flags & TIDEGATE_CHECK_IGNORE_TRAFFIC != 0,
            interval_ns: o.interval_ns,
            fast_interval_ns: o.fast_interval_ns,
            timeout_ns: o.timeout_ns,
            rise: o.rise,
            fall: o.fall,
            port: u16::try_from(o.port).map_err(|_| Error::invalid(format!("port is {}: at most 65535", o.port)))?,
            source: bytes(o.source, o.source_len)?,
            method: bytes(o.method, o.method_len)?,
            path: bytes(o.path, o.path_len)?,
            host: bytes(o.host, o.host_len)?,
            headers: bytes(o.headers, o.headers_len)?,
            statuses: bytes(o.statuses, o.statuses_len)?,
            field: bytes(o.field, o.field_len)?,
            body: bytes(o.body, o.body_len)?,
            server_name: bytes(o.server_name, o.server_name_len)?,
        })
    }
}
