//! The flags of `stormfold test`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Tests of policies.
#[derive(Args, Debug, Clone)]
pub struct TestFlags {
    /// Test files. Exit code: 0 all tests pass, 1 some fail, 2 something cannot be read.
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    pub files: Vec<PathBuf>,
    /// How to say what became of them.
    #[arg(short, long, default_value = "text")]
    pub output: TestOutput,
    /// Print the JSON schema of a test file, for editors.
    #[arg(long)]
    pub schema: bool,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TestOutput {
    /// For people.
    Text,
    /// For CI systems.
    Junit,
    /// For programs.
    Json,
}
