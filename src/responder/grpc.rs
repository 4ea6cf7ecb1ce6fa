//! gRPC's trailers-only response: HTTP status 200, no body, and the failure in `grpc-status` and `grpc-message`.
//!
//! The status follows gRPC's mapping of HTTP statuses: 502, 503 and 504 are UNAVAILABLE, any other is UNKNOWN. 504 is
//! not DEADLINE_EXCEEDED: that says that the *client's* deadline passed, and a gateway's timer is another. The message
//! is the sentence for people, which needs no percent-encoding. Reference: gRPC's "HTTP to gRPC Status Code Mapping"
//! and "gRPC over HTTP2". Cost: two copies.

use super::Answer;
use super::kinds::Status;
use super::sentence::sentence;
use super::writer::Writer;

/// Whether a request of this Content-Type is gRPC. gRPC-Web, which HTTP/1 browsers speak, is something else.
#[inline(always)]
pub(super) fn is_grpc(content_type: &[u8]) -> bool {
    !content_type.is_empty() && begins_grpc(content_type.trim_ascii_start())
}

#[inline(never)]
fn begins_grpc(content_type: &[u8]) -> bool {
    let Some((start, rest)) = content_type.split_at_checked(NAME.len()) else { return false };
    start.eq_ignore_ascii_case(NAME) && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}

/// The two fields, behind the end of the line before them.
pub(super) fn write(w: &mut Writer<'_>, answer: &Answer<'_>) {
    w.put(b"\r\ngrpc-status: ");
    w.put_number(status(answer.status));
    w.put(b"\r\ngrpc-message: ");
    w.put(sentence(answer.cause).as_bytes());
}

/// UNAVAILABLE or UNKNOWN.
pub(super) fn status(status: Status) -> u32 {
    if status.is_ours() { 2 } else { 14 }
}

const NAME: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_known_by_its_content_type() {
        for yes in ["application/grpc", "application/grpc+proto", "Application/gRPC; charset=x", " application/grpc "] {
            assert!(is_grpc(yes.as_bytes()), "{yes}");
        }
        for no in ["", "application/grpc-web", "application/grpc-web+proto", "application/grp", "application/json"] {
            assert!(!is_grpc(no.as_bytes()), "{no}");
        }
    }
}
