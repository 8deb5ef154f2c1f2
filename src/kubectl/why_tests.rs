//! `why` on objects that no cluster is needed for: every verdict, every end, every kind of occurrence.

use jiff::Timestamp;
use rstest::rstest;
use serde_json::json;
use stormfold_core::engine::receipts::{Receipt, Verdict};

use super::fixtures::{at, closed, name_of, request, signal};
use super::scene::Scene;
use super::text::Style;
use super::why_request::why_request;
use super::why_signal::{SignalAnswer, why_signal};
use super::why_text::{request_text, signal_text};
use crate::api::{CloseReason, Outcome, RemediationRequest, RemediationStatus, Signal, StormPolicy};
use crate::cluster::receipt::status;
use crate::storm::holding::{HeldBack, Predecessor};
use crate::storm::matching::Labels;
use crate::storm::{HeldReports, Past, Rejection, SignalRef};

/// A cluster with these objects, all of which may be seen.
fn scene(policies: Vec<StormPolicy>, requests: Vec<RemediationRequest>, now: Timestamp) -> Scene {
    let mut scene = Scene::new(now);
    (scene.policy_objects, scene.requests) = (policies, Some(requests));
    (scene.labels, scene.signals) = (Some(Labels::new()), Some(Vec::new()));
    scene.compile("shop");
    scene
}

fn policy(name: &str, spec: &serde_json::Value) -> StormPolicy {
    let object = json!({ "apiVersion": "stormfold.dev/v1alpha1", "kind": "StormPolicy", "metadata": { "name": name }, "spec": spec });
    serde_json::from_value(object).unwrap()
}

/// The Signal with the receipt that the operator writes for this verdict.
fn told(mut signal: Signal, storm: Option<&str>, verdict: Verdict, held: HeldReports) -> Signal {
    let rejected = i64::from(matches!(verdict, Verdict::PartlyRejected(_)));
    let receipt = Receipt {
        signal: SignalRef { namespace: "shop".into(), name: "it".into(), uid: "uid".into() }.into(),
        storm: storm.map(str::to_owned),
        others: Vec::new(),
        total: 1,
        new: 1,
        rejected,
        held,
        verdict,
        missing_labels: Vec::new(),
        version: None,
        pending: None,
        severity: crate::api::Severity::Warning,
    };
    signal.status = Some(status(&receipt, at(5)));
    signal
}

fn became(answer: &SignalAnswer) -> Vec<&'static str> {
    answer.occurrences.iter().map(|of| of.became).collect()
}

const THREE: &str = "firing - a Pod/a\nfiring - b Pod/b\nresolved - c -";

fn plain() -> Style {
    Style { colours: false, now: at(60) }
}

#[test]
fn what_is_counted_is_told_with_its_storm_and_what_is_not_with_its_reason() {
    let storm = request("HighLatency", 0);
    let held = vec![(1, Past::Over), (2, Past::Handled)];
    let signal = told(signal("HighLatency", THREE), Some(&name_of(&storm)), Verdict::Merged, held);
    let answer = why_signal(&signal, &scene(Vec::new(), vec![storm.clone()], at(60)));
    assert_eq!(became(&answer), ["Counted", "Over", "Handled"]);
    assert_eq!(
        answer.answer,
        format!("1 of its 3 occurrences are in {} (Open); 2 in none, over or handled", name_of(&storm))
    );
    assert_eq!((answer.storms[0].state.as_str(), answer.storms[0].occurrences), ("Open", 1));
    let text = signal_text(&answer, false, plain());
    assert!(text.contains("Group:   \"HighLatency in shop\", by name=\"HighLatency\" namespace=\"shop\""), "{text}");
    assert!(text.contains("2   resolved   c             -          in no storm: somebody had closed"), "{text}");
}

#[test]
fn a_refused_occurrence_is_told_by_its_own_line_and_the_others_count() {
    let storm = request("HighLatency", 0);
    let lines = "firing - a Pod/a\n\nfiring\nresolved - b Bad!/x\nfiring - c -";
    let verdict = Verdict::PartlyRejected("spec.table line 3: short".into());
    let signal = told(signal("HighLatency", lines), Some(&name_of(&storm)), verdict, Vec::new());
    let answer = why_signal(&signal, &scene(Vec::new(), vec![storm], at(60)));
    assert_eq!(became(&answer), ["Counted", "Refused", "Refused", "Counted"]);
    assert!(answer.occurrences[1].because.starts_with("refused: spec.table line 3: "), "{:?}", answer.occurrences[1]);
    assert!(answer.occurrences[2].because.starts_with("refused: spec.table line 4: "), "{:?}", answer.occurrences[2]);
}

#[test]
fn items_that_are_refused_keep_their_numbers() {
    let mut signal = signal("HighLatency", "x");
    (signal.spec.table, signal.spec.occurrences) = (
        None,
        serde_json::from_value(json!([
            { "resource": { "kind": "Pod", "name": "a" } }, { "resource": { "kind": "pod", "name": "b" } },
        ]))
        .unwrap(),
    );
    let answer = why_signal(&signal, &scene(Vec::new(), Vec::new(), at(60)));
    assert_eq!(became(&answer), ["Untold", "Refused"]);
    assert!(answer.occurrences[1].because.contains("spec.occurrences[1].resource"), "{:?}", answer.occurrences[1]);
}

fn before() -> Predecessor {
    Predecessor {
        name: "storm-before".into(),
        outcome: Outcome::Failed,
        finished: None,
        closed: at(0),
        acknowledged: false,
    }
}

// Each verdict of the operator gets an answer that names it and says what to do.
#[rstest]
#[case(Verdict::Rejected(Rejection { reason: "TooManyLines", message: "2,001 lines".into(), occurrences: 3 }), "has more lines", "Refused")]
#[case(Verdict::Rejected(Rejection { reason: "CrossNamespace", message: "m".into(), occurrences: 3 }), "another namespace", "Refused")]
#[case(Verdict::Rejected(Rejection { reason: "Malformed", message: "m".into(), occurrences: 3 }), "cannot read", "Refused")]
#[case(Verdict::Rejected(Rejection { reason: "NoValidOccurrence", message: "m".into(), occurrences: 3 }), "not one of its", "Refused")]
#[case(Verdict::HeldBack(HeldBack::Suspended("nightly".into())), "suspended", "Waits")]
#[case(Verdict::HeldBack(HeldBack::CoolingDown(before(), at(300))), "cool-down", "Waits")]
#[case(Verdict::RequestRefused("exceeded quota".into()), "exceeded quota", "Waits")]
#[case(Verdict::NoRoom("the ledger is full".into()), "the ledger is full", "Waits")]
fn every_verdict_is_answered(#[case] verdict: Verdict, #[case] says: &str, #[case] fate: &str) {
    let signal = told(signal("HighLatency", THREE), None, verdict, Vec::new());
    let answer = why_signal(&signal, &scene(Vec::new(), Vec::new(), at(60)));
    assert!(answer.answer.contains(says), "{}", answer.answer);
    assert!(became(&answer).iter().all(|became| *became == fate), "{:?}", became(&answer));
    assert!(!answer.next.is_empty(), "it says what to do");
    // The cool-down of a storm that is gone by now is over; all others wait for something that is named.
    let waits = answer.waits.is_some_and(|waits| !waits.ends_by.is_empty());
    assert_eq!(waits, fate == "Waits" && !answer.answer.contains("by now"), "{}", answer.answer);
}

fn failed(second: i64) -> RemediationRequest {
    let mut object = closed(request("HighLatency", second), CloseReason::RemediationFinished);
    let remediation = RemediationStatus { outcome: Some(Outcome::Failed), ..RemediationStatus::default() };
    object.status.as_mut().unwrap().remediation = Some(remediation);
    object
}

// The cool-down is that of the rules: from the end, for as long as the policy says, until an acknowledgement.
#[test]
fn a_signal_without_a_receipt_is_told_what_the_rules_say_now() {
    let signal = signal("HighLatency", THREE);
    let answer = |requests, now| why_signal(&signal, &scene(Vec::new(), requests, now));
    let waits = answer(vec![failed(0)], at(60)).waits.unwrap();
    assert_eq!(
        (waits.until, waits.ends_by.as_str()),
        (Some(at(20 + 300)), format!("kubectl storm ack {}", name_of(&failed(0))).as_str())
    );
    let later = answer(vec![failed(0)], at(320));
    assert!(
        later.waits.is_none() && later.answer.contains("it would open a storm of \"HighLatency in shop\""),
        "{}",
        later.answer
    );
    let joins = answer(vec![failed(0), request("HighLatency", 50)], at(60));
    assert!(
        joins.answer.contains(&format!("it would join {}", name_of(&request("HighLatency", 50)))),
        "{}",
        joins.answer
    );
    let suspended = why_signal(&signal, &scene(vec![policy("p", &json!({ "suspended": true }))], Vec::new(), at(60)));
    assert_eq!(suspended.waits.unwrap().until, None);
}

// By the order in which the operator asks them, and with what each asks and does not find.
#[test]
fn the_policy_that_counts_is_named_and_each_other_says_why_not() {
    let policies = vec![
        policy("named", &json!({ "priority": 9, "match": { "names": ["Disk*"] } })),
        policy("severe", &json!({ "priority": 8, "match": { "severities": ["critical"], "sources": ["probe"] } })),
        policy("labelled", &json!({ "priority": 7, "match": { "labelSelector": { "matchLabels": { "team": "a" } } } })),
        policy("wins", &json!({ "priority": 5, "match": { "names": ["High*"] } })),
        policy("low", &json!({ "priority": 1 })),
        policy("broken", &json!({ "priority": 99, "groupBy": ["colour"] })),
    ];
    let answer = why_signal(&signal("HighLatency", THREE), &scene(policies, Vec::new(), at(60))).policy.unwrap();
    assert_eq!(answer.name, "wins");
    let others: Vec<String> = answer.others.iter().map(|other| format!("{}: {}", other.name, other.because)).collect();
    assert_eq!(
        others,
        [
            "named: the name is \"HighLatency\", and it wants Disk*",
            "severe: the severity is warning, and it wants critical; the source is not stated, and it wants probe",
            "labelled: the Signal lacks team, and it wants a",
            "low: it matches, too, and comes after wins: its priority is 1, not 5",
            "broken: it cannot be in force",
        ]
    );
}

#[test]
fn what_may_not_be_seen_is_said_and_not_guessed() {
    let mut scene = Scene::new(at(60));
    scene.requests = Some(vec![request("HighLatency", 0)]);
    scene.missing = vec![super::access::cluster_right::<StormPolicy>("list", "")];
    let answer = why_signal(&signal("HighLatency", THREE), &scene);
    assert!(answer.policy.is_none() && answer.waits.is_none() && answer.group.is_none());
    // Nor is a policy chosen by labels of a namespace that may not be seen.
    let by_labels = json!({ "match": { "namespaceSelector": { "matchLabels": { "team": "a" } } } });
    let mut blind = self::scene(vec![policy("by-labels", &by_labels)], Vec::new(), at(60));
    blind.labels = None;
    let chosen = why_signal(&signal("HighLatency", THREE), &blind);
    assert!(chosen.policy.is_none() && !chosen.answer.contains("would"), "{}", chosen.answer);
    assert_eq!(
        answer.unknown,
        ["you lack the right to list stormpolicies.stormfold.dev in the whole cluster: what depends on it is left out"]
    );
}

fn answer_of(
    object: &RemediationRequest,
    requests: Vec<RemediationRequest>,
    now: i64,
) -> super::why_request::RequestAnswer {
    why_request(object, &scene(Vec::new(), requests, at(now)))
}

#[test]
fn an_open_storm_says_what_ends_it_next() {
    let object = request("HighLatency", 0);
    let end = answer_of(&object, vec![object.clone()], 60).end.unwrap();
    assert_eq!((end.at, end.reason), (Some(at(600)), Some(CloseReason::Quiet)));
    let mut over = object.clone();
    over.status.as_mut().unwrap().storm.as_mut().unwrap().firing_count = 0;
    let end = answer_of(&over, vec![over.clone()], 60).end.unwrap();
    assert_eq!((end.at, end.reason), (Some(at(300)), Some(CloseReason::Resolved)));
    assert!(answer_of(&over, vec![over.clone()], 301).answer.contains("it ends as Resolved"));
}

#[rstest]
#[case("stormfold.dev/close", Some(CloseReason::Requested))]
#[case("stormfold.dev/hold-open", None)]
fn what_a_person_asked_for_comes_before_the_policy(#[case] annotation: &str, #[case] reason: Option<CloseReason>) {
    let mut object = request("HighLatency", 0);
    object.metadata.annotations = Some([(annotation.to_owned(), "true".to_owned())].into());
    let end = answer_of(&object, vec![object.clone()], 60).end.unwrap();
    assert_eq!(end.reason, reason);
    assert!(end.because.contains(annotation), "{}", end.because);
}

#[test]
fn of_two_open_storms_of_a_group_the_younger_is_superseded() {
    let (older, younger) = (request("HighLatency", 0), request("HighLatency", 30));
    let end = answer_of(&younger, vec![older, younger.clone()], 60).end.unwrap();
    assert_eq!(end.reason, Some(CloseReason::Superseded));
}

// Every end has its words.
#[rstest]
#[case(CloseReason::Resolved, "settleDelay")]
#[case(CloseReason::Quiet, "quietPeriod")]
#[case(CloseReason::MaxAge, "maxAge")]
#[case(CloseReason::RemediationFinished, "outcome")]
#[case(CloseReason::Superseded, "older")]
#[case(CloseReason::Requested, "annotation")]
fn a_closed_storm_says_what_ended_it_and_what_comes_next(#[case] reason: CloseReason, #[case] says: &str) {
    let object = closed(request("HighLatency", 0), reason);
    let answer = answer_of(&object, vec![object.clone()], 60);
    assert_eq!(answer.state, "Closed");
    assert!(answer.answer.contains(says) && answer.answer.contains("opens a successor at once"), "{}", answer.answer);
}

#[test]
fn a_closed_storm_says_how_long_its_successor_waits() {
    let object = failed(0);
    let answer = answer_of(&object, vec![object.clone()], 60);
    assert_eq!(answer.waits.as_ref().unwrap().until, Some(at(320)));
    let text = request_text(&answer, plain());
    assert!(text.contains("Waits:      until 2027-01-15T08:05:20Z (in 4m20s)\n"), "{text}");
    assert!(text.contains("Ended by:   kubectl storm ack storm-"), "{text}");
}

#[test]
fn what_somebody_else_made_is_not_taken_for_ours() {
    let mut object = request("HighLatency", 0);
    object.metadata.name = Some("mine".into());
    let answer = answer_of(&object, Vec::new(), 60);
    assert!(answer.answer.contains("somebody else's"), "{}", answer.answer);
}
