//! How long a process was on a CPU, and which CPUs it may use (Linux, proc(5)).

use std::fs;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Time on a CPU so far, in nanoseconds, of a process of one thread. Where the kernel keeps no `schedstat`: user and
/// system time, by ticks of 10 ms.
pub fn time_ns(pid: u32) -> Result<u64, String> {
    let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}"));
    if let Some(ns) = read("schedstat").ok().and_then(|text| text.split_whitespace().next()?.parse().ok()) {
        return Ok(ns);
    }
    let stat = read("stat").map_err(|e| format!("process {pid}: {e}"))?;
    // The name in between may hold blanks and parentheses. Behind it utime and stime are the 12th and 13th word.
    let words = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11);
    Ok(words.take(2).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>() * TICK_NS)
}

/// Two CPUs that this process may use: one for the gateways, one for everything else. None on a machine of one.
pub fn two() -> Option<[usize; 2]> {
    let allowed = sched_getaffinity(None).ok()?;
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    Some([cpus.next()?, cpus.next()?])
}

/// Keeps a process, or this thread, on one CPU.
pub fn pin(pid: Option<u32>, cpu: usize) -> Result<(), String> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(pid.and_then(|pid| Pid::from_raw(pid as i32)), &only).map_err(|e| format!("CPU {cpu}: {e}"))
}

/// `USER_HZ` is 100 on every Linux of today.
const TICK_NS: u64 = 10_000_000;
