//! Whether a response is what a healthy peer answers: the library's own validator, then status, field and body.
//!
//! The verdict falls as soon as it can: at the final head for a wrong status or field, at the marker, at the end of the
//! response, or at 64 KiB of body, of which no more is read. No redirect is followed: it is a status like any other.
//! Nothing is kept of the response but its head, where a field is expected, and the bytes that a marker may begin in.

use super::spec::Spec;
use crate::cause::Cause;
use crate::validator::{End, Event, Options, REUSABLE, Validator, next_field};

/// Most of a body that is read.
const BODY_CAP: u64 = 65_536;
/// A check's response has no need of a larger one.
const HEAD_CAP: u32 = 16_384;

/// What a response was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// As expected; whether the connection may be used again.
    Passed { reusable: bool },
    /// Not; the status it had, 0: none.
    Failed { cause: Cause, status: u16 },
}

/// One response being judged.
pub(super) struct Judge {
    validator: Validator<'static>,
    /// The head so far, where a field is expected.
    head: Vec<u8>,
    in_head: bool,
    /// The last bytes of the body, one fewer than the marker has.
    tail: Vec<u8>,
    found: bool,
    body: u64,
    status: u16,
}

impl Judge {
    pub fn new(spec: &Spec) -> Judge {
        let options = Options { method: spec.method, max_head: HEAD_CAP, ..Options::default() };
        Judge {
            validator: Validator::new(&options),
            head: Vec::new(),
            in_head: true,
            tail: Vec::new(),
            found: spec.body.is_empty(),
            body: 0,
            status: 0,
        }
    }

    /// The next bytes; `None`: more are needed.
    pub fn feed(&mut self, spec: &Spec, mut input: &[u8]) -> Option<Verdict> {
        loop {
            let seen = self.validator.feed(input);
            if self.in_head && spec.field.is_some() {
                self.head.extend_from_slice(&input[..seen.consumed]);
            }
            match seen.event {
                Event::Interim => self.head.clear(),
                Event::Head => {
                    self.in_head = false;
                    self.status = seen.status;
                    if !spec.expects(seen.status) {
                        return Some(self.failed(Cause::UPSTREAM_STATUS));
                    }
                    if !self.has_field(spec) {
                        return Some(self.failed(Cause::RESPONSE_UNEXPECTED));
                    }
                }
                Event::Data => {
                    self.body += seen.data_len as u64;
                    self.look(spec, &input[seen.data..seen.data + seen.data_len]);
                    if self.body >= BODY_CAP {
                        return Some(self.end_of_body(false));
                    }
                }
                Event::Complete => return Some(self.end_of_body(seen.flags & REUSABLE != 0)),
                Event::Reject => return Some(self.failed(seen.reason.cause())),
                Event::NeedMore => return None,
            }
            input = &input[seen.consumed..];
        }
    }

    /// The connection ended, or will not be waited for.
    pub fn end(&mut self, end: End) -> Verdict {
        let seen = self.validator.finish(end);
        match seen.event {
            Event::Complete => self.end_of_body(false),
            _ if end == End::Timeout => self.failed(Cause::HTTP_RESPONSE_TIMEOUT),
            _ => self.failed(seen.reason.cause()),
        }
    }

    fn end_of_body(&self, reusable: bool) -> Verdict {
        if self.found { Verdict::Passed { reusable } } else { self.failed(Cause::RESPONSE_UNEXPECTED) }
    }

    fn failed(&self, cause: Cause) -> Verdict {
        Verdict::Failed { cause, status: self.status }
    }

    fn has_field(&mut self, spec: &Spec) -> bool {
        let Some((name, value)) = &spec.field else { return true };
        let head = std::mem::take(&mut self.head);
        let mut cursor = 0;
        while let Some((line, next)) = next_field(&head, cursor) {
            if line.name.eq_ignore_ascii_case(name) && contains(line.value, value) {
                return true;
            }
            cursor = next;
        }
        false
    }

    fn look(&mut self, spec: &Spec, data: &[u8]) {
        if self.found {
            return;
        }
        self.tail.extend_from_slice(data);
        self.found = contains(&self.tail, &spec.body);
        let keep = self.tail.len().min(spec.body.len() - 1);
        self.tail.drain(..self.tail.len() - keep);
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::super::spec::{CheckOptions, Kind};
    use super::*;

    fn judge(options: &CheckOptions, response: &[u8], end: Option<End>) -> Option<Verdict> {
        let spec = Spec::new(options, b"app").unwrap();
        let mut whole = Judge::new(&spec);
        let at_once = whole.feed(&spec, response).or_else(|| end.map(|end| whole.end(end)));
        let mut bytewise = Judge::new(&spec);
        let fed =
            response.iter().find_map(|&b| bytewise.feed(&spec, &[b])).or_else(|| end.map(|end| bytewise.end(end)));
        assert_eq!(at_once, fed, "cuts change nothing");
        at_once
    }

    fn http() -> CheckOptions<'static> {
        CheckOptions { kind: Kind::Http, ..CheckOptions::default() }
    }

    fn cause(verdict: Option<Verdict>) -> Cause {
        match verdict {
            Some(Verdict::Failed { cause, .. }) => cause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn status_field_and_body_are_expected() {
        let ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"up\": true}\n";
        assert_eq!(judge(&http(), ok, None), Some(Verdict::Passed { reusable: true }));
        let all = CheckOptions { field: b"content-type: json", body: b"\"up\": true", ..http() };
        assert_eq!(judge(&all, ok, None), Some(Verdict::Passed { reusable: true }));
        let other = CheckOptions { body: b"\"up\": false", ..http() };
        assert_eq!(cause(judge(&other, ok, None)), Cause::RESPONSE_UNEXPECTED);
        let missing = CheckOptions { field: b"X-Ready", ..http() };
        assert_eq!(cause(judge(&missing, ok, None)), Cause::RESPONSE_UNEXPECTED);
    }

    #[test]
    fn a_redirect_is_a_status_like_any_other() {
        let moved = b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(cause(judge(&http(), moved, None)), Cause::UPSTREAM_STATUS);
        let allowed = CheckOptions { statuses: b"200-399", ..http() };
        assert!(matches!(judge(&allowed, moved, None), Some(Verdict::Passed { .. })));
    }

    #[test]
    fn a_flood_of_interim_responses_is_refused() {
        let flood = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(40);
        assert!(cause(judge(&http(), &flood, None)).number() != 0);
    }

    #[test]
    fn no_more_of_a_body_is_read_than_the_cap() {
        let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        endless.resize(endless.len() + 65_536, b'x');
        assert_eq!(judge(&http(), &endless, None), Some(Verdict::Passed { reusable: false }));
        let marked = CheckOptions { body: b"ok", ..http() };
        assert_eq!(cause(judge(&marked, &endless, None)), Cause::RESPONSE_UNEXPECTED);
    }

    #[test]
    fn an_early_end_is_a_failure_and_a_close_may_be_none() {
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc";
        assert_eq!(cause(judge(&http(), cut, Some(End::Close))), Cause::HTTP_RESPONSE_INCOMPLETE);
        let closed = b"HTTP/1.1 200 OK\r\n\r\nabc";
        assert!(matches!(judge(&http(), closed, Some(End::Close)), Some(Verdict::Passed { reusable: false })));
        assert_eq!(cause(judge(&http(), b"", Some(End::Timeout))), Cause::HTTP_RESPONSE_TIMEOUT);
        assert_ne!(cause(judge(&http(), b"SSH-2.0-OpenSSH\r\n", Some(End::Close))), Cause::NONE);
    }
}
