//! The values that decide framing and reuse: Content-Length, Transfer-Encoding, Connection, Upgrade.
//!
//! Each is a machine of two or three states that stands in `value_state` and survives a cut at any byte. Framing fields
//! are read to the letter, because two readers of one response must not differ; Connection is read leniently towards
//! "close", which is always safe. Constant cost a byte. Source: RFC 9110, sections 7.6.1, 7.8 and 8.6; RFC 9112, 6.

use super::bytes::{is_ows, is_token, trim};
use super::{Protocol, Reason, Validator, bits, tolerance};

/// The fields whose values or presence matter here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Field {
    Other,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    /// Fields of one hop that an intermediary removes: Keep-Alive, Proxy-Connection.
    HopByHop,
    /// Transfer-Encoding once it is known to hold more than `chunked`.
    Codings,
    /// A field that one of the operator's rules or CGI wants to see, and its value.
    ContentType,
    Location,
    Status,
}

/// A length in digits, whatever it says: RFC 9110, section 8.6 sets no bound, so we do.
const MAX_LENGTH_DIGITS: u8 = 64;
/// What a signed 64-bit integer holds, since somebody behind us will use one: nginx takes 2^63 for no length at all.
const MAX_LENGTH: u64 = i64::MAX as u64;

/// `value_state`: nothing but white space so far.
pub(super) const BEFORE: u8 = 0;
/// Inside the number, coding or list member; for Transfer-Encoding, BEFORE + the matched bytes of `chunked`.
pub(super) const INSIDE: u8 = 1;
/// White space after it.
pub(super) const AFTER: u8 = 255;

pub(super) const CHUNKED: &[u8; 7] = b"chunked";

impl Field {
    /// By name. The name is a token, so setting bit 5 maps upper to lower case and nothing else to a letter or `-`.
    pub(super) fn of(name: &[u8]) -> Field {
        match (name.len(), lower(name, 0)) {
            (14, CONTENT) if lower(name, 6) == T_LENGTH => Field::ContentLength,
            (10, CONNECTI) if lower(name, 2) == NNECTION => Field::Connection,
            (17, TRANSFER) if lower(name, 9) == ENCODING && name.get(8) == Some(&b'-') => Field::TransferEncoding,
            (10, KEEP_ALI) if lower(name, 2) == EP_ALIVE => Field::HopByHop,
            (16, PROXY_CO) if lower(name, 8) == NNECTION => Field::HopByHop,
            (7, _) if name.eq_ignore_ascii_case(b"upgrade") => Field::Upgrade,
            _ => Field::Other,
        }
    }

    /// Whether a name with this first byte and length can be other than `Other`: one in a hundred others can too.
    #[inline(always)]
    pub(super) fn may_matter(initial: u8, len: usize) -> bool {
        INITIALS[len % INITIALS.len()] >> (initial & 31) & 1 != 0
    }

    /// Whether it decides where a body ends.
    pub(super) fn is_framing(self) -> bool {
        matches!(self, Field::ContentLength | Field::TransferEncoding)
    }

    /// Whether it speaks of an HTTP/1 connection, which other protocols do not have.
    pub(super) fn is_of_connection(self) -> bool {
        matches!(self, Field::TransferEncoding | Field::Connection | Field::Upgrade | Field::HopByHop)
    }
}

/// By length, the initials of the names that matter, a bit each.
static INITIALS: [u32; 32] = {
    let mut table = [0; 32];
    table[7] = 1 << (b'u' & 31);
    table[10] = 1 << (b'c' & 31) | 1 << (b'k' & 31);
    table[14] = 1 << (b'c' & 31);
    table[16] = 1 << (b'p' & 31);
    table[17] = 1 << (b't' & 31);
    table
};

/// `keep-alive` in any case; the value is text, so setting bit 5 maps nothing else to it.
#[inline]
pub(super) fn is_keep_alive(value: &[u8]) -> bool {
    lower(value, 0) == KEEP_ALI && lower(value, 2) == EP_ALIVE
}

const CONTENT: u64 = u64::from_le_bytes(*b"content-");
const T_LENGTH: u64 = u64::from_le_bytes(*b"t-length");
const CONNECTI: u64 = u64::from_le_bytes(*b"connecti");
const NNECTION: u64 = u64::from_le_bytes(*b"nnection");
const TRANSFER: u64 = u64::from_le_bytes(*b"transfer");
const ENCODING: u64 = u64::from_le_bytes(*b"encoding");
const KEEP_ALI: u64 = u64::from_le_bytes(*b"keep-ali");
const EP_ALIVE: u64 = u64::from_le_bytes(*b"ep-alive");
const PROXY_CO: u64 = u64::from_le_bytes(*b"proxy-co");

/// Eight bytes at `at` with bit 5 set; 0 if there are fewer.
#[inline]
fn lower(name: &[u8], at: usize) -> u64 {
    match name.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(chunk) => u64::from_le_bytes(*chunk) | 0x2020_2020_2020_2020,
        None => 0,
    }
}

/// Fields that a trailer section must not carry, or that must never be merged into a head (RFC 9110, section 6.5.1).
/// `name` is in lower case.
pub(super) fn is_barred_from_trailers(name: &[u8]) -> bool {
    const BARRED: [&[u8]; 26] = [
        b"age",
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"date",
        b"expires",
        b"host",
        b"keep-alive",
        b"location",
        b"max-forwards",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"retry-after",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"vary",
        b"warning",
        b"www-authenticate",
    ];
    BARRED.contains(&name)
}

impl Validator<'_> {
    /// The colon was taken and `field` is set.
    pub(super) fn value_begin(&mut self) -> Result<(), Reason> {
        self.value_state = BEFORE;
        self.word_len = 0;
        if self.protocol == Protocol::Cgi {
            self.cgi_field()?;
        }
        match self.field {
            Field::ContentLength | Field::TransferEncoding if self.has(bits::UNFRAMED) => {
                self.bits |= bits::NORMALISE;
                self.field = Field::Other;
            }
            Field::ContentLength => {
                if self.has(bits::CHUNKED | bits::CODED) {
                    self.length_beside_coding()?;
                }
                self.begin_length();
            }
            Field::TransferEncoding if self.has(bits::LENGTH | bits::CHUNKED | bits::CODED) => {
                if self.has(bits::LENGTH) {
                    self.length_beside_coding()?;
                }
                if self.has(bits::CHUNKED | bits::CODED) {
                    self.begin_codings(0, Reason::TRANSFER_ENCODING_REPEATED)?;
                }
            }
            Field::Upgrade if self.code != 101 => self.field = Field::Other,
            Field::HopByHop => self.bits |= bits::NORMALISE,
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112, section 6.3: the coding overrides, and who sent both may not be trusted with another response.
    fn length_beside_coding(&mut self) -> Result<(), Reason> {
        self.tolerate(tolerance::LENGTH_AND_CODING, Reason::LENGTH_AND_TRANSFER_ENCODING)?;
        self.bits |= bits::CLOSE;
        Ok(())
    }

    fn begin_length(&mut self) {
        self.length_read = 0;
        self.digits = 0;
        self.significant = 0;
        self.value_state = BEFORE;
    }

    /// One byte of the value; it is text, or a tolerated control character.
    pub(super) fn value_byte(&mut self, b: u8) -> Result<(), Reason> {
        match self.field {
            Field::Other | Field::HopByHop | Field::Location => Ok(()),
            Field::ContentLength => self.length_byte(b),
            Field::TransferEncoding => self.coding_byte(b),
            Field::Codings => self.codings_byte(b),
            Field::ContentType => {
                self.type_byte(b);
                Ok(())
            }
            Field::Status => self.cgi_status_byte(b),
            Field::Connection => {
                self.option_byte(b);
                Ok(())
            }
            Field::Upgrade if b == b',' || is_ows(b) => self.protocol_end(),
            Field::Upgrade => {
                self.push(b);
                Ok(())
            }
        }
    }

    /// The line ended.
    pub(super) fn value_end(&mut self) -> Result<(), Reason> {
        match self.field {
            Field::Other | Field::HopByHop | Field::Location => Ok(()),
            Field::ContentLength => self.length_end(),
            Field::TransferEncoding => {
                if self.value_state != BEFORE + CHUNKED.len() as u8 && self.value_state != AFTER {
                    self.begin_codings(self.value_state, Reason::TRANSFER_ENCODING_UNKNOWN)?;
                    return self.coding_end();
                }
                self.bits |= bits::CHUNKED;
                Ok(())
            }
            Field::Codings => self.coding_end(),
            Field::ContentType => {
                self.type_end();
                Ok(())
            }
            Field::Status => self.cgi_status_end(),
            Field::Connection => {
                self.option_end();
                Ok(())
            }
            Field::Upgrade => self.protocol_end(),
        }
    }

    fn length_byte(&mut self, b: u8) -> Result<(), Reason> {
        match b {
            b'0'..=b'9' if self.value_state != AFTER => {
                self.value_state = INSIDE;
                self.digits += 1;
                if self.significant > 0 || b != b'0' {
                    self.significant += 1;
                }
                self.length_read = self.length_read.saturating_mul(10).saturating_add(u64::from(b - b'0'));
                if self.digits > MAX_LENGTH_DIGITS || self.length_read > MAX_LENGTH {
                    return Err(Reason::CONTENT_LENGTH_TOO_LARGE);
                }
                Ok(())
            }
            _ if is_ows(b) => {
                if self.value_state == INSIDE {
                    self.value_state = AFTER;
                }
                Ok(())
            }
            b',' if self.value_state != BEFORE => {
                self.tolerate(tolerance::LENGTH_REPEATED, Reason::CONTENT_LENGTH_LIST)?;
                self.length_end()?;
                self.begin_length();
                Ok(())
            }
            b',' => Err(Reason::CONTENT_LENGTH_LIST),
            _ => Err(Reason::CONTENT_LENGTH_MALFORMED),
        }
    }

    fn length_end(&mut self) -> Result<(), Reason> {
        if self.value_state == BEFORE {
            return Err(Reason::CONTENT_LENGTH_MALFORMED);
        }
        if self.has(bits::LENGTH) {
            if self.length_read != self.content_length {
                return Err(Reason::CONTENT_LENGTH_DIFFERS);
            }
            return self.tolerate(tolerance::LENGTH_REPEATED, Reason::CONTENT_LENGTH_REPEATED);
        }
        // Leading zeros are valid, but a reader behind us might take them for octal.
        if self.digits > self.significant.max(1) {
            self.bits |= bits::NORMALISE;
        }
        self.content_length = self.length_read;
        self.bits |= bits::LENGTH;
        Ok(())
    }

    fn coding_byte(&mut self, b: u8) -> Result<(), Reason> {
        let matched = self.value_state;
        let whole = CHUNKED.len() as u8;
        match b {
            _ if is_ows(b) && matched == BEFORE => {}
            _ if is_ows(b) && (matched == whole || matched == AFTER) => self.value_state = AFTER,
            b',' => {
                self.begin_codings(matched, Reason::TRANSFER_ENCODING_LIST)?;
                return self.codings_byte(b);
            }
            _ if CHUNKED.get(usize::from(matched)) == Some(&b.to_ascii_lowercase()) => self.value_state = matched + 1,
            _ => {
                self.begin_codings(matched, Reason::TRANSFER_ENCODING_UNKNOWN)?;
                return self.codings_byte(b);
            }
        }
        Ok(())
    }

    /// Connection: a list of tokens. One that is not well-formed might hide a "close".
    fn option_byte(&mut self, b: u8) {
        match b {
            b',' => self.option_end(),
            _ if is_ows(b) => {
                if self.value_state == INSIDE {
                    self.value_state = AFTER;
                }
            }
            _ if self.value_state == AFTER || !is_token(b) => self.bits |= bits::CLOSE,
            _ => {
                self.value_state = INSIDE;
                self.push(b);
            }
        }
    }

    fn option_end(&mut self) {
        let option = self.word.get(..usize::from(self.word_len)).unwrap_or_default();
        self.bits |= match option {
            b"close" => bits::CLOSE,
            b"keep-alive" => bits::KEEP_ALIVE,
            b"upgrade" => bits::UPGRADE,
            // Framing is decided first, so the nomination must not make a hop behind us drop the field.
            b"content-length" | b"transfer-encoding" => bits::NORMALISE,
            _ => 0,
        };
        self.word_len = 0;
        self.value_state = BEFORE;
    }

    /// Upgrade of a 101: every protocol named must have been offered.
    fn protocol_end(&mut self) -> Result<(), Reason> {
        if self.word_len == 0 {
            return Ok(());
        }
        let protocol = self.word.get(..usize::from(self.word_len)).unwrap_or_default();
        let offered = self.offered.get(..usize::from(self.offered_len)).unwrap_or_default();
        if protocol.is_empty() || !offered.split(|&b| b == b',').any(|offer| trim(offer) == protocol) {
            return Err(Reason::UPGRADE_NOT_OFFERED);
        }
        self.bits |= bits::UPGRADED;
        self.word_len = 0;
        Ok(())
    }
}
