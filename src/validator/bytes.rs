//! The character classes of RFC 9110, section 5.6.2 and 5.5, as one table of 256 bytes; a look-up each.

/// Carriage return.
pub(super) const CR: u8 = b'\r';
/// Line feed.
pub(super) const LF: u8 = b'\n';

const TOKEN: u8 = 1;
const TEXT: u8 = 2;

static CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut b = 0usize;
    while b < 256 {
        let c = b as u8;
        if c == b'\t' || (c >= 0x20 && c != 0x7f) {
            table[b] |= TEXT;
        }
        let punctuation = matches!(
            c,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        if c.is_ascii_alphanumeric() || punctuation {
            table[b] |= TOKEN;
        }
        b += 1;
    }
    table
};

/// A character of a token: names of fields, codings and protocols.
#[inline]
pub(super) fn is_token(b: u8) -> bool {
    CLASS[b as usize] & TOKEN != 0
}

/// What a field's value and a reason phrase may hold: visible characters, SP, HTAB and bytes above 0x7f.
#[inline]
pub(super) fn is_text(b: u8) -> bool {
    CLASS[b as usize] & TEXT != 0
}

/// Optional white space: SP and HTAB.
#[inline]
pub(super) fn is_ows(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// `value` without the white space around it.
#[inline]
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    loop {
        value = match value {
            [first, rest @ ..] if is_ows(*first) => rest,
            [rest @ .., last] if is_ows(*last) => rest,
            _ => return value,
        };
    }
}
