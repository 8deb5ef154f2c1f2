//! `show RR`: a storm on one page.

use kube::ResourceExt;
use kube::api::ListParams;
use serde::Serialize;

use super::Screen;
use super::access::{Access, full_name};
use super::affected::{affected, by_place};
use super::fault::{ApiRight, PluginError};
use super::history::{StormEvent, events_of};
use super::list::{created, is_storm, storm_of};
use super::text::{Paint, Style, clean, fields};
use super::why_words::state_words;
use crate::api::RemediationRequest;
use crate::settings::OutputFormat;

/// A storm, and what belongs to it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StormPage<'a> {
    request: &'a RemediationRequest,
    successors: Vec<String>,
    events: Vec<StormEvent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<String>,
}

/// Shows a storm.
pub(super) async fn show(access: &Access, name: &str, screen: &mut Screen<'_>) -> Result<(), PluginError> {
    let request = request_of(access, name).await?;
    if screen.output == OutputFormat::Name {
        return screen.say(&format!("{}\n", full_name(&request)));
    }
    let mut missing: Vec<ApiRight> = Vec::new();
    let key = ListParams::default().fields(&format!("spec.stormKey={}", request.spec.storm_key));
    let of_key = seen(access.list::<RemediationRequest>(key).await, &mut missing)?;
    let events = seen(events_of(access, &request).await, &mut missing)?;
    let page = StormPage {
        request: &request,
        successors: successors(&request, &of_key),
        events,
        unknown: missing.iter().map(|right| format!("you lack the right to {right}")).collect(),
    };
    if screen.machine(&page)? {
        return Ok(());
    }
    screen.say(&text(&page, screen.is_wide(), screen.style))
}

/// The RemediationRequest of this name.
pub(super) async fn request_of(access: &Access, name: &str) -> Result<RemediationRequest, PluginError> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let missing = || PluginError::NotFound(format!("RemediationRequest {name:?} in namespace {}", access.namespace()));
    access.get(name).await?.ok_or_else(missing)
}

/// What may be seen; what may not is noted.
pub(super) fn seen<T: Default>(looked: Result<T, PluginError>, missing: &mut Vec<ApiRight>) -> Result<T, PluginError> {
    looked.or_else(|error| {
        missing.push(error.missing()?);
        Ok(T::default())
    })
}

/// The storms of the same key that followed.
fn successors(request: &RemediationRequest, of_key: &[RemediationRequest]) -> Vec<String> {
    let mut later: Vec<_> = of_key.iter().filter(|other| other.spec.epoch > request.spec.epoch).collect();
    later.sort_by_key(|other| other.spec.epoch);
    later.into_iter().map(ResourceExt::name_any).collect()
}

/// For people.
fn text(page: &StormPage<'_>, wide: bool, style: Style) -> String {
    let request = page.request;
    let mut lines = vec![
        ("Storm", clean(&format!("{}/{}", request.namespace().unwrap_or_default(), request.name_any()))),
        ("Pattern", style.paint(Paint::Strong, &request.spec.pattern)),
        ("State", state_words(request)),
        ("Storm reached", if is_storm(request) { "True" } else { "False" }.to_owned()),
        ("Policy", clean(&request.spec.policy_ref.name)),
        ("Opened", style.moment(created(request))),
    ];
    lines.extend(facts(request, style));
    lines.extend(remediation(request, style));
    lines.extend(request.spec.previous_ref.iter().map(|previous| ("Previous", clean(&previous.name))));
    lines.extend(page.successors.iter().map(|successor| ("Successor", clean(successor))));
    lines.extend(page.unknown.iter().map(|what| ("Unknown", style.paint(Paint::Caution, what))));
    let events: String = page.events.iter().map(|event| event_line(event, style)).collect();
    let events = if events.is_empty() { "  none\n".to_owned() } else { events };
    format!(
        "{}{}:\n{}{}:\n{events}",
        fields(style, &lines),
        style.paint(Paint::Strong, "Affected"),
        tree(request, wide),
        style.paint(Paint::Strong, "Events"),
    )
}

fn facts(request: &RemediationRequest, style: Style) -> Vec<(&'static str, String)> {
    let Some(storm) = storm_of(request) else { return vec![("Facts", "none yet".to_owned())] };
    let more = if storm.incomplete { "; a source left more out" } else { "" };
    let paint = Paint::of(storm.severity).unwrap_or(Paint::Faint);
    let mut lines = vec![
        ("Severity", style.paint(paint, storm.severity.as_str())),
        ("Alerts", format!("{}, of which {} fire{more}", storm.alert_count, storm.firing_count)),
        ("First seen", style.moment(storm.first_seen.0)),
        ("Last seen", style.moment(storm.last_seen.0)),
        ("Revision", storm.revision.to_string()),
    ];
    lines.extend(storm.closed_at.as_ref().map(|at| ("Closed", style.moment(at.0))));
    lines
}

fn remediation(request: &RemediationRequest, style: Style) -> Vec<(&'static str, String)> {
    let Some(of) = request.status.as_ref().and_then(|status| status.remediation.as_ref()) else { return Vec::new() };
    let outcome = of.outcome.map_or_else(|| "going on".to_owned(), |outcome| format!("{outcome:?}"));
    let saw = of.observed_revision.map(|revision| format!(", of revision {revision}")).unwrap_or_default();
    let at = of.finished_at.as_ref().map(|at| format!(", {}", style.moment(at.0))).unwrap_or_default();
    let mut lines = vec![("Remediation", format!("{outcome}{saw}{at}"))];
    lines.extend(of.message.iter().map(|message| ("Message", clean(message))));
    lines
}

/// The affected resources by namespace and kind, as many as anybody reads unless all are asked for.
fn tree(request: &RemediationRequest, wide: bool) -> String {
    const MOST: usize = 8;
    let Some(storm) = storm_of(request) else { return "  none\n".to_owned() };
    let items = affected(request);
    let listed = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let (mut lines, places) = (Vec::new(), by_place(items));
    for (namespace, kinds) in &places {
        lines.push(clean(namespace));
        for (index, (kind, names)) in kinds.iter().enumerate() {
            let branch = if index + 1 == kinds.len() { "└─" } else { "├─" };
            let shown = if wide { names.len() } else { MOST };
            let more = names.len().saturating_sub(shown);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let names = names.iter().take(shown).cloned().collect::<Vec<_>>().join(", ");
            lines.push(format!("{branch} {}: {}{more}", clean(kind), clean(&names)));
        }
    }
    if lines.is_empty() {
        lines.push("none".to_owned());
    }
    if storm.affected_count > listed {
        lines.push(format!("… {listed} of {} are listed", storm.affected_count));
    }
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

fn event_line(event: &StormEvent, style: Style) -> String {
    let times = if event.count > 1 { format!(" (x{})", event.count) } else { String::new() };
    format!("  {} {}{times}: {}\n", style.moment(event.at), clean(&event.reason), clean(&event.note))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubectl::fixtures::{at, name_of, request};

    #[test]
    fn a_storm_on_one_page_has_its_facts_its_resources_and_its_events() {
        let object = request("HighLatency", 0);
        let event = StormEvent { at: at(5), reason: "Opened".into(), note: "said \u{1b}[31m".into(), count: 2 };
        let page = StormPage {
            request: &object,
            successors: vec!["storm-next".into()],
            events: vec![event],
            unknown: Vec::new(),
        };
        let text = text(&page, false, Style { colours: false, now: at(60) });
        assert!(text.starts_with(&format!("Storm:          shop/{}\n", name_of(&object))), "{text}");
        for line in [
            "Alerts:         3, of which 2 fire\n",
            "Successor:      storm-next\n",
            "  shop\n  └─ Pod: a, b\n",
            "(55s ago) Opened (x2): said \\u{1b}[31m\n",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
