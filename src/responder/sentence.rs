//! What tells a person what happened: a title and a sentence for each cause, calm, and silent about the insides.
//!
//! No sentence names an address, a protocol detail or a product. None needs escaping in JSON or HTML, which lets bodies
//! copy them as they are.

use crate::cause::Cause;

/// What to tell a client of this cause.
#[inline]
pub(super) fn sentence(cause: Cause) -> &'static str {
    SENTENCES.get(cause.number() as usize).map_or(UNSAID, |(.., text)| text)
}

/// The same in two to four words.
pub(super) fn title(cause: Cause) -> &'static str {
    SENTENCES.get(cause.number() as usize).map_or("Request failed", |(_, title, _)| title)
}

const UNSAID: &str = "The gateway could not complete this request.";
const UNREACHABLE: &str = "The service behind this gateway could not be reached.";
const NOT_SECURE: &str = "A secure connection to the service behind this gateway could not be made.";
const TOO_SLOW: &str = "The service behind this gateway took too long to answer.";
const BROKE_OFF: &str = "The service behind this gateway broke off before its answer was complete.";
const NOT_VALID: &str = "The service behind this gateway sent an answer that is not valid.";
const TOO_LARGE: &str = "The service behind this gateway sent an answer that is too large.";
const BUSY: &str = "The service is handling as many requests as it can at the moment.";
const OURS: &str = "Something went wrong inside the gateway.";

static SENTENCES: [(Cause, &str, &str); Cause::ALL.len()] = [
    (Cause::NONE, "Request failed", UNSAID),
    (Cause::DNS_ERROR, "Name not resolved", "The service behind this gateway could not be found."),
    (Cause::DNS_TIMEOUT, "Name not resolved in time", "Finding the service behind this gateway took too long."),
    (
        Cause::DESTINATION_IP_PROHIBITED,
        "Address not allowed",
        "This gateway is not allowed to reach the service behind it.",
    ),
    (Cause::DESTINATION_IP_UNROUTABLE, "No route to the service", UNREACHABLE),
    (Cause::CONNECTION_REFUSED, "Connection refused", "The service behind this gateway is not accepting connections."),
    (Cause::CONNECTION_TIMEOUT, "Connection timed out", "Connecting to the service behind this gateway took too long."),
    (Cause::CONNECTION_TERMINATED, "Connection closed early", BROKE_OFF),
    (Cause::CONNECTION_REUSED_CLOSED, "Reused connection closed", BROKE_OFF),
    (Cause::CONNECTION_READ_TIMEOUT, "Response timed out", TOO_SLOW),
    (
        Cause::CONNECTION_WRITE_TIMEOUT,
        "Sending timed out",
        "The service behind this gateway took too long to accept the request.",
    ),
    (Cause::TLS_PROTOCOL_ERROR, "TLS failed", NOT_SECURE),
    (Cause::TLS_CERTIFICATE_ERROR, "Certificate not accepted", NOT_SECURE),
    (Cause::TLS_ALERT_RECEIVED, "TLS alert received", NOT_SECURE),
    (Cause::HTTP_RESPONSE_TIMEOUT, "Response not complete in time", TOO_SLOW),
    (Cause::HTTP_RESPONSE_INCOMPLETE, "Response incomplete", BROKE_OFF),
    (Cause::HTTP_PROTOCOL_ERROR, "Invalid response", NOT_VALID),
    (Cause::HTTP_RESPONSE_HEADER_SECTION_SIZE, "Response head too large", TOO_LARGE),
    (Cause::HTTP_RESPONSE_HEADER_SIZE, "Response field too large", TOO_LARGE),
    (Cause::HTTP_RESPONSE_BODY_SIZE, "Response body too large", TOO_LARGE),
    (Cause::HTTP_RESPONSE_TRAILER_SECTION_SIZE, "Response trailers too large", TOO_LARGE),
    (Cause::HTTP_RESPONSE_TRAILER_SIZE, "Response trailer field too large", TOO_LARGE),
    (Cause::HTTP_RESPONSE_TRANSFER_CODING, "Invalid transfer coding", NOT_VALID),
    (Cause::HTTP_RESPONSE_CONTENT_CODING, "Invalid content coding", NOT_VALID),
    (
        Cause::HTTP_UPGRADE_FAILED,
        "Protocol upgrade failed",
        "The service behind this gateway did not switch to the protocol asked for.",
    ),
    (Cause::UPSTREAM_STATUS, "Error from the service", "The service behind this gateway reported an error."),
    (Cause::NO_ELIGIBLE_PEER, "Service unavailable", "The service is not available at the moment."),
    (Cause::PEER_LIMIT, "Servers at their limits", BUSY),
    (Cause::UPSTREAM_LIMIT, "Service at its limit", BUSY),
    (Cause::QUEUE_FULL, "Queue full", BUSY),
    (Cause::QUEUE_TIMEOUT, "Queue timed out", BUSY),
    (
        Cause::RETRY_BUDGET,
        "Retry budget spent",
        "The service is having trouble at the moment, and the request was not tried again.",
    ),
    (Cause::UPSTREAM_NOT_FOUND, "Unknown service", "This gateway knows of no service for the request."),
    (Cause::INTERNAL_ERROR, "Gateway error", OURS),
    (Cause::CONFIGURATION_ERROR, "Gateway misconfigured", "This gateway is not set up correctly."),
    (Cause::LOCAL_FAULT, "Gateway out of resources", OURS),
    (Cause::CLIENT_CLOSED, "Request abandoned", "The connection was closed before the request was complete."),
    (Cause::PROXY_LOOP_DETECTED, "Proxy loop", "The request came back to this gateway instead of reaching a service."),
    (
        Cause::RESPONSE_UNEXPECTED,
        "Unexpected response",
        "The service answered with something else than was expected of it.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_row() {
        for cause in Cause::ALL {
            assert_eq!(SENTENCES[cause.number() as usize].0, *cause);
        }
    }

    #[test]
    fn sentences_need_no_escaping() {
        for (cause, title, text) in SENTENCES {
            assert!(title.bytes().all(|b| b.is_ascii_alphabetic() || b == b' ') && title.len() <= 32, "{cause:?}");
            assert!(text.bytes().all(|b| b.is_ascii_alphabetic() || b" ,.".contains(&b)), "{cause:?}");
            assert!(text.ends_with('.') && text.len() <= LONGEST, "{cause:?}");
        }
    }

    /// What the bodies' fixed parts count with.
    const LONGEST: usize = 90;
}
