//! API calls bounded in time, and what to do about each way in which one fails.

use std::time::Duration;

use crate::metrics::DispositionLabel;

/// The longest that one call may take. Without it a silent API server would hold a call for ever: the client has no timeout of
/// its own, and its retries of 503 last minutes.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

pub use stormfold_core::disposition::Disposition;

/// A call to the API server that failed. The call may have had its effect.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer in time.
    #[error("{what}: no answer within {} s", limit.as_secs())]
    Timeout {
        /// What was tried, on what.
        what: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// An answer, or no connection.
    #[error("{what}: {}", words(cause))]
    Kube {
        /// What was tried, on what.
        what: String,
        /// What came back.
        cause: Box<kube::Error>,
    },
    /// An answer that is not what was asked for: somebody made the object what we would not have written.
    #[error("{what}: the answer is not an object that this operator would have written")]
    Unreadable {
        /// What was tried, on what.
        what: String,
    },
}

/// The API server's own words and its code; kube shows the whole answer as a debug text.
fn words(cause: &kube::Error) -> String {
    match cause {
        kube::Error::Api(status) if !status.message.is_empty() => format!("{} ({})", status.message, status.code),
        other => other.to_string(),
    }
}

/// Runs one API call within [`CALL_TIMEOUT`]. `what` says what is tried, on what: it begins the error's message.
pub async fn call<T>(
    what: impl FnOnce() -> String,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    call_within(CALL_TIMEOUT, what, request).await
}

/// The same within another time.
pub async fn call_within<T>(
    limit: Duration,
    what: impl FnOnce() -> String,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(limit, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(cause)) => Err(ApiError::Kube { what: what(), cause: Box::new(cause) }),
        Err(_) => Err(ApiError::Timeout { what: what(), limit }),
    }
}

impl ApiError {
    /// The HTTP status of the answer, if there was one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Kube { cause, .. } => match cause.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Timeout { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// Whether the object's namespace is gone or on its way out: nothing can be created there any more (case E4).
    pub fn namespace_is_gone(&self) -> bool {
        match self {
            Self::Kube { cause, .. } => match cause.as_ref() {
                kube::Error::Api(status) => {
                    let causes = status.details.iter().flat_map(|details| &details.causes);
                    let gone = status.details.as_ref().is_some_and(|details| details.kind == "namespaces");
                    (status.code == 404 && gone)
                        || (status.code == 403
                            && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating"))
                }
                _ => false,
            },
            Self::Timeout { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// Whether the object's namespace refuses it: its quota, or an admission policy. A right that the operator lacks is not that: the
    /// API server says then that the user cannot do it.
    pub fn is_refused_by_namespace(&self) -> bool {
        match self {
            Self::Kube { cause, .. } => match cause.as_ref() {
                kube::Error::Api(status) if status.message.contains("field not declared in schema") => false,
                kube::Error::Api(status) => match status.code {
                    403 => !status.message.contains(" cannot "),
                    400 | 422 => true,
                    _ => false,
                },
                _ => false,
            },
            Self::Timeout { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Timeout { .. } => Disposition::Unavailable,
            Self::Unreadable { .. } => Disposition::Terminal,
            Self::Kube { cause, .. } => match cause.as_ref() {
                // The API server answers 500 when an apply has a field that its CRD does not know: no retry mends that.
                kube::Error::Api(status) if status.message.contains("field not declared in schema") => {
                    Disposition::Terminal
                }
                kube::Error::Api(status) => match status.code {
                    409 => Disposition::Conflict,
                    429 | 500.. => Disposition::Transient,
                    _ => Disposition::Terminal,
                },
                kube::Error::HyperError(_) | kube::Error::Service(_) => Disposition::Unavailable,
                // Whatever else the client can say is about a request that it could not make or an answer that it could not read.
                _ => Disposition::Terminal,
            },
        }
    }
}

impl From<Disposition> for DispositionLabel {
    fn from(disposition: Disposition) -> Self {
        match disposition {
            Disposition::Terminal => Self::Terminal,
            Disposition::Conflict => Self::Conflict,
            Disposition::Transient => Self::Transient,
            Disposition::Unavailable => Self::Unavailable,
        }
    }
}
