//! Waiting on conditions, bounded.

use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine of two cores; a condition that holds ends the wait at once.
pub const LIMIT: Duration = Duration::from_mins(1);

/// Looks until `look` gives a value; panics with its last complaint when the limit is over.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let end = Instant::now() + LIMIT;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(complaint) if Instant::now() > end => panic!("gave up waiting until {what}: {complaint}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
