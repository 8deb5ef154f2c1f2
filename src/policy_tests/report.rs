//! What became of tests: for people, for CI systems that read JUnit, for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::compare::{Difference, DifferenceRow};
use super::run::TestResult;

/// The tests of one file.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// As it was named.
    pub file: String,
    /// One for each test.
    pub tests: Vec<TestResult>,
}

impl TestReport {
    /// How many failed.
    pub fn failed(&self) -> usize {
        self.tests.iter().filter(|test| !test.differences.is_empty()).count()
    }
}

/// For people: what is expected and what is seen, side by side.
pub fn as_text(reports: &[TestReport]) -> String {
    let mut text = String::new();
    for TestReport { file, tests } in reports {
        for test in tests {
            let word = if test.differences.is_empty() { "ok  " } else { "FAIL" };
            let _ = writeln!(text, "{word} {file}: {}", test.name);
            test.differences.iter().for_each(|difference| text.push_str(&side_by_side(difference)));
        }
    }
    let (all, failed) = sums(reports);
    let _ = writeln!(text, "{} passed, {failed} failed", all - failed);
    text
}

fn sums(reports: &[TestReport]) -> (usize, usize) {
    (reports.iter().map(|report| report.tests.len()).sum(), reports.iter().map(TestReport::failed).sum())
}

fn side_by_side(Difference { after, of, rows }: &Difference) -> String {
    let heading = DifferenceRow { field: "", expected: "expected".to_owned(), seen: "seen".to_owned() };
    let all = || std::iter::once(&heading).chain(rows);
    let width = |cell: fn(&DifferenceRow) -> &str| all().map(|row| cell(row).chars().count()).max().unwrap_or_default();
    let (field, expected) = (width(|row| row.field), width(|row| &row.expected));
    let mut text = format!("       after {after}, {of}\n");
    for row in all() {
        let mark = if row.is_equal() || row.field.is_empty() { ' ' } else { '!' };
        let line = format!("     {mark} {:field$}   {:expected$}   {}", row.field, row.expected, row.seen);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// For programs.
pub fn as_json(reports: &[TestReport]) -> String {
    let test = |test: &TestResult| json!({ "name": test.name, "passed": test.differences.is_empty(), "differences": test.differences });
    let report = |report: &TestReport| json!({ "file": report.file, "tests": report.tests.iter().map(test).collect::<Vec<Value>>() });
    let (all, failed) = sums(reports);
    let files: Vec<Value> = reports.iter().map(report).collect();
    format!("{:#}\n", json!({ "passed": all - failed, "failed": failed, "files": files }))
}

/// For CI systems.
pub fn as_junit(reports: &[TestReport]) -> String {
    let (all, failed) = sums(reports);
    let mut xml =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{all}\" failures=\"{failed}\">\n");
    for report in reports {
        let (name, tests, failed) = (escaped(&report.file), report.tests.len(), report.failed());
        let _ = writeln!(xml, "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failed}\">");
        for test in &report.tests {
            let test_name = escaped(&test.name);
            if test.differences.is_empty() {
                let _ = writeln!(xml, "    <testcase classname=\"{name}\" name=\"{test_name}\"/>");
                continue;
            }
            let told: String = test.differences.iter().map(side_by_side).collect();
            let first = &test.differences[0];
            let message = escaped(&format!("after {}, {} is not as expected", first.after, first.of));
            let _ = writeln!(xml, "    <testcase classname=\"{name}\" name=\"{test_name}\">");
            let _ = writeln!(xml, "      <failure message=\"{message}\">\n{}      </failure>", escaped(&told));
            xml.push_str("    </testcase>\n");
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// Text within XML, which has no place for control characters.
fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\n' => xml.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => xml.push('\u{fffd}'),
            c => xml.push(c),
        }
    }
    xml
}
