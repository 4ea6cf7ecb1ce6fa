//! One request and its attempts.
//!
//! The life of a request: `start`; then `pick`, `head` (once, when a response's head has come) and `report` for each
//! attempt, until the verdict is something other than Retry; `end` at any point. An attempt is open from its pick to
//! its report, and is in flight on its peer for as long.
//!
//! What nearly every request does, one pick and one success, has a path of its own in `plain`, which gives up without
//! a trace where anything is out of the ordinary; the rules here are then asked from the beginning.

mod plain;
mod twin;

use super::admission::Turn;
use super::answer::{self, Told};
use super::decide::{self, Decision, Verdict, Why};
use super::exclusion::{Pick, Standings};
use super::race;
use super::record::{self, Attempt, Record};
use super::{Outcome, Phase, Worker, shadow};
use crate::cause::Cause;
use crate::error::{Error, TIDEGATE_ERR_NOT_FOUND, TIDEGATE_ERR_QUEUED, TIDEGATE_ERR_STATE};
use crate::health::{self, Evidence, Role};
use crate::http::Method;
use crate::random::Random;
use crate::selector::{self, Choice, Filter, Refusal, peak_ewma::FAILURE_NS};
use crate::sync::Ordering;
use crate::table::{self, MOST_ATTEMPTS, POOLS, PackedPolicy, PeerHandle, Selector, Span, Table, UpstreamId, Writers};

const MOST: usize = MOST_ATTEMPTS as usize;

/// One request: fixed size, in the host's memory.
#[repr(C)]
pub struct Request {
    worker: *const Worker,
    /// The complement of the worker's address: see `is_started`.
    seal: u64,
    upstream: UpstreamId,
    method: Method,
    flags: u32,
    /// 0: every peer once.
    max_attempts: u32,
    /// 0: none.
    deadline: u64,
    /// When the open attempt began.
    began: u64,
    state: Stage,
    manner: Manner,
    /// Attempts made, the open one too.
    made: u8,
    /// The open attempt was judged at its head, and is on its way to the client.
    delivering: bool,
    /// Attempts that ended by the idle-connection race: they use up no attempt and exclude no peer.
    races: u8,
    /// The cause of the last failure, or of a pick that was refused.
    last: Cause,
    refused: bool,
    /// Attempts that were given up before the operator's time-out, while they waited for a response.
    cuts: u8,
    /// The next attempt should go on a new connection.
    fresh: bool,
    /// The attempt that is being closed was given up.
    cutting: bool,
    /// It can't be repeated, and a peer may be doubtful.
    wary: bool,
    /// When its time in the queue is over; 0: it is in none.
    waits_until: u64,
    /// The Retry-After that a peer sent last, 0: none.
    told_retry_after_s: u32,
    /// What an upstream answered with last.
    received_status: u16,
    policy: PackedPolicy,
    /// Of its key; 0: it has none.
    hash: u64,
    record: [Attempt; MOST],
    /// The attempt at whose pick `standings` were counted; 0: none. A pick that found nobody counts as the next.
    counted: u8,
    standings: Standings,
    /// The upstream that decides beside this one, + 1; 0: none.
    shadow: u32,
    /// There, the flags of the open attempt, and its peer; 0: none is open.
    twin_flags: u8,
    twin: u64,
}

/// How the first attempt may be picked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Manner {
    RoundRobin,
    LeastRequest,
    Random,
    PeakEwma,
    /// By a key.
    Hashed,
    /// Only by all the rules.
    Careful,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Stage {
    /// Between attempts.
    Idle,
    /// An attempt is open.
    Open,
    /// Nothing more may be picked.
    Ended,
}

/// A pick.
#[derive(Clone, Copy, Debug)]
pub struct Picked {
    /// The peer.
    pub peer: PeerHandle,
    /// From 1.
    pub attempt: u32,
    /// TIDEGATE_PICK_* bits.
    pub flags: u32,
}

/// In an attempt's flags, beside those of `Choice`: its failure is not charged, for the request may be at fault.
const WITHHELD: u8 = 64;
/// Another's is not: this attempt's success says whose fault it was, so it takes the long path.
const DOUBTFUL: u8 = 128;

const NOT_REPLAYABLE: u32 = 1;
const RETRY_SAFE: u32 = 2;
const NO_RETRY: u32 = 4;

impl Request {
    /// Begins a request.
    ///
    /// # Safety
    /// The worker must outlive the request's last use: a request is kept in memory of the host, where no lifetime
    /// reaches.
    #[inline]
    #[allow(unsafe_code)]
    pub unsafe fn start(
        worker: &Worker,
        upstream: u32,
        method: Method,
        flags: u32,
        max_attempts: u32,
        deadline: u64,
        now: u64,
    ) -> Result<Request, Error> {
        worker.check(now)?;
        if flags & !(NOT_REPLAYABLE | RETRY_SAFE | NO_RETRY) != 0 {
            return Err(Error::invalid(format!("flags is {flags:#x}: not TIDEGATE_REQUEST_* bits")));
        }
        let id = UpstreamId::new(upstream).filter(|&id| worker.table().has_upstream(id));
        let Some(id) = id else { return Err(Error::of(TIDEGATE_ERR_NOT_FOUND)) };
        let policy = worker.table().packed_policy(id);
        let limit = worker.table().deadline_ns(id);
        if let Some(count) = worker.seat.requests_word(id) {
            table::count_request(count, worker.seat.writers);
        }
        let repeatable = method.is_idempotent() || flags & RETRY_SAFE != 0;
        let wary = !repeatable && health::has_doubtful(worker.table(), id, now);
        let fresh = !repeatable && race::is_recent(worker.table(), id, now);
        let manner = match policy.selector() {
            _ if policy.panic_percent() != 0
                || policy.is_pooled()
                || policy.is_bounded()
                || policy.is_shadowed()
                || policy.counts_all()
                || policy.queues()
                || worker.seat.writers == Writers::Many
                || fresh
                || wary =>
            {
                Manner::Careful
            }
            Selector::RoundRobin => Manner::RoundRobin,
            Selector::LeastRequest => Manner::LeastRequest,
            Selector::Random => Manner::Random,
            Selector::PeakEwma => Manner::PeakEwma,
            Selector::Maglev | Selector::SourceHash => Manner::Hashed,
        };
        Ok(Request {
            worker,
            seal: !(std::ptr::from_ref(worker).addr() as u64),
            upstream: id,
            method,
            flags,
            max_attempts: if max_attempts == 0 { policy.max_attempts() } else { max_attempts.min(MOST_ATTEMPTS) },
            deadline: if deadline == 0 && limit != 0 { now.saturating_add(limit) } else { deadline },
            began: now,
            state: Stage::Idle,
            manner,
            made: 0,
            delivering: false,
            races: 0,
            cuts: 0,
            cutting: false,
            wary,
            waits_until: 0,
            told_retry_after_s: 0,
            last: Cause::NONE,
            refused: false,
            fresh,
            received_status: 0,
            policy,
            hash: 0,
            record: [Attempt::NONE; MOST],
            counted: 0,
            standings: Standings::NONE,
            shadow: if policy.is_shadowed() { start_shadow(worker, id) } else { 0 },
            twin_flags: 0,
            twin: 0,
        })
    }

    /// Gives the request a key, for the selectors that hash one: any bytes, or, for `source_hash`, the client's
    /// `struct sockaddr`. Before the first pick.
    #[inline]
    pub fn set_key(&mut self, key: &[u8]) {
        self.hash = match self.policy.selector() {
            Selector::SourceHash => selector::source_hash::hash(key),
            _ => selector::maglev::hash(key),
        };
    }

    /// Whether `start` has been here: tells memory that was zeroed, or never written, from a request before there is a
    /// reference to one. A guess for other bytes, right but for one in 2^64.
    ///
    /// # Safety
    /// `place` is aligned and points to as many readable bytes as a request has.
    #[inline]
    #[allow(unsafe_code)]
    pub(crate) unsafe fn is_started(place: *const Request) -> bool {
        // SAFETY: readable by the caller's word, and both fields take any bits.
        let (worker, seal) = unsafe { ((&raw const (*place).worker).read(), (&raw const (*place).seal).read()) };
        (worker.addr() as u64).wrapping_add(seal) == u64::MAX
    }

    /// Picks a peer for the next attempt. `None`: none may be tried.
    #[inline]
    pub fn pick(&mut self, now: u64) -> Result<Option<Picked>, Error> {
        match self.pick_plainly(now) {
            Some(picked) => Ok(Some(picked)),
            None => self.pick_by_rules(now),
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn pick_by_rules(&mut self, now: u64) -> Result<Option<Picked>, Error> {
        match self.shadow() {
            Some(upstream) => shadow::pick(self, upstream, now),
            None => self.pick_alone(now),
        }
    }

    pub(super) fn pick_alone(&mut self, now: u64) -> Result<Option<Picked>, Error> {
        let worker = self.worker();
        worker.check(now)?;
        if self.state == Stage::Open {
            return Err(Error::of(TIDEGATE_ERR_STATE));
        }
        if self.made as usize >= MOST || self.state == Stage::Ended {
            return Ok(self.refuse(Refusal::NoneEligible));
        }
        let choice = match if self.policy.queues() && self.must_queue() {
            Err(Refusal::AtLimit)
        } else {
            self.choose(worker, now)
        } {
            Ok(choice) => choice,
            Err(refusal) => return self.refuse_or_queue(refusal, now),
        };
        self.leave_queue();
        let index = self.made as usize;
        let doubtful = self.record().iter().any(|attempt| attempt.flags & WITHHELD != 0);
        if index > 0 {
            self.table().count_extra_attempts(self.upstream, 1);
        }
        self.made += 1;
        self.state = Stage::Open;
        self.refused = false;
        self.delivering = false;
        self.began = now;
        self.record[index] = Attempt {
            slot: choice.peer.slot(),
            generation: choice.peer.generation(),
            flags: choice.flags | if doubtful { DOUBTFUL } else { 0 },
            ..Attempt::NONE
        };
        if index > 0 || choice.flags & !(Choice::COUNTED | Choice::BOUNDED) != 0 {
            self.note_standings();
        }
        Ok(Some(Picked { peer: choice.peer, attempt: self.attempts(), flags: public_flags(choice.flags, self.fresh) }))
    }

    /// Chooses, counts in the lane, and makes sure that the peer is still the one that was meant.
    fn choose(&self, worker: &Worker, now: u64) -> Result<Choice, Refusal> {
        let table = worker.table();
        let cursors = &worker.place(self.upstream).ok_or(Refusal::NoneEligible)?.cursors;
        let policy = self.policy;
        let tried = self.tried();
        for _ in 0..CHANGES_BORNE {
            let snapshot = table.snapshot(self.upstream).ok_or(Refusal::NoneEligible)?;
            if policy.is_limited() && !table.take_place(self.upstream) {
                return Err(Refusal::UpstreamAtLimit);
            }
            let filter = Filter {
                table,
                upstream: self.upstream,
                tried: tried.get(..self.made as usize).unwrap_or(&tried),
                may_try: self.may_be_repeated(),
                random: &worker.random,
                now,
                panic: policy.panic_percent() != 0 && is_panicking(table, self.upstream),
                counted: policy.counts(),
                hash: if policy.selector().is_hashed() { self.hash } else { 0 },
                load: self.load(policy),
                in_need: false,
                wary: self.wary,
            };
            let choice = match self.choose_again_after_races(&filter, policy, &snapshot, cursors) {
                Ok(choice) => choice,
                Err(refusal) => {
                    if policy.is_limited() {
                        table.lower_in_flight(self.upstream);
                    }
                    // Its peers may have gone because another list is there.
                    if !table.is_current(self.upstream, &snapshot) {
                        continue;
                    }
                    return Err(refusal);
                }
            };
            let cell = worker.seat.attempts_word(choice.peer.slot()).ok_or(Refusal::NoneEligible)?;
            table::begin(cell, worker.seat.writers);
            // The count stands before the state is read again: see `table::lane`, Reuse of slots.
            crate::sync::compiler_fence(Ordering::SeqCst);
            if table.state(choice.peer).is_some()
                && (table.is_current(self.upstream, &snapshot)
                    || table.peer_upstream(choice.peer.slot()) == Some(self.upstream))
            {
                self.note_pick(choice.peer.slot(), now);
                return Ok(choice);
            }
            table::end(cell, worker.seat.writers);
            filter.undo(choice);
        }
        Err(Refusal::NoneEligible)
    }

    /// The bound on each peer's load.
    fn load(&self, policy: PackedPolicy) -> selector::Load<'_> {
        let total = if policy.counts_all() { self.table().in_flight_word(self.upstream) } else { None };
        let percent = if policy.is_bounded() { self.table().spread(self.upstream).load_bound_percent } else { 0 };
        selector::Load { total, percent, held: policy.is_limited() }
    }

    /// A peer whose idle connection was closed may be tried again if no other is left.
    fn choose_again_after_races(
        &self,
        filter: &Filter,
        policy: PackedPolicy,
        snapshot: &table::Snapshot,
        cursors: &[selector::Cursor; POOLS],
    ) -> Result<Choice, Refusal> {
        match selector::select(filter, policy, snapshot, cursors) {
            Err(refusal) if self.races > 0 => {
                let mut failed = [u32::MAX; MOST];
                for (to, attempt) in failed.iter_mut().zip(self.failed_attempts()) {
                    *to = attempt.slot;
                }
                let filter = Filter { tried: &failed, ..*filter };
                selector::select(&filter, policy, snapshot, cursors).map_err(|_| refusal)
            }
            chosen => chosen,
        }
    }

    /// Judges the head of a response before anything goes to the client.
    pub fn head(&mut self, outcome: &Outcome, now: u64) -> Result<Decision, Error> {
        match self.shadow() {
            Some(upstream) => shadow::head(self, upstream, outcome, now),
            None => self.head_alone(outcome, now),
        }
    }

    pub(super) fn head_alone(&mut self, outcome: &Outcome, now: u64) -> Result<Decision, Error> {
        self.expect_open(now)?;
        self.received_status = outcome.status;
        self.told_retry_after_s = outcome.retry_after_s;
        let failing = self.failing_status(outcome);
        if !failing {
            self.delivering = true;
            self.note_head(outcome, now);
            self.note_spans(outcome, now);
            return Ok(Decision::deliver(self));
        }
        match decide::retry(self, outcome, Cause::UPSTREAM_STATUS, now) {
            Ok(wait_ns) => {
                let flags = self.charge(outcome, Cause::UPSTREAM_STATUS, now);
                self.last = Cause::UPSTREAM_STATUS;
                self.close(outcome, Cause::UPSTREAM_STATUS, Verdict::Retry, Why::None, now);
                Ok(Decision {
                    verdict: Verdict::Retry,
                    wait_ns,
                    flags,
                    cause: Cause::UPSTREAM_STATUS,
                    ..Decision::deliver(self)
                })
            }
            Err(why) => {
                self.delivering = true;
                Ok(Decision { reason: why, cause: Cause::UPSTREAM_STATUS, ..Decision::deliver(self) })
            }
        }
    }

    /// Closes the open attempt and decides.
    #[inline]
    pub fn report(&mut self, outcome: &Outcome, now: u64) -> Result<Decision, Error> {
        if outcome.cause == Cause::NONE
            && let Some(decision) = self.report_success(outcome, now)
        {
            return Ok(decision);
        }
        self.report_by_rules(outcome, now)
    }

    #[inline]
    fn report_success(&mut self, outcome: &Outcome, now: u64) -> Option<Decision> {
        let (status, head_ns, total_ns) = (u32::from(outcome.status), outcome.head_ns, outcome.total_ns);
        if self.is_measured() {
            self.report_plainly::<true>(status, head_ns, total_ns, now)
        } else {
            self.report_plainly::<false>(status, head_ns, total_ns, now)
        }
    }

    #[cold]
    #[inline(never)]
    fn report_by_rules(&mut self, outcome: &Outcome, now: u64) -> Result<Decision, Error> {
        match self.shadow() {
            Some(upstream) => shadow::report(self, upstream, outcome, now),
            None => self.report_alone(outcome, now),
        }
    }

    pub(super) fn report_alone(&mut self, outcome: &Outcome, now: u64) -> Result<Decision, Error> {
        self.expect_open(now)?;
        if outcome.cause == Cause::NONE && !self.failing_status(outcome) {
            self.evidence(now).success();
            self.note_answer(outcome, now);
            self.charge_withheld(now);
            self.received_status = outcome.status;
            self.close(outcome, Cause::NONE, Verdict::Deliver, Why::None, now);
            self.state = Stage::Ended;
            return Ok(Decision::deliver(self));
        }
        self.report_failure(outcome, now)
    }

    fn report_failure(&mut self, outcome: &Outcome, now: u64) -> Result<Decision, Error> {
        let cause = if outcome.cause == Cause::NONE { Cause::UPSTREAM_STATUS } else { outcome.cause };
        self.received_status = outcome.status;
        if cause == Cause::CLIENT_CLOSED {
            self.end_alone(now);
            return Ok(Decision { cause, reason: Why::Hopeless, verdict: Verdict::Abort, ..Decision::deliver(self) });
        }
        if cause == Cause::UPSTREAM_STATUS && self.delivering {
            // Judged at the head, could not be retried, and has been passed on whole.
            let flags = self.charge(outcome, cause, now);
            self.close(outcome, cause, Verdict::Deliver, Why::None, now);
            self.state = Stage::Ended;
            return Ok(Decision { cause, flags, ..Decision::deliver(self) });
        }
        let flags = self.charge(outcome, cause, now);
        if cause == Cause::CONNECTION_REUSED_CLOSED {
            self.races += 1;
            // A second idle connection may be as dead as the first.
            self.fresh = true;
            race::note(self.table(), self.upstream, now);
        }
        self.last = cause;
        if let Some(attempt) = self.record.get_mut((self.made as usize).wrapping_sub(1)) {
            attempt.cause = cause;
        }
        // The attempt itself is no longer in the way of a retry.
        self.state = Stage::Idle;
        let (verdict, why, wait_ns) = match decide::retry(self, outcome, cause, now) {
            Ok(wait_ns) => (Verdict::Retry, Why::None, wait_ns),
            // Whole, whatever it says.
            Err(why) if cause == Cause::UPSTREAM_STATUS => (Verdict::Deliver, why, 0),
            Err(Why::Delivered) => (Verdict::Abort, Why::Delivered, 0),
            Err(why) => (Verdict::Answer, why, 0),
        };
        self.close(outcome, cause, verdict, why, now);
        let mut decision = Decision { verdict, reason: why, cause, wait_ns, flags, ..Decision::deliver(self) };
        if verdict != Verdict::Retry {
            self.state = Stage::Ended;
        }
        if verdict == Verdict::Answer {
            decision.cause = answer::cause(self, cause);
            decision.status = decision.cause.properties().status;
            decision.retry_after_s = answer::retry_after_s(self, decision.cause, now);
            self.last = decision.cause;
        }
        Ok(decision)
    }

    /// Ends the request; an open attempt is charged to nobody.
    pub fn end(&mut self, now: u64) {
        match self.shadow() {
            Some(upstream) => shadow::end(self, upstream, now),
            None => self.end_alone(now),
        }
    }

    pub(super) fn end_alone(&mut self, now: u64) {
        if self.waits_until != 0 && self.worker().check(now).is_ok() {
            self.leave_queue();
        }
        // In a forked child the lane is its parent's: the attempt goes on there.
        if self.state == Stage::Open && self.worker().check(now).is_ok() {
            self.evidence(now).nothing();
            self.note_leaving();
            self.release(now);
            if let Some(attempt) = self.record.get_mut(self.made as usize - 1) {
                attempt.cause = Cause::CLIENT_CLOSED;
                attempt.verdict = Verdict::Abort as u8;
                attempt.set_length(now.saturating_sub(self.began));
            }
        }
        self.state = Stage::Ended;
    }

    /// What to tell the client; counts it.
    pub fn answer(&mut self, now: u64) -> Result<Told, Error> {
        let cause = self.last;
        let status = u32::from(cause.properties().status);
        if self.state == Stage::Open || status == 0 {
            return Err(Error::of(TIDEGATE_ERR_STATE));
        }
        if self.refused || cause == Cause::NO_ELIGIBLE_PEER {
            // Failed attempts have been counted by their own causes.
            self.table().count_upstream(self.upstream, cause);
        }
        let retry_after_s = answer::retry_after_s(self, cause, now);
        Ok(Told { status, cause, retry_after_s, received_status: u32::from(self.received_status) })
    }

    /// The attempts as one line of text.
    pub fn describe(&self) -> String {
        record::describe(self)
    }

    /// The decision record.
    pub fn explain(&self) -> Record {
        Record::of(self)
    }

    /// Measures a response whose head has come.
    fn note_spans(&self, outcome: &Outcome, now: u64) {
        let took = self.took_ns(outcome.head_ns, outcome.total_ns, now);
        self.table().note_span(self.upstream, Span::Head, took);
        if outcome.connect_ns != 0 {
            self.table().note_span(self.upstream, Span::Connect, outcome.connect_ns);
        }
        if self.policy.is_adaptive() {
            self.table().note_for_limit(self.upstream, took);
        }
    }

    #[cold]
    fn refuse_or_queue(&mut self, refusal: Refusal, now: u64) -> Result<Option<Picked>, Error> {
        if refusal == Refusal::NoneEligible {
            self.leave_queue();
            return Ok(self.refuse(refusal));
        }
        match self.turn(refusal, now) {
            Turn::Wait => Err(Error::of(TIDEGATE_ERR_QUEUED)),
            Turn::Away(limit) => {
                self.refuse(refusal);
                if self.last == answer::limit(refusal) {
                    self.last = limit;
                }
                Ok(None)
            }
        }
    }

    #[cold]
    fn refuse(&mut self, refusal: Refusal) -> Option<Picked> {
        if self.made == 0 && self.state == Stage::Idle {
            self.table().count_extra_attempts(self.upstream, -1);
        }
        self.last = answer::cause_of_refusal(self, refusal);
        self.refused = self.made == 0;
        self.state = Stage::Ended;
        self.standings = self.pick_to_explain(self.attempts(), None).standings();
        self.counted = self.made + 1;
        None
    }

    /// Keeps who was excluded from the pick just made.
    #[cold]
    fn note_standings(&mut self) {
        self.standings = self.last_pick().standings();
        self.counted = self.made;
    }

    /// The pick of the last attempt.
    fn last_pick(&self) -> Pick<'_> {
        self.pick_to_explain(self.attempts().saturating_sub(1), self.current())
    }

    fn pick_to_explain(&self, tried: u32, chosen: Option<&Attempt>) -> Pick<'_> {
        Pick {
            table: self.table(),
            upstream: self.upstream,
            tried: self.record().get(..tried as usize).unwrap_or(&[]),
            chosen: chosen.map(|attempt| attempt.slot),
            panic: chosen.is_some_and(|attempt| attempt.flags & Choice::PANIC != 0),
        }
    }

    /// Who was excluded from the last pick, counted when it was made.
    pub(super) fn standings(&self) -> Option<&Standings> {
        (self.counted != 0 && self.counted >= self.made).then_some(&self.standings)
    }

    /// Who would be excluded from the last pick as the peers stand now.
    pub(super) fn standings_now(&self) -> Standings {
        self.last_pick().standings()
    }

    fn charge(&mut self, outcome: &Outcome, cause: Cause, now: u64) -> u32 {
        let charged = self.is_charged(outcome, cause);
        if charged && self.repeats_itself(outcome, cause, now) {
            let index = self.made as usize - 1;
            self.record[index].flags |= WITHHELD;
            self.record[index].cause = cause;
            self.evidence(now).nothing();
            self.evidence(now).tarnish();
            self.table().count_peer_failure(self.evidence(now).peer, self.upstream, cause, false);
            return 0;
        }
        if !health::is_silence(cause) {
            self.note_answer(outcome, now);
        }
        let evidence = self.evidence(now);
        self.table().count_peer_failure(evidence.peer, self.upstream, cause, charged);
        if !charged {
            evidence.nothing();
            return 0;
        }
        if outcome.retry_after_s != 0
            && cause == Cause::UPSTREAM_STATUS
            && evidence.pause(cause, u64::from(outcome.retry_after_s).saturating_mul(1_000_000_000))
        {
            return Decision::CHARGED | Decision::EJECTED;
        }
        Decision::CHARGED | if evidence.failure(cause) { Decision::EJECTED } else { 0 }
    }

    /// Whether the request failed the same way on another peer, so that it may be the request's own fault. The charge
    /// is withheld until a third peer does better, and what an earlier peer was charged with taken back. Not where a
    /// connection could not be had: the request had no part in that.
    fn repeats_itself(&mut self, outcome: &Outcome, cause: Cause, now: u64) -> bool {
        let open = (self.made as usize).wrapping_sub(1);
        if open == 0 || outcome.phase <= Phase::Tls && cause != Cause::UPSTREAM_STATUS {
            return false;
        }
        let Some(&Attempt { slot, .. }) = self.record.get(open) else { return false };
        let same = |a: &Attempt| a.cause == cause && a.status == outcome.status && a.slot != slot;
        let Some(first) = self.record.iter().take(open).position(same) else { return false };
        if self.record[first].flags & WITHHELD == 0 {
            self.evidence_of(&self.record[first], now).forgive();
            self.record[first].flags |= WITHHELD;
        }
        true
    }

    /// A peer has done what others failed to do: it was their fault after all.
    #[cold]
    fn charge_withheld(&mut self, now: u64) {
        for i in 0..self.record().len() {
            if self.record[i].flags & WITHHELD != 0 {
                self.record[i].flags &= !WITHHELD;
                let evidence = Evidence { role: Role::Ordinary, ..self.evidence_of(&self.record[i], now) };
                evidence.failure(self.record[i].cause);
            }
        }
    }

    /// The peer of the open attempt has answered.
    fn note_answer(&self, outcome: &Outcome, now: u64) {
        let (worker, Some(attempt)) = (self.worker(), self.current()) else { return };
        let took = if outcome.cause == Cause::NONE { self.took_ns(outcome.head_ns, outcome.total_ns, now) } else { 0 };
        let looks = worker.place(self.upstream).filter(|place| place.is_look_due(now));
        looks.inspect(|place| place.note_look(now));
        health::pending::answered(
            worker.table(),
            self.upstream,
            attempt.slot,
            took,
            looks.map(|_| &*worker.random),
            now,
        );
    }

    /// A client that leaves takes a request with it that was not answered, and may not have hung.
    fn note_leaving(&self) {
        let word = self.current().and_then(|attempt| self.table().pending_word(attempt.slot));
        if let Some(word) = word {
            word.store(0, Ordering::Relaxed);
        }
    }

    fn note_head(&self, outcome: &Outcome, now: u64) {
        let Some(attempt) = self.current() else { return };
        let last = self.worker().seat.answered_word(attempt.slot).map_or(0, |w| w.load(Ordering::Relaxed));
        if now.wrapping_sub(last) >= health::pending::STEP_NS {
            self.note_answer(outcome, now);
        }
        self.evidence(now).answered();
    }

    /// Closes the open attempt, whose peer was waited for long enough.
    pub(super) fn give_up(&mut self, outcome: &Outcome, cause: Cause, took: u64, now: u64) -> u32 {
        let evidence = self.evidence(now);
        self.table().count_peer_failure(evidence.peer, self.upstream, cause, true);
        let ejected = evidence.hesitation(cause, took);
        self.cutting = true;
        self.last = cause;
        self.close(outcome, cause, Verdict::Retry, Why::None, now);
        self.cutting = false;
        self.cuts += u8::from(outcome.phase > Phase::Tls);
        Decision::CHARGED | if ejected { Decision::EJECTED } else { 0 }
    }

    /// Whether the open attempt's peer has failed since its last success.
    pub(super) fn is_peer_failing(&self) -> bool {
        self.evidence(0).is_failing()
    }

    /// 421 and 425 say something of the request, unless the operator counts them.
    fn is_charged(&self, outcome: &Outcome, cause: Cause) -> bool {
        cause.properties().charges_peer && (cause != Cause::UPSTREAM_STATUS || self.policy.is_failure(outcome.status))
    }

    #[inline]
    fn close(&mut self, outcome: &Outcome, cause: Cause, verdict: Verdict, why: Why, now: u64) {
        self.release(now);
        self.note_latency(outcome, cause, now);
        let began = self.began;
        if let Some(attempt) = self.record.get_mut((self.made as usize).wrapping_sub(1)) {
            attempt.cause = cause;
            attempt.status = outcome.status;
            attempt.verdict = verdict as u8;
            attempt.why = why as u8;
            attempt.set_length(if outcome.total_ns == 0 { now.saturating_sub(began) } else { outcome.total_ns });
        }
        if self.state == Stage::Open {
            self.state = Stage::Idle;
        }
    }

    /// Takes the open attempt off the in-flight counts: the lane first, so that the aggregate is never below it.
    #[inline]
    fn release(&self, now: u64) {
        let (worker, Some(attempt)) = (self.worker(), self.current()) else { return };
        if let Some(cell) = worker.seat.attempts_word(attempt.slot) {
            table::end(cell, worker.seat.writers);
        }
        if attempt.flags & Choice::COUNTED != 0
            && let Some(aggregate) = worker.seat.aggregate(attempt.slot)
        {
            table::lower(aggregate);
        }
        if attempt.flags & Choice::BOUNDED != 0 {
            self.table().lower_in_flight(self.upstream);
        }
        self.note_in_flight(attempt.slot, now);
    }

    /// The same for the peer of a new attempt, whose estimate a request that hangs there raises.
    fn note_pick(&self, slot: u32, now: u64) {
        let seat = &self.worker().seat;
        if self.policy.selector().needs_latency()
            && let (Some(aggregate), Some(place)) = (seat.aggregate(slot), self.worker().place(self.upstream))
        {
            let (stamp, rate) = (place.upstream.latency_stamp(now), place.upstream.latency_rate());
            seat.latency.note_pick(slot, aggregate.load(Ordering::Relaxed), stamp, rate);
        }
    }

    /// Writes a peer's key where the selector compares keys.
    fn note_in_flight(&self, slot: u32, now: u64) {
        let seat = &self.worker().seat;
        if self.policy.selector().needs_latency()
            && let Some(aggregate) = seat.aggregate(slot)
        {
            let stamp = self.table().latency_stamp(self.upstream, now);
            seat.latency.note_in_flight(slot, aggregate.load(Ordering::Relaxed), stamp);
        }
    }

    /// Takes in how long the attempt took; what was charged to the peer counts as a second at least, and what says
    /// nothing of it not at all.
    fn note_latency(&self, outcome: &Outcome, cause: Cause, now: u64) {
        let (seat, Some(attempt)) = (&self.worker().seat, self.current()) else { return };
        let (Some(aggregate), true) = (seat.aggregate(attempt.slot), self.policy.selector().needs_latency()) else {
            return;
        };
        let (in_flight, stamp) = (aggregate.load(Ordering::Relaxed), self.table().latency_stamp(self.upstream, now));
        let took = self.took_ns(outcome.head_ns, outcome.total_ns, now);
        if cause == Cause::NONE {
            seat.latency.note(attempt.slot, took, in_flight, stamp);
        } else if self.is_charged(outcome, cause) {
            let least = if self.cutting { 0 } else { FAILURE_NS };
            seat.latency.note_failure(attempt.slot, took.max(least), in_flight, stamp);
        }
    }

    /// The attempt's time to the head, or as far as it is known.
    #[inline(always)]
    pub(super) fn took_ns(&self, head_ns: u64, total_ns: u64, now: u64) -> u64 {
        match (head_ns, total_ns) {
            (0, 0) => now.saturating_sub(self.began),
            (0, total) => total,
            (head, _) => head,
        }
    }

    #[inline]
    fn evidence(&self, now: u64) -> Evidence<'_> {
        self.evidence_of(self.current().unwrap_or(&Attempt::NONE), now)
    }

    fn evidence_of(&self, attempt: &Attempt, now: u64) -> Evidence<'_> {
        let role = match attempt.flags & (Choice::TRIAL | Choice::LAST_RESORT) {
            0 => Role::Ordinary,
            Choice::TRIAL => Role::Trial,
            _ => Role::LastResort,
        };
        Evidence {
            table: self.table(),
            upstream: self.upstream,
            peer: PeerHandle::new(attempt.slot, attempt.generation),
            role,
            policy: self.policy,
            now,
            random: &self.worker().random,
        }
    }

    #[inline]
    pub(super) fn expect_open(&self, now: u64) -> Result<(), Error> {
        self.worker().check(now)?;
        if self.state == Stage::Open { Ok(()) } else { Err(Error::of(TIDEGATE_ERR_STATE)) }
    }

    /// 421 and 425 ask for another attempt, whatever the operator counts as failures.
    #[inline]
    fn failing_status(&self, outcome: &Outcome) -> bool {
        outcome.status >= 400
            && (self.policy.is_failure(outcome.status) || matches!(outcome.status, 421 | 425) && !self.delivering)
    }

    #[inline]
    fn current(&self) -> Option<&Attempt> {
        self.record.get((self.made as usize).wrapping_sub(1))
    }

    /// The slots that have been tried, in order.
    fn tried(&self) -> [u32; MOST] {
        self.record.map(|attempt| attempt.slot)
    }

    fn failed_attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.record().iter().filter(|a| a.cause != Cause::CONNECTION_REUSED_CLOSED)
    }

    pub(super) fn record(&self) -> &[Attempt] {
        self.record.get(..self.made as usize).unwrap_or(&[])
    }

    pub(super) fn refused(&self) -> Option<Cause> {
        self.refused.then_some(self.last)
    }

    /// Whether the last pick was refused.
    pub(super) fn found_nobody(&self) -> bool {
        self.counted > self.made
    }

    pub(super) fn policy(&self) -> PackedPolicy {
        self.policy
    }

    pub(super) fn has_key(&self) -> bool {
        self.hash != 0
    }

    pub(super) fn received_status(&self) -> u16 {
        self.received_status
    }

    pub(super) fn last_cause(&self) -> Cause {
        self.last
    }

    pub(super) fn attempts(&self) -> u32 {
        u32::from(self.made)
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == Stage::Open
    }

    pub(super) fn cuts(&self) -> u8 {
        self.cuts
    }

    pub(super) fn waits_until(&self) -> u64 {
        self.waits_until
    }

    pub(super) fn set_waits_until(&mut self, until: u64) {
        self.waits_until = until;
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        (self.deadline != 0).then_some(self.deadline)
    }

    pub(super) fn told_retry_after_s(&self) -> u32 {
        self.told_retry_after_s
    }

    pub(super) fn upstream(&self) -> UpstreamId {
        self.upstream
    }

    pub(super) fn table(&self) -> &Table {
        self.worker().table()
    }

    pub(super) fn random(&self) -> &Random {
        &self.worker().random
    }

    pub(super) fn forbids_retry(&self) -> bool {
        self.flags & NO_RETRY != 0
    }

    pub(super) fn is_replayable(&self) -> bool {
        self.flags & NOT_REPLAYABLE == 0
    }

    /// Whether the request may reach a second peer after it may have been processed by a first.
    #[inline]
    pub(super) fn may_be_repeated(&self) -> bool {
        (self.method.is_idempotent() || self.flags & RETRY_SAFE != 0) && self.flags & (NO_RETRY | NOT_REPLAYABLE) == 0
    }

    pub(super) fn is_past_deadline(&self, now: u64) -> bool {
        self.deadline != 0 && now >= self.deadline
    }

    pub(super) fn has_attempts_left(&self) -> bool {
        let counted = u32::from(self.made - self.races.min(self.made));
        (self.made as usize) < MOST && (self.max_attempts == 0 || counted < self.max_attempts)
    }

    /// Whether a pick would find a peer. Ends at the first that would do.
    pub(super) fn has_candidate(&self, now: u64) -> bool {
        let table = self.table();
        let Some(snapshot) = table.snapshot(self.upstream) else { return false };
        let untried = |slot: u32| !self.failed_attempts().any(|attempt| attempt.slot == slot);
        let could = |slot: u32| {
            let state = table.state_word(slot).map_or(0, |w| w.load(Ordering::Acquire));
            table::State::from_bits(state).is_eligible()
                || self.may_be_repeated() && health::has_trial(table, slot, now)
                || health::has_last_resort(table, slot, now)
        };
        snapshot.members().any(|entry| untried(entry.slot()) && could(entry.slot()))
    }

    #[inline]
    #[allow(unsafe_code)]
    pub(super) fn worker(&self) -> &Worker {
        // SAFETY: `start` took it from a reference, and its caller vouched that the worker outlives the request.
        unsafe { &*self.worker }
    }
}

/// Counts the request in the shadow of its upstream: what `Request::shadow` holds.
#[cold]
fn start_shadow(worker: &Worker, upstream: UpstreamId) -> u32 {
    let Some(shadow) = worker.table().shadow(upstream) else { return 0 };
    if let Some(count) = worker.seat.requests_word(shadow) {
        table::count_request(count, worker.seat.writers);
    }
    shadow.number() + 1
}

#[cold]
fn is_panicking(table: &Table, upstream: UpstreamId) -> bool {
    table.panic_word(upstream).is_some_and(|w| w.load(Ordering::Relaxed) & 1 != 0)
}

pub(super) fn public_flags(flags: u8, fresh: bool) -> u32 {
    let of = |bit: u8, public: u32| if flags & bit != 0 { public } else { 0 };
    of(Choice::TRIAL | Choice::LAST_RESORT, 1)
        | of(Choice::PANIC, 2)
        | of(Choice::BACKUP, 4)
        | if fresh { 8 } else { 0 }
        | of(Choice::FAR, 16)
        | of(Choice::LAST_RESORT, 32)
}

/// How often a pick starts anew when the membership changes under it.
const CHANGES_BORNE: u32 = 4;
