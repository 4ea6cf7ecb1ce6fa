//! What one call of the validator saw: the event, how far it read, and what is known of the response by then.

use super::reason::Reason;

/// The kind of a [`Verdict`]; the numbers are those of the ABI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Event {
    /// All bytes were taken; more are needed.
    NeedMore = 0,
    /// The head of an interim response ended.
    Interim = 1,
    /// The head of the final response ended.
    Head = 2,
    /// Body bytes.
    Data = 3,
    /// The response is complete.
    Complete = 4,
    /// The bytes are no valid response.
    Reject = 5,
}

/// How the end of the body is found (RFC 9112, section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u32)]
pub enum Framing {
    /// The head has not ended.
    #[default]
    Unknown = 0,
    /// No body: HEAD, 204, 304.
    None = 1,
    /// `content_length` bytes.
    Length = 2,
    /// Chunked.
    Chunked = 3,
    /// Until the peer closes.
    Close = 4,
    /// No end: 101, or 2xx to CONNECT.
    Tunnel = 5,
}

/// How the connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum End {
    /// By FIN.
    Close = 1,
    /// By a reset or another error.
    Reset = 2,
    /// Not at all; the host stops waiting.
    Timeout = 3,
}

/// The connection may carry another request. Only ever with [`Event::Complete`].
/// cbindgen:ignore
pub const REUSABLE: u32 = 1;
/// Bytes came behind the end; they were not taken.
/// cbindgen:ignore
pub const EXCESS: u32 = 2;
/// The head in question is HTTP/1.0.
/// cbindgen:ignore
pub const HTTP_1_0: u32 = 4;
/// Something was tolerated that must not be forwarded as it came, in a head or behind the last chunk.
/// cbindgen:ignore
pub const NORMALISE: u32 = 8;
/// Chunk extensions came, or chunk framing was tolerated: do not forward the framing as it came.
/// cbindgen:ignore
pub const REFRAME: u32 = 16;

/// What one call saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What happened.
    pub event: Event,
    /// Bytes of this call's input that were taken.
    pub consumed: usize,
    /// DATA: where the body bytes start in this call's input.
    pub data: usize,
    /// DATA: how many there are.
    pub data_len: usize,
    /// Position in the response stream behind the bytes taken so far. REJECT: that of the first offending byte.
    pub offset: u64,
    /// The body's length where `framing` is [`Framing::Length`].
    pub content_length: u64,
    /// The status of the last head that ended; 0 before.
    pub status: u16,
    /// The framing of the final response.
    pub framing: Framing,
    /// [`REUSABLE`], [`EXCESS`], [`HTTP_1_0`], [`NORMALISE`], [`REFRAME`].
    pub flags: u32,
    /// Why it was rejected.
    pub reason: Reason,
    /// The first thing that was let through and that a strict reader would have refused.
    pub tolerated: Reason,
    /// Where that was in the stream.
    pub tolerated_offset: u64,
    /// The tolerances that were made use of so far.
    pub tolerances: u32,
}
