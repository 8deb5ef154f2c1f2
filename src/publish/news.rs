//! The Kubernetes Events on a RemediationRequest: it opened, it crossed the threshold, it closed.

use kube::Resource;
use kube::runtime::events::EventType;

use crate::api::RemediationRequest;
use crate::runtime::events::Events;
use crate::storm::StormMetadata;
use crate::storm::decide::CloseReason;

impl Events {
    pub(super) fn tell_opened(&self, object: &RemediationRequest) {
        let note = format!("first Signal of {}", object.spec.pattern);
        self.tell(object.object_ref(&()), EventType::Normal, "StormOpened", "Open", &note);
    }

    pub(super) fn tell_threshold(&self, object: &RemediationRequest, facts: &StormMetadata) {
        let note = format!("{} alerts on {} resources", facts.alert_count, facts.affected_count);
        self.tell(object.object_ref(&()), EventType::Warning, "StormThresholdReached", "Publish", &note);
    }

    pub(super) fn tell_closed(&self, object: &RemediationRequest, reason: CloseReason) {
        self.tell(object.object_ref(&()), EventType::Normal, "StormClosed", "Close", &format!("closed: {reason:?}"));
    }
}
