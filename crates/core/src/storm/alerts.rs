//! What is known of the alerts of one StormKey: of each the latest report, and whether it is in the open storm.
//!
//! A register for each alert, joined by the time of the report: any order, any repeats, any replay give one state. The storm is a view of it:
//! its alerts are those that joined it. Other entries are what storms before it left, and what ended before it was seen to begin.

mod packed;
mod register;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{Hash, Hasher};

use jiff::Timestamp;

use super::decide::CloseReason;
use super::digest::Digest;
use packed::PackedRegister;

pub use register::{AlertRegister, AlertStanding};

/// What a report says of its alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Says {
    /// It fires.
    Firing {
        /// Whether its source reports ends. Where it does not, the alert is over with its storm.
        resolvable: bool,
    },
    /// It is over. Of two reports at one instant this one counts.
    Resolved,
    /// Something that no storm takes in, as the receipt of its Signal says.
    Held(Past),
}

/// What an alert was when a report of it came that no storm took in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Past {
    /// Over, at this time or later.
    Over,
    /// Handled by a person.
    Handled,
}

/// The reports of a Signal that no storm took in, in order: the place of each, and what its alert was.
pub type HeldReports = Vec<(u16, Past)>;

/// When something was reported, in microseconds since 1970. A number, because a ledger has one for each alert.
pub type Micros = i64;

/// A report of one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertReport {
    /// Which alert.
    pub uid: Digest,
    /// When its source reported it.
    pub at: Micros,
    /// What it says.
    pub says: Says,
}

/// What became of the storm that an alert was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StormEnd {
    /// It was closed at this time: what fires goes on in the next storm.
    Closed(Micros),
    /// A person ended it, by deleting its object or by request: what fires counts as handled until it ends.
    Handled(Micros),
}

impl StormEnd {
    /// The end of a storm that was closed for this reason.
    pub fn of(reason: CloseReason, at: Timestamp) -> Self {
        let at = at.as_microsecond();
        match reason {
            CloseReason::Requested => Self::Handled(at),
            CloseReason::Resolved
            | CloseReason::Quiet
            | CloseReason::MaxAge
            | CloseReason::RemediationFinished
            | CloseReason::Superseded => Self::Closed(at),
        }
    }
}

/// The alerts of one StormKey.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AlertRegisters {
    // In order: one state is one value, and a map that grows does not take twice its room for a moment.
    registers: BTreeMap<Digest, PackedRegister>,
    in_storm: usize,
    firing: usize,
    left: usize,
    /// The nodes of the map are full, until one more alert comes.
    dense: Dense,
}

/// Whether the nodes of a map are full. Tells nothing of what is in it: maps of one content are one value.
#[derive(Clone, Copy, Debug, Default)]
struct Dense(bool);

impl PartialEq for Dense {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Dense {}

impl Hash for Dense {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// What an alert takes in a map that grew: 16 bytes in nodes of 11, which are filled by two thirds, with what the allocator adds.
pub const ALERT_BYTES: usize = 29;
/// The same in a map whose nodes are full.
const DENSE_ALERT_BYTES: usize = 20;

impl FromIterator<(Digest, AlertRegister)> for AlertRegisters {
    fn from_iter<I: IntoIterator<Item = (Digest, AlertRegister)>>(registers: I) -> Self {
        let registers = registers.into_iter().map(|(uid, alert)| (uid, alert.into()));
        let mut alerts = Self { registers: registers.collect(), ..Self::default() };
        alerts.rewrite(Some);
        alerts
    }
}

impl AlertRegisters {
    /// What is known of an alert.
    pub fn get(&self, uid: Digest) -> Option<AlertRegister> {
        self.registers.get(&uid).map(|alert| (*alert).into())
    }

    /// Each alert and what is known of it.
    pub fn iter(&self) -> impl Iterator<Item = (Digest, AlertRegister)> {
        self.registers.iter().map(|(uid, alert)| (*uid, (*alert).into()))
    }

    /// How many alerts the open storm has.
    pub fn in_storm(&self) -> usize {
        self.in_storm
    }

    /// How many of them fire.
    pub fn firing(&self) -> usize {
        self.firing
    }

    /// How many fire on although their storm is closed.
    pub fn left(&self) -> usize {
        self.left
    }

    /// How many alerts are known.
    pub fn len(&self) -> usize {
        self.registers.len()
    }

    /// How many of these reports are the latest of alerts that fire in the open storm, which may have taken them over.
    pub fn firing_of(&self, reports: &[AlertReport]) -> usize {
        let fires = AlertStanding::Firing { resolvable: true };
        let is_latest = |report: &&AlertReport| {
            self.get(report.uid).is_some_and(|alert| alert.standing == fires && alert.at == report.at)
        };
        reports.iter().filter(is_latest).count()
    }

    /// What they take in memory, in bytes: see [`ALERT_BYTES`].
    pub fn bytes(&self) -> usize {
        self.registers.len() * if self.dense.0 { DENSE_ALERT_BYTES } else { ALERT_BYTES }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.registers.is_empty()
    }

    /// Whether a storm would take nothing from this report: see [`AlertRegister::past`].
    pub fn holds(&self, report: &AlertReport) -> bool {
        self.past(report).is_some()
    }

    /// What the alert of this report is, if a storm would take nothing from it: see [`AlertRegister::past`].
    pub fn past(&self, report: &AlertReport) -> Option<Past> {
        AlertRegister::past(self.get(report.uid).as_ref(), report)
    }

    /// Whether nothing newer than this report tells that its alert fires on, whether in a storm, left by one, or handled.
    pub fn needs(&self, report: &AlertReport) -> bool {
        let tells = matches!(report.says, Says::Firing { resolvable: true } | Says::Held(Past::Handled));
        tells && self.get(report.uid).is_some_and(|alert| alert.standing.fires() && report.at >= alert.at)
    }

    /// Whether a storm opens for this report while none is open.
    pub fn opens(&self, report: &AlertReport) -> bool {
        matches!(report.says, Says::Firing { .. }) && !self.holds(report)
    }

    /// The open storm takes a report in. Tells what it changed: nothing, for a mere repeat.
    pub fn join(&mut self, report: &AlertReport) -> Joined {
        self.update(report.uid, |before| AlertRegister::joined(before, report))
    }

    /// No storm takes these reports in.
    pub fn note(&mut self, reports: &[AlertReport]) {
        for report in reports {
            self.update(report.uid, |before| AlertRegister::noted(before, report));
        }
    }

    /// A storm that ended so had taken these reports in: see [`AlertRegister::held`].
    pub fn hold(&mut self, reports: &[AlertReport], end: StormEnd, of_open: bool) {
        for report in reports {
            self.update(report.uid, |before| AlertRegister::held(before, report, end, of_open));
        }
    }

    /// The open storm ends. What is left of it is remembered for hours, in as little room as it takes.
    pub fn end(&mut self, end: StormEnd) {
        self.rewrite(|alert| Some(alert.after(end)));
        self.registers = std::mem::take(&mut self.registers).into_iter().collect();
        self.dense = Dense(true);
    }

    /// The open storm is dropped: what it took in is taken in again.
    pub fn drop_storm(&mut self) {
        self.rewrite(|alert| (!alert.standing.is_in_storm()).then_some(alert));
    }

    /// The open storm takes over what fires on since the storms before it. Which alerts those are.
    pub fn take_over(&mut self) -> Vec<Digest> {
        let is_left = |alert: &AlertRegister| alert.standing == AlertStanding::Left;
        let left: Vec<Digest> = self.iter().filter(|(_, alert)| is_left(alert)).map(|(uid, _)| uid).collect();
        if !left.is_empty() {
            self.rewrite(|alert| match alert.standing {
                AlertStanding::Left => {
                    Some(AlertRegister { standing: AlertStanding::Firing { resolvable: true }, ..alert })
                }
                _ => Some(alert),
            });
        }
        left
    }

    /// Forgets these alerts.
    pub fn forget(&mut self, uids: impl IntoIterator<Item = Digest>) {
        for uid in uids {
            if let Some(alert) = self.registers.remove(&uid) {
                self.uncount(AlertRegister::from(alert).standing);
            }
        }
    }

    /// Forgets what is in no storm and was last reported before this.
    pub fn expire(&mut self, before: Micros) {
        self.rewrite(|alert| (alert.standing.is_in_storm() || alert.at >= before).then_some(alert));
    }

    fn update(&mut self, uid: Digest, next: impl FnOnce(Option<AlertRegister>) -> Option<AlertRegister>) -> Joined {
        let entry = self.registers.entry(uid);
        let before = match &entry {
            Entry::Occupied(entry) => Some((*entry.get()).into()),
            Entry::Vacant(_) => None,
        };
        let Some(alert) = next(before).filter(|alert| before != Some(*alert)) else { return Joined::Nothing };
        match entry {
            Entry::Occupied(mut entry) => drop(entry.insert(alert.into())),
            Entry::Vacant(entry) => {
                entry.insert(alert.into());
                self.dense = Dense(false);
            }
        }
        if let Some(before) = before {
            self.uncount(before.standing);
        }
        self.count(alert.standing);
        Joined::of(before, alert)
    }

    fn rewrite(&mut self, mut next: impl FnMut(AlertRegister) -> Option<AlertRegister>) {
        let before = self.registers.len();
        let (mut in_storm, mut firing, mut left) = (0, 0, 0);
        self.registers.retain(|_, alert| {
            let Some(after) = next((*alert).into()) else { return false };
            *alert = after.into();
            in_storm += usize::from(after.standing.is_in_storm());
            firing += usize::from(after.standing.fires_in_storm());
            left += usize::from(after.standing == AlertStanding::Left);
            true
        });
        (self.in_storm, self.firing, self.left) = (in_storm, firing, left);
        self.dense.0 &= self.registers.len() == before;
    }

    fn count(&mut self, standing: AlertStanding) {
        self.in_storm += usize::from(standing.is_in_storm());
        self.firing += usize::from(standing.fires_in_storm());
        self.left += usize::from(standing == AlertStanding::Left);
    }

    fn uncount(&mut self, standing: AlertStanding) {
        self.in_storm -= usize::from(standing.is_in_storm());
        self.firing -= usize::from(standing.fires_in_storm());
        self.left -= usize::from(standing == AlertStanding::Left);
    }
}

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// Nothing.
    Nothing,
    /// The time of the latest report.
    Later,
    /// The alert joined the storm.
    Alert,
    /// It fires again.
    Again,
    /// It is over.
    End,
}

impl Joined {
    fn of(before: Option<AlertRegister>, after: AlertRegister) -> Self {
        let in_storm = before.is_some_and(|before| before.standing.is_in_storm());
        if !in_storm && after.standing.is_in_storm() {
            return Self::Alert;
        }
        match (before.map(|before| before.standing.fires()), after.standing.fires()) {
            (Some(false), true) => Self::Again,
            (Some(true) | None, false) => Self::End,
            (Some(true) | None, true) | (Some(false), false) => Self::Later,
        }
    }

    /// Whether the source said something that was not known.
    pub fn is_new(self) -> bool {
        matches!(self, Self::Alert | Self::Again | Self::End)
    }
}

#[cfg(test)]
mod tests;
