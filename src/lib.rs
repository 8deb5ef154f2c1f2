//! Stormfold folds an alert storm into one `RemediationRequest`.
//!
//! The way of the data: `ingest` (Signals → ledger) → `ledger` (what each storm has brought) → `publish`
//! (ledger → `RemediationRequest`). `gateway` makes Signals of Alertmanager's webhooks. ARCHITECTURE.md has the map; `storm` has the meaning.

pub mod admin;
pub mod app;
pub mod gateway;
pub mod ingest;
pub mod ledger;
pub mod metrics;
pub mod policies;
pub mod publish;
pub mod retention;
pub mod runtime;
pub mod settings;
pub mod telemetry;

/// The custom resources: schemas, bounds, conditions, and what they say of a storm.
pub use stormfold_api as api;
/// What a storm is, and its rules.
pub use stormfold_core::storm;
