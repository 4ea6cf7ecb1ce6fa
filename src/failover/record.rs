//! The decision record: a request's attempts, why the last peer was picked and who could not be; as a value, and as one
//! line for people. Made only when it is asked for, of what the request keeps.

use super::exclusion::{self, Standing, Standings};
use super::request::{Request, public_flags};
use crate::cause::Cause;
use crate::selector::Choice;
use crate::table::PeerHandle;
use std::fmt::Write;

/// What is kept of an attempt: 16 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Attempt {
    pub(super) slot: u32,
    pub(super) generation: u16,
    /// The response's status, 0: none.
    pub status: u16,
    /// Why it failed.
    pub cause: Cause,
    /// The choice's flags.
    pub(super) flags: u8,
    /// 0: the attempt is open; else the verdict.
    pub verdict: u8,
    /// Why there was no retry.
    pub why: u8,
    /// Its length in units of 16 µs, saturating at 19 hours.
    pub(super) length: u32,
}

const LENGTH_UNIT_NS: u64 = 16_384;

impl Attempt {
    pub(super) const NONE: Attempt = Attempt {
        slot: u32::MAX,
        generation: 0,
        status: 0,
        cause: Cause::NONE,
        flags: 0,
        verdict: 0,
        why: 0,
        length: 0,
    };

    pub(super) fn set_length(&mut self, ns: u64) {
        self.length = u32::try_from(ns / LENGTH_UNIT_NS).unwrap_or(u32::MAX);
    }

    /// Its peer.
    pub fn peer(&self) -> PeerHandle {
        PeerHandle::new(self.slot, self.generation)
    }

    /// Bits of TIDEGATE_PICK_*.
    pub fn pick_flags(&self) -> u32 {
        public_flags(self.flags, false)
    }

    /// How long it took, in microseconds, 16 at a time; saturating.
    pub fn length_us(&self) -> u32 {
        u32::try_from(u64::from(self.length) * LENGTH_UNIT_NS / 1000).unwrap_or(u32::MAX)
    }
}

/// Why the last peer was picked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Chosen {
    /// Nobody was.
    Nobody = 0,
    /// The selector's choice.
    Selector = 1,
    /// It was due for a trial.
    Trial = 2,
    /// It is out, and nobody else was left.
    LastResort = 3,
    /// Health was ignored.
    Panic = 4,
    /// At random: the selector goes by a key, and the request had none.
    NoKey = 5,
}

/// What is told of a request's decisions.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Its upstream's id.
    pub upstream: u32,
    /// By its number in the ABI.
    pub selector: u8,
    /// Why the last peer was.
    pub chosen: Chosen,
    /// The last pick found nobody.
    pub refused: bool,
    /// `standings` are those of now, not of the pick.
    pub counted_later: bool,
    /// Who could be picked.
    pub standings: Standings,
    /// Attempts made.
    pub made: u8,
    /// What the request failed with last.
    pub cause: Cause,
    /// The last status that came from the upstream.
    pub received_status: u16,
    /// The last four attempts, in order.
    pub attempts: [Option<Attempt>; Record::KEPT],
}

impl Record {
    /// cbindgen:ignore
    /// Attempts in a record.
    pub const KEPT: usize = 4;

    pub(super) fn of(request: &Request) -> Record {
        let all = request.record();
        let shown = all.get(all.len().saturating_sub(Self::KEPT)..).unwrap_or(all);
        let counted = request.standings();
        Record {
            upstream: request.upstream().number(),
            selector: request.policy().selector() as u8,
            chosen: chosen(request),
            refused: request.found_nobody(),
            counted_later: counted.is_none(),
            standings: counted.copied().unwrap_or_else(|| request.standings_now()),
            made: request.attempts() as u8,
            cause: request.last_cause(),
            received_status: request.received_status(),
            attempts: std::array::from_fn(|i| shown.get(i).copied()),
        }
    }
}

fn chosen(request: &Request) -> Chosen {
    let Some(attempt) = request.record().last().filter(|_| !request.found_nobody()) else { return Chosen::Nobody };
    let is = |flag: u8| attempt.flags & flag != 0;
    match () {
        () if is(Choice::TRIAL) => Chosen::Trial,
        () if is(Choice::LAST_RESORT) => Chosen::LastResort,
        () if is(Choice::PANIC) => Chosen::Panic,
        () if request.policy().selector().is_hashed() && !request.has_key() => Chosen::NoKey,
        () => Chosen::Selector,
    }
}

/// "10.0.0.1:80 connection_refused 0.2ms retry; 10.0.0.2:80 200 12.0ms deliver | round_robin 2 of 3: 1 tried"
pub(super) fn describe(request: &Request) -> String {
    let mut line = String::new();
    for attempt in request.record() {
        if !line.is_empty() {
            line.push_str("; ");
        }
        let name = request.table().peer_display_name(attempt.peer()).unwrap_or_else(|_| "(removed)".into());
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
    if !line.is_empty() {
        // ASCII throughout, so that every byte is a boundary.
        line.truncate(MOST_LINE - MOST_REASONS);
        let _ = write!(line, " | {}", request.policy().selector().name());
        if chosen(request) == Chosen::NoKey {
            line.push_str(" (no key)");
        }
        if let Some(standings) = request.standings() {
            describe_standings(&mut line, standings);
        }
        line.truncate(MOST_LINE);
    }
    line
}

/// " 2 of 5: 1 tried, 2 ejected": of the last pick, as it was.
fn describe_standings(line: &mut String, standings: &Standings) {
    let [candidates, others @ ..] = &standings.counts;
    let (least, members) = (if standings.is_partial() { "first " } else { "" }, standings.members as usize);
    let _ = write!(line, " {candidates} of {least}{}", members.min(exclusion::MOST));
    let words = &exclusion::WORDS[Standing::Tried as usize..];
    for (i, (n, word)) in others.iter().zip(words).filter(|(n, _)| **n != 0).enumerate() {
        let _ = write!(line, "{} {n} {word}", if i == 0 { ":" } else { "," });
    }
}

/// The longest line.
const MOST_LINE: usize = 1024;
/// The longest part behind the attempts.
const MOST_REASONS: usize = 256;

const FLAGS: [(u8, &str); 5] = [
    (Choice::TRIAL, "trial"),
    (Choice::LAST_RESORT, "last resort"),
    (Choice::PANIC, "panic"),
    (Choice::BACKUP, "backup"),
    (Choice::FAR, "another zone"),
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
