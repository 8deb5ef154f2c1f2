//! Severity with its order: a storm shows the highest it has seen.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad it is, as the alert's author says.
// In the order of the schema: the order of severities is that of their ranks.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody is woken.
    Critical,
    /// Broken, can wait for the morning.
    Error,
    /// May break.
    #[default]
    Warning,
    /// For the record.
    Info,
}

/// `Critical` is the greatest.
impl Ord for Severity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Severity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_severities_are_those_of_the_api_and_their_order_is_that_of_their_ranks() {
        let all = [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical];
        assert!(all.is_sorted() && all[0] < all[3]);
        for severity in all {
            assert_eq!(serde_json::to_value(severity).unwrap(), severity.as_str());
            assert_eq!(Severity::from_rank(severity.rank()), severity);
        }
    }
}
