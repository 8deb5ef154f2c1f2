//! What kills an operator at one point of its work, and lets nothing of it pass afterwards.

use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use super::operator::Operator;

/// On which side of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The server never hears of it.
    Before,
    /// The server has done it, and the operator never hears that.
    After,
}

impl Moment {
    pub const BOTH: [Self; 2] = [Self::Before, Self::After];
}

/// See the module.
pub struct Trap {
    process: OnceLock<u32>,
    shut: AtomicBool,
    sprung: watch::Sender<bool>,
}

impl Trap {
    pub fn new() -> Self {
        Self { process: OnceLock::new(), shut: AtomicBool::new(false), sprung: watch::Sender::new(false) }
    }

    /// From now on it may be met by this operator.
    pub fn arm(&self, operator: &Operator) {
        self.process.set(operator.pid()).unwrap();
    }

    pub fn is_armed(&self) -> bool {
        self.process.get().is_some()
    }

    /// Nothing may pass any more, in either direction.
    pub fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::SeqCst)
    }

    /// SIGKILL.
    pub fn spring(&self) {
        self.shut();
        let process = self.process.get().unwrap().to_string();
        assert!(Command::new("kill").args(["-KILL", &process]).status().unwrap().success());
        self.sprung.send_replace(true);
    }

    /// What `wait` gives; `None` when the operator dies first.
    pub async fn unless_sprung<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        let mut sprung = self.sprung.subscribe();
        tokio::select! {
            biased;
            // The sender lives as long as `self`.
            _ = sprung.wait_for(|sprung| *sprung) => None,
            value = wait => Some(value),
        }
    }
}
