//! The RemediationRequests of the cluster, by key and epoch. Only a hint: whatever is written carries the resourceVersion that it
//! was decided on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::request::Request;
use crate::storm::metadata::count;
use crate::storm::{Epoch, GroupBy, StormId, StormKey};

/// What the watch, the writes and the reads of this process have brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Store {
    by_key: BTreeMap<StormKey, BTreeMap<Epoch, Arc<Request>>>,
    /// All of them, the oldest first.
    by_epoch: BTreeSet<(Epoch, StormKey)>,
    /// The open ones, the oldest first.
    open: BTreeSet<(Epoch, StormKey)>,
    totals: Totals,
}

/// The RemediationRequests in numbers; without those that held nothing because an older one had their storm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

impl Store {
    /// The object of a storm.
    pub fn get(&self, id: StormId) -> Option<&Arc<Request>> {
        self.by_key.get(&id.key)?.get(&id.epoch)
    }

    /// The storms that the cluster has an object of.
    pub fn all(&self) -> Vec<StormId> {
        self.objects().map(|object| object.id).collect()
    }

    /// The storms that are open in the cluster, the oldest first.
    pub fn open(&self) -> Vec<StormId> {
        self.open.iter().map(|(epoch, key)| StormId { key: *key, epoch: *epoch }).collect()
    }

    /// The objects of storms that are over.
    pub fn closed(&self) -> Vec<Arc<Request>> {
        self.objects().filter(|object| !object.is_open()).cloned().collect()
    }

    /// All objects of a key, the oldest first.
    pub fn of_key(&self, key: StormKey) -> Vec<Arc<Request>> {
        self.by_key.get(&key).map(|epochs| epochs.values().cloned().collect()).unwrap_or_default()
    }

    /// Some object of a key.
    pub fn any_of(&self, key: StormKey) -> Option<&Arc<Request>> {
        self.by_key.get(&key)?.values().next()
    }

    /// The object of this name among those of a key.
    pub fn named(&self, key: StormKey, name: &str) -> Option<&Arc<Request>> {
        self.by_key.get(&key)?.values().find(|object| object.name == name)
    }

    /// The object of this name in a namespace. A name ends with its epoch: see `storm::name`.
    pub fn by_name(&self, namespace: &str, name: &str) -> Option<&Arc<Request>> {
        let epoch: Epoch = name.rsplit_once('-')?.1.parse().ok()?;
        let first = (epoch, StormKey::MIN);
        let objects = self.by_epoch.range(first..).take_while(|(of, _)| *of == epoch);
        let mut objects = objects.filter_map(|(epoch, key)| self.get(StormId { key: *key, epoch: *epoch }));
        objects.find(|object| object.name == name && object.namespace == namespace)
    }

    /// Whether some storm of a key is open.
    pub fn has_open(&self, key: StormKey) -> bool {
        self.by_key.get(&key).is_some_and(|epochs| epochs.values().any(|object| object.is_open()))
    }

    /// Whether this key has closed storms, which hold what the receipts of their Signals say.
    pub fn has_closed(&self, key: StormKey) -> bool {
        let holds = |object: &Arc<Request>| !object.is_open() && !object.is_superseded();
        self.by_key.get(&key).is_some_and(|epochs| epochs.values().any(holds))
    }

    /// The oldest open object of the same key that is older than this storm.
    pub fn older_open(&self, id: StormId) -> Option<&Arc<Request>> {
        self.by_key.get(&id.key)?.range(..id.epoch).map(|(_, object)| object).find(|object| object.is_open())
    }

    /// How many storms are open under each policy.
    pub fn open_by_policy(&self) -> BTreeMap<String, i64> {
        let mut open = BTreeMap::new();
        for object in self.open_objects() {
            *open.entry(object.opening.policy.clone()).or_default() += 1;
        }
        open
    }

    /// The policies and groupings under which storms are open.
    pub fn open_groupings(&self) -> Vec<(String, GroupBy)> {
        let grouping = |object: &Arc<Request>| {
            Some((object.opening.policy.clone(), GroupBy::of_labels(&object.opening.group_labels)?))
        };
        self.open_objects().filter_map(grouping).collect()
    }

    /// What there is, in numbers.
    pub fn totals(&self) -> Totals {
        Totals { oldest_open: self.oldest_counted(), ..self.totals }
    }

    /// The objects that are open.
    pub fn open_objects(&self) -> impl Iterator<Item = &Arc<Request>> {
        self.open.iter().filter_map(|(epoch, key)| self.get(StormId { key: *key, epoch: *epoch }))
    }

    /// Takes in what a write returned, or what the watch brought. A watch that lags behind cannot bring back an older version.
    pub fn put(&mut self, object: Request) {
        let older = self.get(object.id).is_some_and(|known| known.uid == object.uid && !object.is_as_new_as(known));
        if !older {
            self.replace(object);
        }
    }

    /// Takes in what an uncached read returned, whatever is known.
    pub fn replace(&mut self, mut object: Request) {
        let id = object.id;
        if let Some(known) = self.get(id).filter(|known| known.uid == object.uid) {
            object = object.succeeding(known);
        }
        self.remove(id);
        let handed_on = object.is_handed_on();
        if let Some(shown) = object.shown.as_mut().filter(|shown| shown.end.is_some()) {
            // Nobody reads the resources of a storm that is over, and closed objects stay for as long as people keep them.
            shown.facts.affected_resources = Vec::new();
            // Nor what opened it, unless the next storm goes on with it.
            if !handed_on && !object.opening.said.is_empty() {
                Arc::make_mut(&mut object.opening).said = Arc::default();
            }
        }
        if object.is_open() {
            self.open.insert((id.epoch, id.key));
        }
        self.by_epoch.insert((id.epoch, id.key));
        self.tally(&object, 1);
        self.by_key.entry(id.key).or_default().insert(id.epoch, Arc::new(object));
    }

    /// The object is gone.
    pub fn remove(&mut self, id: StormId) {
        let Some(epochs) = self.by_key.get_mut(&id.key) else { return };
        let removed = epochs.remove(&id.epoch);
        if epochs.is_empty() {
            self.by_key.remove(&id.key);
        }
        self.open.remove(&(id.epoch, id.key));
        self.by_epoch.remove(&(id.epoch, id.key));
        if let Some(object) = removed {
            self.tally(&object, -1);
        }
    }

    /// The storms whose objects are in these namespaces; in any, if none is given.
    pub fn in_namespaces(&self, namespaces: &[String]) -> BTreeSet<StormId> {
        let ours = |object: &&Arc<Request>| namespaces.is_empty() || namespaces.contains(&object.namespace);
        self.objects().filter(ours).map(|object| object.id).collect()
    }

    fn objects(&self) -> impl Iterator<Item = &Arc<Request>> {
        self.by_key.values().flat_map(BTreeMap::values)
    }

    fn oldest_counted(&self) -> Option<Epoch> {
        self.open.first().map(|(epoch, _)| *epoch)
    }

    fn tally(&mut self, object: &Request, sign: i64) {
        if object.is_superseded() {
            return;
        }
        let alerts = object.facts().map_or(0, |facts| count(facts.alert_count));
        self.totals.requests += sign;
        self.totals.alerts += sign * alerts;
        self.totals.open += sign * i64::from(object.is_open());
    }
}
