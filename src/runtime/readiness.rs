//! Readiness with reasons: each part that must work first holds a gate, and says why it is closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All gates of the process.
#[derive(Clone, Default)]
pub struct Readiness {
    closed: Arc<Mutex<BTreeMap<&'static str, Closed>>>,
}

/// A closed gate.
struct Closed {
    reason: String,
    /// It concerns some and not all: it is shown, and this process stays ready for the others.
    is_notice: bool,
}

/// One gate.
#[derive(Clone)]
pub struct Gate {
    name: &'static str,
    is_notice: bool,
    readiness: Readiness,
}

impl Readiness {
    /// A gate that is closed for `reason` until somebody opens it.
    pub fn gate(&self, name: &'static str, reason: &str) -> Gate {
        let gate = self.open_gate(name);
        gate.close(reason);
        gate
    }

    /// A gate that is open until somebody closes it.
    pub fn open_gate(&self, name: &'static str) -> Gate {
        Gate { name, is_notice: false, readiness: self.clone() }
    }

    /// The same for what concerns some and not all: closed, it is shown, and readiness stays.
    pub fn notice(&self, name: &'static str) -> Gate {
        Gate { is_notice: true, ..self.open_gate(name) }
    }

    /// The closed gates and why they are closed. Ready when there are none.
    pub fn closed(&self) -> BTreeMap<&'static str, String> {
        self.those(false)
    }

    /// What does not work for some.
    pub fn notices(&self) -> BTreeMap<&'static str, String> {
        self.those(true)
    }

    fn those(&self, notices: bool) -> BTreeMap<&'static str, String> {
        let closed = self.lock();
        let those = closed.iter().filter(|(_, closed)| closed.is_notice == notices);
        those.map(|(name, closed)| (*name, closed.reason.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Closed>> {
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
        let closed = Closed { reason: reason.to_owned(), is_notice: self.is_notice };
        let old = self.readiness.lock().insert(self.name, closed);
        if old.is_some_and(|old| old.reason == reason) {
            return;
        }
        if self.is_notice {
            tracing::warn!(gate = self.name, reason, "not ready for some");
        } else {
            tracing::info!(gate = self.name, reason, "not ready");
        }
    }
}
