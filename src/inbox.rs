//! The engine's in- and out-trays: where others reach it, and what it wants of the reader of Signals.

use stormfold_core::engine::Engine;
use stormfold_core::engine::input::{Arrival, Input};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::storm::{DigestKey, GroupBy};

/// Something for the driver of the engine.
pub(crate) enum Message {
    /// For the engine.
    Input(Box<Input>),
    /// For the engine, if this is still the list that it wants.
    Chunk(u64, Vec<Arrival>),
    /// A question about the engine's state.
    Look(Box<dyn FnOnce(&Engine) + Send>),
}

/// Where others reach the engine. The queue is not bounded: what comes in is taken in at once, and most of it (a chunk of Signals,
/// the answer to a call) comes only because the engine asked.
#[derive(Clone)]
pub struct Inbox(UnboundedSender<Message>);

/// The receiving end of an [`Inbox`].
pub struct Mailbox(UnboundedReceiver<Message>);

/// The two ends of one queue.
pub fn inbox() -> (Inbox, Mailbox) {
    let (sender, receiver) = unbounded_channel();
    (Inbox(sender), Mailbox(receiver))
}

impl Inbox {
    /// Tells the engine.
    pub fn send(&self, input: Input) {
        self.put(Message::Input(Box::new(input)));
    }

    /// Gives it a chunk of the list of this number.
    pub fn chunk(&self, list: u64, arrivals: Vec<Arrival>) {
        self.put(Message::Chunk(list, arrivals));
    }

    /// Looks at its state. `None`: it does not run any more.
    pub async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Engine) -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        // Whoever asked may have gone.
        self.put(Message::Look(Box::new(move |engine| drop(answer.send(look(engine))))));
        answered.await.ok()
    }

    fn put(&self, message: Message) {
        // Closed only when the process stops, and then nothing is wanted.
        let _ = self.0.send(message);
    }
}

impl Mailbox {
    /// The next message. `None`: nobody is left who could send one.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        self.0.recv().await
    }
}

/// What the engine wants of the reader of Signals.
#[derive(Debug)]
pub enum Want {
    /// All Signals from the beginning: the number of the list, the key of the digests, and the policies and groupings under which
    /// storms are open.
    List(u64, DigestKey, Vec<(String, GroupBy)>),
    /// The next chunk.
    Chunk,
}
