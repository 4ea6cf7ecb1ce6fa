//! `tidegate_upstream_*` and `tidegate_peer_*`: membership, policy, and what is known of each peer.

use super::table::{table_ref, tidegate_table};
use super::{
    Error, Struct, TIDEGATE_ERR_END, TIDEGATE_ERR_NULL, bytes, guard, init_struct, read_struct, reserved,
    tidegate_status, write_bytes, write_struct,
};
use crate::health::PeerView;
use crate::table::{Address, Admin, PeerHandle, PeerSpec, Policy, Selector, UpstreamId};
use std::ffi::{c_char, c_void};

/// Weighted smooth round robin: the default here.
pub const TIDEGATE_SELECTOR_ROUND_ROBIN: u32 = 1;
/// Weighted power of two choices on requests in flight.
pub const TIDEGATE_SELECTOR_LEAST_REQUEST: u32 = 2;
/// Weighted random choice.
pub const TIDEGATE_SELECTOR_RANDOM: u32 = 3;
/// Least latency (an average that peaks at once) times (requests in flight + 1), divided by weight: exact up to 128
/// peers, best of four above.
pub const TIDEGATE_SELECTOR_PEAK_EWMA: u32 = 4;
/// Consistent hashing of `tidegate_request_options.key`.
pub const TIDEGATE_SELECTOR_MAGLEV: u32 = 5;
/// The same with a client's address as the key.
pub const TIDEGATE_SELECTOR_SOURCE_HASH: u32 = 6;

/// When fewer peers than `panic_percent` are eligible: spread over all that are enabled.
pub const TIDEGATE_PANIC_SPREAD: u32 = 1;
/// When no peer is eligible: refuse (503).
pub const TIDEGATE_PANIC_REFUSE: u32 = 2;

/// The peer takes requests.
pub const TIDEGATE_ADMIN_ENABLED: u32 = 0;
/// No new requests; those in flight go on.
pub const TIDEGATE_ADMIN_DRAINING: u32 = 1;
/// No requests, not even in panic.
pub const TIDEGATE_ADMIN_DISABLED: u32 = 2;

/// The peer takes its share.
pub const TIDEGATE_HEALTH_HEALTHY: u32 = 1;
/// Out, for failures in traffic.
pub const TIDEGATE_HEALTH_EJECTED: u32 = 2;
/// On trial after an ejection.
pub const TIDEGATE_HEALTH_HALF_OPEN: u32 = 3;

/// Statuses that count as failures, for `failure_statuses`: 500.
pub const TIDEGATE_STATUS_500: u32 = 1;
/// 502
pub const TIDEGATE_STATUS_502: u32 = 2;
/// 503
pub const TIDEGATE_STATUS_503: u32 = 4;
/// 504
pub const TIDEGATE_STATUS_504: u32 = 8;
/// 429
pub const TIDEGATE_STATUS_429: u32 = 16;
/// 403
pub const TIDEGATE_STATUS_403: u32 = 32;
/// 404
pub const TIDEGATE_STATUS_404: u32 = 64;
/// No status counts as a failure.
pub const TIDEGATE_STATUS_NOTHING: u32 = 0x80000000;

/// For `hold_bytes`: hold no response back.
pub const TIDEGATE_HOLD_OFF: u32 = 0xFFFFFFFF;

/// For `health`: failures in a row and refused connections eject nobody.
pub const TIDEGATE_HEALTH_NO_STREAK: u32 = 1;
/// A share of failures above the others' ejects nobody.
pub const TIDEGATE_HEALTH_NO_RATE: u32 = 2;
/// Requests that hang eject nobody.
pub const TIDEGATE_HEALTH_NO_PENDING: u32 = 4;
/// Nobody is ejected: TIDEGATE_EVENT_PEER_NOTED tells who would be.
pub const TIDEGATE_HEALTH_JUDGE_ONLY: u32 = 8;

/// How an upstream is used; 0 is the default everywhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_upstream_options {
    /// sizeof(tidegate_upstream_options)
    pub struct_size: usize,
    /// TIDEGATE_SELECTOR_*; default ROUND_ROBIN.
    pub selector: u32,
    /// TIDEGATE_PANIC_*; default REFUSE.
    pub panic: u32,
    /// SPREAD: panic while fewer than this percentage of the peers are eligible; default 50.
    pub panic_percent: u32,
    /// Most attempts of a request, the first one counted; default: every peer once, at most 16.
    pub max_attempts: u32,
    /// Consecutive failures that eject a peer, at most 31; default 5. A refused or unroutable connection ejects at once.
    pub eject_failures: u32,
    /// TIDEGATE_STATUS_* bits that count as failures and may be retried; default 502, 503 and 504.
    pub failure_statuses: u32,
    /// First ejection in nanoseconds, half as long again with each one that follows, shortened at random by up to a
    /// quarter; not more than `eject_max_ns`; default 1 s.
    pub eject_base_ns: u64,
    /// Longest ejection; default 60 s.
    pub eject_max_ns: u64,
    /// Trials that must succeed before a peer that was ejected once takes its share again, at most 7; default 2. After n
    /// ejections n times as many, at most 7.
    pub half_open_successes: u32,
    /// Retry budget: retries per million requests; default 200,000 (20 %). 1: as good
    /// as none beyond `retry_budget_min_per_s`. 0xFFFFFFFF: no budget, retries are not bounded.
    pub retry_budget_ppm: u32,
    /// Retries a second that the budget allows in any case; default 10.
    pub retry_budget_min_per_s: u32,
    /// Reserved, 0: anything else is INVALID.
    pub reserved: u32,
    /// Backoff before the second and later retries: first bound in nanoseconds, doubled each time, full jitter; not
    /// more than `backoff_max_ns`; default 25 ms, 1 for as good as none.
    pub backoff_base_ns: u64,
    /// Largest bound; default 250 ms.
    pub backoff_max_ns: u64,
    /// How long a request may take over all its attempts, before its last retry starts; default no limit.
    pub deadline_ns: u64,
    /// Longest time in nanoseconds, from its head on, that a response is held back until it is complete, so that one
    /// that breaks off can be had from another peer; default 50 ms.
    pub hold_ns: u64,
    /// Most bytes of a body, framing counted, that are held back, at most 16 MiB; default 65536. TIDEGATE_HOLD_OFF: none.
    pub hold_bytes: u32,
    /// Reserved, 0.
    pub reserved_hold: u32,
    /// How long a peer that is new, or well again, takes from a tenth of its share to all of it; default 10 s, 1 ns: at
    /// once. Not at an upstream's first declaration, nor where no other peer can take traffic.
    pub slow_start_ns: u64,
    /// PEAK_EWMA: an estimate of latency decays to 1/e in this time, 10 ms to 1 h; default 1 s.
    pub latency_decay_ns: u64,
    /// Backups take a part of the traffic as soon as the primaries' eligible weight, times this percentage (100 to
    /// 1000; Envoy's is 140), is below their whole weight. Default: only what no primary can take.
    pub overflow_percent: u32,
    /// No peer gets more than this percentage (100 to 1000) of its share, by weight, of the requests in flight, where
    /// another peer can be taken; default no bound.
    pub load_bound_percent: u32,
    /// The zone that this gateway is in, 1 to 255: peers of the same zone are preferred as far as their capacity goes
    /// for this zone's part of the traffic (all zones bring the same). Default none.
    pub zone: u32,
    /// Reserved, 0.
    pub reserved_2: u32,
    /// TIDEGATE_HEALTH_NO_* and TIDEGATE_HEALTH_JUDGE_ONLY; default: every detector, and what they find is ejected.
    pub health: u32,
    /// A peer whose share of failures is at least this many percent above that of the others, and twice it, beyond
    /// doubt, is ejected; at most 100; default 3.
    pub eject_rate_percent: u32,
    /// A peer that leaves three requests unanswered for twice the time that nearly all answers take, but at the least
    /// for this long, while others answer, is ejected until it answers; in nanoseconds; default 50 ms.
    pub eject_pending_ns: u64,
}
// SAFETY: integers only, size first, no implicit padding.
unsafe impl Struct for tidegate_upstream_options {}

/// One peer, as declared. Its identity is (upstream, address, name): what is known of it is kept while that stays.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_peer {
    /// sizeof(tidegate_peer); in an array, also the distance from one element to the next.
    pub struct_size: usize,
    /// The address: a struct sockaddr of any family. Of AF_INET and AF_INET6 the address, port and scope
    /// count, of AF_UNIX the path.
    pub address: *const c_void,
    /// Its length in bytes, at most 112.
    pub address_len: usize,
    /// A name, part of the identity; may be unset. At most 63 bytes, printable ASCII.
    pub name: *const c_char,
    /// Its length in bytes.
    pub name_len: usize,
    /// Share of the traffic, 1 to 65535; default 1.
    pub weight: u32,
    /// 0: primary. 1: backup, used while no primary can be taken, or see `overflow_percent`.
    pub priority: u32,
    /// Most requests in flight over all workers; default no limit.
    pub max_in_flight: u32,
    /// TIDEGATE_ADMIN_*
    pub admin: u32,
    /// The zone it is in, 1 to 255; default none.
    pub zone: u32,
    /// Reserved, 0.
    pub reserved: u32,
}
// SAFETY: integers and raw pointers only, size first, no implicit padding.
unsafe impl Struct for tidegate_peer {}

/// What is known of a peer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tidegate_peer_info {
    /// sizeof(tidegate_peer_info)
    pub struct_size: usize,
    /// The handle.
    pub peer: u64,
    /// The upstream's id.
    pub upstream: u32,
    /// TIDEGATE_HEALTH_*
    pub health: u32,
    /// TIDEGATE_ADMIN_*
    pub admin: u32,
    /// Weight as declared.
    pub weight: u32,
    /// 0: primary, 1: backup.
    pub priority: u32,
    /// Its limit, 0: none.
    pub max_in_flight: u32,
    /// Requests in flight: the exact sum over all workers.
    pub in_flight: u32,
    /// Consecutive failures.
    pub streak: u32,
    /// Ejections since it was last long healthy.
    pub ejections: u32,
    /// Reserved, 0.
    pub reserved: u32,
    /// Attempts since it was added.
    pub picks: u64,
    /// Attempts that failed and were charged to it.
    pub failures: u64,
    /// EJECTED: nanoseconds until its first trial, 0 if one is due.
    pub ejected_for_ns: u64,
    /// PEAK_EWMA: the estimate of its latency; 0: never measured.
    pub latency_ns: u64,
    /// 1: active checks keep it out, whatever `health` says.
    pub down: u32,
    /// Reserved, 0.
    pub reserved_down: u32,
}
// SAFETY: as above.
unsafe impl Struct for tidegate_peer_info {}

/// Sets `*options` to its defaults: zeros and `size`.
///
/// Thread rule: any-thread.
///
/// # Safety
/// `options` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_upstream_options_init(
    options: *mut tidegate_upstream_options,
    size: usize,
) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(options, size) }
}

/// Sets `*peer` to its defaults: zeros and `size`.
///
/// Thread rule: any-thread.
///
/// # Safety
/// `peer` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_peer_init(peer: *mut tidegate_peer, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(peer, size) }
}

/// Sets `*info` to zeros and `size`.
///
/// Thread rule: any-thread.
///
/// # Safety
/// `info` points to `size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_peer_info_init(info: *mut tidegate_peer_info, size: usize) -> tidegate_status {
    // SAFETY: the caller's promise is the same.
    unsafe { init_struct(info, size) }
}

/// Finds the upstream of this name (1 to 63 bytes of printable ASCII), or makes it, and sets how it is used. State
/// and peers stay. `options` may be NULL: the defaults.
///
/// Thread rule: any-thread, but it may wait for another process or thread that changes the same table, 2 s
/// at most.
/// Errors: NULL, INVALID, STRUCT_SIZE, FULL, BUSY.
///
/// # Safety
/// `table` is a live handle; `name` points to `name_len` bytes; `options` is NULL or valid; `upstream` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_upstream_open(
    table: *const tidegate_table,
    name: *const c_char,
    name_len: usize,
    options: *const tidegate_upstream_options,
    upstream: *mut u32,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for handle, name and options.
        let (table, name, policy) = unsafe { (table_ref(table)?, bytes(name, name_len)?, policy(options)?) };
        if upstream.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        let id = table.open_upstream(name, &policy)?;
        // SAFETY: not NULL, and the caller vouches for it.
        unsafe { upstream.write(id.number()) };
        Ok(())
    })
}

/// Finds the upstream of this name.
///
/// Thread rule: any-thread. Errors: NULL, NOT_FOUND.
///
/// # Safety
/// As `tidegate_upstream_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_upstream_find(
    table: *const tidegate_table,
    name: *const c_char,
    name_len: usize,
    upstream: *mut u32,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for handle and name.
        let (table, name) = unsafe { (table_ref(table)?, bytes(name, name_len)?) };
        if upstream.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        let id = table.find_upstream(name)?;
        // SAFETY: not NULL, and the caller vouches for it.
        unsafe { upstream.write(id.number()) };
        Ok(())
    })
}

/// Copies an upstream's name. Ids run from 0; TIDEGATE_ERR_END is answered behind the last one, so this also
/// iterates.
///
/// Thread rule: any-thread. Errors: NULL, BUFFER, END.
///
/// # Safety
/// `table` is a live handle; `buf` points to `cap` writable bytes; `needed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_upstream_name(
    table: *const tidegate_table,
    upstream: u32,
    buf: *mut c_char,
    cap: usize,
    needed: *mut usize,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        let Some(name) = UpstreamId::new(upstream).and_then(|id| table.upstream_name(id)) else {
            return Err(Error::of(TIDEGATE_ERR_END));
        };
        // SAFETY: the caller vouches for the buffer.
        unsafe { write_bytes(&name, buf, cap, needed) }
    })
}

/// Declares the whole list of an upstream's peers: new ones are added, those not in it are removed, the others keep
/// their health, counters and requests in flight whatever changed in weight, priority or limit. The newest
/// declaration wins. Requests in flight on removed peers go on; their outcomes are counted and change no health.
/// `handles`, if not NULL, gets the `count` handles in the order of the list. On an error
/// nothing of it takes effect. A process that is killed in this call leaves the old list or the new one, the latter
/// perhaps with limits and administrative states of before: the next declaration completes it.
///
/// Thread rule: any-thread, but it may wait for another process or thread that changes the same table, 2 s
/// at most.
/// Errors: NULL, INVALID (the element and what is wrong with it), STRUCT_SIZE, NOT_FOUND, FULL, BUSY.
/// Cost: linear in the peers; never on the request path.
///
/// # Safety
/// `table` is a live handle; `peers` points to `count` elements, `peers[0].struct_size` bytes apart; `handles` is
/// NULL or holds `count` elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_upstream_set_peers(
    table: *const tidegate_table,
    upstream: u32,
    peers: *const tidegate_peer,
    count: usize,
    now_ns: u64,
    handles: *mut u64,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        let id = UpstreamId::new(upstream).ok_or_else(|| Error::invalid("upstream: no such id"))?;
        if count > 65536 {
            return Err(Error::invalid(format!("count is {count}: at most 65536 peers")));
        }
        let mut specs = Vec::new();
        specs.try_reserve(count).map_err(|_| Error::of(super::TIDEGATE_ERR_MEMORY))?;
        let mut at = peers.cast::<u8>();
        let mut stride = 0;
        for i in 0..count {
            // SAFETY: `at` is the i-th of `count` elements, by the caller's word, and NULL only where `peers` is.
            let size = if at.is_null() { 0 } else { unsafe { at.cast::<usize>().read_unaligned() } };
            if i == 0 {
                stride = size;
            } else if size != stride {
                // Not read by its own word: a struct_size that was left unset could say anything.
                return Err(Error::new(
                    super::TIDEGATE_ERR_STRUCT_SIZE,
                    format!("peers[{i}]: struct_size is {size}, that of peers[0] is {stride}"),
                ));
            }
            // SAFETY: as above.
            let peer = unsafe { read_struct(at.cast::<tidegate_peer>()) }?;
            // SAFETY: the caller vouches for the strings of each element.
            let spec = unsafe { spec(&peer) }.map_err(|e| Error::new(e.status, format!("peers[{i}]: {e}")))?;
            specs.push(spec);
            if i + 1 < count {
                // SAFETY: another element follows.
                at = unsafe { at.add(stride) };
            }
        }
        let given = table.set_peers(id, &specs, now_ns)?;
        if !handles.is_null() {
            for (i, handle) in given.iter().enumerate() {
                // SAFETY: `handles` holds `count` elements.
                unsafe { handles.add(i).write(handle.number()) };
            }
        }
        Ok(())
    })
}

/// The handle of an upstream's `index`-th peer, in the order of the published list; TIDEGATE_ERR_END behind the last.
///
/// Thread rule: any-thread. Errors: NULL, NOT_FOUND, END.
///
/// # Safety
/// `table` is a live handle; `peer` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_upstream_peer_at(
    table: *const tidegate_table,
    upstream: u32,
    index: u32,
    peer: *mut u64,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        let id = UpstreamId::new(upstream).ok_or_else(|| Error::of(super::TIDEGATE_ERR_NOT_FOUND))?;
        let handle = table.peer_at(id, index)?.ok_or_else(|| Error::of(TIDEGATE_ERR_END))?;
        if peer.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        // SAFETY: not NULL, and the caller vouches for it.
        unsafe { peer.write(handle.number()) };
        Ok(())
    })
}

/// Counts of one cause over an upstream: failed attempts, and answers that the gateway generated.
///
/// Thread rule: any-thread. Errors: NULL, INVALID, NOT_FOUND.
///
/// # Safety
/// `table` is a live handle; `count` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_upstream_count(
    table: *const tidegate_table,
    upstream: u32,
    cause: u32,
    count: *mut u64,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        let cause = crate::cause::Cause::from_number(cause).ok_or_else(|| Error::invalid("cause: no such number"))?;
        let id = UpstreamId::new(upstream).ok_or_else(|| Error::of(super::TIDEGATE_ERR_NOT_FOUND))?;
        if count.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        let n = table.upstream_cause_count(id, cause)?;
        // SAFETY: not NULL, and the caller vouches for it.
        unsafe { count.write(n) };
        Ok(())
    })
}

/// What is known of a peer now.
///
/// Thread rule: any-thread. Errors: NULL, STRUCT_SIZE, NOT_FOUND (removed since). Cost: linear in the workers.
///
/// # Safety
/// `table` is a live handle; `info` is writable and its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_peer_describe(
    table: *const tidegate_table,
    peer: u64,
    now_ns: u64,
    info: *mut tidegate_peer_info,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        let view = PeerView::of(table, PeerHandle::from_number(peer), now_ns)?;
        let out = tidegate_peer_info {
            struct_size: 0,
            peer,
            upstream: view.upstream,
            health: view.health.number(),
            admin: view.admin.number(),
            weight: view.weight,
            priority: view.priority,
            max_in_flight: view.max_in_flight,
            in_flight: view.in_flight,
            streak: view.streak,
            ejections: view.ejections,
            reserved: 0,
            picks: view.picks,
            failures: view.failures,
            ejected_for_ns: view.ejected_for_ns,
            latency_ns: view.latency_ns,
            down: u32::from(view.down),
            reserved_down: 0,
        };
        // SAFETY: the caller vouches for `info`.
        unsafe { write_struct(info, &out) }
    })
}

/// Copies a peer's address, as it was declared: a struct sockaddr of `*needed` bytes, at most 112.
///
/// Thread rule: any-thread. Errors: NULL, BUFFER, NOT_FOUND.
///
/// # Safety
/// `table` is a live handle; `buf` points to `cap` writable bytes; `needed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_peer_address(
    table: *const tidegate_table,
    peer: u64,
    buf: *mut c_void,
    cap: usize,
    needed: *mut usize,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        let address = table.peer_address(PeerHandle::from_number(peer))?;
        // SAFETY: the caller vouches for the buffer.
        unsafe { write_bytes(address.as_bytes(), buf.cast(), cap, needed) }
    })
}

/// Copies a peer's name as people write it: its declared name, or else its address ("127.0.0.1:8080",
/// "[::1]:8080", "unix:/run/app.sock"). ASCII, at most 128 bytes: a longer one is cut.
///
/// Thread rule: any-thread. Errors: NULL, BUFFER, NOT_FOUND.
///
/// # Safety
/// As `tidegate_peer_address`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_peer_name(
    table: *const tidegate_table,
    peer: u64,
    buf: *mut c_char,
    cap: usize,
    needed: *mut usize,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        let name = table.peer_display_name(PeerHandle::from_number(peer))?;
        // SAFETY: the caller vouches for the buffer.
        unsafe { write_bytes(name.as_bytes(), buf, cap, needed) }
    })
}

/// Drains, disables or enables a peer by hand: TIDEGATE_ADMIN_*. Requests in flight go on. The next declaration of
/// the membership sets it anew.
///
/// Thread rule: any-thread. Errors: NULL, INVALID, NOT_FOUND. Cost: one CAS; emits one event.
///
/// # Safety
/// `table` is a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_peer_set_admin(
    table: *const tidegate_table,
    peer: u64,
    admin: u32,
    now_ns: u64,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        let admin = Admin::from_number(admin).ok_or_else(|| Error::invalid(format!("admin is {admin}: 0, 1 or 2")))?;
        crate::health::set_admin(table, PeerHandle::from_number(peer), admin, now_ns)
    })
}

/// Says that a peer is down (1) or up (0), for a host that makes its own checks, or that ends those of a checker: what a
/// checker found outlives it. What live traffic found stays as it is.
///
/// Thread rule: any-thread. Errors: NULL, INVALID, NOT_FOUND, READ_ONLY. Cost: one CAS; emits one event if it changes.
///
/// # Safety
/// `table` is a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_peer_set_down(
    table: *const tidegate_table,
    peer: u64,
    down: u32,
    now_ns: u64,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        if down > 1 {
            return Err(Error::invalid(format!("down is {down}: 0 or 1")));
        }
        let cause = crate::cause::Cause::NONE;
        crate::health::set_down(table, PeerHandle::from_number(peer), down == 1, cause, 0, now_ns).map(|_| ())
    })
}

/// Brings every peer of an upstream up that is down: for one that is not checked any more.
///
/// Thread rule: any-thread. Errors: NULL, INVALID, READ_ONLY. Cost: one load a peer, and for each that is down what
/// tidegate_peer_set_down costs.
///
/// # Safety
/// `table` is a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_upstream_forget_checks(
    table: *const tidegate_table,
    upstream: u32,
    now_ns: u64,
) -> tidegate_status {
    guard(|| {
        // SAFETY: the caller vouches for the handle.
        let table = unsafe { table_ref(table) }?;
        let id = UpstreamId::new(upstream).ok_or_else(|| Error::invalid("upstream: no such id"))?;
        crate::health::forget(table, id, now_ns)
    })
}

/// # Safety
/// `options` is NULL or valid.
unsafe fn policy(options: *const tidegate_upstream_options) -> Result<Policy, Error> {
    if options.is_null() {
        return Ok(Policy::default());
    }
    // SAFETY: not NULL, and the caller vouches for it.
    let o = unsafe { read_struct(options) }?;
    reserved(o.reserved)?;
    let or = |value: u32, default: u32| if value == 0 { default } else { value };
    let or64 = |value: u64, default: u64| if value == 0 { default } else { value };
    let d = Policy::default();
    Policy {
        selector: match (o.selector, Selector::from_number(o.selector)) {
            (0, _) => d.selector,
            (_, Some(selector)) => selector,
            (other, None) => return Err(Error::invalid(format!("selector is {other}: not a TIDEGATE_SELECTOR_*"))),
        },
        panic_percent: match o.panic {
            0 | TIDEGATE_PANIC_REFUSE => 0,
            TIDEGATE_PANIC_SPREAD => or(o.panic_percent, 50),
            other => return Err(Error::invalid(format!("panic is {other}: not a TIDEGATE_PANIC_*"))),
        },
        max_attempts: or(o.max_attempts, d.max_attempts),
        eject_failures: or(o.eject_failures, d.eject_failures),
        failure_statuses: or(o.failure_statuses, d.failure_statuses),
        eject_base_ns: or64(o.eject_base_ns, d.eject_base_ns),
        eject_max_ns: or64(o.eject_max_ns, d.eject_max_ns),
        half_open_successes: or(o.half_open_successes, d.half_open_successes),
        retry_budget_ppm: or(o.retry_budget_ppm, d.retry_budget_ppm),
        retry_budget_min_per_s: or(o.retry_budget_min_per_s, d.retry_budget_min_per_s),
        backoff_base_ns: or64(o.backoff_base_ns, d.backoff_base_ns),
        backoff_max_ns: or64(o.backoff_max_ns, d.backoff_max_ns),
        deadline_ns: o.deadline_ns,
        hold_bytes: or(o.hold_bytes, d.hold_bytes),
        hold_ns: or64(o.hold_ns, d.hold_ns),
        latency_decay_ns: or64(o.latency_decay_ns, d.latency_decay_ns),
        slow_start_ns: if o.slow_start_ns == 1 { 0 } else { or64(o.slow_start_ns, d.slow_start_ns) },
        overflow_percent: o.overflow_percent,
        load_bound_percent: o.load_bound_percent,
        zone: zone(o.zone)?,
        health: o.health,
        eject_rate_percent: or(o.eject_rate_percent, d.eject_rate_percent),
        eject_pending_ns: or64(o.eject_pending_ns, d.eject_pending_ns),
    }
    .checked()
}

/// # Safety
/// The strings of `peer` are what their lengths say.
unsafe fn spec(peer: &tidegate_peer) -> Result<PeerSpec, Error> {
    // SAFETY: the caller vouches for them.
    let (address, name) = unsafe { (bytes(peer.address, peer.address_len)?, bytes(peer.name, peer.name_len)?) };
    let admin = Admin::from_number(peer.admin)
        .ok_or_else(|| Error::invalid(format!("admin is {}: not a TIDEGATE_ADMIN_*", peer.admin)))?;
    let weight = if peer.weight == 0 { 1 } else { peer.weight };
    let spec = PeerSpec::new(Address::new(address)?, name, weight, peer.priority, peer.max_in_flight, admin)?;
    Ok(spec.in_zone(zone(peer.zone)?))
}

fn zone(number: u32) -> Result<u8, Error> {
    u8::try_from(number).map_err(|_| Error::invalid(format!("zone is {number}: 1 to 255, or 0 for none")))
}
