//! The account of a load: what came back, and what of it is held against the gateway.
//!
//! # What counts as a failed GET
//!
//! Any GET that was not answered by a complete, correct 2xx, with four exceptions, each on a line of its own:
//! 1. *outage*: at some moment between its sending and its end no backend at all was healthy (`Running::outage`);
//! 2. *cut body*: its head had gone out rightly when the body broke off;
//! 3. *lost with a worker*: its connection ended, without an answer, at the moment at which the test killed the gateway
//!    process at the other end (`Running::connections_die`). No answer of a gateway is ever excused by this;
//! 4. *refused*: the test had stopped the gateway, and its port was closed (`Running::closed`).
//!
//! A request on an idle connection that a retiring process closed under it (`Running::retirement`) has a line as well: a
//! GET was sent again and is judged by what came of that, a POST is lost.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::verdict::{Origin, Verdict};

/// What became of the requests of one interval.
#[derive(Clone, Default, Debug)]
pub struct Report {
    /// GETs.
    pub get: Tally,
    /// POSTs.
    pub post: Tally,
    /// Complete, well-formed responses by status and origin.
    pub answers: BTreeMap<(u16, Origin), u64>,
    /// From the time a request was due to the end of its response, in microseconds; complete ones only. A request
    /// that the generator sent late counts from its due time: waiting isn't hidden.
    pub latency_us: Vec<u64>,
    /// Requests that went out more than 50 ms late, for want of a free worker: the generator's own limit.
    pub late: u64,
    /// Some failures of each kind, in words.
    pub samples: Vec<String>,
    /// Every request, in the order in which results came.
    pub exchanges: Vec<Exchange>,
}

/// One request and what came of it. Times count from the start of the load.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// When it was due.
    pub due: Duration,
    /// When its result was known.
    pub ended: Duration,
    /// A POST, or else a GET.
    pub is_post: bool,
    /// Its result.
    pub verdict: Verdict,
}

/// Counts of one method.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Requests whose result is known.
    pub done: u64,
    /// Complete 2xx, every byte right.
    pub good: u64,
    /// Complete responses with another status.
    pub status: u64,
    /// Complete 2xx with a body that is not the echo of the request.
    pub wrong: u64,
    /// No valid HTTP.
    pub malformed: u64,
    /// Right head, body ended early; those lost with a worker not among them.
    pub cut: u64,
    /// Connection lost or timed out before a whole head.
    pub unanswered: u64,
    /// Connection lost when the test killed the process at its other end.
    pub lost_with_worker: u64,
    /// No connection while the test had the gateway's port closed.
    pub refused: u64,
    /// Connection closed by a retiring process before the first byte of the answer. GETs were sent again and are counted
    /// under what came of that too.
    pub raced: u64,
    /// Failures of any kind while no backend was healthy.
    pub outage: u64,
    /// The rest of the failures: those held against the gateway. Cut bodies are not among them.
    pub failed: u64,
}

/// What the report needs to know of one request.
pub(crate) struct Entry<'a> {
    pub(crate) is_post: bool,
    pub(crate) verdict: &'a Verdict,
    pub(crate) answer: Option<(u16, Origin)>,
    pub(crate) due: Duration,
    pub(crate) latency: Duration,
    pub(crate) late: bool,
    pub(crate) in_outage: bool,
    pub(crate) lost_with_worker: bool,
    pub(crate) raced: bool,
    pub(crate) refused: bool,
    pub(crate) what: &'a dyn fmt::Display,
}

impl Report {
    pub(crate) fn add(&mut self, entry: Entry) {
        let tally = if entry.is_post { &mut self.post } else { &mut self.get };
        tally.done += 1;
        self.exchanges.push(Exchange {
            due: entry.due,
            ended: entry.due + entry.latency,
            is_post: entry.is_post,
            verdict: entry.verdict.clone(),
        });
        self.late += u64::from(entry.late);
        tally.raced += u64::from(entry.raced);
        if entry.lost_with_worker {
            tally.lost_with_worker += 1;
        } else if entry.refused {
            tally.refused += 1;
        } else if !(entry.raced && entry.is_post) {
            let kind = match entry.verdict {
                Verdict::Good => &mut tally.good,
                Verdict::Status(..) => &mut tally.status,
                Verdict::Wrong => &mut tally.wrong,
                Verdict::Malformed(_) => &mut tally.malformed,
                Verdict::Cut(_) => &mut tally.cut,
                Verdict::HeadCut(_) | Verdict::Nothing(_) | Verdict::Unconnected(_) => &mut tally.unanswered,
            };
            *kind += 1;
            if *entry.verdict != Verdict::Good {
                if entry.in_outage {
                    tally.outage += 1;
                } else if !matches!(entry.verdict, Verdict::Cut(_)) {
                    tally.failed += 1;
                }
                if !entry.in_outage {
                    self.sample(format!("{}: {}", entry.what, entry.verdict));
                }
            }
        }
        if matches!(entry.verdict, Verdict::Good | Verdict::Status(..) | Verdict::Wrong) {
            self.latency_us.push(entry.latency.as_micros() as u64);
            if let Some(answer) = entry.answer {
                *self.answers.entry(answer).or_default() += 1;
            }
        }
    }

    /// Adds another interval's counts.
    pub fn merge(&mut self, other: &Report) {
        self.get.merge(&other.get);
        self.post.merge(&other.post);
        for (answer, n) in &other.answers {
            *self.answers.entry(*answer).or_default() += n;
        }
        self.latency_us.extend_from_slice(&other.latency_us);
        self.late += other.late;
        self.exchanges.extend_from_slice(&other.exchanges);
        other.samples.iter().for_each(|sample| self.sample(sample.clone()));
    }

    /// Keeps a few of each kind; what comes after the first colon is the kind.
    fn sample(&mut self, text: String) {
        let kind = text.split_once(':').map(|(_, kind)| kind);
        let alike = self.samples.iter().filter(|s| s.split_once(':').map(|(_, kind)| kind) == kind).count();
        if alike < ALIKE && self.samples.len() < SAMPLES {
            self.samples.push(text);
        }
    }

    /// Requests whose result is known.
    pub fn done(&self) -> u64 {
        self.get.done + self.post.done
    }

    /// Answers with this status by this origin.
    pub fn answered(&self, status: u16, origin: Origin) -> u64 {
        self.answers.get(&(status, origin)).copied().unwrap_or(0)
    }

    /// Whether every request was answered by a complete, correct 2xx.
    pub fn all_good(&self) -> bool {
        self.get.good == self.get.done && self.post.good == self.post.done
    }

    /// The latency that `percent` of the complete answers did not exceed.
    pub fn percentile(&self, percent: f64) -> Duration {
        let mut sorted = self.latency_us.clone();
        sorted.sort_unstable();
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        Duration::from_micros(sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0))
    }
}

impl Tally {
    fn merge(&mut self, other: &Tally) {
        self.done += other.done;
        self.good += other.good;
        self.status += other.status;
        self.wrong += other.wrong;
        self.malformed += other.malformed;
        self.cut += other.cut;
        self.unanswered += other.unanswered;
        self.lost_with_worker += other.lost_with_worker;
        self.refused += other.refused;
        self.raced += other.raced;
        self.outage += other.outage;
        self.failed += other.failed;
    }

    fn rows(&self) -> [(&'static str, u64); 12] {
        [
            ("requests", self.done),
            ("complete and right", self.good),
            ("another status", self.status),
            ("2xx with a wrong body", self.wrong),
            ("not valid HTTP", self.malformed),
            ("body broke off after its head", self.cut),
            ("no answer at all", self.unanswered),
            ("connection died with a worker", self.lost_with_worker),
            ("refused by a closed port", self.refused),
            ("idle connection closed under it", self.raced),
            ("failed while no peer was healthy", self.outage),
            ("failed while a peer was healthy", self.failed),
        ]
    }
}

/// A table for a person.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<34}{:>10}{:>10}", "", "GET", "POST")?;
        for ((name, get), (_, post)) in self.get.rows().iter().zip(self.post.rows()) {
            writeln!(f, "{name:<34}{get:>10}{post:>10}")?;
        }
        writeln!(f, "\nanswers by status and origin")?;
        for ((status, origin), n) in &self.answers {
            writeln!(f, "  {status} {origin:<28}{n:>10}")?;
        }
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        writeln!(
            f,
            "\nlatency, ms: p50 {:.1}  p90 {:.1}  p99 {:.1}  max {:.1}",
            ms(50.0),
            ms(90.0),
            ms(99.0),
            ms(100.0)
        )?;
        if self.late > 0 {
            writeln!(f, "sent late by the load generator: {}", self.late)?;
        }
        if !self.samples.is_empty() {
            writeln!(f, "some of those that went wrong:")?;
        }
        for sample in &self.samples {
            writeln!(f, "  {sample}")?;
        }
        Ok(())
    }
}

const SAMPLES: usize = 16;
const ALIKE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::End;

    fn entry(verdict: &Verdict) -> Entry<'_> {
        Entry {
            is_post: false,
            verdict,
            answer: Some((200, Origin::Upstream)),
            due: Duration::ZERO,
            latency: Duration::from_millis(1),
            late: false,
            in_outage: false,
            lost_with_worker: false,
            raced: false,
            refused: false,
            what: &"GET /",
        }
    }

    #[test]
    fn every_bad_end_but_a_cut_body_is_a_failure() {
        let mut report = Report::default();
        report.add(entry(&Verdict::Good));
        assert!(report.all_good());
        report.add(entry(&Verdict::Cut(End::Closed)));
        assert!(!report.all_good());
        assert_eq!(report.get.failed, 0);
        let bad = [
            Verdict::Status(502, Origin::Gateway),
            Verdict::Wrong,
            Verdict::Malformed("x".into()),
            Verdict::HeadCut(End::Closed),
            Verdict::Nothing(End::Reset),
            Verdict::Unconnected(std::io::ErrorKind::ConnectionRefused),
        ];
        for (i, verdict) in bad.iter().enumerate() {
            report.add(entry(verdict));
            assert_eq!(report.get.failed, i as u64 + 1);
        }
        report.add(Entry { in_outage: true, ..entry(&Verdict::Status(503, Origin::Gateway)) });
        report.add(Entry { lost_with_worker: true, ..entry(&Verdict::Nothing(End::Reset)) });
        assert_eq!(report.get.failed, bad.len() as u64);
        assert_eq!((report.get.outage, report.get.lost_with_worker), (1, 1));
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let report = Report { latency_us: (1..=100).rev().collect(), ..Report::default() };
        assert_eq!(report.percentile(50.0), Duration::from_micros(50));
        assert_eq!(report.percentile(99.0), Duration::from_micros(99));
        assert_eq!(report.percentile(100.0), Duration::from_micros(100));
        assert_eq!(Report::default().percentile(99.0), Duration::ZERO);
    }
}
