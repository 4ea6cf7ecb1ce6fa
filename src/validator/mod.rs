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
mod tolerate;
mod value;
mod verdict;

pub use fields::{FieldLine, next_field};
pub use options::{Options, Protocol, tolerance};
pub use reason::Reason;
pub use rewrite::rewrite_head;
pub use rules::{RuleError, Rules};
pub use verdict::{EXCESS, End, Event, Framing, HTTP_1_0, NORMALISE, REFRAME, REUSABLE, Verdict};

pub use crate::http::Method;

/// Largest `max_name`: what the machine counts in 16 bits, with room.
pub(crate) const MAX_NAME: u32 = 16384;

/// Longest `upgrade` offer, and longest list member that is compared with anything.
pub(crate) const WORD: usize = 64;

/// The state of one response. Feed it bytes until an event; feed it the rest until NEED_MORE, COMPLETE or REJECT.
#[derive(Clone, Copy, Debug)]
pub struct Validator<'a> {
    /// Bytes of the stream taken by earlier calls; after a rejection, the offset of the offending byte.
    base: u64,
    max_body: u64,
    /// The value of Content-Length. Meaningful with `bits::LENGTH`.
    content_length: u64,
    /// The Content-Length being read, which may be a repetition.
    length_read: u64,
    /// Bytes that the body or the chunk still lacks; the chunk size while that is read.
    remaining: u64,
    /// Body bytes so far, framing not counted.
    body: u64,
    /// Bytes of chunk framing so far, trailers not counted.
    overhead: u64,
    /// The offset in the stream of the byte being judged; kept only where a tolerance may ask for it.
    here: u64,
    /// Where `tolerated` was.
    tolerated_at: u64,
    rules: Option<&'a Rules>,
    max_head: u32,
    max_line: u32,
    max_fields: u32,
    max_interim: u32,
    max_chunk_extension: u32,
    max_trailer: u32,
    max_trailers: u32,
    /// What the policy lets through.
    tolerate: u32,
    /// What of it was made use of.
    tolerances: u32,
    /// Bytes of this head or trailer section.
    section_len: u32,
    /// Bytes of this line without its line end.
    line_len: u32,
    /// Fields of this section.
    fields: u32,
    /// Interim responses so far.
    interim: u32,
    /// Their bytes.
    interim_len: u32,
    extension_len: u32,
    bits: u32,
    max_name: u16,
    /// The field rules that this head has met, one bit each.
    fields_seen: u16,
    /// The status being read.
    code: u16,
    /// The status of the last head that ended.
    status: u16,
    /// Bytes of the name or list member being read; those beyond `WORD` are counted but not kept.
    word_len: u16,
    state: State,
    field: value::Field,
    /// Where a value's own little machine stands.
    value_state: u8,
    /// Digits of the number being read.
    digits: u8,
    /// Of these, the ones behind leading zeros.
    significant: u8,
    framing: Framing,
    method: Method,
    protocol: Protocol,
    reason: Reason,
    /// The first thing that a strict reader would have refused.
    tolerated: Reason,
    no_data: bool,
    offered_len: u8,
    /// The markers that were found in the body, one bit each.
    markers_found: u8,
    /// How much of each marker the last body bytes match.
    matched: [u8; rules::MAX_MARKERS],
    word: [u8; WORD],
    offered: [u8; WORD],
}

const _: () = assert!(size_of::<Validator>() <= 504, "the ABI gives 512 bytes, 8 of them for a mark");

/// What is known of the response, one bit each. Those of `PER_HEAD` start anew with each head.
mod bits {
    /// These four are flags of the verdict as they are.
    pub(crate) const EXCESS: u32 = super::EXCESS;
    pub(crate) const HTTP_1_0: u32 = super::HTTP_1_0;
    pub(crate) const NORMALISE: u32 = super::NORMALISE;
    pub(crate) const REFRAME: u32 = super::REFRAME;
    /// Content-Length was seen.
    pub(crate) const LENGTH: u32 = 1 << 5;
    /// Transfer-Encoding was seen, and it is `chunked`.
    pub(crate) const CHUNKED: u32 = 1 << 6;
    /// `Connection: close`, or a Connection that can't be read. Also from an interim response: RFC 9112, section 9.6.
    pub(crate) const CLOSE: u32 = 1 << 7;
    /// `Connection: keep-alive`.
    pub(crate) const KEEP_ALIVE: u32 = 1 << 8;
    /// `Connection: upgrade`.
    pub(crate) const UPGRADE: u32 = 1 << 9;
    /// An Upgrade field of a 101 names an offered protocol.
    pub(crate) const UPGRADED: u32 = 1 << 10;
    /// An interim head is being read.
    pub(crate) const INTERIM: u32 = 1 << 11;
    /// A 2xx to CONNECT: framing fields are ignored (RFC 9110, section 9.3.6).
    pub(crate) const UNFRAMED: u32 = 1 << 12;
    /// The section being read is the trailer section.
    pub(crate) const TRAILER: u32 = 1 << 13;
    /// A transfer coding other than `chunked` is tolerated.
    pub(crate) const CODED: u32 = 1 << 14;
    /// The major version was not 1.
    pub(crate) const OTHER_MAJOR: u32 = 1 << 15;
    /// Rules or CGI look at more fields than framing does.
    pub(crate) const WATCH: u32 = 1 << 16;
    /// The operator's rules hold for this response.
    pub(crate) const EXPECT: u32 = 1 << 17;
    /// Bytes of the body are looked at for markers.
    pub(crate) const INSPECT: u32 = 1 << 18;
    /// A field that makes a CGI response complete was seen.
    pub(crate) const CGI: u32 = 1 << 19;
    /// A CGI response has a Location.
    pub(crate) const LOCATION: u32 = 1 << 20;
    /// A CGI response has a Content-Type.
    pub(crate) const CONTENT_TYPE: u32 = 1 << 21;
    /// A Content-Type that the rules do not allow was seen.
    pub(crate) const TYPE_BARRED: u32 = 1 << 22;
    /// The pseudo-field part of a list is over.
    pub(crate) const REGULAR: u32 = 1 << 23;
    pub(crate) const PER_HEAD: u32 = !(CLOSE | EXCESS | WATCH);
}

/// Where the machine stands: which byte it expects next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
#[repr(u8)]
enum State {
    /// "HTTP/1."; `value_state` counts its bytes.
    Protocol,
    Minor,
    SpaceAfterVersion,
    Hundreds,
    Tens,
    Units,
    AfterStatus,
    ReasonPhrase,
    /// The LF of the status line or of a field line.
    LineFeed,
    LineStart,
    Name,
    /// White space behind a name, where it is tolerated.
    AfterName,
    Value,
    /// A line that is no field, where it is tolerated.
    NoField,
    /// The LF of the empty line.
    LastLineFeed,
    Length,
    UntilClose,
    Tunnel,
    ChunkSize,
    /// White space that must lead to a `;`.
    BeforeSemicolon,
    ExtensionNameStart,
    ExtensionName,
    /// White space that must lead to a `;` or a `=`.
    AfterExtensionName,
    ExtensionValueStart,
    ExtensionValue,
    Quoted,
    QuotedPair,
    AfterQuoted,
    /// An extension that breaks its grammar, where that is tolerated.
    BrokenExtension,
    ChunkLineFeed,
    ChunkData,
    ChunkDataCr,
    ChunkDataLf,
    Done,
    Rejected,
}

impl<'a> Validator<'a> {
    /// The state before the first byte, with the options' defaults. A constant, so that starting is a plain copy of it:
    /// a state put together from single fields would have to wait for them before it could be copied.
    pub(crate) const START: Validator<'static> = Validator {
        base: 0,
        max_body: Options::DEFAULT.max_body,
        content_length: 0,
        length_read: 0,
        remaining: 0,
        body: 0,
        overhead: 0,
        here: 0,
        tolerated_at: 0,
        rules: None,
        max_head: Options::DEFAULT.max_head,
        max_line: Options::DEFAULT.max_line,
        max_fields: Options::DEFAULT.max_fields,
        max_interim: Options::DEFAULT.max_interim,
        max_chunk_extension: Options::DEFAULT.max_chunk_extension,
        max_trailer: Options::DEFAULT.max_trailer,
        max_trailers: Options::DEFAULT.max_trailers,
        tolerate: Options::DEFAULT.tolerate,
        tolerances: 0,
        section_len: 0,
        line_len: 0,
        fields: 0,
        interim: 0,
        interim_len: 0,
        extension_len: 0,
        bits: 0,
        max_name: Options::DEFAULT.max_name as u16,
        fields_seen: 0,
        code: 0,
        status: 0,
        word_len: 0,
        state: State::Protocol,
        field: value::Field::Other,
        value_state: 0,
        digits: 0,
        significant: 0,
        framing: Framing::Unknown,
        method: Options::DEFAULT.method,
        protocol: Options::DEFAULT.protocol,
        reason: Reason::NONE,
        tolerated: Reason::NONE,
        no_data: Options::DEFAULT.no_data,
        offered_len: 0,
        markers_found: 0,
        matched: [0; rules::MAX_MARKERS],
        word: [0; WORD],
        offered: [0; WORD],
    };

    /// The state before the first byte.
    pub fn new(options: &Options<'a>) -> Validator<'a> {
        let mut validator = Validator::START;
        validator.set(options);
        validator
    }

    /// Puts the options into a fresh state.
    #[inline]
    pub(crate) fn set(&mut self, options: &Options<'a>) {
        self.max_body = options.max_body;
        self.max_head = options.max_head;
        self.max_line = options.max_line;
        self.max_fields = options.max_fields;
        self.max_interim = options.max_interim;
        self.max_chunk_extension = options.max_chunk_extension;
        self.max_trailer = options.max_trailer;
        self.max_trailers = options.max_trailers;
        self.max_name = options.max_name.min(MAX_NAME) as u16;
        self.tolerate = options.tolerate;
        self.rules = options.rules;
        self.protocol = options.protocol;
        if options.protocol == Protocol::Cgi {
            self.state = State::LineStart;
        }
        if options.protocol == Protocol::Cgi || options.rules.is_some() {
            self.bits |= bits::WATCH;
        }
        self.method = options.method;
        self.no_data = options.no_data;
        self.offered_len = options.upgrade.len().min(WORD) as u8;
        for (slot, b) in self.offered.iter_mut().zip(options.upgrade) {
            *slot = b.to_ascii_lowercase();
        }
    }

    /// Judges the next bytes, up to the next event.
    #[inline]
    pub fn feed(&mut self, input: &[u8]) -> Verdict {
        // The one place that makes a verdict, so that it goes to the caller's without a copy in between.
        let (event, consumed, data_len) = self.advance(input);
        let verdict = self.verdict(event, consumed, data_len);
        if event == Event::Interim {
            self.begin_head();
        }
        verdict
    }

    /// Judges the next bytes as `feed` does, but goes on over DATA while there is room in `ranges`: offset and length in
    /// `input`. Says how many it has written; the event is DATA if there was no more room.
    pub fn feed_ranges(&mut self, input: &[u8], ranges: &mut [[usize; 2]]) -> (Verdict, usize) {
        let (mut taken, mut count) = (0, 0);
        loop {
            let (event, consumed, data_len) = self.advance(input.get(taken..).unwrap_or_default());
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
