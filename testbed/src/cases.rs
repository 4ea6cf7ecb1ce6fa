//! The catalogue of responses in `tests/data/response-cases.txt`, as a backend would send them.
//!
//! Of each row only what the wire shows is read: the request, the bytes, how the connection ends, and whether they are
//! a response at all. What the validator is to say of them is its own tests' business.

use crate::behaviour::{Behaviour, Then};

/// One row.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// The method of the request.
    pub method: String,
    /// The protocol that the request offered in Upgrade; empty: none.
    pub upgrade: String,
    /// How the connection ends.
    pub then: Then,
    /// Whether no client may get to see it.
    pub rejected: bool,
    /// The response.
    pub bytes: Vec<u8>,
}

impl Case {
    /// A backend that answers so.
    pub fn behaviour(&self) -> Behaviour {
        Behaviour::Raw(self.bytes.clone(), self.then)
    }
}

/// The rows of the catalogue that are HTTP/1 and judged strictly, as the proxies do.
///
/// # Panics
/// If a row is not what its head comment says.
pub fn cases() -> Vec<Case> {
    include_str!("../../tests/data/response-cases.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(|line| !line.split(" | ").nth(1).is_some_and(|context| context.contains('/')))
        .map(|line| {
            let columns: Vec<&str> = line.splitn(5, " | ").collect();
            let &[id, context, verdict, _, bytes] = columns.as_slice() else { panic!("five columns: {line}") };
            let (request, end) = context.split_once(' ').expect("a request and an end");
            let (method, upgrade) = request.split_once('+').unwrap_or((request, ""));
            let then = match end {
                "close" => Then::Close,
                "rst" => Then::Reset,
                "open" => Then::KeepOpen,
                other => panic!("{id}: end {other}"),
            };
            Case {
                id: id.into(),
                method: method.into(),
                upgrade: upgrade.into(),
                then,
                rejected: verdict == "reject",
                bytes: unquote(bytes),
            }
        })
        .collect()
}

/// `"text"*3 "more"`.
fn unquote(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while let Some(quoted) = rest.strip_prefix('"') {
        let mut part = Vec::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            let mut next = || chars.next().unwrap_or_else(|| panic!("a quote or an escape is open: {text}"));
            match next() {
                (at, '"') => break at,
                (_, '\\') => part.push(match next().1 {
                    'r' => b'\r',
                    'n' => b'\n',
                    't' => b'\t',
                    'x' => {
                        let hex = String::from_iter([next().1, next().1]);
                        u8::from_str_radix(&hex, 16).expect("two hexadecimal digits")
                    }
                    literal => literal as u8,
                }),
                (_, c) => part.push(u8::try_from(c).expect("ASCII")),
            }
        };
        rest = &quoted[end + 1..];
        let mut times = 1;
        if let Some(counted) = rest.strip_prefix('*') {
            let digits = counted.bytes().take_while(u8::is_ascii_digit).count();
            times = counted[..digits].parse().expect("a number");
            rest = &counted[digits..];
        }
        out.extend(part.repeat(times));
        rest = rest.trim_start();
    }
    assert!(rest.is_empty(), "a string begins with a quote: {text}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_put_together() {
        assert_eq!(unquote(r#""a\r\n"*2 "\x00\"b""#), b"a\r\na\r\n\0\"b");
        assert_eq!(unquote(r#""""#), b"");
    }

    #[test]
    fn the_catalogue_has_rejected_rows_of_each_end() {
        let rejected: Vec<_> = cases().into_iter().filter(|case| case.rejected).collect();
        assert!(rejected.len() > 100, "{}", rejected.len());
        for then in [Then::Close, Then::Reset, Then::KeepOpen] {
            assert!(rejected.iter().any(|case| case.then == then), "{then:?}");
        }
    }
}
