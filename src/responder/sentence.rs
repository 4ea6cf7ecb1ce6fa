//! The sentence that tells a person what happened: one for each cause, calm, and silent about the insides.
//!
//! No sentence names an address, a protocol detail or a product. None needs escaping in JSON or HTML, which lets bodies
//! copy them as they are.

use crate::cause::Cause;

/// What to tell a client of this cause.
#[inline]
pub(super) fn sentence(cause: Cause) -> &'static str {
    SENTENCES.get(cause.number() as usize).map_or(UNSAID, |(_, text)| text)
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

static SENTENCES: [(Cause, &str); Cause::ALL.len()] = [
    (Cause::NONE, UNSAID),
    (Cause::DNS_ERROR, "The service behind this gateway could not be found."),
    (Cause::DNS_TIMEOUT, "Finding the service behind this gateway took too long."),
    (Cause::DESTINATION_IP_PROHIBITED, "This gateway is not allowed to reach the service behind it."),
    (Cause::DESTINATION_IP_UNROUTABLE, UNREACHABLE),
    (Cause::CONNECTION_REFUSED, "The service behind this gateway is not accepting connections."),
    (Cause::CONNECTION_TIMEOUT, "Connecting to the service behind this gateway took too long."),
    (Cause::CONNECTION_TERMINATED, BROKE_OFF),
    (Cause::CONNECTION_REUSED_CLOSED, BROKE_OFF),
    (Cause::CONNECTION_READ_TIMEOUT, TOO_SLOW),
    (Cause::CONNECTION_WRITE_TIMEOUT, "The service behind this gateway took too long to accept the request."),
    (Cause::TLS_PROTOCOL_ERROR, NOT_SECURE),
    (Cause::TLS_CERTIFICATE_ERROR, NOT_SECURE),
    (Cause::TLS_ALERT_RECEIVED, NOT_SECURE),
    (Cause::HTTP_RESPONSE_TIMEOUT, TOO_SLOW),
    (Cause::HTTP_RESPONSE_INCOMPLETE, BROKE_OFF),
    (Cause::HTTP_PROTOCOL_ERROR, NOT_VALID),
    (Cause::HTTP_RESPONSE_HEADER_SECTION_SIZE, TOO_LARGE),
    (Cause::HTTP_RESPONSE_HEADER_SIZE, TOO_LARGE),
    (Cause::HTTP_RESPONSE_BODY_SIZE, TOO_LARGE),
    (Cause::HTTP_RESPONSE_TRAILER_SECTION_SIZE, TOO_LARGE),
    (Cause::HTTP_RESPONSE_TRAILER_SIZE, TOO_LARGE),
    (Cause::HTTP_RESPONSE_TRANSFER_CODING, NOT_VALID),
    (Cause::HTTP_RESPONSE_CONTENT_CODING, NOT_VALID),
    (Cause::HTTP_UPGRADE_FAILED, "The service behind this gateway did not switch to the protocol asked for."),
    (Cause::UPSTREAM_STATUS, "The service behind this gateway reported an error."),
    (Cause::NO_ELIGIBLE_PEER, "The service is not available at the moment."),
    (Cause::PEER_LIMIT, BUSY),
    (Cause::UPSTREAM_LIMIT, BUSY),
    (Cause::QUEUE_FULL, BUSY),
    (Cause::QUEUE_TIMEOUT, BUSY),
    (Cause::RETRY_BUDGET, "The service is having trouble at the moment, and the request was not tried again."),
    (Cause::UPSTREAM_NOT_FOUND, "This gateway knows of no service for the request."),
    (Cause::INTERNAL_ERROR, OURS),
    (Cause::CONFIGURATION_ERROR, "This gateway is not set up correctly."),
    (Cause::LOCAL_FAULT, OURS),
    (Cause::CLIENT_CLOSED, "The connection was closed before the request was complete."),
    (Cause::PROXY_LOOP_DETECTED, "The request came back to this gateway instead of reaching a service."),
    (Cause::RESPONSE_UNEXPECTED, "The service answered with something else than was expected of it."),
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
        for (cause, text) in SENTENCES {
            assert!(text.bytes().all(|b| b.is_ascii_alphabetic() || b" ,.".contains(&b)), "{cause:?}");
            assert!(text.ends_with('.') && text.len() <= LONGEST, "{cause:?}");
        }
    }

    /// What the bodies' fixed parts count with.
    const LONGEST: usize = 90;
}
