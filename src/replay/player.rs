//! Plays recordings into an operator, and tells what became of them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use super::diff::StormsOfReports;
use super::policy_files::PolicyFiles;
use super::recording::{Happening, InputFault, Item};
use super::timeline::{TimelineEntry, moment};
use super::{NeverRests, Replay};
use crate::api::{RemediationRequest, Signal};
use crate::sources::alertmanager::{BodyReader, TargetRules};
use crate::sources::writer::{Places, SignalShelf};
use crate::sources::{MAX_BODY, MAX_LINES, body_readers};
use crate::storm::{Policy, Reach};

/// What a replay is played with: the settings of an operator.
#[derive(Clone, Debug)]
pub struct PlaySettings {
    /// Where no StormPolicy matches.
    pub built_in: Policy,
    /// The operator's own namespace.
    pub home: String,
    /// Whose Signals may speak of others.
    pub reach: Reach,
    /// What alerts are about.
    pub rules: TargetRules,
    /// Whether what happened is told, one by one.
    pub timeline: bool,
    /// Whether it is noted which storms reports are in.
    pub storms_of_reports: bool,
    /// Whether Signals are kept that an operator deletes, for their receipts.
    pub keep_signals: bool,
}

impl Default for PlaySettings {
    fn default() -> Self {
        let home = "stormfold-system".to_owned();
        let (reach, rules) = (Reach::default().and(&home), TargetRules::default());
        Self {
            built_in: Policy::default(),
            home,
            reach,
            rules,
            timeline: false,
            storms_of_reports: false,
            keep_signals: false,
        }
    }
}

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayFault {
    /// It says what cannot be.
    #[error(transparent)]
    Input(#[from] InputFault),
    /// A fault of this program.
    #[error(transparent)]
    NeverRests(#[from] NeverRests),
}

/// How much there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Reports: alerts of webhooks, and occurrences of Signals.
    pub reports: usize,
    /// Webhooks.
    pub bodies: usize,
    /// Signals that were created.
    pub signals: usize,
    /// Webhooks and Signals that said what was said already.
    pub repeats: usize,
    /// Alerts of webhooks and Signals that were rejected.
    pub rejected: usize,
}

/// An operator that takes a recording.
pub struct Player {
    replay: Replay,
    readers: Vec<BodyReader>,
    shelf: SignalShelf,
    timeline: Option<Vec<TimelineEntry>>,
    played: Played,
    warnings: Vec<String>,
}

/// Warnings that are told.
const MAX_WARNINGS: usize = 20;

impl Player {
    /// An operator that starts then, with these policies.
    pub fn new(settings: &PlaySettings, files: &PolicyFiles, start: Timestamp) -> Self {
        let mut replay = Replay::new(settings.built_in.clone(), start).reaching(settings.reach.clone());
        if settings.keep_signals {
            replay.keep_deleted_signals();
        }
        if settings.storms_of_reports {
            replay.note_storms();
        }
        for (name, labels) in &files.namespaces {
            replay.label_namespace(name, labels.clone());
        }
        for policy in &files.policies {
            replay.put_policy(policy.clone());
        }
        let rules = Arc::new(settings.rules.clone().reaching(settings.reach.clone()));
        let places = Places::new(&settings.home, Vec::new());
        Self {
            replay,
            readers: body_readers(&rules, MAX_LINES, MAX_BODY),
            shelf: SignalShelf::new(places),
            timeline: settings.timeline.then(Vec::new),
            played: Played::default(),
            warnings: Vec::new(),
        }
    }

    /// What is reported next. Items come in order of time.
    pub fn play(&mut self, item: Item) -> Result<(), PlayFault> {
        if item.at > self.replay.now() {
            self.run_until(item.at)?;
        }
        match item.what {
            Happening::Namespace(name, labels) => self.replay.label_namespace(&name, labels),
            Happening::Signal(signal) => {
                self.played.reports += occurrences(&signal);
                self.create(*signal);
            }
            Happening::Body { path, body } => {
                let wrong = |wrong: String| InputFault::new(&item.place, wrong);
                let Some(reader) = self.readers.iter().find(|reader| reader.path() == path) else {
                    let known: Vec<_> = self.readers.iter().map(BodyReader::path).collect();
                    return Err(wrong(format!("path is {path:?}: webhooks come to {}", known.join(" and "))).into());
                };
                let read =
                    reader.read(body.get().as_bytes(), self.replay.policies_in_force(), item.at, &mut self.shelf);
                let read = read.map_err(|fault| wrong(format!("body: {fault}")))?;
                self.played.bodies += 1;
                self.played.reports += read.alerts;
                self.played.rejected += read.rejected.len();
                self.played.repeats += usize::from(read.signals.is_empty() && read.rejected.is_empty());
                if let Some(why) = read.rejected.first() {
                    self.warn(format!(
                        "{}: {} of its alerts can be in no Signal: {why}",
                        item.place,
                        read.rejected.len()
                    ));
                }
                for signal in read.signals {
                    self.create(signal);
                }
            }
        }
        Ok(())
    }

    fn create(&mut self, signal: Signal) {
        if self.replay.create_signal(signal) {
            self.played.signals += 1;
        } else {
            self.played.repeats += 1;
        }
    }

    fn warn(&mut self, warning: String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(warning);
        }
    }

    /// Somebody else acts on the cluster now.
    pub fn replay(&mut self) -> &mut Replay {
        &mut self.replay
    }

    /// The clock goes on to this time.
    pub fn run_until(&mut self, end: Timestamp) -> Result<(), NeverRests> {
        self.replay.run_until(end)?;
        for (at, fact) in self.replay.take_facts() {
            self.played.rejected += usize::from(matches!(fact, stormfold_core::engine::effect::Fact::Rejected(..)));
            if let Some(timeline) = &mut self.timeline {
                timeline.extend(moment(at, &fact));
            }
        }
        Ok(())
    }

    /// The clock goes on for so long.
    pub fn run_for(&mut self, time: SignedDuration) -> Result<(), NeverRests> {
        self.run_until(self.replay.now().checked_add(time).unwrap_or(Timestamp::MAX))
    }

    /// The storms that reports are in, by report.
    pub(super) fn storms_of_reports(&self) -> StormsOfReports {
        self.replay.cluster().storms_of_reports().cloned().unwrap_or_default()
    }

    /// How much there was so far.
    pub fn played(&self) -> Played {
        self.played
    }

    /// What was left out, in words.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What happened so far.
    pub fn timeline(&self) -> &[TimelineEntry] {
        self.timeline.as_deref().unwrap_or_default()
    }

    /// Every RemediationRequest that there was, in the order in which they were opened.
    pub fn requests(&self) -> Vec<&RemediationRequest> {
        let cluster = self.replay.cluster();
        let mut requests: Vec<_> = cluster.requests().chain(cluster.retired_requests()).collect();
        requests.sort_by_cached_key(|object| {
            (object.creation_timestamp().map(|time| time.0), object.namespace(), object.name_any())
        });
        requests
    }
}

fn occurrences(signal: &Signal) -> usize {
    let items = signal.spec.occurrences.as_ref().map_or(0, Vec::len);
    items + signal.spec.table.iter().flat_map(|table| table.lines()).filter(|line| !line.is_empty()).count()
}
