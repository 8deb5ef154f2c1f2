//! The final facts of a closed storm, as JSON: kept until its end is in the cluster.

use serde::{Deserialize, Serialize};

use crate::storm::decide::CloseReason;
use crate::storm::{Severity, StormMetadata};
use jiff::Timestamp;

/// The text's shape. Fields that a later version adds are ignored by this one.
#[derive(Serialize, Deserialize)]
struct Facts {
    reason: CloseReason,
    /// `null` when nothing was merged.
    metadata: Option<Kept>,
}

#[derive(Serialize, Deserialize)]
struct Kept(#[serde(with = "Metadata")] StormMetadata);

/// The form of the metadata.
#[derive(Serialize, Deserialize)]
#[serde(remote = "StormMetadata")]
struct Metadata {
    pattern: String,
    alert_count: usize,
    firing: usize,
    affected_count: usize,
    affected_resources: Vec<String>,
    first_seen: Timestamp,
    last_seen: Timestamp,
    #[serde(with = "Word")]
    severity: Severity,
    #[serde(default)]
    incomplete: bool,
}

/// The words of severities: `Critical`, where the API says `critical`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Severity")]
enum Word {
    Info,
    Warning,
    Error,
    Critical,
}

/// The text.
pub(super) fn text(metadata: Option<&StormMetadata>, reason: CloseReason) -> String {
    // Numbers, texts and times: what cannot be written as JSON does not exist here. An empty text reads as nothing known.
    serde_json::to_string(&Facts { reason, metadata: metadata.cloned().map(Kept) }).unwrap_or_default()
}

/// What the text says; `None` when it cannot be read: then the object in the cluster has the facts, but for what came after its last write.
pub(super) fn parse(text: &str) -> Option<(Option<StormMetadata>, CloseReason)> {
    let facts: Facts = serde_json::from_str(text)
        .inspect_err(|error| tracing::warn!(%error, "the final facts of a closed storm cannot be read"))
        .ok()?;
    Some((facts.metadata.map(|kept| kept.0), facts.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    // A version before or after this one reads it: whoever changes the text raises `FORMAT`.
    #[test]
    fn the_text_stays_what_it_is() {
        let metadata = StormMetadata {
            pattern: "X in prod".into(),
            alert_count: 2,
            firing: 1,
            affected_count: 1,
            affected_resources: vec!["Pod/a".into()],
            first_seen: Timestamp::UNIX_EPOCH,
            last_seen: Timestamp::UNIX_EPOCH,
            severity: Severity::Critical,
            incomplete: false,
        };
        let kept = r#"{"reason":"Quiet","metadata":{"pattern":"X in prod","alert_count":2,"firing":1,"affected_count":1,"affected_resources":["Pod/a"],"first_seen":"1970-01-01T00:00:00Z","last_seen":"1970-01-01T00:00:00Z","severity":"Critical","incomplete":false}}"#;
        assert_eq!(text(Some(&metadata), CloseReason::Quiet), kept);
        assert_eq!(parse(kept), Some((Some(metadata), CloseReason::Quiet)));
        let nothing = r#"{"reason":"MaxAge","metadata":null}"#;
        assert_eq!(text(None, CloseReason::MaxAge), nothing);
        assert_eq!(parse(nothing), Some((None, CloseReason::MaxAge)));
    }
}
