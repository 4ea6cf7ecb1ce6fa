//! The host's side of the C ABI: the same calls, in the same order, as a gateway in C makes.
//!
//! It owns the tables (one for all gateways, or one each), a worker for every gateway, and the memory of the requests,
//! which lies in blocks because an open request must not move. Whatever the core decides is asked of the core; no field
//! of its answers is made up here. Time is an argument. This is the only file of the simulator with `unsafe` in it.
//!
//! Cost: the core's own, and a copy of each answer. Reference: `include/tidegate.h`.

#![allow(unsafe_code)]

use crate::scenario::Policy;
use std::ffi::c_char;
use std::fmt;
use tidegate::ffi::request::*;
use tidegate::ffi::responder::tidegate_answer;
use tidegate::ffi::status::tidegate_table_write_status;
use tidegate::ffi::table::*;
use tidegate::ffi::upstream::*;
use tidegate::ffi::worker::*;
use tidegate::ffi::{TIDEGATE_ERR_END, TIDEGATE_ERR_NO_PEER, TIDEGATE_OK, tidegate_last_error};

const UPSTREAM: &[u8] = b"simulated";
/// Requests in one block of memory.
const BLOCK: usize = 256;

/// A call that the core refused where it had no reason to: a fault of the scenario or of the core.
#[derive(Debug)]
pub struct Refused {
    call: &'static str,
    status: i32,
    text: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: status {}: {}", self.call, self.status, self.text)
    }
}

impl std::error::Error for Refused {}

/// How many tables and workers there are.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Gateways; each is one worker.
    pub gateways: usize,
    /// One table for all gateways, or one each.
    pub shared: bool,
    /// Peers that a table has room for.
    pub peers: usize,
    /// Where the workers' seeds come from.
    pub seed: u64,
}

/// A peer to declare: which one, and its weight.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// Its number in the pool.
    pub peer: u32,
    /// 1 to 65535.
    pub weight: u32,
    /// 0: none.
    pub max_in_flight: u32,
}

/// Tables, workers and requests.
pub struct Host {
    tables: Vec<Handle>,
    workers: Vec<*mut tidegate_worker>,
    /// Boxed blocks, so that a request stays where it is when more are made.
    blocks: Vec<Box<[tidegate_request]>>,
    options: tidegate_request_options,
    keys: u64,
}

struct Handle {
    raw: *mut tidegate_table,
    upstream: u32,
    cursor: u64,
}

/// An all-zero struct of the ABI with its size set, as the TIDEGATE_*_INIT macros make it.
macro_rules! zeroed {
    ($type:ty) => {{
        // SAFETY: every struct of the ABI is integers and raw pointers, valid when all zero.
        let mut value = unsafe { std::mem::zeroed::<$type>() };
        value.struct_size = size_of::<$type>();
        value
    }};
}

impl Host {
    /// Makes the tables, opens the upstream and joins the workers.
    pub fn new(shape: Shape, selector: u32, policy: &Policy, now: u64) -> Result<Host, Refused> {
        let count = if shape.shared { 1 } else { shape.gateways };
        let mut host = Host {
            tables: vec![],
            workers: vec![],
            blocks: vec![],
            options: zeroed!(tidegate_request_options),
            keys: 0,
        };
        for _ in 0..count {
            // Room for as many again: a peer that left keeps its slot while a request is open on it.
            let mut options = zeroed!(tidegate_table_options);
            (options.max_upstreams, options.max_peers) = (1, (shape.peers * 2).clamp(8, 65536) as u32);
            (options.max_workers, options.events) = ((shape.gateways / count) as u32, 65536.min(EVENTS));
            let mut raw = std::ptr::null_mut();
            // SAFETY: the options are valid, `raw` is writable.
            check("tidegate_table_new", unsafe { tidegate_table_new(&options, now, &mut raw) })?;
            // Owned from here on, so that a later refusal frees it.
            host.tables.push(Handle { raw, upstream: 0, cursor: 0 });
            host.open_upstream(host.tables.len() - 1, selector, policy)?;
        }
        for gateway in 0..shape.gateways {
            let mut options = zeroed!(tidegate_worker_options);
            options.seed = mix(shape.seed.wrapping_add(gateway as u64)).max(1);
            let (table, mut worker) = (host.tables[gateway % count].raw, std::ptr::null_mut());
            // SAFETY: the table is live, the options are valid, `worker` is writable.
            check("tidegate_worker_join", unsafe { tidegate_worker_join(table, &options, now, &mut worker) })?;
            host.workers.push(worker);
        }
        Ok(host)
    }

    /// Sets how the upstream of a table is used.
    fn open_upstream(&mut self, table: usize, selector: u32, policy: &Policy) -> Result<(), Refused> {
        let mut options = zeroed!(tidegate_upstream_options);
        policy.write(&mut options);
        options.selector = selector;
        let handle = &mut self.tables[table];
        let (name, len) = (UPSTREAM.as_ptr().cast::<c_char>(), UPSTREAM.len());
        // SAFETY: the table is live, the name as long as said, the options are valid, the id is writable.
        let status = unsafe { tidegate_upstream_open(handle.raw, name, len, &options, &mut handle.upstream) };
        check("tidegate_upstream_open", status)
    }

    /// How many tables there are.
    pub fn tables(&self) -> usize {
        self.tables.len()
    }

    /// The table of a gateway.
    pub fn table_of(&self, gateway: usize) -> usize {
        gateway % self.tables.len()
    }

    /// Declares the list of peers to one table. `handles` becomes one handle a peer, in the order of the list.
    pub fn set_peers(&self, table: usize, peers: &[Declared], now: u64, handles: &mut Vec<u64>) -> Result<(), Refused> {
        let addresses: Vec<[u8; 16]> = peers.iter().map(|p| address(p.peer)).collect();
        let list: Vec<tidegate_peer> = peers
            .iter()
            .zip(&addresses)
            .map(|(declared, address)| {
                let mut peer = zeroed!(tidegate_peer);
                (peer.address, peer.address_len) = (address.as_ptr().cast(), address.len());
                (peer.weight, peer.max_in_flight) = (declared.weight, declared.max_in_flight);
                peer
            })
            .collect();
        handles.clear();
        handles.resize(peers.len(), 0);
        let handle = &self.tables[table];
        // SAFETY: the table is live; list, addresses and handles are as long as said.
        check("tidegate_upstream_set_peers", unsafe {
            let to = handles.as_mut_ptr();
            tidegate_upstream_set_peers(handle.raw, handle.upstream, list.as_ptr(), list.len(), now, to)
        })
    }

    /// Lets a gateway's worker do what falls due.
    pub fn tick(&self, gateway: usize, now: u64) -> Result<(), Refused> {
        // SAFETY: the worker is live.
        check("tidegate_worker_tick", unsafe { tidegate_worker_tick(self.workers[gateway], now) })
    }

    /// Begins a request in this place, whose previous one has ended.
    pub fn start(
        &mut self,
        gateway: usize,
        request: u32,
        method: u32,
        deadline_ns: u64,
        now: u64,
    ) -> Result<(), Refused> {
        while request as usize >= self.blocks.len() * BLOCK {
            // SAFETY: integers, valid when all zero.
            self.blocks.push((0..BLOCK).map(|_| unsafe { std::mem::zeroed() }).collect());
        }
        self.options.upstream = self.tables[self.table_of(gateway)].upstream;
        (self.options.method, self.options.deadline_ns) = (method, deadline_ns);
        // Every request has a key of its own, for the selectors that go by one.
        self.keys = self.keys.wrapping_add(1);
        let key = mix(self.keys).to_ne_bytes();
        (self.options.key, self.options.key_len) = (key.as_ptr().cast(), key.len());
        let place = self.place(request);
        // SAFETY: the worker lives as long as the requests (see `drop`); place and options are valid.
        let status = unsafe { tidegate_request_start(self.workers[gateway], place, &self.options, now) };
        check("tidegate_request_start", status)
    }

    /// The peer for the next attempt; `None`: none may be tried.
    #[inline]
    pub fn pick(&mut self, request: u32, now: u64) -> Result<Option<tidegate_pick>, Refused> {
        let mut pick = zeroed!(tidegate_pick);
        // SAFETY: the request was started; `pick` is writable and its size set.
        match unsafe { tidegate_request_pick(self.place(request), now, &mut pick) } {
            TIDEGATE_OK => Ok(Some(pick)),
            TIDEGATE_ERR_NO_PEER => Ok(None),
            status => Err(refused("tidegate_request_pick", status)),
        }
    }

    /// What to do with a response whose head has come.
    #[inline]
    pub fn head(&mut self, request: u32, seen: &Seen, now: u64) -> Result<tidegate_decision, Refused> {
        let (outcome, mut decision) = (seen.outcome(), zeroed!(tidegate_decision));
        // SAFETY: the request was started, the outcome is valid, `decision` is writable and its size set.
        check("tidegate_request_head", unsafe {
            tidegate_request_head(self.place(request), &outcome, now, &mut decision)
        })?;
        Ok(decision)
    }

    /// What to do after an attempt that ended.
    #[inline]
    pub fn report(&mut self, request: u32, seen: &Seen, now: u64) -> Result<tidegate_decision, Refused> {
        let (outcome, mut decision) = (seen.outcome(), zeroed!(tidegate_decision));
        // SAFETY: as in `head`.
        check("tidegate_request_report", unsafe {
            tidegate_request_report(self.place(request), &outcome, now, &mut decision)
        })?;
        Ok(decision)
    }

    /// The cause that the client is told.
    pub fn answer(&mut self, request: u32, now: u64) -> Result<u32, Refused> {
        let mut answer = zeroed!(tidegate_answer);
        // SAFETY: the request was started, `answer` is valid and writable.
        check("tidegate_request_answer", unsafe { tidegate_request_answer(self.place(request), now, &mut answer) })?;
        Ok(answer.cause)
    }

    /// The client has gone.
    pub fn end(&mut self, request: u32, now: u64) {
        // SAFETY: the request was started.
        unsafe { tidegate_request_end(self.place(request), now) };
    }

    /// The next event of a table, in order, each once.
    pub fn next_event(&mut self, table: usize) -> Result<Option<tidegate_event>, Refused> {
        let (handle, mut event) = (&mut self.tables[table], zeroed!(tidegate_event));
        // SAFETY: the table is live, cursor and event are writable and the event's size is set.
        match unsafe { tidegate_table_next_event(handle.raw, &mut handle.cursor, &mut event) } {
            TIDEGATE_OK => Ok(Some(event)),
            TIDEGATE_ERR_END => Ok(None),
            status => Err(refused("tidegate_table_next_event", status)),
        }
    }

    /// The status of the first table as JSON.
    fn status(&self) -> Result<String, Refused> {
        let (mut text, mut needed) = (vec![0u8; 1 << 16], 0);
        let to = text.as_mut_ptr().cast::<c_char>();
        // SAFETY: the table is live; the buffer is as long as said.
        check("tidegate_table_write_status", unsafe {
            tidegate_table_write_status(
                self.tables[0].raw,
                tidegate::ffi::status::TIDEGATE_STATUS_FORMAT_JSON,
                0,
                to,
                text.len(),
                &mut needed,
            )
        })?;
        text.truncate(needed);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    #[inline]
    fn place(&mut self, request: u32) -> *mut tidegate_request {
        &raw mut self.blocks[request as usize / BLOCK][request as usize % BLOCK]
    }
}

/// Room for what happens between two looks at the ring of events; a power of two.
const EVENTS: u32 = 4096;

impl Drop for Host {
    fn drop(&mut self) {
        // No request is used after this: their memory goes with `self`.
        for &worker in &self.workers {
            // SAFETY: it came from tidegate_worker_join and is used no more.
            unsafe { tidegate_worker_leave(worker) };
        }
        for table in &self.tables {
            // SAFETY: it came from tidegate_table_new and is used no more.
            unsafe { tidegate_table_free(table.raw) };
        }
    }
}

/// What the gateway saw of an attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// TIDEGATE_CAUSE_*
    pub cause: u32,
    /// TIDEGATE_PHASE_*
    pub phase: u32,
    /// TIDEGATE_OUTCOME_*
    pub flags: u32,
    /// 0: none came.
    pub status: u32,
    /// Since the pick.
    pub took_ns: u64,
}

impl Seen {
    #[inline]
    fn outcome(&self) -> tidegate_outcome {
        let mut outcome = zeroed!(tidegate_outcome);
        (outcome.cause, outcome.phase, outcome.flags, outcome.status) =
            (self.cause, self.phase, self.flags, self.status);
        outcome.total_ns = self.took_ns;
        if self.status != 0 {
            outcome.head_ns = self.took_ns;
        }
        outcome
    }
}

/// The selectors that the library offers, by number and name: what it does not refuse, and what it then calls it. The
/// first is number 0, the default.
pub fn selectors() -> Result<Vec<(u32, String)>, Refused> {
    let shape = Shape { gateways: 1, shared: true, peers: 1, seed: 1 };
    let mut host = Host::new(shape, 0, &Policy::default(), 1)?;
    let mut found = vec![];
    for number in 0..=MOST_SELECTORS {
        if host.open_upstream(0, number, &Policy::default()).is_err() {
            continue;
        }
        let status: serde_json::Value = serde_json::from_str(&host.status()?).unwrap_or_default();
        let name = status["upstreams"][0]["selector"].as_str().unwrap_or("unnamed");
        found.push((number, name.to_owned()));
    }
    Ok(found)
}

/// Numbers of selectors are asked for up to this one.
const MOST_SELECTORS: u32 = 32;

/// A struct sockaddr_in: 10.a.b.c:80.
fn address(peer: u32) -> [u8; 16] {
    let [_, a, b, c] = peer.to_be_bytes();
    let family = (AF_INET as u16).to_ne_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&[family[0], family[1], 0, 80, 10, a, b, c]);
    bytes
}

/// The same on every system that Tidegate runs on.
const AF_INET: u8 = 2;

/// Spreads neighbouring numbers (the finaliser of splitmix64).
pub(crate) fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[inline]
fn check(call: &'static str, status: i32) -> Result<(), Refused> {
    if status == TIDEGATE_OK { Ok(()) } else { Err(refused(call, status)) }
}

#[cold]
fn refused(call: &'static str, status: i32) -> Refused {
    let (mut text, mut len) = ([0u8; 240], 0);
    // SAFETY: the buffer is as long as said.
    unsafe { tidegate_last_error(text.as_mut_ptr().cast(), text.len(), &mut len) };
    Refused { call, status, text: String::from_utf8_lossy(&text[..len.min(text.len())]).into_owned() }
}
