//! One cell: one fault at one proxy, with backends, proxy and load of its own.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use tidegate_testbed::load::Running;
use tidegate_testbed::process::wait_until;
use tidegate_testbed::{Behaviour, Client, Executions, Load, ProcessBackend, Report, Request, Scratch};

use crate::fault::{Fault, SICK};
use crate::figures::{Figures, Span, cpu_ns};
use crate::gateway::{Gateway, Kind, LIMIT};

/// What all cells have in common.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Requests a second.
    pub rate: u32,
    /// Of the load under a fault.
    pub length: Duration,
    /// Tidegate's.
    pub selector: String,
}

/// What a fault has at hand.
pub struct Scene {
    pub backends: Vec<ProcessBackend>,
    pub gateway: Gateway,
    pub running: Running,
    /// On the load's clock.
    end: Duration,
    back: Option<Duration>,
}

impl Scene {
    /// Until the cell's end.
    pub fn hold_rest(&self) -> Result<(), String> {
        sleep(self.end.saturating_sub(self.running.elapsed()));
        Ok(())
    }

    /// So long, but not beyond the cell's end.
    pub fn hold(&self, ms: u64) {
        sleep(Duration::from_millis(ms).min(self.end.saturating_sub(self.running.elapsed())));
    }

    pub fn is_over(&self) -> bool {
        self.running.elapsed() >= self.end
    }

    pub fn set(&mut self, i: usize, behaviour: &Behaviour) -> Result<(), String> {
        self.backends[i].set(behaviour).map_err(|e| format!("backend {i}: {e}"))
    }

    /// One of the four behaves so to the end.
    pub fn sick(&mut self, behaviour: &Behaviour) -> Result<(), String> {
        self.set(SICK, behaviour)?;
        self.hold_rest()
    }

    /// The same for half of its answers.
    pub fn sick_half(&mut self, behaviour: Behaviour) -> Result<(), String> {
        self.sick(&Behaviour::Share { percent: 50, of: Box::new(behaviour) })
    }

    /// The first backend works again; further calls don't count.
    pub fn mark_return(&mut self) {
        self.back.get_or_insert(self.running.elapsed());
    }
}

/// Plays it, and counts.
pub fn run(kind: Kind, fault: &Fault, setting: &Setting) -> Result<Figures, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let scratch = Scratch::new("compare");
    let executions = Executions::open(scratch.path().join("executions")).map_err(|e| e.to_string())?;
    let start = |name| ProcessBackend::start_working(&program, name, 0, &executions, SERVICE);
    let backends: Vec<_> =
        NAMES.map(start).into_iter().collect::<Result<_, _>>().map_err(|e| format!("backend: {e}"))?;
    let peers: Vec<_> = backends.iter().map(ProcessBackend::addr).collect();
    let gateway = Gateway::start(kind, &peers, &setting.selector)?;
    wait_for_answer(gateway.addr())?;

    let warm_up = WARM_UP.min(setting.length);
    let load = Load { rate: setting.rate, duration: LONGEST, timeout: PATIENCE, ..Load::new(gateway.addr()) };
    let running = load.start();
    let mut scene = Scene { backends, gateway, running, end: warm_up + setting.length, back: None };
    sleep(warm_up);
    let (pids, begun) = (scene.gateway.pids(), scene.running.elapsed());
    let cpu = cpu_ns(&pids);
    (fault.play)(&mut scene)?;
    let ended = scene.running.elapsed();
    // A process that has come or gone since has taken its account with it.
    let cpu = (scene.gateway.pids() == pids).then(|| cpu_ns(&pids).saturating_sub(cpu));
    scene.running.stop();
    let mut report = Report::default();
    let Scene { running, gateway, back, .. } = scene;
    running.finish().iter().for_each(|interval| report.merge(interval));
    let faults = gateway.faults();
    if !faults.is_empty() {
        return Err(format!("its log:\n{}", faults.join("\n")));
    }
    let span = Span { begun, back, ended, rate: setting.rate };
    Figures::of(&report, &executions, fault.expect, &span, cpu)
}

fn wait_for_answer(addr: SocketAddr) -> Result<(), String> {
    let mut client = Client::new(addr, LIMIT);
    let up = wait_until(LIMIT, || client.exchange(&Request::get("/")).is_ok_and(|response| response.status == 200));
    if up { Ok(()) } else { Err("it does not answer".into()) }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// What a healthy backend works on an answer.
pub const SERVICE: Duration = Duration::from_millis(10);
/// Long enough for what a proxy does once, a second after its start.
pub const WARM_UP: Duration = Duration::from_millis(1500);
/// What a client waits for an answer.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// The load ends by itself should the cell hang.
const LONGEST: Duration = Duration::from_secs(60);
