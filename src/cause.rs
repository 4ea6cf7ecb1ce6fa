//! Why an attempt or a request failed: the closed list, and what follows from each entry.
//!
//! Every other module speaks of failures in these words. The table below is the single place that says which
//! Proxy-Status error type (RFC 9209, section 2.3) a cause maps to, which status a client gets, whether a retry is
//! safe whatever the method, and whether the peer is charged. All look-ups are O(1) and total: an unknown number
//! reads as [`Cause::INTERNAL_ERROR`].

use std::ffi::CStr;

/// A cause by number. Numbers are part of the ABI: never reused, append only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Cause(u8);

/// When repeating the request is safe for any method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetrySafety {
    /// The cause itself proves that the peer processed nothing.
    Always,
    /// Only while the TLS handshake was unfinished.
    InHandshake,
    /// Only if no byte of the request left the gateway.
    IfUnsent,
    /// By policy, if no byte of a response came: the idle-connection race.
    IfUnanswered,
    /// Only for methods that may be repeated (RFC 9110, section 9.2.2), or by the embedder's word.
    Idempotent,
    /// A retry can't help.
    Never,
}

/// What follows from a cause.
#[derive(Clone, Copy, Debug)]
pub struct Properties {
    /// The name in logs, variables and metrics.
    pub name: &'static str,
    /// The same, terminated by a NUL.
    pub(crate) c_name: &'static CStr,
    /// The RFC 9209 error type; empty where Proxy-Status carries no `error` (an upstream's own status).
    pub proxy_status: &'static str,
    /// The status that the gateway answers with; 0 where nothing is generated.
    pub status: u16,
    /// Whether repeating is safe.
    pub retry: RetrySafety,
    /// Whether the peer's health is charged with it.
    pub charges_peer: bool,
}

macro_rules! causes {
    ($( $(#[$doc:meta])* $id:ident = $n:literal, $name:literal, $ps:literal, $status:literal, $retry:ident, $charge:literal; )*) => {
        impl Cause {
            $( $(#[$doc])* pub const $id: Cause = Cause($n); )*
            /// Every cause, in the order of its number.
            pub const ALL: &'static [Cause] = &[$(Cause::$id),*];
        }
        static PROPERTIES: [Properties; Cause::ALL.len()] = [
            $( Properties { name: $name, c_name: c_str(concat!($name, "\0")), proxy_status: $ps, status: $status, retry: RetrySafety::$retry, charges_peer: $charge }, )*
        ];
    };
}

causes! {
    /// Nothing failed.
    NONE = 0, "none", "", 0, Never, false;
    /// The name of the upstream could not be resolved.
    DNS_ERROR = 1, "dns_error", "dns_error", 502, Always, false;
    /// Resolving it took too long.
    DNS_TIMEOUT = 2, "dns_timeout", "dns_timeout", 504, Always, false;
    /// The address is barred by policy.
    DESTINATION_IP_PROHIBITED = 3, "destination_ip_prohibited", "destination_ip_prohibited", 502, Always, false;
    /// No route to the address.
    DESTINATION_IP_UNROUTABLE = 4, "destination_ip_unroutable", "destination_ip_unroutable", 502, Always, true;
    /// Nobody listens on the port.
    CONNECTION_REFUSED = 5, "connection_refused", "connection_refused", 502, Always, true;
    /// The connection was not established in time.
    CONNECTION_TIMEOUT = 6, "connection_timeout", "connection_timeout", 504, Always, true;
    /// The peer closed or reset before its response was complete.
    CONNECTION_TERMINATED = 7, "connection_terminated", "connection_terminated", 502, IfUnsent, true;
    /// A reused idle connection was closed before any byte of a response: the keep-alive race, nobody's fault.
    CONNECTION_REUSED_CLOSED = 8, "connection_reused_closed", "connection_terminated", 502, IfUnanswered, false;
    /// The peer sent nothing for too long.
    CONNECTION_READ_TIMEOUT = 9, "connection_read_timeout", "connection_read_timeout", 504, IfUnsent, true;
    /// The peer took nothing for too long.
    CONNECTION_WRITE_TIMEOUT = 10, "connection_write_timeout", "connection_write_timeout", 504, IfUnsent, true;
    /// TLS failed, in the handshake or later.
    TLS_PROTOCOL_ERROR = 11, "tls_protocol_error", "tls_protocol_error", 502, InHandshake, true;
    /// The peer's certificate was not accepted.
    TLS_CERTIFICATE_ERROR = 12, "tls_certificate_error", "tls_certificate_error", 502, InHandshake, true;
    /// The peer sent a TLS alert.
    TLS_ALERT_RECEIVED = 13, "tls_alert_received", "tls_alert_received", 502, InHandshake, true;
    /// The whole response took too long.
    HTTP_RESPONSE_TIMEOUT = 14, "http_response_timeout", "http_response_timeout", 504, Idempotent, true;
    /// The response ended early.
    HTTP_RESPONSE_INCOMPLETE = 15, "http_response_incomplete", "http_response_incomplete", 502, Idempotent, true;
    /// The bytes are not a valid response.
    HTTP_PROTOCOL_ERROR = 16, "http_protocol_error", "http_protocol_error", 502, Idempotent, true;
    /// The head is larger than allowed.
    HTTP_RESPONSE_HEADER_SECTION_SIZE = 17, "http_response_header_section_size", "http_response_header_section_size", 502, Idempotent, true;
    /// One field line is larger than allowed.
    HTTP_RESPONSE_HEADER_SIZE = 18, "http_response_header_size", "http_response_header_size", 502, Idempotent, true;
    /// The body is larger than allowed.
    HTTP_RESPONSE_BODY_SIZE = 19, "http_response_body_size", "http_response_body_size", 502, Idempotent, true;
    /// The trailers are larger than allowed.
    HTTP_RESPONSE_TRAILER_SECTION_SIZE = 20, "http_response_trailer_section_size", "http_response_trailer_section_size", 502, Idempotent, true;
    /// One trailer line is larger than allowed.
    HTTP_RESPONSE_TRAILER_SIZE = 21, "http_response_trailer_size", "http_response_trailer_size", 502, Idempotent, true;
    /// Transfer-Encoding or the chunks are broken.
    HTTP_RESPONSE_TRANSFER_CODING = 22, "http_response_transfer_coding", "http_response_transfer_coding", 502, Idempotent, true;
    /// Content-Encoding is broken.
    HTTP_RESPONSE_CONTENT_CODING = 23, "http_response_content_coding", "http_response_content_coding", 502, Idempotent, true;
    /// The protocol upgrade failed.
    HTTP_UPGRADE_FAILED = 24, "http_upgrade_failed", "http_upgrade_failed", 502, Idempotent, true;
    /// The upstream answered with a status that counts as a failure.
    UPSTREAM_STATUS = 25, "upstream_status", "", 0, Idempotent, true;
    /// No peer may be tried now.
    NO_ELIGIBLE_PEER = 26, "no_eligible_peer", "destination_unavailable", 503, Never, false;
    /// Every eligible peer is at its limit.
    PEER_LIMIT = 27, "peer_limit", "connection_limit_reached", 503, Never, false;
    /// The upstream is at its limit.
    UPSTREAM_LIMIT = 28, "upstream_limit", "connection_limit_reached", 503, Never, false;
    /// The queue is full.
    QUEUE_FULL = 29, "queue_full", "connection_limit_reached", 503, Never, false;
    /// Waiting in the queue took too long.
    QUEUE_TIMEOUT = 30, "queue_timeout", "connection_limit_reached", 503, Never, false;
    /// The retry budget is spent.
    RETRY_BUDGET = 31, "retry_budget", "connection_limit_reached", 503, Never, false;
    /// No such upstream.
    UPSTREAM_NOT_FOUND = 32, "upstream_not_found", "destination_not_found", 500, Never, false;
    /// Tidegate's or its host's own error.
    INTERNAL_ERROR = 33, "internal_error", "proxy_internal_error", 500, Never, false;
    /// The gateway's configuration is wrong.
    CONFIGURATION_ERROR = 34, "configuration_error", "proxy_configuration_error", 500, Never, false;
    /// This machine ran out of something (descriptors, ports, memory) before the peer was reached.
    LOCAL_FAULT = 35, "local_fault", "proxy_internal_error", 500, Always, false;
    /// The client went away; nothing is answered.
    CLIENT_CLOSED = 36, "client_closed", "", 0, Never, false;
    /// The request came back to this gateway.
    PROXY_LOOP_DETECTED = 37, "proxy_loop_detected", "proxy_loop_detected", 502, Never, false;
    /// A valid response that breaks a rule of the operator's: type, size, fields, a marker in the body.
    RESPONSE_UNEXPECTED = 38, "response_unexpected", "http_protocol_error", 502, Idempotent, true;
}

const fn c_str(terminated: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(terminated.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}

impl Cause {
    /// The cause with this number, if there is one.
    pub const fn from_number(n: u32) -> Option<Cause> {
        if n < Self::ALL.len() as u32 { Some(Cause(n as u8)) } else { None }
    }

    /// Its number in the ABI.
    #[inline]
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// What follows from it.
    #[inline]
    pub const fn properties(self) -> &'static Properties {
        let known = if (self.0 as usize) < PROPERTIES.len() { self } else { Cause::INTERNAL_ERROR };
        &PROPERTIES[known.0 as usize]
    }

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        self.properties().name
    }

    pub(crate) fn c_name(self) -> &'static CStr {
        self.properties().c_name
    }
}

impl std::fmt::Debug for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions() {
        for (i, cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(cause.number() as usize, i, "{cause:?}");
        }
    }

    #[test]
    fn a_generated_answer_always_names_its_error_type() {
        for cause in Cause::ALL {
            let p = cause.properties();
            assert_eq!(p.status == 0, p.proxy_status.is_empty(), "{cause:?}");
            assert!([0, 500, 502, 503, 504].contains(&p.status), "{cause:?}");
        }
    }

    #[test]
    fn a_limit_or_a_local_fault_charges_nobody() {
        for cause in Cause::ALL.iter().filter(|c| [500, 503].contains(&c.properties().status)) {
            assert!(!cause.properties().charges_peer, "{cause:?}");
        }
    }
}
