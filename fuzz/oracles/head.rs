//! Heads, beside httparse: whatever passes here, httparse reads as the same status and the same fields, up to the
//! same byte; and no cut of the bytes changes what is seen.
//!
//! The other way round they differ on purpose: httparse splits a head into fields, this validator also judges what they
//! say. `STRICTER` lists what it refuses beyond httparse, and each of those is a rule with a clause. `httparse_refuses`
//! lists what httparse refuses and this validator lets pass.

use tidegate::validator::{End, Event, Options, Reason, Validator, Verdict, next_field};

const MOST_FIELDS: usize = 256;

/// Judges one stream of bytes.
pub fn run(data: &[u8]) {
    let options = Options::default();
    let mut validator = Validator::new(&options);
    let whole = validator.feed(data);
    assert_eq!(byte_by_byte(&options, data), whole_outcome(&whole), "cut into bytes");
    match whole.event {
        Event::Head | Event::Interim => agrees_with_httparse(&data[..whole.consumed], &whole),
        Event::Reject => refuses_for_a_reason(data, &whole),
        Event::NeedMore => {
            assert_eq!(whole.consumed, data.len());
            let end = validator.finish(End::Close);
            assert_eq!(end.event, Event::Reject, "a head that is not whole");
        }
        Event::Data | Event::Complete => panic!("{:?} before a head", whole.event),
    }
}

type Outcome = (Event, Reason, u64, u16, u32);

fn whole_outcome(seen: &Verdict) -> Outcome {
    (seen.event, seen.reason, seen.offset, seen.status, seen.flags)
}

fn byte_by_byte(options: &Options<'_>, data: &[u8]) -> Outcome {
    let mut validator = Validator::new(options);
    for byte in data.chunks(1) {
        let seen = validator.feed(byte);
        if seen.event != Event::NeedMore {
            return whole_outcome(&seen);
        }
    }
    whole_outcome(&validator.feed(&[]))
}

fn agrees_with_httparse(head: &[u8], ours: &Verdict) {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut theirs = httparse::Response::new(&mut fields);
    match theirs.parse(head) {
        Ok(httparse::Status::Complete(len)) => assert_eq!(len, head.len(), "the same end"),
        Ok(httparse::Status::Partial) => panic!("whole here, partial there"),
        Err(error) => return assert!(httparse_refuses(head, error), "{error}"),
    }
    assert_eq!(theirs.code, Some(ours.status));
    let mut cursor = 0;
    for field in theirs.headers.iter() {
        let (line, next) = next_field(head, cursor).expect("as many fields");
        cursor = next;
        assert_eq!(line.name, field.name.as_bytes());
        assert_eq!(line.value, field.value);
    }
    assert_eq!(next_field(head, cursor), None, "no more fields");
}

/// What httparse refuses and passes here.
fn httparse_refuses(head: &[u8], error: httparse::Error) -> bool {
    match error {
        // RFC 9110, section 2.5: a recipient processes a higher minor version as the highest that it knows.
        httparse::Error::Version => head.starts_with(b"HTTP/1.") && !matches!(head.get(7), Some(b'0' | b'1')),
        // Fields are limited by number here too, by another.
        httparse::Error::TooManyHeaders => true,
        _ => false,
    }
}

/// What is refused here though httparse reads it, by the reason's name.
const STRICTER: &[Reason] = &[
    // The grammar, where httparse is lenient.
    Reason::EMPTY_LINE_BEFORE_STATUS,
    Reason::STATUS_OUT_OF_RANGE,
    // The meaning of what httparse only splits.
    Reason::CONTENT_LENGTH_MALFORMED,
    Reason::CONTENT_LENGTH_LIST,
    Reason::CONTENT_LENGTH_TOO_LARGE,
    Reason::CONTENT_LENGTH_REPEATED,
    Reason::CONTENT_LENGTH_DIFFERS,
    Reason::TRANSFER_ENCODING_UNKNOWN,
    Reason::TRANSFER_ENCODING_LIST,
    Reason::TRANSFER_ENCODING_REPEATED,
    Reason::LENGTH_AND_TRANSFER_ENCODING,
    Reason::UPGRADE_NOT_REQUESTED,
    Reason::UPGRADE_VERSION,
    // Limits.
    Reason::HEAD_TOO_LARGE,
    Reason::LINE_TOO_LONG,
    Reason::TOO_MANY_FIELDS,
    Reason::FIELD_NAME_TOO_LONG,
];

fn refuses_for_a_reason(data: &[u8], ours: &Verdict) {
    assert_ne!(ours.reason, Reason::NONE);
    assert!(ours.offset <= data.len() as u64);
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut theirs = httparse::Response::new(&mut fields);
    if let Ok(httparse::Status::Complete(_)) = theirs.parse(data) {
        assert!(STRICTER.contains(&ours.reason), "{} is read by httparse", ours.reason.name());
    }
}
