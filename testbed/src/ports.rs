//! Ports for servers that are stopped and started again on the same address.
//!
//! A port from `bind(0)` is of the ephemeral range: once its listener closes, the kernel may hand it to an outgoing
//! connection, and a gateway that connects to it may even reach itself (TCP simultaneous open). So ports are taken
//! from below that range, where only explicit binds happen. Cost: one bind a port.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// A port on 127.0.0.1 that nobody listens on, different at each call within this process.
///
/// Another process may bind it before the caller does. Processes begin at different places in the range, so this is
/// rare; who binds gets an error then, not a wrong server.
pub fn free_port() -> u16 {
    for _ in 0..COUNT {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + ((std::process::id().wrapping_mul(STRIDE).wrapping_add(n)) % COUNT) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Linux gives out 32768 and above by itself (`net.ipv4.ip_local_port_range`).
const FIRST: u16 = 18_000;
const COUNT: u32 = 14_000;
/// Neighbouring process ids begin this far apart.
const STRIDE: u32 = 211;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_bound() {
        let a = free_port();
        let b = free_port();
        assert_ne!(a, b);
        TcpListener::bind((Ipv4Addr::LOCALHOST, a)).unwrap();
    }
}
