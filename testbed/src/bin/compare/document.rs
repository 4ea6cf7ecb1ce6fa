//! The report as Markdown: how it was measured, the table, what is lost, every configuration.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tidegate_testbed::Config;

use crate::cell::{PATIENCE, SERVICE, Setting, WARM_UP};
use crate::config;
use crate::fault::Fault;
use crate::figures::Figures;
use crate::gateway::Kind;
use crate::verdict::{RULES, lost, missed};

/// A fault and what each proxy made of it.
pub struct Row {
    pub fault: &'static Fault,
    pub cells: Vec<(Kind, Figures)>,
}

/// All that stands in the report.
pub struct Document<'a> {
    pub setting: &'a Setting,
    pub proxies: &'a [(Kind, String)],
    pub absent: &'a [Kind],
    pub rows: &'a [Row],
    /// Cells without figures, and why.
    pub failed: &'a [String],
    pub remark: &'a str,
    pub took: Duration,
}

impl fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# The same faults before other proxies\n\nWritten by `make compare-report`; not to be edited by hand.\n"
        )?;
        self.method(f)?;
        self.losses(f)?;
        self.table(f)?;
        self.configurations(f)
    }
}

impl Document<'_> {
    fn method(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { rate, length, .. } = self.setting;
        writeln!(f, "## How it was measured\n")?;
        writeln!(
            f,
            "A cell is one fault at one proxy. Each has four fresh backends, which work {} ms on an answer, and a fresh \
             proxy; after {} s without a fault come {} s of open-loop load under it, {rate} requests a second, one in five \
             a POST, on keep-alive connections. Clients check every byte, wait {} s for an answer and send nothing again. \
             The proxies take turns at each fault, in one run of {:.0} minutes; without a fault they take three, and the one in \
             the middle by CPU counts. nginx-least-conn is the same nginx with its other balancer; it takes part where \
             load matters.\n",
            SERVICE.as_millis(),
            WARM_UP.as_secs_f64(),
            length.as_secs_f64(),
            PATIENCE.as_secs(),
            self.took.as_secs_f64() / 60.0
        )?;
        writeln!(f, "- Date: {}", told("date", &["-u", "+%Y-%m-%d %H:%M UTC"]))?;
        writeln!(f, "- Machine: {}", machine())?;
        for (kind, version) in self.proxies {
            writeln!(f, "- {}: {version}", kind.name())?;
        }
        for kind in self.absent {
            writeln!(f, "- {}: **absent**, not compared", kind.name())?;
        }
        for cell in self.failed {
            writeln!(f, "- **Could not be measured**: {}", cell.replace('\n', " "))?;
        }
        if !self.remark.is_empty() {
            writeln!(f, "- {}", self.remark)?;
        }
        writeln!(
            f,
            "\n`make compare` repeats it, `COMPARE=\"--only kill,blackhole --proxies nginx,tidegate\"` a part of it; \
             `make compare-report` writes this page. Single runs scatter: by a request or two in the counts, and by what \
             else the machine does in the times. The column *late* says how many requests the load generator itself could \
             not send within 50 ms of their time; where it isn't 0, the times of that line are not the proxy's alone.\n"
        )
    }

    fn losses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Where Tidegate is not equal to the best or better\n\n{RULES}\n")?;
        let lost: Vec<_> = self.rows.iter().filter_map(|row| Some((row.fault.name, lost(row)?))).collect();
        for (name, columns) in &lost {
            writeln!(f, "- **{name}**: {columns}")?;
        }
        let missed: Vec<_> = self.rows.iter().filter_map(|row| Some((row.fault.name, missed(row)?))).collect();
        let compared = self.rows.iter().filter(|row| row.cells.len() > 1).count();
        writeln!(f, "\n{} of {compared} rows have a column that is lost.\n", lost.len())?;
        writeln!(f, "Goals of its own that Tidegate misses (those of every fault stand in `fault.rs` of the tool):\n")?;
        for (name, columns) in &missed {
            writeln!(f, "- **{name}**: {columns}")?;
        }
        writeln!(f, "\n{} rows miss a goal.\n", missed.len())
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## The table\n")?;
        writeln!(
            f,
            "*Errors* are requests that did not end in a complete 2xx with the right body. *Corrupt*: among them, those \
             with a wrong body under a complete 2xx, or with bytes that are no HTTP. *Twice*: POSTs that backends carried out \
             more than once. *Noticed for*: from the fault's beginning to the last request that failed or took 90 ms \
             and more, before half a second without such; where all come back, from the return to the first good answer. \
             *Attempts*: requests that backends read, for each that a client sent. *CPU*: of all the proxy's processes, us a \
             request; – where one was replaced.\n"
        )?;
        writeln!(
            f,
            "| fault | proxy | GET errors | POST errors | corrupt | twice | over 1 s | noticed for | p50 ms | p99 ms | CPU | attempts | late |"
        )?;
        writeln!(f, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
        for row in self.rows {
            for (i, (kind, cell)) in row.cells.iter().enumerate() {
                let fault = if i == 0 { format!("**{}**: {}", row.fault.name, row.fault.what) } else { String::new() };
                let mark = if *kind == Kind::Tidegate && lost(row).is_some() { " (loses)" } else { "" };
                let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
                writeln!(
                    f,
                    "| {fault} | {}{mark} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.3} | {} |",
                    kind.name(),
                    cell.get_errors,
                    cell.post_errors,
                    cell.corrupt,
                    cell.twice,
                    cell.slow,
                    cell.noticed_text(),
                    ms(cell.p50),
                    ms(cell.p99),
                    cell.cpu_text(),
                    cell.attempts,
                    cell.late
                )?;
            }
        }
        writeln!(f)
    }

    fn configurations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "## The configurations\n\nIn full, with example ports. HAProxy runs as `haproxy -W`, Envoy with `--concurrency 2`. When \
             a worker of theirs is killed, HAProxy's master ends too and Envoy is gone: they are started again after 100 ms, as \
             systemd does by default. A reload is HUP for nginx, USR2 for HAProxy, a hot restart for Envoy.\n"
        )?;
        for (kind, _) in self.proxies {
            let (name, text) = (kind.name(), configuration(*kind, &self.setting.selector));
            writeln!(f, "### {name}\n\n```\n{}\n```\n", text.trim_end())?;
        }
        Ok(())
    }
}

fn configuration(kind: Kind, selector: &str) -> String {
    let peers: Vec<_> = (9001..9005).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
    let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
    let plain = |config: Config| config.render(Path::new("/run/compare"), listen.port());
    match kind {
        Kind::Nginx => plain(config::nginx(Config::plain(), "", &peers)),
        Kind::LeastConn => plain(config::nginx(Config::plain(), "least_conn;", &peers)),
        Kind::Tidegate => {
            let module = Some("modules/ngx_http_tidegate_module.so".into());
            plain(config::tidegate(Config { module, ..Config::plain() }, selector, &peers))
        }
        Kind::Haproxy => config::haproxy(listen, Path::new("/run/compare/stats"), &peers),
        Kind::Envoy => config::envoy(listen, &peers),
    }
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = info.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let models: Vec<_> = models.map(|(_, model)| model).collect();
    let model = models.first().copied().unwrap_or("unknown CPU");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<_> = load.split(' ').take(3).collect();
    format!("{} × {model}, Linux {}; load averages at the end {}", models.len(), told("uname", &["-r"]), load.join(" "))
}

/// What a command prints, or that it didn't.
fn told(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    output.map_or("unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
