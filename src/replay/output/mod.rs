//! What a replay prints: tables for people, objects for programs.

mod requests;
mod table;

pub use requests::{request_table, timeline_table};
pub use table::Table;
