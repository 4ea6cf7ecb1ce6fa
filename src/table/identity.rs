//! Who a process is: its id, its PID namespace and when it started, in one word, so that a lease or the control word
//! names it by one CAS.
//!
//! | bits | field |
//! |---|---|
//! | 62–63 | flags of the word that holds it: see `lane` |
//! | 40–61 | process id |
//! | 24–39 | the PID namespace: the low bits of its inode number, 0 unknown |
//! | 0–23 | start time in clock ticks since boot, modulo 2^24 (46 hours); 0 unknown |
//!
//! A process id alone proves nothing. The kernel gives it out again, which the start time tells: a later process of the
//! same id passes for the earlier one only if it started a whole multiple of 46 hours after it, to a hundredth of a
//! second. And in another PID namespace the same number is another process or none, so there it is not asked at all:
//! such a process is known by its heartbeat only (see `lane`). The kernel numbers namespaces from the lowest free
//! number on, so two have the same 16 bits only where one machine has more than 65,536 of them.
//!
//! What cannot be read is unknown: without /proc, or with the /proc of another PID namespace, ids are compared without
//! start times. Two processes that cannot read their namespace are taken to share one, but then silence must confirm
//! what the id says. Set-up and ticks only: a few small files of /proc, one system call a process asked about. Source:
//! pid_namespaces(7), proc_pid_stat(5).

const FLAGS: u64 = 3 << 62;
const PID_SHIFT: u32 = 40;
const PID_MASK: u64 = (1 << 22) - 1;
const NAMESPACE_SHIFT: u32 = 24;
const NAMESPACE_MASK: u64 = (1 << 16) - 1;
const START_MASK: u64 = (1 << NAMESPACE_SHIFT) - 1;

/// A process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessIdentity(u64);

/// What one process can tell of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// It is there.
    Alive,
    /// It has ended: certain.
    Ended,
    /// Its id says that it has ended, but nobody knows of which namespace the id is.
    Doubtful,
    /// It is of another PID namespace.
    OutOfSight,
}

impl ProcessIdentity {
    /// This process.
    pub fn current() -> ProcessIdentity {
        #[cfg(loom)]
        if let Some(pid) = crate::sync::modelled::current_process() {
            return ProcessIdentity(u64::from(pid) << PID_SHIFT | 1 << NAMESPACE_SHIFT);
        }
        let start = if proc_is_ours() { start_time("self").unwrap_or(0) } else { 0 };
        let pid = u64::from(std::process::id()) & PID_MASK;
        ProcessIdentity(pid << PID_SHIFT | namespace() << NAMESPACE_SHIFT | start)
    }

    pub(super) fn from_bits(word: u64) -> ProcessIdentity {
        ProcessIdentity(word & !FLAGS)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// The process id, in its own PID namespace.
    pub fn pid(self) -> u32 {
        (self.0 >> PID_SHIFT & PID_MASK) as u32
    }

    fn namespace(self) -> u64 {
        self.0 >> NAMESPACE_SHIFT & NAMESPACE_MASK
    }

    /// Whether this process, as `me`, can see that one alive. Makes system calls: never on the request path.
    pub(super) fn life(self, me: ProcessIdentity) -> Life {
        match (self.namespace(), me.namespace()) {
            (its, mine) if its != mine => Life::OutOfSight,
            _ if self.is_there() => Life::Alive,
            (0, _) => Life::Doubtful,
            _ => Life::Ended,
        }
    }

    /// Whether the id means this very process, in our namespace.
    #[allow(unsafe_code)]
    fn is_there(self) -> bool {
        let pid = self.pid();
        if pid == 0 {
            return false;
        }
        #[cfg(loom)]
        if let Some(alive) = crate::sync::modelled::is_alive(pid) {
            return alive;
        }
        // SAFETY: signal 0 only asks whether the process is there.
        let answer = unsafe { libc::kill(pid as i32, 0) };
        let refusal = std::io::Error::last_os_error().raw_os_error();
        if answer != 0 && refusal == Some(libc::ESRCH) {
            return false;
        }
        if !proc_is_ours() {
            return true;
        }
        match (std::fs::read_to_string(format!("/proc/{pid}/stat")), self.0 & START_MASK) {
            (Ok(stat), then) => start_in(&stat).is_some_and(|now| now == then || then == 0),
            // It ended meanwhile; or we may not look (hidepid): then it lives, for to take the lane of a live process
            // is worse than to wait for a dead one's.
            (Err(_), _) => answer != 0,
        }
    }
}

/// The PID namespace of this process, 0: unknown.
fn namespace() -> u64 {
    // "pid:[4026531836]"
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let inode = link.to_str().and_then(|text| text.strip_prefix("pid:[")?.strip_suffix(']')?.parse::<u64>().ok());
    inode.map_or(0, |inode| (inode & NAMESPACE_MASK).max(1))
}

/// Whether /proc shows the processes of this namespace by the ids that they have here.
fn proc_is_ours() -> bool {
    let link = std::fs::read_link("/proc/self").unwrap_or_default();
    link.to_str().and_then(|text| text.parse().ok()) == Some(std::process::id())
}

/// The start time of a process that has not ended.
fn start_time(process: &str) -> Option<u64> {
    start_in(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// The same in the text of /proc/PID/stat: field 22.
fn start_in(stat: &str) -> Option<u64> {
    // The second field, a name in parentheses, may hold anything: start behind its end.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    // A zombie has ended, unless only its first thread has; a stopped process has not.
    if ended && threads <= 1 {
        return None;
    }
    Some(fields.nth(1)?.parse::<u64>().ok()? & START_MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_with_its_last_thread() {
        let stat = |state: &str, threads: u32| {
            format!("12 (a) b) {state} 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 {threads} 0 4711 9 9")
        };
        assert_eq!(start_in(&stat("S", 3)), Some(4711));
        assert_eq!(start_in(&stat("T", 1)), Some(4711));
        assert_eq!(start_in(&stat("Z", 1)), None);
        assert_eq!(start_in(&stat("Z", 2)), Some(4711), "its main thread has left, another serves");
        assert_eq!(start_time("self"), Some(ProcessIdentity::current().0 & START_MASK));
    }

    #[test]
    fn an_id_means_nothing_without_its_start_and_namespace() {
        let me = ProcessIdentity::current();
        let with = |shift: u32| ProcessIdentity(me.0 ^ 1 << shift);
        assert_eq!(me.life(me), Life::Alive);
        assert_eq!(with(0).life(me), Life::Ended, "the same id, started at another time");
        assert_eq!(with(NAMESPACE_SHIFT).life(me), Life::OutOfSight);
        assert_eq!(ProcessIdentity(me.0 & !START_MASK).life(me), Life::Alive, "its start could not be read");
        let unknown = |word: u64| ProcessIdentity(word & !(NAMESPACE_MASK << NAMESPACE_SHIFT));
        assert_eq!(unknown(me.0).life(unknown(me.0)), Life::Alive);
        assert_eq!(unknown(with(0).0).life(unknown(me.0)), Life::Doubtful);
        assert_eq!(unknown(me.0).life(me), Life::OutOfSight);
    }
}
