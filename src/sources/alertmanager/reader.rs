//! Webhook bodies as Signals without a server: what the gateway would store of each.

use std::sync::Arc;

use jiff::Timestamp;

use super::batch::{AlertVerdict, batch};
use super::body::{BodyFault, read_body_of};
use super::{Dialect, TargetRules};
use crate::api::Signal;
use crate::sources::text::clean;
use crate::sources::writer::SignalShelf;
use crate::storm::PolicySet;

/// Of the words of a rejection, in characters.
const MAX_WHY: usize = 200;

/// Reads the bodies of one path.
pub struct BodyReader {
    dialect: &'static Dialect,
    rules: Arc<TargetRules>,
    max_lines: usize,
    max_body: usize,
}

/// What one body comes to.
#[derive(Debug, Default)]
pub struct ReadBody {
    /// The Signals that it makes; a repeat makes none.
    pub signals: Vec<Signal>,
    /// Its alerts.
    pub alerts: usize,
    /// Why some of them can be in no Signal.
    pub rejected: Vec<String>,
}

impl BodyReader {
    /// For bodies of this dialect: at most so many occurrences in one Signal, at most so many bytes.
    pub(in crate::sources) fn new(
        dialect: &'static Dialect,
        rules: Arc<TargetRules>,
        max_lines: usize,
        max_body: usize,
    ) -> Self {
        Self { dialect, rules, max_lines, max_body }
    }

    /// Where such bodies come.
    pub fn path(&self) -> &'static str {
        self.dialect.path
    }

    /// What a body that came then comes to under these policies.
    pub fn read(
        &self,
        body: &[u8],
        policies: &PolicySet,
        received: Timestamp,
        stored: &mut SignalShelf,
    ) -> Result<ReadBody, BodyFault> {
        if body.len() > self.max_body {
            let most = self.max_body;
            return Err(BodyFault::NotAWebhook(format!(
                "the body has {} bytes, more than the {most} that the gateway takes: see --gateway-max-body",
                body.len()
            )));
        }
        let webhook =
            batch(&read_body_of(self.dialect, body, self.max_body)?, &self.rules, policies, self.max_lines, received);
        let why = |verdict: &AlertVerdict| match verdict {
            AlertVerdict::Rejected(why) => Some(clean(why, MAX_WHY).into_owned()),
            AlertVerdict::In(_) | AlertVerdict::Again(_) | AlertVerdict::Dropped(_) => None,
        };
        Ok(ReadBody {
            alerts: webhook.alerts.len(),
            rejected: webhook.alerts.iter().filter_map(|fate| why(&fate.verdict)).collect(),
            signals: stored.put(&webhook.signals),
        })
    }
}
