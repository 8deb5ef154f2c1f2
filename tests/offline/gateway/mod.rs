//! The gateway over real connections, before an API server that is a router of this process.

mod again;
mod answers;
mod connections;
mod examples;
mod grafana;
mod memory;
mod places;
mod polls;
mod tls;
mod world;
