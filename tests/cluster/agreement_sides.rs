//! The two sides that are compared, as they were at the last look.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use kube::api::ListParams;
use stormfold::api::{CloseReason, RemediationRequest, Signal};

use super::agreement_judge::{Active, Shown};
use super::alertmanager::Alertmanager;
use super::world::{World, accepted, affected, facts, is_open};

/// What an alert of this pod is about, as a RemediationRequest says it.
pub fn resource(pod: &str) -> String {
    format!("Pod/{pod}")
}

/// An alert of Alertmanager: name, resource, since when it fires, and whether it is silenced.
type Alert = (String, String, String, bool);

/// See the module.
#[derive(Debug, Default)]
pub struct Sides {
    /// By the name of the alerts; those that are silenced are not among them.
    pub said: BTreeMap<String, Active>,
    pub shown: BTreeMap<String, Vec<Shown>>,
    /// The alerts that Alertmanager knows to fire, silenced or not, in order: name and resource.
    pub known: Vec<(String, String)>,
    looks: usize,
    /// Since when each alert fired when it was last seen, and whether that was at the last look.
    starts: BTreeMap<(String, String), (String, bool)>,
    /// How often an alert came back with the start that it had.
    pub came_back: usize,
    /// How often an alert had another start than at the look before, or than when it was last seen.
    pub moved: usize,
    closed: BTreeMap<String, usize>,
}

impl Sides {
    /// What Alertmanager knows now.
    pub async fn known(alertmanager: &Alertmanager) -> Vec<(String, String)> {
        names(&alerts(alertmanager).await)
    }

    /// Looks at both.
    pub async fn read(&mut self, alertmanager: &Alertmanager, world: &World) {
        self.looks += 1;
        self.said.clear();
        let seen = alerts(alertmanager).await;
        self.known = names(&seen);
        self.count(&seen);
        for (name, resource, start, silenced) in seen {
            if !silenced {
                self.said.entry(name).or_default().insert(resource, start);
            }
        }
        self.shown.clear();
        self.closed.clear();
        for object in world.storms().await {
            if let Some(reason) = facts(&object).and_then(|storm| storm.close_reason) {
                *self.closed.entry(told(reason)).or_default() += 1;
            }
            self.shown.entry(object.spec.signal.name.clone()).or_default().push(shown(&object));
        }
    }

    fn count(&mut self, seen: &[Alert]) {
        let mut before = std::mem::take(&mut self.starts);
        for (name, resource, start, _) in seen {
            let key = (name.clone(), resource.clone());
            match before.remove(&key) {
                Some((then, was_there)) if then == *start => self.came_back += usize::from(!was_there),
                Some(_) => self.moved += 1,
                None => {}
            }
            self.starts.insert(key, (start.clone(), true));
        }
        self.starts.extend(before.into_iter().map(|(key, (start, _))| (key, (start, false))));
    }

    /// Everything about this name, for people.
    pub async fn tell(&self, name: &str, world: &World) -> String {
        let signals = world.signals().list(&ListParams::default()).await.unwrap().items;
        let mut signals: Vec<_> = signals.iter().filter(|signal| signal.spec.name == name).collect();
        signals.sort_by_key(|signal| signal.spec.reported_at.as_ref().map(|at| at.0));
        let line = |signal: &&Signal| {
            let (spec, at) = (&signal.spec, signal.spec.reported_at.as_ref().map(|at| at.0.to_string()));
            let storm = signal.status.as_ref().and_then(|status| status.storm.as_deref());
            format!("{at:?} {:?} {:?} {storm:?} {}", spec.table, accepted(signal), signal.name_any())
        };
        let signals: Vec<_> = signals.iter().rev().take(20).map(line).collect();
        let shown: Vec<_> = self.shown.get(name).into_iter().flatten().rev().take(4).collect();
        format!(
            "Alertmanager says: {:?}\nthe last requests show, backwards: {shown:#?}\nthe last Signals, backwards:\n{}",
            self.said.get(name),
            signals.join("\n")
        )
    }

    /// What was seen, for people.
    pub fn summary(&self) -> String {
        let requests: usize = self.shown.values().map(Vec::len).sum();
        format!(
            "{} looks at {} alerts; {requests} requests, closed {:?}; {} times an alert came back with its start, {} times with another",
            self.looks,
            self.starts.len(),
            self.closed,
            self.came_back,
            self.moved
        )
    }
}

fn names(alerts: &[Alert]) -> Vec<(String, String)> {
    alerts.iter().map(|(name, resource, ..)| (name.clone(), resource.clone())).collect()
}

fn told(reason: CloseReason) -> String {
    format!("{reason:?}")
}

async fn alerts(alertmanager: &Alertmanager) -> Vec<Alert> {
    let mut alerts: Vec<_> = alertmanager
        .firing()
        .await
        .iter()
        .map(|alert| {
            let text = |pointer: &str| alert.pointer(pointer).and_then(|value| value.as_str()).unwrap().to_owned();
            let silenced = text("/status/state") == "suppressed";
            (text("/labels/alertname"), resource(&text("/labels/pod")), text("/startsAt"), silenced)
        })
        .collect();
    alerts.sort();
    alerts
}

fn shown(object: &RemediationRequest) -> Shown {
    let storm = facts(object);
    Shown {
        name: object.name_any(),
        // Without facts it has just been created.
        open: storm.is_none_or(is_open),
        firing: storm.map_or(0, |storm| storm.firing_count),
        resources: affected(object).into_iter().collect(),
        more: format!(
            "{:?}",
            storm.map(|storm| (storm.alert_count, storm.close_reason, &storm.closed_at, &storm.last_seen))
        ),
    }
}
