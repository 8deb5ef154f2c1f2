//! Keys of which the ledger dropped a storm: until their Signals are read again, nobody knows what the closed storms of that key hold.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::storm::StormKey;

/// See the module.
#[derive(Default)]
pub struct Doubts(Mutex<HashSet<StormKey>>);

impl Doubts {
    /// Before a storm of this key is dropped: whoever finds it gone finds this as well.
    pub fn begin(&self, key: StormKey) {
        self.with(|keys| keys.insert(key));
    }

    /// Whether a storm of this key was dropped since all Signals were read.
    pub fn has(&self, key: StormKey) -> bool {
        self.with(|keys| keys.contains(&key))
    }

    /// All Signals are about to be read.
    pub fn clear(&self) {
        self.with(HashSet::clear);
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashSet<StormKey>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
