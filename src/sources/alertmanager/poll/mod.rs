//! Asks Alertmanagers what they have, and tells what no webhook has told: Alertmanager never tells the end of an alert that is silenced
//! when it ends, and a webhook that is refused for good is not sent again.
//!
//! Pure first: [`compare`] finds the differences between what Signals say and what [`peer`]s answer. What comes of them are Signals like any
//! other: beginnings go the way of a webhook's body, through the same reader and batch, so that they are the same alerts; ends are lines of
//! the alerts that Signals tell of. It runs on the leader only, and what it must know is in the Signals, whichever replica made them.

mod compare;
pub mod peer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use compare::{Comparison, Missed, Polled};
use peer::PeerSettings;

use super::batch::{AlertVerdict, batch};
use super::body::read_body;
use super::dialect::ALERTMANAGER;
use super::rules::TargetRules;
use super::rules_of;
use crate::metrics::{Metrics, PollResult, ToldByPoll};
use crate::policies::Policies;
use crate::runtime::clock::Clock;
use crate::runtime::readiness::Gate;
use crate::sources::draft::{BodyFacts, Draft, DraftKey, LabelPairs, MAX_TABLE, Shared, SignalTexts};
use crate::sources::writer::{LatestReports, RecalledAlert, SignalWriter, told};

/// As `spec.source.instance`: nobody's webhook.
const POLL: &str = "poll";
/// So many polls after its start an Alertmanager has heard of all its alerts: Prometheus tells them every minute.
const SETTLED: u32 = 4;
/// After a longer time without a look at them, all Signals are read again.
const FORGETFUL: SignedDuration = SignedDuration::from_hours(1);
/// Replicas' clocks differ by less.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// What the flags say.
#[derive(Clone, Debug)]
pub struct PollSettings {
    /// Whom to ask.
    pub peers: PeerSettings,
    /// How often.
    pub every: Duration,
    /// Occurrences in one Signal.
    pub batch: usize,
    /// Bytes of what is taken for a webhook's body.
    pub max_body: usize,
    /// Further rules.
    pub settings_file: Option<PathBuf>,
}

/// See the module.
#[derive(Clone)]
pub struct Poller {
    settings: PollSettings,
    rules: TargetRules,
    policies: Arc<Policies>,
    writer: Arc<SignalWriter>,
    clock: Clock,
    metrics: Metrics,
    notice: Gate,
}

#[derive(Default)]
struct PollState {
    latest: LatestReports,
    /// When Signals were read last.
    read: Option<Timestamp>,
    comparison: Comparison,
}

impl Poller {
    /// Reads the settings file; the message says what is wrong with it.
    pub fn open(
        settings: PollSettings,
        policies: Arc<Policies>,
        writer: Arc<SignalWriter>,
        clock: Clock,
        metrics: Metrics,
        notice: Gate,
    ) -> Result<Self, String> {
        let rules = rules_of(settings.settings_file.as_deref())?.reaching(writer.reach());
        metrics.polls.begin();
        metrics.gateway.of(ALERTMANAGER.label).begin_storing();
        Ok(Self { settings, rules, policies, writer, clock, metrics, notice })
    }

    /// Polls until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        if stop.run_until_cancelled(self.policies.policies_listed()).await.is_none() {
            return;
        }
        let mut state = PollState::default();
        let mut ticks = tokio::time::interval(self.settings.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            // A poll that is broken off has told nothing by halves: each Signal is whole.
            let Some(result) = stop.run_until_cancelled(self.poll(&mut state)).await else { return };
            self.metrics.polls.result(result);
        }
    }

    async fn poll(&self, state: &mut PollState) -> PollResult {
        // What a webhook tells from now on is later than what this poll finds.
        let now = Timestamp::from_microsecond(self.clock.now().as_microsecond()).unwrap_or_default();
        if let Err(fault) = self.read_signals(state, now).await {
            self.notice.close(&format!("Signals cannot be compared with Alertmanager: {fault}"));
            return PollResult::Failed;
        }
        let told = Comparison::told(&state.latest);
        let settled = now.checked_sub(self.settings.every * SETTLED).unwrap_or(now);
        let (mut polled, mut silent) = (Polled::default(), Vec::new());
        // One after the other: an answer may be large.
        for url in &self.settings.peers.urls {
            let wants = |fingerprint: &str| state.comparison.wants(&told, fingerprint, now);
            let answer = self.settings.peers.ask(url, wants).await;
            if let Err(fault) = &answer {
                silent.push(format!("{url}: {fault}"));
            }
            polled.add(answer, settled);
        }
        let result = polled.result();
        self.say(result, &polled, &silent);
        let missed = state.comparison.compare(&state.latest, polled);
        self.report(&mut state.comparison, missed, now).await;
        result
    }

    /// All of them at first, and then those that came since.
    async fn read_signals(&self, state: &mut PollState, now: Timestamp) -> Result<(), String> {
        let last = state.read.filter(|last| now.duration_since(*last) < FORGETFUL);
        if last.is_none() {
            state.latest = LatestReports::default();
        }
        let recalled = self.writer.recall(ALERTMANAGER.kind, last.map(|last| [last, now]), &mut state.latest).await;
        recalled.map_err(|error| told(&error))?;
        state.read = Some(now);
        state.latest.forget_ends(now - SKEW);
        Ok(())
    }

    /// It does not make the operator unready: everything else works.
    fn say(&self, result: PollResult, polled: &Polled, silent: &[String]) {
        let meanwhile = "meanwhile no alert is over but by a webhook";
        match result {
            PollResult::Done | PollResult::Settling | PollResult::Failed => self.notice.open(),
            PollResult::NoAnswer => {
                self.notice.close(&format!("Alertmanager does not answer, {meanwhile}: {}", silent.join("; ")));
            }
            PollResult::NotAll => {
                let (all, asked) = polled.peers();
                let peers = format!("Alertmanager's cluster has {all} peers, of which {asked} are asked");
                self.notice.close(&format!("{peers}, {meanwhile}: give --alertmanager-url for each"));
            }
        }
    }

    async fn report(&self, comparison: &mut Comparison, missed: Missed, now: Timestamp) {
        let Missed { ends, fires } = missed;
        let ends = drafts_of_ends(ends, self.settings.batch, now);
        let fires = self.drafts_of_fires(fires, comparison, now);
        for (what, drafts) in [(ToldByPoll::Fires, fires), (ToldByPoll::Ends, ends)] {
            let (mut alerts, mut failed) = (0, None);
            for (draft, stored) in drafts.iter().zip(self.writer.store(&drafts).await) {
                match stored {
                    Ok(_) => alerts += draft.table().lines().count() as u64,
                    Err(error) => failed = Some(error),
                }
            }
            if alerts > 0 {
                tracing::info!(alerts, ?what, "Alertmanager was asked, and what no webhook has told is told now");
                self.metrics.polls.told(what, alerts);
            }
            if let Some(error) = failed {
                let error = told(&error);
                tracing::warn!(error, ?what, "what Alertmanager says is not stored yet; the next poll tries again");
            }
        }
    }

    /// As if a webhook told them.
    fn drafts_of_fires(
        &self,
        fires: BTreeMap<String, String>,
        comparison: &mut Comparison,
        now: Timestamp,
    ) -> Vec<Draft> {
        let (policies, mut drafts) = (self.policies.view().set, Vec::new());
        for (fingerprints, body) in bodies(fires, self.settings.max_body) {
            let Ok(read) = read_body(body.as_bytes(), usize::MAX) else {
                for fingerprint in &fingerprints {
                    comparison.give_up(fingerprint);
                }
                continue;
            };
            let webhook = batch(&read, &self.rules, &policies, self.settings.batch, now);
            for (fingerprint, fate) in fingerprints.iter().zip(&webhook.alerts) {
                if !matches!(fate.verdict, AlertVerdict::In(_) | AlertVerdict::Again(_)) {
                    comparison.give_up(fingerprint);
                }
            }
            drafts.extend(webhook.signals);
        }
        drafts
    }
}

/// Bodies of at most so many bytes, each with the fingerprints of its alerts. One that is larger alone is a body of its own.
fn bodies(fires: BTreeMap<String, String>, max_body: usize) -> Vec<(Vec<String>, String)> {
    let mut bodies: Vec<(Vec<String>, String)> = Vec::new();
    for (fingerprint, alert) in fires {
        if let Some((fingerprints, body)) = bodies.last_mut()
            && body.len() + alert.len() + 3 <= max_body
        {
            body.push(',');
            body.push_str(&alert);
            fingerprints.push(fingerprint);
        } else {
            let head = format!(r#"{{"version":"{}","receiver":"{POLL}","alerts":["#, ALERTMANAGER.version);
            bodies.push((vec![fingerprint], head + &alert));
        }
    }
    for (_, body) in &mut bodies {
        body.push_str("]}");
    }
    bodies
}

/// One Signal or more for each that told of some of them.
fn drafts_of_ends(ends: Vec<RecalledAlert>, most: usize, now: Timestamp) -> Vec<Draft> {
    let shared = Arc::new(Shared::of(&BodyFacts {
        prefix: ALERTMANAGER.prefix,
        kind: ALERTMANAGER.kind,
        label: ALERTMANAGER.label,
        instance: Some(POLL),
        url: None,
        group_labels: &LabelPairs::new(),
        incomplete: false,
        received: now,
    }));
    let mut tables = BTreeMap::<_, (Arc<DraftKey>, Vec<_>)>::new();
    for RecalledAlert { key, starts_at, fingerprint, resource, .. } in ends {
        let start = starts_at.map_or_else(|| "-".to_owned(), |time| time.to_string());
        let line = format!("resolved {start} {fingerprint} {resource}\n");
        let order = (key.namespace.clone(), key.cluster.clone(), key.name.clone(), key.severity.rank());
        tables.entry(order).or_insert_with(|| (key, Vec::new())).1.push(line);
    }
    let mut drafts = Vec::new();
    for (key, mut lines) in tables.into_values() {
        lines.sort_unstable();
        let mut lines = lines.as_slice();
        while !lines.is_empty() {
            let mut table = String::new();
            let fits = |line: &&String| {
                let fits = table.is_empty() || table.len() + line.len() <= MAX_TABLE;
                if fits {
                    table.push_str(line);
                }
                fits
            };
            let taken = lines.iter().take(most).take_while(fits).count();
            lines = &lines[taken..];
            drafts.push(key.draft(table, SignalTexts::default(), &shared));
        }
    }
    drafts
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
