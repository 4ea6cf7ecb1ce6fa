//! `TIDEGATE_REASON_*`: the numbers of `crate::validator::Reason`, one constant each.

/// Nothing was refused.
pub const TIDEGATE_REASON_NONE: u32 = 0;
/// The bytes do not begin with "HTTP/".
pub const TIDEGATE_REASON_STATUS_LINE_MISSING: u32 = 1;
/// An empty line before the status line; only requests may have one.
pub const TIDEGATE_REASON_EMPTY_LINE_BEFORE_STATUS: u32 = 2;
/// The major version is not 1.
pub const TIDEGATE_REASON_VERSION_UNSUPPORTED: u32 = 3;
/// Not a digit, a dot, a digit and a space.
pub const TIDEGATE_REASON_VERSION_MALFORMED: u32 = 4;
/// Not three digits, or something other than a space or the line's end after them.
pub const TIDEGATE_REASON_STATUS_MALFORMED: u32 = 5;
/// Below 100 or above 599.
pub const TIDEGATE_REASON_STATUS_OUT_OF_RANGE: u32 = 6;
/// A control character in the reason phrase.
pub const TIDEGATE_REASON_REASON_PHRASE_CHARACTER: u32 = 7;
/// A CR without its LF; the offset is that of the byte after it.
pub const TIDEGATE_REASON_BARE_CR: u32 = 8;
/// White space between the status line and the first field.
pub const TIDEGATE_REASON_SPACE_BEFORE_FIRST_FIELD: u32 = 9;
/// A line that begins with white space: a folded field.
pub const TIDEGATE_REASON_LINE_FOLDED: u32 = 10;
/// A field line that begins with its colon.
pub const TIDEGATE_REASON_FIELD_NAME_EMPTY: u32 = 11;
/// A character that no field name may have.
pub const TIDEGATE_REASON_FIELD_NAME_CHARACTER: u32 = 12;
/// White space between a field's name and its colon.
pub const TIDEGATE_REASON_SPACE_BEFORE_COLON: u32 = 13;
/// A field line without a colon.
pub const TIDEGATE_REASON_COLON_MISSING: u32 = 14;
/// A control character in a field's value.
pub const TIDEGATE_REASON_FIELD_VALUE_CHARACTER: u32 = 15;
/// The head is longer than `max_head`.
pub const TIDEGATE_REASON_HEAD_TOO_LARGE: u32 = 16;
/// The status line or a field line is longer than `max_line`.
pub const TIDEGATE_REASON_LINE_TOO_LONG: u32 = 17;
/// More than `max_fields` fields in a head.
pub const TIDEGATE_REASON_TOO_MANY_FIELDS: u32 = 18;
/// A field name of more than 256 bytes.
pub const TIDEGATE_REASON_FIELD_NAME_TOO_LONG: u32 = 19;
/// Content-Length is not a decimal number.
pub const TIDEGATE_REASON_CONTENT_LENGTH_MALFORMED: u32 = 20;
/// Content-Length is a list.
pub const TIDEGATE_REASON_CONTENT_LENGTH_LIST: u32 = 21;
/// Content-Length is above 2^63 - 1, or has more than 64 digits.
pub const TIDEGATE_REASON_CONTENT_LENGTH_TOO_LARGE: u32 = 22;
/// A second Content-Length with the same value.
pub const TIDEGATE_REASON_CONTENT_LENGTH_REPEATED: u32 = 23;
/// A second Content-Length with another value.
pub const TIDEGATE_REASON_CONTENT_LENGTH_DIFFERS: u32 = 24;
/// A transfer coding other than `chunked`, or one with parameters.
pub const TIDEGATE_REASON_TRANSFER_ENCODING_UNKNOWN: u32 = 25;
/// More than one transfer coding, or an empty list member.
pub const TIDEGATE_REASON_TRANSFER_ENCODING_LIST: u32 = 26;
/// A second Transfer-Encoding line.
pub const TIDEGATE_REASON_TRANSFER_ENCODING_REPEATED: u32 = 27;
/// Both Content-Length and Transfer-Encoding.
pub const TIDEGATE_REASON_LENGTH_AND_TRANSFER_ENCODING: u32 = 28;
/// More than `max_interim` interim responses.
pub const TIDEGATE_REASON_TOO_MANY_INTERIM: u32 = 29;
/// More than 64 KiB of interim responses in all.
pub const TIDEGATE_REASON_INTERIM_TOO_LARGE: u32 = 30;
/// 101 although the request offered no protocol.
pub const TIDEGATE_REASON_UPGRADE_NOT_REQUESTED: u32 = 31;
/// 101 to a protocol that the request did not offer.
pub const TIDEGATE_REASON_UPGRADE_NOT_OFFERED: u32 = 32;
/// 101 without an Upgrade field.
pub const TIDEGATE_REASON_UPGRADE_MISSING: u32 = 33;
/// 101 without `Connection: upgrade`.
pub const TIDEGATE_REASON_UPGRADE_UNCONFIRMED: u32 = 34;
/// 101 in an HTTP/1.0 response, which has no interim responses and no Upgrade.
pub const TIDEGATE_REASON_UPGRADE_VERSION: u32 = 35;
/// A chunk size that is not hexadecimal, or is missing.
pub const TIDEGATE_REASON_CHUNK_SIZE_MALFORMED: u32 = 36;
/// A chunk size of more than 16 digits, or above 2^63 - 1.
pub const TIDEGATE_REASON_CHUNK_SIZE_TOO_LARGE: u32 = 37;
/// A chunk extension that breaks its grammar.
pub const TIDEGATE_REASON_CHUNK_EXTENSION_MALFORMED: u32 = 38;
/// More than `max_chunk_extension` bytes of extensions in a body.
pub const TIDEGATE_REASON_CHUNK_EXTENSION_TOO_LARGE: u32 = 39;
/// More than 16 KiB of chunk framing, and more than ten times the data.
pub const TIDEGATE_REASON_CHUNK_OVERHEAD: u32 = 40;
/// A line of the chunk framing that does not end with CR LF.
pub const TIDEGATE_REASON_CHUNK_LINE_END: u32 = 41;
/// A chunk's data is not followed by CR LF.
pub const TIDEGATE_REASON_CHUNK_DATA_END: u32 = 42;
/// The trailer section is longer than `max_trailer`.
pub const TIDEGATE_REASON_TRAILER_TOO_LARGE: u32 = 43;
/// A trailer line is longer than `max_line`.
pub const TIDEGATE_REASON_TRAILER_LINE_TOO_LONG: u32 = 44;
/// More than 64 trailer fields.
pub const TIDEGATE_REASON_TOO_MANY_TRAILERS: u32 = 45;
/// A trailer name of more than 256 bytes.
pub const TIDEGATE_REASON_TRAILER_NAME_TOO_LONG: u32 = 46;
/// The body is longer than `max_body`.
pub const TIDEGATE_REASON_BODY_TOO_LARGE: u32 = 47;
/// The connection ended before any byte of the response.
pub const TIDEGATE_REASON_NOTHING_RECEIVED: u32 = 48;
/// The connection ended before the final response's head did.
pub const TIDEGATE_REASON_HEAD_INCOMPLETE: u32 = 49;
/// The connection ended before the body did.
pub const TIDEGATE_REASON_BODY_INCOMPLETE: u32 = 50;
/// The host stopped waiting.
pub const TIDEGATE_REASON_READ_TIMEOUT: u32 = 51;
/// The bytes begin as a TLS record does: the port speaks TLS.
pub const TIDEGATE_REASON_TLS_RECORD: u32 = 52;
/// A list of fields without `:status`.
pub const TIDEGATE_REASON_STATUS_MISSING: u32 = 53;
/// A pseudo-field other than `:status`.
pub const TIDEGATE_REASON_PSEUDO_FIELD_UNKNOWN: u32 = 54;
/// A second `:status`.
pub const TIDEGATE_REASON_PSEUDO_FIELD_REPEATED: u32 = 55;
/// `:status` behind another field.
pub const TIDEGATE_REASON_PSEUDO_FIELD_LATE: u32 = 56;
/// A pseudo-field in a trailer section.
pub const TIDEGATE_REASON_PSEUDO_FIELD_IN_TRAILER: u32 = 57;
/// A letter in upper case in the name of an HTTP/2 or HTTP/3 field.
pub const TIDEGATE_REASON_FIELD_NAME_UPPERCASE: u32 = 58;
/// White space around the value of an HTTP/2 or HTTP/3 field.
pub const TIDEGATE_REASON_FIELD_VALUE_SPACE: u32 = 59;
/// A field that speaks of an HTTP/1 connection: Connection, Transfer-Encoding, TE and their like.
pub const TIDEGATE_REASON_CONNECTION_FIELD: u32 = 60;
/// 101 over HTTP/2 or HTTP/3, which have no upgrade.
pub const TIDEGATE_REASON_UPGRADE_OVER_STREAM: u32 = 61;
/// More data than Content-Length says.
pub const TIDEGATE_REASON_BODY_BEYOND_LENGTH: u32 = 62;
/// The stream ended with less data than Content-Length says.
pub const TIDEGATE_REASON_BODY_SHORT_OF_LENGTH: u32 = 63;
/// Data in a response that has no content: to HEAD, 204, 304.
pub const TIDEGATE_REASON_CONTENT_NOT_ALLOWED: u32 = 64;
/// Data before the final head or behind the trailers, or fields behind the trailers.
pub const TIDEGATE_REASON_FRAME_OUT_OF_PLACE: u32 = 65;
/// A CGI response without Content-Type, Location and Status.
pub const TIDEGATE_REASON_CGI_FIELD_MISSING: u32 = 66;
/// A second Content-Type, Location or Status in a CGI response.
pub const TIDEGATE_REASON_CGI_FIELD_REPEATED: u32 = 67;
/// Content-Type is none of those that the operator's rules allow, or is missing.
pub const TIDEGATE_REASON_CONTENT_TYPE_UNEXPECTED: u32 = 68;
/// The body is smaller than the operator's rules allow.
pub const TIDEGATE_REASON_BODY_BELOW_MINIMUM: u32 = 69;
/// The body is larger than the operator's rules allow.
pub const TIDEGATE_REASON_BODY_ABOVE_MAXIMUM: u32 = 70;
/// A field that the operator's rules require is missing.
pub const TIDEGATE_REASON_REQUIRED_FIELD_MISSING: u32 = 71;
/// A field that the operator's rules forbid is there.
pub const TIDEGATE_REASON_FORBIDDEN_FIELD_PRESENT: u32 = 72;
/// A marker that the operator's rules require is not in the body's first bytes.
pub const TIDEGATE_REASON_BODY_MARKER_MISSING: u32 = 73;
/// A marker that the operator's rules forbid is in the body's first bytes.
pub const TIDEGATE_REASON_BODY_MARKER_FOUND: u32 = 74;

#[cfg(test)]
mod tests {
    use crate::validator::Reason;

    #[test]
    fn numbers_are_those_of_the_core() {
        let here = include_str!("reason.rs");
        for reason in Reason::ALL {
            let id = reason.name().replace('-', "_").to_uppercase();
            let line = format!("pub const TIDEGATE_REASON_{id}: u32 = {};", reason.number());
            assert!(here.contains(&line), "{line}");
        }
        assert_eq!(here.matches("\npub const ").count(), Reason::ALL.len());
    }
}
