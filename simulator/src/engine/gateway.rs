//! The gateway's side: it sees what became of an attempt, tells the core, and does what it is told.
//!
//! A response passes `head` first, as in every host; what is reported is what a gateway sees on its socket, no more.

use super::fate::Fate;
use super::{Engine, Failure};
use crate::agenda::What;
use crate::host::Seen;
use tidegate::cause::Cause;
use tidegate::ffi::request::*;

impl Engine<'_> {
    /// A gateway sees what became of an attempt.
    pub(super) fn outcome(&mut self, place: u32) -> Result<(), Failure> {
        let attempt = self.attempts.see(place);
        let (request, fate, open) = (attempt.request, attempt.fate, attempt.open);
        let took_ns = self.now - attempt.began;
        self.attempts.free(place);
        if !open {
            return Ok(());
        }
        let sent = TIDEGATE_OUTCOME_SENT;
        let received = sent | TIDEGATE_OUTCOME_RECEIVED;
        let (done, none) = (TIDEGATE_PHASE_DONE, Cause::NONE);
        let seen = |cause: Cause, phase, flags, status: u16| Seen {
            cause: cause.number(),
            phase,
            flags,
            status: status.into(),
            took_ns,
        };
        match fate {
            Fate::Served => self.answered(request, 200, &seen(none, done, received, 200)),
            Fate::Error(status) | Fate::FastError(status) => {
                self.answered(request, status, &seen(none, done, received, status))
            }
            Fate::BreakOff => {
                let delivered = if self.scenario.requests.hold_back { 0 } else { TIDEGATE_OUTCOME_DELIVERED };
                let cause = Cause::HTTP_RESPONSE_INCOMPLETE;
                self.answered(request, 200, &seen(cause, TIDEGATE_PHASE_BODY, received | delivered, 200))
            }
            Fate::Reset => self.failed(request, &seen(Cause::CONNECTION_TERMINATED, TIDEGATE_PHASE_HEAD, sent, 0)),
            Fate::Refused => self.failed(request, &seen(Cause::CONNECTION_REFUSED, TIDEGATE_PHASE_CONNECT, 0, 0)),
            Fate::Unreachable => self.failed(request, &seen(Cause::CONNECTION_TIMEOUT, TIDEGATE_PHASE_CONNECT, 0, 0)),
            Fate::Hang => Ok(()),
        }
    }

    /// A head has come, and after it what `seen` says.
    fn answered(&mut self, request: u32, status: u16, seen: &Seen) -> Result<(), Failure> {
        let head = Seen { cause: 0, phase: TIDEGATE_PHASE_HEAD, status: status.into(), ..*seen };
        let decision = self.host.head(request, &head, self.now)?;
        if decision.verdict == TIDEGATE_DECISION_DELIVER {
            return self.failed(request, seen);
        }
        self.obey(request, &decision, status)
    }

    /// An attempt has ended, well or not.
    fn failed(&mut self, request: u32, seen: &Seen) -> Result<(), Failure> {
        let decision = self.host.report(request, seen, self.now)?;
        self.obey(request, &decision, seen.status as u16)
    }

    fn obey(&mut self, request: u32, decision: &tidegate_decision, status: u16) -> Result<(), Failure> {
        match decision.verdict {
            // An upstream's own 5xx that passes is an error to its client.
            TIDEGATE_DECISION_DELIVER => {
                self.close(request, (status >= 500).then_some(Cause::UPSTREAM_STATUS.number()));
            }
            TIDEGATE_DECISION_RETRY if decision.wait_ns == 0 => return self.attempt(request),
            TIDEGATE_DECISION_RETRY => {
                self.requests.at(request).waits = true;
                self.agenda.enter(self.now + decision.wait_ns, What::Retry, request);
            }
            TIDEGATE_DECISION_ANSWER => {
                let cause = self.host.answer(request, self.now)?;
                self.close(request, Some(cause));
            }
            _ => self.close(request, Some(decision.cause)),
        }
        Ok(())
    }

    pub(super) fn time_out(&mut self) -> Result<(), Failure> {
        let Some((_, place, _)) = self.timeouts.take() else { return Ok(()) };
        let attempt = self.attempts.at(place);
        if !attempt.open {
            return Ok(());
        }
        attempt.open = false;
        let (request, took_ns) = (attempt.request, self.now - attempt.began);
        if attempt.fate == Fate::Hang {
            self.attempts.free(place);
        }
        let cause = Cause::CONNECTION_READ_TIMEOUT.number();
        let seen = Seen { cause, phase: TIDEGATE_PHASE_HEAD, flags: TIDEGATE_OUTCOME_SENT, status: 0, took_ns };
        self.failed(request, &seen)
    }

    pub(super) fn lose_patience(&mut self) {
        let Some((_, place, _)) = self.patience.take() else { return };
        self.host.end(place, self.now);
        let (waits, attempt) = (self.requests.see(place).waits, self.requests.see(place).attempt);
        if !waits {
            let attempt_of = self.attempts.at(attempt);
            attempt_of.open = false;
            if attempt_of.fate == Fate::Hang {
                self.attempts.free(attempt);
            }
        }
        self.close(place, Some(Cause::CLIENT_CLOSED.number()));
    }

    /// A request is over: well, or with this cause.
    pub(super) fn close(&mut self, place: u32, cause: Option<u32>) {
        let now = self.now;
        let request = self.requests.at(place);
        request.over = true;
        self.open -= 1;
        if request.counted {
            self.tally.close(request.began, now, request.attempts, cause);
        }
        if !request.waits {
            self.requests.free(place);
        }
    }
}
