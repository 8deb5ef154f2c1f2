//! The watch on Signals, chunk by chunk: nothing is read before the engine asks for it.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::Client;
use stormfold_core::engine::input::Arrival;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::arrival::{arrive, namespace_of};
use crate::api::Signal;
use crate::inbox::{Inbox, Want};
use crate::policies::Policies;
use crate::runtime::guarded::Guarded;
use crate::runtime::watch::Watch;
use crate::storm::{DigestKey, Reach};

/// Signals taken at once: what has arrived while the previous chunk was merged. This bounds the memory of a chunk, which holds
/// some 100 bytes per occurrence.
const CHUNK: usize = 256;

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
        let events = self.watch.events::<Guarded<Signal>>(&self.client);
        let arrivals = events.then(move |event| {
            let (policies, reach) = (policies.clone(), reach.clone());
            async move {
                if let Some(namespace) = namespace_of(&event) {
                    policies.know_namespace(&namespace).await;
                }
                arrive(event, &policies.view(), &reach, &key)
            }
        });
        // What means nothing is dropped after the chunk is cut: a chunk is what has arrived.
        arrivals.ready_chunks(CHUNK).map(|chunk| chunk.into_iter().flatten().collect()).boxed()
    }
}
