//! Which Signals are stored already, as far as this process was told by the API server.
//!
//! A body may become more Signals than can be created in the time of one request. Alertmanager sends it again, and if the API server
//! were asked again for each that is stored (instead of once for all of them, see `series`), the time would be over at the same place: the last ones would never be stored.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::super::draft::Draft;

/// So many are remembered: a few megabytes. What is beyond is asked for again.
const MOST: usize = 32_768;

/// The names of Signals that are stored already.
#[derive(Default)]
pub(super) struct StoredSignals(Mutex<StoredNames>);

#[derive(Default)]
struct StoredNames {
    /// The five minutes that all of them are of: in others, no name comes again.
    bucket: i64,
    /// The namespace of each, by its name, which says all that it reports.
    namespaces: HashMap<String, String>,
}

impl StoredSignals {
    /// Where this Signal is stored.
    pub(super) fn namespace(&self, draft: &Draft) -> Option<String> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).namespaces.get(&draft.name).cloned()
    }

    /// It is stored here.
    pub(super) fn add(&self, draft: &Draft, namespace: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.bucket != draft.shared.bucket {
            *state = StoredNames { bucket: draft.shared.bucket, namespaces: HashMap::new() };
        }
        if state.namespaces.len() < MOST {
            state.namespaces.insert(draft.name.clone(), namespace.to_owned());
        }
    }
}
