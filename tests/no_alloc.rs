//! The path of a request allocates nothing: pick, report, feed and respond under a counting allocator, through the C
//! ABI, successes and failures alike.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use tidegate::ffi::{request::*, responder::*, table::*, upstream::*, validator::*, worker::*};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn init<T: Copy>(init: unsafe extern "C" fn(*mut T, usize) -> i32) -> T {
    let mut value = std::mem::MaybeUninit::uninit();
    // SAFETY: the init functions fill all of it.
    unsafe {
        assert_eq!(init(value.as_mut_ptr(), size_of::<T>()), 0);
        value.assume_init()
    }
}

#[test]
fn the_request_path_allocates_nothing() {
    let counted = || ALLOCATIONS.with(Cell::get);
    let before = counted();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(counted(), before + 1, "the allocator does count");

    let (mut table, mut worker) = (null_mut(), null_mut());
    let mut upstream = 0;
    let mut addresses = [[0u8; 16]; 3];
    let peers: Vec<tidegate_peer> = addresses
        .iter_mut()
        .enumerate()
        .map(|(i, address)| {
            address[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            address[3] = i as u8 + 1;
            tidegate_peer { address: address.as_ptr().cast(), address_len: 16, ..init(tidegate_peer_init) }
        })
        .collect();
    for selector in TIDEGATE_SELECTOR_ROUND_ROBIN..=TIDEGATE_SELECTOR_SOURCE_HASH {
        // SAFETY: the calls follow the header's rules.
        unsafe {
            assert_eq!(tidegate_table_new(std::ptr::null(), 1, &mut table), 0);
            let options = tidegate_upstream_options { selector, ..init(tidegate_upstream_options_init) };
            assert_eq!(tidegate_upstream_open(table, c"app".as_ptr(), 3, &options, &mut upstream), 0);
            assert_eq!(tidegate_upstream_set_peers(table, upstream, peers.as_ptr(), 3, 1, null_mut()), 0);
            assert_eq!(tidegate_worker_join(table, std::ptr::null(), 1, &mut worker), 0);
            let before = counted();
            for round in 0..2000u64 {
                serve(worker, upstream, round);
            }
            assert_eq!(counted() - before, 0);
            tidegate_worker_leave(worker);
            tidegate_table_free(table);
        }
    }
}

/// One request of which the first attempt may fail, its bytes judged, and an answer written where there is none.
unsafe fn serve(worker: *mut tidegate_worker, upstream: u32, round: u64) {
    let now = 1_000_000_000 + round * 1_000_000;
    let mut request = tidegate_request { opaque: [0; 64] };
    let mut validator = tidegate_validator { opaque: [0; 64] };
    let key = (&raw const round).cast();
    let options = tidegate_request_options { upstream, key, key_len: 8, ..init(tidegate_request_options_init) };
    let mut pick: tidegate_pick = init(tidegate_pick_init);
    let mut decision: tidegate_decision = init(tidegate_decision_init);
    let mut verdict: tidegate_verdict = init(tidegate_verdict_init);
    // SAFETY: the calls follow the header's rules.
    unsafe {
        assert_eq!(tidegate_request_start(worker, &mut request, &options, now), 0);
        loop {
            if tidegate_request_pick(&mut request, now, &mut pick) != 0 {
                break;
            }
            let bytes: &[u8] = match round % 4 {
                0 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                1 => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            };
            assert_eq!(tidegate_validator_start(&mut validator, std::ptr::null()), 0);
            let mut rest = bytes;
            loop {
                let (data, len) = (rest.as_ptr().cast(), rest.len());
                assert_eq!(tidegate_validator_feed(&mut validator, data, len, &mut verdict), 0);
                rest = &rest[verdict.consumed..];
                if [TIDEGATE_VERDICT_NEED_MORE, TIDEGATE_VERDICT_COMPLETE, TIDEGATE_VERDICT_REJECT]
                    .contains(&verdict.event)
                {
                    break;
                }
            }
            let refused = round % 4 == 2 && pick.attempt == 1 || round % 100 > 90;
            let outcome = tidegate_outcome {
                cause: if refused { 5 } else { verdict.cause },
                phase: if refused { TIDEGATE_PHASE_CONNECT } else { TIDEGATE_PHASE_DONE },
                flags: if refused { 0 } else { TIDEGATE_OUTCOME_SENT },
                status: verdict.status,
                ..init(tidegate_outcome_init)
            };
            assert_eq!(tidegate_request_report(&mut request, &outcome, now, &mut decision), 0);
            if decision.verdict != TIDEGATE_DECISION_RETRY {
                break;
            }
        }
        let mut answer: tidegate_answer = init(tidegate_answer_init);
        if tidegate_request_answer(&mut request, now, &mut answer) == 0 {
            let (mut buf, mut needed) = ([0; TIDEGATE_ANSWER_MAX], 0);
            assert_eq!(tidegate_answer_write(&answer, buf.as_mut_ptr(), buf.len(), &mut needed), 0);
            assert!(needed > 100);
        }
        tidegate_request_end(&mut request, now);
    }
}
