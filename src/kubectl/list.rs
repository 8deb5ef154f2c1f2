//! `list`: storms, those first that somebody should look at.

use std::cmp::Reverse;
use std::collections::HashMap;

use futures::StreamExt;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use kube::runtime::watcher::Event;

use super::Screen;
use super::access::{Access, full_name};
use super::fault::PluginError;
use super::text::{Cell, Paint, Style, table};
use crate::api::{RemediationRequest, StormState, StormStatus};
use crate::runtime::guarded::Guarded;
use crate::settings::{ListFlags, OutputFormat};

/// Lists storms, and goes on if that is asked for.
pub(super) async fn list(access: &Access, flags: &ListFlags, screen: &mut Screen<'_>) -> Result<(), PluginError> {
    let mut found: Vec<RemediationRequest> = access.list(ListParams::default()).await?;
    found.retain(|request| !flags.open || is_open(request));
    in_order(&mut found);
    show(&found, access.is_all(), screen)?;
    if !flags.watch {
        return Ok(());
    }
    let version = |request: &RemediationRequest| (request.uid(), request.resource_version());
    let mut shown: HashMap<Option<String>, Option<String>> = found.iter().map(version).collect();
    let mut changes = access.changes::<RemediationRequest>();
    while let Some(event) = changes.next().await {
        // The watch begins with a list of its own: what was shown is no change.
        let (Event::InitApply(Guarded(Ok(request))) | Event::Apply(Guarded(Ok(request)))) = event? else { continue };
        let (uid, version) = version(&request);
        let known = shown.insert(uid, version.clone());
        if known == Some(version) || flags.open && !is_open(&request) {
            continue;
        }
        let style = screen.style_now();
        let line = table(style, &HEAD.map(|_| ""), &[row(&request, access.is_all(), screen.is_wide(), style)]);
        screen.say(line.trim_start())?;
    }
    Ok(())
}

const HEAD: [&str; 13] = [
    "NAMESPACE",
    "NAME",
    "PATTERN",
    "STATE",
    "STORM",
    "ALERTS",
    "FIRING",
    "AFFECTED",
    "SEVERITY",
    "LAST SEEN",
    "OUTCOME",
    "AGE",
    "POLICY",
];

fn show(found: &[RemediationRequest], all: bool, screen: &mut Screen<'_>) -> Result<(), PluginError> {
    if screen.output == OutputFormat::Name {
        return screen.say(&found.iter().map(|request| full_name(request) + "\n").collect::<String>());
    }
    let value = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": found });
    if screen.machine(&value)? {
        return Ok(());
    }
    screen.say(&text(found, all, screen.is_wide(), screen.style))
}

/// For people.
fn text(found: &[RemediationRequest], all: bool, wide: bool, style: Style) -> String {
    if found.is_empty() {
        return "no storms\n".to_owned();
    }
    let rows: Vec<Vec<Cell>> = found.iter().map(|request| row(request, all, wide, style)).collect();
    let head = &HEAD[usize::from(!all)..];
    table(style, if wide { head } else { &head[..head.len() - 1] }, &rows)
}

fn row(request: &RemediationRequest, all: bool, wide: bool, style: Style) -> Vec<Cell> {
    let storm = storm_of(request);
    let state = storm.map_or("Open", |storm| if storm.state == StormState::Open { "Open" } else { "Closed" });
    let severity = storm.map_or(request.spec.severity, |storm| storm.severity);
    let count = |of: fn(&StormStatus) -> i64| storm.map_or_else(|| "-".to_owned(), |storm| of(storm).to_string());
    let outcome = request.status.as_ref().and_then(|status| status.remediation.as_ref()?.outcome);
    let paint = if state == "Open" { Paint::of(severity) } else { Some(Paint::Faint) };
    let mut row = vec![
        Cell::from(request.namespace().unwrap_or_default()),
        Cell::from(request.name_any()),
        Cell::from(&request.spec.pattern),
        Cell::painted(Some(Paint::Faint).filter(|_| state == "Closed"), state),
        Cell::from(if is_storm(request) { "True" } else { "False" }),
        Cell::from(count(|storm| storm.alert_count)),
        Cell::from(count(|storm| storm.firing_count)),
        Cell::from(count(|storm| storm.affected_count)),
        Cell::painted(paint, severity.as_str()),
        Cell::from(storm.map_or_else(|| "-".to_owned(), |storm| style.age(storm.last_seen.0))),
        Cell::from(outcome.map_or_else(String::new, |outcome| format!("{outcome:?}"))),
        Cell::from(style.age(created(request))),
    ];
    if wide {
        row.push(Cell::from(&request.spec.policy_ref.name));
    }
    if !all {
        row.remove(0);
    }
    row
}

/// The facts of a storm.
pub(super) fn storm_of(request: &RemediationRequest) -> Option<&StormStatus> {
    request.status.as_ref()?.storm.as_ref()
}

/// Whether new alerts join it.
pub(super) fn is_open(request: &RemediationRequest) -> bool {
    storm_of(request).is_none_or(|storm| storm.state == StormState::Open)
}

/// Whether its policy calls it a storm.
pub(super) fn is_storm(request: &RemediationRequest) -> bool {
    let conditions = request.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == crate::api::STORM && condition.status == "True")
}

/// When it was created.
pub(super) fn created(request: &RemediationRequest) -> Timestamp {
    request.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

/// Open ones first, then by severity, then the younger ones; names decide in the end.
pub(super) fn in_order(found: &mut [RemediationRequest]) {
    found.sort_by_cached_key(|request| {
        let severity = storm_of(request).map_or(request.spec.severity, |storm| storm.severity);
        (
            !is_open(request),
            Reverse(severity.rank()),
            Reverse(created(request)),
            request.namespace(),
            request.name_any(),
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{CloseReason, Severity};
    use crate::kubectl::fixtures::{at, closed, request};

    #[test]
    fn open_storms_come_first_then_the_severe_then_the_young() {
        let mut old = request("Old", 10);
        old.status.as_mut().unwrap().storm.as_mut().unwrap().severity = Severity::Critical;
        let over = closed(request("Over", 5), CloseReason::Quiet);
        let mut found = vec![over, request("First", 10), request("Second", 20), old];
        in_order(&mut found);
        let order: Vec<&str> = found.iter().map(|request| request.spec.signal.name.as_str()).collect();
        assert_eq!(order, ["Old", "Second", "First", "Over"]);
    }

    #[test]
    fn the_table_is_that_of_kubectl_and_what_alerts_say_is_clean() {
        let mut hostile = request("Bad", 10);
        hostile.spec.pattern = "Bad\u{1b}[2J in shop".into();
        let style = Style { colours: false, now: at(40) };
        let lines = text(&[hostile], false, false, style);
        let line = lines.lines().nth(1).unwrap();
        assert!(lines.starts_with("NAME "), "{lines}");
        assert!(line.contains("Bad\\u{1b}[2J in shop   Open    False   3"), "{line}");
        assert!(line.ends_with("30s"), "{line}");
        assert_eq!(text(&[], true, true, style), "no storms\n");
    }
}
