//! Tests that need nothing but this process: guards over the tree, and a scripted API server for call order and faults.

#![allow(unreachable_pub, reason = "the modules of one test binary")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what is wrong by ending"
)]
#![allow(clippy::disallowed_methods, reason = "how much to test, and on what, is told by the environment")]
#![allow(clippy::missing_panics_doc, clippy::float_cmp, reason = "counts are small whole numbers")]

mod alerts;
mod bounds;
mod calls;
mod closing;
mod crds;
mod docs;
mod faults;
mod gateway;
mod guards;
mod hand;
mod ingesting;
mod leading;
mod ledger;
mod pacing;
mod press;
mod publishing;
mod receipts;
mod redis_connection;
mod redis_endpoint;
mod redis_log;
#[path = "../support/redis_server.rs"]
mod redis_server;
mod redis_server_checks;
mod redis_world;
mod replay;
mod script;
mod targets;
