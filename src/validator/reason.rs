//! Why a response was refused: the closed list of reasons, with the cause each belongs to and the clause it follows from.
//!
//! Numbers are part of the ABI: append only, never reused. Names are what people grep for and put into dashboards, so
//! they are as stable as the numbers. Look-ups are O(1) and total: an unknown number has no name. The clauses are
//! those of RFC 9110, RFC 9112, RFC 9113 (RFC 9114, section 4 says the same for HTTP/3) and RFC 3875; where only a limit of ours was passed, the clause is the one that allows limits.

use crate::cause::Cause;
use std::ffi::CStr;

/// A reason by number; 0 is "none".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Reason(u8);

struct Entry {
    name: &'static CStr,
    cause: Cause,
    clause: &'static CStr,
}

macro_rules! reasons {
    ($( $(#[$doc:meta])* $id:ident = $n:literal, $name:literal, $cause:ident, $clause:literal; )*) => {
        impl Reason {
            $( $(#[$doc])* pub const $id: Reason = Reason($n); )*
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Reason] = &[$(Reason::$id),*];
        }
        static ENTRIES: [Entry; Reason::ALL.len()] = [
            $( Entry { name: $name, cause: Cause::$cause, clause: $clause }, )*
        ];
    };
}

reasons! {
    /// Nothing was refused.
    NONE = 0, c"none", NONE, c"";
    /// The bytes do not begin with "HTTP/".
    STATUS_LINE_MISSING = 1, c"status-line-missing", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 4";
    /// An empty line before the status line; only requests may have one.
    EMPTY_LINE_BEFORE_STATUS = 2, c"empty-line-before-status", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 2.2";
    /// The major version is not 1.
    VERSION_UNSUPPORTED = 3, c"version-unsupported", HTTP_PROTOCOL_ERROR, c"RFC 9110 section 2.5";
    /// Not a digit, a dot, a digit and a space.
    VERSION_MALFORMED = 4, c"version-malformed", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 2.3";
    /// Not three digits, or something other than a space or the line's end after them.
    STATUS_MALFORMED = 5, c"status-malformed", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 4";
    /// Below 100 or above 599.
    STATUS_OUT_OF_RANGE = 6, c"status-out-of-range", HTTP_PROTOCOL_ERROR, c"RFC 9110 section 15";
    /// A control character in the reason phrase.
    REASON_PHRASE_CHARACTER = 7, c"reason-phrase-character", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 4";
    /// A CR without its LF; the offset is that of the byte after it.
    BARE_CR = 8, c"bare-cr", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 2.2";
    /// White space between the status line and the first field.
    SPACE_BEFORE_FIRST_FIELD = 9, c"space-before-first-field", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 2.2";
    /// A line that begins with white space: a folded field.
    LINE_FOLDED = 10, c"line-folded", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 5.2";
    /// A field line that begins with its colon.
    FIELD_NAME_EMPTY = 11, c"field-name-empty", HTTP_PROTOCOL_ERROR, c"RFC 9110 section 5.1";
    /// A character that no field name may have.
    FIELD_NAME_CHARACTER = 12, c"field-name-character", HTTP_PROTOCOL_ERROR, c"RFC 9110 section 5.6.2";
    /// White space between a field's name and its colon.
    SPACE_BEFORE_COLON = 13, c"space-before-colon", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 5.1";
    /// A field line without a colon.
    COLON_MISSING = 14, c"colon-missing", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 5";
    /// A control character in a field's value.
    FIELD_VALUE_CHARACTER = 15, c"field-value-character", HTTP_PROTOCOL_ERROR, c"RFC 9110 section 5.5";
    /// The head is longer than `max_head`.
    HEAD_TOO_LARGE = 16, c"head-too-large", HTTP_RESPONSE_HEADER_SECTION_SIZE, c"RFC 9110 section 5.4";
    /// The status line or a field line is longer than `max_line`.
    LINE_TOO_LONG = 17, c"line-too-long", HTTP_RESPONSE_HEADER_SIZE, c"RFC 9110 section 5.4";
    /// More than `max_fields` fields in a head.
    TOO_MANY_FIELDS = 18, c"too-many-fields", HTTP_RESPONSE_HEADER_SECTION_SIZE, c"RFC 9110 section 5.4";
    /// A field name of more than 256 bytes.
    FIELD_NAME_TOO_LONG = 19, c"field-name-too-long", HTTP_RESPONSE_HEADER_SIZE, c"RFC 9110 section 5.4";
    /// Content-Length is not a decimal number.
    CONTENT_LENGTH_MALFORMED = 20, c"content-length-malformed", HTTP_PROTOCOL_ERROR, c"RFC 9110 section 8.6";
    /// Content-Length is a list.
    CONTENT_LENGTH_LIST = 21, c"content-length-list", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 6.3";
    /// Content-Length is above 2^63 - 1, or has more than 64 digits.
    CONTENT_LENGTH_TOO_LARGE = 22, c"content-length-too-large", HTTP_PROTOCOL_ERROR, c"RFC 9110 section 8.6";
    /// A second Content-Length with the same value.
    CONTENT_LENGTH_REPEATED = 23, c"content-length-repeated", HTTP_PROTOCOL_ERROR, c"RFC 9110 section 8.6";
    /// A second Content-Length with another value.
    CONTENT_LENGTH_DIFFERS = 24, c"content-length-differs", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 6.3";
    /// A transfer coding other than `chunked`, or one with parameters.
    TRANSFER_ENCODING_UNKNOWN = 25, c"transfer-encoding-unknown", HTTP_RESPONSE_TRANSFER_CODING, c"RFC 9112 section 6.1";
    /// More than one transfer coding, or an empty list member.
    TRANSFER_ENCODING_LIST = 26, c"transfer-encoding-list", HTTP_RESPONSE_TRANSFER_CODING, c"RFC 9112 section 6.1";
    /// A second Transfer-Encoding line.
    TRANSFER_ENCODING_REPEATED = 27, c"transfer-encoding-repeated", HTTP_RESPONSE_TRANSFER_CODING, c"RFC 9112 section 6.1";
    /// Both Content-Length and Transfer-Encoding.
    LENGTH_AND_TRANSFER_ENCODING = 28, c"length-and-transfer-encoding", HTTP_RESPONSE_TRANSFER_CODING, c"RFC 9112 section 6.3";
    /// More than `max_interim` interim responses.
    TOO_MANY_INTERIM = 29, c"too-many-interim", HTTP_RESPONSE_HEADER_SECTION_SIZE, c"RFC 9110 section 15.2";
    /// More than 64 KiB of interim responses in all.
    INTERIM_TOO_LARGE = 30, c"interim-too-large", HTTP_RESPONSE_HEADER_SECTION_SIZE, c"RFC 9110 section 15.2";
    /// 101 although the request offered no protocol.
    UPGRADE_NOT_REQUESTED = 31, c"upgrade-not-requested", HTTP_UPGRADE_FAILED, c"RFC 9110 section 7.8";
    /// 101 to a protocol that the request did not offer.
    UPGRADE_NOT_OFFERED = 32, c"upgrade-not-offered", HTTP_UPGRADE_FAILED, c"RFC 9110 section 7.8";
    /// 101 without an Upgrade field.
    UPGRADE_MISSING = 33, c"upgrade-missing", HTTP_UPGRADE_FAILED, c"RFC 9110 section 15.2.2";
    /// 101 without `Connection: upgrade`.
    UPGRADE_UNCONFIRMED = 34, c"upgrade-unconfirmed", HTTP_UPGRADE_FAILED, c"RFC 9110 section 7.8";
    /// 101 in an HTTP/1.0 response, which has no interim responses and no Upgrade.
    UPGRADE_VERSION = 35, c"upgrade-version", HTTP_UPGRADE_FAILED, c"RFC 9110 section 15.2";
    /// A chunk size that is not hexadecimal, or is missing.
    CHUNK_SIZE_MALFORMED = 36, c"chunk-size-malformed", HTTP_RESPONSE_TRANSFER_CODING, c"RFC 9112 section 7.1";
    /// A chunk size of more than 16 digits, or above 2^63 - 1.
    CHUNK_SIZE_TOO_LARGE = 37, c"chunk-size-too-large", HTTP_RESPONSE_TRANSFER_CODING, c"RFC 9112 section 7.1";
    /// A chunk extension that breaks its grammar.
    CHUNK_EXTENSION_MALFORMED = 38, c"chunk-extension-malformed", HTTP_RESPONSE_TRANSFER_CODING, c"RFC 9112 section 7.1.1";
    /// More than `max_chunk_extension` bytes of extensions in a body.
    CHUNK_EXTENSION_TOO_LARGE = 39, c"chunk-extension-too-large", HTTP_RESPONSE_TRANSFER_CODING, c"RFC 9112 section 7.1.1";
    /// More than 16 KiB of chunk framing, and more than ten times the data.
    CHUNK_OVERHEAD = 40, c"chunk-overhead", HTTP_RESPONSE_TRANSFER_CODING, c"RFC 9112 section 7.1.1";
    /// A line of the chunk framing that does not end with CR LF.
    CHUNK_LINE_END = 41, c"chunk-line-end", HTTP_RESPONSE_TRANSFER_CODING, c"RFC 9112 section 7.1";
    /// A chunk's data is not followed by CR LF.
    CHUNK_DATA_END = 42, c"chunk-data-end", HTTP_RESPONSE_TRANSFER_CODING, c"RFC 9112 section 7.1";
    /// The trailer section is longer than `max_trailer`.
    TRAILER_TOO_LARGE = 43, c"trailer-too-large", HTTP_RESPONSE_TRAILER_SECTION_SIZE, c"RFC 9110 section 5.4";
    /// A trailer line is longer than `max_line`.
    TRAILER_LINE_TOO_LONG = 44, c"trailer-line-too-long", HTTP_RESPONSE_TRAILER_SIZE, c"RFC 9110 section 5.4";
    /// More than 64 trailer fields.
    TOO_MANY_TRAILERS = 45, c"too-many-trailers", HTTP_RESPONSE_TRAILER_SECTION_SIZE, c"RFC 9110 section 5.4";
    /// A trailer name of more than 256 bytes.
    TRAILER_NAME_TOO_LONG = 46, c"trailer-name-too-long", HTTP_RESPONSE_TRAILER_SIZE, c"RFC 9110 section 5.4";
    /// The body is longer than `max_body`.
    BODY_TOO_LARGE = 47, c"body-too-large", HTTP_RESPONSE_BODY_SIZE, c"RFC 9112 section 6.3";
    /// The connection ended before any byte of the response.
    NOTHING_RECEIVED = 48, c"nothing-received", CONNECTION_TERMINATED, c"RFC 9112 section 9.3.1";
    /// The connection ended before the final response's head did.
    HEAD_INCOMPLETE = 49, c"head-incomplete", HTTP_RESPONSE_INCOMPLETE, c"RFC 9112 section 8";
    /// The connection ended before the body did.
    BODY_INCOMPLETE = 50, c"body-incomplete", HTTP_RESPONSE_INCOMPLETE, c"RFC 9112 section 8";
    /// The host stopped waiting.
    READ_TIMEOUT = 51, c"read-timeout", CONNECTION_READ_TIMEOUT, c"RFC 9110 section 15.6.5";
    /// The bytes begin as a TLS record does: the port speaks TLS.
    TLS_RECORD = 52, c"tls-record", HTTP_PROTOCOL_ERROR, c"RFC 9112 section 4";
    /// A list of fields without `:status`.
    STATUS_MISSING = 53, c"status-missing", HTTP_PROTOCOL_ERROR, c"RFC 9113 section 8.3.2";
    /// A pseudo-field other than `:status`.
    PSEUDO_FIELD_UNKNOWN = 54, c"pseudo-field-unknown", HTTP_PROTOCOL_ERROR, c"RFC 9113 section 8.3";
    /// A second `:status`.
    PSEUDO_FIELD_REPEATED = 55, c"pseudo-field-repeated", HTTP_PROTOCOL_ERROR, c"RFC 9113 section 8.3";
    /// `:status` behind another field.
    PSEUDO_FIELD_LATE = 56, c"pseudo-field-late", HTTP_PROTOCOL_ERROR, c"RFC 9113 section 8.3";
    /// A pseudo-field in a trailer section.
    PSEUDO_FIELD_IN_TRAILER = 57, c"pseudo-field-in-trailer", HTTP_PROTOCOL_ERROR, c"RFC 9113 section 8.1";
    /// A letter in upper case in the name of an HTTP/2 or HTTP/3 field.
    FIELD_NAME_UPPERCASE = 58, c"field-name-uppercase", HTTP_PROTOCOL_ERROR, c"RFC 9113 section 8.2.1";
    /// White space around the value of an HTTP/2 or HTTP/3 field.
    FIELD_VALUE_SPACE = 59, c"field-value-space", HTTP_PROTOCOL_ERROR, c"RFC 9113 section 8.2.1";
    /// A field that speaks of an HTTP/1 connection: Connection, Transfer-Encoding, TE and their like.
    CONNECTION_FIELD = 60, c"connection-field", HTTP_PROTOCOL_ERROR, c"RFC 9113 section 8.2.2";
    /// 101 over HTTP/2 or HTTP/3, which have no upgrade.
    UPGRADE_OVER_STREAM = 61, c"upgrade-over-stream", HTTP_UPGRADE_FAILED, c"RFC 9113 section 8.6";
    /// More data than Content-Length says.
    BODY_BEYOND_LENGTH = 62, c"body-beyond-length", HTTP_PROTOCOL_ERROR, c"RFC 9113 section 8.1.1";
    /// The stream ended with less data than Content-Length says.
    BODY_SHORT_OF_LENGTH = 63, c"body-short-of-length", HTTP_RESPONSE_INCOMPLETE, c"RFC 9113 section 8.1.1";
    /// Data in a response that has no content: to HEAD, 204, 304.
    CONTENT_NOT_ALLOWED = 64, c"content-not-allowed", HTTP_PROTOCOL_ERROR, c"RFC 9110 section 6.4.1";
    /// Data before the final head or behind the trailers, or fields behind the trailers.
    FRAME_OUT_OF_PLACE = 65, c"frame-out-of-place", HTTP_PROTOCOL_ERROR, c"RFC 9113 section 8.1";
    /// A CGI response without Content-Type, Location and Status.
    CGI_FIELD_MISSING = 66, c"cgi-field-missing", HTTP_PROTOCOL_ERROR, c"RFC 3875 section 6.2";
    /// A second Content-Type, Location or Status in a CGI response.
    CGI_FIELD_REPEATED = 67, c"cgi-field-repeated", HTTP_PROTOCOL_ERROR, c"RFC 3875 section 6.3";
    /// Content-Type is none of those that the operator's rules allow, or is missing.
    CONTENT_TYPE_UNEXPECTED = 68, c"content-type-unexpected", RESPONSE_UNEXPECTED, c"operator's rule: type";
    /// The body is smaller than the operator's rules allow.
    BODY_BELOW_MINIMUM = 69, c"body-below-minimum", RESPONSE_UNEXPECTED, c"operator's rule: min-body";
    /// The body is larger than the operator's rules allow.
    BODY_ABOVE_MAXIMUM = 70, c"body-above-maximum", RESPONSE_UNEXPECTED, c"operator's rule: max-body";
    /// A field that the operator's rules require is missing.
    REQUIRED_FIELD_MISSING = 71, c"required-field-missing", RESPONSE_UNEXPECTED, c"operator's rule: field";
    /// A field that the operator's rules forbid is there.
    FORBIDDEN_FIELD_PRESENT = 72, c"forbidden-field-present", RESPONSE_UNEXPECTED, c"operator's rule: no-field";
    /// A marker that the operator's rules require is not in the body's first bytes.
    BODY_MARKER_MISSING = 73, c"body-marker-missing", RESPONSE_UNEXPECTED, c"operator's rule: marker";
    /// A marker that the operator's rules forbid is in the body's first bytes.
    BODY_MARKER_FOUND = 74, c"body-marker-found", RESPONSE_UNEXPECTED, c"operator's rule: no-marker";
}

impl Reason {
    /// The reason with this number, if there is one.
    pub fn from_number(n: u32) -> Option<Reason> {
        Self::ALL.get(usize::try_from(n).ok()?).copied()
    }

    /// Its number in the ABI.
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// The cause it belongs to.
    pub fn cause(self) -> Cause {
        self.entry().cause
    }

    /// Its stable name.
    pub fn name(self) -> &'static str {
        self.name_c().to_str().unwrap_or("")
    }

    /// Its name, for C.
    pub fn name_c(self) -> &'static CStr {
        self.entry().name
    }

    /// The clause it follows from, for C.
    pub fn clause_c(self) -> &'static CStr {
        self.entry().clause
    }

    fn entry(self) -> &'static Entry {
        ENTRIES.get(self.0 as usize).unwrap_or(&ENTRIES[0])
    }
}

impl std::fmt::Debug for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions_and_names_are_unique() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.number() as usize, i, "{reason:?}");
            assert!(Reason::ALL[..i].iter().all(|r| r.name() != reason.name()), "{reason:?}");
            assert_eq!(Reason::from_number(i as u32), Some(*reason));
        }
        assert_eq!(Reason::from_number(Reason::ALL.len() as u32), None);
    }

    #[test]
    fn every_refusal_names_its_clause_and_an_error_type() {
        for reason in &Reason::ALL[1..] {
            let clause = reason.clause_c().to_bytes();
            let own = reason.cause() == Cause::RESPONSE_UNEXPECTED;
            assert!(clause.starts_with(if own { b"operator's rule: " } else { b"RFC " }), "{reason:?}");
            assert!(!reason.cause().properties().proxy_status.is_empty(), "{reason:?}");
        }
    }
}
