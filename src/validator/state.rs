//! The state of one response: what is kept between two calls, bit by bit, and how it begins.
//!
//! A fixed-size value without the response's bytes, so that the host keeps it and any byte may be the last of a call.
//! It decides nothing. Beginning is a copy of a constant; no allocation. The ABI gives it 512 bytes.

use super::value::Field;
use super::{Framing, MAX_NAME, Method, Options, Protocol, Reason, Rules, WORD, rules};

/// The state of one response. Feed it bytes until an event; feed it the rest until NEED_MORE, COMPLETE or REJECT.
#[derive(Clone, Copy, Debug)]
pub struct Validator<'a> {
    /// Bytes of the stream taken by earlier calls; after a rejection, the offset of the offending byte.
    pub(super) base: u64,
    pub(super) max_body: u64,
    /// The value of Content-Length. Meaningful with `bits::LENGTH`.
    pub(super) content_length: u64,
    /// The Content-Length being read, which may be a repetition.
    pub(super) length_read: u64,
    /// Bytes that the body or the chunk still lacks; the chunk size while that is read.
    pub(super) remaining: u64,
    /// Body bytes so far, framing not counted.
    pub(super) body: u64,
    /// Bytes of chunk framing so far, trailers not counted.
    pub(super) overhead: u64,
    /// The offset in the stream of the byte being judged; kept only where a tolerance may ask for it.
    pub(super) here: u64,
    /// Where `tolerated` was.
    pub(super) tolerated_at: u64,
    pub(super) rules: Option<&'a Rules>,
    pub(super) max_head: u32,
    pub(super) max_line: u32,
    pub(super) max_fields: u32,
    pub(super) max_interim: u32,
    pub(super) max_chunk_extension: u32,
    pub(super) max_trailer: u32,
    pub(super) max_trailers: u32,
    /// What the policy lets through.
    pub(super) tolerate: u32,
    /// What of it was made use of.
    pub(super) tolerances: u32,
    /// Bytes of this head or trailer section.
    pub(super) section_len: u32,
    /// Bytes of this line without its line end.
    pub(super) line_len: u32,
    /// Fields of this section.
    pub(super) fields: u32,
    /// Interim responses so far.
    pub(super) interim: u32,
    /// Their bytes.
    pub(super) interim_len: u32,
    pub(super) extension_len: u32,
    pub(super) bits: u32,
    pub(super) max_name: u16,
    /// The field rules that this head has met, one bit each.
    pub(super) fields_seen: u16,
    /// The status being read.
    pub(super) code: u16,
    /// The status of the last head that ended.
    pub(super) status: u16,
    /// Bytes of the name or list member being read; those beyond `WORD` are counted but not kept.
    pub(super) word_len: u16,
    pub(super) state: State,
    pub(super) field: Field,
    /// Where a value's own little machine stands.
    pub(super) value_state: u8,
    /// Digits of the number being read.
    pub(super) digits: u8,
    /// Of these, the ones behind leading zeros.
    pub(super) significant: u8,
    pub(super) framing: Framing,
    pub(super) method: Method,
    pub(super) protocol: Protocol,
    pub(super) reason: Reason,
    /// The first thing that a strict reader would have refused.
    pub(super) tolerated: Reason,
    pub(super) no_data: bool,
    pub(super) offered_len: u8,
    /// The markers that were found in the body, one bit each.
    pub(super) markers_found: u8,
    /// How much of each marker the last body bytes match.
    pub(super) matched: [u8; rules::MAX_MARKERS],
    pub(super) word: [u8; WORD],
    pub(super) offered: [u8; WORD],
}

const _: () = assert!(size_of::<Validator>() <= 504, "the ABI gives 512 bytes, 8 of them for a mark");

/// What is known of the response, one bit each. Those of `PER_HEAD` start anew with each head.
pub(super) mod bits {
    /// These four are flags of the verdict as they are.
    pub(in super::super) const EXCESS: u32 = super::super::EXCESS;
    pub(in super::super) const HTTP_1_0: u32 = super::super::HTTP_1_0;
    pub(in super::super) const NORMALISE: u32 = super::super::NORMALISE;
    pub(in super::super) const REFRAME: u32 = super::super::REFRAME;
    /// Content-Length was seen.
    pub(in super::super) const LENGTH: u32 = 1 << 5;
    /// Transfer-Encoding was seen, and it is `chunked`.
    pub(in super::super) const CHUNKED: u32 = 1 << 6;
    /// `Connection: close`, or a Connection that can't be read. Also from an interim response: RFC 9112, section 9.6.
    pub(in super::super) const CLOSE: u32 = 1 << 7;
    /// `Connection: keep-alive`.
    pub(in super::super) const KEEP_ALIVE: u32 = 1 << 8;
    /// `Connection: upgrade`.
    pub(in super::super) const UPGRADE: u32 = 1 << 9;
    /// An Upgrade field of a 101 names an offered protocol.
    pub(in super::super) const UPGRADED: u32 = 1 << 10;
    /// An interim head is being read.
    pub(in super::super) const INTERIM: u32 = 1 << 11;
    /// A 2xx to CONNECT: framing fields are ignored (RFC 9110, section 9.3.6).
    pub(in super::super) const UNFRAMED: u32 = 1 << 12;
    /// The section being read is the trailer section.
    pub(in super::super) const TRAILER: u32 = 1 << 13;
    /// A transfer coding other than `chunked` is tolerated.
    pub(in super::super) const CODED: u32 = 1 << 14;
    /// The major version was not 1.
    pub(in super::super) const OTHER_MAJOR: u32 = 1 << 15;
    /// Rules or CGI look at more fields than framing does.
    pub(in super::super) const WATCH: u32 = 1 << 16;
    /// The operator's rules hold for this response.
    pub(in super::super) const EXPECT: u32 = 1 << 17;
    /// Bytes of the body are looked at for markers.
    pub(in super::super) const INSPECT: u32 = 1 << 18;
    /// A field that makes a CGI response complete was seen.
    pub(in super::super) const CGI: u32 = 1 << 19;
    /// A CGI response has a Location.
    pub(in super::super) const LOCATION: u32 = 1 << 20;
    /// A CGI response has a Content-Type.
    pub(in super::super) const CONTENT_TYPE: u32 = 1 << 21;
    /// A Content-Type that the rules do not allow was seen.
    pub(in super::super) const TYPE_BARRED: u32 = 1 << 22;
    /// The pseudo-field part of a list is over.
    pub(in super::super) const REGULAR: u32 = 1 << 23;
    pub(in super::super) const PER_HEAD: u32 = !(CLOSE | EXCESS | WATCH);
}

/// Where the machine stands: which byte it expects next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
#[repr(u8)]
pub(super) enum State {
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
        field: Field::Other,
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
}
