//! `why SIGNAL|RR`: reads what the answer depends on, and shows it.

use kube::ResourceExt;

use super::access::Access;
use super::fault::PluginError;
use super::scene::Scene;
use super::why_request::why_request;
use super::why_signal::why_signal;
use super::why_text::{request_text, signal_text};
use super::{Screen, access::full_name};
use crate::api::{RemediationRequest, Signal};
use crate::settings::OutputFormat;

/// What a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Signal,
    Request,
    Either,
}

/// A Signal, a RemediationRequest, or whichever has the name.
fn asked(text: &str) -> Result<(Asked, &str), PluginError> {
    let Some((kind, name)) = text.split_once('/') else { return Ok((Asked::Either, text)) };
    let short = kind.split('.').next().unwrap_or_default().to_lowercase();
    match short.as_str() {
        "sig" | "signal" | "signals" => Ok((Asked::Signal, name)),
        "rr" | "remediationrequest" | "remediationrequests" => Ok((Asked::Request, name)),
        _ => Err(PluginError::Usage(format!("{kind:?} is neither signal nor rr: write signal/NAME or rr/NAME"))),
    }
}

/// Either of them.
enum FoundObject {
    Signal(Box<Signal>),
    Request(Box<RemediationRequest>),
}

/// Answers why a Signal is where it is, or why a storm is as it is.
pub(super) async fn why(access: &Access, object: &str, screen: &mut Screen<'_>) -> Result<(), PluginError> {
    match find(access, object).await? {
        FoundObject::Signal(signal) => {
            let scene = Scene::look(access, screen.style.now, None).await?;
            let answer = why_signal(&signal, &scene);
            if screen.output == OutputFormat::Name {
                return screen.say(&format!("{}\n", full_name(signal.as_ref())));
            }
            if screen.machine(&answer)? {
                return Ok(());
            }
            screen.say(&signal_text(&answer, screen.is_wide(), screen.style))
        }
        FoundObject::Request(request) => {
            let scene = Scene::look(access, screen.style.now, Some(&request.name_any())).await?;
            let answer = why_request(&request, &scene);
            if screen.output == OutputFormat::Name {
                return screen.say(&format!("{}\n", full_name(request.as_ref())));
            }
            if screen.machine(&answer)? {
                return Ok(());
            }
            screen.say(&request_text(&answer, screen.style))
        }
    }
}

async fn find(access: &Access, object: &str) -> Result<FoundObject, PluginError> {
    let (asked, name) = asked(object)?;
    // Names of storms begin like this; a Signal may be called so, too.
    let storm_first = asked == Asked::Request || asked == Asked::Either && name.starts_with("storm-");
    if storm_first && let Some(found) = access.get::<RemediationRequest>(name).await? {
        return Ok(FoundObject::Request(Box::new(found)));
    }
    if asked != Asked::Request
        && let Some(found) = access.get::<Signal>(name).await?
    {
        return Ok(FoundObject::Signal(Box::new(found)));
    }
    if asked == Asked::Either
        && !storm_first
        && let Some(found) = access.get::<RemediationRequest>(name).await?
    {
        return Ok(FoundObject::Request(Box::new(found)));
    }
    let what = match asked {
        Asked::Signal => "Signal",
        Asked::Request => "RemediationRequest",
        Asked::Either => "Signal or RemediationRequest",
    };
    Err(PluginError::NotFound(format!("{what} {name:?} in namespace {}", access.namespace())))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a", Asked::Either, "a")]
    #[case("sig/a", Asked::Signal, "a")]
    #[case("signals.stormfold.dev/a", Asked::Signal, "a")]
    #[case("rr/a", Asked::Request, "a")]
    #[case("RemediationRequest/a", Asked::Request, "a")]
    fn a_kind_is_written_as_kubectl_writes_it(#[case] text: &str, #[case] kind: Asked, #[case] name: &str) {
        assert_eq!(asked(text).unwrap(), (kind, name));
    }

    #[test]
    fn other_kinds_are_refused() {
        assert!(asked("pod/a").unwrap_err().to_string().contains("signal/NAME"));
    }
}
