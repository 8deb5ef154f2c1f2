//! `stormfold test`: test files in, what became of them out.

use std::path::{Path, PathBuf};

use super::files::{FileFault, policies};
use super::{CommandResult, Exit};
use crate::policy_tests::{TestFile, TestReport, as_json, as_junit, as_text, run_test, schema};
use crate::replay::yaml_fault;
use crate::settings::{TestFlags, TestOutput};

/// Runs the tests of files.
pub fn test(flags: &TestFlags) -> CommandResult {
    if flags.schema {
        return CommandResult { output: schema(), remarks: Vec::new(), exit: Exit::Fine };
    }
    let reports: Result<Vec<TestReport>, FileFault> = flags.files.iter().map(|file| run_file(file)).collect();
    let reports = match reports {
        Ok(reports) => reports,
        Err(fault) => return CommandResult::bad_input(&fault),
    };
    let output = match flags.output {
        TestOutput::Text => as_text(&reports),
        TestOutput::Junit => as_junit(&reports),
        TestOutput::Json => as_json(&reports),
    };
    let failed = reports.iter().any(|report| report.failed() > 0);
    CommandResult { output, remarks: Vec::new(), exit: if failed { Exit::Failed } else { Exit::Fine } }
}

fn run_file(path: &Path) -> Result<TestReport, FileFault> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: cannot be read: {error}"))?;
    let file: TestFile = serde_saphyr::from_str(&text).map_err(|fault| {
        let (line, words) = yaml_fault(&fault);
        format!("{name}:{line}: {words}")
    })?;
    if file.tests.is_empty() {
        return Err(format!("{name}: tests is empty: there is nothing to run"));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let paths: Vec<PathBuf> = file.policies.iter().map(|policy| folder.join(policy)).collect();
    let policies = policies(&paths).map_err(|fault| format!("{name}: policies: {fault}"))?;
    let mut tests = Vec::new();
    for test in &file.tests {
        let result = run_test(&file, test, &policies);
        tests.push(result.map_err(|fault| format!("{name}: test {:?}: {fault}", test.name))?);
    }
    Ok(TestReport { file: name, tests })
}
