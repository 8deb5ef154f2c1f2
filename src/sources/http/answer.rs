//! Why a request is refused, as a problem of RFC 9457.
//!
//! The codes are chosen for Alertmanager: it tries again on 5xx and on silence, and drops what is answered with any 4xx, 429 included.

use axum::body::Body;
use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use serde_json::json;

use crate::metrics::GatewayAnswer;

/// For `Retry-After`, in seconds.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Why a request was not answered with 200.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is none that a source takes.
    #[error("{0}")]
    NotFound(String),
    /// Its method is another one.
    #[error("this takes POST only")]
    Method,
    /// It shows no token.
    #[error("send the token of --gateway-token-file as Authorization: Bearer TOKEN")]
    Unauthorized,
    /// Its body is of another type.
    #[error("{0}")]
    MediaType(String),
    /// Its body is over the bound.
    #[error("{0}")]
    TooLarge(String),
    /// Its body cannot be read.
    #[error("{0}")]
    BadBody(String),
    /// To be tried again.
    #[error("{0}")]
    Unavailable(String),
}

impl Problem {
    /// Its status, as metrics call it.
    pub fn answer(&self) -> GatewayAnswer {
        match self {
            Self::NotFound(_) => GatewayAnswer::NotFound,
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
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadBody(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// As `application/problem+json`.
    pub fn response(&self) -> Response<Body> {
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
            Self::NotFound(_) | Self::MediaType(_) | Self::BadBody(_) => None,
        };
        response.headers_mut().extend(header);
        response
    }
}

/// A response with this body.
pub fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_its_status_and_what_to_do_and_is_never_429() {
        let problems = [
            (Problem::NotFound("x".into()), 404, None),
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
