//! What happens, in which order: a fault, then health again, and the next fault; traffic never pauses.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tidegate_testbed::load::Running;
use tidegate_testbed::{Behaviour, Executions, Load, ProcessBackend, Report, Response, Scratch};

use crate::gateway::{Gateway, Kind};
use crate::status::{Status, ask};

/// What the demo found.
pub struct Account {
    pub gateway: &'static str,
    pub report: Report,
    /// POSTs that were carried out more than once, with the backends that did.
    pub duplicated_posts: Vec<(String, Vec<String>)>,
    /// GETs that more than one backend, or one more than once, carried out: retries at work.
    pub repeated_gets: usize,
    pub posts_carried_out: usize,
    pub status: Result<Status, String>,
    /// With every backend dead: as JSON and as HTML.
    pub answers: Vec<Result<Response, String>>,
    pub faults: Vec<String>,
    pub logged: Vec<String>,
    pub took: Duration,
}

/// Plays it all.
pub fn play(kind: Kind, rate: u32, pace: u32) -> Result<Account, String> {
    let begun = Instant::now();
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let scratch = Scratch::new("demo");
    let executions = Executions::open(scratch.path().join("executions")).map_err(|e| e.to_string())?;
    let backends = NAMES.map(|name| ProcessBackend::start(&program, name, 0, &executions));
    let backends: Vec<_> = backends.into_iter().collect::<Result<_, _>>().map_err(|e| format!("backend: {e}"))?;
    let addrs: Vec<_> = backends.iter().map(ProcessBackend::addr).collect();
    let gateway = Gateway::start(kind, &addrs)?;
    println!("{} on {}, workers {:?}; backends:", gateway.name(), gateway.addr(), gateway.workers());
    for backend in &backends {
        println!("  {} on {}, process {}", backend.name(), backend.addr(), backend.pid().unwrap_or(0));
    }
    println!("{rate} requests a second, 20 % of them POSTs, from now on\n");
    let load = Load { rate, duration: LONGEST, ..Load::new(gateway.addr()) };
    let mut stage = Stage { running: load.start(), interval: 0, begun, pace, backends, gateway };
    stage.faults()?;
    let answers = stage.no_backend_left()?;

    let Stage { running, gateway, .. } = stage;
    running.stop();
    let mut report = Report::default();
    running.finish().iter().for_each(|interval| report.merge(interval));
    let of = |method| executions.of(method).map_err(|e| e.to_string());
    Ok(Account {
        gateway: gateway.name(),
        report,
        duplicated_posts: executions.duplicated_posts().map_err(|e| e.to_string())?.into_iter().collect(),
        repeated_gets: of("GET")?.values().filter(|backends| backends.len() > 1).count(),
        posts_carried_out: of("POST")?.len(),
        status: Status::of(gateway.addr()),
        answers,
        faults: gateway.faults(),
        logged: gateway.causes_logged(3),
        took: begun.elapsed(),
    })
}

struct Stage {
    running: Running,
    interval: usize,
    begun: Instant,
    pace: u32,
    backends: Vec<ProcessBackend>,
    gateway: Gateway,
}

impl Stage {
    fn faults(&mut self) -> Result<(), String> {
        self.say("all backends are in order");
        hold(self.pace, 3);
        self.close_phase();

        self.say("kill -9 of backend a");
        self.backends[0].kill();
        hold(self.pace, 4);
        self.say("it is started again");
        self.backends[0].restart().map_err(|e| format!("a: {e}"))?;
        hold(self.pace, 3);
        self.close_phase();

        self.sick(1, &Behaviour::Garbage, "backend b answers with bytes that are no HTTP")?;
        self.sick(2, &Behaviour::BreakOff, "backend c breaks off its bodies")?;
        self.sick(3, &Behaviour::Hang, "backend d takes requests and answers nothing")?;

        self.say("a restart rolls over all four");
        let pace = self.pace;
        for (name, backend) in NAMES.iter().zip(&mut self.backends) {
            let failed = |e| format!("{name}: {e}");
            backend.stop().map_err(failed)?;
            hold(pace, 1);
            backend.restart().map_err(failed)?;
            hold(pace, 1);
        }
        self.close_phase();

        if let Some(&worker) = self.gateway.workers().first() {
            self.say(&format!("kill -9 of the gateway's worker {worker}"));
            self.running.connections_die();
            self.gateway.kill_worker(worker)?;
            hold(self.pace, 3);
            self.close_phase();
        }
        Ok(())
    }

    /// The last phase: kills every backend, and takes what the gateway says to people and programs.
    fn no_backend_left(&mut self) -> Result<Vec<Result<Response, String>>, String> {
        self.say("kill -9 of all four backends");
        let (last, others) = self.backends.split_last_mut().expect("there are four");
        others.iter_mut().for_each(ProcessBackend::kill);
        // Until here the last one was in order, and its answers count.
        self.running.outage(true);
        last.kill();
        hold(self.pace, 3);
        let addr: SocketAddr = self.gateway.addr();
        let answers = ["application/json", "text/html"].map(|accept| ask(addr, "/orders/17", accept)).into();
        self.close_phase();
        Ok(answers)
    }

    /// One backend misbehaves for a while.
    fn sick(&mut self, i: usize, behaviour: &Behaviour, what: &str) -> Result<(), String> {
        self.say(what);
        self.backends[i].set(behaviour).map_err(|e| format!("{}: {e}", NAMES[i]))?;
        hold(self.pace, 4);
        self.say("it is in order again");
        self.backends[i].set(&Behaviour::Ok).map_err(|e| format!("{}: {e}", NAMES[i]))?;
        hold(self.pace, 3);
        self.close_phase();
        Ok(())
    }

    fn say(&self, what: &str) {
        println!("{:5.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    /// Prints the figures of the phase once its last request has ended; the next phase's traffic goes on meanwhile.
    fn close_phase(&mut self) {
        let next = self.running.next_interval();
        let report = self.running.settled(self.interval);
        self.interval = next;
        let (get, post) = (report.get, report.post);
        println!("         GET  {:5} right of {:5}   failed {:4}{}", get.good, get.done, get.failed, others(&get));
        println!("         POST {:5} right of {:5}   failed {:4}{}", post.good, post.done, post.failed, others(&post));
        let ms = |percent| report.percentile(percent).as_secs_f64() * 1e3;
        println!("         latency p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms\n", ms(50.0), ms(99.0), ms(100.0));
    }
}

fn hold(pace: u32, seconds: u64) {
    sleep(Duration::from_millis(seconds * 10 * u64::from(pace)));
}

/// What is on lines of its own in the table, where there is any.
fn others(tally: &tidegate_testbed::report::Tally) -> String {
    let all = [("cut body", tally.cut), ("lost with worker", tally.lost_with_worker), ("no backend", tally.outage)];
    all.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("   {name} {n}")).collect()
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// The load ends by itself should the demo hang.
const LONGEST: Duration = Duration::from_secs(110);
