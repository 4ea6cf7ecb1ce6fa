//! `TIDEGATE_PROTOCOL_*`, `TIDEGATE_POLICY_*`, `TIDEGATE_TOLERATE_*`: what `tidegate_validator_options` is made of.

/// HTTP/1.x bytes, for `tidegate_validator_feed`; or a list of fields that the host parsed from such.
pub const TIDEGATE_PROTOCOL_HTTP_1: u32 = 0;
/// HTTP/2: `tidegate_validator_fields` and `tidegate_validator_data`.
pub const TIDEGATE_PROTOCOL_HTTP_2: u32 = 2;
/// HTTP/3: the same.
pub const TIDEGATE_PROTOCOL_HTTP_3: u32 = 3;
/// FastCGI, SCGI, uwsgi: what is behind the record layer, as bytes that begin with fields (a status line is taken too)
/// or as lists. `status` of the verdict is that of `Status`, else 302 with a Location, else 200 (RFC 3875, section 6).
/// The head always has to be written anew; never REUSABLE.
pub const TIDEGATE_PROTOCOL_CGI: u32 = 4;

/// To the letter: what a recipient may refuse is refused.
pub const TIDEGATE_POLICY_STRICT: u32 = 0;
/// What browsers and nginx live with: TIDEGATE_TOLERATE_COMPATIBLE. What is let through is said in the verdict.
pub const TIDEGATE_POLICY_COMPATIBLE: u32 = 1;
/// Judge and let through: `tolerated` of the verdict says what a strict reader would have refused first. Limits and
/// rules refuse nothing either. Only bytes whose framing can't be established, and responses that end early, are
/// rejected. To be used to learn what an upstream sends, not to protect anybody.
pub const TIDEGATE_POLICY_OBSERVE: u32 = 2;

/// Empty lines before the status line: drop them.
pub const TIDEGATE_TOLERATE_EMPTY_LINES: u32 = 0x1;
/// A major version from 2 to 9 in HTTP/1 syntax: read as 1.1.
pub const TIDEGATE_TOLERATE_VERSION: u32 = 0x2;
/// More white space, or HTAB, between version and status.
pub const TIDEGATE_TOLERATE_STATUS_SPACE: u32 = 0x4;
/// A sub-status, as in "403.1".
pub const TIDEGATE_TOLERATE_SUBSTATUS: u32 = 0x8;
/// A status of 600 to 999. Forwarded as it came.
pub const TIDEGATE_TOLERATE_STATUS_RANGE: u32 = 0x10;
/// Control characters in the reason phrase.
pub const TIDEGATE_TOLERATE_REASON_CONTROLS: u32 = 0x20;
/// Folded lines, but for framing fields: RFC 9112 section 5.2.
pub const TIDEGATE_TOLERATE_FOLDED: u32 = 0x40;
/// White space between a name and its colon, but for framing fields: RFC 9112 section 5.1.
pub const TIDEGATE_TOLERATE_SPACE_BEFORE_COLON: u32 = 0x80;
/// Lines that are no fields: without a colon, with other characters in the name, white space before the first one.
pub const TIDEGATE_TOLERATE_BAD_LINES: u32 = 0x100;
/// Control characters in values: RFC 9110 section 5.5.
pub const TIDEGATE_TOLERATE_VALUE_CONTROLS: u32 = 0x200;
/// NUL too, where a bit above tolerates control characters. Not in COMPATIBLE.
pub const TIDEGATE_TOLERATE_NUL: u32 = 0x400;
/// Content-Length repeated with the same value: RFC 9110 section 8.6.
pub const TIDEGATE_TOLERATE_LENGTH_REPEATED: u32 = 0x800;
/// Content-Length beside Transfer-Encoding, which then decides: RFC 9112 section 6.3. Never REUSABLE.
pub const TIDEGATE_TOLERATE_LENGTH_AND_CODING: u32 = 0x1000;
/// Transfer codings besides chunked: the body stays coded. Never REUSABLE. Not in COMPATIBLE.
pub const TIDEGATE_TOLERATE_CODINGS: u32 = 0x2000;
/// A lone LF as a line end of chunk framing.
pub const TIDEGATE_TOLERATE_CHUNK_LF: u32 = 0x4000;
/// White space between a chunk's size, or an extension, and the line's end.
pub const TIDEGATE_TOLERATE_CHUNK_SPACE: u32 = 0x8000;
/// Chunk extensions that break their grammar.
pub const TIDEGATE_TOLERATE_CHUNK_EXTENSIONS: u32 = 0x10000;
/// Data in a response that has no content (HTTP/2, HTTP/3, CGI lists): drop it. Not in COMPATIBLE.
pub const TIDEGATE_TOLERATE_CONTENT: u32 = 0x20000;
/// All that TIDEGATE_POLICY_COMPATIBLE tolerates.
pub const TIDEGATE_TOLERATE_COMPATIBLE: u32 = 0x1dbff;
/// In a verdict's `tolerances` only: a limit was passed or a rule broken, under TIDEGATE_POLICY_OBSERVE.
pub const TIDEGATE_TOLERATE_OBSERVED: u32 = 0x80000000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validator::tolerance;

    #[test]
    fn numbers_are_those_of_the_core() {
        assert_eq!(TIDEGATE_TOLERATE_COMPATIBLE, tolerance::COMPATIBLE);
        assert_eq!(TIDEGATE_TOLERATE_CONTENT, tolerance::CONTENT);
        assert_eq!(TIDEGATE_TOLERATE_CHUNK_LF, tolerance::CHUNK_LF);
        assert_eq!(TIDEGATE_TOLERATE_LENGTH_REPEATED, tolerance::LENGTH_REPEATED);
        assert_eq!(tolerance::ALL | TIDEGATE_TOLERATE_OBSERVED, tolerance::OBSERVE);
    }
}
