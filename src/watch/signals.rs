//! The watch on Signals, chunk by chunk: nothing is read before the engine asks for it.

use std::sync::Arc;
use std::task::Poll;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::Client;
use stormfold_core::engine::input::Arrival;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::arrival::{arrive, place_of};
use crate::api::Signal;
use crate::inbox::{Inbox, Want};
use crate::policies::Policies;
use crate::runtime::backoff::Backoff;
use crate::runtime::error::Disposition;
use crate::runtime::guarded::Guarded;
use crate::runtime::part_gate::PartGate;
use crate::runtime::watch::Watch;
use crate::storm::{DigestKey, Reach};

/// Events taken at once: what has arrived while the previous chunk was merged.
const CHUNK: usize = 256;
/// No more are taken once a chunk has so many occurrences, of some 100 bytes each: this bounds its memory.
const CHUNK_OCCURRENCES: usize = 20_000;

/// Reads Signals.
pub struct SignalReader {
    /// The API server.
    pub client: Client,
    /// The watch.
    pub watch: Watch,
    /// How Signals group.
    pub policies: Arc<Policies>,
    /// Whose Signals may speak of other namespaces.
    pub reach: Reach,
    /// The engine.
    pub inbox: Inbox,
}

impl SignalReader {
    /// Reads what is wanted, until `stop`.
    pub async fn run(self, mut wants: UnboundedReceiver<Want>, stop: CancellationToken) {
        let mut chunks: Option<BoxStream<'static, Vec<Arrival>>> = None;
        let (mut list, mut wanted) = (0, false);
        loop {
            let next = async {
                match &mut chunks {
                    Some(chunks) if wanted => chunks.next().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                want = wants.recv() => match want {
                    Some(Want::List(number, key, groupings)) => {
                        list = number;
                        self.policies.note_open(groupings);
                        chunks = Some(self.chunks(key));
                        wanted = false;
                    }
                    Some(Want::Chunk) => wanted = true,
                    None => return,
                },
                Some(chunk) = next => {
                    wanted = false;
                    self.inbox.chunk(list, chunk);
                }
            }
        }
    }

    fn chunks(&self, key: DigestKey) -> BoxStream<'static, Vec<Arrival>> {
        let (policies, reach) = (self.policies.clone(), Arc::new(self.reach.clone()));
        let health = self.watch.health.clone();
        let events = self.watch.events::<Guarded<Signal>>(&self.client);
        let arrivals = events.then(move |event| {
            let (policies, reach, health) = (policies.clone(), reach.clone(), health.clone());
            async move {
                if let Some((part, namespace, created)) = place_of(&event) {
                    know_namespace(&policies, &namespace, created, &health, part).await;
                }
                arrive(event, &policies.view(), &reach, &key)
            }
        });
        chunks(arrivals.boxed()).boxed()
    }
}

/// What has arrived, in chunks. What means nothing counts as an event: a chunk without arrivals is one, too.
fn chunks(mut arrivals: BoxStream<'static, Option<Arrival>>) -> impl Stream<Item = Vec<Arrival>> + Send {
    stream::poll_fn(move |context| {
        let (mut chunk, mut events, mut occurrences) = (Vec::new(), 0, 0);
        while events < CHUNK && occurrences < CHUNK_OCCURRENCES {
            match arrivals.poll_next_unpin(context) {
                Poll::Ready(Some(arrival)) => {
                    events += 1;
                    if let Some(Arrival::Observed(_, observation)) = &arrival {
                        occurrences += observation.reports.len();
                    }
                    chunk.extend(arrival);
                }
                Poll::Ready(None) if events == 0 => return Poll::Ready(None),
                Poll::Pending if events == 0 => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Ready(Some(chunk))
    })
}

/// Waits until the labels of a namespace are known, or it is known that they cannot be: then its Signals come under the policies that ask for
/// none, and nobody else waits for them (invariant 21).
async fn know_namespace(policies: &Policies, namespace: &str, created: Timestamp, health: &PartGate, part: usize) {
    let (mut backoff, mut waited) = (Backoff::default(), false);
    while let Err(error) = policies.know_namespace(namespace, created).await {
        match error.disposition() {
            Disposition::Terminal | Disposition::Conflict => {
                tracing::warn!(%error, namespace, "policies see no labels of a namespace: they cannot be read");
                policies.forget_namespace(namespace, created);
                break;
            }
            // The API server has a bad time: everybody waits for it, and readiness says so.
            Disposition::Transient | Disposition::Unavailable => {
                waited = true;
                health.failed(part, format!("Signals wait for the labels of a namespace: {error}"));
                tokio::time::sleep(backoff.failed(())).await;
            }
        }
    }
    if waited {
        health.works(&part);
    }
}
