//! Open-loop load: requests leave by a schedule, whatever happens to those before them.
//!
//! A closed loop (ask, wait, ask) slows down with a slow server and so hides exactly what a test is after. Here
//! request k is due at k / rate; a worker thread with its own keep-alive connection sends it, and where all workers wait
//! for answers another one is started, up to `max_workers`. Beyond that requests go out late and are counted as late;
//! their latency counts from when they were due.
//!
//! Bounded by `duration`, by `max_requests`, and by `timeout` for each request.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{Client, Failure, Request};
use crate::report::{Entry, Report};
use crate::rng::Rng;
use crate::verdict::{Origin, Verdict};
use crate::wire::End;

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// The gateway, or a backend.
    pub target: SocketAddr,
    /// Requests a second.
    pub rate: u32,
    /// Share of POSTs among them.
    pub post_percent: u8,
    /// When to stop by itself.
    pub duration: Duration,
    /// The other bound.
    pub max_requests: u64,
    /// Share of requests that go out on a new connection.
    pub fresh_percent: u8,
    /// Longest time of one exchange.
    pub timeout: Duration,
    /// Most requests at a time; each is a thread.
    pub max_workers: usize,
    /// The gateway's name in Proxy-Status.
    pub label: String,
    /// Decides methods and sizes, request by request.
    pub seed: u64,
    /// First part of the ids, for more than one load at a time.
    pub id_prefix: String,
}

impl Load {
    /// 200 requests a second for 10 s, one in five a POST.
    pub fn new(target: SocketAddr) -> Load {
        Load {
            target,
            rate: 200,
            post_percent: 20,
            duration: Duration::from_secs(10),
            max_requests: u64::MAX,
            fresh_percent: 0,
            timeout: Duration::from_secs(15),
            max_workers: 1000,
            label: "tidegate".into(),
            seed: 1,
            id_prefix: "r".into(),
        }
    }

    /// Sends it all, waits for every result, and tells.
    pub fn run(&self) -> Report {
        let running = self.start();
        let mut report = Report::default();
        for interval in running.finish() {
            report.merge(&interval);
        }
        report
    }

    /// Begins to send.
    pub fn start(&self) -> Running {
        let shared = Arc::new(Shared {
            load: self.clone(),
            begun: Instant::now(),
            state: Mutex::default(),
            work: Condvar::new(),
            changed: Condvar::new(),
        });
        lock(&shared.state).intervals.push(Interval::default());
        let schedule = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.follow_schedule())
        };
        Running { shared, schedule: Some(schedule) }
    }

    /// Request number `k`: method, sizes and framing drawn from the seed, so that a run can be repeated.
    fn request(&self, k: u64) -> Request {
        let mut rng = Rng::new(self.seed.wrapping_mul(0x1_0000_0001).wrapping_add(k));
        let framing = if rng.percent(30) { "chunked" } else { "length" };
        let path = format!("/item/{k}?pad={}&framing={framing}", rng.below(4000));
        let id = format!("{}{k}", self.id_prefix);
        if rng.percent(self.post_percent) {
            let body: Vec<u8> = (0..rng.below(3000)).map(|_| rng.bits() as u8).collect();
            Request::post(&path, &body).id(&id)
        } else {
            Request::get(&path).id(&id)
        }
    }

    fn job(&self, k: u64, due: Instant, interval: usize) -> Job {
        // Not from the request's own numbers, which are to stay what they were.
        let fresh = Rng::new(self.seed.wrapping_add(k << 32)).percent(self.fresh_percent);
        Job { due, interval, fresh, request: self.request(k) }
    }
}

/// A load under way. Dropped, it stops and waits for what it has sent.
pub struct Running {
    shared: Arc<Shared>,
    schedule: Option<JoinHandle<()>>,
}

impl Running {
    /// From now on requests count in a new interval, whose number this is; the first one is 0.
    pub fn next_interval(&self) -> usize {
        let mut state = lock(&self.shared.state);
        state.intervals.push(Interval::default());
        state.intervals.len() - 1
    }

    /// The account of an interval so far.
    pub fn report(&self, interval: usize) -> Report {
        lock(&self.shared.state).intervals[interval].report.clone()
    }

    /// Waits until every request sent in an interval has ended (each has a time-out), then gives its account.
    pub fn settled(&self, interval: usize) -> Report {
        let state = lock(&self.shared.state);
        let state = self.shared.changed.wait_while(state, |state| state.intervals[interval].pending > 0);
        state.unwrap_or_else(PoisonError::into_inner).intervals[interval].report.clone()
    }

    /// Declares that no backend is healthy from now on (true), or that one is again (false). To be called before the
    /// last one is made sick, and after the first one is well again: the account then errs in nobody's favour.
    pub fn outage(&self, on: bool) {
        lock(&self.shared.state).outages.set(on);
    }

    /// Declares that the gateway's processes are being replaced from now on (true), or no more (false). One that retires
    /// closes its clients' idle connections, and a request may be on its way on one: a GET without a byte of an answer
    /// is then sent again on a new connection, as every client does, and its second result is the one that counts; a
    /// POST is lost.
    pub fn retirement(&self, on: bool) {
        lock(&self.shared.state).retirements.set(on);
    }

    /// Declares that the gateway's port is closed from now on (true), or open again (false).
    pub fn closed(&self, on: bool) {
        lock(&self.shared.state).closures.set(on);
    }

    /// Declares that the gateway's process at the other end of some connections is about to be killed: requests under
    /// way now, whose connection ends within a moment, were lost with it.
    pub fn connections_die(&self) {
        lock(&self.shared.state).kills.push(Instant::now());
    }

    /// Time since its start.
    pub fn elapsed(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    /// Stops the schedule early.
    pub fn stop(&self) {
        lock(&self.shared.state).stopped = true;
        self.shared.changed.notify_all();
    }

    /// Waits for the schedule's end and for every result; the accounts of all intervals.
    pub fn finish(mut self) -> Vec<Report> {
        self.join();
        lock(&self.shared.state).intervals.iter().map(|i| i.report.clone()).collect()
    }

    fn join(&mut self) {
        if let Some(schedule) = self.schedule.take() {
            let _ = schedule.join();
        }
        let state = lock(&self.shared.state);
        drop(self.shared.changed.wait_while(state, |state| state.workers > 0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        self.join();
    }
}

struct Shared {
    load: Load,
    begun: Instant,
    state: Mutex<State>,
    /// For workers: a job, or the end. Apart, or each result would wake hundreds of them.
    work: Condvar,
    /// For everybody else: a result, a stop, the end of a worker.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Workers that wait for a job.
    idle: usize,
    workers: usize,
    /// No job comes any more.
    stopped: bool,
    intervals: Vec<Interval>,
    outages: Spans,
    retirements: Spans,
    closures: Spans,
    kills: Vec<Instant>,
}

/// Times from which and until which something holds.
#[derive(Default)]
struct Spans(Vec<(Instant, Option<Instant>)>);

#[derive(Default)]
struct Interval {
    report: Report,
    /// Due, and without a result.
    pending: u64,
}

struct Job {
    due: Instant,
    interval: usize,
    fresh: bool,
    request: Request,
}

impl Shared {
    fn follow_schedule(self: &Arc<Shared>) {
        let gap_ns = 1_000_000_000 / u64::from(self.load.rate.max(1));
        let mut state = lock(&self.state);
        for k in 0..self.load.max_requests {
            let due_in = Duration::from_nanos(gap_ns * k);
            if due_in >= self.load.duration {
                break;
            }
            let due = self.begun + due_in;
            while let Some(left) = due.checked_duration_since(Instant::now()).filter(|_| !state.stopped) {
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            if state.stopped {
                break;
            }
            let interval = state.intervals.len() - 1;
            state.intervals[interval].pending += 1;
            state.jobs.push_back(self.load.job(k, due, interval));
            if state.jobs.len() > state.idle && state.workers < self.load.max_workers {
                state.workers += 1;
                let shared = Arc::clone(self);
                let worker = thread::Builder::new().stack_size(STACK).spawn(move || shared.work());
                // The machine's limit on threads is a smaller max_workers.
                state.workers -= usize::from(worker.is_err());
            }
            self.work.notify_one();
        }
        state.stopped = true;
        self.work.notify_all();
    }

    fn work(&self) {
        let mut client = Client::new(self.load.target, self.load.timeout);
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                if job.fresh {
                    client.close();
                }
                let made = client.connections();
                let (sent, mut result) = (Instant::now(), client.exchange(&job.request));
                let is_post = job.request.method == "POST";
                let raced = client.connections() == made
                    && matches!(result, Err(Failure::Nothing(End::Closed | End::Reset)))
                    && lock(&self.state).retirements.meet(sent, Instant::now());
                if raced && !is_post {
                    result = client.exchange(&job.request);
                }
                let ended = Instant::now();
                if result.is_err() {
                    client.close();
                }
                let verdict = Verdict::of(&job.request, &result, &self.load.label);
                let answer = result.ok().map(|r| (r.status, Origin::of(&r, &self.load.label)));
                state = lock(&self.state);
                let entry = Entry {
                    is_post,
                    answer,
                    due: job.due - self.begun,
                    latency: ended - job.due,
                    late: sent - job.due > LATE,
                    in_outage: state.outages.meet(sent, ended),
                    lost_with_worker: verdict.lost_connection() && state.killed_under(sent, ended),
                    raced,
                    refused: verdict.refused() && state.closures.meet(sent, ended),
                    what: &format_args!("{} {}", job.request.method, job.request.path),
                    verdict: &verdict,
                };
                let interval = &mut state.intervals[job.interval];
                interval.report.add(entry);
                interval.pending -= 1;
                self.changed.notify_all();
            } else if state.stopped {
                break;
            } else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
        state.workers -= 1;
        self.changed.notify_all();
    }
}

impl Spans {
    fn set(&mut self, on: bool) {
        let now = Instant::now();
        match self.0.last_mut().filter(|(_, end)| end.is_none()) {
            Some((_, end)) if !on => *end = Some(now),
            None if on => self.0.push((now, None)),
            _ => {}
        }
    }

    /// Whether it held at some moment between these two.
    fn meet(&self, from: Instant, to: Instant) -> bool {
        self.0.iter().any(|(begin, end)| *begin <= to && end.is_none_or(|end| end >= from))
    }
}

impl State {
    fn killed_under(&self, sent: Instant, ended: Instant) -> bool {
        self.kills.iter().any(|&kill| sent <= kill + KILL_TAKES && ended >= kill && ended <= kill + KILL_TAKES * 5)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const LATE: Duration = Duration::from_millis(50);
/// From the declaration to the moment at which the last socket of a killed process is closed.
const KILL_TAKES: Duration = Duration::from_millis(100);
const STACK: usize = 256 * 1024;
