//! What must not stand in a server's log: nginx's `[alert]` and `[emerg]`, deaths by signal, sanitizer reports.

/// The lines of a log that betray a fault, deaths of `killed` (by the test itself) left out.
pub fn faults<'a>(log: &'a str, killed: &[u32]) -> Vec<&'a str> {
    log.lines().filter(|line| SIGNS.iter().any(|sign| line.contains(sign)) && !is_declared(line, killed)).collect()
}

/// nginx: `worker process 123 exited on signal 9`, an alert; the proxy: `worker 123 killed by signal 9`.
fn is_declared(line: &str, killed: &[u32]) -> bool {
    let told = |pid: &u32| {
        line.contains(&format!("worker process {pid} exited on signal 9"))
            || line.contains(&format!("worker {pid} killed by signal 9"))
    };
    killed.iter().any(told)
}

const SIGNS: &[&str] = &[
    "[alert]",
    "[emerg]",
    "exited on signal",
    "killed by signal",
    "signal 11",
    "core dumped",
    "AddressSanitizer",
    "LeakSanitizer",
    "ThreadSanitizer",
    "MemorySanitizer",
    "UndefinedBehaviorSanitizer",
    "runtime error:",
    "panicked at",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_declared_kills_are_excused() {
        let log = "2026/01/01 00:00:00 [notice] 7#7: start worker process 41\n\
                   2026/01/01 00:00:00 [alert] 7#7: worker process 41 exited on signal 9\n\
                   2026/01/01 00:00:00 [alert] 7#7: worker process 42 exited on signal 9\n\
                   2026/01/01 00:00:00 [alert] 7#7: worker process 41 exited on signal 11\n\
                   ==9==ERROR: AddressSanitizer: heap-use-after-free\n\
                   2026/01/01 00:00:00 [error] 8#8: *1 connect() failed (111: Connection refused)\n";
        let found = faults(log, &[41]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("process 42") && found[1].contains("signal 11") && found[2].contains("Sanitizer"));
        assert_eq!(faults(log, &[]).len(), 4);
    }
}
