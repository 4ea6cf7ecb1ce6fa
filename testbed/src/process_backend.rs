//! A backend as a process of its own, so that it can be killed like one: SIGKILL, in the middle of anything.
//!
//! It is ordered about by lines on its standard input: `fault mode=…` (see `behaviour`) or `stop`, each answered by
//! `ok` or `error: …` on its standard output. Not by requests: standard input works while it refuses connections, and
//! at its end (the parent is gone, however it died) the backend ends too, so none is left behind.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::backend::Backend;
use crate::behaviour::Behaviour;
use crate::executions::Executions;
use crate::ports::free_port;
use crate::process::{Lines, wait_for};

/// The process, and how to start it again.
pub struct ProcessBackend {
    program: PathBuf,
    name: String,
    addr: SocketAddr,
    log: PathBuf,
    service: Duration,
    running: Option<Running>,
}

struct Running {
    child: Child,
    orders: ChildStdin,
    replies: Lines,
}

impl ProcessBackend {
    /// Starts `program backend …`; port 0 takes a free one. It notes what it carries out in `executions`' file.
    pub fn start(program: &Path, name: &str, port: u16, executions: &Executions) -> io::Result<ProcessBackend> {
        ProcessBackend::start_working(program, name, port, executions, Duration::ZERO)
    }

    /// The same, working so long on each answer.
    pub fn start_working(
        program: &Path,
        name: &str,
        port: u16,
        executions: &Executions,
        service: Duration,
    ) -> io::Result<ProcessBackend> {
        let port = if port == 0 { free_port() } else { port };
        let mut backend = ProcessBackend {
            program: program.to_owned(),
            name: name.to_owned(),
            addr: ([127, 0, 0, 1], port).into(),
            log: executions.path().to_owned(),
            service,
            running: None,
        };
        backend.restart()?;
        Ok(backend)
    }

    /// Its name in X-Backend.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens, or listened.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|r| r.child.id())
    }

    /// How it answers from the next request on.
    pub fn set(&mut self, behaviour: &Behaviour) -> io::Result<()> {
        self.order(&format!("fault {behaviour}"))
    }

    /// Ends it by SIGKILL; it is gone when this returns.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    /// Stops it like a well-behaved server: what it began is answered, then it exits.
    pub fn stop(&mut self) -> io::Result<()> {
        self.order("stop")?;
        let exited = self.running.as_mut().and_then(|r| wait_for(&mut r.child, LIMIT));
        self.kill();
        exited.map(drop).ok_or(io::ErrorKind::TimedOut.into())
    }

    /// Starts it anew on the same port, answering rightly; kills it first if it still runs.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        let mut child = Command::new(&self.program)
            .args(["backend", "--name", &self.name, "--port", &self.addr.port().to_string()])
            .args(["--service-ms", &self.service.as_millis().to_string(), "--log"])
            .arg(&self.log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().expect("piped above");
        let replies = Lines::of(child.stdout.take().expect("piped above"));
        let running = self.running.insert(Running { child, orders, replies });
        let line = running.replies.next(LIMIT)?;
        let expected = format!("listening on {}", self.addr);
        if line == expected { Ok(()) } else { Err(io::Error::other(format!("{line:?} instead of {expected:?}"))) }
    }

    fn order(&mut self, order: &str) -> io::Result<()> {
        let running = self.running.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        writeln!(running.orders, "{order}")?;
        match running.replies.next(LIMIT)? {
            reply if reply == "ok" => Ok(()),
            reply => Err(io::Error::other(reply)),
        }
    }
}

impl Drop for ProcessBackend {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The command line of `backend`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Its name in X-Backend and in what it echoes
    #[arg(long, default_value = "backend")]
    name: String,
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Append-only file in which it notes the requests that it read whole
    #[arg(long, default_value = "/dev/null")]
    log: PathBuf,
    /// How long it works on each answer
    #[arg(long, default_value_t = 0)]
    service_ms: u64,
    /// How it answers; later by a line `fault mode=…` on standard input
    #[arg(long, default_value = "mode=ok", value_name = "mode=…")]
    fault: Behaviour,
}

/// What the process does: serve, and obey its standard input.
pub fn run(args: Args) -> io::Result<()> {
    let executions = Arc::new(Executions::open(args.log)?);
    let mut backend = Backend::start(&args.name, args.port, &executions)?;
    backend.take_time(Duration::from_millis(args.service_ms));
    backend.set(args.fault)?;
    println!("listening on {}", backend.addr());
    for line in io::stdin().lock().lines() {
        let line = line?;
        match obey(&mut backend, line.trim()) {
            Ok(Next::Go) => println!("ok"),
            Ok(Next::Stop) => {
                // The reply comes first: whoever ordered it then waits for the exit.
                println!("ok");
                backend.stop(LIMIT / 2);
                return Ok(());
            }
            Err(why) => println!("error: {why}"),
        }
    }
    Ok(())
}

enum Next {
    Go,
    Stop,
}

fn obey(backend: &mut Backend, line: &str) -> Result<Next, String> {
    match line.split_once(' ') {
        Some(("fault", text)) => {
            backend.set(text.parse()?).map_err(|e| e.to_string())?;
            Ok(Next::Go)
        }
        None if line == "stop" => Ok(Next::Stop),
        _ => Err("`fault mode=…` or `stop`".into()),
    }
}

/// The `tidegate-testbed` binary, for tests: TIDEGATE_TESTBED, or the one beside the running test, or one that is
/// built now, because cargo builds the binaries of a package only for that package's own tests.
///
/// # Panics
/// If it can't be built.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(path) = std::env::var_os("TIDEGATE_TESTBED") {
            return path.into();
        }
        let this = std::env::current_exe().expect("a running program has a path");
        // target/<profile>/deps/test-0123 or target/<profile>/program
        let mut profile = this.parent().expect("a file has a directory");
        if profile.ends_with("deps") {
            profile = profile.parent().expect("deps is in a directory");
        }
        let path = profile.join("tidegate-testbed");
        if !path.exists() {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let target = profile.parent().expect("a profile is in the target directory");
            let mut build = Command::new(cargo);
            build.args(["build", "--quiet", "--package", "tidegate-testbed", "--bin", "tidegate-testbed"]);
            build.current_dir(env!("CARGO_MANIFEST_DIR")).arg("--target-dir").arg(target);
            if profile.ends_with("release") {
                build.arg("--release");
            }
            assert!(build.status().is_ok_and(|s| s.success()), "cannot build {}", path.display());
        }
        path
    })
}

/// Starting, stopping and answering an order take milliseconds; this is for a machine that is very busy.
const LIMIT: Duration = Duration::from_secs(10);
