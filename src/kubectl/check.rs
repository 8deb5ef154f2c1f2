//! `check`: whether everything is there that storms need, as far as whoever asks may see it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde::Serialize;

use super::Screen;
use super::access::Access;
use super::fault::{PluginError, exit};
use super::scene::Scene;
use super::text::{Cell, Paint, Style, table};
use super::why_policy::not_in_force;
use crate::api::{ACCEPTED, Signal, StormPolicy, crds};
use crate::runtime::crds::older::lacks;
use crate::runtime::error::call;
use crate::storm::matching::{Criteria, PolicyRule};

/// A Signal without a word of the operator for longer than this is one that nobody reads.
const UNREAD: SignedDuration = SignedDuration::from_mins(2);

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum CheckMark {
    /// As it should be.
    Fine,
    /// It may be meant so.
    Note,
    /// Something is wrong.
    Wrong,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    mark: CheckMark,
    what: String,
    details: String,
}

fn finding(mark: CheckMark, what: impl Into<String>, details: impl Into<String>) -> Finding {
    Finding { mark, what: what.into(), details: details.into() }
}

/// Looks at everything; the exit code tells whether something is wrong.
pub(super) async fn check(access: &Access, screen: &mut Screen<'_>) -> Result<u8, PluginError> {
    let (found, wrong) = findings(access, screen.style.now).await?;
    if !screen.machine(&found)? {
        screen.say(&text(&found, screen.style))?;
    }
    Ok(if wrong { exit::FINDINGS } else { exit::DONE })
}

/// All that was looked at, and whether something is wrong.
pub(super) async fn findings(access: &Access, now: Timestamp) -> Result<(Vec<Finding>, bool), PluginError> {
    let mut found = look_at_crds(access).await?;
    let served = !found.iter().any(|found| found.mark == CheckMark::Wrong && found.details.contains("not installed"));
    found.extend(look_at_rights(access).await?);
    // Without our resources there is nothing more to look at.
    if served {
        let scene = Scene::look(access, now, None).await?;
        found.extend(policies(&scene));
        found.extend(look_at_signals(access, now).await?);
    }
    let wrong = found.iter().any(|found| found.mark == CheckMark::Wrong);
    Ok((found, wrong))
}

async fn look_at_crds(access: &Access) -> Result<Vec<Finding>, PluginError> {
    let api: Api<CustomResourceDefinition> = Api::all(access.client());
    let mut found = Vec::new();
    for ours in crds() {
        let name = ours.name_any();
        let what = format!("CRD {name}");
        found.push(match call(|| format!("get CRD {name}"), api.get(&name)).await {
            Ok(installed) => match lacks(&ours, &installed).first() {
                None => finding(CheckMark::Fine, what, format!("as new as version {}", env!("CARGO_PKG_VERSION"))),
                Some(first) => finding(CheckMark::Wrong, what, format!("older than this program: it lacks {first}")),
            },
            Err(error) if error.code() == Some(404) => {
                finding(CheckMark::Wrong, what, "not installed: kubectl apply -f crds/")
            }
            Err(error) if error.code() == Some(403) => finding(
                CheckMark::Note,
                what,
                "you may not get it: whether it is as new as this program cannot be told",
            ),
            Err(error) => return Err(error.into()),
        });
    }
    Ok(found)
}

/// What each command needs: verb, group, resource, whether of the whole cluster, and for what.
const NEEDS: [(&str, &str, &str, bool, &str); 9] = [
    ("get", "stormfold.dev", "remediationrequests", false, "why, show"),
    ("list", "stormfold.dev", "remediationrequests", false, "list, why, tree, top"),
    ("watch", "stormfold.dev", "remediationrequests", false, "list --watch"),
    ("get", "stormfold.dev", "signals", false, "why"),
    ("list", "stormfold.dev", "signals", false, "why, timeline"),
    ("list", "stormfold.dev", "stormpolicies", true, "why"),
    ("list", "events.k8s.io", "events", false, "show, timeline"),
    ("patch", "stormfold.dev", "remediationrequests", false, "close, hold, ack"),
    ("patch", "stormfold.dev", "remediationrequests/status", false, "finish"),
];

async fn look_at_rights(access: &Access) -> Result<Vec<Finding>, PluginError> {
    let api: Api<SelfSubjectAccessReview> = Api::all(access.client());
    let mut found = Vec::new();
    for (verb, group, resource, wide, needed_by) in NEEDS {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = ResourceAttributes {
            namespace: Some(access.namespace().to_owned()).filter(|_| !wide && !access.is_all()),
            verb: Some(verb.into()),
            group: Some(group.into()),
            resource: Some(resource.into()),
            subresource: Some(subresource.to_owned()).filter(|name| !name.is_empty()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let what = || "ask for your own rights".to_owned();
        let answer = call(what, api.create(&PostParams::default(), &review)).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        let name = [resource, subresource].into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/");
        let (mark, has) = if allowed { (CheckMark::Fine, "yes") } else { (CheckMark::Note, "no") };
        found.push(finding(mark, format!("right to {verb} {name}"), format!("{has}; needed by {needed_by}")));
    }
    Ok(found)
}

/// What is to be said of policies.
fn policies(scene: &Scene) -> Vec<Finding> {
    let Some(set) = &scene.policies else { return Vec::new() };
    let rules = set.rules();
    let of = |object: &StormPolicy| {
        let (name, what) = (object.name_any(), format!("StormPolicy {}", object.name_any()));
        let Some(at) = rules.iter().position(|rule| rule.policy.name == name) else {
            return finding(CheckMark::Wrong, what, not_in_force(object));
        };
        if let Some(first) = rules[..at].iter().find(|first| shadows(first, &rules[at])) {
            let by = &first.policy.name;
            return finding(
                CheckMark::Wrong,
                what,
                format!("never counts: {by} comes before it and matches all that it does"),
            );
        }
        let last = object.status.as_ref().and_then(|status| status.last_match.as_ref());
        match last {
            _ if rules[at].policy.suspended => finding(CheckMark::Note, what, "suspended: its Signals wait"),
            None => finding(CheckMark::Note, what, "has matched no Signal yet"),
            Some(last) => finding(CheckMark::Fine, what, format!("matched last at {:.0}", last.0)),
        }
    };
    scene.policy_objects.iter().map(of).collect()
}

/// Whether whatever a later policy matches is matched by the first: each thing that this asks is asked by the later one in the same words.
fn shadows(first: &PolicyRule, later: &PolicyRule) -> bool {
    let Criteria { names, severities, sources, namespace, labels } = &first.criteria;
    let of = &later.criteria;
    (names.is_none() || *names == of.names)
        && (severities.is_none() || *severities == of.severities)
        && (sources.is_none() || *sources == of.sources)
        && (namespace.is_none() || *namespace == of.namespace)
        && (labels.is_none() || *labels == of.labels)
}

async fn look_at_signals(access: &Access, now: Timestamp) -> Result<Option<Finding>, PluginError> {
    let untold = ListParams::default().fields("status.storm=");
    match access.list::<Signal>(untold).await {
        Ok(signals) => Ok(Some(unread(&signals, now))),
        Err(error) => error.missing().map(|_| None),
    }
}

/// Whether somebody reads Signals.
fn unread(signals: &[Signal], now: Timestamp) -> Finding {
    let is_unread = |signal: &&Signal| {
        let conditions = signal.status.iter().flat_map(|status| &status.conditions);
        let told = conditions.into_iter().any(|condition| condition.type_ == ACCEPTED);
        !told && signal.creation_timestamp().is_some_and(|created| now.duration_since(created.0) > UNREAD)
    };
    let unread = signals.iter().filter(is_unread).count();
    match unread {
        0 => finding(CheckMark::Fine, "Signals", "each is told what became of it"),
        _ => finding(
            CheckMark::Wrong,
            "Signals",
            format!(
                "{unread} are told nothing for more than two minutes: does the operator run, and does it watch here?"
            ),
        ),
    }
}

fn text(found: &[Finding], style: Style) -> String {
    let row = |finding: &Finding| {
        let (paint, word) = match finding.mark {
            CheckMark::Fine => (Paint::Calm, "ok"),
            CheckMark::Note => (Paint::Caution, "note"),
            CheckMark::Wrong => (Paint::Alarm, "WRONG"),
        };
        vec![Cell::painted(Some(paint), word), Cell::from(&finding.what), Cell::from(&finding.details)]
    };
    table(style, &["", "WHAT", "DETAILS"], &found.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubectl::fixtures::{at, signal};

    fn policy(name: &str, spec: &serde_json::Value) -> StormPolicy {
        let object = json!({
            "apiVersion": "stormfold.dev/v1alpha1", "kind": "StormPolicy", "metadata": { "name": name }, "spec": spec,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_policy_that_can_never_count_is_found() {
        let mut scene = Scene::new(at(0));
        scene.policy_objects = vec![
            policy("all", &json!({ "priority": 5 })),
            policy("below", &json!({ "priority": 4, "match": { "names": ["A"] } })),
            policy("above", &json!({ "priority": 6, "match": { "names": ["A"] } })),
            policy("narrower", &json!({ "priority": 5, "match": { "names": ["A"], "severities": ["error"] } })),
            policy("broken", &json!({ "groupBy": ["colour"] })),
        ];
        scene.compile("shop");
        let found = policies(&scene);
        let marks: Vec<CheckMark> = found.iter().map(|found| found.mark).collect();
        assert_eq!(
            marks,
            [CheckMark::Note, CheckMark::Wrong, CheckMark::Note, CheckMark::Wrong, CheckMark::Wrong],
            "{found:?}"
        );
        assert!(found[1].details.contains("above comes before it"), "{found:?}");
        assert!(found[3].details.contains("above comes before it"), "{found:?}");
    }

    #[test]
    fn signals_that_nobody_reads_are_found_after_a_while() {
        let signals = [signal("A", "firing - a -")];
        assert_eq!(unread(&signals, at(60)).mark, CheckMark::Fine);
        assert_eq!(unread(&signals, at(121)).mark, CheckMark::Wrong);
    }
}
