//! What one cell came to, as clients and backends saw it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::time::Duration;

use tidegate_testbed::report::Exchange;
use tidegate_testbed::verdict::Verdict;
use tidegate_testbed::{Executions, Report};

use crate::fault::Expect;

/// When the fault began, when the first backend was back if that matters, when the load ended; on the load's clock.
pub struct Span {
    pub begun: Duration,
    pub back: Option<Duration>,
    pub ended: Duration,
    pub rate: u32,
}

/// The columns.
#[derive(Clone, Debug)]
pub struct Figures {
    /// GETs that did not end as they should.
    pub get_errors: u64,
    pub post_errors: u64,
    /// Complete 2xx with a wrong body, and bytes that are no HTTP.
    pub corrupt: u64,
    /// POSTs that backends carried out more than once.
    pub twice: u64,
    /// Took longer than a second, whatever came then.
    pub slow: u64,
    /// From the fault's beginning to the last request that noticed it before half a second without such; none if there
    /// was no such half second. Where all backends come back: from then to the first good answer.
    pub noticed: Option<Duration>,
    pub p50: Duration,
    pub p99: Duration,
    /// CPU time of all the proxy's processes; none if one of them was replaced.
    pub cpu_us: Option<f64>,
    /// Requests that backends read for each that a client sent.
    pub attempts: f64,
    /// Requests that the load generator sent more than 50 ms late: the machine was too busy for these figures.
    pub late: u64,
    /// Kinds of errors, most frequent first.
    pub samples: Vec<String>,
}

impl Figures {
    pub fn of(
        report: &Report,
        executions: &Executions,
        expect: Expect,
        span: &Span,
        cpu_ns: Option<u64>,
    ) -> Result<Figures, String> {
        let counts = |exchange: &&Exchange| match span.back {
            Some(back) => exchange.due >= back,
            // Those that were under way when it began met it too.
            None => exchange.ended >= span.begun,
        };
        let seen: Vec<&Exchange> = report.exchanges.iter().filter(counts).collect();
        let is_error = |exchange: &Exchange| match exchange.verdict {
            Verdict::Good => false,
            Verdict::Status(503, _) => expect != Expect::Unavailable,
            _ => true,
        };
        let errors = |post| seen.iter().filter(|e| e.is_post == post && is_error(e)).count() as u64;
        let took = |exchange: &Exchange| exchange.ended - exchange.due;
        let mut times: Vec<Duration> = seen.iter().map(|e| took(e)).collect();
        times.sort_unstable();
        let percentile = |n: usize| times.get((times.len() * n / 100).min(times.len().saturating_sub(1))).copied();
        let noticed = match span.back {
            Some(back) => {
                let good = report.exchanges.iter().filter(|e| e.verdict == Verdict::Good && e.ended >= back);
                good.map(|e| e.ended - back).min()
            }
            None => {
                let affected = seen.iter().filter(|e| is_error(e) || took(e) >= FELT);
                last_before_quiet(affected.map(|e| e.due.saturating_sub(span.begun)).collect(), span.ended - span.begun)
            }
        };
        let duplicated = executions.duplicated_posts().map_err(|e| e.to_string())?;
        let first = (span.begun.as_secs_f64() * f64::from(span.rate)).ceil() as u64;
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for exchange in seen.iter().filter(|e| is_error(e)) {
            let method = if exchange.is_post { "POST" } else { "GET" };
            *kinds.entry(format!("{method}: {}", exchange.verdict)).or_default() += 1;
        }
        let mut samples: Vec<_> = kinds.into_iter().map(|(kind, n)| (n, kind)).collect();
        samples.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Figures {
            get_errors: errors(false),
            post_errors: errors(true),
            corrupt: seen.iter().filter(|e| matches!(e.verdict, Verdict::Wrong | Verdict::Malformed(_))).count() as u64,
            twice: duplicated.len() as u64,
            slow: seen.iter().filter(|e| took(e) > LONG).count() as u64,
            noticed,
            p50: percentile(50).unwrap_or_default(),
            p99: percentile(99).unwrap_or_default(),
            cpu_us: cpu_ns.map(|ns| ns as f64 / 1e3 / seen.len().max(1) as f64),
            attempts: attempts(executions, first)?,
            late: report.late,
            samples: samples.into_iter().take(4).map(|(n, kind)| format!("{n} × {kind}")).collect(),
        })
    }

    /// Of several runs the one in the middle by CPU.
    pub fn median(mut runs: Vec<Figures>) -> Option<Figures> {
        runs.sort_by(|a, b| a.cpu_us.unwrap_or(f64::MAX).total_cmp(&b.cpu_us.unwrap_or(f64::MAX)));
        let middle = runs.len() / 2;
        (middle < runs.len()).then(|| runs.swap_remove(middle))
    }

    /// Of both methods.
    pub fn errors(&self) -> u64 {
        self.get_errors + self.post_errors
    }

    /// `noticed` in seconds.
    pub fn noticed_text(&self) -> String {
        self.noticed.map_or("to the end".into(), |time| format!("{:.2} s", time.as_secs_f64()))
    }

    pub fn cpu_text(&self) -> String {
        self.cpu_us.map_or("–".into(), |us| format!("{us:.0}"))
    }
}

pub const HEADINGS: &str =
    "                    GET  POST corr. twice  >1 s    noticed   p50 ms   p99 ms  CPU us  att./r.  late";

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "{:>5} {:>5} {:>5} {:>5} {:>5} {:>10} {:>8.1} {:>8.1} {:>7} {:>8.3} {:>5}",
            self.get_errors,
            self.post_errors,
            self.corrupt,
            self.twice,
            self.slow,
            self.noticed_text(),
            ms(self.p50),
            ms(self.p99),
            self.cpu_text(),
            self.attempts,
            self.late,
        )
    }
}

/// Requests that reached a backend, by those sent, from number `first` of the load on.
fn attempts(executions: &Executions, first: u64) -> Result<f64, String> {
    let (mut attempts, mut last) = (0, first);
    for method in ["GET", "POST"] {
        for (id, backends) in executions.of(method).map_err(|e| e.to_string())? {
            if let Some(k) = id.strip_prefix('r').and_then(|k| k.parse::<u64>().ok()).filter(|&k| k >= first) {
                attempts += backends.len();
                last = last.max(k + 1);
            }
        }
    }
    Ok(attempts as f64 / (last - first).max(1) as f64)
}

/// The last of these times before the first gap of `QUIET`; none if there is no such gap before `end`.
fn last_before_quiet(mut times: Vec<Duration>, end: Duration) -> Option<Duration> {
    times.sort_unstable();
    let mut last = Duration::ZERO;
    for time in times.into_iter().chain([end]) {
        if time.saturating_sub(last) >= QUIET {
            return Some(last);
        }
        last = time;
    }
    None
}

/// Time that all threads of these processes were on a CPU, in nanoseconds (proc(5), `schedstat`).
pub fn cpu_ns(pids: &[u32]) -> u64 {
    let mut sum = 0;
    for pid in pids {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            sum += text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    sum
}

/// Nine times what a healthy backend takes, with room for a machine that is busy: so much is felt.
const FELT: Duration = Duration::from_millis(90);
const QUIET: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_begins_after_the_last_that_noticed() {
        let times = |ms: &[u64]| ms.iter().map(|&ms| Duration::from_millis(ms)).collect::<Vec<_>>();
        let end = Duration::from_secs(6);
        assert_eq!(last_before_quiet(times(&[]), end), Some(Duration::ZERO));
        assert_eq!(last_before_quiet(times(&[300, 10, 700, 2000]), end), Some(Duration::from_millis(700)));
        assert_eq!(last_before_quiet((0..60).map(|i| Duration::from_millis(i * 100)).collect(), end), None);
    }
}
