//! Operators' rules: the compiler takes or refuses any text, and a rule's verdict is that of a reader that has the whole
//! body and searches it.
//!
//! The first byte chooses which rules there are, or (255) that the rest is a text of rules; then sizes, the framing and
//! the cut, and two markers; the rest is the body.

use tidegate::validator::{End, Event, Options, Reason, Rules, Validator};

/// Compiles rules and judges one response by them.
pub fn run(data: &[u8]) {
    match data {
        [255, text @ ..] => compiles_or_says_why(text),
        [which, min, max, within, framing, cut, first @ 0..=7, second @ 0..=7, rest @ ..] => {
            let (first, second) = (usize::from(*first) + 1, usize::from(*second) + 1);
            if rest.len() < first + second {
                return;
            }
            let (first, rest) = rest.split_at(first);
            let (second, body) = rest.split_at(second);
            let case = Case { which: *which, min: *min, max: *max, within: *within, first, second, body };
            case.judge(*framing, usize::from(*cut) + 1);
        }
        _ => {}
    }
}

fn compiles_or_says_why(text: &[u8]) {
    match Rules::parse(text) {
        Ok(rules) => assert_eq!(Rules::parse(&[text, b"\n# more"].concat()), Ok(rules)),
        Err(error) => assert!(error.at <= text.len(), "{error}"),
    }
}

struct Case<'a> {
    which: u8,
    min: u8,
    max: u8,
    within: u8,
    first: &'a [u8],
    second: &'a [u8],
    body: &'a [u8],
}

impl Case<'_> {
    fn has(&self, rule: u8) -> bool {
        self.which >> rule & 1 != 0
    }

    fn judge(&self, framing: u8, most: usize) {
        let Some(rules) = self.compile() else { return };
        let (kind, extra) = (framing & 3, framing & 4 != 0);
        let mut stream = b"HTTP/1.1 200 OK\r\n".to_vec();
        stream.extend(if framing & 8 == 0 {
            &b"Content-Type: text/html; a=b\r\n"[..]
        } else {
            b"Content-Type: image/png\r\n"
        });
        stream.extend(if extra { &b"X-Extra: 1\r\n"[..] } else { b"" });
        match kind {
            0 => stream.extend(format!("Content-Length: {}\r\n\r\n", self.body.len()).bytes()),
            1 => stream.extend(b"\r\n"),
            _ => stream.extend(b"Transfer-Encoding: chunked\r\n\r\n"),
        }
        if kind < 2 {
            stream.extend(self.body);
        } else {
            for part in self.body.chunks(if kind == 2 { 5 } else { 300 }) {
                stream.extend(format!("{:x}\r\n", part.len()).bytes());
                stream.extend(part);
                stream.extend(b"\r\n");
            }
            stream.extend(b"0\r\n\r\n");
        }
        let options = Options { rules: Some(&rules), ..Options::default() };
        let (event, reason, offset) = feed(&options, &stream, usize::MAX);
        assert_eq!((event, reason, offset), feed(&options, &stream, most), "cuts change nothing");
        let broken = self.broken(framing & 8 == 0, extra);
        match event {
            Event::Complete => assert_eq!(broken, [], "rules that were broken"),
            _ => assert!(broken.contains(&reason), "{reason:?} is none of {broken:?}"),
        }
    }

    fn compile(&self) -> Option<Rules> {
        let quoted = |text: &[u8]| text.iter().map(|b| format!("\\x{b:02x}")).collect::<String>();
        let mut text = String::new();
        let mut rule = |at: u8, line: String| text += if self.has(at) { &line } else { "" };
        rule(0, format!("min-body {}\n", self.min));
        rule(1, format!("max-body {};", self.max));
        rule(2, format!("marker \"{}\" within {} # so far\n", quoted(self.first), self.within));
        rule(3, format!("no-marker \"{}\" within {}\n", quoted(self.second), self.within));
        rule(4, "type application/json text/*\n".into());
        rule(5, "field x-extra\n".into());
        rule(6, "no-field X-EXTRA\n".into());
        let longest =
            [(2, self.first), (3, self.second)].map(|(at, marker)| if self.has(at) { marker.len() } else { 0 });
        let senseless =
            self.has(0) && self.has(1) && self.min > self.max || usize::from(self.within) < longest[0].max(longest[1]);
        let rules = Rules::parse(text.as_bytes());
        assert_eq!(rules.is_err(), senseless, "{text}");
        rules.ok()
    }

    /// All that is wrong with the response.
    fn broken(&self, html: bool, extra: bool) -> Vec<Reason> {
        let window = &self.body[..self.body.len().min(usize::from(self.within))];
        let finds = |marker: &[u8]| window.windows(marker.len()).any(|w| w == marker);
        let checks = [
            (0, self.body.len() < usize::from(self.min), Reason::BODY_BELOW_MINIMUM),
            (1, self.body.len() > usize::from(self.max), Reason::BODY_ABOVE_MAXIMUM),
            (2, !finds(self.first), Reason::BODY_MARKER_MISSING),
            (3, finds(self.second), Reason::BODY_MARKER_FOUND),
            (4, !html, Reason::CONTENT_TYPE_UNEXPECTED),
            (5, !extra, Reason::REQUIRED_FIELD_MISSING),
            (6, extra, Reason::FORBIDDEN_FIELD_PRESENT),
        ];
        checks.iter().filter(|(at, wrong, _)| self.has(*at) && *wrong).map(|&(.., reason)| reason).collect()
    }
}

fn feed(options: &Options<'_>, stream: &[u8], most: usize) -> (Event, Reason, u64) {
    let mut validator = Validator::new(options);
    for mut part in stream.chunks(most.min(stream.len())) {
        loop {
            let seen = validator.feed(part);
            match seen.event {
                Event::NeedMore => break,
                Event::Complete | Event::Reject => return (seen.event, seen.reason, seen.offset),
                _ => part = &part[seen.consumed..],
            }
        }
    }
    let seen = validator.finish(End::Close);
    (seen.event, seen.reason, seen.offset)
}
