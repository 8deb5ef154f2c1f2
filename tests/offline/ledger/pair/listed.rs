//! The Signals as the API server has them: their receipts, and which go by retention.

use stormfold::ledger::{Ledger, Merge};
use stormfold::storm::alerts::StormEnd;
use stormfold::storm::{Epoch, HeldReports};

use super::super::{Said, now};
use super::Play;

/// A Signal that was merged.
#[derive(Clone)]
pub(super) struct Delivered {
    pub(super) said: Said,
    /// The storm that joined it last.
    pub(super) storm: Option<Epoch>,
    /// Its reports that no storm took in.
    pub(super) held: HeldReports,
    /// The storm that its receipt names.
    pub(super) receipt: Option<Epoch>,
    /// What its receipt says of its reports.
    pub(super) told: HeldReports,
}

impl Delivered {
    /// What ingest makes of a merge: a Signal that closed storms hold has its receipt at once, and joins none.
    pub(super) fn of(said: &Said, merge: &Merge, index: usize) -> Self {
        let (Merge::Joined { held, .. } | Merge::NotOpen { held, .. }) = merge else {
            panic!("this ledger has no limit")
        };
        let held = held.get(index).cloned().unwrap_or_default();
        let (storm, last) = match merge {
            Merge::Joined { last, .. } if held.len() == said.reports.len() => (None, *last),
            Merge::Joined { epoch, .. } => (Some(*epoch), None),
            Merge::NotOpen { last, .. } => (None, *last),
            Merge::Full { .. } | Merge::NoRoom { .. } => panic!("this ledger has no limit"),
        };
        let fires = said.reports.iter().any(|(_, firing)| *firing);
        let told = if storm.is_none() { held.clone() } else { HeldReports::new() };
        Self { said: said.clone(), storm, held, receipt: last.filter(|_| fires), told }
    }

    /// It has the receipt of this storm.
    pub(super) fn has_receipt(&mut self, storm: Epoch) {
        (self.receipt, self.told) = (Some(storm), self.held.clone());
    }
}

impl Play<'_> {
    /// As retention does. No report is as late as what goes is old, and a receipt is written long before that: whoever can delete Signals can write
    /// them, and where a RemediationRequest is refused, retention waits.
    pub(super) async fn retire(&mut self) {
        if self.delivered.iter().any(|signal| signal.storm.is_some() && signal.receipt != signal.storm) {
            return;
        }
        let alerts = self.memory.alerts(self.key.key).await.unwrap();
        for signal in std::mem::take(&mut self.delivered) {
            let end = signal.receipt.filter(|epoch| self.open != Some(*epoch)).map(|epoch| self.ended[&epoch]);
            let (StormEnd::Closed(at) | StormEnd::Handled(at)) = end.unwrap_or(StormEnd::Closed(i64::MAX));
            let is_old = at < now(self.at - 12).as_microsecond();
            if !is_old || self.listed(&signal).says().any(|report| alerts.needs(&report)) {
                self.delivered.push(signal);
            }
        }
        // It counts how many there were.
        self.snapshot = None;
    }
}
