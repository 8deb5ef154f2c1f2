//! Tests of policies, as files beside them: alerts over time, and which requests and receipts they come to. Nothing here touches a file.

mod compare;
mod file;
mod report;
mod run;
mod series;

pub use compare::{Difference, DifferenceRow};
pub use file::{TestFile, schema};
pub use report::{TestReport, as_json, as_junit, as_text};
pub use run::{TestResult, run_test};
