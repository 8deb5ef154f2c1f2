//! What became of each alert of a webhook, all of whose Signals are stored.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde::Serialize;

use super::batch::{AlertFate, AlertVerdict};
use crate::sources::http::answer::{Problem, respond};
use crate::sources::writer::Stored;

/// What became of the alerts of a body, all of whose Signals are stored.
#[derive(Debug, Serialize)]
pub(super) struct Results<'a> {
    pub(super) accepted: u64,
    pub(super) duplicate: u64,
    pub(super) rejected: u64,
    pub(super) dropped: u64,
    signals: Vec<SignalResult<'a>>,
    alerts: Vec<AlertResult<'a>>,
}

#[derive(Debug, Serialize)]
struct SignalResult<'a> {
    namespace: &'a str,
    name: &'a str,
    created: bool,
}

#[derive(Debug, Serialize)]
struct AlertResult<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    fingerprint: &'a str,
    result: &'static str,
    /// Place in `signals`.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl<'a> Results<'a> {
    /// From what became of each alert, and of each Signal.
    pub(super) fn of(alerts: &'a [AlertFate], stored: &'a [Stored]) -> Self {
        let signals = stored.iter().map(|Stored { namespace, name, created }| SignalResult {
            namespace,
            name,
            created: *created,
        });
        let mut results = Self {
            accepted: 0,
            duplicate: 0,
            rejected: 0,
            dropped: 0,
            signals: signals.collect(),
            alerts: Vec::with_capacity(alerts.len()),
        };
        for AlertFate { fingerprint, verdict } in alerts {
            let (result, signal, why) = match verdict {
                AlertVerdict::In(signal) if stored.get(*signal).is_some_and(|stored| stored.created) => {
                    results.accepted += 1;
                    ("accepted", Some(*signal), None)
                }
                AlertVerdict::In(signal) | AlertVerdict::Again(signal) => {
                    results.duplicate += 1;
                    ("duplicate", Some(*signal), None)
                }
                AlertVerdict::Rejected(why) => {
                    results.rejected += 1;
                    ("rejected", None, Some(why.as_str()))
                }
                AlertVerdict::Dropped(why) => {
                    results.dropped += 1;
                    ("dropped", None, Some(why.as_str()))
                }
            };
            results.alerts.push(AlertResult { fingerprint, result, signal, why });
        }
        results
    }

    /// As JSON.
    pub(super) fn response(&self) -> Response<Body> {
        match serde_json::to_vec(self) {
            Ok(body) => respond(StatusCode::OK, "application/json", body),
            // Numbers and texts can always be written; if not, everything is stored all the same, and a repeat is a duplicate.
            Err(fault) => Problem::Unavailable(format!("the results cannot be written: {fault}")).response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_alert_has_a_result_and_names_its_signal() {
        let fate = |fingerprint: &str, verdict| AlertFate { fingerprint: fingerprint.into(), verdict };
        let alerts = [
            fate("a", AlertVerdict::In(0)),
            fate("b", AlertVerdict::In(1)),
            fate("a", AlertVerdict::Again(0)),
            fate("", AlertVerdict::Rejected("no name".into())),
        ];
        let stored = |name: &str, created| Stored { namespace: "prod".into(), name: name.into(), created };
        let stored = [stored("am-1", true), stored("am-2", false)];
        let results = serde_json::to_value(Results::of(&alerts, &stored)).unwrap();
        assert_eq!(
            results,
            json!({
                "accepted": 1, "duplicate": 2, "rejected": 1, "dropped": 0,
                "signals": [{ "namespace": "prod", "name": "am-1", "created": true }, { "namespace": "prod", "name": "am-2", "created": false }],
                "alerts": [
                    { "fingerprint": "a", "result": "accepted", "signal": 0 },
                    { "fingerprint": "b", "result": "duplicate", "signal": 1 },
                    { "fingerprint": "a", "result": "duplicate", "signal": 0 },
                    { "result": "rejected", "why": "no name" },
                ],
            })
        );
    }
}
