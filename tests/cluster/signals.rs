//! Signals for tests. Names differ from each other on purpose: a swapped argument shows.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::core::ObjectMeta;
use stormfold::api::{Occurrence, OccurrenceResource, OccurrenceState, Severity, Signal, SignalSpec};

/// A Signal without occurrences, of alert `alert`.
pub fn signal(name: &str, alert: &str) -> Signal {
    Signal {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        spec: SignalSpec { name: alert.into(), severity: Severity::Error, ..SignalSpec::default() },
        status: None,
    }
}

/// One Signal with one firing occurrence of its own about Pod `pod-<n>`.
pub fn firing(alert: &str, n: usize) -> Signal {
    let mut signal = signal(&format!("{}-{n}", alert.to_lowercase()), alert);
    signal.spec.occurrences = Some(vec![occurrence(&format!("fp-{n}"), OccurrenceState::Firing, &format!("pod-{n}"))]);
    signal
}

/// The same Signal, reported at this moment. Without, it is its creation time, which is in whole seconds: a storm ends within one.
pub fn as_of(reported_at: Timestamp, mut signal: Signal) -> Signal {
    signal.spec.reported_at = Some(MicroTime(reported_at));
    signal
}

/// An occurrence about a Pod.
pub fn occurrence(fingerprint: &str, state: OccurrenceState, pod: &str) -> Occurrence {
    Occurrence {
        fingerprint: Some(fingerprint.into()),
        state,
        resource: Some(OccurrenceResource { kind: "Pod".into(), name: pod.into(), ..OccurrenceResource::default() }),
        ..Occurrence::default()
    }
}

/// A Signal with a table of firing lines, one for each number, about Pod `pod-<n>`.
pub fn table(name: &str, alert: &str, numbers: impl IntoIterator<Item = usize>) -> Signal {
    let lines = numbers.into_iter().map(|n| format!("firing - fp-{n} Pod/pod-{n}\n"));
    let mut signal = signal(name, alert);
    signal.spec.table = Some(lines.collect());
    signal
}

/// The same as [`firing`] with this name and these labels.
pub fn labelled(name: &str, alert: &str, n: usize, labels: &[(&str, &str)]) -> Signal {
    let mut signal = firing(alert, n);
    signal.metadata.name = Some(name.into());
    signal.spec.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    signal
}
