//! What the engine is given and gives back, as values of its own types. The search counts in small numbers: storms by the second in which they
//! opened, occurrences one bit each.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use stormfold_core::request::{End, Remediation, Request, Shown};
use stormfold_core::storm::decide::Wish;
use stormfold_core::storm::fixtures::observation;
use stormfold_core::storm::name::storm_name;
use stormfold_core::storm::{
    Observation, Opening, Outcome, Past, Policy, PolicySet, Report, Says, Severity, SignalRef, StormId, StormKey,
    StormMetadata,
};

use super::case::Said;
use super::redis::{Epoch, Facts, number};
use super::watch::Observed;
use super::world::{Object, Receipt, Sig};

const START: i64 = 1_800_000_000;
/// More storms than any search opens, and more Signals.
const MOST: u8 = 32;

/// What is the same in all states.
struct Values {
    template: Observation,
    policies: Arc<PolicySet>,
    names: Vec<String>,
    signals: Vec<Arc<SignalRef>>,
}

static VALUES: LazyLock<Values> = LazyLock::new(|| {
    let template = observation(Vec::new(), (START, START), Severity::Warning);
    // A pause between two writes is only a delay, and no step waits for one.
    let policy = Policy { publish_interval: Duration::ZERO, ..Policy::default() };
    let signal = |sig: Sig| SignalRef { namespace: "prod".into(), name: format!("s{sig}"), uid: format!("u{sig}") };
    Values {
        policies: Arc::new(PolicySet::new(Vec::new(), Arc::new(policy), HashMap::new())),
        names: (0..MOST).map(|epoch| storm_name(&template.opening.pattern, second(epoch))).collect(),
        signals: (0..MOST).map(|sig| Arc::new(signal(sig))).collect(),
        template,
    }
});

/// One policy, without a pause between two writes.
pub fn policies() -> Arc<PolicySet> {
    VALUES.policies.clone()
}

/// The one StormKey that there is.
pub fn key() -> StormKey {
    VALUES.template.key
}

fn opening() -> &'static Arc<Opening> {
    &VALUES.template.opening
}

pub fn second(epoch: Epoch) -> i64 {
    START + i64::from(epoch)
}

pub fn epoch_of(second: i64) -> Epoch {
    u8::try_from(second - START).unwrap()
}

pub fn time(epoch: Epoch) -> Timestamp {
    Timestamp::from_second(second(epoch)).unwrap()
}

pub fn storm(epoch: Epoch) -> StormId {
    StormId { key: key(), epoch: second(epoch) }
}

pub fn name(epoch: Epoch) -> String {
    VALUES.names[usize::from(epoch)].clone()
}

pub fn epoch_named(name: &str) -> Epoch {
    let epoch = VALUES.names.iter().position(|of| of == name).unwrap();
    u8::try_from(epoch).unwrap()
}

pub fn signal_of(signal: &SignalRef) -> Sig {
    signal.name[1..].parse().unwrap()
}

/// A Signal as an event shows it.
pub fn observed(signal: Sig, said: Said, receipt: Option<Receipt>) -> Observation {
    let Said { alerts, at, says } = said;
    let firing = says != Says::Resolved;
    let reports = (0..8).filter(|bit| alerts & (1 << bit) != 0);
    let (storm, held) = receipt.unwrap_or_default();
    let is_held = |place: &u16| held & (1 << place) != 0;
    Observation {
        signal: VALUES.signals[usize::from(signal)].clone(),
        reports: reports.map(|bit| Report { uid: bit, firing, resource: None }).collect(),
        held: (0..8).filter(is_held).map(|place| (place, Past::Over)).collect(),
        reported_at: time(at),
        resolvable: says != Says::Firing { resolvable: false },
        has_receipt: receipt.is_some(),
        receipt: storm.map(name),
        ..VALUES.template.clone()
    }
}

/// Where a page of Signals ended, as the API server says it: what is left of the list, as of the moment of its first page.
pub fn token(rest: &[Observed]) -> Option<String> {
    let receipt = |receipt: &Option<Receipt>| match receipt {
        None => "owed".to_owned(),
        Some((None, held)) => format!("none/{held}"),
        Some((Some(epoch), held)) => format!("{epoch}/{held}"),
    };
    let text: Vec<String> = rest.iter().map(|(signal, told)| format!("{signal}={}", receipt(told))).collect();
    (!text.is_empty()).then(|| text.join(","))
}

/// What a token says.
pub fn rest_of(token: &str) -> Vec<Observed> {
    let receipt = |text: &str| match text {
        "owed" => None,
        told => told.split_once('/').map(|(storm, held)| (storm.parse().ok(), held.parse().unwrap())),
    };
    let item = |text: &str| text.split_once('=').map(|(signal, told)| (signal.parse().unwrap(), receipt(told)));
    token.split(',').map(|text| item(text).unwrap()).collect()
}

pub fn metadata(Facts { alerts, firing }: Facts) -> StormMetadata {
    StormMetadata {
        pattern: opening().pattern.clone(),
        alert_count: usize::from(alerts),
        firing: usize::from(firing),
        affected_count: 0,
        affected_resources: Vec::new(),
        first_seen: time(0),
        last_seen: time(0),
        severity: Severity::Warning,
        incomplete: false,
    }
}

pub fn facts(metadata: &StormMetadata) -> Facts {
    Facts { alerts: number(metadata.alert_count), firing: number(metadata.firing) }
}

/// A RemediationRequest as the API server gives it.
pub fn request(epoch: Epoch, object: Object) -> Request {
    let Object { revision, finished, shown, closed } = object;
    let end = closed.map(|reason| End { at: Some(time(epoch)), reason: Some(reason) });
    let outcome = finished.then_some(Remediation { outcome: Some(Outcome::Succeeded), finished: None });
    Request {
        id: storm(epoch),
        namespace: opening().object_namespace.clone(),
        name: name(epoch),
        uid: None,
        resource_version: Some(version(object)),
        opening: opening().clone(),
        shown: shown.map(|shown| Shown { facts: metadata(shown), revision: revision.into(), end }),
        storm: None,
        closed: None,
        remediation: outcome,
        wish: Wish::None,
        acknowledged: false,
        writer: None,
        overwritten: None,
    }
}

/// Each write raises one of the two.
pub fn version(object: Object) -> String {
    (2 * object.revision + u8::from(object.finished)).to_string()
}
