//! `close`, `hold`, `ack` and `finish`: what people and engines say to the operator, written onto the version that was read, so that nothing
//! that somebody else writes meanwhile is lost.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::Screen;
use super::access::{Access, full_name};
use super::fault::PluginError;
use super::list::{is_open, storm_of};
use super::show::request_of;
use super::text::clean;
use crate::api::{ACKNOWLEDGED, CLOSE, HOLD_OPEN, RemediationRequest, RemediationStatus};
use crate::settings::{FinishFlags, OutputFormat};

/// A storm is written every second at most: somebody else is first this often only when something is wrong.
const TRIES: usize = 6;

/// What a person asks by an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// End the storm.
    Close,
    /// Keep it open.
    Hold,
    /// Let the policy decide again.
    Release,
    /// Take note of its outcome.
    Acknowledge,
}

/// What is to be written, or why not.
#[derive(Debug, PartialEq, Eq)]
enum Writing {
    /// These annotations.
    Annotate(Value, String),
    /// It is so already.
    Nothing(String),
}

impl Ask {
    /// What this means for a storm as it is.
    fn on(self, request: &RemediationRequest) -> Result<Writing, String> {
        let has = |annotation: &str| request.annotations().get(annotation).is_some_and(|value| value == "true");
        let (open, name) = (is_open(request), request.name_any());
        let over = || Err(format!("{name} is closed: nothing joins it any more"));
        let annotate =
            |annotation: &str, words: &str| Ok(Writing::Annotate(json!({ annotation: "true" }), words.into()));
        match self {
            Self::Close if !open => Ok(Writing::Nothing("is closed already".into())),
            Self::Close if has(CLOSE) => Ok(Writing::Nothing("was asked to close already".into())),
            Self::Close => annotate(CLOSE, "is asked to close"),
            Self::Hold | Self::Release if !open => over(),
            Self::Hold if has(HOLD_OPEN) => Ok(Writing::Nothing("is held open already".into())),
            Self::Hold => annotate(HOLD_OPEN, "is held open"),
            Self::Release if !request.annotations().contains_key(HOLD_OPEN) => {
                Ok(Writing::Nothing("was not held open".into()))
            }
            Self::Release => Ok(Writing::Annotate(json!({ HOLD_OPEN: null }), "is held open no longer".into())),
            Self::Acknowledge if outcome(request).is_none() => {
                Err(format!("{name} has no outcome: there is nothing to take note of"))
            }
            Self::Acknowledge if has(ACKNOWLEDGED) => Ok(Writing::Nothing("was acknowledged already".into())),
            Self::Acknowledge => annotate(ACKNOWLEDGED, "is acknowledged"),
        }
    }
}

fn outcome(request: &RemediationRequest) -> Option<crate::api::Outcome> {
    request.status.as_ref()?.remediation.as_ref()?.outcome
}

/// The version that a write must meet.
fn on_version(request: &RemediationRequest) -> Value {
    json!({ "resourceVersion": request.resource_version(), "uid": request.uid() })
}

/// Asks something of a storm.
pub(super) async fn ask(access: &Access, ask: Ask, name: &str, screen: &mut Screen<'_>) -> Result<(), PluginError> {
    for tries in 1.. {
        let request = request_of(access, name).await?;
        let (annotations, words) = match ask.on(&request).map_err(PluginError::Refused)? {
            Writing::Nothing(words) => return done(&request, &words, screen),
            Writing::Annotate(annotations, words) => (annotations, words),
        };
        let mut metadata = on_version(&request);
        metadata["annotations"] = annotations;
        let written = access.patch::<RemediationRequest>(&request.name_any(), &json!({ "metadata": metadata })).await;
        match written {
            Ok(written) => return done(&written, &words, screen),
            // The wish is looked at again on what the storm has become.
            Err(error) if is_conflict(&error) && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reports the outcome of a remediation.
pub(super) async fn finish(access: &Access, flags: &FinishFlags, screen: &mut Screen<'_>) -> Result<(), PluginError> {
    let mut saw = flags.observed_revision;
    for tries in 1.. {
        let request = request_of(access, &flags.name).await?;
        // What is shown when the command begins is what whoever calls it has seen; what comes meanwhile is not.
        let revision = storm_of(&request).map_or(0, |storm| storm.revision);
        let saw = *saw.get_or_insert(revision);
        let report = report(&request, flags, saw, screen.style.now).map_err(PluginError::Refused)?;
        let body = json!({ "metadata": on_version(&request), "status": { "remediation": report } });
        match access.patch_status::<RemediationRequest>(&request.name_any(), &body).await {
            Ok(written) => return finished(&written, &report, revision, screen),
            Err(error) if is_conflict(&error) && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What is to be written of a remediation; why not, where somebody else was first or it makes no sense.
fn report(
    request: &RemediationRequest,
    flags: &FinishFlags,
    saw: i64,
    now: Timestamp,
) -> Result<RemediationStatus, String> {
    let name = request.name_any();
    let revision = storm_of(request).map_or(0, |storm| storm.revision);
    if saw > revision {
        return Err(format!("{name} is at revision {revision}: nobody can have seen revision {saw}"));
    }
    let before = request.status.as_ref().and_then(|status| status.remediation.clone()).unwrap_or_default();
    if let Some(outcome) = before.outcome.filter(|outcome| *outcome != flags.outcome && !flags.overwrite) {
        return Err(format!("{name} has the outcome {outcome:?} already; --overwrite replaces it"));
    }
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Ok(RemediationStatus {
        outcome: Some(flags.outcome),
        observed_revision: Some(saw),
        message: flags.message.clone().or(before.message),
        started_at: before.started_at,
        finished_at: Some(Time(whole)),
    })
}

/// Says what is written, once the answer of the API server shows it.
fn finished(
    written: &RemediationRequest,
    report: &RemediationStatus,
    revision: i64,
    screen: &mut Screen<'_>,
) -> Result<(), PluginError> {
    let shown = written.status.as_ref().and_then(|status| status.remediation.as_ref());
    if shown != Some(report) {
        return Err(PluginError::Refused(format!(
            "the API server took the outcome of {} and does not show it: is its CRD older than this program?",
            written.name_any()
        )));
    }
    let saw = report.observed_revision.unwrap_or_default();
    let grown = if saw < revision {
        format!("; the storm has grown since: it is at revision {revision}")
    } else {
        String::new()
    };
    let outcome = report.outcome.map(|outcome| format!("{outcome:?}")).unwrap_or_default();
    done(written, &format!("has the outcome {outcome}, of revision {saw}{grown}"), screen)
}

/// Says what was done, as kubectl does.
fn done(request: &RemediationRequest, words: &str, screen: &mut Screen<'_>) -> Result<(), PluginError> {
    if screen.output == OutputFormat::Name {
        return screen.say(&format!("{}\n", full_name(request)));
    }
    if screen.machine(request)? {
        return Ok(());
    }
    screen.say(&clean(&format!("{} {words}", full_name(request))))?;
    screen.say("\n")
}

fn is_conflict(error: &PluginError) -> bool {
    matches!(error, PluginError::Api(error) if error.code() == Some(409))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::{CloseReason, Outcome};
    use crate::kubectl::fixtures::{at, closed, request};

    fn annotated(annotation: &str) -> RemediationRequest {
        let mut object = request("A", 0);
        object.annotations_mut().insert(annotation.into(), "true".into());
        object
    }

    fn with_outcome(mut object: RemediationRequest) -> RemediationRequest {
        let remediation = RemediationStatus { outcome: Some(Outcome::Failed), ..RemediationStatus::default() };
        object.status.as_mut().unwrap().remediation = Some(remediation);
        object
    }

    fn over() -> RemediationRequest {
        closed(request("A", 0), CloseReason::Quiet)
    }

    #[rstest]
    #[case(Ask::Close, request("A", 0), Some(json!({ CLOSE: "true" })))]
    #[case(Ask::Close, annotated(CLOSE), None)]
    #[case(Ask::Close, over(), None)]
    #[case(Ask::Hold, request("A", 0), Some(json!({ HOLD_OPEN: "true" })))]
    #[case(Ask::Hold, annotated(HOLD_OPEN), None)]
    #[case(Ask::Release, annotated(HOLD_OPEN), Some(json!({ HOLD_OPEN: null })))]
    #[case(Ask::Release, request("A", 0), None)]
    #[case(Ask::Acknowledge, with_outcome(over()), Some(json!({ ACKNOWLEDGED: "true" })))]
    fn a_wish_is_written_once(#[case] ask: Ask, #[case] on: RemediationRequest, #[case] annotations: Option<Value>) {
        let written = match ask.on(&on).unwrap() {
            Writing::Annotate(annotations, _) => Some(annotations),
            Writing::Nothing(_) => None,
        };
        assert_eq!(written, annotations);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(Ask::Hold.on(&over()).unwrap_err().contains("is closed"));
        assert!(Ask::Acknowledge.on(&over()).unwrap_err().contains("no outcome"));
    }

    fn flags(outcome: Outcome, overwrite: bool) -> FinishFlags {
        FinishFlags { name: "it".into(), outcome, observed_revision: None, message: Some("m".into()), overwrite }
    }

    #[test]
    fn an_outcome_is_of_a_revision_that_somebody_can_have_seen() {
        let report = |saw| report(&request("A", 0), &flags(Outcome::Succeeded, false), saw, at(9));
        assert_eq!(report(1).unwrap().observed_revision, Some(1));
        assert!(report(2).unwrap_err().contains("nobody can have seen revision 2"));
    }

    #[test]
    fn an_outcome_that_is_there_is_replaced_on_request_only() {
        let report = |outcome, overwrite| report(&with_outcome(request("A", 0)), &flags(outcome, overwrite), 1, at(9));
        assert!(report(Outcome::Succeeded, false).unwrap_err().contains("--overwrite"));
        assert!(report(Outcome::Failed, false).is_ok(), "said again, it is the same");
        assert_eq!(report(Outcome::Succeeded, true).unwrap().outcome, Some(Outcome::Succeeded));
    }
}
