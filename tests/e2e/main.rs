//! The operator as it is installed, on a real node: `make e2e` brings one up and applies `manifests/overlays/local`.
//!
//! One at a time: they take the same three pods and the same Redis away.

#![allow(unreachable_pub, reason = "the modules of one test binary")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what is wrong by ending"
)]
#![allow(clippy::disallowed_methods, reason = "which cluster is told by the environment")]
#![allow(clippy::missing_panics_doc, reason = "a test says what is wrong by ending")]

mod disturbed;
mod installation;
#[allow(dead_code, reason = "shared with tests/cluster")]
#[path = "../support/redis_server.rs"]
mod redis_server;
#[allow(dead_code, reason = "shared with tests/cluster")]
#[path = "../cluster/signals.rs"]
mod signals;
mod storm;
mod through_services;
#[path = "../cluster/wait.rs"]
mod wait;
#[allow(dead_code, reason = "shared with tests/cluster")]
#[path = "../cluster/world.rs"]
mod world;
