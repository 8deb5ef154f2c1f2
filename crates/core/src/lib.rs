//! What a storm is and what happens to it: rules and protocol without I/O.
//!
//! Nothing here knows a Kubernetes client, a Redis, a runtime or a clock: everything is a function of its arguments.

pub mod disposition;
pub mod engine;
pub mod ledger;
pub mod request;
pub mod rules;
pub mod storm;
