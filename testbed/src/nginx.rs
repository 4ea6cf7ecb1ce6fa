//! nginx as a process of its own in a private directory: start, reload, kill a worker, upgrade, restart, quit, and what
//! its log says.
//!
//! In the foreground, or as a daemon, which alone takes a new binary. One nginx a value, two masters while a binary
//! takes over; dropping it ends them and every worker. A test that panics leaves the directory behind.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::error_log::faults;
use crate::master::Master;
use crate::nginx_config::Config;
use crate::ports::free_port;
use crate::process::{Signal, adopt_orphans, children_of, is_gone, signal, title_of, wait_for, wait_until};
use crate::scratch::Scratch;

/// A running nginx.
pub struct Nginx {
    scratch: Scratch,
    /// One; two while a new binary takes over, the old one first.
    masters: Vec<Master>,
    addr: SocketAddr,
    env: Vec<(String, OsString)>,
    killed: Vec<u32>,
}

impl Nginx {
    /// Starts it on a free port of 127.0.0.1 and waits until that accepts; the error holds what nginx said.
    pub fn start(config: &Config) -> Result<Nginx, String> {
        Nginx::start_with(config, &[])
    }

    /// The same with further environment variables, say for sanitizers.
    pub fn start_with(config: &Config, env: &[(&str, &OsStr)]) -> Result<Nginx, String> {
        let scratch = Scratch::new("nginx");
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let env: Vec<_> = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let masters = vec![launch(config, scratch.path(), addr, &env)?];
        let mut nginx = Nginx { scratch, masters, addr, env, killed: Vec::new() };
        nginx.wait_for_workers(config.workers)?;
        Ok(nginx)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its directory.
    pub fn prefix(&self) -> &Path {
        self.scratch.path()
    }

    /// The master's process id; of two the new one's.
    pub fn master(&self) -> u32 {
        self.masters.last().expect("one at least").id()
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
        if self.current().wait(LIMIT) { Ok(()) } else { Err(format!("nginx did not quit:\n{}", self.log())) }
    }

    /// Stops it gracefully and starts it again in the same place, with another configuration if there is one. In
    /// between connections are refused.
    pub fn restart(&mut self, config: &Config) -> Result<(), String> {
        self.quit()?;
        self.masters = vec![launch(config, self.scratch.path(), self.addr, &self.env)?];
        self.wait_for_workers(config.workers)
    }

    /// Kills the master and every worker by SIGKILL, and starts it again in the same place.
    pub fn crash(&mut self, config: &Config) -> Result<(), String> {
        let workers = children_of(self.master());
        // The master first, or it would replace them.
        for &pid in [self.master()].iter().chain(&workers) {
            signal(pid, Signal::KILL);
        }
        if !self.current().wait(LIMIT) || !wait_until(LIMIT, || workers.iter().all(|&pid| is_gone(pid))) {
            return Err(format!("nginx is not dead:\n{}", self.log()));
        }
        // It speaks of the dead.
        let _ = fs::remove_file(self.scratch.path().join("nginx.pid"));
        self.masters = vec![launch(config, self.scratch.path(), self.addr, &self.env)?];
        self.wait_for_workers(config.workers)
    }

    /// Starts a new binary beside the old one (USR2), with another configuration if there is one, and waits for its
    /// workers: both serve when this returns. For daemons.
    pub fn upgrade(&mut self, config: &Config) -> Result<(), String> {
        assert!(config.daemon && self.masters.len() == 1, "only a daemon, and one upgrade at a time");
        write(config, self.scratch.path(), self.addr.port())?;
        let old = self.master();
        signal(old, Signal::USR2);
        let mut new = None;
        wait_until(LIMIT, || {
            new = pid_in(&self.scratch.path().join("nginx.pid")).filter(|&new| new != old);
            new.is_some() && pid_in(&self.scratch.path().join("nginx.pid.oldbin")) == Some(old)
        });
        let new = new.ok_or_else(|| format!("no new binary took over:\n{}", self.log()))?;
        self.masters.push(Master::adopt(new)?);
        self.wait_for_workers(config.workers)
    }

    /// Sends the old binary home: WINCH, so that its workers finish, then QUIT.
    pub fn retire_former(&mut self) -> Result<(), String> {
        let former = self.finish_former()?;
        signal(former, Signal::QUIT);
        if !self.masters[0].wait(LIMIT) {
            return Err(format!("the old binary stays:\n{}", self.log()));
        }
        self.masters.remove(0);
        Ok(())
    }

    /// Takes an upgrade back whose old binary had been told to finish: HUP, so that it starts workers again, then QUIT
    /// to the new one.
    pub fn take_back(&mut self) -> Result<(), String> {
        let (former, count) = (self.finish_former()?, self.workers().len());
        signal(former, Signal::HUP);
        signal(self.master(), Signal::QUIT);
        let ended = self.current().wait(LIMIT);
        // Its id is in the file again when it has seen the other's end: another upgrade may follow then.
        if !ended || !wait_until(LIMIT, || pid_in(&self.scratch.path().join("nginx.pid")) == Some(former)) {
            return Err(format!("the new binary stays:\n{}", self.log()));
        }
        self.masters.pop();
        self.wait_for_workers(count)
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

    fn wait_for_workers(&mut self, count: usize) -> Result<(), String> {
        let mut ended = false;
        let up = wait_until(LIMIT, || {
            ended = self.current().has_ended();
            ended || (TcpStream::connect(self.addr).is_ok() && self.workers().len() == count)
        });
        if up && !ended { Ok(()) } else { Err(format!("nginx did not start:\n{}", self.log())) }
    }

    /// Lets the old binary's workers finish, and waits for that; the id of its master, which stays.
    fn finish_former(&self) -> Result<u32, String> {
        assert!(self.masters.len() == 2, "there is no former binary");
        let former = self.masters[0].id();
        signal(former, Signal::WINCH);
        let finished = wait_until(LIMIT, || children_of(former).iter().all(|&pid| pid == self.master()));
        if finished { Ok(former) } else { Err(format!("old workers stay:\n{}", self.log())) }
    }

    fn current(&mut self) -> &mut Master {
        self.masters.last_mut().expect("one at least")
    }

    fn children(&self, is: impl Fn(&str) -> bool) -> Vec<u32> {
        children_of(self.master()).into_iter().filter(|&pid| is(&title_of(pid))).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.masters.clear();
        // A new binary whose id was never learnt: its parents gone, it is ours, and its command line names our file.
        let conf = self.scratch.path().join("nginx.conf").display().to_string();
        for pid in children_of(std::process::id()).into_iter().filter(|&pid| title_of(pid).contains(&conf)) {
            drop(Master::adopt(pid));
        }
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

fn launch(config: &Config, prefix: &Path, addr: SocketAddr, env: &[(String, OsString)]) -> Result<Master, String> {
    // By its whole path: that is what it starts a new binary by.
    let binary = std::path::absolute(binary().ok_or("nginx is not installed")?).map_err(|e| e.to_string())?;
    let conf = write(config, prefix, addr.port())?;
    let stderr = fs::File::options().create(true).append(true).open(prefix.join("stderr.log"));
    if config.daemon {
        adopt_orphans().map_err(|e| e.to_string())?;
    }
    let mut child = command(&binary, prefix, &conf)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr.map_err(|e| e.to_string())?)
        .spawn()
        .map_err(|e| format!("{}: {e}", binary.display()))?;
    if !config.daemon {
        return Master::of(child);
    }
    let failed = || {
        let said = ["error.log", "stderr.log"].map(|name| fs::read_to_string(prefix.join(name)).unwrap_or_default());
        format!("nginx did not start:\n{}", said.concat())
    };
    // What we started leaves the master behind.
    if !wait_for(&mut child, LIMIT).is_some_and(|status| status.success()) {
        return Err(failed());
    }
    let mut pid = None;
    wait_until(LIMIT, || {
        pid = pid_in(&prefix.join("nginx.pid"));
        pid.is_some()
    });
    Master::adopt(pid.ok_or_else(failed)?)
}

fn pid_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
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
