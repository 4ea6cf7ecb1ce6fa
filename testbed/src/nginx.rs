//! nginx as a process of its own in a private directory: start, reload, kill a worker, quit, and what its log says.
//!
//! One master a value; dropping it ends the master and every worker. A test that panics leaves the directory behind.

use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::error_log::faults;
use crate::nginx_config::Config;
use crate::ports::free_port;
use crate::process::{Leash, Signal, children_of, end, signal, title_of, wait_for, wait_until};
use crate::scratch::Scratch;

/// A running nginx.
pub struct Nginx {
    scratch: Scratch,
    master: Child,
    _leash: Leash,
    addr: SocketAddr,
    killed: Vec<u32>,
}

impl Nginx {
    /// Starts it on a free port of 127.0.0.1 and waits until that accepts; the error holds what nginx said.
    pub fn start(config: &Config) -> Result<Nginx, String> {
        Nginx::start_with(config, &[])
    }

    /// The same with further environment variables, say for sanitizers.
    pub fn start_with(config: &Config, env: &[(&str, &OsStr)]) -> Result<Nginx, String> {
        let binary = binary().ok_or("nginx is not installed")?;
        let scratch = Scratch::new("nginx");
        let port = free_port();
        let conf = write(config, scratch.path(), port)?;
        let stderr = fs::File::create(scratch.path().join("stderr.log")).map_err(|e| e.to_string())?;
        let mut master = command(&binary, scratch.path(), &conf)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(|e| format!("{}: {e}", binary.display()))?;
        let leash = Leash::on(master.id()).map_err(|e| {
            end(&mut master, Signal::TERM, LIMIT);
            format!("sh: {e}")
        })?;
        let mut nginx =
            Nginx { scratch, master, _leash: leash, addr: ([127, 0, 0, 1], port).into(), killed: Vec::new() };
        let mut exited = false;
        let up = wait_until(LIMIT, || {
            exited = nginx.master.try_wait().is_ok_and(|status| status.is_some());
            exited || (TcpStream::connect(nginx.addr).is_ok() && nginx.workers().len() == config.workers)
        });
        if up && !exited { Ok(nginx) } else { Err(format!("nginx did not start:\n{}", nginx.log())) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its directory.
    pub fn prefix(&self) -> &Path {
        self.scratch.path()
    }

    /// The master's process id.
    pub fn master(&self) -> u32 {
        self.master.id()
    }

    /// The workers that accept; those of an older configuration, which only finish what they have, are left out.
    pub fn workers(&self) -> Vec<u32> {
        self.children(|title| title == "nginx: worker process")
    }

    /// The workers of older configurations that still have work.
    pub fn retiring(&self) -> Vec<u32> {
        self.children(|title| title.starts_with("nginx: worker process is shutting down"))
    }

    /// Reloads, with another configuration if there is one; returns when only workers of the new one accept. Those of
    /// the old one may still be finishing.
    pub fn reload(&mut self, config: Option<&Config>) -> Result<(), String> {
        if let Some(config) = config {
            write(config, self.scratch.path(), self.addr.port())?;
        }
        let old = self.workers();
        signal(self.master(), Signal::HUP);
        let renewed = wait_until(LIMIT, || {
            let now = self.workers();
            now.len() >= config.map_or(old.len(), |c| c.workers) && !now.iter().any(|pid| old.contains(pid))
        });
        if renewed { Ok(()) } else { Err(format!("nginx did not reload:\n{}", self.log())) }
    }

    /// Kills one of its workers by SIGKILL and waits until the master has replaced it. The death is a declared one
    /// from then on.
    ///
    /// # Panics
    /// If it isn't one of its workers.
    pub fn kill_worker(&mut self, pid: u32) -> Result<(), String> {
        let before = self.workers();
        assert!(before.contains(&pid) || self.retiring().contains(&pid), "{pid} is no worker of this nginx");
        self.killed.push(pid);
        signal(pid, Signal::KILL);
        let replaced = wait_until(LIMIT, || {
            let now = self.workers();
            now.len() >= before.len() && !now.contains(&pid)
        });
        if replaced { Ok(()) } else { Err(format!("worker {pid} was not replaced:\n{}", self.log())) }
    }

    /// Stops it gracefully; an error if it is still there after a bounded time.
    pub fn quit(&mut self) -> Result<(), String> {
        signal(self.master(), Signal::QUIT);
        wait_for(&mut self.master, LIMIT).map(drop).ok_or_else(|| format!("nginx did not quit:\n{}", self.log()))
    }

    /// error.log and standard error.
    pub fn log(&self) -> String {
        ["error.log", "stderr.log"].map(|name| self.file(name)).concat()
    }

    /// A file of its directory, empty if it isn't there.
    pub fn file(&self, name: &str) -> String {
        let bytes = fs::read(self.scratch.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Lines of the log that betray a fault: alerts, emergencies, deaths by signal that the test did not declare,
    /// sanitizer reports.
    pub fn faults(&self) -> Vec<String> {
        faults(&self.log(), &self.killed).into_iter().map(str::to_owned).collect()
    }

    /// # Panics
    /// If there are `faults`.
    pub fn assert_clean_log(&self) {
        let faults = self.faults();
        assert!(faults.is_empty(), "nginx's log has faults:\n{}", faults.join("\n"));
    }

    fn children(&self, is: impl Fn(&str) -> bool) -> Vec<u32> {
        children_of(self.master()).into_iter().filter(|&pid| is(&title_of(pid))).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // TERM: at once, connections or not.
        end(&mut self.master, Signal::TERM, LIMIT);
    }
}

/// Where nginx is: TIDEGATE_NGINX, PATH, or where systems keep what only root has in its PATH.
pub fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("TIDEGATE_NGINX") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin", "/usr/local/nginx/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|dir| dir.join("nginx")).find(|file| file.is_file())
}

/// `nginx -t`: whether it takes a configuration, and what it says about it.
pub fn nginx_test(config: &Config) -> Result<(bool, String), String> {
    let binary = binary().ok_or("nginx is not installed")?;
    let scratch = Scratch::new("nginx-test");
    let conf = write(config, scratch.path(), free_port())?;
    let Output { status, stdout, stderr } =
        command(&binary, scratch.path(), &conf).arg("-t").output().map_err(|e| e.to_string())?;
    Ok((status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()))
}

fn command(binary: &Path, prefix: &Path, conf: &Path) -> Command {
    let mut command = Command::new(binary);
    // -e: or it complains about the system's error log before it has read the configuration.
    command.arg("-p").arg(prefix).arg("-c").arg(conf).arg("-e").arg(prefix.join("error.log"));
    command
}

fn write(config: &Config, prefix: &Path, port: u16) -> Result<PathBuf, String> {
    let conf = prefix.join("nginx.conf");
    fs::write(&conf, config.render(prefix, port)).map_err(|e| format!("{}: {e}", conf.display()))?;
    Ok(conf)
}

/// For a machine that is very busy; nginx starts and stops in tens of milliseconds.
const LIMIT: Duration = Duration::from_secs(15);
