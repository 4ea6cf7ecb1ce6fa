//! Judging the bytes of an HTTP/1.x response as a recipient must: heads, framing, chunks, trailers, early ends.
//!
//! [`Validator`] is a state machine in a fixed-size value. It keeps no bytes of the response beyond one short word
//! (a name or a list member), so it can stop and go on at any byte: every cut of the stream gives the same events,
//! and a rejection names the first offending byte and the clause it breaks. It knows nothing of peers, retries or
//! caching, never changes bytes, and does not judge what a field means beyond framing and the connection's reuse.
//!
//! Cost: linear in the bytes whatever the cuts, no allocation, no panic. Body bytes are never read. A head that lies
//! whole in the input is scanned in blocks of 64 bytes (`fast`); everything else goes byte by byte (`head`, `body`),
//! and both leave the same state behind. Source: RFC 9112, sections 2 to 9; RFC 9110, sections 5, 6, 7.8, 8.6 and 15.

mod body;
mod bytes;
mod cgi;
mod codings;
mod expect;
mod fast;
mod fields;
mod head;
mod line;
mod list;
mod options;
mod reason;
mod rewrite;
mod rules;
mod scan;
mod state;
mod tolerate;
mod value;
mod verdict;

pub use fields::{FieldLine, next_field};
pub use options::{Options, Protocol, tolerance};
pub use reason::Reason;
pub use rewrite::rewrite_head;
pub use rules::{RuleError, Rules};
pub use state::Validator;
pub use verdict::{EXCESS, End, Event, Framing, HTTP_1_0, NORMALISE, REFRAME, REUSABLE, Verdict};

pub use crate::http::Method;
use state::{State, bits};

/// Largest `max_name`: what the machine counts in 16 bits, with room.
pub(crate) const MAX_NAME: u32 = 16384;

/// Longest `upgrade` offer, and longest list member that is compared with anything.
pub(crate) const WORD: usize = 64;

impl Validator<'_> {
    /// Judges the next bytes, up to the next event.
    #[inline]
    pub fn feed(&mut self, input: &[u8]) -> Verdict {
        match self.usual(input) {
            Some(seen) => seen,
            None => self.feed_any(input),
        }
    }

    /// The same, whatever comes: [`Self::usual`] has been asked.
    #[inline]
    pub(crate) fn feed_any(&mut self, input: &[u8]) -> Verdict {
        // The one place that makes a verdict, so that it goes to the caller's without a copy in between.
        let (event, consumed, data_len) = self.advance(input);
        let verdict = self.verdict(event, consumed, data_len);
        if event == Event::Interim {
            self.begin_head();
        }
        verdict
    }

    /// What most calls of a body in small chunks, or of a head byte by byte, come to. None has taken nothing.
    #[inline(always)]
    pub(crate) fn usual(&mut self, input: &[u8]) -> Option<Verdict> {
        match self.state {
            State::ChunkDataCr | State::ChunkSize => {
                let (taken, len) = self.plain_chunk(input)?;
                Some(self.passing(Event::Data, taken, len))
            }
            State::Value | State::Name => self.plain_byte(input).then(|| self.passing(Event::NeedMore, 1, 0)),
            _ => None,
        }
    }

    /// Judges the next bytes as `feed` does, but goes on over DATA while there is room in `ranges`: offset and length in
    /// `input`. Says how many it has written; the event is DATA if there was no more room.
    pub fn feed_ranges(&mut self, input: &[u8], ranges: &mut [[usize; 2]]) -> (Verdict, usize) {
        let (mut taken, mut count) = (0, 0);
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            let (event, consumed, data_len) = match self.plain_chunk(rest) {
                Some((taken, len)) => (Event::Data, taken, len),
                None => self.advance(rest),
            };
            taken += consumed;
            if event == Event::Data {
                if let Some(range) = ranges.get_mut(count) {
                    *range = [taken - data_len, data_len];
                }
                count += 1;
                if count < ranges.len() {
                    self.base = self.base.saturating_add(consumed as u64);
                    continue;
                }
            }
            let mut verdict = self.verdict(event, consumed, 0);
            verdict.consumed = taken;
            if event == Event::Interim {
                self.begin_head();
            }
            return (verdict, count);
        }
    }

    /// Takes bytes up to the next event: which it is, how many were taken, and how many of these are data.
    #[inline(always)]
    fn advance(&mut self, input: &[u8]) -> (Event, usize, usize) {
        let mut at = 0;
        loop {
            let step = match self.state {
                State::Done if self.has(bits::EXPECT) => {
                    self.here = self.base.saturating_add(at as u64);
                    self.expect_end()
                }
                State::Done => {
                    if at < input.len() {
                        self.bits |= bits::EXCESS;
                    }
                    return (Event::Complete, at, 0);
                }
                State::Rejected => return (Event::Reject, 0, 0),
                State::Length | State::ChunkData | State::UntilClose | State::Tunnel => self.body(input, &mut at),
                state if state < State::Length => self.section(input, &mut at),
                _ => self.framing(input, &mut at),
            };
            let refused = match step {
                Ok(Step::On) => continue,
                Ok(Step::More) => return (Event::NeedMore, at, 0),
                Ok(Step::SectionEnd) if self.has(bits::TRAILER) => {
                    self.state = State::Done;
                    continue;
                }
                Ok(Step::SectionEnd) => {
                    self.here = self.base.saturating_add(at as u64 - 1);
                    match self.end_head() {
                        Ok(event) => return (event, at, 0),
                        Err(reason) => (reason, at - 1),
                    }
                }
                Ok(Step::Data(len)) => return (Event::Data, at, len),
                Err(reason) => (reason, at),
            };
            self.refuse(refused.0);
            return (Event::Reject, refused.1, 0);
        }
    }

    /// Judges the end of the connection. A tunnel has no end that could be missed; a body until close ends by FIN.
    pub fn finish(&mut self, end: End) -> Verdict {
        let reason = match (self.state, end) {
            (State::Rejected, _) => return self.verdict(Event::Reject, 0, 0),
            (State::Done | State::Tunnel, _) | (State::UntilClose, End::Close) => {
                self.state = State::Done;
                self.bits |= bits::CLOSE;
                self.here = self.base;
                match self.expect_end() {
                    Ok(_) => return self.verdict(Event::Complete, 0, 0),
                    Err(reason) => reason,
                }
            }
            (_, End::Timeout) => Reason::READ_TIMEOUT,
            _ if self.base == 0 => Reason::NOTHING_RECEIVED,
            _ if self.framing == Framing::Unknown => Reason::HEAD_INCOMPLETE,
            (State::Length, End::Close) if matches!(self.protocol, Protocol::Http2 | Protocol::Http3) => {
                Reason::BODY_SHORT_OF_LENGTH
            }
            _ => Reason::BODY_INCOMPLETE,
        };
        self.refuse(reason);
        self.verdict(Event::Reject, 0, 0)
    }

    #[cold]
    fn refuse(&mut self, reason: Reason) {
        self.state = State::Rejected;
        self.reason = reason;
    }

    /// [`Self::verdict`] where nothing was refused and the response goes on.
    #[inline(always)]
    fn passing(&mut self, event: Event, consumed: usize, data_len: usize) -> Verdict {
        debug_assert!(self.reason == Reason::NONE && event != Event::Complete);
        Verdict { reason: Reason::NONE, ..self.verdict(event, consumed, data_len) }
    }

    /// Takes `consumed` bytes off the stream, of which the last `data_len` are data, and says what is known.
    #[inline(always)]
    fn verdict(&mut self, event: Event, consumed: usize, data_len: usize) -> Verdict {
        self.base = self.base.saturating_add(consumed as u64);
        let mut flags = self.bits & (EXCESS | HTTP_1_0 | NORMALISE | REFRAME);
        if event == Event::Complete && self.is_reusable() {
            flags |= REUSABLE;
        }
        Verdict {
            event,
            consumed,
            data: if data_len > 0 { consumed - data_len } else { 0 },
            data_len,
            offset: self.base,
            content_length: if self.framing == Framing::Length { self.content_length } else { 0 },
            status: self.status,
            framing: self.framing,
            flags,
            reason: self.reason,
            tolerated: self.tolerated,
            tolerated_offset: self.tolerated_at,
            tolerances: self.tolerances,
        }
    }

    /// RFC 9112, section 9.3. Besides: a sender that puts framing fields where they mean nothing, or uses a coding that
    /// its version does not have, may well send a body that we do not expect.
    fn is_reusable(&self) -> bool {
        let stray_body =
            self.status == 204 && (self.has(bits::CHUNKED) || self.has(bits::LENGTH) && self.content_length > 0);
        let persistent = !self.has(bits::HTTP_1_0) || self.has(bits::KEEP_ALIVE) && !self.has(bits::CHUNKED);
        let delimited = matches!(self.framing, Framing::None | Framing::Length | Framing::Chunked);
        let ours = self.protocol == Protocol::Http1;
        ours && delimited && persistent && !stray_body && !self.has(bits::CLOSE) && !self.has(bits::EXCESS)
    }

    /// Whether the response comes as bytes.
    pub(crate) fn reads_bytes(&self) -> bool {
        // HTTP/2 and HTTP/3, in one instruction: this stands before every feed.
        self.protocol as u8 & Protocol::Http2 as u8 == 0
    }

    /// Whether chunk framing is being read, so that data can't be told apart from outside.
    pub(crate) fn is_in_chunks(&self) -> bool {
        self.framing == Framing::Chunked && self.state >= State::ChunkSize && self.state < State::Done
    }

    #[inline]
    fn has(&self, bit: u32) -> bool {
        self.bits & bit != 0
    }
}

/// What a part of the machine did with its bytes; `at` stands behind them, or at the byte that it refuses.
enum Step {
    /// The state has changed: look again.
    On,
    /// The input is used up.
    More,
    /// The empty line of a head or trailer section was taken.
    SectionEnd,
    /// This many body bytes were taken and are to be reported.
    Data(usize),
}
