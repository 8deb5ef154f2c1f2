//! Alertmanager's webhook becomes a few durable Signals; so does that of others who speak a [`Dialect`] of it.
//!
//! Pure first: [`body`] reads the webhook with bounds, `target` with [`rules`] tells what an alert is about, `batch` makes drafts of it. The
//! writer stores them, and `answer` says what became of each alert.

mod answer;
mod batch;
pub mod body;
mod dialect;
mod examples;
mod explain;
pub mod poll;
mod reader;
pub mod rules;
mod target;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Response;
use jiff::Timestamp;

pub use dialect::Dialect;
pub use explain::Told;
pub use reader::{BodyReader, ReadBody};
pub use rules::TargetRules;

use answer::Results;
use batch::Webhook;
use body::{BodyFault, read_body, read_body_of};
pub(super) use dialect::ALERTMANAGER;

use super::http::WebhookSource;
use super::http::answer::Problem;
use super::writer::{SignalWriter, told};
use super::{GatewaySettings, Limits};
use crate::metrics::{AlertResult, GatewayMetrics, SourceLabel};
use crate::policies::Policies;
use crate::storm::PolicySet;

/// Reading a larger body takes longer than others should wait for their turn on a thread.
const LONG_READ: usize = 64 * 1024;

/// How long a webhook waits for the policies of a process that has just begun, before it is told to come again.
const POLICY_WAIT: Duration = Duration::from_secs(5);

/// Takes the webhooks of Alertmanager, or of one who speaks like it.
pub struct Alertmanager {
    dialect: &'static Dialect,
    limits: Limits,
    rules: Arc<TargetRules>,
    policies: Arc<Policies>,
    writer: Arc<SignalWriter>,
    metrics: GatewayMetrics,
}

/// The rules with those of a settings file, if there is one; the message says what is wrong with it.
pub fn rules_of(settings_file: Option<&Path>) -> Result<TargetRules, String> {
    let Some(file) = settings_file else { return Ok(TargetRules::default()) };
    let wrong = |fault: String| format!("--gateway-settings-file {}: {fault}", file.display());
    let yaml = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    TargetRules::parse(&yaml).map_err(wrong)
}

impl Alertmanager {
    /// Reads the settings file; the message says what is wrong with it.
    pub fn open(
        settings: &GatewaySettings,
        policies: Arc<Policies>,
        writer: Arc<SignalWriter>,
        metrics: GatewayMetrics,
    ) -> Result<Arc<Self>, String> {
        Self::speaking(&ALERTMANAGER, settings, policies, writer, metrics)
    }

    /// The same for those who send this.
    pub(super) fn speaking(
        dialect: &'static Dialect,
        settings: &GatewaySettings,
        policies: Arc<Policies>,
        writer: Arc<SignalWriter>,
        metrics: GatewayMetrics,
    ) -> Result<Arc<Self>, String> {
        let rules = rules_of(settings.settings_file.as_deref())?;
        let rules = Arc::new(rules.reaching(writer.reach()));
        Ok(Arc::new(Self { dialect, limits: settings.limits, rules, policies, writer, metrics }))
    }

    async fn batch(&self, bytes: Vec<u8>, received: Timestamp) -> Result<Webhook, Problem> {
        let unknown = |_| Problem::Unavailable("the policies are not read yet".to_owned());
        tokio::time::timeout(POLICY_WAIT, self.policies.policies_listed()).await.map_err(unknown)?;
        let (dialect, limits, rules, policies) =
            (self.dialect, self.limits, self.rules.clone(), self.policies.view().set);
        let long = bytes.len() > LONG_READ;
        let work = move || {
            let body = read_body_of(dialect, &bytes, limits.max_body)?;
            Ok(batch::batch(&body, &rules, &policies, limits.batch, received))
        };
        let made = if long {
            let task = tokio::task::spawn_blocking(work).await;
            task.map_err(|_| Problem::Unavailable("the body could not be read".to_owned()))?
        } else {
            work()
        };
        made.map_err(|fault: BodyFault| match fault {
            BodyFault::NotAWebhook(_) => Problem::BadBody(fault.to_string()),
            BodyFault::TooManyAlerts(..) => Problem::TooLarge(fault.to_string()),
        })
    }

    async fn store(&self, batch: &Webhook) -> Result<Response<Body>, Problem> {
        let mut stored = Vec::with_capacity(batch.signals.len());
        let mut failed = Vec::new();
        for result in self.writer.store(&batch.signals).await {
            match result {
                Ok(signal) => stored.push(signal),
                Err(error) => failed.push(error),
            }
        }
        if let Some(first) = failed.first() {
            let (failed, all) = (failed.len(), batch.signals.len());
            let error = told(first);
            let sender = self.dialect.sender;
            tracing::warn!(error, failed, all, "Signals could not be stored; {sender} will send them again");
            return Err(Problem::Unavailable(format!("{failed} of {all} Signals are not stored: {error}")));
        }
        let results = Results::of(&batch.alerts, &stored);
        let metrics = self.metrics.of(self.dialect.label);
        metrics.alerts(AlertResult::Accepted, results.accepted);
        metrics.alerts(AlertResult::Duplicate, results.duplicate);
        metrics.alerts(AlertResult::Rejected, results.rejected);
        metrics.alerts(AlertResult::Dropped, results.dropped);
        metrics.left_out(batch.without_target, batch.truncated);
        if let Some(why) = batch.rejected() {
            tracing::warn!(
                why,
                rejected = results.rejected,
                "alerts of a webhook can be in no Signal; the first of them says why"
            );
        }
        tracing::debug!(
            accepted = results.accepted,
            duplicate = results.duplicate,
            rejected = results.rejected,
            dropped = results.dropped,
            signals = stored.len(),
            "a webhook is stored"
        );
        Ok(results.response())
    }
}

#[async_trait]
impl WebhookSource for Alertmanager {
    fn path(&self) -> &'static str {
        self.dialect.path
    }

    fn sender(&self) -> &'static str {
        self.dialect.sender
    }

    fn label(&self) -> SourceLabel {
        self.dialect.label
    }

    fn how_to_send_less(&self) -> &'static str {
        self.dialect.how_to_send_less
    }

    async fn take(&self, body: Vec<u8>, received: Timestamp) -> Result<Response<Body>, Problem> {
        let batch = self.batch(body, received).await?;
        self.store(&batch).await
    }
}

/// What reading a body comes to, for tests and benchmarks of the reader alone: how many Signals it makes, of how many bytes, and how many alerts it rejects.
pub fn read(
    bytes: &[u8],
    rules: &TargetRules,
    limits: &Limits,
    now: Timestamp,
) -> Result<(usize, usize, usize), BodyFault> {
    let batch = batch::batch(&read_body(bytes, limits.max_body)?, rules, &PolicySet::default(), limits.batch, now);
    let bytes = batch.signals.iter().map(|draft| draft.table().len()).sum();
    let rejected = batch.alerts.iter().filter(|fate| matches!(fate.verdict, batch::AlertVerdict::Rejected(_))).count();
    Ok((batch.signals.len(), bytes, rejected))
}
