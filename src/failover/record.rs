//! The attempts of a request, for people: one line, made only when it is asked for.

use super::request::Request;
use crate::cause::Cause;
use std::fmt::Write;

/// What is kept of an attempt: 16 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Attempt {
    pub slot: u32,
    pub generation: u16,
    pub status: u16,
    pub cause: Cause,
    /// The choice's flags.
    pub flags: u8,
    /// 0: the attempt is open; else the verdict.
    pub verdict: u8,
    /// Why there was no retry.
    pub why: u8,
    /// Its length in units of 16 µs, saturating at 19 hours.
    pub length: u32,
}

const LENGTH_UNIT_NS: u64 = 16_384;

impl Attempt {
    pub const NONE: Attempt = Attempt {
        slot: u32::MAX,
        generation: 0,
        status: 0,
        cause: Cause::NONE,
        flags: 0,
        verdict: 0,
        why: 0,
        length: 0,
    };

    pub fn set_length(&mut self, ns: u64) {
        self.length = u32::try_from(ns / LENGTH_UNIT_NS).unwrap_or(u32::MAX);
    }
}

/// "10.0.0.1:80 connection_refused 0.2ms retry; 10.0.0.2:80 200 12.0ms deliver"
pub(super) fn describe(request: &Request) -> String {
    let mut line = String::new();
    for attempt in request.record() {
        if !line.is_empty() {
            line.push_str("; ");
        }
        let peer = crate::table::PeerHandle::new(attempt.slot, attempt.generation);
        let name = request.table().peer_display_name(peer).unwrap_or_else(|_| "(removed)".into());
        line.push_str(&name);
        for (flag, word) in FLAGS {
            if attempt.flags & flag != 0 {
                let _ = write!(line, " ({word})");
            }
        }
        if attempt.cause != Cause::NONE {
            let _ = write!(line, " {}", attempt.cause.name());
        }
        if attempt.status != 0 {
            let _ = write!(line, " {}", attempt.status);
        }
        if attempt.verdict == 0 {
            line.push_str(" open");
            continue;
        }
        let ms = u64::from(attempt.length) * LENGTH_UNIT_NS / 100_000;
        let _ = write!(line, " {}.{}ms {}", ms / 10, ms % 10, VERDICTS[usize::from(attempt.verdict).min(4)]);
        if attempt.why != 0 {
            let _ = write!(line, " ({})", WHYS[usize::from(attempt.why).min(9)]);
        }
    }
    if let Some(cause) = request.refused() {
        if !line.is_empty() {
            line.push_str("; ");
        }
        let _ = write!(line, "no pick: {}", cause.name());
    }
    // ASCII throughout, so that every byte is a boundary.
    line.truncate(1024);
    line
}

use crate::selector::Choice;
const FLAGS: [(u8, &str); 4] = [
    (Choice::TRIAL, "trial"),
    (Choice::LAST_RESORT, "last resort"),
    (Choice::PANIC, "panic"),
    (Choice::BACKUP, "backup"),
];
const VERDICTS: [&str; 5] = ["open", "deliver", "retry", "answer", "abort"];
const WHYS: [&str; 10] = [
    "",
    "a retry can't help",
    "not safe to repeat",
    "body can't be sent again",
    "part was delivered",
    "attempts used up",
    "no other peer",
    "no time left",
    "retry budget spent",
    "retries forbidden",
];
