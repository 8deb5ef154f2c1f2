//! What is expected beside what is seen.

use jiff::SignedDuration;
use kube::ResourceExt as _;
use serde::Serialize;

use super::file::{Expectation, ExpectedReceipt, ExpectedRequest};
use super::run::START;
use crate::api::{ACCEPTED, RemediationRequest, STORM, Signal, StormState};
use crate::replay::Player;

/// What is not as expected of one request, or one kind of receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// When, from the beginning of the test.
    pub after: String,
    /// Of what.
    pub of: String,
    /// What was compared, with what is as expected.
    pub rows: Vec<DifferenceRow>,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DifferenceRow {
    /// Of the expectation.
    pub field: &'static str,
    /// What should be.
    pub expected: String,
    /// What is.
    pub seen: String,
}

impl DifferenceRow {
    fn new(field: &'static str, expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { field, expected: expected.into(), seen: seen.into() }
    }

    /// Whether it is as expected.
    pub fn is_equal(&self) -> bool {
        self.expected == self.seen
    }
}

/// Of what is not there.
const NOTHING: &str = "-";

pub(super) fn compare(expectation: &Expectation, after: SignedDuration, player: &mut Player) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut tell = |of: String, rows: Vec<DifferenceRow>| {
        if rows.iter().any(|row| !row.is_equal()) {
            differences.push(Difference { after: format!("{after:#}"), of, rows });
        }
    };
    if let Some(expected) = &expectation.requests {
        let mut seen = player.requests();
        let mut unseen = Vec::new();
        for request in expected {
            // The next one of its pattern.
            let place = seen.iter().position(|object| is_of(request, object));
            match place {
                Some(place) => tell(format!("request {:?}", request.pattern), rows(request, seen.remove(place))),
                None => unseen.push(request),
            }
        }
        for request in unseen {
            let row = DifferenceRow::new("pattern", &request.pattern, NOTHING);
            tell(format!("request {:?}", request.pattern), vec![row]);
        }
        for object in seen {
            let pattern = &object.spec.pattern;
            tell(format!("request {pattern:?}"), vec![DifferenceRow::new("pattern", NOTHING, pattern)]);
        }
    }
    let cluster = player.replay().cluster();
    let signals: Vec<&Signal> = cluster.signals().chain(cluster.retired_signals()).collect();
    for receipt in &expectation.receipts {
        tell(format!("receipts of {:?}", receipt.signal), vec![receipt_row(receipt, &signals)]);
    }
    differences
}

fn is_of(expected: &ExpectedRequest, object: &RemediationRequest) -> bool {
    let namespace = object.namespace();
    let fits = expected.namespace.is_none() || expected.namespace == namespace;
    object.spec.pattern == expected.pattern && fits
}

fn rows(expected: &ExpectedRequest, object: &RemediationRequest) -> Vec<DifferenceRow> {
    let status = object.status.as_ref();
    let storm = status.and_then(|status| status.storm.as_ref());
    let mut rows = vec![DifferenceRow::new("pattern", &expected.pattern, &object.spec.pattern)];
    let mut row = |field, expected: Option<String>, seen: Option<String>| {
        if let Some(expected) = expected {
            rows.push(DifferenceRow::new(field, expected, seen.unwrap_or_else(|| NOTHING.to_owned())));
        }
    };
    let state = |state: StormState| if state == StormState::Open { "Open" } else { "Closed" }.to_owned();
    let number = |number: i64| number.to_string();
    let since =
        |time: jiff::Timestamp| format!("{:#}", SignedDuration::from_secs(time.duration_since(START).as_secs()));
    let is_storm = || {
        let condition = status?.conditions.iter().find(|condition| condition.type_ == STORM)?;
        Some((condition.status == "True").to_string())
    };
    row("namespace", expected.namespace.clone(), object.namespace());
    row("state", expected.state.map(state), storm.map(|storm| state(storm.state)));
    row("storm", expected.storm.map(|storm| storm.to_string()), is_storm());
    row("alerts", expected.alerts.map(number), storm.map(|storm| number(storm.alert_count)));
    row("firing", expected.firing.map(number), storm.map(|storm| number(storm.firing_count)));
    row("affected", expected.affected.map(number), storm.map(|storm| number(storm.affected_count)));
    let severity = storm.map(|storm| storm.severity.as_str().to_owned());
    row("severity", expected.severity.map(|severity| severity.as_str().to_owned()), severity);
    row("policy", expected.policy.clone(), Some(object.spec.policy_ref.name.clone()));
    let reason = storm.and_then(|storm| storm.close_reason).map(|reason| format!("{reason:?}"));
    row("reason", expected.reason.map(|reason| format!("{reason:?}")), reason);
    let opened = object.creation_timestamp().map(|time| since(time.0));
    row("openedAt", expected.opened_at.map(|time| format!("{:#}", time.0)), opened);
    let closed = storm.and_then(|storm| storm.closed_at.as_ref()).map(|time| since(time.0));
    row("closedAt", expected.closed_at.map(|time| format!("{:#}", time.0)), closed);
    let successor = Some(object.spec.previous_ref.is_some().to_string());
    row("successor", expected.successor.map(|successor| successor.to_string()), successor);
    rows
}

fn receipt_row(expected: &ExpectedReceipt, signals: &[&Signal]) -> DifferenceRow {
    let of = |signal: &&&Signal| {
        let namespace = signal.namespace();
        signal.spec.name == expected.signal && (expected.namespace.is_none() || expected.namespace == namespace)
    };
    let reason = |signal: &Signal| {
        let conditions = &signal.status.as_ref()?.conditions;
        Some(conditions.iter().find(|condition| condition.type_ == ACCEPTED)?.reason.clone())
    };
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for signal in signals.iter().filter(of) {
        *counts.entry(reason(signal).unwrap_or_else(|| "no receipt".to_owned())).or_default() += 1;
    }
    let told = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ");
    let seen = counts.get(&expected.reason).copied().unwrap_or_default();
    let wanted = match expected.count {
        Some(count) => format!("{count} {}", expected.reason),
        None => format!("some {}", expected.reason),
    };
    let holds = expected.count.map_or(seen > 0, |count| count == seen);
    let told = if told.is_empty() { "no such Signal".to_owned() } else { told };
    DifferenceRow::new("reason", wanted.clone(), if holds { wanted } else { told })
}
