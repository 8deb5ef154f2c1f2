//! A few alerts of each open storm, to be shown as examples. A hint that decides nothing: what is chosen goes out with publishes that
//! happen anyway, and the ledger says which of it fires. A restart loses it, and the list of all Signals brings it again.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::storm::example::{Example, MAX_EXAMPLES};
use crate::storm::{Digest, Severity, StormId};

/// Alerts kept for each storm: some more than are shown, because some will end. A ledger finds so many one by one.
const KEPT: usize = 16;
/// Alerts kept in all, of at most some 2 KB: 30 MB when all of them are as long as they may be. Beyond it a storm has one.
const ROOM: usize = 16_384;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Examples {
    storms: BTreeMap<StormId, Vec<Candidate>>,
    count: usize,
}

#[derive(Clone, Debug)]
struct Candidate {
    example: Example,
    /// It came after the ledger was asked.
    fresh: bool,
    /// The ledger has said that it fires.
    fires: bool,
}

impl Candidate {
    /// The most severe first, and then by fingerprint, which is a hash where many come: the same whatever comes first.
    fn rank(&self) -> (Reverse<Severity>, Option<&str>, Digest) {
        let Example { severity, fingerprint, uid, .. } = &self.example;
        (Reverse(*severity), fingerprint.as_deref(), *uid)
    }
}

impl Examples {
    /// Takes one in, if it is among the first. Of two reports of one alert the later one is kept.
    pub(super) fn offer(&mut self, id: StormId, example: Example) {
        let candidates = self.storms.entry(id).or_default();
        self.count -= candidates.len();
        let known = candidates.iter().position(|known| known.example.uid == example.uid);
        let mut candidate = Candidate { example, fresh: true, fires: false };
        if let Some(known) = known.map(|place| candidates.remove(place)) {
            candidate.fires = known.fires;
            if known.example.reported_at > candidate.example.reported_at {
                candidate.example = known.example;
            }
        }
        let place = candidates.partition_point(|other| other.rank() < candidate.rank());
        let room = if self.count < ROOM { KEPT } else { 1 };
        candidates.insert(place, candidate);
        candidates.truncate(room);
        self.count += candidates.len();
    }

    /// Of which alerts the ledger is to say whether they fire.
    pub(super) fn ask(&mut self, id: StormId) -> Vec<Digest> {
        let candidates = self.storms.get_mut(&id).map(Vec::as_mut_slice).unwrap_or_default();
        for candidate in candidates.iter_mut() {
            candidate.fresh = false;
        }
        candidates.iter().map(|candidate| candidate.example.uid).collect()
    }

    /// What it says of those: the others make room.
    pub(super) fn answered(&mut self, id: StormId, firing: &[Digest]) {
        let Some(candidates) = self.storms.get_mut(&id) else { return };
        self.count -= candidates.len();
        for candidate in candidates.iter_mut() {
            candidate.fires = firing.contains(&candidate.example.uid);
        }
        candidates.retain(|candidate| candidate.fires || candidate.fresh);
        self.count += candidates.len();
    }

    /// What fired when the ledger was asked last.
    pub(super) fn shown(&self, id: StormId) -> Vec<Example> {
        let candidates = self.storms.get(&id).map(Vec::as_slice).unwrap_or_default();
        let firing = candidates.iter().filter(|candidate| candidate.fires);
        firing.map(|candidate| candidate.example.clone()).take(MAX_EXAMPLES).collect()
    }

    /// The storm is over.
    pub(super) fn remove(&mut self, id: StormId) {
        self.count -= self.storms.remove(&id).map_or(0, |candidates| candidates.len());
    }
}

#[cfg(test)]
#[path = "examples/tests.rs"]
mod tests;
