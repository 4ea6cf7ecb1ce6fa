//! Responses under any set of tolerances, beside the strict reading of the same bytes.
//!
//! What is strict needs no policy; what a policy let through is what the strict reader names, at the same byte; and a
//! head that was tolerated, written anew, passes strict and says the same. No cut of the bytes changes anything.
//!
//! Four bytes are the tolerances (the highest bit: observe), the fifth is the request and the cut; the rest is the
//! stream, which ends with the connection.

use tidegate::validator::{
    EXCESS, End, Event, Framing, HTTP_1_0, Method, NORMALISE, Options, REUSABLE, Reason, Validator, Verdict,
    rewrite_head, tolerance,
};

/// Judges one stream of bytes.
pub fn run(data: &[u8]) {
    let [a, b, c, d, kind, stream @ ..] = data else { return };
    let bits = u32::from_le_bytes([*a, *b, *c, *d]);
    let method = [Method::Get, Method::Get, Method::Head, Method::Connect][usize::from(kind & 3)];
    let upgrade: &[u8] = if kind & 4 == 0 { b"" } else { b"websocket" };
    let strict = Options { method, upgrade, ..Options::default() };
    let tolerate = if bits >> 31 == 0 { bits & tolerance::ALL } else { tolerance::OBSERVE };
    let options = Options { tolerate, ..strict };

    let seen = feed(&options, stream, usize::MAX);
    assert_eq!(seen, feed(&options, stream, 1 + usize::from(kind >> 3)), "cuts change nothing");
    let strictly = feed(&strict, stream, usize::MAX);
    if seen.end.tolerances == 0 {
        assert_eq!(seen, strictly, "nothing was tolerated");
    } else {
        assert_eq!(strictly.end.event, Event::Reject);
        let first = (seen.end.tolerated, seen.end.tolerated_offset);
        assert_eq!(first, (strictly.end.reason, strictly.end.offset), "what a strict reader refuses");
    }
    for (from, head) in &seen.heads {
        passes_written_anew(&strict, &stream[*from..head.offset as usize], head);
    }
}

fn passes_written_anew(strict: &Options<'_>, head: &[u8], seen: &Verdict) {
    // Codings stay, so a strict reader refuses them still; a 101 is not forwarded but acted on.
    if seen.tolerances & tolerance::CODINGS != 0 || seen.status == 101 {
        return;
    }
    let mut out = vec![0; 2 * head.len() + 64];
    let len = rewrite_head(head, &mut out);
    let most = u32::MAX;
    let strict = Options {
        tolerate: tolerance::STATUS_RANGE,
        max_head: most,
        max_line: most,
        max_fields: most,
        max_name: 16384,
        ..*strict
    };
    let again = Validator::new(&strict).feed(&out[..len]);
    let text = out[..len].escape_ascii();
    assert_eq!(
        (again.event, again.consumed, again.status),
        (seen.event, len, seen.status),
        "{text} {:?}",
        again.reason
    );
    assert_eq!((again.framing, again.content_length), (seen.framing, seen.content_length), "{text}");
    // Framing behind CONNECT means nothing, but the writer does not know the method.
    if seen.framing != Framing::Tunnel {
        assert_eq!(again.flags & (NORMALISE | HTTP_1_0), 0, "{text}");
    }
}

#[derive(Debug, PartialEq)]
struct Seen {
    /// Heads, and where in the stream each began.
    heads: Vec<(usize, Verdict)>,
    body: Vec<u8>,
    end: Verdict,
}

fn feed(options: &Options<'_>, stream: &[u8], most: usize) -> Seen {
    let mut validator = Validator::new(options);
    let (mut heads, mut body, mut begin) = (Vec::new(), Vec::new(), 0);
    for mut part in stream.chunks(most.min(stream.len().max(1))) {
        loop {
            let seen = validator.feed(part);
            match seen.event {
                Event::NeedMore => break,
                Event::Data => body.extend(&part[seen.data..seen.data + seen.data_len]),
                Event::Interim | Event::Head => {
                    // What one call took is a matter of the cut.
                    heads.push((begin, Verdict { consumed: 0, ..seen }));
                    begin = seen.offset as usize;
                }
                Event::Complete | Event::Reject => {
                    assert_eq!(seen.event == Event::Reject, seen.reason != Reason::NONE);
                    // Whether bytes came behind the end is known if they came in the same call.
                    let flags = seen.flags & !(EXCESS | REUSABLE);
                    return Seen { heads, body, end: Verdict { consumed: 0, flags, ..seen } };
                }
            }
            part = &part[seen.consumed..];
        }
    }
    let seen = validator.finish(End::Close);
    Seen { heads, body, end: Verdict { flags: seen.flags & !(EXCESS | REUSABLE), ..seen } }
}
