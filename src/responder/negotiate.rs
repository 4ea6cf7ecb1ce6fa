//! Which format a client gets, by its `Accept` (RFC 9110, section 12.5.1).
//!
//! The most specific range that matches a format gives its quality. The highest quality wins; between equals the
//! more specific range, then the one named first, then the order of [`PREFERENCE`]. So a browser, which names
//! `text/html`, gets HTML, and whoever takes anything gets JSON. Where nothing is acceptable the error is sent all the
//! same, as plain text: an empty or a second error would help nobody. An element that is no media range is skipped, and
//! a field without any counts as missing. Cost: linear in the field, no allocation, no state.
//!
//! Parameters before `q` narrow a range: `text/html;level=1` does not mean our HTML, which has no level. Of `charset`
//! the two text types have UTF-8; JSON has none to tell apart (RFC 8259, section 11), so there it is ignored. Only where
//! nothing else would be acceptable do such ranges count without their parameters: who asks for
//! `application/json;odata=verbose` can read JSON sooner than text.

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
    let mut exact = [Match::default(); PREFERENCE.len()];
    let mut narrowed = exact;
    let mut position = 0;
    for element in split_unquoted(accept, b',') {
        let Some(range) = Range::parse(element) else { continue };
        position += 1;
        for (i, (_, kind, subtype)) in PREFERENCE.into_iter().enumerate() {
            let (specificity, matches) = range.specificity(kind, subtype);
            let m = if matches { &mut exact[i] } else { &mut narrowed[i] };
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
    let found = best(exact).or_else(|| {
        // What was refused in so many words stays so.
        for (narrowed, exact) in narrowed.iter_mut().zip(exact).filter(|(_, exact)| exact.specificity > 0) {
            *narrowed = exact;
        }
        best(narrowed)
    });
    found.unwrap_or(Format::Text)
}

fn best(found: [Match; PREFERENCE.len()]) -> Option<Format> {
    let mut best: Option<(Match, Format)> = None;
    for (m, (format, ..)) in found.into_iter().zip(PREFERENCE) {
        if m.quality > 0 && best.is_none_or(|(b, _)| m.beats(b)) {
            best = Some((m, format));
        }
    }
    best.map(|(_, format)| format)
}

/// The best range that matched one format.
#[derive(Clone, Copy, Default)]
struct Match {
    /// 0: none matched; 2: `*/*`; 4: `type/*`; 6: `type/subtype`; one more with a `charset` that is ours.
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
    /// Whether `charset` is UTF-8; `None`: it is not there.
    utf8: Option<bool>,
    /// Some other parameter stands before `q`.
    foreign: bool,
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
        let mut range = Range { kind, subtype, quality: 1000, utf8: None, foreign: false };
        for parameter in parts {
            match parameter.trim_ascii() {
                // What follows is an extension of the weight, not of the type.
                [b'q' | b'Q', b'=', value @ ..] => {
                    range.quality = parse_quality(value)?;
                    break;
                }
                [] => {}
                other => match other.split_at_checked(8) {
                    Some((name, value)) if name.eq_ignore_ascii_case(b"charset=") => {
                        range.utf8 = Some(unquoted(value).eq_ignore_ascii_case(b"utf-8"));
                    }
                    _ => range.foreign = true,
                },
            }
        }
        Some(range)
    }

    /// How closely this names the type, and whether its parameters leave ours in.
    fn specificity(&self, kind: &[u8], subtype: &[u8]) -> (u8, bool) {
        let named = match (self.kind, self.subtype) {
            (b"*", _) => 2,
            (k, _) if !k.eq_ignore_ascii_case(kind) => 0,
            (_, b"*") => 4,
            (_, s) if s.eq_ignore_ascii_case(subtype) => 6,
            _ => 0,
        };
        let utf8 = self.utf8.filter(|_| kind == b"text");
        (named + u8::from(named > 0 && utf8.is_some()), !self.foreign && utf8 != Some(false))
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
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
            (r#"text/html;q=1;x="a,b;q=0", application/json;q=0.5"#, Format::Html),
            (r#"text/html;q=0.9;x="a\",application/json", text/plain;q=0.5"#, Format::Html),
            ("\"", Format::Json),
            ("json", Format::Json),
            ("text/html;q=2", Format::Json),
        ] {
            assert_eq!(negotiate(accept.as_bytes()), want, "{accept:?}");
        }
    }

    #[test]
    fn parameters_narrow_a_range() {
        for (accept, want) in [
            ("text/html;level=1, application/json;q=0.5", Format::Json),
            ("text/html;level=1, */*;q=0.1", Format::Json),
            ("text/html;charset=UTF-8, application/json;q=0.5", Format::Html),
            ("text/html; charset=\"utf-8\", application/json;q=0.5", Format::Html),
            ("text/html;charset=iso-8859-1, application/json;q=0.5", Format::Json),
            ("application/json;charset=iso-8859-1, text/plain;q=0.9", Format::Json),
            // The one with the parameter is more specific, and says less.
            ("text/html;charset=utf-8;q=0.1, text/html, text/plain;q=0.5", Format::Text),
            // Better than text for somebody who named nothing else.
            ("text/html;level=1", Format::Html),
            ("application/json;odata=verbose", Format::Json),
            ("application/json;odata=verbose;q=0.5, text/html;level=1;q=0.4", Format::Json),
            ("text/html;level=1, text/html;q=0", Format::Text),
            ("text/html;level=1, */*;q=0", Format::Text),
            // Behind the weight stand extensions of it.
            ("text/html;q=1;level=1, application/json;q=0.5", Format::Html),
            ("text/html;;, application/json;q=0.5", Format::Html),
        ] {
            assert_eq!(negotiate(accept.as_bytes()), want, "{accept:?}");
        }
    }

    /// The rules once more, for lists without malformed parts: every format is asked which of the ranges speaks for it.
    fn twin(ranges: &[(&str, &str, &str, u16)]) -> Format {
        const OURS: [(Format, &str); 4] = [
            (Format::Json, "application/json"),
            (Format::Problem, "application/problem+json"),
            (Format::Text, "text/plain"),
            (Format::Html, "text/html"),
        ];
        if ranges.is_empty() {
            return Format::Json;
        }
        let speaker = |name: &str, heedless: bool| {
            let (kind, text) = (name.split('/').next().unwrap(), name.starts_with("text/"));
            let mut speakers: Vec<_> = ranges.iter().enumerate().collect();
            speakers.retain(|(_, (k, s, parameter, _))| {
                let named = (*k, *s) == ("*", "*") || (*k == kind && *s == "*") || format!("{k}/{s}") == name;
                let ours = match *parameter {
                    "" => true,
                    "charset=utf-8" => true,
                    "charset=latin1" => !text,
                    _ => false,
                };
                named && (ours || heedless)
            });
            let stars = |k: &str, s: &str| usize::from(k == "*") + usize::from(s == "*");
            let charset = |parameter: &str| text && parameter.starts_with("charset");
            speakers
                .into_iter()
                .max_by_key(|(at, (k, s, parameter, q))| (2 - stars(k, s), charset(parameter), *q, usize::MAX - at))
        };
        for heedless in [false, true] {
            let mut liked: Vec<_> = Vec::new();
            for (place, (format, name)) in OURS.into_iter().enumerate() {
                let known = speaker(name, false);
                if let Some((at, (k, s, parameter, q))) = known.or_else(|| speaker(name, heedless)) {
                    let stars = usize::from(*k == "*") + usize::from(*s == "*");
                    let specific = (2 - stars, name.starts_with("text/") && parameter.starts_with("charset"));
                    if *q > 0 && (known.is_some() || heedless) {
                        liked.push(((*q, specific, usize::MAX - at, usize::MAX - place), format));
                    }
                }
            }
            if let Some((_, format)) = liked.into_iter().max_by_key(|(key, _)| *key) {
                return format;
            }
        }
        Format::Text
    }

    const NAMES: [(&str, &str); 9] = [
        ("*", "*"),
        ("text", "*"),
        ("application", "*"),
        ("image", "*"),
        ("text", "html"),
        ("text", "plain"),
        ("application", "json"),
        ("application", "problem+json"),
        ("application", "xml"),
    ];
    const PARAMETERS: [&str; 4] = ["", "charset=utf-8", "charset=latin1", "level=1"];

    proptest! {
        #[test]
        fn the_slow_twin_agrees(picks in proptest::collection::vec((0..9usize, 0..4usize, 0..4usize), 0..6)) {
            let ranges: Vec<_> = picks.iter().map(|&(name, parameter, q)| {
                (NAMES[name].0, NAMES[name].1, PARAMETERS[parameter], [0, 300, 700, 1000][q])
            }).collect();
            let field: Vec<_> = ranges.iter().map(|(k, s, parameter, q)| {
                let parameter = if parameter.is_empty() { String::new() } else { format!(";{parameter}") };
                format!("{k}/{s}{parameter};q={}", ["0", "0.3", "0.7", "1"][[0, 300, 700, 1000].iter().position(|v| v == q).unwrap()])
            }).collect();
            let field = field.join(", ");
            prop_assert_eq!(negotiate(field.as_bytes()), twin(&ranges), "{}", field);
        }

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
