//! Kubernetes Events: news for people. State is in the objects; an Event that cannot be written is counted and let go.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::error::call;
use crate::metrics::{ApiWrite, Metrics, WriteResult};
use crate::storm::cut;

/// Events that wait to be written. In a storm of bad Signals the conditions tell each; the Events tell the first ones.
const QUEUE: usize = 256;
/// The API server refuses a note over 1,024 bytes.
const MAX_NOTE: usize = 1_000;

/// Takes Events; never blocks.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<(Event, ObjectReference)>,
    metrics: Metrics,
}

/// Writes them.
pub struct EventWriter {
    queue: mpsc::Receiver<(Event, ObjectReference)>,
    recorder: Recorder,
    metrics: Metrics,
}

/// The two ends of one queue.
pub fn events(client: Client, metrics: &Metrics) -> (Events, EventWriter) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let recorder = Recorder::new(client, Reporter { controller: "stormfold".into(), instance: None });
    (
        Events { queue: sender, metrics: metrics.clone() },
        EventWriter { queue: receiver, recorder, metrics: metrics.clone() },
    )
}

impl Events {
    /// Tells something about an object.
    pub fn tell(
        &self,
        about: ObjectReference,
        type_: EventType,
        reason: &'static str,
        action: &'static str,
        note: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.into(),
            note: Some(cut(note, MAX_NOTE).to_owned()),
            action: action.into(),
            secondary: None,
        };
        if self.queue.try_send((event, about)).is_err() {
            self.metrics.wrote(ApiWrite::Event, WriteResult::Dropped);
        }
    }
}

impl EventWriter {
    /// Writes Events until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(Some((event, about))) = stop.run_until_cancelled(self.queue.recv()).await {
            let what = || format!("write Event {} on {}", event.reason, about.name.as_deref().unwrap_or_default());
            match call(what, self.recorder.publish(&event, &about)).await {
                Ok(()) => self.metrics.wrote(ApiWrite::Event, WriteResult::Done),
                Err(error) => {
                    tracing::warn!(%error, "an Event is lost");
                    self.metrics.wrote(ApiWrite::Event, WriteResult::Dropped);
                }
            }
        }
    }
}
