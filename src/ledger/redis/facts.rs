//! The final facts of a closed storm, as JSON: kept until its end is in the cluster.

use serde::{Deserialize, Serialize};

use crate::storm::StormMetadata;
use crate::storm::decide::CloseReason;

/// The text's shape. Fields that a later version adds are ignored by this one.
#[derive(Serialize, Deserialize)]
struct Facts<Metadata> {
    reason: CloseReason,
    /// `null` when nothing was merged.
    metadata: Metadata,
}

/// The text.
pub(super) fn text(metadata: Option<&StormMetadata>, reason: CloseReason) -> String {
    // Numbers, texts and times: what cannot be written as JSON does not exist here. An empty text reads as nothing known.
    serde_json::to_string(&Facts { reason, metadata }).unwrap_or_default()
}

/// What the text says; `None` when it cannot be read: then the object in the cluster has the facts, but for what came after its last write.
pub(super) fn parse(text: &str) -> Option<(Option<StormMetadata>, CloseReason)> {
    let facts: Facts<Option<StormMetadata>> = serde_json::from_str(text)
        .inspect_err(|error| tracing::warn!(%error, "the final facts of a closed storm cannot be read"))
        .ok()?;
    Some((facts.metadata, facts.reason))
}
