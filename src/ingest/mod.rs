//! Signals in: watch, intake, merge, receipt. The API server is the buffer: while the ledger does not answer, nothing is read.

mod arrival;
mod beginning;
mod held;
pub mod intake;
mod merge;
mod opening;
pub mod receipt;
mod stream;
mod table;

pub use stream::Ingest;

use crate::ledger::LedgerError;
use crate::runtime::error::{ApiError, Disposition};

/// Why Signals could not be merged. They are kept, and tried again.
#[derive(Debug, thiserror::Error)]
enum IngestError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("the epochs of a storm key are used up: delete its RemediationRequests that lie in the future")]
    NoEpoch,
}

impl IngestError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Ledger(error) => error.disposition(),
            Self::Api(error) => error.disposition(),
            Self::NoEpoch => Disposition::Terminal,
        }
    }
}
