//! Events in, reports of alerts out: bounded, and without a clock or a call of its own.
//!
//! An alert is told when it begins, again every few hours while it goes on (a storm of which nobody hears is stale), and when it is over. A
//! group, which is a reason and a namespace, tells at most one Signal a second and has at most one under way, so that what it tells is in
//! order; namespaces take turns. What is beyond a bound is dropped and counted, and the Signals of its group say that they are not all.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::event::{EventFingerprint, EventGroup, QUIET, WarningEvent};
use crate::sources::text::hex;

/// At most one Signal of a group in this time.
const PACE: SignedDuration = SignedDuration::from_secs(1);
/// What goes on is told again, as Alertmanager does by default: sooner than storms are stale.
const REPEAT: SignedDuration = SignedDuration::from_hours(4);

/// What bounds the fold.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoldLimits {
    /// Alerts of a Signal.
    pub(super) lines: usize,
    /// Alerts in memory.
    pub(super) alerts: usize,
    /// And of one namespace.
    pub(super) alerts_of_namespace: usize,
    /// Reasons of one namespace.
    pub(super) reasons_of_namespace: usize,
    /// Signals a second, of all groups.
    pub(super) signals: usize,
    /// Signals of one namespace that are under way.
    pub(super) under_way: usize,
}

impl Default for FoldLimits {
    fn default() -> Self {
        Self {
            lines: 500,
            alerts: 30_000,
            alerts_of_namespace: 10_000,
            reasons_of_namespace: 64,
            signals: 20,
            under_way: 2,
        }
    }
}

/// What an Event came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folded {
    /// An alert begins.
    Began,
    /// Its alert is known.
    GoesOn,
    /// It is older than what an Event speaks for, and nobody was told of it.
    Over,
    /// There is no room for its alert.
    Dropped,
}

/// What is to be told of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwedReport {
    Nothing,
    Firing,
    End,
}

struct EventAlert {
    group: Arc<EventGroup>,
    resource: String,
    began: Timestamp,
    over: Timestamp,
    owed: OwedReport,
    /// When it was last told that it fires.
    told: Option<Timestamp>,
}

#[derive(Default)]
struct GroupState {
    /// Alerts that may owe something, in order.
    owing: VecDeque<EventFingerprint>,
    alerts: usize,
    /// No Signal before this.
    next: Timestamp,
    under_way: bool,
    incomplete: bool,
    note: String,
}

#[derive(Default)]
struct NamespaceState {
    alerts: usize,
    reasons: usize,
    under_way: usize,
}

/// A Signal to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DueSignal {
    pub(super) group: Arc<EventGroup>,
    pub(super) table: String,
    /// What an Event of the group says.
    pub(super) note: String,
    /// Whether alerts of the group were dropped.
    pub(super) incomplete: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct EventFold {
    limits: FoldLimits,
    alerts: HashMap<EventFingerprint, EventAlert>,
    groups: BTreeMap<Arc<EventGroup>, GroupState>,
    namespaces: HashMap<Option<String>, NamespaceState>,
    /// When alerts are to be looked at.
    looks: BTreeSet<(Timestamp, EventFingerprint)>,
    /// No end is told before this: what tells of alerts cannot be heard.
    hears_from: Timestamp,
    /// Whose turn was last.
    turn: Option<Arc<EventGroup>>,
    /// Signals that were made since `second`.
    made: usize,
    second: Timestamp,
}

impl EventFold {
    /// Alerts that are not over.
    pub(super) fn len(&self) -> usize {
        self.alerts.len()
    }

    /// Events may be missing: nothing is over before this.
    pub(super) fn hold_ends(&mut self, until: Timestamp) {
        self.hears_from = self.hears_from.max(until);
    }

    /// An alert that a Signal told of before this process began.
    pub(super) fn recall(
        &mut self,
        group: EventGroup,
        fingerprint: EventFingerprint,
        resource: String,
        told: [Timestamp; 2],
    ) {
        let [began, told] = told;
        let event = WarningEvent { group, fingerprint, resource, note: String::new(), began, over: told + QUIET };
        if self.alerts.contains_key(&fingerprint) || self.begin(event, OwedReport::Nothing, Some(told)).is_none() {
            return;
        }
        self.look_at(fingerprint);
    }

    /// An Event was seen.
    pub(super) fn take_in(&mut self, event: WarningEvent, now: Timestamp) -> Folded {
        let fingerprint = event.fingerprint;
        if let Some(alert) = self.alerts.get_mut(&fingerprint) {
            alert.over = alert.over.max(event.over);
            if alert.owed == OwedReport::End && alert.over > now {
                alert.owed = OwedReport::Nothing;
                self.look_at(fingerprint);
            }
            return Folded::GoesOn;
        }
        if event.over <= now {
            return Folded::Over;
        }
        match self.begin(event, OwedReport::Firing, None) {
            None => Folded::Dropped,
            Some(group) => {
                group.owing.push_back(fingerprint);
                Folded::Began
            }
        }
    }

    /// Makes room for an alert. `None`: there is none.
    fn begin(&mut self, event: WarningEvent, owed: OwedReport, told: Option<Timestamp>) -> Option<&mut GroupState> {
        let WarningEvent { group, fingerprint, resource, note, began, over } = event;
        let limits = self.limits;
        let of_namespace = self.namespaces.entry(group.namespace.clone()).or_default();
        let known = self.groups.get_key_value(&group).map(|(key, _)| key.clone());
        let full = self.alerts.len() >= limits.alerts || of_namespace.alerts >= limits.alerts_of_namespace;
        if full || known.is_none() && of_namespace.reasons >= limits.reasons_of_namespace {
            if let Some(state) = self.groups.get_mut(&group) {
                state.incomplete = true;
            }
            return None;
        }
        of_namespace.alerts += 1;
        of_namespace.reasons += usize::from(known.is_none());
        let group = known.unwrap_or_else(|| Arc::new(group));
        self.alerts.insert(fingerprint, EventAlert { group: group.clone(), resource, began, over, owed, told });
        let state = self.groups.entry(group).or_default();
        state.alerts += 1;
        if !note.is_empty() {
            state.note = note;
        }
        Some(state)
    }

    /// Notes when this alert is to be looked at: when it is over, or to be told again.
    fn look_at(&mut self, fingerprint: EventFingerprint) {
        if let Some(alert) = self.alerts.get(&fingerprint)
            && let Some(told) = alert.told
        {
            self.looks.insert((alert.over.min(told + REPEAT), fingerprint));
        }
    }

    /// The Signals to make at `now`, of at most `room` groups. Each is under way until [`Self::stored`].
    pub(super) fn due(&mut self, now: Timestamp, room: usize) -> Vec<DueSignal> {
        self.look(now);
        if now >= self.second + PACE {
            (self.second, self.made) = (now, 0);
        }
        let room = room.min(self.limits.signals.saturating_sub(self.made));
        let chosen = self.choose(now, room);
        let mut due = Vec::with_capacity(chosen.len());
        for group in chosen {
            due.extend(self.make(&group, now));
            self.turn = Some(group);
        }
        self.made += due.len();
        due
    }

    fn look(&mut self, now: Timestamp) {
        if now < self.hears_from {
            return;
        }
        while let Some(&(at, fingerprint)) = self.looks.first()
            && at <= now
        {
            self.looks.pop_first();
            let Some(alert) = self.alerts.get_mut(&fingerprint) else { continue };
            // What is told anyhow is looked at after that.
            let (OwedReport::Nothing, Some(told)) = (alert.owed, alert.told) else { continue };
            if alert.over <= now {
                alert.owed = OwedReport::End;
            } else if told + REPEAT <= now {
                alert.owed = OwedReport::Firing;
            } else {
                self.look_at(fingerprint);
                continue;
            }
            let group = alert.group.clone();
            self.groups.entry(group).or_default().owing.push_back(fingerprint);
        }
    }

    /// The groups whose turn it is: one of each namespace, and again, from the one after the last.
    fn choose(&self, now: Timestamp, room: usize) -> Vec<Arc<EventGroup>> {
        let mut by_namespace = BTreeMap::<_, VecDeque<_>>::new();
        for (group, state) in &self.groups {
            if !state.owing.is_empty() && !state.under_way && state.next <= now {
                by_namespace.entry(&group.namespace).or_default().push_back(group);
            }
        }
        let last = self.turn.as_ref().map(|group| &group.namespace);
        let (later, before): (Vec<_>, Vec<_>) =
            by_namespace.into_iter().partition(|(namespace, _)| last.is_none_or(|last| *namespace > last));
        let mut later: VecDeque<_> = later.into_iter().chain(before).collect();
        let mut chosen = Vec::new();
        while chosen.len() < room
            && let Some((namespace, mut groups)) = later.pop_front()
        {
            let of_namespace = chosen.iter().filter(|group: &&Arc<EventGroup>| group.namespace == *namespace).count();
            let under_way = self.namespaces.get(namespace).map_or(0, |state| state.under_way);
            if under_way + of_namespace >= self.limits.under_way {
                continue;
            }
            if let Some(group) = groups.pop_front() {
                chosen.push(group.clone());
                later.push_back((namespace, groups));
            }
        }
        chosen
    }

    /// The next Signal of a group. `None`: everything that it owed has come to nothing.
    fn make(&mut self, group: &Arc<EventGroup>, now: Timestamp) -> Option<DueSignal> {
        let state = self.groups.get_mut(group)?;
        let mut lines = Vec::new();
        while lines.len() < self.limits.lines
            && let Some(fingerprint) = state.owing.pop_front()
        {
            let Some(alert) = self.alerts.get_mut(&fingerprint) else { continue };
            let word = match alert.owed {
                OwedReport::Nothing => continue,
                OwedReport::Firing => "firing",
                OwedReport::End => "resolved",
            };
            lines.push((
                alert.began,
                format!("{word} {} {} {}\n", alert.began, hex(&fingerprint), alert.resource),
                fingerprint,
            ));
        }
        if lines.is_empty() {
            return None;
        }
        lines.sort_unstable();
        (state.under_way, state.next) = (true, now + PACE);
        let due = DueSignal {
            group: group.clone(),
            table: lines.iter().map(|(_, line, _)| line.as_str()).collect(),
            note: state.note.clone(),
            incomplete: state.incomplete,
        };
        if let Some(of_namespace) = self.namespaces.get_mut(&group.namespace) {
            of_namespace.under_way += 1;
        }
        for (_, _, fingerprint) in lines {
            self.told(fingerprint, now);
        }
        Some(due)
    }

    fn told(&mut self, fingerprint: EventFingerprint, now: Timestamp) {
        let Some(alert) = self.alerts.get_mut(&fingerprint) else { return };
        if alert.owed != OwedReport::End {
            (alert.owed, alert.told) = (OwedReport::Nothing, Some(now));
            return self.look_at(fingerprint);
        }
        let Some(alert) = self.alerts.remove(&fingerprint) else { return };
        if let Some(state) = self.groups.get_mut(&alert.group) {
            state.alerts -= 1;
        }
        if let Some(state) = self.namespaces.get_mut(&alert.group.namespace) {
            state.alerts -= 1;
        }
    }

    /// The Signal of this group that was under way is stored.
    pub(super) fn stored(&mut self, group: &Arc<EventGroup>) {
        let Some(state) = self.groups.get_mut(group) else { return };
        state.under_way = false;
        let gone = state.alerts == 0;
        if gone {
            self.groups.remove(group);
        }
        if let Some(state) = self.namespaces.get_mut(&group.namespace) {
            state.under_way -= 1;
            state.reasons -= usize::from(gone);
            if state.reasons == 0 && state.under_way == 0 {
                self.namespaces.remove(&group.namespace);
            }
        }
    }

    /// When there is something to do, unless an Event comes first. `None`: nothing is known of.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let look = self.looks.first().map(|(at, _)| (*at).max(self.hears_from));
        // Where a namespace has as many Signals under way as it may, the next one waits until one of them is stored.
        let may = |(group, state): &(&Arc<EventGroup>, &GroupState)| {
            let of_namespace = self.namespaces.get(&group.namespace).map_or(0, |state| state.under_way);
            !state.owing.is_empty() && !state.under_way && of_namespace < self.limits.under_way
        };
        let second = if self.made >= self.limits.signals { self.second + PACE } else { Timestamp::UNIX_EPOCH };
        let make = self.groups.iter().filter(may).map(|(_, state)| state.next.max(second)).min();
        look.into_iter().chain(make).min()
    }
}

#[cfg(test)]
#[path = "fold/tests.rs"]
mod tests;
