//! Figures: one line for machines each, and one table for people.

use std::fmt;

use serde_json::json;

/// What the design asks for.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    #[allow(dead_code, reason = "not every benchmark has one of each")]
    AtLeast(f64),
    AtMost(f64),
    /// Nothing is promised; reported because the other figures are read with it.
    None,
}

impl Target {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(bound) => Some(value >= bound),
            Self::AtMost(bound) => Some(value <= bound),
            Self::None => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, ">={bound}"),
            Self::AtMost(bound) => write!(f, "<={bound}"),
            Self::None => f.write_str("-"),
        }
    }
}

struct Row {
    cell: String,
    figure: &'static str,
    value: f64,
    /// The smallest and the largest of the rounds, where there was more than one.
    range: Option<(f64, f64)>,
    unit: &'static str,
    target: Target,
}

/// All figures of a run.
pub struct Report {
    /// Begins each line for machines.
    benchmark: &'static str,
    rows: Vec<Row>,
}

impl Report {
    /// An empty one.
    pub fn new(benchmark: &'static str) -> Self {
        Self { benchmark, rows: Vec::new() }
    }

    /// One figure of a cell (what was measured, and how), from the values of its rounds: the median counts.
    pub fn figure(&mut self, cell: &str, figure: &'static str, rounds: &[f64], unit: &'static str, target: Target) {
        let value = rounded(median(rounds));
        let rounds: Vec<f64> = rounds.iter().copied().map(rounded).collect();
        let met = target.met(value);
        let target_text = target.to_string();
        println!(
            "{} {}",
            self.benchmark,
            json!({ "cell": cell, "figure": figure, "value": value, "unit": unit, "target": target_text, "met": met, "rounds": rounds })
        );
        let range = (rounds.len() > 1).then(|| rounds.iter().fold((value, value), |(a, b), x| (a.min(*x), b.max(*x))));
        self.rows.push(Row { cell: cell.to_owned(), figure, value, range, unit, target });
    }

    /// The table, cell by cell.
    pub fn print_table(&self) {
        let mut cell = "";
        for row in &self.rows {
            if cell != row.cell {
                cell = &row.cell;
                println!("\n{cell}");
            }
            let verdict = match row.target.met(row.value) {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            let range = row.range.map(|(least, most)| format!("{least} to {most}")).unwrap_or_default();
            let target = row.target.to_string();
            println!("  {:<38} {:>11} {:<14} {target:<9} {verdict:<6} {range}", row.figure, row.value, row.unit);
        }
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.as_slice() {
        [] => f64::NAN,
        all if all.len() % 2 == 1 => all[middle],
        all => f64::midpoint(all[middle - 1], all[middle]),
    }
}

/// Three significant places behind the point are more than the machine repeats.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
