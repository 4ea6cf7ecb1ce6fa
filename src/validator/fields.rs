//! The fields of a head that has passed, one by one: names and trimmed values as slices of the head.
//!
//! It judges nothing: any bytes may come in, and whatever is not a field line ends the iteration. Linear in the line,
//! no allocation. Source: RFC 9112, section 5.

use super::bytes::{CR, LF, trim};

/// One field line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldLine<'a> {
    /// The name as sent.
    pub name: &'a [u8],
    /// The value without the white space around it.
    pub value: &'a [u8],
}

/// The field at `cursor`, and the cursor of the next one. A cursor of 0 begins behind the status line.
pub fn next_field(head: &[u8], cursor: usize) -> Option<(FieldLine<'_>, usize)> {
    let start = if cursor == 0 { line_end(head, 0)? } else { cursor };
    let end = line_end(head, start)?;
    let line = head.get(start..end)?;
    let line = line.strip_suffix(&[LF]).unwrap_or(line);
    let line = line.strip_suffix(&[CR]).unwrap_or(line);
    let colon = line.iter().position(|&b| b == b':').filter(|&at| at > 0)?;
    let (name, value) = line.split_at_checked(colon)?;
    Some((FieldLine { name, value: trim(value.get(1..)?) }, end))
}

/// The position behind the line feed that ends the line at `start`.
fn line_end(head: &[u8], start: usize) -> Option<usize> {
    let rest = head.get(start..)?;
    Some(start + rest.iter().position(|&b| b == LF)? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(head: &[u8]) -> Vec<(&[u8], &[u8])> {
        let mut out = Vec::new();
        let mut cursor = 0;
        while let Some((field, next)) = next_field(head, cursor) {
            assert!(next > cursor && next <= head.len());
            cursor = next;
            out.push((field.name, field.value));
        }
        out
    }

    #[test]
    fn yields_names_and_trimmed_values() {
        let head = b"HTTP/1.1 200 OK\r\nA: 1\r\nB:\r\nC:\t x y \nD: :\r\n\r\nbody: no\r\n";
        let expected: [(&[u8], &[u8]); 4] = [(b"A", b"1"), (b"B", b""), (b"C", b"x y"), (b"D", b":")];
        assert_eq!(all(head), expected);
    }

    #[test]
    fn anything_else_ends_it() {
        for head in [&b""[..], b"\n", b"HTTP/1.1 200 OK", b"x\r\nno colon\r\n", b"x\r\n: empty\r\n", b"x\r\nA: cut off"]
        {
            assert!(all(head).is_empty(), "{head:?}");
        }
        assert_eq!(next_field(b"x\r\nA: b\r\n", usize::MAX), None);
    }

    proptest::proptest! {
        #[test]
        fn is_total(head: Vec<u8>, cursor: usize) {
            all(&head);
            next_field(&head, cursor);
            next_field(&head, cursor % (head.len() + 1));
        }
    }
}
