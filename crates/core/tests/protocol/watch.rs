//! The watch on Signals of one process.

use super::world::{Receipt, Sig};

/// A Signal as an event showed it.
pub type Observed = (Sig, Option<Receipt>);

/// What the watch brings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    ListBegins,
    Signal(Observed),
    ListEnds,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Watch {
    /// The API server is asked for all Signals, and has not answered.
    pub to_list: bool,
    /// It has: each new Signal comes.
    pub is_live: bool,
    /// Within a list every Signal comes in; after it, one with a receipt is not news.
    listing: bool,
    pub inbox: Vec<Event>,
    /// The engine asked for a chunk.
    pub wanted: bool,
}

impl Watch {
    /// All Signals are to be read.
    pub fn to_list() -> Self {
        Self { to_list: true, listing: true, ..Self::default() }
    }

    /// The API server lists them as of one moment.
    pub fn listed(&mut self, signals: impl Iterator<Item = Observed>) {
        self.inbox.extend(self.is_live.then_some(Event::ListBegins));
        self.inbox.extend(signals.map(Event::Signal));
        self.inbox.push(Event::ListEnds);
        (self.to_list, self.is_live) = (false, true);
    }

    /// A chunk of at most so many events. It ends with a list.
    pub fn chunk(&mut self, most: usize) -> Vec<Event> {
        self.wanted = false;
        let mut chunk = Vec::new();
        for _ in 0..most.min(self.inbox.len()) {
            let event = self.inbox.remove(0);
            let (begins, ends) = (event == Event::ListBegins, event == Event::ListEnds);
            self.listing = self.listing && !ends || begins;
            if self.listing || ends || !matches!(event, Event::Signal((_, Some(_)))) {
                chunk.push(event);
            }
            if ends {
                break;
            }
        }
        chunk
    }
}
