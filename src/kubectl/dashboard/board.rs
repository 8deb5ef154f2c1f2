//! What the page is told: every storm once, and then what changed.

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::watcher::Event;
use serde::Serialize;

use crate::api::RemediationRequest;
use crate::kubectl::affected::{AffectedItem, affected};
use crate::kubectl::list::{created, is_open, is_storm, storm_of};
use crate::kubectl::text::clean;
use crate::kubectl::tree::{StormPlace, place};
use crate::runtime::guarded::Guarded;

/// Resources of one storm that the page shows: `show` has all of them.
const MAX_RESOURCES: usize = 20;
/// Storms that are gone and are remembered so that pages hear of it. A page that was away for longer is told everything anew.
const MAX_GONE: usize = 10_000;

/// All storms, and when each changed last, by the board's own count.
#[derive(Default)]
pub(super) struct Board {
    version: u64,
    rows: BTreeMap<StormPlace, (u64, StormRow)>,
    gone: BTreeMap<StormPlace, u64>,
    /// Who saw no later version than this does not know all that is gone.
    forgotten: u64,
    /// Those of a list that is under way.
    listing: Option<Vec<RemediationRequest>>,
    /// Whether the first list is complete.
    listed: bool,
}

/// A storm, as the page has it. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StormRow {
    key: String,
    namespace: String,
    name: String,
    pattern: String,
    open: bool,
    storm: bool,
    alerts: i64,
    firing: i64,
    affected: i64,
    severity: &'static str,
    rank: i64,
    first_seen: i64,
    last_seen: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// The key of the storm that it followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    policy: String,
    revision: i64,
    resources: Vec<String>,
}

/// What a page has not seen yet.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct BoardChanges {
    /// What it knows after this.
    pub(super) version: u64,
    /// Whether this is everything: what else it knows is gone.
    all: bool,
    storms: Vec<StormRow>,
    gone: Vec<String>,
}

fn key(place: &StormPlace) -> String {
    format!("{}/{}", place.0, place.1)
}

impl StormRow {
    fn of(request: &RemediationRequest) -> Self {
        let place = place(request);
        let storm = storm_of(request);
        let severity = storm.map_or(request.spec.severity, |storm| storm.severity);
        let created = created(request).as_millisecond();
        let remediation = request.status.as_ref().and_then(|status| status.remediation.as_ref());
        let before = request.spec.previous_ref.as_ref();
        let resource = |AffectedItem { namespace, kind, name }| match namespace {
            Some(namespace) if namespace != place.0 => clean(&format!("{kind}/{name} in {namespace}")),
            _ => clean(&format!("{kind}/{name}")),
        };
        Self {
            key: key(&place),
            pattern: clean(&request.spec.pattern),
            open: is_open(request),
            storm: is_storm(request),
            alerts: storm.map_or(0, |storm| storm.alert_count),
            firing: storm.map_or(0, |storm| storm.firing_count),
            affected: storm.map_or(0, |storm| storm.affected_count),
            severity: severity.as_str(),
            rank: severity.rank(),
            first_seen: storm.map_or(created, |storm| storm.first_seen.0.as_millisecond()),
            last_seen: storm.map_or(created, |storm| storm.last_seen.0.as_millisecond()),
            closed_at: storm.and_then(|storm| Some(storm.closed_at.as_ref()?.0.as_millisecond())),
            close_reason: storm.and_then(|storm| storm.close_reason).map(|reason| format!("{reason:?}")),
            outcome: remediation.and_then(|remediation| remediation.outcome).map(|outcome| format!("{outcome:?}")),
            previous: before.map(|before| key(&(place.0.clone(), before.name.clone()))),
            policy: clean(&request.spec.policy_ref.name),
            revision: storm.map_or(0, |storm| storm.revision),
            resources: affected(request).into_iter().take(MAX_RESOURCES).map(resource).collect(),
            namespace: place.0,
            name: place.1,
        }
    }
}

impl Board {
    /// Takes in what the watch says; gives the version that the board has then. What cannot be read stays as it was.
    pub(super) fn apply(&mut self, event: Event<Guarded<RemediationRequest>>) -> u64 {
        match event {
            Event::Init => self.listing = Some(Vec::new()),
            Event::InitApply(Guarded(object)) => self.listing.get_or_insert_default().extend(object),
            Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default();
                let there: BTreeSet<StormPlace> = listed.iter().map(place).collect();
                let gone: Vec<StormPlace> = self.rows.keys().filter(|place| !there.contains(*place)).cloned().collect();
                for place in gone {
                    self.remove(place);
                }
                for request in &listed {
                    self.put(request);
                }
                // Nothing may be there: pages wait for this.
                self.version += u64::from(!std::mem::replace(&mut self.listed, true));
            }
            Event::Apply(Guarded(Ok(request))) => self.put(&request),
            Event::Apply(Guarded(Err(_))) => {}
            Event::Delete(Guarded(object)) => {
                let place = match object {
                    Ok(request) => place(&request),
                    Err(unreadable) => {
                        let metadata = unreadable.metadata;
                        (metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default())
                    }
                };
                self.remove(place);
            }
        }
        self.version
    }

    fn put(&mut self, request: &RemediationRequest) {
        let (place, row) = (place(request), StormRow::of(request));
        if self.rows.get(&place).is_some_and(|(_, before)| *before == row) {
            return;
        }
        self.version += 1;
        self.gone.remove(&place);
        self.rows.insert(place, (self.version, row));
    }

    fn remove(&mut self, place: StormPlace) {
        if self.rows.remove(&place).is_none() {
            return;
        }
        self.version += 1;
        if self.gone.len() >= MAX_GONE {
            self.gone.clear();
            self.forgotten = self.version;
        }
        self.gone.insert(place, self.version);
    }

    /// What changed since this version; `None`: nothing, or the first list is not complete.
    pub(super) fn since(&self, seen: u64) -> Option<BoardChanges> {
        if !self.listed || seen == self.version {
            return None;
        }
        let all = seen == 0 || seen < self.forgotten || seen > self.version;
        let rows = self.rows.values().filter(|(changed, _)| all || *changed > seen);
        let gone = self.gone.iter().filter(|(_, went)| !all && **went > seen);
        Some(BoardChanges {
            version: self.version,
            all,
            storms: rows.map(|(_, row)| row.clone()).collect(),
            gone: gone.map(|(place, _)| key(place)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CloseReason;
    use crate::kubectl::fixtures::{closed, request};

    fn seen(changes: &BoardChanges) -> (bool, Vec<&str>, usize) {
        (changes.all, changes.storms.iter().map(|row| row.pattern.as_str()).collect(), changes.gone.len())
    }

    fn apply(board: &mut Board, request: &RemediationRequest) {
        board.apply(Event::Apply(Guarded(Ok(request.clone()))));
    }

    #[test]
    fn a_page_is_told_everything_once_and_then_what_changed() {
        let mut board = Board::default();
        board.apply(Event::Init);
        board.apply(Event::InitApply(Guarded(Ok(request("One", 1)))));
        assert_eq!(board.since(0), None, "half a list is none");
        board.apply(Event::InitDone);
        let first = board.since(0).unwrap();
        assert_eq!(seen(&first), (true, vec!["One in shop"], 0));
        assert_eq!(board.since(first.version), None);
        apply(&mut board, &request("Two", 2));
        // The status of others changes nothing that the page shows.
        apply(&mut board, &request("One", 1));
        let second = board.since(first.version).unwrap();
        assert_eq!(seen(&second), (false, vec!["Two in shop"], 0));
        board.apply(Event::Delete(Guarded(Ok(request("One", 1)))));
        apply(&mut board, &closed(request("Two", 2), CloseReason::Quiet));
        let third = board.since(second.version).unwrap();
        assert_eq!(seen(&third), (false, vec!["Two in shop"], 1));
        assert!(!third.storms[0].open && third.storms[0].close_reason.as_deref() == Some("Quiet"));
        // One that comes now needs no word of what went before it came.
        assert_eq!(seen(&board.since(0).unwrap()), (true, vec!["Two in shop"], 0));
    }

    #[test]
    fn a_watch_that_begins_again_leaves_nothing_that_is_gone() {
        let mut board = Board::default();
        for listed in [vec![request("One", 1), request("Two", 2)], vec![request("Two", 2)]] {
            board.apply(Event::Init);
            for request in listed {
                board.apply(Event::InitApply(Guarded(Ok(request))));
            }
            board.apply(Event::InitDone);
        }
        assert_eq!(seen(&board.since(2).unwrap()), (false, vec![], 1));
    }

    #[test]
    fn an_empty_list_is_an_answer() {
        let mut board = Board::default();
        board.apply(Event::Init);
        assert_eq!(board.apply(Event::InitDone), 1);
        assert_eq!(seen(&board.since(0).unwrap()), (true, vec![], 0));
    }

    #[test]
    fn text_of_alerts_comes_clean() {
        let mut hostile = request("Bad", 1);
        hostile.spec.pattern = "Bad\u{1b}[2J\u{202e} in shop".into();
        assert!(!StormRow::of(&hostile).pattern.contains(['\u{1b}', '\u{202e}']));
    }
}
