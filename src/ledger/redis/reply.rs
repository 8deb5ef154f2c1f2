//! Replies of the server, read as what they must be.

use redis::{FromRedisValue, Value};

use crate::ledger::LedgerError;

/// One reply, or what a full server says in its place.
pub(super) type CommandReply = Result<Value, LedgerError>;

/// Reads the reply at `index`.
pub(super) fn read<T: FromRedisValue>(replies: &[Value], index: usize) -> Result<T, LedgerError> {
    let unexpected = |what: &str| LedgerError::Unavailable(format!("an answer of Redis cannot be read: {what}"));
    let reply = replies.get(index).ok_or_else(|| unexpected("it is missing"))?;
    redis::from_redis_value_ref(reply).map_err(|error| unexpected(&error.to_string()))
}

/// Registers hold whole numbers below 2^53.
#[expect(clippy::cast_possible_truncation, reason = "registers hold whole numbers below 2^53")]
pub(super) fn whole(score: f64) -> i64 {
    score as i64
}
