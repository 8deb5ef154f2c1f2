//! Severity with its order: a storm shows the highest it has seen.

use serde::{Deserialize, Serialize};

/// How bad it is; `Critical` is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

impl Severity {
    /// Its place in the order, from 0.
    pub fn rank(self) -> i64 {
        match self {
            Self::Info => 0,
            Self::Warning => 1,
            Self::Error => 2,
            Self::Critical => 3,
        }
    }

    /// As in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// The severity of this rank, or the nearest.
    pub fn from_rank(rank: i64) -> Self {
        match rank {
            ..=0 => Self::Info,
            1 => Self::Warning,
            2 => Self::Error,
            3.. => Self::Critical,
        }
    }
}
