//! The witness: watches the RemediationRequests of a namespace and says when what is expected is seen.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::StreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use stormfold::api::{RemediationRequest, StormStatus};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A storm that is not exact after this is wrong, not slow.
const LIMIT: Duration = Duration::from_mins(1);

/// What was seen, and when.
pub struct Sight {
    pub at: Instant,
    pub name: String,
    pub storm: StormStatus,
}

/// Watches until it is dropped.
pub struct Witness {
    sights: mpsc::UnboundedReceiver<Sight>,
    task: JoinHandle<()>,
}

impl Witness {
    /// Begins to watch; returns when the (empty) list is read, so that nothing is seen late.
    pub async fn begin(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let api: Api<RemediationRequest> = Api::namespaced(client.clone(), namespace);
        let (sender, sights) = mpsc::unbounded_channel();
        let (ready, begun) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut ready = Some(ready);
            let mut events = watcher(api, watcher::Config::default()).boxed();
            while let Some(event) = events.next().await {
                let at = Instant::now();
                let object = match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => object,
                    Ok(Event::InitDone) => {
                        let _ = ready.take().map(|ready| ready.send(()));
                        continue;
                    }
                    _ => continue,
                };
                let name = object.name_any();
                let Some(storm) = object.status.and_then(|status| status.storm) else { continue };
                if sender.send(Sight { at, name, storm }).is_err() {
                    return;
                }
            }
        });
        tokio::time::timeout(LIMIT, begun).await.context("the watch does not begin")??;
        // The list is there; give the watch itself the moment it needs.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(Self { sights, task })
    }

    /// Waits until a storm has exactly `count` alerts, all firing, on as many resources. More than that is an error at once.
    pub async fn exact(&mut self, count: u32) -> anyhow::Result<Sight> {
        self.seen(LIMIT, |sight| {
            let storm = &sight.storm;
            let counts = [storm.alert_count, storm.firing_count, storm.affected_count];
            if counts.iter().any(|n| *n > i64::from(count)) {
                bail!(
                    "WRONG COUNT: {} shows {counts:?} (alerts, firing, affected) where {count} were written",
                    sight.name
                );
            }
            Ok(counts == [i64::from(count); 3])
        })
        .await
        .with_context(|| format!("WRONG COUNT: no storm with exactly {count} alerts"))
    }

    /// Waits until the first sight of which `expected` says yes.
    pub async fn seen(
        &mut self,
        limit: Duration,
        mut expected: impl FnMut(&Sight) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Sight> {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let sight = tokio::time::timeout_at(end, self.sights.recv()).await.context("not seen in time")?;
            let sight = sight.context("the watch ended")?;
            if expected(&sight)? {
                return Ok(sight);
            }
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}
