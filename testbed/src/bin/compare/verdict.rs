//! Where Tidegate is not equal to the best or better, by rules that stand here and in the report.

use std::time::Duration;

use crate::document::Row;
use crate::fault::Expect;
use crate::figures::Figures;
use crate::gateway::Kind;

/// One line for each fault with a lost column.
pub fn losses(rows: &[Row]) -> Vec<String> {
    rows.iter().filter_map(|row| lost(row).map(|columns| format!("{}: {columns}", row.fault.name))).collect()
}

/// The columns in which Tidegate loses, with both figures; none if it loses in none, or nothing was compared.
pub fn lost(row: &Row) -> Option<String> {
    let ours = row.cells.iter().find(|(kind, _)| *kind == Kind::Tidegate).map(|(_, figures)| figures)?;
    let others: Vec<_> = row.cells.iter().filter(|(kind, _)| *kind != Kind::Tidegate).collect();
    if others.is_empty() {
        return None;
    }
    let mut lost = Vec::new();
    let mut compare =
        |name: &str, of: &dyn Fn(&Figures) -> f64, allowed: &dyn Fn(f64) -> f64, text: &dyn Fn(&Figures) -> String| {
            let (kind, best) = others.iter().min_by(|a, b| of(&a.1).total_cmp(&of(&b.1))).expect("one at least");
            if of(ours) > allowed(of(best)) {
                lost.push(format!("{name} {} ({}: {})", text(ours), kind.name(), text(best)));
            }
        };
    let none = |best: f64| best;
    compare("GET errors", &|f| f.get_errors as f64, &none, &|f| f.get_errors.to_string());
    compare("POST errors", &|f| f.post_errors as f64, &none, &|f| f.post_errors.to_string());
    compare("corrupt", &|f| f.corrupt as f64, &none, &|f| f.corrupt.to_string());
    compare("POSTs twice", &|f| f.twice as f64, &none, &|f| f.twice.to_string());
    compare("over 1 s", &|f| f.slow as f64, &none, &|f| f.slow.to_string());
    let seconds = |f: &Figures| f.noticed.unwrap_or(Duration::MAX / 2).as_secs_f64();
    compare("noticed for", &seconds, &|best| best + NOTICED_S, &Figures::noticed_text);
    let p99 = |f: &Figures| f.p99.as_secs_f64() * 1e3;
    compare("p99", &p99, &|best| best * P99_FACTOR + P99_MS, &|f| format!("{:.0} ms", p99(f)));
    if row.fault.expect == Expect::Unavailable {
        compare("attempts", &|f| f.attempts, &|best| best + 0.02, &|f| format!("{:.2}", f.attempts));
    }
    if row.fault.name == "none" {
        let cpu = |f: &Figures| f.cpu_us.unwrap_or(f64::MAX);
        compare("CPU", &cpu, &|best| best * CPU_FACTOR, &|f| format!("{} us", f.cpu_text()));
    }
    (!lost.is_empty()).then(|| lost.join(", "))
}

/// The rules in words.
pub const RULES: &str = "Counts lose by one more than the best other proxy has. \"Noticed for\" loses by more than 0.1 s, p99 by \
more than a fifth and 5 ms, attempts (only where all answer 503) by more than 0.02 a request, CPU (only without a fault) \
by more than 3 %.";

const NOTICED_S: f64 = 0.1;
const P99_FACTOR: f64 = 1.2;
const P99_MS: f64 = 5.0;
const CPU_FACTOR: f64 = 1.03;
