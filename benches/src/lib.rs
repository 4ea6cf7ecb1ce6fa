//! What the benches share: their Criterion settings, a deterministic generator, and the table of ratios.
//!
//! Criterion's defaults take minutes a bench. Here each measures for half a second, and what it measured is read back
//! from its own files for the table that ends a run: ours beside the rivals, minimum, median and maximum of the samples
//! in nanoseconds, and the ratio of the medians, losses included.

pub mod rivals;

use criterion::Criterion;
use std::path::Path;
use std::time::Duration;

/// Settings under which all of `make bench` stays below six minutes.
pub fn criterion() -> Criterion {
    let c = Criterion::default().sample_size(15).without_plots().nresamples(2000);
    c.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400))
}

/// A deterministic generator (splitmix64): every run measures the same data.
pub struct Random(pub u64);

impl Random {
    /// 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Prints the machine and, for each workload, ours against each rival: `workloads` are names of Criterion groups, in
/// which `ours` and `rivals` are names of benches. What was not measured in this run (a filter was given) is left out.
pub fn print_ratios(workloads: &[String], ours: &[&str], rivals: &[&str]) {
    println!("\n{}", machine());
    println!("{:<34} {:<22} {:>9} {:>9} {:>9}  ratio: rival / ours", "workload", "ns", "min", "median", "max");
    for workload in workloads {
        for name in ours.iter().chain(rivals) {
            let Some([min, median, max]) = samples(workload, name) else { continue };
            let mut ratios = String::new();
            if ours.contains(name) {
                for rival in rivals {
                    if let Some([_, theirs, _]) = samples(workload, rival) {
                        ratios += &format!("  {rival} {:.2}", theirs / median);
                    }
                }
            }
            println!("{workload:<34} {name:<22} {min:>9.1} {median:>9.1} {max:>9.1}{ratios}");
        }
    }
}

/// Minimum, median and maximum of a bench's samples in nanoseconds an iteration.
fn samples(group: &str, name: &str) -> Option<[f64; 3]> {
    let target =
        std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target").into());
    let file = Path::new(&target).join("criterion").join(group).join(name).join("new/sample.json");
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    let list = |key: &str| -> Option<Vec<f64>> { json.get(key)?.as_array()?.iter().map(|v| v.as_f64()).collect() };
    let mut each: Vec<f64> = list("times")?.iter().zip(list("iters")?).map(|(time, iters)| time / iters).collect();
    each.sort_by(f64::total_cmp);
    Some([*each.first()?, each[each.len() / 2], *each.last()?])
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or(": unknown")
        .trim_start_matches(['\t', ':', ' ']);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rustc = std::process::Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    format!("{model}, {cores} cores, {rustc}")
}
