//! Whether the CRDs of the cluster are as new as this operator, told by a gate.

pub mod older;

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::error::{ApiError, call_within};
use super::readiness::Gate;
use older::lacks;

/// How often they are looked at while nothing is wrong: a CRD may be replaced by an older one at any time.
const EVERY: Duration = Duration::from_secs(30);
/// How often while one of them will not do.
const AGAIN: Duration = Duration::from_secs(2);

/// One call: an API server that does not answer must not hold up what would say so.
const CALL: Duration = Duration::from_secs(3);

/// Compares the CRDs of the cluster with those of this operator.
pub struct CrdCheck {
    api: Api<CustomResourceDefinition>,
    ours: Vec<CustomResourceDefinition>,
    gate: Gate,
    /// Whether the log has said that nothing can be told.
    told: bool,
}

/// What was found, the worst of all CRDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CrdState {
    /// All of them will do, or nothing can ever be told.
    Fine,
    /// One of them is not there: the watches say so, too.
    Absent,
    /// The API server does not answer: the watches say so, too.
    Silent,
    /// One of them lacks something.
    Older,
}

impl CrdCheck {
    /// A check of these CRDs; `gate` is open.
    pub fn new(client: Client, ours: Vec<CustomResourceDefinition>, gate: Gate) -> Self {
        Self { api: Api::all(client), ours, gate, told: false }
    }

    /// Holds the start up while a CRD is older than this operator. One that is not there holds nothing up, nor does a check that cannot be
    /// made: then the watches say what is wrong. `None`: stopped.
    pub async fn hold(&mut self, stop: &CancellationToken) -> Option<()> {
        let mut was_older = false;
        loop {
            let held = match stop.run_until_cancelled(Box::pin(self.look())).await? {
                CrdState::Older => {
                    was_older = true;
                    true
                }
                CrdState::Silent => was_older,
                // Once more after it was replaced: the API server serves the new one a moment later.
                CrdState::Fine | CrdState::Absent => std::mem::take(&mut was_older),
            };
            if !held {
                return Some(());
            }
            stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await?;
        }
    }

    /// Looks again and again until `stop`.
    pub async fn watch(mut self, stop: CancellationToken) {
        loop {
            let Some(found) = stop.run_until_cancelled(Box::pin(self.look())).await else { return };
            let wait = if found == CrdState::Fine { EVERY } else { AGAIN };
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// Looks at each, and tells the gate.
    async fn look(&mut self) -> CrdState {
        let (mut worst, mut said) = (CrdState::Fine, Vec::new());
        for ours in &self.ours {
            let name = ours.name_any();
            let (found, complaint) = match call_within(CALL, || format!("get CRD {name}"), self.api.get(&name)).await {
                Ok(installed) => complaint(ours, &installed),
                Err(error) if error.code() == Some(404) => {
                    (CrdState::Absent, Some(format!("the CRD {name} is not installed: kubectl apply -f crds/")))
                }
                // Whatever was said before stays until it is known better.
                Err(error) if matches!(error.code(), Some(401 | 403)) => {
                    self.cannot_tell(&error);
                    return CrdState::Fine;
                }
                Err(error) => {
                    tracing::debug!(%error, "the CRDs are looked at again");
                    return CrdState::Silent;
                }
            };
            worst = worst.max(found);
            said.extend(complaint);
        }
        if said.is_empty() {
            self.gate.open();
        } else {
            self.gate.close(&said.join("; "));
        }
        worst
    }

    fn cannot_tell(&mut self, error: &ApiError) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                %error,
                "whether the CRDs are as new as this operator cannot be told; an older one would show as failures of publish or receipts, or \
                 cut fields out of what is created. With the right to get them (manifests/base/rbac.yaml), /readyz says so"
            );
        }
    }
}

fn complaint(ours: &CustomResourceDefinition, installed: &CustomResourceDefinition) -> (CrdState, Option<String>) {
    let lacks = lacks(ours, installed);
    let Some(first) = lacks.first() else { return (CrdState::Fine, None) };
    let others = match lacks.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let name = ours.name_any();
    let complaint = format!(
        "the CRD {name} is older than this operator: it lacks {first}{others}; kubectl apply -f crds/ of version {}",
        env!("CARGO_PKG_VERSION")
    );
    (CrdState::Older, Some(complaint))
}
