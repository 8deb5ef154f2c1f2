//! The commands that need no cluster: they read files, and say what they found as an [`CommandResult`], which `main` prints.

mod files;
mod policy_tests;
mod replay;

pub use policy_tests::test;
pub use replay::replay;

/// What a command comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandResult {
    /// For the standard output.
    pub output: String,
    /// For the standard error, line by line.
    pub remarks: Vec<String>,
    /// How it went.
    pub exit: Exit,
}

/// How a command went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As wanted.
    Fine,
    /// Something was found, or something failed.
    Failed,
    /// What was given cannot be used: arguments, or files.
    BadInput,
}

impl Exit {
    /// For the process.
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::BadInput => 2,
        }
    }
}

impl CommandResult {
    fn bad_input(error: &dyn std::fmt::Display) -> Self {
        Self { output: String::new(), remarks: vec![format!("error: {error}")], exit: Exit::BadInput }
    }

    fn failed(error: &dyn std::fmt::Display) -> Self {
        Self { exit: Exit::Failed, ..Self::bad_input(error) }
    }
}
