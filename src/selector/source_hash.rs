//! The key of a client: its address, so that a client stays with its peer. The rest is `maglev`, its bounds and its cost
//! too.
//!
//! The key is a `struct sockaddr`: the port is left out, for it changes with every connection, and an IPv4 address that
//! came mapped into IPv6 is the IPv4 address. Of an IPv6 address the first 64 bits count: a host changes the others at
//! will (RFC 8981). Anything else is hashed as it is.

/// The hash of a client's address, never 0.
pub(crate) fn hash(sockaddr: &[u8]) -> u64 {
    super::maglev::hash(address(sockaddr))
}

fn address(sockaddr: &[u8]) -> &[u8] {
    const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let family = match sockaddr {
        [a, b, ..] => i32::from(u16::from_ne_bytes([*a, *b])),
        _ => return sockaddr,
    };
    match (family, sockaddr.get(4..8), sockaddr.get(8..24)) {
        (libc::AF_INET, Some(v4), _) => v4,
        (libc::AF_INET6, _, Some(v6)) if v6.starts_with(&MAPPED) => &v6[12..],
        (libc::AF_INET6, _, Some(v6)) => &v6[..8],
        _ => sockaddr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(port: u8) -> Vec<u8> {
        [&(libc::AF_INET as u16).to_ne_bytes()[..], &[0, port, 192, 0, 2, 7], &[0; 8]].concat()
    }

    fn v6(address: [u8; 16], port: u8) -> Vec<u8> {
        [&(libc::AF_INET6 as u16).to_ne_bytes()[..], &[0, port, 0, 0, 0, 0], &address, &[0; 4]].concat()
    }

    #[test]
    fn a_client_is_its_address() {
        assert_eq!(hash(&v4(1)), hash(&v4(2)));
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7];
        assert_eq!(hash(&v4(1)), hash(&v6(mapped, 9)));
        let host = |last: u8, net: u8| [0x20, 1, 0xd, 0xb8, 0, 0, 0, net, 9, 9, 9, 9, 9, 9, 9, last];
        assert_eq!(hash(&v6(host(1, 1), 1)), hash(&v6(host(2, 1), 2)));
        assert_ne!(hash(&v6(host(1, 1), 1)), hash(&v6(host(1, 2), 1)));
        assert_ne!(hash(&[]), 0);
    }
}
