//! This gateway's member of `Proxy-Status` (RFC 9209), serialised as RFC 8941 says, behind those of gateways nearer to
//! the origin.
//!
//! `tidegate;error=connection_refused;received-status=503;next-protocol=h2;next-hop="…";details="…"`: the label is a
//! token if it can be one and else a string, `next-protocol` a token or else a byte sequence; `error` is left out where
//! the cause has no error type (an upstream's own status). It refuses to guess: what is unset does not appear, and
//! `next-hop` and `details`, which speak of the insides, are never set by Tidegate itself. Bytes that a string can't
//! hold (anything but printable ASCII) become `?`, so nothing in a name can end the field line.

use super::Answer;
use super::block::Block;
use super::structured::{self, Earlier};
use super::writer::Writer;
use crate::cause::Cause;

/// Writes the member.
#[inline(always)]
pub(super) fn write(w: &mut Writer<'_>, answer: &Answer<'_>) {
    if !answer.earlier.is_empty() {
        w.lend(|w| earlier(w, answer.earlier));
    }
    let usual = USUAL.get(answer.cause.number() as usize).unwrap_or(&USUAL[0]);
    if answer.label.bytes().is_empty() {
        w.put_block(usual);
    } else {
        w.lend(|w| {
            structured::name(w, answer.label.bytes());
            w.put(usual.text().strip_prefix(LABEL.as_bytes()).unwrap_or_default());
        });
    }
    if answer.received_status != 0 {
        w.put(b";received-status=");
        w.put_number(u32::from(answer.received_status));
    }
    if !answer.next_protocol.bytes().is_empty() {
        w.put(b";next-protocol=");
        w.lend(|w| protocol(w, answer.next_protocol.bytes()));
    }
    if !answer.next_hop.bytes().is_empty() {
        w.put(b";next-hop=");
        w.lend(|w| structured::string(w, answer.next_hop.bytes()));
    }
    if !answer.details.bytes().is_empty() {
        w.put(b";details=");
        w.lend(|w| structured::string(w, answer.details.bytes()));
    }
}

#[cold]
#[inline(never)]
fn earlier(w: &mut Writer<'_>, value: &[u8]) {
    let value = Earlier::parse(value);
    if !value.is_empty() {
        w.put(value);
        w.put(b", ");
    }
}

/// RFC 9209, section 2.1.3.
#[cold]
#[inline(never)]
fn protocol(w: &mut Writer<'_>, id: &[u8]) {
    if structured::is_token(id) { w.put(id) } else { structured::bytes(w, id) }
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
    fn it_stands_behind_those_before() {
        let mut answer = Answer::new(Status::GatewayTimeout);
        answer.cause = Cause::CONNECTION_READ_TIMEOUT;
        answer.label = Short::new(b"edge 1").unwrap();
        answer.earlier = b"origin;error=dns_error, \"b\"";
        answer.next_protocol = Short::new(b"http/1.1").unwrap();
        assert_eq!(
            member(&answer),
            "origin;error=dns_error, \"b\", \"edge 1\";error=connection_read_timeout;next-protocol=http/1.1"
        );
        answer.earlier = b"not a list \r\n";
        answer.next_protocol = Short::new(b"\x0a").unwrap();
        assert_eq!(member(&answer), "\"edge 1\";error=connection_read_timeout;next-protocol=:Cg==:");
    }

    /// The list of RFC 9209, section 2.3, without what a gateway says of requests that it refuses by itself.
    #[test]
    fn every_error_type_of_a_failed_attempt_is_known() {
        let ours: Vec<&str> = Cause::ALL.iter().map(|c| c.properties().proxy_status).collect();
        for error in [
            "dns_timeout",
            "dns_error",
            "destination_not_found",
            "destination_unavailable",
            "destination_ip_prohibited",
            "destination_ip_unroutable",
            "connection_refused",
            "connection_terminated",
            "connection_timeout",
            "connection_read_timeout",
            "connection_write_timeout",
            "connection_limit_reached",
            "tls_protocol_error",
            "tls_certificate_error",
            "tls_alert_received",
            "http_response_incomplete",
            "http_response_header_section_size",
            "http_response_header_size",
            "http_response_body_size",
            "http_response_trailer_section_size",
            "http_response_trailer_size",
            "http_response_transfer_coding",
            "http_response_content_coding",
            "http_response_timeout",
            "http_upgrade_failed",
            "http_protocol_error",
            "proxy_internal_error",
            "proxy_configuration_error",
            "proxy_loop_detected",
        ] {
            assert!(ours.contains(&error), "{error}");
        }
    }
}
