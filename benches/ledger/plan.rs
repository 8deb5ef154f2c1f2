//! How much is measured: everything, or as much as fits in some minutes.

/// See the module.
pub struct Plan {
    /// For the output.
    pub name: &'static str,
    /// Rounds of merges one by one.
    pub merge_rounds: usize,
    /// Rounds of batches.
    pub batch_rounds: usize,
    /// Signals of one cell of batches, at least.
    pub batch_signals: u32,
    /// Storms that are met in random order.
    pub cold_storms: u32,
    /// The same for the 28 KB object: 50,000 of them are 1.6 GB, which measures the machine's memory and not the design.
    pub cold_storms_before: u32,
    /// Storms of a cell of memory, as long as they hold no more than this many occurrences together.
    pub memory_storms: u32,
    /// See above.
    pub memory_occurrences: u32,
    /// `maxmemory` of the server that is filled, in MiB.
    pub fill_mib: u32,
    /// `maxmemory` of the server whose storms come and go, in MiB.
    pub churn_mib: u32,
}

impl Plan {
    /// What the documented figures are taken from.
    pub fn full() -> Self {
        Self {
            name: "full",
            merge_rounds: 5,
            batch_rounds: 3,
            batch_signals: 400_000,
            cold_storms: 50_000,
            cold_storms_before: 10_000,
            memory_storms: 20_000,
            memory_occurrences: 2_000_000,
            fill_mib: 512,
            churn_mib: 256,
        }
    }

    /// The same cells, smaller.
    pub fn quick() -> Self {
        Self {
            name: "quick",
            merge_rounds: 3,
            batch_rounds: 1,
            batch_signals: 100_000,
            cold_storms: 10_000,
            cold_storms_before: 5_000,
            memory_storms: 20_000,
            memory_occurrences: 400_000,
            fill_mib: 64,
            churn_mib: 48,
        }
    }
}
