//! Where Tidegate is not equal to the best or better, by rules that stand here and in the report.

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
    let columns: Vec<_> = COLUMNS.iter().filter_map(|column| column.lost(row, ours)).collect();
    (!columns.is_empty()).then(|| columns.join(", "))
}

/// The goals of a fault that Tidegate's line misses: what stands there, and the most that should.
pub fn missed(row: &Row) -> Option<String> {
    let ours = row.cells.iter().find(|(kind, _)| *kind == Kind::Tidegate).map(|(_, figures)| figures)?;
    let goals = row.fault.goals.iter().map(|(name, most)| (column(name), *most));
    let missed = goals.filter(|(column, most)| (column.of)(ours) > *most);
    let lines: Vec<_> = missed.map(|(c, most)| format!("{} {} (goal: {most})", c.name, (c.text)(ours))).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// # Panics
/// If there is none.
fn column(name: &str) -> &'static Column {
    COLUMNS.iter().find(|column| column.name == name).expect("a goal names a column")
}

/// A column that can be lost.
struct Column {
    name: &'static str,
    /// Less is better.
    of: fn(&Figures) -> f64,
    /// How much ours may be above the best of the others; none where the column isn't compared.
    allowed: fn(best: f64, row: &Row) -> Option<f64>,
    text: fn(&Figures) -> String,
    /// Only beside others that have no more errors: it is easy to be fast with errors.
    among_equals: bool,
}

impl Column {
    fn lost(&self, row: &Row, ours: &Figures) -> Option<String> {
        let rivals = row.cells.iter().filter(|(kind, _)| *kind != Kind::Tidegate);
        let equals = rivals.filter(|(_, rival)| !self.among_equals || rival.errors() <= ours.errors());
        let (kind, best) = equals.min_by(|a, b| (self.of)(&a.1).total_cmp(&(self.of)(&b.1)))?;
        let most = (self.of)(best) + (self.allowed)((self.of)(best), row)?;
        let line = || format!("{} {} ({}: {})", self.name, (self.text)(ours), kind.name(), (self.text)(best));
        ((self.of)(ours) > most).then(line)
    }
}

const COLUMNS: &[Column] = &[
    Column {
        name: "GET errors",
        of: |f| f.get_errors as f64,
        allowed: |best, row| Some(row.fault.chance[0] as f64 + best * 0.1),
        text: |f| f.get_errors.to_string(),
        among_equals: false,
    },
    Column {
        name: "POST errors",
        of: |f| f.post_errors as f64,
        allowed: |best, row| Some(row.fault.chance[1] as f64 + best * 0.1),
        text: |f| f.post_errors.to_string(),
        among_equals: false,
    },
    Column {
        name: "errors",
        of: |f| f.errors() as f64,
        // The two before say it.
        allowed: |_, _| None,
        text: |f| f.errors().to_string(),
        among_equals: false,
    },
    Column {
        name: "corrupt",
        of: |f| f.corrupt as f64,
        allowed: |_, _| Some(0.0),
        text: |f| f.corrupt.to_string(),
        among_equals: false,
    },
    Column {
        name: "POSTs twice",
        of: |f| f.twice as f64,
        allowed: |_, _| Some(0.0),
        text: |f| f.twice.to_string(),
        among_equals: false,
    },
    Column {
        name: "over 1 s",
        of: |f| f.slow as f64,
        allowed: |best, _| Some(best * 0.1),
        text: |f| f.slow.to_string(),
        among_equals: false,
    },
    Column {
        name: "noticed for",
        of: |f| f.noticed.map_or(f64::MAX, |time| time.as_secs_f64()),
        // Where single failures come by chance, so does the half second without one.
        allowed: |_, row| (row.fault.chance[0] == 0).then_some(0.1),
        text: Figures::noticed_text,
        among_equals: true,
    },
    Column {
        name: "p99",
        of: |f| f.p99.as_secs_f64() * 1e3,
        allowed: |best, _| Some(best * 0.2 + 5.0),
        text: |f| format!("{:.0} ms", f.p99.as_secs_f64() * 1e3),
        among_equals: true,
    },
    Column {
        name: "attempts",
        of: |f| f.attempts,
        allowed: |_, row| (row.fault.expect == Expect::Unavailable).then_some(0.02),
        text: |f| format!("{:.2}", f.attempts),
        among_equals: true,
    },
    Column {
        name: "CPU",
        of: |f| f.cpu_us.unwrap_or(f64::MAX),
        allowed: |best, row| (row.fault.name == "none").then_some(best * 0.03),
        text: |f| format!("{} us", f.cpu_text()),
        among_equals: false,
    },
];

/// The rules in words.
pub const RULES: &str = "Corrupt answers and POSTs twice lose by one more than the best other proxy has, errors and requests over \
1 s by more than a tenth. Some errors are left to chance, because single requests were under way when connections were \
cut, or because the backend draws lots: so many more don't lose (kill, \
dropped-syns, rst-on-accept: 1 POST; three-dead 3; flapping 6; worker-killed 6 GETs and 3 POSTs; 500-5-percent 8 and 4). \
Beside proxies that have no more errors: *noticed for* loses by more than 0.1 s (not compared in the last two), p99 by \
more than a fifth and 5 ms, attempts (only where all answer 503) by more than 0.02 a request. CPU (only without a \
fault) loses by more than 3 %.";

#[cfg(test)]
mod tests {
    use super::column;
    use crate::fault::FAULTS;

    #[test]
    fn goals_name_columns() {
        FAULTS.iter().flat_map(|fault| fault.goals).for_each(|(name, _)| drop(column(name).name.to_owned()));
    }
}
