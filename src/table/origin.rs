//! Which clock the times of a table are of.
//!
//! All times in a table are the host's CLOCK_MONOTONIC, which starts anew with every boot and which a time namespace may
//! shift; it may shift CLOCK_BOOTTIME too, in which /proc tells the start times by which leases know a process. A table
//! in a file outlives both, so its header says of which boot it is and how far its maker's clocks were shifted. Read at set-up only: two small files of /proc. What cannot be read is 0 and fits everything, so a chroot
//! without /proc loses the check and nothing else. Source: time_namespaces(7), random(4).

use super::layout::header;
use crate::sync::{AtomicU64, Ordering};

/// A boot and the shifts of its clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    /// The kernel's random id of this boot; 0: unknown.
    pub boot: u128,
    /// What the time namespace adds to the monotonic clock and to the time since boot.
    pub shifts_ns: [i64; 2],
}

impl Origin {
    /// This process's.
    pub fn current() -> Origin {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let shifts = read("/proc/self/timens_offsets");
        Origin {
            boot: parse_boot(&read("/proc/sys/kernel/random/boot_id")),
            shifts_ns: ["monotonic", "boottime"].map(|clock| parse_shift(&shifts, clock)),
        }
    }

    /// A table's, from the words of its header.
    pub fn of(word: impl Fn(usize) -> u64) -> Origin {
        let (low, high) = (u128::from(word(header::BOOT)), u128::from(word(header::BOOT_HIGH)));
        let shifts_ns = [header::MONOTONIC_SHIFT, header::BOOTTIME_SHIFT].map(|shift| word(shift) as i64);
        Origin { boot: low | high << 64, shifts_ns }
    }

    /// Writes it into a header.
    pub fn write(self, head: &[AtomicU64]) {
        let set = |word: usize, value: u64| head[word].store(value, Ordering::Relaxed);
        set(header::BOOT, self.boot as u64);
        set(header::BOOT_HIGH, (self.boot >> 64) as u64);
        set(header::MONOTONIC_SHIFT, self.shifts_ns[0] as u64);
        set(header::BOOTTIME_SHIFT, self.shifts_ns[1] as u64);
    }

    /// Whether both are surely of different boots.
    pub fn is_another_boot(self, other: Origin) -> bool {
        self.boot != 0 && other.boot != 0 && self.boot != other.boot
    }

    /// How far this one's clocks are ahead of the other's, in nanoseconds: the first that differs.
    pub fn ahead_of(self, other: Origin) -> Option<i64> {
        let ahead = |(a, b): (i64, i64)| a.saturating_sub(b);
        self.shifts_ns.into_iter().zip(other.shifts_ns).map(ahead).find(|&ns| ns != 0)
    }
}

/// "8f7eb54d-d710-41e7-8160-16ac9e6255a9"
fn parse_boot(text: &str) -> u128 {
    u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0)
}

/// Lines of a clock's name, seconds and nanoseconds.
fn parse_shift(text: &str, clock: &str) -> i64 {
    let shift = text.lines().find_map(|line| {
        let mut fields = line.strip_prefix(clock)?.split_ascii_whitespace();
        let (s, ns): (i64, i64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(s.saturating_mul(1_000_000_000).saturating_add(ns))
    });
    shift.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_prints_is_read() {
        assert_eq!(parse_boot("00000000-0000-0001-0000-00000000002a\n"), 1 << 64 | 42);
        let offsets = "monotonic      5000         7\nboottime         -3 500000000\n";
        assert_eq!(["monotonic", "boottime"].map(|c| parse_shift(offsets, c)), [5_000_000_000_007, -2_500_000_000]);
    }

    #[test]
    fn what_cannot_be_read_fits_everything() {
        let unknown = Origin { boot: parse_boot(""), shifts_ns: [parse_shift("nonsense", "monotonic"); 2] };
        assert_eq!(unknown, Origin { boot: 0, shifts_ns: [0, 0] });
        assert!(!unknown.is_another_boot(Origin { boot: 5, shifts_ns: [0, 0] }));
    }

    #[test]
    fn the_first_clock_that_differs_tells() {
        let of = |shifts_ns| Origin { boot: 1, shifts_ns };
        assert_eq!(of([7, 7]).ahead_of(of([7, 7])), None);
        assert_eq!(of([7, 3]).ahead_of(of([7, 5])), Some(-2));
        assert_eq!(of([i64::MIN, 0]).ahead_of(of([i64::MAX, 0])), Some(i64::MIN));
    }
}
