//! Stormfold folds an alert storm into one `RemediationRequest`.
//!
//! The way of the data: `watch` (Signals in) → the engine of `stormfold_core`, which decides → `driver`, which carries out what it
//! decides: calls to the `ledger` (what each storm has brought) and to the `cluster` (`RemediationRequest`s, receipts). `sources`
//! make Signals of what others report. ARCHITECTURE.md has the map; `storm` has the meaning.

pub mod admin;
pub mod admission;
pub mod app;
pub mod cli;
pub mod cluster;
pub mod driver;
pub mod inbox;
pub mod kubectl;
pub mod ledger;
pub mod metrics;
pub mod policies;
pub mod policy_tests;
pub mod replay;
pub mod retention;
pub mod runtime;
pub mod settings;
pub mod sources;
pub mod telemetry;
pub mod watch;

/// The custom resources: schemas, bounds, conditions, and what they say of a storm.
pub use stormfold_api as api;
/// What a storm is, and its rules.
pub use stormfold_core::storm;
