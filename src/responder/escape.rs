//! Foreign text (an upstream's name, a request's id) into JSON, HTML, plain text and URIs.
//!
//! Text that needs nothing is copied as it is, and looked at on the way, sixteen bytes at a time. Anything else goes character by
//! character; bytes that are not UTF-8 become U+FFFD, so a body is valid UTF-8 whatever came in. JSON keeps control
//! characters as escapes (RFC 8259, section 7); HTML and plain text, which can't hold them, show U+FFFD.
//! A byte never becomes more than [`LARGEST`] bytes. Cost: about one instruction a plain byte.

use super::writer::Writer;

/// The most that one byte grows to (`\u001f`).
pub(super) const LARGEST: usize = 6;
/// In HTML (`&quot;` as a number).
pub(super) const LARGEST_HTML: usize = 5;
/// In a URI.
pub(super) const LARGEST_URI: usize = 3;

const REPLACEMENT: &str = "\u{fffd}";

/// Into a JSON string, with the quote that ends it.
#[inline(always)]
pub(super) fn json(w: &mut Writer<'_>, text: &[u8]) {
    if put_plain(w, text, *b"\"\\", b"\"") {
        return;
    }
    by_character(w, text, |w, c| match c {
        '"' => w.put(br#"\""#),
        '\\' => w.put(br"\\"),
        '\n' => w.put(br"\n"),
        '\r' => w.put(br"\r"),
        '\t' => w.put(br"\t"),
        '\0'..='\x1f' => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let n = c as usize;
            w.put(&[b'\\', b'u', b'0', b'0', HEX[n >> 4], HEX[n & 15]]);
        }
        _ => put_char(w, c),
    });
    w.put(b"\"");
}

/// Into HTML, between tags or in a quoted attribute.
#[inline]
pub(super) fn html(w: &mut Writer<'_>, text: &[u8]) {
    if put_plain(w, text, *b"&<>\"'", b"") {
        return;
    }
    by_character(w, text, |w, c| match c {
        '&' => w.put(b"&amp;"),
        '<' => w.put(b"&lt;"),
        '>' => w.put(b"&gt;"),
        '"' => w.put(b"&#34;"),
        '\'' => w.put(b"&#39;"),
        c if c.is_control() => w.put(REPLACEMENT.as_bytes()),
        c => put_char(w, c),
    });
}

/// Into a line of plain text: it stays one line, and a terminal is told nothing.
#[inline]
pub(super) fn plain(w: &mut Writer<'_>, text: &[u8]) {
    if put_plain(w, text, [], b"") {
        return;
    }
    by_character(w, text, |w, c| if c.is_control() { w.put(REPLACEMENT.as_bytes()) } else { put_char(w, c) });
}

/// Into one component of a URI (RFC 3986, section 2.1): whatever is not unreserved is percent-encoded, so nothing in it
/// is a delimiter, a scheme, or markup.
pub(super) fn uri(w: &mut Writer<'_>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let unreserved = |b: u8| b.is_ascii_alphanumeric() | matches!(b, b'-' | b'.' | b'_' | b'~');
    // Without an early exit, so that it becomes vector instructions.
    if text.iter().fold(true, |all, &b| all & unreserved(b)) {
        return w.put(text);
    }
    for &b in text {
        if unreserved(b) {
            w.put(&[b]);
        } else {
            w.put(&[b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
        }
    }
}

#[inline(always)]
fn by_character(w: &mut Writer<'_>, text: &[u8], put: impl Fn(&mut Writer<'_>, char)) {
    w.lend(|w| walk(w, text, put));
}

#[cold]
#[inline(never)]
fn walk(w: &mut Writer<'_>, text: &[u8], put: impl Fn(&mut Writer<'_>, char)) {
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            put(w, c);
        }
        if !chunk.invalid().is_empty() {
            w.put(REPLACEMENT.as_bytes());
        }
    }
}

fn put_char(w: &mut Writer<'_>, c: char) {
    w.put(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Writes `text` and `end` if all of `text` is printable ASCII with none of `special`. Else what it wrote is to be
/// overwritten.
#[inline(always)]
fn put_plain<const S: usize>(w: &mut Writer<'_>, text: &[u8], special: [u8; S], end: &[u8]) -> bool {
    let len = text.len() + end.len();
    let Some((room, behind)) = w.room(len).and_then(|room| room.split_at_mut_checked(text.len())) else { return false };
    behind.copy_from_slice(end);
    let plain = copy_if_plain(room, text, special);
    if plain {
        w.skip(len);
    }
    plain
}

/// Copies between slices of one length, and tells whether all was plain.
///
/// Blocks of a fixed size without an early exit become vector instructions. The last block overlaps the one before it,
/// so that no remainder is left to go through byte by byte.
#[inline(always)]
fn copy_if_plain<const S: usize>(to: &mut [u8], from: &[u8], special: [u8; S]) -> bool {
    if let (Some(first), Some(last)) = (from.first_chunk::<16>(), from.last_chunk::<16>()) {
        let mut odd = [0; 16];
        look_at(first, special, &mut odd);
        look_at(last, special, &mut odd);
        if from.len() > 32 {
            for (to, from) in to.chunks_exact_mut(16).zip(from.chunks_exact(16)) {
                let block = from.first_chunk().unwrap_or(first);
                look_at(block, special, &mut odd);
                to.copy_from_slice(block);
            }
        }
        put_ends(to, first, last);
        u128::from_ne_bytes(odd) == 0
    } else if let (Some(first), Some(last)) = (from.first_chunk::<8>(), from.last_chunk::<8>()) {
        let mut odd = [0; 8];
        look_at(first, special, &mut odd);
        look_at(last, special, &mut odd);
        put_ends(to, first, last);
        u64::from_ne_bytes(odd) == 0
    } else {
        let mut odd = [0];
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
            look_at(&[*from], special, &mut odd);
        }
        odd == [0]
    }
}

/// Copies what is one to two blocks long: the blocks may overlap.
#[inline(always)]
fn put_ends<const BLOCK: usize>(to: &mut [u8], first: &[u8; BLOCK], last: &[u8; BLOCK]) {
    if let Some(start) = to.first_chunk_mut() {
        *start = *first;
    }
    if let Some(end) = to.last_chunk_mut() {
        *end = *last;
    }
}

/// Marks the bytes of a block that are not printable ASCII, or special.
#[inline(always)]
fn look_at<const S: usize, const BLOCK: usize>(block: &[u8; BLOCK], special: [u8; S], odd: &mut [u8; BLOCK]) {
    for (odd, &b) in odd.iter_mut().zip(block) {
        let unprintable = b.wrapping_sub(b' ').saturating_sub(b'~' - b' ');
        *odd |= special.iter().fold(unprintable, |odd, &s| odd | if b == s { 0xff } else { 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the quote at its end, to be compared with the others.
    fn json(w: &mut Writer<'_>, text: &[u8]) {
        super::json(w, text);
        w.truncate(w.len() - 1);
    }

    fn run(f: impl Fn(&mut Writer<'_>, &[u8]), text: &[u8]) -> String {
        let mut buf = vec![0; text.len() * LARGEST + 1];
        let mut w = Writer::new(&mut buf);
        f(&mut w, text);
        let len = w.len();
        assert!(len <= buf.len(), "a byte grew to more than {LARGEST}");
        String::from_utf8(buf[..len].to_vec()).unwrap()
    }

    #[test]
    fn every_byte_at_every_place_is_seen() {
        fn check<const N: usize>(special: [u8; N]) {
            for len in 1..52 {
                for at in 0..len {
                    for b in 0..=255u8 {
                        let mut text = vec![b'a'; len];
                        text[at] = b;
                        let slow = (0x20..0x7f).contains(&b) && !special.contains(&b);
                        let mut copy = vec![0; len];
                        assert_eq!(copy_if_plain(&mut copy, &text, special), slow, "{b} at {at} of {len}");
                        assert!(copy == text || !slow, "{b} at {at} of {len}");
                    }
                }
            }
        }
        check([]);
        check(*b"\"\\");
        check(*b"&<>\"'");
    }

    #[test]
    fn plain_text_stays() {
        for f in [json, html, plain] {
            assert_eq!(run(f, b""), "");
            assert_eq!(run(f, b"orders-service_1.eu/a:b"), "orders-service_1.eu/a:b");
            assert_eq!(run(f, "Gr\u{fc}\u{df}e \u{1f30a}".as_bytes()), "Gr\u{fc}\u{df}e \u{1f30a}");
        }
    }

    #[test]
    fn what_would_break_the_structure_is_escaped() {
        assert_eq!(run(json, b"a\"b\\c\n\r\t\0\x1f"), r#"a\"b\\c\n\r\t\u0000\u001f"#);
        assert_eq!(run(html, b"<a href=\"x\" & 'y'>"), "&lt;a href=&#34;x&#34; &amp; &#39;y&#39;&gt;");
        assert_eq!(run(html, b"a\r\nb"), "a\u{fffd}\u{fffd}b");
        assert_eq!(run(plain, b"a\r\nb\x1b[31m<"), "a\u{fffd}\u{fffd}b\u{fffd}[31m<");
        assert_eq!(run(plain, "\u{9b}31m".as_bytes()), "\u{fffd}31m");
    }

    #[test]
    fn a_component_of_a_uri_holds_no_delimiter() {
        assert_eq!(run(uri, b"a-Z_0.9~"), "a-Z_0.9~");
        assert_eq!(run(uri, "a b/\"?#\u{fc}".as_bytes()), "a%20b%2F%22%3F%23%C3%BC");
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        for f in [json, html, plain] {
            assert_eq!(run(f, b"a\xffb\xe2\x82"), "a\u{fffd}b\u{fffd}");
            assert_eq!(run(f, b"\xed\xa0\x80"), "\u{fffd}\u{fffd}\u{fffd}");
        }
    }
}
