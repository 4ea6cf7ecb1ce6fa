//! Which clock the times of a table are of.
//!
//! All times in a table are the host's CLOCK_MONOTONIC, which starts anew with every boot and which a time namespace may
//! shift. A table in a file outlives both, so its header says of which boot it is and how far its maker's clock was
//! shifted. Read at set-up only: two small files of /proc. What cannot be read is 0 and fits everything, so a chroot
//! without /proc loses the check and nothing else. Source: time_namespaces(7), random(4).

use super::layout::header;
use crate::sync::{AtomicU64, Ordering};

/// A boot and a shift of its monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    /// The kernel's random id of this boot; 0: unknown.
    pub boot: u128,
    /// What the time namespace adds to the monotonic clock.
    pub shift_ns: i64,
}

impl Origin {
    /// This process's.
    pub fn current() -> Origin {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Origin {
            boot: parse_boot(&read("/proc/sys/kernel/random/boot_id")),
            shift_ns: parse_shift(&read("/proc/self/timens_offsets")),
        }
    }

    /// A table's, from the words of its header.
    pub fn of(word: impl Fn(usize) -> u64) -> Origin {
        let (low, high) = (u128::from(word(header::BOOT)), u128::from(word(header::BOOT_HIGH)));
        Origin { boot: low | high << 64, shift_ns: word(header::CLOCK_SHIFT) as i64 }
    }

    /// Writes it into a header.
    pub fn write(self, head: &[AtomicU64]) {
        let set = |word: usize, value: u64| head[word].store(value, Ordering::Relaxed);
        set(header::BOOT, self.boot as u64);
        set(header::BOOT_HIGH, (self.boot >> 64) as u64);
        set(header::CLOCK_SHIFT, self.shift_ns as u64);
    }

    /// Whether both are surely of different boots.
    pub fn is_another_boot(self, other: Origin) -> bool {
        self.boot != 0 && other.boot != 0 && self.boot != other.boot
    }
}

/// "8f7eb54d-d710-41e7-8160-16ac9e6255a9"
fn parse_boot(text: &str) -> u128 {
    u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0)
}

/// Lines of a clock's name, seconds and nanoseconds.
fn parse_shift(text: &str) -> i64 {
    let monotonic = text.lines().find_map(|line| {
        let mut fields = line.strip_prefix("monotonic")?.split_ascii_whitespace();
        let (s, ns): (i64, i64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(s.saturating_mul(1_000_000_000).saturating_add(ns))
    });
    monotonic.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_prints_is_read() {
        assert_eq!(parse_boot("00000000-0000-0001-0000-00000000002a\n"), 1 << 64 | 42);
        assert_eq!(parse_shift("monotonic      5000         7\nboottime          1         0\n"), 5_000_000_000_007);
        assert_eq!(parse_shift("monotonic        -3 500000000\nboottime          0         0\n"), -2_500_000_000);
    }

    #[test]
    fn what_cannot_be_read_fits_everything() {
        let unknown = Origin { boot: parse_boot(""), shift_ns: parse_shift("nonsense") };
        assert_eq!(unknown, Origin { boot: 0, shift_ns: 0 });
        assert!(!unknown.is_another_boot(Origin { boot: 5, shift_ns: 0 }));
    }
}
