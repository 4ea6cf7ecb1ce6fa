//! Which format a client gets, by its `Accept` (RFC 9110, section 12.5.1).
//!
//! The most specific range that matches a format gives its quality. The highest quality wins; between equals the
//! more specific range, then the one named first, then the order of [`PREFERENCE`]. So a browser, which names
//! `text/html`, gets HTML, and whoever takes anything gets JSON. Where nothing is acceptable the error is sent all the
//! same, as plain text: an empty or a second error would help nobody. Parameters other than `q` are ignored
//! (`application/json;charset=utf-8` means JSON); an element that is no media range is skipped, and a field without any
//! counts as missing. Cost: linear in the
//! field, no allocation, no state.

use super::Format;

/// What is offered, best first: the order among formats that a client likes equally.
const PREFERENCE: [(Format, &[u8], &[u8]); 4] = [
    (Format::Json, b"application", b"json"),
    (Format::Problem, b"application", b"problem+json"),
    (Format::Text, b"text", b"plain"),
    (Format::Html, b"text", b"html"),
];

/// Answers an Accept field's value; several field lines are joined by commas.
#[inline]
pub(super) fn negotiate(accept: &[u8]) -> Format {
    if is_usual(accept) { Format::Json } else { choose(accept) }
}

/// Whether JSON is the answer at first sight.
#[inline(always)]
pub(super) fn is_usual(accept: &[u8]) -> bool {
    matches!(accept, b"" | b"*/*" | b"application/json")
}

#[inline(never)]
fn choose(accept: &[u8]) -> Format {
    let mut found = [Match::default(); PREFERENCE.len()];
    let mut position = 0;
    for element in split_unquoted(accept, b',') {
        let Some(range) = Range::parse(element) else { continue };
        position += 1;
        for (m, (_, kind, subtype)) in found.iter_mut().zip(PREFERENCE) {
            let specificity = range.specificity(kind, subtype);
            if specificity > m.specificity
                || (specificity == m.specificity && specificity > 0 && range.quality > m.quality)
            {
                *m = Match { specificity, quality: range.quality, position };
            }
        }
    }
    if position == 0 {
        return Format::Json;
    }
    let mut best: Option<(Match, Format)> = None;
    for (m, (format, ..)) in found.into_iter().zip(PREFERENCE) {
        if m.quality > 0 && best.is_none_or(|(b, _)| m.beats(b)) {
            best = Some((m, format));
        }
    }
    best.map_or(Format::Text, |(_, format)| format)
}

/// The best range that matched one format.
#[derive(Clone, Copy, Default)]
struct Match {
    /// 0: none matched; 1: `*/*`; 2: `type/*`; 3: `type/subtype`.
    specificity: u8,
    /// In thousandths.
    quality: u16,
    position: usize,
}

impl Match {
    fn beats(self, other: Match) -> bool {
        (self.quality, self.specificity, other.position) > (other.quality, other.specificity, self.position)
    }
}

struct Range<'a> {
    kind: &'a [u8],
    subtype: &'a [u8],
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(element: &'a [u8]) -> Option<Range<'a>> {
        let mut parts = split_unquoted(element, b';');
        let name = parts.next()?.trim_ascii();
        let slash = name.iter().position(|&b| b == b'/')?;
        let (kind, subtype) = (&name[..slash], &name[slash + 1..]);
        if !is_token(kind) || !is_token(subtype) || (kind == b"*" && subtype != b"*") {
            return None;
        }
        let mut quality = 1000;
        for parameter in parts {
            if let [b'q' | b'Q', b'=', value @ ..] = parameter.trim_ascii() {
                quality = parse_quality(value)?;
            }
        }
        Some(Range { kind, subtype, quality })
    }

    fn specificity(&self, kind: &[u8], subtype: &[u8]) -> u8 {
        match (self.kind, self.subtype) {
            (b"*", _) => 1,
            (k, _) if !k.eq_ignore_ascii_case(kind) => 0,
            (_, b"*") => 2,
            (_, s) if s.eq_ignore_ascii_case(subtype) => 3,
            _ => 0,
        }
    }
}

/// `0`, `0.5`, `0.125`, `1`, `1.000`: at most three decimals (RFC 9110, section 12.4.2).
fn parse_quality(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut quality = u16::from(whole - b'0');
    for place in 0..3 {
        let digit = decimals.get(place).unwrap_or(&b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        quality = quality * 10 + u16::from(digit - b'0');
    }
    (quality <= 1000).then_some(quality)
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// The parts between `separator`s that stand outside quoted strings.
fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |&b| {
        if escaped {
            escaped = false;
        } else if b == b'"' {
            quoted = !quoted;
        } else if quoted {
            escaped = b == b'\\';
        }
        b == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_clients_send() {
        for (accept, want) in [
            ("", Format::Json),
            ("   ", Format::Json),
            (",, ,", Format::Json),
            ("*/*", Format::Json),
            ("*/*;q=0.1", Format::Json),
            ("application/json", Format::Json),
            ("Application/JSON", Format::Json),
            ("application/json; charset=utf-8", Format::Json),
            ("application/json, text/plain, */*", Format::Json),
            ("application/*", Format::Json),
            ("application/problem+json", Format::Problem),
            ("application/problem+json, application/json;q=0.9", Format::Problem),
            ("application/json, application/problem+json", Format::Json),
            ("application/problem+json, application/json", Format::Problem),
            ("text/html", Format::Html),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", Format::Html),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Html),
            ("*/*, text/html", Format::Html),
            ("text/plain", Format::Text),
            ("text/*", Format::Text),
            ("text/*, text/plain;q=0.1", Format::Html),
            ("image/avif,image/webp,*/*", Format::Json),
        ] {
            assert_eq!(negotiate(accept.as_bytes()), want, "{accept:?}");
        }
    }

    #[test]
    fn a_quality_of_nought_forbids() {
        for (accept, want) in [
            ("application/json;q=0, */*", Format::Problem),
            ("application/*;q=0, */*", Format::Text),
            ("application/*;q=0, text/plain;q=0.000, */*;q=0.1", Format::Html),
            ("text/html;q=0", Format::Text),
            ("*/*;q=0", Format::Text),
            ("*/*;q=0, text/html;q=0.001", Format::Html),
            ("application/json;q=0.2, text/html;q=0.3", Format::Html),
            ("application/json;q=0.999, text/html;q=1.0", Format::Html),
            ("application/json ; Q=0.2 , text/html ; q=0.1", Format::Json),
        ] {
            assert_eq!(negotiate(accept.as_bytes()), want, "{accept:?}");
        }
    }

    #[test]
    fn nothing_acceptable_is_still_answered() {
        for accept in ["image/png", "application/xml", "application/vnd.api+json", "application/grpc"] {
            assert_eq!(negotiate(accept.as_bytes()), Format::Text, "{accept:?}");
        }
    }

    #[test]
    fn what_is_no_media_range_is_skipped() {
        for (accept, want) in [
            ("text, text/html", Format::Html),
            ("*/html, text/html", Format::Html),
            ("text/html;q=2, application/json;q=0.1", Format::Json),
            ("text/html;q=0.1234, application/json;q=0.1", Format::Json),
            ("text/html;q=, application/json;q=0.1", Format::Json),
            ("text/html;q=.5, application/json;q=0.1", Format::Json),
            ("text/html;q=1.001, application/json;q=0.1", Format::Json),
            ("text /html, application/json", Format::Json),
            ("/, //, text/, /html, application/json", Format::Json),
            (r#"text/html;x="a,b;q=0", application/json;q=0.5"#, Format::Html),
            (r#"text/html;x="a\",application/json", text/plain;q=0.5"#, Format::Html),
            ("\"", Format::Json),
            ("json", Format::Json),
            ("text/html;q=2", Format::Json),
        ] {
            assert_eq!(negotiate(accept.as_bytes()), want, "{accept:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(accept in proptest::collection::vec(any::<u8>(), 0..200)) {
            negotiate(&accept);
        }

        #[test]
        fn the_order_of_elements_never_beats_quality(q in 1u16..1000) {
            let low = format!("text/html;q=0.{q:03}");
            prop_assert_eq!(negotiate(format!("{low}, application/json").as_bytes()), Format::Json);
            prop_assert_eq!(negotiate(format!("application/json, {low}").as_bytes()), Format::Json);
        }
    }
}
