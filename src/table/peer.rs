//! What is written of one peer: handle, identity, address, parameters.

use super::layout::peer as word;
use super::{Detector, Table, UpstreamId};
use crate::cause::Cause;
use crate::error::{Error, TIDEGATE_ERR_NOT_FOUND};
use crate::sync::{AtomicU64, Ordering};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// A peer by slot and generation: never another peer's, as long as a request on it is in flight.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PeerHandle(u64);

impl PeerHandle {
    #[inline]
    pub(crate) fn new(slot: u32, generation: u16) -> PeerHandle {
        PeerHandle(u64::from(generation) << 32 | u64::from(slot))
    }

    /// From its number in the ABI; any number is a handle, perhaps of nothing.
    #[inline]
    pub fn from_number(n: u64) -> PeerHandle {
        PeerHandle(n)
    }

    /// Its number in the ABI, never 0.
    #[inline]
    pub fn number(self) -> u64 {
        self.0
    }

    /// Its slot.
    #[inline]
    pub fn slot(self) -> u32 {
        self.0 as u32
    }

    /// The slot's generation at the time.
    #[inline]
    pub fn generation(self) -> u16 {
        (self.0 >> 32) as u16
    }
}

/// What a person said of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Admin {
    /// It takes requests.
    Enabled = 0,
    /// No new ones.
    Draining = 1,
    /// None at all.
    Disabled = 2,
}

impl Admin {
    /// By its number in the ABI.
    pub fn from_number(n: u32) -> Option<Admin> {
        [Admin::Enabled, Admin::Draining, Admin::Disabled].into_iter().find(|a| a.number() == n)
    }

    /// Its number in the ABI.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// Its name in status output.
    pub fn name(self) -> &'static str {
        match self {
            Admin::Enabled => "enabled",
            Admin::Draining => "draining",
            Admin::Disabled => "disabled",
        }
    }
}

/// A `struct sockaddr`, byte by byte. Two are the same peer if family, address, port and scope are, or the path.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    bytes: [u8; Address::MAX],
    len: u8,
}

impl Address {
    /// As long as a `struct sockaddr_un` and a little more.
    pub const MAX: usize = word::ADDRESS_WORDS * 8;

    /// From a `struct sockaddr`. What does not belong to the identity (`sin_zero`, the flow label, what
    /// follows a path) is cleared.
    pub fn new(sockaddr: &[u8]) -> Result<Address, Error> {
        if sockaddr.len() < 2 || sockaddr.len() > Self::MAX {
            return Err(Error::invalid(format!("address_len is {}: 2 to {}", sockaddr.len(), Self::MAX)));
        }
        let mut bytes = [0; Self::MAX];
        bytes[..sockaddr.len()].copy_from_slice(sockaddr);
        let family = i32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let len = match family {
            libc::AF_INET if sockaddr.len() >= 8 => {
                bytes[8..].fill(0);
                16
            }
            libc::AF_INET6 if sockaddr.len() >= 24 => {
                bytes[4..8].fill(0);
                bytes[28..].fill(0);
                28
            }
            libc::AF_INET | libc::AF_INET6 => {
                return Err(Error::invalid(format!("address_len is {}: too short for its family", sockaddr.len())));
            }
            libc::AF_UNIX if bytes[2] != 0 => {
                // A path: with its NUL, and without what stands behind it, often bytes that nobody set.
                let end =
                    bytes[..sockaddr.len()].iter().skip(2).position(|&b| b == 0).map_or(sockaddr.len(), |n| n + 2);
                bytes[end..].fill(0);
                // The longest path has no NUL.
                end + usize::from(end < size_of::<libc::sockaddr_un>())
            }
            _ => sockaddr.len(),
        };
        Ok(Address { bytes, len: len as u8 })
    }

    /// The `struct sockaddr`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..(self.len as usize).min(Self::MAX)]
    }
}

/// As people write it: "127.0.0.1:80", "[::1]:80", "unix:/run/app.sock".
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let b = &self.bytes;
        let port = u16::from_be_bytes([b[2], b[3]]);
        match i32::from(u16::from_ne_bytes([b[0], b[1]])) {
            libc::AF_INET => write!(f, "{}", SocketAddrV4::new(Ipv4Addr::new(b[4], b[5], b[6], b[7]), port)),
            libc::AF_INET6 => {
                let mut octets = [0; 16];
                octets.copy_from_slice(&b[8..24]);
                let scope = u32::from_ne_bytes([b[24], b[25], b[26], b[27]]);
                write!(f, "{}", SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope))
            }
            libc::AF_UNIX => {
                let path = self.as_bytes().get(2..).unwrap_or(&[]);
                match path.split_first() {
                    Some((0, name)) if !name.is_empty() => write!(f, "unix:@{}", name.escape_ascii()),
                    _ => {
                        let end = path.iter().position(|&c| c == 0).unwrap_or(path.len());
                        write!(f, "unix:{}", path[..end].escape_ascii())
                    }
                }
            }
            family => write!(f, "family {family}"),
        }
    }
}

/// One peer, as declared.
#[derive(Clone, Debug)]
pub struct PeerSpec {
    pub(crate) address: Address,
    pub(crate) name: Box<[u8]>,
    pub(crate) parameters: Parameters,
    pub(crate) admin: Admin,
}

impl PeerSpec {
    /// Checks every part.
    pub fn new(
        address: Address,
        name: &[u8],
        weight: u32,
        priority: u32,
        limit: u32,
        admin: Admin,
    ) -> Result<PeerSpec, Error> {
        if name.len() >= word::NAME_WORDS * 8 || !name.iter().all(u8::is_ascii_graphic) {
            return Err(Error::invalid("name: at most 63 bytes of printable ASCII without spaces"));
        }
        if !(1..=65535).contains(&weight) {
            return Err(Error::invalid(format!("weight is {weight}: 1 to 65535")));
        }
        if priority > 1 {
            return Err(Error::invalid(format!("priority is {priority}: 0 (primary) or 1 (backup)")));
        }
        let parameters = Parameters { weight: weight as u16, backup: priority == 1, zone: 0, limit };
        Ok(PeerSpec { address, name: name.into(), parameters, admin })
    }

    /// In a zone; 0: none.
    pub fn in_zone(mut self, zone: u8) -> PeerSpec {
        self.parameters.zone = zone;
        self
    }
}

/// The part of a declaration that may change while the peer stays the same peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parameters {
    pub weight: u16,
    pub backup: bool,
    /// 0: none.
    pub zone: u8,
    /// Most requests in flight, 0: no limit.
    pub limit: u32,
}

impl Parameters {
    pub fn to_bits(self) -> u64 {
        u64::from(self.weight) | u64::from(self.backup) << 16 | u64::from(self.zone) << 24 | u64::from(self.limit) << 32
    }

    pub fn from_bits(word: u64) -> Parameters {
        Parameters {
            weight: (word as u16).max(1),
            backup: word >> 16 & 1 != 0,
            zone: (word >> 24) as u8,
            limit: (word >> 32) as u32,
        }
    }
}

impl Table {
    /// A word of a peer slot.
    pub(crate) fn peer_word(&self, slot: u32, word: usize) -> Option<&AtomicU64> {
        debug_assert!(word < word::WORDS);
        self.region.peers.get(slot as usize * word::WORDS + word)
    }

    pub(super) fn peer_word_or_zero(&self, slot: u32, word: usize) -> u64 {
        self.peer_word(slot, word).map_or(0, |w| w.load(Ordering::Relaxed))
    }

    /// The upstream that the slot's peer belongs to, or belonged to last.
    pub(crate) fn peer_upstream(&self, slot: u32) -> Option<UpstreamId> {
        let stored = self.peer_word_or_zero(slot, word::UPSTREAM);
        UpstreamId::new(u32::try_from(stored.checked_sub(1)?).ok()?)
    }

    pub(crate) fn peer_parameters(&self, slot: u32) -> Parameters {
        Parameters::from_bits(self.peer_word_or_zero(slot, word::PARAMETERS))
    }

    pub(crate) fn last_resort_word(&self, slot: u32) -> Option<&AtomicU64> {
        self.peer_word(slot, word::LAST_RESORT)
    }

    /// Notes what ejected the peer.
    pub(crate) fn note_ejection(&self, slot: u32, detector: Detector, cause: Cause) {
        if let Some(word) = self.peer_word(slot, word::EJECTED_BY) {
            word.store(u64::from(detector.number()) | u64::from(cause.number()) << 8, Ordering::Relaxed);
        }
    }

    /// What ejected the peer last, and the cause.
    pub(crate) fn last_ejection(&self, slot: u32) -> Option<(Detector, Cause)> {
        let value = self.peer_word_or_zero(slot, word::EJECTED_BY);
        Some((Detector::from_number(value as u32 & 0xff)?, Cause::from_number((value >> 8) as u32)?))
    }

    /// A peer's address, as declared.
    pub fn peer_address(&self, peer: PeerHandle) -> Result<Address, Error> {
        self.consistent(peer, || self.slot_address(peer.slot()))
    }

    /// The most bytes of a name for people.
    const MOST_NAME: usize = 128;

    /// Its declared name, or else its address; ASCII.
    pub fn peer_display_name(&self, peer: PeerHandle) -> Result<String, Error> {
        self.consistent(peer, || {
            let name = self.slot_name(peer.slot());
            let mut text = if name.is_empty() {
                self.slot_address(peer.slot()).to_string()
            } else {
                name.iter().map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '?' }).collect()
            };
            // Only an address with escapes is longer.
            text.truncate(Self::MOST_NAME);
            text
        })
    }

    /// Reads something of a slot that is written only while the slot holds no peer: valid if the peer is there after.
    pub(crate) fn consistent<T>(&self, peer: PeerHandle, read: impl FnOnce() -> T) -> Result<T, Error> {
        let value = read();
        crate::sync::fence(Ordering::Acquire);
        self.state(peer).map(|_| value).ok_or_else(|| Error::of(TIDEGATE_ERR_NOT_FOUND))
    }

    pub(super) fn slot_address(&self, slot: u32) -> Address {
        let mut bytes = [0; Address::MAX];
        for (i, chunk) in bytes.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&self.peer_word_or_zero(slot, word::ADDRESS + i).to_ne_bytes());
        }
        let len = (self.peer_word_or_zero(slot, word::LENGTHS) as u32 as usize).min(Address::MAX);
        Address { bytes, len: len as u8 }
    }

    pub(super) fn slot_name(&self, slot: u32) -> Vec<u8> {
        let len = (self.peer_word_or_zero(slot, word::LENGTHS) >> 32) as usize;
        let mut name = Vec::with_capacity(word::NAME_WORDS * 8);
        for i in 0..word::NAME_WORDS {
            name.extend_from_slice(&self.peer_word_or_zero(slot, word::NAME + i).to_ne_bytes());
        }
        name.truncate(len);
        name
    }

    /// A hash of a peer's identity: the same wherever the same peer is declared.
    pub(super) fn identity_hash(&self, slot: u32) -> u64 {
        let mut identity = self.slot_address(slot).as_bytes().to_vec();
        identity.extend(self.slot_name(slot));
        crate::random::hash(&identity)
    }

    /// As many bits of a peer's identity as tell it from its neighbours; without allocating.
    pub(crate) fn identity_bits(&self, slot: u32) -> u64 {
        let words =
            (0..word::ADDRESS_WORDS).map(|i| word::ADDRESS + i).chain((0..word::NAME_WORDS).map(|i| word::NAME + i));
        words.fold(0, |bits: u64, which| crate::random::mix(bits.rotate_left(23) ^ self.peer_word_or_zero(slot, which)))
    }

    /// Writes identity and parameters of a slot that holds no peer.
    pub(super) fn write_slot(&self, slot: u32, upstream: UpstreamId, spec: &PeerSpec, picks_base: u64) {
        let set = |w: usize, value: u64| {
            if let Some(word) = self.peer_word(slot, w) {
                word.store(value, Ordering::Relaxed);
            }
        };
        set(word::UPSTREAM, u64::from(upstream.number()) + 1);
        set(word::PARAMETERS, spec.parameters.to_bits());
        set(word::PICKS_BASE, picks_base);
        set(word::FAILURES, 0);
        set(word::LAST_RESORT, 0);
        set(word::EJECTED_BY, 0);
        set(word::TWIN, 0);
        set(word::LENGTHS, u64::from(spec.address.len) | (spec.name.len() as u64) << 32);
        for (i, chunk) in spec.address.bytes.chunks_exact(8).enumerate() {
            set(word::ADDRESS + i, word_of(chunk));
        }
        for i in 0..word::NAME_WORDS {
            set(word::NAME + i, word_of(spec.name.get(i * 8..).unwrap_or(&[])));
        }
    }
}

/// The first 8 bytes as a word, zeros for what is missing.
pub(super) fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let n = bytes.len().min(8);
    word[..n].copy_from_slice(&bytes[..n]);
    u64::from_ne_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(a: [u8; 4], port: u16, zero: u8) -> Vec<u8> {
        let mut b = vec![0; 16];
        b[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        b[2..4].copy_from_slice(&port.to_be_bytes());
        b[4..8].copy_from_slice(&a);
        b[8..].fill(zero);
        b
    }

    #[test]
    fn padding_is_not_identity() {
        let (a, b) = (Address::new(&inet([10, 0, 0, 1], 80, 0)), Address::new(&inet([10, 0, 0, 1], 80, 7)));
        assert_eq!(a.unwrap(), b.unwrap());
    }

    #[test]
    fn addresses_read_as_people_write_them() {
        assert_eq!(Address::new(&inet([10, 0, 0, 1], 80, 0)).unwrap().to_string(), "10.0.0.1:80");
        let mut v6 = vec![0; 28];
        v6[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        v6[2..4].copy_from_slice(&443u16.to_be_bytes());
        v6[23] = 1;
        assert_eq!(Address::new(&v6).unwrap().to_string(), "[::1]:443");
        let mut unix = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
        unix.extend_from_slice(b"/run/app.sock\0");
        assert_eq!(Address::new(&unix).unwrap().to_string(), "unix:/run/app.sock");
    }

    #[test]
    fn an_address_too_short_for_its_family_is_refused() {
        let error = Address::new(&inet([1, 2, 3, 4], 1, 0)[..6]).unwrap_err();
        assert!(error.to_string().contains("address_len is 6"), "{error}");
    }
}
