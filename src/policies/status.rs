//! The status of each policy: whether it is in force, how many storms are open under it, when it last matched. Written when it changed, and
//! seldom: it is for people.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Policies;
use super::book::Entry;
use crate::api::{
    ACCEPTED, FIELD_MANAGER, REASON_COMPILED, REASON_INVALID, StormPolicy, StormPolicyStatus, condition,
    upsert_condition,
};
use crate::inbox::Inbox;
use crate::metrics::{ApiWrite, Loop, Metrics, WriteResult};
use crate::runtime::error::{Disposition, call};

/// How often statuses are looked at: a person who edits a policy sees in this time whether it is in force.
const EVERY: Duration = Duration::from_secs(5);

/// Writes the statuses until `stop`. The engine knows how many storms are open under each policy.
pub async fn write_statuses(
    policies: Arc<Policies>,
    client: Client,
    inbox: Inbox,
    now: impl Fn() -> Timestamp,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let api: Api<StormPolicy> = Api::all(client);
    policies.listed().await;
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        let Some(open) = inbox.look(|engine| engine.store().open_by_policy()).await else { return };
        for (name, status) in policies.statuses(&open, now()) {
            // The fields are ours alone, and absolute: a late write is mended by the next look.
            let body = json!({
                "apiVersion": StormPolicy::api_version(&()), "kind": StormPolicy::kind(&()),
                "metadata": { "name": name }, "status": status,
            });
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let what = || format!("apply the status of StormPolicy {name}");
            match call(what, api.patch_status(&name, &params, &Patch::Apply(&body))).await {
                Ok(written) => {
                    metrics.wrote(ApiWrite::Policy, WriteResult::Done);
                    policies.edit(|book| book.put(written));
                }
                Err(error) if error.code() == Some(404) => metrics.wrote(ApiWrite::Policy, WriteResult::Gone),
                Err(error) => {
                    let disposition: Disposition = error.disposition();
                    metrics.wrote(ApiWrite::Policy, WriteResult::Failed);
                    metrics.failed(Loop::Policies, disposition);
                    tracing::warn!(?disposition, %error, "the status of a policy is not written yet");
                }
            }
        }
    }
}

impl Policies {
    /// The statuses that are not what they should be.
    fn statuses(&self, open: &BTreeMap<String, i64>, now: Timestamp) -> Vec<(String, StormPolicyStatus)> {
        let matched = self.matched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let status = |entry: &Entry| {
            let name = entry.object.name_any();
            let open = open.get(&name).copied().unwrap_or_default();
            let status = status(entry, open, matched.get(&name).copied(), now);
            (entry.object.status.as_ref() != Some(&status)).then_some((name, status))
        };
        self.book().entries().filter_map(status).collect()
    }
}

fn status(entry: &Entry, open_storms: i64, matched: Option<Timestamp>, now: Timestamp) -> StormPolicyStatus {
    let old = entry.object.status.clone().unwrap_or_default();
    let accepted = match &entry.rule {
        Ok(_) => condition(ACCEPTED, true, REASON_COMPILED, "in force".to_owned(), now),
        Err(fault) => condition(ACCEPTED, false, REASON_INVALID, fault.to_string(), now),
    };
    let mut conditions = old.conditions;
    conditions.retain(|condition| condition.type_ == ACCEPTED);
    upsert_condition(&mut conditions, accepted);
    let last = old.last_match.map(|time| time.0);
    StormPolicyStatus {
        conditions,
        open_storms,
        last_match: matched.map(whole_minute).max(last).map(Time),
        observed_generation: entry.object.metadata.generation,
    }
}

/// More would write the status with every Signal.
fn whole_minute(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second().div_euclid(60) * 60).unwrap_or(time)
}
