//! Why a Signal is where it is: intake, the choice of a policy and of a storm are the operator's own, on what the cluster has now. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;
use stormfold_core::engine::lineage::Choice;
use stormfold_core::engine::receipts::Verdict;

use super::answers::{Fate, Meaning, of_reason, of_verdict};
use super::fates::{OccurrenceFate, ReceiptState, fates, told_of};
use super::scene::Scene;
use super::why_policy::{PolicyAnswer, policy_of};
use super::why_words::{SignalCase, accepted, is_of_choice, state_of};
use crate::api::{ACCEPTED, GROUPED, Signal, SignalStatus};
use crate::storm::holding::HeldBack;
use crate::storm::matching::Labels;
use crate::storm::{DigestKey, Observation, Opening, PolicySet, Reach, Rejection};
use crate::watch::intake::intake;

/// Digests are compared with nothing here.
const DIGESTS: DigestKey = DigestKey::new(*b"kubectl storm ..");

/// Why a Signal is where it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignalAnswer {
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    /// The answer in one sentence or two.
    pub(super) answer: String,
    /// What its condition Accepted says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) told: Option<ToldAnswer>,
    /// What can be done; empty where nothing is to be done.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) next: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<PolicyAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<GroupAnswer>,
    pub(super) storms: Vec<StormAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waits: Option<WaitAnswer>,
    pub(super) occurrences: Vec<OccurrenceAnswer>,
    /// What this does not know, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unknown: Vec<String>,
}

/// What a Signal was told.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToldAnswer {
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) means: String,
    pub(super) since: Timestamp,
}

/// What a Signal or a storm is grouped by.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupAnswer {
    pub(super) pattern: String,
    pub(super) by: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) missing_labels: Vec<String>,
}

/// A storm that has some of a Signal's occurrences.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StormAnswer {
    pub(super) name: String,
    /// Open, Closed, Gone, or Unknown.
    pub(super) state: String,
    /// The policy that it was opened under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
    pub(super) occurrences: usize,
}

/// Why nothing opens, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WaitAnswer {
    pub(super) why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
    pub(super) ends_by: String,
}

/// What became of one occurrence.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OccurrenceAnswer {
    /// Its number, from 0: the items, then the lines.
    pub(super) place: u16,
    pub(super) state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource: Option<String>,
    pub(super) became: &'static str,
    pub(super) because: String,
}

impl WaitAnswer {
    /// What holds a storm back, by the rules of now.
    pub(super) fn of(why: &HeldBack) -> Self {
        match why {
            HeldBack::Suspended(policy) => Self {
                why: why.words(),
                until: None,
                ends_by: format!(
                    "kubectl patch stormpolicy {policy} --type merge -p '{{\"spec\":{{\"suspended\":false}}}}'"
                ),
            },
            HeldBack::CoolingDown(before, until) => {
                Self { why: why.words(), until: Some(*until), ends_by: format!("kubectl storm ack {}", before.name) }
            }
        }
    }
}

/// What intake makes of a Signal. Only the operator knows whether `--cross-namespace` lets it speak of others: its receipt tells.
pub(super) fn taken(signal: &Signal, scene: &Scene, reach: &Reach) -> Result<Observation, Rejection> {
    let (no_policies, no_labels) = (PolicySet::default(), Labels::new());
    let policies = scene.policies_of_signals().unwrap_or(&no_policies);
    intake(signal, policies, scene.labels.as_ref().unwrap_or(&no_labels), reach, &DIGESTS)
}

/// Why a Signal is where it is.
pub(super) fn why_signal(signal: &Signal, scene: &Scene) -> SignalAnswer {
    let none = SignalStatus::default();
    let status = signal.status.as_ref().unwrap_or(&none);
    let told = told_of(status);
    let (wide, narrow) = (taken(signal, scene, &Reach::everything()), taken(signal, scene, &Reach::default()));
    let refused = |taken: &Result<Observation, Rejection>| match taken {
        Ok(observation) => observation.refused.count,
        Err(rejection) => rejection.occurrences,
    };
    let said = status.occurrences.as_ref().and_then(|summary| usize::try_from(summary.rejected).ok());
    let speaks_of_others = refused(&wide) != refused(&narrow);
    let is_bound = speaks_of_others && said == Some(refused(&narrow));
    let taken = if is_bound { &narrow } else { &wide };
    let fates = fates(signal, &told, is_bound);
    let known = scene.policies_of_signals();
    // Its group is what a policy says, and nobody knows it who may not see the policies.
    let opening = taken.as_ref().ok().filter(|_| known.is_some()).map(|observation| group_of(observation, scene));
    let outlook = match told {
        ReceiptState::Not | ReceiptState::Waits(_) => opening.as_ref().and_then(|opening| scene.outlook(opening)),
        ReceiptState::Taken | ReceiptState::Refused | ReceiptState::Strange(_) => None,
    };
    let forecast = forecast(taken, outlook.as_ref());
    let meaning = meaning(&told, status, &forecast);
    let waits = waits(&told, status, &meaning, &forecast, outlook.is_some());
    let case = SignalCase {
        told: &told,
        status,
        means: meaning.means,
        outlook: outlook.as_ref(),
        opening: opening.as_ref(),
        refused: taken.is_err(),
        fates: &fates,
        scene,
    };
    let unknown = unknown(signal, scene, &told, speaks_of_others && !is_bound && said.is_none());
    SignalAnswer {
        kind: "Signal",
        namespace: signal.namespace().unwrap_or_default(),
        name: signal.name_any(),
        answer: case.sentence(),
        told: condition(status, ACCEPTED),
        next: meaning.next,
        policy: known.map(|policies| policy_of(signal, policies, scene)),
        group: group(taken, opening.as_ref(), status, scene),
        storms: storms(status, &fates, scene),
        waits,
        occurrences: fates.iter().map(OccurrenceFate::answer).collect(),
        unknown,
    }
}

/// Where the Signal belongs: an open storm of a grouping that its policy had before keeps what belongs to it.
fn group_of(observation: &Observation, scene: &Scene) -> Opening {
    let is_open =
        |opening: &&std::sync::Arc<Opening>| scene.of_key(opening.key()).iter().any(|object| object.is_open());
    let former = observation.groupings.split_last().and_then(|(_, former)| former.iter().find(is_open));
    former.unwrap_or_else(|| observation.own_grouping()).as_ref().clone()
}

/// Why it waits, and until when: by the rules where it is for them to say, else as it was told.
fn waits(
    told: &ReceiptState,
    status: &SignalStatus,
    meaning: &Meaning,
    forecast: &Verdict,
    by_the_rules: bool,
) -> Option<WaitAnswer> {
    match (forecast, told) {
        (Verdict::HeldBack(why), _) => Some(WaitAnswer::of(why)),
        (_, ReceiptState::Waits(reason)) if !is_of_choice(reason) || !by_the_rules => Some(WaitAnswer {
            why: accepted(status).map(|(_, message)| message.to_owned()).unwrap_or_default(),
            until: None,
            ends_by: meaning.next.to_owned(),
        }),
        _ => None,
    }
}

/// What the rules say now of a Signal without a receipt.
fn forecast(taken: &Result<Observation, Rejection>, outlook: Option<&Choice>) -> Verdict {
    match (taken, outlook) {
        (Err(rejection), _) => Verdict::Rejected(rejection.clone()),
        (Ok(_), Some(Choice::HeldBack(why))) => Verdict::HeldBack(why.clone()),
        (Ok(observation), Some(Choice::Adopt(_) | Choice::Open(_)) | None) => {
            observation.refused.first.clone().map_or(Verdict::Merged, Verdict::PartlyRejected)
        }
    }
}

/// What it was told means; of what the rules say now where it was told nothing.
fn meaning(told: &ReceiptState, status: &SignalStatus, forecast: &Verdict) -> Meaning {
    let said = accepted(status).and_then(|(reason, _)| of_reason(reason));
    match told {
        ReceiptState::Not => of_verdict(forecast),
        ReceiptState::Taken | ReceiptState::Waits(_) | ReceiptState::Refused => {
            said.unwrap_or_else(|| of_verdict(forecast))
        }
        ReceiptState::Strange(_) => {
            Meaning { means: "a newer operator told it something that this version does not know", next: "" }
        }
    }
}

fn condition(status: &SignalStatus, type_: &str) -> Option<ToldAnswer> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some(ToldAnswer {
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        means: of_reason(&condition.reason).map(|meaning| meaning.means.to_owned()).unwrap_or_default(),
        since: condition.last_transition_time.0,
    })
}

fn group(
    taken: &Result<Observation, Rejection>,
    opening: Option<&Opening>,
    status: &SignalStatus,
    scene: &Scene,
) -> Option<GroupAnswer> {
    let observation = taken.as_ref().ok()?;
    let lacks = condition(status, GROUPED).is_some() || accepted(status).is_none();
    // What a storm was opened by counts until that ends, whatever policies say by now.
    let storm = status.storm.as_ref().and_then(|name| scene.request(name)).map(|request| &request.spec);
    let (pattern, by) = match (storm, opening) {
        (Some(spec), _) => (&spec.pattern, &spec.group_labels),
        (None, opening) => opening.map(|opening| (&opening.pattern, &opening.group_labels))?,
    };
    let missing_labels = if lacks && opening.is_some() { observation.missing_labels.clone() } else { Vec::new() };
    Some(GroupAnswer { pattern: pattern.clone(), by: by.clone(), missing_labels })
}

/// The storms that its receipt names.
fn storms(status: &SignalStatus, fates: &[OccurrenceFate<'_>], scene: &Scene) -> Vec<StormAnswer> {
    let names = status.storm.iter().chain(status.other_storms.iter().map(|other| &other.name));
    let mut seen = BTreeSet::new();
    let answer = |name: &String| StormAnswer {
        name: name.clone(),
        state: state_of(name, scene),
        policy: scene.request(name).map(|request| request.spec.policy_ref.name.clone()),
        occurrences: fates.iter().filter(|of| matches!(&of.fate, Fate::In(storm) if storm == name)).count(),
    };
    names.filter(|name| seen.insert((*name).clone())).map(answer).collect()
}

fn unknown(signal: &Signal, scene: &Scene, told: &ReceiptState, depends_on_reach: bool) -> Vec<String> {
    let mut unknown: Vec<String> = scene
        .missing
        .iter()
        .map(|right| format!("you lack the right to {right}: what depends on it is left out"))
        .collect();
    if depends_on_reach && *told == ReceiptState::Not {
        unknown.push(format!(
            "whether Signals of namespace {} may speak of others: only the operator's flag --cross-namespace says it",
            signal.namespace().unwrap_or_default()
        ));
    }
    unknown
}
