//! One test's part of the cluster: namespaces of its own, and what is in them.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use stormfold::api::{RemediationRequest, Signal, StormState, StormStatus, to_storm_metadata};

use super::redis_server::RedisServer;
use super::wait::eventually;

/// See the module.
pub struct World {
    pub client: Client,
    pub namespace: String,
    /// The server of the test's ledger, when the scenarios are played with `--ledger redis` (variable TEST_LEDGER).
    pub redis: Option<Arc<RedisServer>>,
}

impl World {
    /// A namespace of its own; its name tells the test.
    pub async fn new(test: &str) -> Self {
        let client = Self::client().await;
        let namespace = create_namespace(&client, test).await;
        let redis = match std::env::var("TEST_LEDGER").as_deref() {
            Err(_) | Ok("memory") => None,
            Ok("redis") => Some(Arc::new(RedisServer::start(&["--maxmemory", "512mb"]))),
            Ok(other) => panic!("TEST_LEDGER is {other}: memory or redis"),
        };
        Self { client, namespace, redis }
    }

    /// A client of the throwaway cluster.
    pub async fn client() -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cluster = "KUBECONFIG is not set: these tests need a throwaway cluster, `make test` or `make e2e`";
        assert!(std::env::var_os("KUBECONFIG").is_some(), "{cluster}");
        Client::try_default().await.expect("the throwaway cluster answers")
    }

    /// One more namespace of the same test.
    pub async fn another_namespace(&self, test: &str) -> Self {
        Self {
            client: self.client.clone(),
            namespace: create_namespace(&self.client, test).await,
            redis: self.redis.clone(),
        }
    }

    /// Deletes the namespace, and waits until it is gone.
    pub async fn delete_namespace(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await.unwrap();
        eventually("the namespace is gone", || async {
            let left = namespaces.get_opt(&self.namespace).await.unwrap();
            left.map_or(Ok(()), |left| Err(format!("{:?}", left.status)))
        })
        .await;
    }

    /// Lets the namespace have so many objects of this resource of ours. Gives the quotas; the one is named `few`.
    pub async fn allow(&self, resource: &str, count: usize) -> Api<ResourceQuota> {
        let quotas: Api<ResourceQuota> = Api::namespaced(self.client.clone(), &self.namespace);
        let hard = json!({ format!("count/{resource}.stormfold.dev"): count.to_string() });
        let quota = json!({ "metadata": { "name": "few" }, "spec": { "hard": hard } });
        let quota: ResourceQuota = serde_json::from_value(quota).unwrap();
        quotas.create(&PostParams::default(), &quota).await.unwrap();
        let made = Cell::new(Instant::now());
        eventually("the quota is in force", || async {
            // One that was made before the controller had heard of the CRD is looked at again in minutes: another one is looked at now.
            if made.get().elapsed() > Duration::from_secs(5) {
                quotas.delete("few", &DeleteParams::default()).await.unwrap();
                quotas.create(&PostParams::default(), &quota).await.unwrap();
                made.set(Instant::now());
            }
            let quota = quotas.get("few").await.unwrap();
            quota.status.and_then(|status| status.used).ok_or_else(|| "no status".to_owned())
        })
        .await;
        quotas
    }

    pub fn signals(&self) -> Api<Signal> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn requests(&self) -> Api<RemediationRequest> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn create(&self, signal: &Signal) -> Signal {
        self.signals().create(&PostParams::default(), signal).await.expect("the API server takes the Signal")
    }

    /// All RemediationRequests, the oldest epoch first.
    pub async fn storms(&self) -> Vec<RemediationRequest> {
        let mut items = self.requests().list(&ListParams::default()).await.unwrap().items;
        items.sort_by_key(|object| object.spec.epoch);
        items
    }

    /// Waits until there is one RemediationRequest and its storm satisfies `expected`.
    pub async fn one_storm(&self, what: &str, expected: impl Fn(&StormStatus) -> bool) -> RemediationRequest {
        eventually(what, || async {
            let mut storms = self.storms().await;
            match (storms.pop(), storms.is_empty()) {
                (Some(object), true) if facts(&object).is_some_and(&expected) => Ok(object),
                (last, _) => Err(format!("{} others, the last {:?}", storms.len(), last.and_then(|o| o.status))),
            }
        })
        .await
    }

    /// Waits until one storm is open, whatever else is closed, and satisfies `expected`.
    pub async fn one_open_storm(&self, what: &str, expected: impl Fn(&StormStatus) -> bool) {
        eventually(what, || async {
            let storms = self.storms().await;
            let open: Vec<_> = storms.iter().filter_map(facts).filter(|storm| is_open(storm)).collect();
            if open.len() == 1 && expected(open[0]) { Ok(()) } else { Err(format!("{open:?}")) }
        })
        .await;
    }

    /// Waits until the last storm of the namespace satisfies `expected`, and gives all of them.
    pub async fn storms_until(
        &self,
        what: &str,
        count: usize,
        expected: impl Fn(&StormStatus) -> bool,
    ) -> Vec<RemediationRequest> {
        eventually(what, || async {
            let storms = self.storms().await;
            if storms.len() == count && storms.last().and_then(facts).is_some_and(&expected) {
                return Ok(storms);
            }
            Err(format!("{:?}", storms.iter().map(facts).collect::<Vec<_>>()))
        })
        .await
    }

    /// Waits until this object's storm satisfies `expected`.
    pub async fn storm_named(
        &self,
        object: &RemediationRequest,
        expected: impl Fn(&StormStatus) -> bool,
    ) -> StormStatus {
        let name = object.name_any();
        eventually(&format!("{name} is as expected"), || async {
            let storm = facts(&self.requests().get(&name).await.unwrap()).cloned();
            storm.clone().filter(&expected).ok_or_else(|| format!("{storm:?}"))
        })
        .await
    }

    /// Waits until every Signal has a receipt, and gives them.
    pub async fn receipts(&self, count: usize) -> Vec<Signal> {
        eventually("every Signal has a receipt", || async {
            let signals = self.signals().list(&ListParams::default()).await.unwrap().items;
            let done = signals.iter().filter(|signal| accepted(signal).is_some()).count();
            if done == count { Ok(signals) } else { Err(format!("{done} of {count}")) }
        })
        .await
    }

    /// Waits for an Event of this reason; gives its note.
    pub async fn event(&self, reason: &str) -> String {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        eventually(&format!("an Event says {reason}"), || async {
            let events = events.list(&ListParams::default()).await.unwrap().items;
            let found = events.iter().find(|event| event.reason.as_deref() == Some(reason));
            found.and_then(|event| event.note.clone()).ok_or_else(|| format!("{} others", events.len()))
        })
        .await
    }
}

/// The affected resources that an object shows, as texts in its namespace.
pub fn affected(object: &RemediationRequest) -> Vec<String> {
    to_storm_metadata(object).map(|facts| facts.affected_resources).unwrap_or_default()
}

/// The facts of a storm.
pub fn facts(object: &RemediationRequest) -> Option<&StormStatus> {
    object.status.as_ref()?.storm.as_ref()
}

/// The reason of a Signal's receipt.
pub fn accepted(signal: &Signal) -> Option<&str> {
    Some(signal.status.as_ref()?.conditions.first()?.reason.as_str())
}

/// Whether the condition Storm is true.
pub fn is_storm(object: &RemediationRequest) -> bool {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Storm" && condition.status == "True")
}

pub fn is_open(storm: &StormStatus) -> bool {
    storm.state == StormState::Open
}

async fn create_namespace(client: &Client, test: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name =
        format!("{}-{}-{number}", test.replace('_', "-").chars().take(40).collect::<String>(), std::process::id());
    let namespace =
        Namespace { metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() }, ..Namespace::default() };
    let api: Api<Namespace> = Api::all(client.clone());
    api.create(&PostParams::default(), &namespace).await.expect("a namespace of our own").name_any()
}
