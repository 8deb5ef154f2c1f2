//! How much memory the ledger takes, how much it may take, and who waits when it is full.
//!
//! Up to seven eighths of the limit everybody is merged. The rest is for those who have little: a namespace may have half of what is
//! still free then, so that whoever comes next finds some, too, and the limit is never reached. The largest namespaces, which have more than
//! that, wait: until a sixteenth of the limit is free for them, because each time all of their Signals are read again.
//!
//! The bytes are counted, not measured: numbers of alerts and resources by what each takes in the maps that they are in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::metrics::MemoryLedgerMetrics;

/// What a key takes beside what is in it.
pub(super) const KEY_BYTES: usize = 512;
/// What an alert takes until an object shows it.
pub(super) const UNPUBLISHED_BYTES: usize = 8;

/// What a namespace may take now, and what it is told if that is not enough.
pub(super) struct Grant {
    pub(super) bytes: usize,
    pub(super) why: String,
}

/// See the module.
pub(super) struct Room {
    limit: usize,
    used: usize,
    by_namespace: HashMap<Arc<str>, usize>,
    /// Those that were told to wait.
    waiting: HashSet<Arc<str>>,
    metrics: MemoryLedgerMetrics,
}

impl Room {
    pub(super) fn new(limit: usize, metrics: MemoryLedgerMetrics) -> Self {
        metrics.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        Self { limit, used: 0, by_namespace: HashMap::new(), waiting: HashSet::new(), metrics }
    }

    /// What this namespace may take.
    pub(super) fn grant(&mut self, namespace: &str) -> Grant {
        let has = self.by_namespace.get(namespace).copied().unwrap_or_default();
        let free = self.limit.saturating_sub(self.used);
        let common = free.saturating_sub(self.limit / 8);
        // As much as leaves twice of what it has then.
        let bytes = common.max(free.saturating_sub(2 * has) / 3);
        let waits = self.waiting.contains(namespace) && bytes < self.limit / 16;
        if !waits {
            self.waiting.remove(namespace);
        }
        let bytes = if waits { 0 } else { bytes };
        let mib = self.limit.div_ceil(1 << 20);
        let why = format!(
            "the memory ledger is full: namespace {namespace} has its share of the {mib} MiB that --ledger-memory-limit allows, and its \
             storms make room as they end; raise --ledger-memory-limit, and limits.memory of the container with it, or use Redis"
        );
        Grant { bytes, why }
    }

    /// This namespace was told to wait.
    pub(super) fn waits(&mut self, namespace: &Arc<str>) {
        self.waiting.insert(namespace.clone());
    }

    /// A key of this namespace took `before`, and takes `after`.
    pub(super) fn count(&mut self, namespace: Option<&Arc<str>>, before: usize, after: usize) {
        self.used = self.used - before + after;
        self.metrics.used.set(i64::try_from(self.used).unwrap_or(i64::MAX));
        let Some(namespace) = namespace else { return };
        let of = self.by_namespace.entry(namespace.clone()).or_default();
        *of = *of - before + after;
        if *of == 0 {
            self.by_namespace.remove(namespace);
            self.waiting.remove(namespace);
        }
    }
}
