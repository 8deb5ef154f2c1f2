//! A cache of the RemediationRequests of the cluster, by key and epoch. Only a hint: whatever is written carries the
//! resourceVersion that it was decided on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use kube::runtime::watcher::Event;
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::queue::Requests;
use crate::api::{CloseReason, RemediationRequest, StormState};
use crate::runtime::guarded::{Guarded, Unreadable};
use crate::runtime::watch::Watch;
use crate::storm::name::storm_name;
use crate::storm::{Epoch, StormId, StormKey};

/// See the module.
pub struct Projections {
    by_key: RwLock<HashMap<StormKey, BTreeMap<Epoch, Arc<RemediationRequest>>>>,
    listed: watch::Sender<bool>,
}

/// The RemediationRequests in numbers; without those that held nothing because an older one had their storm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many there are.
    pub requests: i64,
    /// How many alerts they stand for.
    pub alerts: i64,
    /// How many are open.
    pub open: i64,
    /// The earliest of the open ones.
    pub oldest_open: Option<Epoch>,
}

impl Default for Projections {
    fn default() -> Self {
        Self { by_key: RwLock::default(), listed: watch::Sender::new(false) }
    }
}

impl Projections {
    /// Waits until the first list is complete.
    pub async fn listed(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// The object of a storm.
    pub fn get(&self, id: StormId) -> Option<Arc<RemediationRequest>> {
        self.read(|map| map.get(&id.key)?.get(&id.epoch).cloned())
    }

    /// The storms that the cluster has an object of.
    pub fn all(&self) -> Vec<StormId> {
        self.read(|map| map.values().flat_map(BTreeMap::values).filter_map(|rr| storm_id(rr)).collect())
    }

    /// The storms that are open in the cluster.
    pub fn open(&self) -> Vec<StormId> {
        self.ids(is_open)
    }

    /// The storms that are closed in the cluster.
    pub fn closed(&self) -> Vec<StormId> {
        self.ids(|object| !is_open(object))
    }

    fn ids(&self, wanted: impl Fn(&RemediationRequest) -> bool) -> Vec<StormId> {
        self.read(|map| {
            let of_key = |(key, epochs): (&StormKey, &BTreeMap<Epoch, Arc<RemediationRequest>>)| {
                let wanted = epochs.iter().filter(|(_, object)| wanted(object));
                wanted.map(|(epoch, _)| StormId { key: *key, epoch: *epoch }).collect::<Vec<_>>()
            };
            map.iter().flat_map(of_key).collect()
        })
    }

    /// Whether some storm of a key is open.
    pub fn has_open(&self, key: StormKey) -> bool {
        self.read(|map| map.get(&key).is_some_and(|epochs| epochs.values().any(|object| is_open(object))))
    }

    /// What there is, in numbers.
    pub fn totals(&self) -> Totals {
        self.read(|map| {
            let mut totals = Totals::default();
            for (epoch, object) in map.values().flatten().filter(|(_, object)| !is_superseded(object)) {
                let storm = object.status.as_ref().and_then(|status| status.storm.as_ref());
                totals.requests += 1;
                totals.alerts += storm.map_or(0, |storm| storm.alert_count);
                if is_open(object) {
                    totals.open += 1;
                    totals.oldest_open = Some(totals.oldest_open.map_or(*epoch, |oldest| oldest.min(*epoch)));
                }
            }
            totals
        })
    }

    /// How many storms are open under each policy.
    pub fn open_by_policy(&self) -> HashMap<String, i64> {
        self.read(|map| {
            let mut open = HashMap::new();
            for object in map.values().flat_map(BTreeMap::values).filter(|object| is_open(object)) {
                *open.entry(object.spec.policy_ref.name.clone()).or_default() += 1;
            }
            open
        })
    }

    /// All objects of a key, the oldest first.
    pub fn of_key(&self, key: StormKey) -> Vec<Arc<RemediationRequest>> {
        self.read(|map| map.get(&key).map(|epochs| epochs.values().cloned().collect()).unwrap_or_default())
    }

    /// Whether an open object of the same key is older than this storm.
    pub fn older_open(&self, id: StormId) -> Option<Arc<RemediationRequest>> {
        self.read(|map| map.get(&id.key)?.range(..id.epoch).map(|(_, rr)| rr).find(|rr| is_open(rr)).cloned())
    }

    /// Takes in what a write returned, or what was read. A watch that lags behind cannot bring back less: our own revision tells.
    pub fn put(&self, mut object: RemediationRequest) -> Option<StormId> {
        let id = storm_id(&object)?;
        if !is_open(&object)
            && let Some(storm) = object.status.as_mut().and_then(|status| status.storm.as_mut())
        {
            // Nobody reads the resources of a storm that is over, and closed objects stay for as long as people keep them.
            storm.affected_resources = Vec::new();
        }
        let mut map = self.by_key.write().unwrap_or_else(PoisonError::into_inner);
        let slot = map.entry(id.key).or_default().entry(id.epoch);
        let slot = slot.or_insert_with(|| Arc::new(object.clone()));
        let same_object = slot.uid() == object.uid();
        if !same_object || revision(&object) >= revision(slot) {
            *slot = Arc::new(object);
        }
        Some(id)
    }

    /// Takes in what an uncached read returned, whatever the cache has.
    pub fn replace(&self, id: StormId, object: RemediationRequest) {
        let mut map = self.by_key.write().unwrap_or_else(PoisonError::into_inner);
        map.entry(id.key).or_default().insert(id.epoch, Arc::new(object));
    }

    /// The object is gone.
    pub fn remove(&self, id: StormId) {
        let mut map = self.by_key.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(epochs) = map.get_mut(&id.key) {
            epochs.remove(&id.epoch);
            if epochs.is_empty() {
                map.remove(&id.key);
            }
        }
    }

    fn in_namespaces(&self, namespaces: &[String]) -> HashSet<StormId> {
        let ours =
            |rr: &RemediationRequest| namespaces.is_empty() || namespaces.contains(&rr.namespace().unwrap_or_default());
        self.read(|map| {
            map.values().flat_map(BTreeMap::values).filter(|rr| ours(rr)).filter_map(|rr| storm_id(rr)).collect()
        })
    }

    fn read<T>(&self, look: impl FnOnce(&HashMap<StormKey, BTreeMap<Epoch, Arc<RemediationRequest>>>) -> T) -> T {
        look(&self.by_key.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An epoch is an opening in seconds: this much ahead of its object's creation it is nobody's clock.
const MAX_LEAD: i64 = 24 * 3600;

/// Which storm an object is of. `None` for one that is not what we would have written: whoever may create a RemediationRequest in
/// one namespace must not take over the storms of another, nor push a key's epochs to the end of time.
pub(crate) fn storm_id(object: &RemediationRequest) -> Option<StormId> {
    let spec = &object.spec;
    let id = StormId { key: StormKey::from_hex(&spec.storm_key)?, epoch: spec.epoch };
    let created = object.creation_timestamp().map_or(spec.epoch, |time| time.0.as_second());
    let ours = id.key == StormKey::new(&object.namespace()?, &spec.pattern)
        && object.name_any() == storm_name(&spec.pattern, id.epoch)
        && id.epoch >= 1
        && id.epoch - MAX_LEAD <= created;
    ours.then_some(id)
}

/// An object whose status is not written yet is open.
pub fn is_open(object: &RemediationRequest) -> bool {
    let storm = object.status.as_ref().and_then(|status| status.storm.as_ref());
    storm.is_none_or(|storm| storm.state == StormState::Open)
}

/// Whether a person has set this annotation to `true`.
pub fn is_asked(object: &RemediationRequest, annotation: &str) -> bool {
    object.annotations().get(annotation).is_some_and(|value| value == "true")
}

/// Whether it was closed because an older one held its storm: then it never held anything.
pub fn is_superseded(object: &RemediationRequest) -> bool {
    let storm = object.status.as_ref().and_then(|status| status.storm.as_ref());
    storm.and_then(|storm| storm.close_reason) == Some(CloseReason::Superseded)
}

fn revision(object: &RemediationRequest) -> i64 {
    object.status.as_ref().and_then(|status| status.storm.as_ref()).map_or(0, |storm| storm.revision)
}

/// Keeps the cache, and asks for a run of every storm whose object changed, until `stop`.
pub async fn watch_projections(
    client: Client,
    watch: Watch,
    projections: Arc<Projections>,
    requests: Requests,
    stop: CancellationToken,
) {
    let mut events = watch.events::<Guarded<RemediationRequest>>(&client);
    let mut listing: HashMap<usize, HashSet<StormId>> = (0..watch.parts()).map(|part| (part, HashSet::new())).collect();
    while let Some(Some((part, event))) = stop.run_until_cancelled(events.next()).await {
        match event {
            Event::Init => {
                listing.insert(part, HashSet::new());
            }
            Event::InitApply(object) => {
                if let Some(id) = take(&projections, object) {
                    listing.entry(part).or_default().insert(id);
                    requests.now(id);
                }
            }
            Event::InitDone => {
                let listed = listing.remove(&part).unwrap_or_default();
                let scope = watch.namespaces.get(part).map(std::slice::from_ref).unwrap_or_default();
                for gone in projections.in_namespaces(scope).difference(&listed) {
                    projections.remove(*gone);
                    requests.now(*gone);
                }
            }
            Event::Apply(object) => {
                if let Some(id) = take(&projections, object) {
                    requests.now(id);
                }
            }
            Event::Delete(Guarded(object)) => {
                if let Some(id) = object.ok().as_ref().and_then(storm_id) {
                    projections.remove(id);
                    requests.now(id);
                }
            }
        }
        if listing.is_empty() {
            watch.gate.open();
            projections.listed.send_replace(true);
        }
    }
}

fn take(projections: &Projections, Guarded(object): Guarded<RemediationRequest>) -> Option<StormId> {
    let mut object = readable(object)?;
    // Ownership of fields is the API server's business, and a third of the object's size.
    object.metadata.managed_fields = None;
    let name = object.name_any();
    let id = projections.put(object);
    if id.is_none() {
        tracing::warn!(
            name,
            "name, spec.stormKey, spec.pattern and spec.epoch of a RemediationRequest do not belong together: it is left alone"
        );
    }
    id
}

/// A RemediationRequest that this operator cannot read is somebody else's: a newer version made it, or nobody checked it.
pub(super) fn readable(object: Result<RemediationRequest, Unreadable>) -> Option<RemediationRequest> {
    object
        .inspect_err(|Unreadable { metadata, fault, .. }| {
            tracing::warn!(
                name = metadata.name,
                namespace = metadata.namespace,
                fault,
                "a RemediationRequest cannot be read: it is left alone"
            );
        })
        .ok()
}
