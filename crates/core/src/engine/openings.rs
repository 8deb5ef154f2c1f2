//! What each storm takes from the Signal that opened it, for as long as it is open: its object is named after it, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::storm::{Epoch, Opening, StormId, StormKey};

/// Openings by storm. A restart loses them, and a resync finds them again: a storm without an object has Signals without a receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Openings(BTreeMap<StormId, Arc<Opening>>);

impl Openings {
    /// The first one stays.
    pub(super) fn offer(&mut self, id: StormId, opening: &Arc<Opening>) {
        self.0.entry(id).or_insert_with(|| opening.clone());
    }

    /// The opening of a storm.
    pub(super) fn get(&self, id: StormId) -> Option<&Arc<Opening>> {
        self.0.get(&id)
    }

    /// The latest storm of this key that is open.
    pub(super) fn of_key(&self, key: StormKey) -> Option<(StormId, &Arc<Opening>)> {
        let of_key = StormId { key, epoch: Epoch::MIN }..=StormId { key, epoch: Epoch::MAX };
        self.0.range(of_key).next_back().map(|(id, opening)| (*id, opening))
    }

    /// The storms whose opening is known.
    pub(super) fn ids(&self) -> impl Iterator<Item = StormId> {
        self.0.keys().copied()
    }

    /// Whether some storm of this key is open.
    pub(super) fn has(&self, key: StormKey) -> bool {
        self.of_key(key).is_some()
    }

    /// The storm is over.
    pub(super) fn remove(&mut self, id: StormId) {
        self.0.remove(&id);
    }
}
