//! Severity with its order: a storm shows the highest it has seen.

/// How bad it is; `Critical` is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For the record.
    Info,
    /// May break.
    Warning,
    /// Broken, can wait for the morning.
    Error,
    /// Somebody is woken.
    Critical,
}
