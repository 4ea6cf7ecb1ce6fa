//! Structured field values (RFC 8941), as far as `Proxy-Status` needs them: writing tokens, strings and byte sequences,
//! and telling whether a list that somebody else wrote is one.
//!
//! A reader drops a field whose value does not parse, with all of its members. So what came from elsewhere is appended
//! to only if it parses. Cost: linear in the bytes; no allocation.

use super::writer::Writer;

/// RFC 8941, section 3.3.4.
pub(super) fn is_token(text: &[u8]) -> bool {
    let first = |b: &u8| b.is_ascii_alphabetic() || *b == b'*';
    text.first().is_some_and(first) && text.iter().all(|&b| is_token_byte(b))
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b)
}

/// A token if it can be one, and else a string.
#[inline(never)]
pub(super) fn name(w: &mut Writer<'_>, text: &[u8]) {
    if is_token(text) { w.put(text) } else { string(w, text) }
}

/// RFC 8941, section 3.3.3. A byte becomes at most two; what a string can't hold becomes `?`.
#[cold]
#[inline(never)]
pub(super) fn string(w: &mut Writer<'_>, text: &[u8]) {
    w.put(b"\"");
    for &b in text {
        match b {
            b'"' | b'\\' => w.put(&[b'\\', b]),
            b' '..=b'~' => w.put(&[b]),
            _ => w.put(b"?"),
        }
    }
    w.put(b"\"");
}

/// RFC 8941, section 3.3.5: base64 between colons.
#[cold]
#[inline(never)]
pub(super) fn bytes(w: &mut Writer<'_>, data: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    w.put(b":");
    for group in data.chunks(3) {
        let word = group.iter().fold(0u32, |word, &b| word << 8 | u32::from(b)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            w.put(&[if place > group.len() { b'=' } else { digit }]);
        }
    }
    w.put(b":");
}

/// The value of a Proxy-Status field that an upstream sent.
pub(super) struct Earlier;

impl Earlier {
    /// No longer one is repeated.
    pub(super) const LONGEST: usize = 512;

    /// The value if it is a list of at least one token or string, each with parameters, that can be appended to; empty
    /// if it is not.
    #[inline]
    pub(super) fn parse(value: &[u8]) -> &[u8] {
        let value = value.trim_ascii();
        if value.is_empty() || value.len() > Self::LONGEST || !Parser(value).list() { &[] } else { value }
    }
}

/// What is left to be read. Each function takes what it names off the front, or answers false.
struct Parser<'a>(&'a [u8]);

impl Parser<'_> {
    fn list(&mut self) -> bool {
        loop {
            if !(self.token() || self.string()) || !self.parameters() {
                return false;
            }
            self.skip_white();
            if self.0.is_empty() {
                return true;
            }
            if !self.byte(b',') {
                return false;
            }
            self.skip_white();
        }
    }

    fn parameters(&mut self) -> bool {
        while self.byte(b';') {
            self.0 = &self.0[self.count(|b| b == b' ')..];
            if !self.0.first().is_some_and(|b| b.is_ascii_lowercase() || *b == b'*') {
                return false;
            }
            self.take(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b));
            if self.byte(b'=') && !self.item() {
                return false;
            }
        }
        true
    }

    fn item(&mut self) -> bool {
        match self.0.first() {
            Some(b'"') => self.string(),
            Some(b'?') => self.byte(b'?') && (self.byte(b'0') || self.byte(b'1')),
            Some(b':') => {
                self.byte(b':');
                self.take(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
                self.byte(b':')
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.token(),
        }
    }

    fn number(&mut self) -> bool {
        self.byte(b'-');
        let whole = self.take(|b| b.is_ascii_digit());
        if !self.byte(b'.') {
            return (1..=15).contains(&whole);
        }
        let decimals = self.take(|b| b.is_ascii_digit());
        (1..=12).contains(&whole) && (1..=3).contains(&decimals)
    }

    fn token(&mut self) -> bool {
        let starts = self.0.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'*');
        starts && self.take(is_token_byte) > 0
    }

    fn string(&mut self) -> bool {
        if !self.byte(b'"') {
            return false;
        }
        loop {
            match self.0 {
                [b'\\', b'"' | b'\\', rest @ ..] => self.0 = rest,
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return true;
                }
                [b' '..=b'~', rest @ ..] if self.0[0] != b'\\' => self.0 = rest,
                _ => return false,
            }
        }
    }

    fn skip_white(&mut self) {
        self.take(|b| b == b' ' || b == b'\t');
    }

    fn byte(&mut self, wanted: u8) -> bool {
        let found = self.0.first() == Some(&wanted);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn take(&mut self, of: impl Fn(u8) -> bool) -> usize {
        let count = self.count(of);
        self.0 = &self.0[count..];
        count
    }

    fn count(&self, of: impl Fn(u8) -> bool) -> usize {
        self.0.iter().take_while(|&&b| of(b)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(f: impl Fn(&mut Writer<'_>, &[u8]), text: &[u8]) -> String {
        let mut buf = [0; 1024];
        let mut w = Writer::new(&mut buf);
        f(&mut w, text);
        let len = w.len();
        String::from_utf8(buf[..len].to_vec()).unwrap()
    }

    #[test]
    fn a_name_is_a_token_if_it_can_be() {
        for (text, want) in [
            (&b"gw-1.example.com:443/a"[..], "gw-1.example.com:443/a"),
            (b"*x", "*x"),
            (b"1st", "\"1st\""),
            (b"my gateway", "\"my gateway\""),
            (b"a,b;c=\"d\"", "\"a,b;c=\\\"d\\\"\""),
            (b"a\nb", "\"a?b\""),
        ] {
            assert_eq!(run(name, text), want);
        }
    }

    #[test]
    fn bytes_are_base64() {
        for (data, want) in
            [(&b""[..], "::"), (b"f", ":Zg==:"), (b"fo", ":Zm8=:"), (b"foo", ":Zm9v:"), (b"\xff\xfe", "://4=:")]
        {
            assert_eq!(run(bytes, data), want);
        }
    }

    #[test]
    fn only_a_list_can_be_appended_to() {
        for yes in [
            "a",
            "ExampleCDN; error=connection_timeout",
            "a;received-status=503;next-hop=\"x\\\"y\", \"b c\";details=\"\"",
            "a;x=?1;y=:Zg==:;z=-1.5;w;v=token/1 ,\tb",
        ] {
            assert_eq!(Earlier::parse(yes.as_bytes()), yes.as_bytes(), "{yes}");
        }
        assert_eq!(Earlier::parse(b"  a \t"), b"a");
        for no in [
            "",
            " ",
            "a,",
            ",a",
            "a;",
            "a;X=1",
            "a;x=",
            "a;x=\"",
            "a;x=\"b",
            "a;x=\"\\n\"",
            "a b",
            "1",
            "a;x=1.",
            "a;x=1.2345",
            "a;x=?2",
            "a;x=:Zg==",
            "a\r\nSet-Cookie: b",
            "a;x=\"\u{e4}\"",
            "(a b)",
            "a;x=1234567890123456",
        ] {
            assert_eq!(Earlier::parse(no.as_bytes()), b"", "{no}");
        }
        assert_eq!(Earlier::parse(&[b'a'; 513]), b"");
        assert_eq!(Earlier::parse(&[b'a'; 512]).len(), 512);
    }

    proptest! {
        #[test]
        fn what_is_written_here_can_be_appended_to(text in proptest::collection::vec(any::<u8>(), 1..=64)) {
            let value = format!("{};details={};next-protocol={}", run(name, &text), run(string, &text), run(bytes, &text));
            prop_assert_eq!(Earlier::parse(value.as_bytes()), value.as_bytes());
        }

        #[test]
        fn what_passes_can_end_no_line(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(Earlier::parse(&value).iter().all(|&b| b == b'\t' || (b' '..=b'~').contains(&b)));
        }

        /// The parsing algorithm of RFC 8941, section 4.2.5.
        #[test]
        fn a_string_reads_back(text in proptest::collection::vec(any::<u8>(), 0..=255)) {
            let written = run(string, &text);
            prop_assert!(written.len() <= 2 * text.len() + 2);
            let want: String = text.iter().map(|&b| if (b' '..=b'~').contains(&b) { b as char } else { '?' }).collect();
            prop_assert_eq!(parse_string(&written), Some(want));
        }
    }

    fn parse_string(text: &str) -> Option<String> {
        let mut out = String::new();
        let mut chars = text.strip_prefix('"')?.chars();
        loop {
            match chars.next()? {
                '\\' => match chars.next()? {
                    c @ ('"' | '\\') => out.push(c),
                    _ => return None,
                },
                '"' => return chars.next().is_none().then_some(out),
                c @ ' '..='~' => out.push(c),
                _ => return None,
            }
        }
    }
}
