//! Bodies: by length, until close, tunnels, and chunks with their extensions.
//!
//! Data is counted and passed over, never read. Chunk framing is read to the letter (no lone LF, no white space
//! without an extension), because a reader that guesses differently is a way to smuggle. Two budgets bound what a
//! hostile peer makes us read for little data: bytes of extensions, and framing beyond ten times the data. Cost:
//! constant for a run of data; a step a byte of framing, less for chunks without extensions that lie in the input.
//! Source: RFC 9112, sections 6.3, 7.1 and 8.

use super::bytes::{CR, LF, is_ows, is_text, is_token};
use super::{Framing, Reason, State, Step, Validator, bits, tolerance};

/// Framing that is free of the ratio below.
const FREE_OVERHEAD: u64 = 16384;
/// Most bytes of framing for a byte of data, beyond that.
const MAX_OVERHEAD_RATIO: u64 = 10;
/// Most digits of a chunk size, leading zeros counted.
const MAX_SIZE_DIGITS: u8 = 16;
/// Largest chunk: what fits in a signed 64-bit integer, since somebody behind us will use one.
const MAX_SIZE: u64 = i64::MAX as u64;

impl Validator<'_> {
    /// Takes body bytes.
    pub(super) fn body(&mut self, input: &[u8], at: &mut usize) -> Result<Step, Reason> {
        let here = input.len().saturating_sub(*at);
        if here == 0 {
            return Ok(Step::More);
        }
        let room = match self.framing {
            Framing::Tunnel => u64::MAX,
            Framing::Close => self.max_body.saturating_sub(self.body),
            _ => self.remaining,
        };
        if room == 0 {
            self.here = self.base.saturating_add(*at as u64);
            self.too_large()?;
            return Ok(Step::On);
        }
        let mut len = usize::try_from(room).unwrap_or(usize::MAX).min(here);
        if self.has(bits::INSPECT) {
            self.here = self.base.saturating_add(*at as u64);
            len = self.inspect(input.get(*at..*at + len).unwrap_or_default())?;
        }
        *at += len;
        self.body = self.body.saturating_add(len as u64);
        if matches!(self.framing, Framing::Length | Framing::Chunked) {
            self.remaining -= len as u64;
            if self.remaining == 0 {
                self.state = if self.framing == Framing::Length { State::Done } else { State::ChunkDataCr };
            }
        }
        Ok(if self.no_data { Step::On } else { Step::Data(len) })
    }

    /// Reads on in chunk framing, until data or the trailer section begins.
    #[inline(always)]
    pub(super) fn framing(&mut self, input: &[u8], at: &mut usize) -> Result<Step, Reason> {
        if self.no_data {
            self.plain_chunks(input, at);
        } else if let Some((taken, len)) = self.plain_chunk(input.get(*at..).unwrap_or_default()) {
            *at += taken;
            return Ok(Step::Data(len));
        }
        self.framing_bytes(input, at)
    }

    /// The same, byte by byte. Not inlined, like its fellow in `head`: it would take registers from the usual case.
    #[inline(never)]
    fn framing_bytes(&mut self, input: &[u8], at: &mut usize) -> Result<Step, Reason> {
        while let Some(&b) = input.get(*at) {
            if matches!(self.state, State::ChunkData | State::LineStart) {
                return Ok(Step::On);
            }
            self.here = self.base.saturating_add(*at as u64);
            self.framing_byte(b)?;
            *at += 1;
        }
        Ok(match self.state {
            State::ChunkData | State::LineStart => Step::On,
            _ => Step::More,
        })
    }

    /// Expects a chunk size.
    pub(super) fn begin_chunk(&mut self) {
        self.state = State::ChunkSize;
        self.remaining = 0;
        self.digits = 0;
    }

    fn framing_byte(&mut self, b: u8) -> Result<(), Reason> {
        self.overhead = self.overhead.saturating_add(1);
        if self.over_budget(self.overhead, self.body) {
            self.tolerate(tolerance::REST, Reason::CHUNK_OVERHEAD)?;
        }
        match self.state {
            State::ChunkSize => self.size_byte(b),
            State::ChunkLineFeed if b == LF => self.size_line_end(),
            State::ChunkDataCr if b == CR => self.go(State::ChunkDataLf),
            State::ChunkDataLf if b == LF => {
                self.begin_chunk();
                Ok(())
            }
            State::ChunkDataCr if b == LF => {
                self.tolerate(tolerance::CHUNK_LF, Reason::CHUNK_DATA_END)?;
                self.begin_chunk();
                Ok(())
            }
            State::ChunkDataCr | State::ChunkDataLf => Err(Reason::CHUNK_DATA_END),
            State::ChunkLineFeed => Err(Reason::CHUNK_LINE_END),
            _ => self.extension_byte(b),
        }
    }

    #[inline(always)]
    fn over_budget(&self, overhead: u64, body: u64) -> bool {
        overhead > FREE_OVERHEAD && overhead > body.saturating_mul(MAX_OVERHEAD_RATIO)
    }

    fn go(&mut self, state: State) -> Result<(), Reason> {
        self.state = state;
        Ok(())
    }

    fn size_byte(&mut self, b: u8) -> Result<(), Reason> {
        if let Some(digit) = hex(b) {
            self.digits = self.digits.saturating_add(1);
            if self.remaining > MAX_SIZE >> 4 {
                return Err(Reason::CHUNK_SIZE_TOO_LARGE);
            }
            self.remaining = self.remaining << 4 | digit;
            if self.digits > MAX_SIZE_DIGITS {
                self.tolerate(tolerance::REST, Reason::CHUNK_SIZE_TOO_LARGE)?;
            }
            return Ok(());
        }
        match b {
            _ if self.digits == 0 => Err(Reason::CHUNK_SIZE_MALFORMED),
            CR => self.go(State::ChunkLineFeed),
            LF => self.lone_line_feed(),
            b';' | b' ' | b'\t' => {
                self.state = State::BeforeSemicolon;
                self.extension_byte(b)
            }
            _ => Err(Reason::CHUNK_SIZE_MALFORMED),
        }
    }

    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`; the bytes are counted and dropped.
    fn extension_byte(&mut self, b: u8) -> Result<(), Reason> {
        use State::*;
        if b == CR || b == LF {
            return self.extension_end(b);
        }
        self.bits |= bits::REFRAME;
        self.extension_len = self.extension_len.saturating_add(1);
        if self.extension_len > self.max_chunk_extension {
            self.tolerate(tolerance::REST, Reason::CHUNK_EXTENSION_TOO_LARGE)?;
        }
        let next = match (self.state, b) {
            (BeforeSemicolon | ExtensionName | AfterExtensionName | ExtensionValue | AfterQuoted, b';') => {
                ExtensionNameStart
            }
            (ExtensionName | AfterExtensionName, b'=') => ExtensionValueStart,
            (ExtensionName | AfterExtensionName, _) if is_ows(b) => AfterExtensionName,
            (ExtensionValue | AfterQuoted, _) if is_ows(b) => BeforeSemicolon,
            (BeforeSemicolon | ExtensionNameStart | ExtensionValueStart, _) if is_ows(b) => self.state,
            (ExtensionNameStart | ExtensionName, _) if is_token(b) => ExtensionName,
            (ExtensionValueStart | ExtensionValue, _) if is_token(b) => ExtensionValue,
            (ExtensionValueStart, b'"') => Quoted,
            (Quoted, b'"') => AfterQuoted,
            (Quoted, b'\\') => QuotedPair,
            (Quoted | QuotedPair, _) if is_text(b) => Quoted,
            (BrokenExtension, _) if b != 0 => BrokenExtension,
            _ => {
                let needed = Self::control(b, tolerance::CHUNK_EXTENSIONS);
                self.tolerate(needed, Reason::CHUNK_EXTENSION_MALFORMED)?;
                BrokenExtension
            }
        };
        self.go(next)
    }

    /// The CR or LF that may end an extension.
    fn extension_end(&mut self, b: u8) -> Result<(), Reason> {
        use State::*;
        if b == LF {
            self.tolerate(tolerance::CHUNK_LF, Reason::CHUNK_LINE_END)?;
        }
        match self.state {
            ExtensionName | ExtensionValue | AfterQuoted | BrokenExtension => {}
            BeforeSemicolon | AfterExtensionName => {
                self.tolerate(tolerance::CHUNK_SPACE, Reason::CHUNK_EXTENSION_MALFORMED)?;
            }
            _ => self.tolerate(tolerance::CHUNK_EXTENSIONS, Reason::CHUNK_EXTENSION_MALFORMED)?,
        }
        if b == LF { self.size_line_end() } else { self.go(ChunkLineFeed) }
    }

    /// A size line that ends without its CR.
    fn lone_line_feed(&mut self) -> Result<(), Reason> {
        self.tolerate(tolerance::CHUNK_LF, Reason::CHUNK_LINE_END)?;
        self.size_line_end()
    }

    /// A body of more than `max_body` bytes.
    #[cold]
    pub(super) fn too_large(&mut self) -> Result<(), Reason> {
        let reason = if self.has(bits::EXPECT) { self.above_maximum() } else { Reason::BODY_TOO_LARGE };
        self.tolerate(tolerance::REST, reason)?;
        self.max_body = u64::MAX;
        Ok(())
    }

    fn size_line_end(&mut self) -> Result<(), Reason> {
        if self.remaining == 0 {
            if self.has(bits::EXPECT) {
                self.expect_end()?;
            }
            self.begin_trailer();
            return Ok(());
        }
        if self.remaining > self.max_body.saturating_sub(self.body) {
            self.too_large()?;
        }
        self.go(State::ChunkData)
    }

    /// Takes one chunk's size line without extension and its data, as far as they lie in the input, and the line end
    /// of the chunk before: the bytes taken, and how many of them are data. It takes nothing that `framing_byte` would
    /// refuse or mark.
    #[inline(always)]
    pub(super) fn plain_chunk(&mut self, input: &[u8]) -> Option<(usize, usize)> {
        if self.no_data || self.has(bits::INSPECT) {
            return None;
        }
        let line = match self.state {
            State::ChunkDataCr if input.starts_with(b"\r\n") => 2,
            State::ChunkSize if self.digits == 0 => 0,
            _ => return None,
        };
        let (size, line) = plain_size(input, line)?;
        let overhead = self.overhead + line as u64;
        let here = (input.len() - line) as u64;
        if here == 0 || size > self.max_body - self.body || self.over_budget(overhead, self.body) {
            return None;
        }
        let len = size.min(here);
        self.overhead = overhead;
        self.body += len;
        self.remaining = size - len;
        self.state = if size > here { State::ChunkData } else { State::ChunkDataCr };
        Some((line + len as usize, len as usize))
    }

    /// With NO_DATA: goes on over whole chunks of that kind. It stops before one that the input cuts off.
    fn plain_chunks(&mut self, input: &[u8], at: &mut usize) {
        let mut rest = input.get(*at..).unwrap_or_default();
        while !self.has(bits::INSPECT) {
            let line = match self.state {
                State::ChunkDataCr if rest.starts_with(b"\r\n") => 2,
                State::ChunkSize if self.digits == 0 => 0,
                _ => return,
            };
            let Some((size, line)) = plain_size(rest, line) else { return };
            let overhead = self.overhead + line as u64;
            let here = (rest.len() - line) as u64;
            if size > here || size > self.max_body - self.body || self.over_budget(overhead, self.body) {
                return;
            }
            self.overhead = overhead;
            self.body += size;
            self.state = State::ChunkDataCr;
            let taken = line + size as usize;
            *at += taken;
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
}

/// A size of one to seven digits other than 0 at `at` with its CR LF, and the position behind them.
#[inline(always)]
fn plain_size(input: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut size = 0;
    for (i, pair) in input.get(at..)?.windows(2).take(8).enumerate() {
        match hex(pair[0]) {
            Some(digit) => size = size << 4 | digit,
            None if pair == b"\r\n" && size > 0 => return Some((size, at + i + 2)),
            None => return None,
        }
    }
    None
}

#[inline]
fn hex(b: u8) -> Option<u64> {
    match HEX[b as usize] {
        NO_DIGIT => None,
        digit => Some(u64::from(digit)),
    }
}

const NO_DIGIT: u8 = 255;

static HEX: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut i = 0u8;
    while i < 16 {
        table[b"0123456789abcdef"[i as usize] as usize] = i;
        table[b"0123456789ABCDEF"[i as usize] as usize] = i;
        i += 1;
    }
    table
};
