//! Figures: one line for machines each, and one table for people.

use std::fmt;

use serde_json::json;

/// What the design asks for.
#[derive(Clone, Copy, Debug)]
pub enum Target {
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
    storm: String,
    figure: &'static str,
    value: f64,
    unit: &'static str,
    target: Target,
}

/// All figures of a run.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// One figure, from the values of its rounds: the median counts.
    pub fn figure(&mut self, storm: &str, figure: &'static str, rounds: &[f64], unit: &'static str, target: Target) {
        let value = rounded(median(rounds));
        let rounds: Vec<f64> = rounds.iter().copied().map(rounded).collect();
        let met = target.met(value);
        let target_text = target.to_string();
        println!(
            "bench-storm {}",
            json!({ "storm": storm, "figure": figure, "value": value, "unit": unit, "target": target_text, "met": met, "rounds": rounds })
        );
        self.rows.push(Row { storm: storm.to_owned(), figure, value, unit, target });
    }

    /// The table, storm by storm.
    pub fn print_table(&self) {
        let mut storm = "";
        for row in &self.rows {
            if storm != row.storm {
                storm = &row.storm;
                println!("\n{storm}");
            }
            let verdict = match row.target.met(row.value) {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            println!("  {:<38} {:>11} {:<14} {:<9} {verdict}", row.figure, row.value, row.unit, row.target.to_string());
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
