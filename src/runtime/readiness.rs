//! Readiness with reasons: each part that must work first holds a gate, and says why it is closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All gates of the process.
#[derive(Clone, Default)]
pub struct Readiness {
    closed: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

/// One gate.
#[derive(Clone)]
pub struct Gate {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// A gate that is closed for `reason` until somebody opens it.
    pub fn gate(&self, name: &'static str, reason: &str) -> Gate {
        let gate = Gate { name, readiness: self.clone() };
        gate.close(reason);
        gate
    }

    /// A gate that is open until somebody closes it.
    pub fn open_gate(&self, name: &'static str) -> Gate {
        Gate { name, readiness: self.clone() }
    }

    /// The closed gates and why they are closed. Ready when there are none.
    pub fn closed(&self) -> BTreeMap<&'static str, String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// Opens it.
    pub fn open(&self) {
        if self.readiness.lock().remove(self.name).is_some() {
            tracing::info!(gate = self.name, "ready");
        }
    }

    /// Closes it. A new reason is logged once.
    pub fn close(&self, reason: &str) {
        let old = self.readiness.lock().insert(self.name, reason.to_owned());
        if old.as_deref() != Some(reason) {
            tracing::info!(gate = self.name, reason, "not ready");
        }
    }
}
