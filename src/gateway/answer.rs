//! What the gateway answers: a result for each alert, or a problem (RFC 9457).
//!
//! The codes are chosen for Alertmanager: it tries again on 5xx and on silence, and drops what is answered with any 4xx, 429 included.

use axum::body::Body;
use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::batch::{AlertFate, AlertVerdict};
use super::create::Stored;
use crate::metrics::GatewayAnswer;

/// For `Retry-After`, in seconds.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Why a request was not answered with 200.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("POST the webhooks of Alertmanager to /webhook/alertmanager: there is nothing else here")]
    NotFound,
    #[error("this takes POST only")]
    Method,
    #[error("send the token of --gateway-token-file as Authorization: Bearer TOKEN")]
    Unauthorized,
    #[error("{0}")]
    MediaType(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    BadBody(String),
    /// To be tried again.
    #[error("{0}")]
    Unavailable(String),
}

impl Problem {
    /// Its status, as metrics call it.
    pub(super) fn answer(&self) -> GatewayAnswer {
        match self {
            Self::NotFound => GatewayAnswer::NotFound,
            Self::Method => GatewayAnswer::MethodNotAllowed,
            Self::Unauthorized => GatewayAnswer::Unauthorized,
            Self::MediaType(_) => GatewayAnswer::UnsupportedMediaType,
            Self::TooLarge(_) => GatewayAnswer::ContentTooLarge,
            Self::BadBody(_) => GatewayAnswer::BadRequest,
            Self::Unavailable(_) => GatewayAnswer::Unavailable,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadBody(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// As `application/problem+json`.
    pub(super) fn response(&self) -> Response<Body> {
        let status = self.status();
        let title = status.canonical_reason().unwrap_or_default();
        let body =
            json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": self.to_string() });
        let mut response = respond(status, "application/problem+json", body.to_string().into_bytes());
        let header: Option<(HeaderName, HeaderValue)> = match self {
            Self::Method => Some((ALLOW, HeaderValue::from_static("POST"))),
            Self::Unauthorized => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            // The rest of the body is not read.
            Self::TooLarge(_) => Some((CONNECTION, HeaderValue::from_static("close"))),
            Self::Unavailable(_) => Some((RETRY_AFTER, RETRY_SECONDS)),
            Self::NotFound | Self::MediaType(_) | Self::BadBody(_) => None,
        };
        response.headers_mut().extend(header);
        response
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// What became of the alerts of a body, all of whose Signals are stored.
#[derive(Debug, Serialize)]
pub(super) struct Results<'a> {
    pub(super) accepted: u64,
    pub(super) duplicate: u64,
    pub(super) rejected: u64,
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
                "accepted": 1, "duplicate": 2, "rejected": 1,
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

    #[test]
    fn a_problem_says_its_status_and_what_to_do_and_is_never_429() {
        let problems = [
            (Problem::NotFound, 404, None),
            (Problem::Method, 405, Some(("allow", "POST"))),
            (Problem::Unauthorized, 401, Some(("www-authenticate", "Bearer"))),
            (Problem::MediaType("x".into()), 415, None),
            (Problem::TooLarge("x".into()), 413, Some(("connection", "close"))),
            (Problem::BadBody("x".into()), 400, None),
            (Problem::Unavailable("x".into()), 503, Some(("retry-after", "5"))),
        ];
        for (problem, status, header) in problems {
            let response = problem.response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            if let Some((name, value)) = header {
                assert_eq!(response.headers()[name], value);
            }
        }
    }
}
