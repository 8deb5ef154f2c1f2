//! What goes wrong, and the exit code of each.

use std::fmt;

use crate::runtime::error::ApiError;

/// Exit codes, as docs/kubectl.md has them.
pub mod exit {
    /// All is well.
    pub const DONE: u8 = 0;
    /// It failed: no answer, a conflict, a refusal.
    pub const FAILED: u8 = 1;
    /// What was asked makes no sense.
    pub const USAGE: u8 = 2;
    /// A right is missing.
    pub const FORBIDDEN: u8 = 3;
    /// There is no such object.
    pub const NOT_FOUND: u8 = 4;
    /// `check` found something.
    pub const FINDINGS: u8 = 5;
}

/// A right of the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiRight {
    /// The verb, as in a Role.
    pub verb: &'static str,
    /// The API group; empty for the core.
    pub group: String,
    /// The resource, with its subresource.
    pub resource: String,
    /// In which namespace; `None`: in all, or it has none.
    pub namespace: Option<String>,
}

impl ApiRight {
    fn resource(&self) -> String {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let subresource = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
        format!("{resource}{group}{subresource}")
    }
}

impl fmt::Display for ApiRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource())?;
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => write!(f, " in the whole cluster"),
        }
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The API server said 403.
    #[error("you lack the right to {0}; ask for it, and look with `kubectl auth can-i --list`")]
    MissingRight(ApiRight),
    /// There is no such object.
    #[error("there is no {0}")]
    NotFound(String),
    /// The cluster does not know our resources.
    #[error("this cluster does not know {0}: kubectl apply -f crds/")]
    NoCrds(String),
    /// What was asked makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The storm is not as it would have to be, or somebody else was there before.
    #[error("{0}")]
    Refused(String),
    /// Any other failure of the API.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// No way to the cluster.
    #[error("{0}")]
    NoCluster(String),
    /// The answer cannot be written where it should go.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl PluginError {
    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::MissingRight(_) => exit::FORBIDDEN,
            Self::NotFound(_) => exit::NOT_FOUND,
            Self::Usage(_) => exit::USAGE,
            // Whoever reads no further, such as `head`, has what he wanted.
            Self::Output(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => exit::DONE,
            Self::NoCrds(_) | Self::Refused(_) | Self::Api(_) | Self::NoCluster(_) | Self::Output(_) => exit::FAILED,
        }
    }

    /// What an answer of the API server means for a call that needs this right.
    pub(super) fn of(error: ApiError, right: ApiRight) -> Self {
        // An admission policy and a quota say 403, too, in other words.
        match error.code() {
            Some(403) if !error.is_refused_by_namespace() => Self::MissingRight(right),
            Some(404) if right.verb == "list" => Self::NoCrds(right.resource()),
            _ => Self::Api(error),
        }
    }

    /// What could not be seen, where the rest of an answer does not depend on it.
    pub(super) fn missing(self) -> Result<ApiRight, Self> {
        match self {
            Self::MissingRight(right) => Ok(right),
            other => Err(other),
        }
    }
}
