//! This gateway's member of `Proxy-Status` (RFC 9209), serialised as RFC 8941 says.
//!
//! `tidegate;error=connection_refused;received-status=503;next-hop="…";details="…"`: the label is a token if it can
//! be one and else a string; `error` is left out where the cause has no error type (an upstream's own status). It
//! refuses to guess: what is unset does not appear. Bytes that a string can't hold (anything but printable ASCII)
//! become `?`, so nothing in a name can end the field line.

use super::Answer;
use super::block::Block;
use super::writer::Writer;
use crate::cause::Cause;

/// Writes the member.
#[inline(always)]
pub(super) fn write(w: &mut Writer<'_>, answer: &Answer<'_>) {
    let usual = USUAL.get(answer.cause.number() as usize).unwrap_or(&USUAL[0]);
    if answer.label.bytes().is_empty() {
        w.put_block(usual);
    } else {
        w.lend(|w| {
            label(w, answer.label.bytes());
            w.put(usual.text().strip_prefix(LABEL.as_bytes()).unwrap_or_default());
        });
    }
    if answer.received_status != 0 {
        w.put(b";received-status=");
        w.put_number(u32::from(answer.received_status));
    }
    if !answer.next_hop.bytes().is_empty() {
        w.put(b";next-hop=");
        w.lend(|w| string(w, answer.next_hop.bytes()));
    }
    if !answer.details.bytes().is_empty() {
        w.put(b";details=");
        w.lend(|w| string(w, answer.details.bytes()));
    }
}

#[inline(never)]
fn label(w: &mut Writer<'_>, label: &[u8]) {
    if is_token(label) { w.put(label) } else { string(w, label) }
}

/// RFC 8941, section 3.3.3. A byte becomes at most two.
#[cold]
#[inline(never)]
fn string(w: &mut Writer<'_>, text: &[u8]) {
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

/// RFC 8941, section 3.3.4.
fn is_token(text: &[u8]) -> bool {
    let first = |b: &u8| b.is_ascii_alphabetic() || *b == b'*';
    text.first().is_some_and(first)
        && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(b))
}

const LABEL: &str = "tidegate";

/// By cause: what a member starts with where the label is our own.
static USUAL: [Block<56>; Cause::ALL.len()] = {
    let mut all = [Block::EMPTY; Cause::ALL.len()];
    let mut i = 0;
    while i < all.len() {
        let error = Cause::ALL[i].properties().proxy_status;
        all[i] = Block::new(&[LABEL, if error.is_empty() { "" } else { ";error=" }, error]);
        i += 1;
    }
    all
};

#[cfg(test)]
mod tests {
    use super::super::{Short, Status};
    use super::*;
    use proptest::prelude::*;

    fn member(answer: &Answer<'_>) -> String {
        let mut buf = [0; 2048];
        let mut w = Writer::new(&mut buf);
        write(&mut w, answer);
        let len = w.len();
        String::from_utf8(buf[..len].to_vec()).unwrap()
    }

    #[test]
    fn what_is_unset_does_not_appear() {
        let mut answer = Answer::new(Status::BadGateway);
        assert_eq!(member(&answer), "tidegate");
        answer.cause = Cause::CONNECTION_REUSED_CLOSED;
        assert_eq!(member(&answer), "tidegate;error=connection_terminated");
        answer.cause = Cause::UPSTREAM_STATUS;
        answer.received_status = 503;
        assert_eq!(member(&answer), "tidegate;received-status=503");
        answer.cause = Cause::CONNECTION_REFUSED;
        answer.received_status = 0;
        answer.next_hop = Short::new(b"[::1]:8080").unwrap();
        answer.details = Short::new("say \"hi\\\" \u{fc}\r\nSet-Cookie: a".as_bytes()).unwrap();
        assert_eq!(
            member(&answer),
            r#"tidegate;error=connection_refused;next-hop="[::1]:8080";details="say \"hi\\\" ????Set-Cookie: a""#
        );
    }

    #[test]
    fn a_label_is_a_token_if_it_can_be() {
        let mut answer = Answer::new(Status::BadGateway);
        for (label, want) in [
            (&b"gw-1.example.com:443/a"[..], "gw-1.example.com:443/a"),
            (b"*x", "*x"),
            (b"1st", "\"1st\""),
            (b"my gateway", "\"my gateway\""),
            (b"a,b;c=\"d\"", "\"a,b;c=\\\"d\\\"\""),
            (b"a\nb", "\"a?b\""),
        ] {
            answer.label = Short::new(label).unwrap();
            assert_eq!(member(&answer), want);
        }
    }

    /// The parsing algorithm of RFC 8941, section 4.2.5.
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

    proptest! {
        #[test]
        fn a_string_reads_back(text in proptest::collection::vec(any::<u8>(), 0..=255)) {
            let mut buf = [0; 512];
            let mut w = Writer::new(&mut buf);
            string(&mut w, &text);
            let len = w.len();
            prop_assert!(len <= 2 * text.len() + 2);
            let want: String = text.iter().map(|&b| if (b' '..=b'~').contains(&b) { b as char } else { '?' }).collect();
            prop_assert_eq!(parse_string(std::str::from_utf8(&buf[..len]).unwrap()), Some(want));
        }
    }
}
