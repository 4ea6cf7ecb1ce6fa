//! Processes that the test bed started: waiting with a bound, signals by id, children by `/proc`.
//!
//! Only ids that this crate obtained itself (from a spawn, or as a child of one) are ever signalled.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

pub use rustix::process::Signal;

/// Asks again and again until the answer is yes; false if it isn't within `limit`.
///
/// The one place of the test bed that polls: for what the kernel has no event for, like a port that starts to listen.
pub fn wait_until(limit: Duration, mut yes: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if yes() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Makes this process the parent of what its descendants leave behind, daemons and workers whose master died: init
/// would wait for them, and nobody could tell their end. For the rest of this process's life.
pub fn adopt_orphans() -> std::io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Whether a process is gone. One of ours that has ended is waited for; not to be asked of what a `Child` stands for.
pub fn is_gone(pid: u32) -> bool {
    match Pid::from_raw(pid as i32).map(|pid| waitpid(Some(pid), WaitOptions::NOHANG)) {
        // Not ours yet, or no more.
        Some(Err(Errno::CHILD)) | None => stat_of(pid).is_none_or(|(state, _)| state == 'Z'),
        Some(ended) => matches!(ended, Ok(Some(_))),
    }
}

/// Sends a signal to a process; false if it is gone.
pub fn signal(pid: u32, signal: Signal) -> bool {
    Pid::from_raw(pid as i32).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Ids of the direct children, zombies left out.
pub fn children_of(parent: u32) -> Vec<u32> {
    let Ok(dir) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = dir.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| stat_of(pid).is_some_and(|(state, ppid)| ppid == parent && state != 'Z')).collect()
}

/// The command line as the process shows it, arguments joined by blanks; empty if it is gone.
pub fn title_of(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

/// Waits for the end of a child; None if it still runs after `limit`.
pub fn wait_for(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let mut status = None;
    wait_until(limit, || {
        status = child.try_wait().ok().flatten();
        status.is_some()
    });
    status
}

/// Ends a child politely, then with SIGKILL, and with it every child it had.
pub fn end(child: &mut Child, polite: Signal, limit: Duration) {
    // Its id may be somebody else's once it has been waited for.
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let family = children_of(child.id());
    signal(child.id(), polite);
    if wait_for(child, limit).is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    end_orphans(&family);
}

/// Ends what a parent that was killed has left, seen as its children before. To whom they belong now is checked, so
/// that an id that went to somebody else's process in between is left alone.
pub(crate) fn end_orphans(family: &[u32]) {
    for &pid in family {
        if stat_of(pid).is_some_and(|(_, ppid)| ppid == 1 || ppid == std::process::id()) {
            signal(pid, Signal::KILL);
        }
    }
}

/// Ends a process when this one has ended, however that came about: a shell waits for the end of a pipe whose other end
/// only we hold. Dropped, it lets the process go: to be dropped after that was ended, never before.
pub struct Leash(Child);

impl Leash {
    /// Of a process that we started.
    pub fn on(pid: u32) -> std::io::Result<Leash> {
        let script = "read -r _; kill -TERM \"$0\"";
        let pid = pid.to_string();
        Command::new("sh").args(["-c", script, &pid]).stdin(Stdio::piped()).spawn().map(Leash)
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        // Before its pipe closes.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lines of a child's output, read by a thread of its own, so that a full pipe never stops the child.
pub struct Lines(Receiver<String>);

impl Lines {
    /// Starts to read; ends at end of file.
    pub fn of(pipe: impl Read + Send + 'static) -> Lines {
        let (tx, rx) = channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                // The owner may have lost interest; the pipe is drained all the same.
                let _ = tx.send(line);
            }
        });
        Lines(rx)
    }

    /// The next line; an error if none comes within `limit` or the child closed its output.
    pub fn next(&self, limit: Duration) -> std::io::Result<String> {
        self.0.recv_timeout(limit).map_err(|e| match e {
            RecvTimeoutError::Timeout => std::io::ErrorKind::TimedOut.into(),
            RecvTimeoutError::Disconnected => std::io::ErrorKind::UnexpectedEof.into(),
        })
    }

    /// The lines that have come and were not taken yet.
    pub fn so_far(&self) -> Vec<String> {
        self.0.try_iter().collect()
    }
}

/// State letter and parent of a process. The name in between may hold blanks and parentheses: what counts comes after
/// the last one (proc(5)).
fn stat_of(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_listed_titled_and_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(children_of(std::process::id()).contains(&child.id()));
        // Between fork and exec the child still shows this program's name.
        assert!(wait_until(Duration::from_secs(5), || title_of(child.id()) == "cat"));
        end(&mut child, Signal::TERM, Duration::from_secs(5));
        assert!(!children_of(std::process::id()).contains(&child.id()));
    }

    #[test]
    fn a_leash_ends_its_process_when_the_pipe_ends_and_not_when_it_is_dropped() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        drop(Leash::on(child.id()).unwrap());
        assert!(child.try_wait().unwrap().is_none());
        let mut leash = Leash::on(child.id()).unwrap();
        // What the kernel does with our end when we die.
        drop(leash.0.stdin.take());
        assert!(wait_for(&mut child, Duration::from_secs(20)).is_some());
    }
}
