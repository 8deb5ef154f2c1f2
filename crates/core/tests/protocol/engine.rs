//! The engine of a process, kept once for all states of the world in which it is the same; what it does is asked of it once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use stormfold_core::engine::call::{CallId, Reply, Task};
use stormfold_core::engine::effect::{Effect, Timer};
use stormfold_core::engine::input::{Arrival, Input, RequestEvent};
use stormfold_core::engine::resync::ResyncReason;
use stormfold_core::engine::{Engine, Settings};

use super::case::Case;
use super::redis::Epoch;
use super::replica::Answer;
use super::search::{ByDigest, digest};
use super::values::{observed, policies, request, time};
use super::watch::Event;
use super::world::Object;

/// An engine, with what tells its state from others.
pub struct Protocol {
    pub engine: Engine,
    pub digest: u128,
    /// The last call of each task.
    calls: BTreeMap<Task, u64>,
}

/// What the engine hears.
#[derive(Clone, Debug, Hash)]
pub enum Heard {
    PoliciesListed,
    ListBegins,
    Listed(Epoch, Object),
    ListEnds,
    Changed(Epoch, Object),
    Signals(Vec<Event>),
    /// To the last call of this task, or to an earlier one.
    Reply(Task, bool, Box<Answer>),
    Timer(Timer),
    Resync,
}

/// Engines by what they are, and what became of them by what they heard.
#[derive(Default)]
pub struct Memory {
    engines: RefCell<ByDigest<Arc<Protocol>>>,
    steps: RefCell<ByDigest<Stepped>>,
}

/// What became of an engine, and what it wants done.
pub type Stepped = (Arc<Protocol>, Arc<Vec<Effect>>);

/// Another search has another memory.
impl Clone for Memory {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} engines", self.engines.borrow().len())
    }
}

impl Protocol {
    /// An engine that knows nothing yet.
    pub fn new(case: &Case) -> Arc<Self> {
        let settings = Settings { rules: case.engine_rules(), ..Settings::default() };
        let engine = Engine::new(settings, policies());
        Arc::new(Self { digest: digest(&engine), engine, calls: BTreeMap::new() })
    }

    /// What becomes of it.
    pub fn hears(&self, heard: &Heard, clock: Epoch, case: &Case) -> Stepped {
        let key = digest(&(self.digest, heard, clock));
        if let Some(stepped) = case.memory.steps.borrow().get(&key) {
            return stepped.clone();
        }
        let (mut engine, mut calls) = (self.engine.clone(), self.calls.clone());
        let effects = engine.step(self.input(heard, case), time(clock));
        for effect in &effects {
            if let Effect::Call(CallId { task, number }, _) = effect {
                calls.insert(*task, *number);
            }
        }
        let digest = digest(&engine);
        let next =
            case.memory.engines.borrow_mut().entry(digest).or_insert(Arc::new(Self { engine, digest, calls })).clone();
        let stepped = (next, Arc::new(effects));
        case.memory.steps.borrow_mut().insert(key, stepped.clone());
        stepped
    }

    fn input(&self, heard: &Heard, case: &Case) -> Input {
        match heard {
            Heard::PoliciesListed => Input::PoliciesListed,
            Heard::ListBegins => Input::Request(RequestEvent::ListBegins(0)),
            Heard::Listed(epoch, object) => Input::Request(RequestEvent::Listed(0, request(*epoch, *object))),
            Heard::ListEnds => Input::Request(RequestEvent::ListEnds(0)),
            Heard::Changed(epoch, object) => Input::Request(RequestEvent::Changed(request(*epoch, *object))),
            Heard::Signals(events) => Input::Signals(events.iter().map(|event| arrival(event, case)).collect()),
            Heard::Reply(task, is_last, answer) => self.reply(*task, *is_last, answer.0.clone()),
            Heard::Timer(timer) => Input::Timer(*timer),
            Heard::Resync => Input::Resync(ResyncReason::LedgerWiped),
        }
    }

    /// Numbers of calls begin with 1.
    fn reply(&self, task: Task, is_last: bool, reply: Reply) -> Input {
        let number = self.calls.get(&task).filter(|_| is_last).copied().unwrap_or_default();
        Input::Reply(CallId { task, number }, reply)
    }
}

fn arrival(event: &Event, case: &Case) -> Arrival {
    match event {
        Event::ListBegins => Arrival::ListBegins(0),
        Event::ListEnds => Arrival::ListEnds(0),
        Event::Signal((signal, receipt)) => {
            Arrival::Observed(0, Box::new(observed(*signal, case.signals[usize::from(*signal)], *receipt)))
        }
    }
}
