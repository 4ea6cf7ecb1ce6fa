//! Any bytes, written anywhere in a table at any time, between calls and during them, and every public call on it:
//! nothing crashes, hangs, or touches memory outside the region. A pick may go astray, a call may fail; no more.
//!
//! The region lies between two pages that must not be touched. What is written, where, and what is called is chosen by
//! the input's bytes, and by a generator that they seed once they are used up.

#![allow(unsafe_code)]

use std::ptr::null_mut;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tidegate::ffi::{
    request::*, responder::tidegate_answer, status::*, table::*, upstream::*, waiting::*, worker::*, *,
};

const PAGE: usize = 4096;
const SECOND: u64 = 1_000_000_000;
const PEERS: usize = 12;
/// Calls of one run, so that it ends.
const MOST_CALLS: usize = 120;

/// One run over these choices. In every fourth another thread writes into the region while calls go on; such a run
/// can't be repeated to the letter.
pub fn run(data: &[u8]) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            eprintln!("{panic}");
        }));
    });
    let mut choices = Choices::new(data);
    let mut memory = Guarded::new();
    let mut host = Host::new(&mut memory, &mut choices);
    let concurrently = choices.below(4) == 0;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if concurrently {
            let mut own = Choices::seeded(choices.next());
            let (memory, stop) = (&memory, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    memory.damage(&mut own);
                }
            });
        }
        for _ in 0..choices.below(MOST_CALLS) {
            if choices.below(8) == 0 {
                memory.damage(&mut choices);
            }
            host.call(&mut choices);
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(host);
    memory.attach_anew(&mut choices);
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a panic");
}

/// Panics, those too that the guard of the ABI caught: a hostile byte must not get that far.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn check(status: tidegate_status) -> tidegate_status {
    assert!((-19..=0).contains(&status), "{status}");
    status
}

/// Numbers: from the input as long as it lasts, then wyrand.
struct Choices<'a> {
    bytes: &'a [u8],
    state: u64,
}

impl<'a> Choices<'a> {
    fn new(bytes: &'a [u8]) -> Choices<'a> {
        let state = bytes.iter().fold(1, |hash: u64, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Choices { bytes, state }
    }

    fn seeded(state: u64) -> Choices<'static> {
        Choices { bytes: &[], state }
    }

    fn next(&mut self) -> u64 {
        if let Some((word, rest)) = self.bytes.split_first_chunk() {
            self.bytes = rest;
            return u64::from_le_bytes(*word);
        }
        self.state = self.state.wrapping_add(0xa076_1d64_78bd_642f);
        let product = u128::from(self.state) * u128::from(self.state ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    }

    fn below(&mut self, n: usize) -> usize {
        if n <= 256
            && let Some((&byte, rest)) = self.bytes.split_first()
        {
            self.bytes = rest;
            return usize::from(byte) * n / 256;
        }
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// A number that code gets wrong more often than others.
    fn word(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => self.next() & 0xffff,
            3 => self.next() & 0xffff_ffff,
            4 => self.next() << 32,
            5 => u64::MAX << self.below(64),
            6 => u64::MAX >> self.below(64),
            _ => self.next(),
        }
    }
}

/// The region, with a page on either side that faults on any access, and bytes behind its end that must stay.
struct Guarded {
    mapping: *mut u8,
    mapped: usize,
    region: *mut u8,
    size: usize,
}

const SLACK: u8 = 0xa5;

impl Guarded {
    fn new() -> Guarded {
        let mut size = 0;
        // SAFETY: pointers to locals; a fresh mapping, whose first and last page become inaccessible.
        unsafe {
            assert_eq!(tidegate_table_size(&capacities(), &mut size), 0);
            let inner = size.next_multiple_of(PAGE);
            let mapped = inner + 2 * PAGE;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let mapping =
                libc::mmap(null_mut(), mapped, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0).cast::<u8>();
            assert_ne!(mapping.cast(), libc::MAP_FAILED);
            assert_eq!(libc::mprotect(mapping.cast(), PAGE, libc::PROT_NONE), 0);
            assert_eq!(libc::mprotect(mapping.add(PAGE + inner).cast(), PAGE, libc::PROT_NONE), 0);
            // The region ends where the last page begins, as nearly as its alignment allows.
            let region = mapping.add(PAGE + (inner - size) / 64 * 64);
            std::ptr::write_bytes(mapping.add(PAGE), SLACK, inner);
            Guarded { mapping, mapped, region, size }
        }
    }

    /// Overwrites some of the region.
    fn damage(&self, random: &mut Choices<'_>) {
        let words = self.size / 8;
        for _ in 0..1 << random.below(7) {
            // The header and the upstreams are small and steer most: half of all go there.
            let near = random.below(2) == 0;
            let at = random.below(if near { 1400.min(words) } else { words });
            let span = if random.below(16) == 0 { random.below(512) } else { 1 };
            let value = random.word();
            for word in at..(at + span).min(words) {
                let value = if span == 1 { value } else { random.word() };
                // SAFETY: within the region, aligned, and touched by atomics alone while the table is in use.
                let word = unsafe { AtomicU64::from_ptr(self.region.cast::<u64>().add(word)) };
                word.store(value, Ordering::Relaxed);
            }
        }
    }

    /// Attaches to the damaged region: a table, or an error.
    fn attach_anew(&self, random: &mut Choices<'_>) {
        let mut table = null_mut();
        // SAFETY: the region is mapped; the handle is freed here.
        unsafe {
            let status = check(tidegate_table_attach_at(self.region.cast(), self.size, &mut table));
            if status == 0 {
                let mut text = vec![0; 1 << 16];
                let (mut needed, now) = (0, random.word());
                check(tidegate_table_write_status(table, 1, now, text.as_mut_ptr(), text.len(), &mut needed));
                tidegate_table_free(table);
            }
            let slack = self.region.addr() - self.mapping.addr() - PAGE;
            let before = std::slice::from_raw_parts(self.mapping.add(PAGE), slack);
            assert!(before.iter().all(|&b| b == SLACK), "written before the region");
            let behind = self.mapped - 2 * PAGE - slack - self.size;
            let after = std::slice::from_raw_parts(self.region.add(self.size), behind);
            assert!(after.iter().all(|&b| b == SLACK), "written behind the region");
        }
    }
}

// SAFETY: the pointers are only read, and what they point to is atomics.
unsafe impl Sync for Guarded {}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: our mapping.
        unsafe { libc::munmap(self.mapping.cast(), self.mapped) };
    }
}

fn capacities() -> tidegate_table_options {
    tidegate_table_options { max_upstreams: 4, max_peers: 32, max_workers: 4, events: 16, ..init() }
}

/// Two upstreams, two workers and some requests on them.
struct Host {
    table: *mut tidegate_table,
    workers: [*mut tidegate_worker; 2],
    requests: [tidegate_request; 6],
    now: u64,
    cursor: u64,
}

impl Host {
    fn new(memory: &mut Guarded, random: &mut Choices<'_>) -> Host {
        let now = 1000 * SECOND;
        let mut host = Host {
            table: null_mut(),
            workers: [null_mut(); 2],
            requests: [tidegate_request { opaque: [0; 64] }; 6],
            now,
            cursor: 0,
        };
        // SAFETY: the region is ours alone; everything else points to locals.
        unsafe {
            let made = tidegate_table_new_at(memory.region.cast(), memory.size, &capacities(), now, &mut host.table);
            assert_eq!(made, 0);
            for name in [c"one", c"two"] {
                let (mut id, options) = (0, policy(random));
                assert_eq!(tidegate_upstream_open(host.table, name.as_ptr(), 3, &options, &mut id), 0);
                assert_eq!(host.set_peers(id, random), 0);
            }
            for worker in &mut host.workers {
                assert_eq!(tidegate_worker_join(host.table, std::ptr::null(), now, worker), 0);
            }
        }
        host
    }

    fn set_peers(&self, upstream: u32, random: &mut Choices<'_>) -> tidegate_status {
        let addresses: Vec<[u8; 16]> = (0..random.below(PEERS)).map(|i| address(upstream, i as u8)).collect();
        let list: Vec<tidegate_peer> = addresses
            .iter()
            .map(|a| tidegate_peer {
                struct_size: size_of::<tidegate_peer>(),
                address: a.as_ptr().cast(),
                address_len: 16,
                name: std::ptr::null(),
                name_len: 0,
                weight: random.below(5) as u32,
                priority: random.below(2) as u32,
                max_in_flight: random.below(3) as u32,
                admin: u32::from(random.below(10) == 0),
                zone: random.below(3) as u32,
                ..init()
            })
            .collect();
        let mut handles = [0; PEERS];
        // SAFETY: a live handle, and locals.
        unsafe {
            check(tidegate_upstream_set_peers(
                self.table,
                upstream,
                list.as_ptr(),
                list.len(),
                self.now,
                handles.as_mut_ptr(),
            ))
        }
    }

    /// One call at random.
    fn call(&mut self, random: &mut Choices<'_>) {
        self.now += random.next() >> 36;
        let (table, now) = (self.table, self.now);
        let worker = self.workers[random.below(2)];
        let place = random.below(6);
        let upstream = random.below(3) as u32;
        let peer = if random.below(4) == 0 { random.word() } else { 1 << 32 | random.below(33) as u64 };
        let (mut text, mut needed) = ([0; 1024], 0);
        let request: *mut tidegate_request = &mut self.requests[place];
        // SAFETY: live handles, locals, and requests whose worker lives; started or zeroed.
        unsafe {
            match random.below(28) {
                0..6 => {
                    tidegate_request_end(request, now);
                    let key = random.next();
                    let options = tidegate_request_options {
                        struct_size: size_of::<tidegate_request_options>(),
                        upstream,
                        method: random.below(11) as u32,
                        flags: random.below(8) as u32,
                        max_attempts: random.below(5) as u32,
                        key: (&raw const key).cast(),
                        key_len: random.below(9),
                        ..init()
                    };
                    check(tidegate_request_start(worker, request, &options, now));
                }
                6..13 => {
                    let mut pick = init::<tidegate_pick>();
                    if check(tidegate_request_pick(request, now, &mut pick)) == 0 {
                        assert!(pick.slot < 32, "{}", pick.slot);
                    }
                }
                13..18 => {
                    let mut decision = init::<tidegate_decision>();
                    let outcome = outcome(random);
                    let (mut times, mut again, mut left) = (init::<tidegate_times>(), 0, 0);
                    check(match random.below(8) {
                        0 | 1 => tidegate_request_head(request, &outcome, now, &mut decision),
                        2 => tidegate_request_expire(request, &outcome, now, &mut decision),
                        3 => tidegate_request_times(request, now, &mut times),
                        4 => tidegate_request_queued(request, now, &mut again, &mut left),
                        _ => tidegate_request_report(request, &outcome, now, &mut decision),
                    });
                }
                18 => {
                    let mut answer = init::<tidegate_answer>();
                    check(tidegate_request_answer(request, now, &mut answer));
                }
                19 => {
                    check(tidegate_request_describe(request, text.as_mut_ptr(), text.len(), &mut needed));
                    assert!(needed <= 1024);
                }
                20 => drop(check(tidegate_worker_tick(worker, now))),
                // Seldom: it waits milliseconds for the kernel before it gives a slot to another peer.
                21 if random.below(24) == 0 => drop(self.set_peers(upstream, random)),
                22 => {
                    let (mut id, options) = (0, policy(random));
                    check(tidegate_upstream_open(table, c"one".as_ptr(), 3, &options, &mut id));
                    check(tidegate_upstream_find(table, c"two".as_ptr(), 3, &mut id));
                    check(tidegate_upstream_name(table, upstream, text.as_mut_ptr(), text.len(), &mut needed));
                }
                23 => {
                    let (mut handle, mut count) = (0, 0);
                    check(tidegate_upstream_peer_at(table, upstream, random.below(PEERS) as u32, &mut handle));
                    check(tidegate_upstream_count(table, upstream, random.below(38) as u32, &mut count));
                }
                24 => {
                    let mut info = init::<tidegate_peer_info>();
                    check(tidegate_peer_describe(table, peer, now, &mut info));
                    check(tidegate_peer_address(table, peer, text.as_mut_ptr().cast(), text.len(), &mut needed));
                    assert!(needed <= 112);
                    check(tidegate_peer_name(table, peer, text.as_mut_ptr(), text.len(), &mut needed));
                    assert!(needed <= 128, "{needed}");
                    check(tidegate_peer_set_admin(table, peer, random.below(4) as u32, now));
                }
                25 => {
                    let mut event = init::<tidegate_event>();
                    for _ in 0..20 {
                        if check(tidegate_table_next_event(table, &mut self.cursor, &mut event)) != 0 {
                            break;
                        }
                    }
                }
                26 => {
                    let mut text = vec![0; 1 << 18];
                    let (cap, format) = (text.len(), 1 + random.below(2) as u32);
                    check(tidegate_table_write_status(table, format, now, text.as_mut_ptr(), cap, &mut needed));
                }
                _ => {
                    let mut joined = null_mut();
                    if check(tidegate_worker_join(table, std::ptr::null(), now, &mut joined)) == 0 {
                        tidegate_worker_leave(joined);
                    }
                }
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: made in `new`; the requests are used no more.
        unsafe {
            self.workers.iter().for_each(|&worker| tidegate_worker_leave(worker));
            tidegate_table_free(self.table);
        }
    }
}

/// A struct of the ABI with its size set.
fn init<T: Copy>() -> T {
    // SAFETY: the structs of the ABI are integers and pointers, the size first.
    unsafe {
        let mut value = std::mem::zeroed::<T>();
        (&raw mut value).cast::<usize>().write(size_of::<T>());
        value
    }
}

fn address(upstream: u32, last: u8) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[2..8].copy_from_slice(&[0, 80, 10, 0, upstream as u8, last]);
    bytes
}

fn policy(random: &mut Choices<'_>) -> tidegate_upstream_options {
    tidegate_upstream_options {
        selector: random.below(7) as u32,
        overflow_percent: 140 * random.below(2) as u32,
        load_bound_percent: 125 * (random.below(4) / 3) as u32,
        zone: random.below(3) as u32,
        panic: random.below(3) as u32,
        panic_percent: random.below(101) as u32,
        max_attempts: random.below(5) as u32,
        eject_failures: random.below(4) as u32,
        timeout_floor_ns: random.below(3) as u64,
        max_in_flight: 4 * (random.below(4) / 3) as u32,
        max_queue: 2 * (random.below(4) / 3) as u32,
        concurrency: random.below(3) as u32,
        ..init()
    }
}

fn outcome(random: &mut Choices<'_>) -> tidegate_outcome {
    tidegate_outcome {
        cause: if random.below(2) == 0 { 0 } else { random.below(38) as u32 },
        phase: random.below(7) as u32,
        flags: random.below(16) as u32,
        status: [200, 503, 421, 404, random.below(1000)][random.below(5)] as u32,
        total_ns: random.word(),
        connect_ns: random.word(),
        retry_after_s: random.below(4) as u32,
        ..init()
    }
}
