//! `TIDEGATE_CAUSE_*`: the numbers of `crate::cause`, one constant each.

/// Nothing failed.
pub const TIDEGATE_CAUSE_NONE: u32 = 0;
/// The name of the upstream could not be resolved.
pub const TIDEGATE_CAUSE_DNS_ERROR: u32 = 1;
/// Resolving it took too long.
pub const TIDEGATE_CAUSE_DNS_TIMEOUT: u32 = 2;
/// The address is barred by policy.
pub const TIDEGATE_CAUSE_DESTINATION_IP_PROHIBITED: u32 = 3;
/// No route to the address.
pub const TIDEGATE_CAUSE_DESTINATION_IP_UNROUTABLE: u32 = 4;
/// Nobody listens on the port.
pub const TIDEGATE_CAUSE_CONNECTION_REFUSED: u32 = 5;
/// The connection was not established in time.
pub const TIDEGATE_CAUSE_CONNECTION_TIMEOUT: u32 = 6;
/// The peer closed or reset before its response was complete.
pub const TIDEGATE_CAUSE_CONNECTION_TERMINATED: u32 = 7;
/// A reused idle connection was closed before any byte of a response: the keep-alive race, nobody's fault.
pub const TIDEGATE_CAUSE_CONNECTION_REUSED_CLOSED: u32 = 8;
/// The peer sent nothing for too long.
pub const TIDEGATE_CAUSE_CONNECTION_READ_TIMEOUT: u32 = 9;
/// The peer took nothing for too long.
pub const TIDEGATE_CAUSE_CONNECTION_WRITE_TIMEOUT: u32 = 10;
/// TLS failed, in the handshake or later.
pub const TIDEGATE_CAUSE_TLS_PROTOCOL_ERROR: u32 = 11;
/// The peer's certificate was not accepted.
pub const TIDEGATE_CAUSE_TLS_CERTIFICATE_ERROR: u32 = 12;
/// The peer sent a TLS alert.
pub const TIDEGATE_CAUSE_TLS_ALERT_RECEIVED: u32 = 13;
/// The whole response took too long.
pub const TIDEGATE_CAUSE_HTTP_RESPONSE_TIMEOUT: u32 = 14;
/// The response ended early.
pub const TIDEGATE_CAUSE_HTTP_RESPONSE_INCOMPLETE: u32 = 15;
/// The bytes are not a valid response.
pub const TIDEGATE_CAUSE_HTTP_PROTOCOL_ERROR: u32 = 16;
/// The head is larger than allowed.
pub const TIDEGATE_CAUSE_HTTP_RESPONSE_HEADER_SECTION_SIZE: u32 = 17;
/// One field line is larger than allowed.
pub const TIDEGATE_CAUSE_HTTP_RESPONSE_HEADER_SIZE: u32 = 18;
/// The body is larger than allowed.
pub const TIDEGATE_CAUSE_HTTP_RESPONSE_BODY_SIZE: u32 = 19;
/// The trailers are larger than allowed.
pub const TIDEGATE_CAUSE_HTTP_RESPONSE_TRAILER_SECTION_SIZE: u32 = 20;
/// One trailer line is larger than allowed.
pub const TIDEGATE_CAUSE_HTTP_RESPONSE_TRAILER_SIZE: u32 = 21;
/// Transfer-Encoding or the chunks are broken.
pub const TIDEGATE_CAUSE_HTTP_RESPONSE_TRANSFER_CODING: u32 = 22;
/// Content-Encoding is broken.
pub const TIDEGATE_CAUSE_HTTP_RESPONSE_CONTENT_CODING: u32 = 23;
/// The protocol upgrade failed.
pub const TIDEGATE_CAUSE_HTTP_UPGRADE_FAILED: u32 = 24;
/// The upstream answered with a status that counts as a failure.
pub const TIDEGATE_CAUSE_UPSTREAM_STATUS: u32 = 25;
/// No peer may be tried now.
pub const TIDEGATE_CAUSE_NO_ELIGIBLE_PEER: u32 = 26;
/// Every eligible peer is at its limit.
pub const TIDEGATE_CAUSE_PEER_LIMIT: u32 = 27;
/// The upstream is at its limit.
pub const TIDEGATE_CAUSE_UPSTREAM_LIMIT: u32 = 28;
/// The queue is full.
pub const TIDEGATE_CAUSE_QUEUE_FULL: u32 = 29;
/// Waiting in the queue took too long.
pub const TIDEGATE_CAUSE_QUEUE_TIMEOUT: u32 = 30;
/// The retry budget is spent.
pub const TIDEGATE_CAUSE_RETRY_BUDGET: u32 = 31;
/// No such upstream.
pub const TIDEGATE_CAUSE_UPSTREAM_NOT_FOUND: u32 = 32;
/// Tidegate's or its host's own error.
pub const TIDEGATE_CAUSE_INTERNAL_ERROR: u32 = 33;
/// The gateway's configuration is wrong.
pub const TIDEGATE_CAUSE_CONFIGURATION_ERROR: u32 = 34;
/// This machine ran out of something (descriptors, ports, memory) before the peer was reached.
pub const TIDEGATE_CAUSE_LOCAL_FAULT: u32 = 35;
/// The client went away; nothing is answered.
pub const TIDEGATE_CAUSE_CLIENT_CLOSED: u32 = 36;
/// The request came back to this gateway.
pub const TIDEGATE_CAUSE_PROXY_LOOP_DETECTED: u32 = 37;
/// A valid response that breaks a rule of the operator's: type, size, fields, a marker in the body.
pub const TIDEGATE_CAUSE_RESPONSE_UNEXPECTED: u32 = 38;

#[cfg(test)]
mod tests {
    use crate::cause::Cause;

    #[test]
    fn numbers_are_those_of_the_core() {
        let here = include_str!("cause.rs");
        for cause in Cause::ALL {
            let line = format!("pub const TIDEGATE_CAUSE_{}: u32 = {};", cause.name().to_uppercase(), cause.number());
            assert!(here.contains(&line), "{line}");
        }
    }
}
