//! Why a storm is as it is, what ends it and when, and what comes after it: `decide` and the choice of a storm are the operator's own. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde::Serialize;
use stormfold_core::engine::lineage::Choice;
use stormfold_core::request::Request;
use stormfold_core::rules::Rules;

use super::answers::{of_decision, of_end};
use super::scene::Scene;
use super::text::many;
use super::why_signal::{GroupAnswer, WaitAnswer};
use crate::api::{ACCEPTED, CLOSE, HOLD_OPEN, RemediationRequest};
use crate::cluster::{live_request_of, request_of};
use crate::storm::decide::{
    CloseReason, Decision, DropReason, LedgerView, Projection, Reread, Situation, Wish, decide, is_storm,
};
use crate::storm::holding::HeldBack;
use crate::storm::metadata::count;
use crate::storm::name::storm_name;
use crate::storm::{Policy, StormMetadata};

/// Why a storm is as it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestAnswer {
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    /// The answer in one sentence or two.
    pub(super) answer: String,
    /// Open or Closed.
    pub(super) state: &'static str,
    /// What opened it.
    pub(super) opened_by: String,
    pub(super) policy: String,
    pub(super) group: GroupAnswer,
    /// Whether it is a storm by the threshold of its policy, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) threshold: Option<String>,
    /// What ends it, or ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<EndAnswer>,
    /// Why no successor opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waits: Option<WaitAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<String>,
    pub(super) successors: Vec<String>,
    /// How many of its Signals were told what.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) signals: BTreeMap<String, usize>,
    /// What this does not know, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unknown: Vec<String>,
}

/// What ends a storm, or ended it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndAnswer {
    /// When; absent where nothing but a person or an engine ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<CloseReason>,
    pub(super) because: String,
}

/// Why a storm is as it is.
pub(super) fn why_request(object: &RemediationRequest, scene: &Scene) -> RequestAnswer {
    let (name, spec) = (object.name_any(), &object.spec);
    let request = request_of(object);
    let found = scene.policy(&spec.policy_ref.name);
    let mut unknown: Vec<String> = scene
        .missing
        .iter()
        .map(|right| format!("you lack the right to {right}: what depends on it is left out"))
        .collect();
    let (state, end, waits, answer) = match (&request, &found) {
        (None, _) => ("Unknown", None, None, foreign(object)),
        (Some(request), Some((policy, _))) if request.is_open() => {
            let end = next_end(request, scene, policy);
            let answer = open_sentence(request, &end);
            ("Open", Some(end), None, answer)
        }
        (Some(request), None) if request.is_open() => ("Open", None, None, "it is open".to_owned()),
        (Some(request), _) => {
            let policy = found.as_ref().map(|(policy, _)| policy.as_ref().clone()).unwrap_or_default();
            let outlook = scene.outlook(&request.opening);
            let waits = match &outlook {
                Some(Choice::HeldBack(why)) => Some(WaitAnswer::of(why)),
                Some(Choice::Adopt(_) | Choice::Open(_)) | None => None,
            };
            let answer = closed_sentence(request, &policy, outlook.as_ref());
            ("Closed", Some(past_end(request, &policy)), waits, answer)
        }
    };
    if matches!(&found, Some((_, true))) && state == "Open" {
        unknown
            .push("the times of the built-in policy are flags of the operator: their defaults are assumed".to_owned());
    }
    RequestAnswer {
        kind: "RemediationRequest",
        namespace: object.namespace().unwrap_or_default(),
        answer,
        state,
        opened_by: opened_by(object),
        policy: policy_words(object, found.as_ref().map(|(policy, _)| policy.as_ref())),
        group: GroupAnswer { pattern: spec.pattern.clone(), by: spec.group_labels.clone(), missing_labels: Vec::new() },
        threshold: request.as_ref().and_then(|request| Some(threshold(request.facts()?, &found.as_ref()?.0))),
        end,
        waits,
        previous: spec.previous_ref.as_ref().map(|previous| previous.name.clone()),
        successors: successors(&name, scene),
        signals: told(scene),
        name,
        unknown,
    }
}

/// What it is, when it is none of ours.
fn foreign(object: &RemediationRequest) -> String {
    let going = object.metadata.deletion_timestamp.is_some();
    let why =
        "its name, stormKey and pattern do not belong together, so that the operator takes it for somebody else's";
    if going { "it is being deleted: its storm is forgotten".to_owned() } else { why.to_owned() }
}

fn opened_by(object: &RemediationRequest) -> String {
    let signal = &object.spec.signal;
    let source = signal.source_kind.as_ref().map(|kind| format!(" of source {kind}")).unwrap_or_default();
    format!("a Signal of alert {}{source}, severity {}", signal.name, object.spec.severity.as_str())
}

fn policy_words(object: &RemediationRequest, found: Option<&Policy>) -> String {
    let stated = &object.spec.policy_ref.name;
    match found {
        Some(policy) if policy.name != *stated => format!("{stated}, which is gone: {} rules now", policy.name),
        _ => stated.clone(),
    }
}

/// Whether the facts are a storm by this policy.
fn threshold(facts: &StormMetadata, policy: &Policy) -> String {
    let is = if is_storm(facts, policy) { "reached" } else { "not reached" };
    format!(
        "{is}: {} alerts of {}, {} affected resources of {}",
        facts.alert_count, policy.storm_alerts, facts.affected_count, policy.storm_resources
    )
}

/// The storm of this object as the operator would decide on it at `now`, when its ledger has what the object shows.
fn decision(request: &Request, scene: &Scene, policy: &Policy, now: Timestamp) -> Decision {
    let facts = request.facts().map(|facts| facts.clone().capped(policy.affected_cap));
    let resolvable = scene.signals.iter().flatten().any(|signal| signal.spec.resolvable);
    let older = scene.of_key(request.id.key);
    let superseded = older.iter().any(|other| other.is_open() && other.epoch() < request.epoch());
    let mut projection = request.projection(superseded);
    // What is written next is told by the threshold; here it is the end that is looked for.
    if let Projection::Open { metadata, is_storm, .. } = &mut projection {
        (*metadata, *is_storm) = (facts.clone(), true);
    }
    decide(&Situation {
        ledger: &LedgerView::Open { metadata: facts, resolvable, published: true },
        projection: &projection,
        policy,
        epoch: request.epoch(),
        now,
        listed: true,
        behind: Reread::Done,
        over: Reread::Done,
        wrote: false,
        rules: &Rules::default(),
    })
}

/// What ends an open storm next.
fn next_end(request: &Request, scene: &Scene, policy: &Policy) -> EndAnswer {
    let decided = decision(request, scene, policy, scene.now);
    let Decision::Keep(until) = decided else {
        let reason = match &decided {
            Decision::Close(reason) | Decision::WriteClosed(reason, _) => Some(*reason),
            Decision::Drop(DropReason::Superseded) => Some(CloseReason::Superseded),
            _ => None,
        };
        let because = of_decision(&decided, policy).unwrap_or_else(|| "nothing is to be done".to_owned());
        return EndAnswer { at: Some(scene.now), reason, because };
    };
    if request.wish == Wish::HoldOpen {
        let because = format!("the annotation {HOLD_OPEN} keeps it open until somebody removes it, or sets {CLOSE}");
        return EndAnswer { at: None, reason: None, because };
    }
    // An ending is due strictly after its time.
    let just_after = until.checked_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX);
    let reason = match decision(request, scene, policy, just_after) {
        Decision::Close(reason) => Some(reason),
        _ => None,
    };
    let because = reason.map(|reason| of_end(reason, policy)).unwrap_or_default();
    EndAnswer { at: Some(until), reason, because }
}

/// What ended a closed storm.
fn past_end(request: &Request, policy: &Policy) -> EndAnswer {
    let end = request.end();
    let reason = end.and_then(|end| end.reason);
    let because = reason.map_or_else(|| "the object does not say why".to_owned(), |reason| of_end(reason, policy));
    EndAnswer { at: end.and_then(|end| end.at), reason, because }
}

fn open_sentence(request: &Request, end: &EndAnswer) -> String {
    let facts = request.facts().map_or_else(
        || "it has no facts yet".to_owned(),
        |facts| {
            let (alerts, firing) = (many(count(facts.alert_count), "alert"), facts.firing);
            format!("it is open with {alerts}, of which {firing} fire")
        },
    );
    match (end.reason, end.at) {
        (Some(reason), Some(at)) => format!("{facts}; if nothing else comes it ends as {reason:?} after {at:.0}"),
        _ => format!("{facts}; {}", end.because),
    }
}

fn closed_sentence(request: &Request, policy: &Policy, outlook: Option<&Choice>) -> String {
    let end = past_end(request, policy);
    let reason = end.reason.map(|reason| format!(" as {reason:?}")).unwrap_or_default();
    let firing = if request.is_handed_on() { request.facts().map_or(0, |facts| facts.firing) } else { 0 };
    let left = if firing > 0 { format!("; {} fired at its end", many(count(firing), "alert")) } else { String::new() };
    let then = match outlook {
        None => String::new(),
        Some(Choice::Adopt(epoch)) => {
            format!("; {} is open and takes its group in", storm_name(&request.opening.pattern, *epoch))
        }
        Some(Choice::Open(_)) => "; the next news of its group opens a successor at once".to_owned(),
        Some(Choice::HeldBack(HeldBack::CoolingDown(_, until))) => format!("; its successor waits until {until:.0}"),
        Some(Choice::HeldBack(HeldBack::Suspended(policy))) => {
            format!("; no successor opens while StormPolicy {policy} is suspended")
        }
    };
    format!("it was closed{reason}: {}{left}{then}", end.because)
}

/// The storms that followed this one.
fn successors(name: &str, scene: &Scene) -> Vec<String> {
    let mut found: Vec<_> = scene
        .requests
        .iter()
        .flatten()
        .filter(|other| other.spec.previous_ref.as_ref().is_some_and(|previous| previous.name == name))
        .filter(|other| live_request_of(other).is_some())
        .collect();
    found.sort_by_key(|other| other.spec.epoch);
    found.into_iter().map(ResourceExt::name_any).collect()
}

/// How many of its Signals were told what.
fn told(scene: &Scene) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for signal in scene.signals.iter().flatten() {
        let conditions = signal.status.iter().flat_map(|status| &status.conditions);
        let reason = conditions.into_iter().find(|condition| condition.type_ == ACCEPTED);
        *told.entry(reason.map_or_else(String::new, |condition| condition.reason.clone())).or_default() += 1;
    }
    told
}
