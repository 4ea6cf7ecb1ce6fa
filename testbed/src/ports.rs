//! Ports for servers that are stopped and started again on the same address.
//!
//! A port from `bind(0)` is of the ephemeral range: once its listener closes, the kernel may hand it to an outgoing
//! connection, and a gateway that connects to it may even reach itself (TCP simultaneous open). So ports are taken
//! from below that range, where only explicit binds happen.
//!
//! Test programs run side by side. A port is reserved among them by the UDP port of the same number, which this
//! process holds until its end: the kernel gives it to one process only, frees it however that one dies, and TCP
//! doesn't care. Cost: two binds and a descriptor a port.

use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// A port on 127.0.0.1 that nobody listens on, different at each call, in this process and in every other that asks
/// here.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    for _ in 0..COUNT {
        let n = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(STRIDE));
        let port = FIRST + (n % COUNT) as u16;
        let Ok(reservation) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else { continue };
        // Programs that know nothing of this may be there.
        if is_free(port) {
            RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(reservation);
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

/// Whether a server could bind it. Asked without listening: a process that another thread starts at this moment holds a
/// copy of our socket until its exec, and a copy that listened would be in the server's way.
fn is_free(port: u16) -> bool {
    let ask = || {
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        net::sockopt::set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    };
    ask().is_ok()
}

static NEXT: AtomicU32 = AtomicU32::new(0);
static RESERVED: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// Linux gives out 32768 and above by itself (`net.ipv4.ip_local_port_range`).
const FIRST: u16 = 18_000;
const COUNT: u32 = 14_000;
/// Neighbouring process ids begin this far apart, so that they seldom meet.
const STRIDE: u32 = 211;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn ports_differ_can_be_bound_and_are_reserved() {
        let a = free_port();
        let b = free_port();
        assert_ne!(a, b);
        TcpListener::bind((Ipv4Addr::LOCALHOST, a)).unwrap();
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, b)).is_err());
    }
}
