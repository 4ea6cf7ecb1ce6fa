//! Calls that a host should not make, through the C ABI: each is answered, and none has an effect.

#![allow(unsafe_code)]

use std::ptr::{null, null_mut};
use tidegate::ffi::{request::*, table::*, upstream::*, worker::*, *};

const NOW: u64 = 1_000_000_000;

/// A table with one upstream of so many peers, and a worker.
struct Host {
    table: *mut tidegate_table,
    worker: *mut tidegate_worker,
    upstream: u32,
    peers: Vec<u64>,
}

impl Host {
    fn of(peers: u8) -> Host {
        let mut host = Host { table: null_mut(), worker: null_mut(), upstream: 0, peers: vec![0; peers.into()] };
        // SAFETY: valid pointers to locals; the table is freed in `drop`.
        unsafe {
            assert_eq!(tidegate_table_new(null(), NOW, &mut host.table), 0);
            assert_eq!(tidegate_upstream_open(host.table, c"app".as_ptr(), 3, null(), &mut host.upstream), 0);
            let addresses: Vec<_> = (1..=peers).map(address).collect();
            let list: Vec<_> = addresses.iter().map(peer).collect();
            let handles = host.peers.as_mut_ptr();
            assert_eq!(
                tidegate_upstream_set_peers(host.table, host.upstream, list.as_ptr(), list.len(), NOW, handles),
                0
            );
            assert_eq!(tidegate_worker_join(host.table, null(), NOW, &mut host.worker), 0);
        }
        host
    }

    fn start(&self, request: &mut tidegate_request) {
        let options = tidegate_request_options {
            struct_size: size_of::<tidegate_request_options>(),
            upstream: self.upstream,
            method: TIDEGATE_METHOD_GET,
            flags: 0,
            max_attempts: 0,
            deadline_ns: 0,
            key: null(),
            key_len: 0,
        };
        // SAFETY: live handles and locals.
        assert_eq!(unsafe { tidegate_request_start(self.worker, request, &options, NOW) }, 0);
    }

    fn in_flight(&self) -> u32 {
        let of = |&peer: &u64| {
            let mut info: tidegate_peer_info = zeroed();
            info.struct_size = size_of::<tidegate_peer_info>();
            // SAFETY: live handle and a local.
            assert_eq!(unsafe { tidegate_peer_describe(self.table, peer, NOW, &mut info) }, 0);
            info.in_flight
        };
        self.peers.iter().map(of).sum()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: made in `of`, used no more.
        unsafe {
            tidegate_worker_leave(self.worker);
            tidegate_table_free(self.table);
        }
    }
}

fn zeroed<T: Copy>() -> T {
    // SAFETY: used for structs of the ABI, which are integers and pointers.
    unsafe { std::mem::zeroed() }
}

fn address(last: u8) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[2..8].copy_from_slice(&[0, 80, 10, 0, 0, last]);
    bytes
}

fn peer(address: &[u8; 16]) -> tidegate_peer {
    tidegate_peer {
        struct_size: size_of::<tidegate_peer>(),
        address: address.as_ptr().cast(),
        address_len: 16,
        ..zeroed()
    }
}

fn outcome() -> tidegate_outcome {
    tidegate_outcome { struct_size: size_of::<tidegate_outcome>(), status: 200, ..zeroed() }
}

#[test]
fn a_request_that_was_never_started_is_refused() {
    for filler in [0, u64::MAX, 0x5a5a_5a5a_5a5a_5a5a] {
        let mut request = tidegate_request { opaque: [filler; 64] };
        let mut pick = tidegate_pick { struct_size: size_of::<tidegate_pick>(), ..zeroed() };
        let mut decision = tidegate_decision { struct_size: size_of::<tidegate_decision>(), ..zeroed() };
        let mut answer =
            responder::tidegate_answer { struct_size: size_of::<responder::tidegate_answer>(), ..zeroed() };
        let mut needed = 0;
        // SAFETY: pointers to locals of the right types.
        unsafe {
            assert_eq!(tidegate_request_pick(&mut request, NOW, &mut pick), TIDEGATE_ERR_STATE);
            assert_eq!(tidegate_request_head(&mut request, &outcome(), NOW, &mut decision), TIDEGATE_ERR_STATE);
            assert_eq!(tidegate_request_report(&mut request, &outcome(), NOW, &mut decision), TIDEGATE_ERR_STATE);
            assert_eq!(tidegate_request_answer(&mut request, NOW, &mut answer), TIDEGATE_ERR_STATE);
            assert_eq!(tidegate_request_describe(&request, null_mut(), 0, &mut needed), TIDEGATE_ERR_STATE);
            tidegate_request_end(&mut request, NOW);
        }
        assert_eq!(request.opaque, [filler; 64]);
    }
}

#[test]
fn a_call_whose_output_is_invalid_has_no_effect() {
    let host = Host::of(2);
    let mut request: tidegate_request = zeroed();
    host.start(&mut request);
    let mut pick: tidegate_pick = zeroed();
    // SAFETY: live handles and locals.
    unsafe {
        assert_eq!(tidegate_request_pick(&mut request, NOW, &mut pick), TIDEGATE_ERR_STRUCT_SIZE);
        assert_eq!(tidegate_request_pick(&mut request, NOW, null_mut()), TIDEGATE_ERR_NULL);
        assert_eq!(host.in_flight(), 0);
        pick.struct_size = size_of::<tidegate_pick>();
        assert_eq!(tidegate_request_pick(&mut request, NOW, &mut pick), 0);
        assert_eq!(tidegate_request_report(&mut request, &outcome(), NOW, null_mut()), TIDEGATE_ERR_NULL);
        let mut decision: tidegate_decision = zeroed();
        assert_eq!(tidegate_request_report(&mut request, &outcome(), NOW, &mut decision), TIDEGATE_ERR_STRUCT_SIZE);
        assert_eq!(host.in_flight(), 1, "the attempt is still open");
        decision.struct_size = size_of::<tidegate_decision>();
        assert_eq!(tidegate_request_report(&mut request, &outcome(), NOW, &mut decision), 0);
        assert_eq!((host.in_flight(), decision.verdict), (0, TIDEGATE_DECISION_DELIVER));
    }
}

#[test]
fn elements_of_one_array_are_of_one_size() {
    let host = Host::of(1);
    let addresses = [address(1), address(2)];
    let mut list = [peer(&addresses[0]), peer(&addresses[1])];
    list[1].struct_size = 60_000;
    // SAFETY: live handles and locals.
    let status = unsafe { tidegate_upstream_set_peers(host.table, host.upstream, list.as_ptr(), 2, NOW, null_mut()) };
    assert_eq!(status, TIDEGATE_ERR_STRUCT_SIZE);
}
