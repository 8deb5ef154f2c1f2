//! The life of a storm whose operator dies once, and what must be true of it all the while and afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::json;
use stormfold::api::{CLOSE, CloseReason, RemediationRequest, Signal, StormStatus};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::crash_trap::Trap;
use super::operator::Operator;
use super::signals::firing;
use super::wait::eventually;
use super::world::{World, facts, is_open};

const ALERT: &str = "Crash";

/// See the module.
pub struct Life {
    pub world: World,
    pub trap: Arc<Trap>,
    /// Where the operator dies, for whoever reads that a test failed.
    pub point: String,
    sights: Sights,
}

impl Life {
    /// Nothing has happened yet.
    pub fn new(world: World, point: String) -> Self {
        let sights = Sights::begin(&world);
        Self { world, trap: Arc::new(Trap::new()), point, sights }
    }

    /// A storm opens, grows, and ends, unless its operator dies before that. `held`: whether a receipt is held up until the storm is
    /// closed in the ledger. True: it died.
    pub async fn until_death(&self, operator: &Operator, held: &watch::Sender<bool>) -> bool {
        self.trap.arm(operator);
        self.live(operator, held).await.is_none()
    }

    async fn live(&self, operator: &Operator, held: &watch::Sender<bool>) -> Option<()> {
        for n in 0..2 {
            self.world.create(&alert(n)).await;
            let count = i64::try_from(n).unwrap() + 1;
            self.trap.unless_sprung(self.world.one_storm("it is shown", |storm| storm.alert_count == count)).await?;
        }
        if *held.borrow() {
            self.ask_for_the_end().await;
            let closed = eventually("the storm is closed in the ledger", || async {
                let closed = operator.log_text().contains("closed in the ledger");
                if closed { Ok(()) } else { Err("not yet".to_owned()) }
            });
            self.trap.unless_sprung(closed).await?;
            held.send_replace(false);
        } else {
            self.trap.unless_sprung(self.world.receipts(2)).await?;
            self.ask_for_the_end().await;
        }
        self.trap.unless_sprung(self.world.one_storm("it ends", |storm| !is_open(storm))).await?;
        // What the operator still does after the end, it does before this.
        self.create_repeat("soon").await;
        self.trap.unless_sprung(self.world.receipts(3)).await?;
        Some(())
    }

    /// Another operator goes on: the storm ends once with exact counts, a repeat opens nothing, and what is new one successor.
    pub async fn goes_on(&self) {
        let created = self.world.signals().list(&ListParams::default()).await.unwrap().items;
        let mut signals = created.len();
        let mut alerts = created.iter().filter(|signal| signal.name_any().starts_with("crash-")).count();
        if !self.end_is_asked_for().await {
            self.create_repeat("repeat").await;
            self.world.create(&alert(7)).await;
            (signals, alerts) = (signals + 2, alerts + 1);
            self.world.one_storm("it goes on", |storm| has(storm, alerts) && is_open(storm)).await;
            self.told(signals).await;
            self.ask_for_the_end().await;
        }
        let ended = self.world.one_storm("it ends", |storm| !is_open(storm)).await;
        let storm = facts(&ended).unwrap();
        assert!(has(storm, alerts), "{alerts} were created: {storm:?}");
        assert_eq!(storm.close_reason, Some(CloseReason::Requested));
        self.create_repeat("late").await;
        self.told(signals + 1).await;
        assert_eq!(self.world.storms().await.len(), 1, "a repeat opens nothing");
        self.world.create(&alert(8)).await;
        let storms = self.world.storms_until("a successor opens", 2, |storm| has(storm, 1) && is_open(storm)).await;
        assert_eq!(storms[1].spec.previous_ref.as_ref().unwrap().name, ended.name_any());
        self.world.receipts(signals + 2).await;
        self.sights.are_right(&ended.name_any(), &storms[1].name_any()).await;
    }

    /// Every Signal so far has a receipt that names the first storm.
    async fn told(&self, signals: usize) {
        let first = self.world.storms().await[0].name_any();
        for signal in self.world.receipts(signals).await {
            assert_eq!(signal.status.unwrap().storm.as_ref(), Some(&first), "{:?}", signal.metadata.name);
        }
    }

    /// What the first Signal brought, under another name.
    async fn create_repeat(&self, name: &str) {
        let mut repeat = alert(0);
        repeat.metadata.name = Some(name.to_owned());
        self.world.create(&repeat).await;
    }

    async fn ask_for_the_end(&self) {
        let name = self.world.storms().await[0].name_any();
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { CLOSE: "true" } } }));
        self.world.requests().patch(&name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn end_is_asked_for(&self) -> bool {
        self.world.storms().await.iter().any(|object| object.annotations().contains_key(CLOSE))
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the operator died at {}, in namespace {}", self.point, self.world.namespace);
        }
    }
}

/// A Signal with an alert of its own, from a source that reports ends: what a person ended is handled then, and a repeat opens nothing. Of another
/// source a later report would be news.
fn alert(n: usize) -> Signal {
    let mut signal = firing(ALERT, n);
    signal.spec.resolvable = true;
    signal
}

/// Each alert is one that fires, about one resource.
fn has(storm: &StormStatus, alerts: usize) -> bool {
    [storm.alert_count, storm.firing_count, storm.affected_count] == [i64::try_from(alerts).unwrap(); 3]
}

/// Every state of every RemediationRequest of a namespace, as a watch shows them.
struct Sights {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    open: BTreeSet<String>,
    /// The most that were open at once.
    most_open: usize,
    /// The states in which an object was closed, by its name.
    closed: BTreeMap<String, BTreeSet<String>>,
}

impl Sights {
    fn begin(world: &World) -> Self {
        let (seen, requests) = (Arc::new(Mutex::new(Seen::default())), world.requests());
        let all = seen.clone();
        let task = tokio::spawn(async move {
            let mut events = watcher(requests, watcher::Config::default()).boxed();
            while let Some(event) = events.next().await {
                if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
                    all.lock().unwrap().take(&object);
                }
            }
        });
        Self { seen, task }
    }

    /// When the successor has been seen: at most one was open at any time, and the first was closed by one write.
    async fn are_right(&self, first: &str, successor: &str) {
        eventually("the successor is seen", || async {
            let seen = self.seen.lock().unwrap();
            if seen.open.contains(successor) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
        let seen = self.seen.lock().unwrap();
        assert_eq!((seen.most_open, seen.closed.len(), seen.closed[first].len()), (1, 1, 1), "{seen:?}");
    }
}

impl Seen {
    fn take(&mut self, object: &RemediationRequest) {
        let name = object.name_any();
        // One whose status is not written yet is open.
        if facts(object).is_none_or(is_open) {
            assert!(!self.closed.contains_key(&name), "{name} was closed");
            self.open.insert(name);
        } else {
            self.open.remove(&name);
            self.closed.entry(name).or_default().insert(object.resource_version().unwrap());
        }
        self.most_open = self.most_open.max(self.open.len());
    }
}

impl Drop for Sights {
    fn drop(&mut self) {
        self.task.abort();
    }
}
