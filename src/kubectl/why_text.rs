//! `why` for people.

use super::text::{Cell, Paint, Style, clean, fields, table};
use super::why_request::RequestAnswer;
use super::why_signal::{GroupAnswer, OccurrenceAnswer, SignalAnswer, WaitAnswer};

/// Policies that are explained, and occurrences that are listed, unless more are asked for.
const MOST: usize = 10;

/// Why a Signal is where it is.
pub(super) fn signal_text(answer: &SignalAnswer, wide: bool, style: Style) -> String {
    let mut lines = vec![("Signal", clean(&format!("{}/{}", answer.namespace, answer.name)))];
    lines.push(("Answer", style.paint(Paint::Strong, &answer.answer)));
    // What ends a wait is told with it, by name.
    if !answer.next.is_empty() && answer.waits.is_none() {
        lines.push(("Do", clean(answer.next)));
    }
    if let Some(told) = &answer.told {
        lines.push(("Told", clean(&format!("{} at {}: {}", told.reason, style.moment(told.since), told.message))));
    }
    if let Some(policy) = &answer.policy {
        lines.push(("Policy", clean(&format!("{}: {}", policy.name, policy.because))));
        let shown = if wide { policy.others.len() } else { MOST };
        for other in policy.others.iter().take(shown) {
            lines.push(("Not", clean(&format!("{}: {}", other.name, other.because))));
        }
        if policy.others.len() > shown {
            lines.push(("Not", format!("{} more; -o wide shows them", policy.others.len() - shown)));
        }
    }
    lines.extend(answer.group.iter().map(|group| ("Group", group_words(group))));
    for storm in &answer.storms {
        let under = storm.policy.as_ref().map(|policy| format!(", under policy {policy}")).unwrap_or_default();
        let words = format!("{}: {}{under}, {} of its occurrences", storm.name, storm.state, storm.occurrences);
        lines.push(("Storm", clean(&words)));
    }
    lines.extend(answer.waits.iter().flat_map(|waits| wait_lines(waits, style)));
    lines.extend(unknown(&answer.unknown, style));
    format!("{}\n{}", fields(style, &lines), occurrences(&answer.occurrences, wide, style))
}

/// Why a storm is as it is.
pub(super) fn request_text(answer: &RequestAnswer, style: Style) -> String {
    let mut lines = vec![("Storm", clean(&format!("{}/{}", answer.namespace, answer.name)))];
    lines.push(("Answer", style.paint(Paint::Strong, &answer.answer)));
    lines.push(("State", answer.state.to_owned()));
    lines.push(("Opened by", clean(&answer.opened_by)));
    lines.push(("Policy", clean(&answer.policy)));
    lines.push(("Group", group_words(&answer.group)));
    lines.extend(answer.threshold.iter().map(|threshold| ("Threshold", threshold.clone())));
    if let Some(end) = &answer.end {
        let reason = end.reason.map(|reason| format!("{reason:?}: ")).unwrap_or_default();
        let at = end.at.map(|at| format!("{}, ", style.moment(at))).unwrap_or_default();
        lines.push(("End", clean(&format!("{at}{reason}{}", end.because))));
    }
    lines.extend(answer.waits.iter().map(|waits| ("Because", clean(&waits.why))));
    lines.extend(answer.waits.iter().flat_map(|waits| wait_lines(waits, style)));
    lines.extend(answer.previous.iter().map(|previous| ("Previous", clean(previous))));
    lines.extend(answer.successors.iter().map(|successor| ("Successor", clean(successor))));
    if !answer.signals.is_empty() {
        let counts: Vec<String> = answer
            .signals
            .iter()
            .map(|(reason, count)| format!("{count} {}", if reason.is_empty() { "not told" } else { reason }))
            .collect();
        lines.push(("Signals", clean(&counts.join(", "))));
    }
    lines.extend(unknown(&answer.unknown, style));
    fields(style, &lines)
}

fn group_words(group: &GroupAnswer) -> String {
    let by: Vec<String> = group.by.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    let lacks = group.missing_labels.join(", ");
    let lacks = if lacks.is_empty() { lacks } else { format!("; it lacks {lacks}") };
    clean(&format!("{:?}, by {}{lacks}", group.pattern, by.join(" ")))
}

fn wait_lines(waits: &WaitAnswer, style: Style) -> Vec<(&'static str, String)> {
    let until = waits
        .until
        .map_or_else(|| "until somebody ends it".to_owned(), |until| format!("until {}", style.moment(until)));
    vec![("Waits", clean(&until)), ("Ended by", clean(&waits.ends_by))]
}

fn unknown(unknown: &[String], style: Style) -> Vec<(&'static str, String)> {
    unknown.iter().map(|what| ("Unknown", style.paint(Paint::Caution, what))).collect()
}

fn occurrences(all: &[OccurrenceAnswer], wide: bool, style: Style) -> String {
    let shown = if wide { all.len() } else { MOST };
    let paint = |became: &str| match became {
        "Counted" => Some(Paint::Calm),
        "Refused" => Some(Paint::Alarm),
        "Waits" | "Untold" => Some(Paint::Caution),
        _ => None,
    };
    let cells = |of: &OccurrenceAnswer| {
        vec![
            Cell::from(of.place.to_string()),
            Cell::from(&of.state),
            Cell::from(of.fingerprint.as_deref().unwrap_or("-")),
            Cell::from(of.resource.as_deref().unwrap_or("-")),
            Cell::painted(paint(of.became), &of.because),
        ]
    };
    let rows: Vec<Vec<Cell>> = all.iter().take(shown).map(cells).collect();
    let text = table(style, &["#", "STATE", "FINGERPRINT", "RESOURCE", "BECAME"], &rows);
    if all.len() > shown { format!("{text}{} more; -o wide shows them\n", all.len() - shown) } else { text }
}
