//! Declared lists of peers: identity, and room for any sequence of lists.

mod common;

use common::*;
use tidegate::table::{Address, Admin, Capacity, PeerSpec, Policy, Table};

#[test]
fn lists_grow_and_shrink_for_ever() {
    let table = Table::anonymous(&Capacity::new(4, 1024, 4, 16).unwrap(), 0).unwrap();
    let ids: Vec<_> =
        ["a", "b", "c", "d"].iter().map(|n| table.open_upstream(n.as_bytes(), &Policy::default()).unwrap()).collect();
    for round in 0..24 {
        // Each upstream in turn has nearly all peers, at another size each time.
        let (id, size) = (ids[round % 4], [1000, 500, 130, 1020, 17][round % 5]);
        let list: Vec<_> = (0..size).map(|i| peer(i as u16 + 1)).collect();
        let handles = table.set_peers(id, &specs(&list), 0).unwrap_or_else(|e| panic!("round {round}: {e}"));
        assert_eq!(handles.len(), size);
        // All upstreams still have what was declared for them.
        for (other, id) in ids.iter().enumerate() {
            let members = (0..).map_while(|i| table.peer_at(*id, i).unwrap());
            let wanted = if other == round % 4 { size } else { usize::from(round > other) };
            assert_eq!(members.take(2000).count(), wanted, "upstream {other} in round {round}");
        }
        table.set_peers(id, &specs(&[peer(9)]), 0).unwrap();
    }
}

#[test]
fn a_socket_path_ends_where_it_ends() {
    let path = |tail: u8, len: usize| {
        let mut bytes = [tail; 110];
        bytes[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
        bytes[2..16].copy_from_slice(b"/run/app.sock\0");
        Address::new(&bytes[..len]).unwrap()
    };
    // What stands behind the path is whatever stood on the caller's stack; and some count the NUL, some do not.
    assert_eq!(path(0, 110), path(7, 110));
    assert_eq!(path(0, 110), path(0, 16));
    assert_eq!(path(0, 110), path(0, 15));
    let longest = [&1u16.to_ne_bytes()[..], &[b'x'; 108]].concat();
    assert_eq!(Address::new(&longest).unwrap().as_bytes(), longest, "no longer than a sockaddr_un");
    assert_eq!(path(9, 110).to_string(), "unix:/run/app.sock");
    let table = Table::anonymous(&Capacity::new(1, 4, 4, 16).unwrap(), 0).unwrap();
    let id = table.open_upstream(b"app", &Policy::default()).unwrap();
    let declare = |address| {
        let spec = PeerSpec::new(address, b"", 1, 0, 0, Admin::Enabled).unwrap();
        table.set_peers(id, &[spec], 0).unwrap()[0]
    };
    assert_eq!(declare(path(0, 110)), declare(path(1, 110)), "the same peer keeps its state");
}
