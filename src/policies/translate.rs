//! A StormPolicy of the API as a rule. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::{self, Operator, StormPolicy};
use crate::storm::grouping::{Attribute, UnknownAttribute};
use crate::storm::matching::{Criteria, LabelRequirement, LabelSelector, PolicyRule};
use crate::storm::sample::MAX_AFFECTED;
use crate::storm::{Cooldowns, Policy};

/// What is wrong with a policy that a CRD older than this operator let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PolicyFault {
    #[error("spec.{field} is {seen:?}: write a duration such as 30s, 10m or 6h")]
    Duration { field: &'static str, seen: String },
    #[error("spec.groupBy: {0}")]
    GroupBy(#[from] UnknownAttribute),
    #[error("spec.groupBy is empty: name what Signals of one storm have in common")]
    NoGroup,
}

/// What a policy says.
pub(super) fn rule(object: &StormPolicy) -> Result<PolicyRule, PolicyFault> {
    Ok(PolicyRule {
        priority: object.spec.priority,
        created: object.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        criteria: object.spec.matches.as_ref().map(criteria).unwrap_or_default(),
        policy: Arc::new(policy(object)?),
    })
}

fn policy(object: &StormPolicy) -> Result<Policy, PolicyFault> {
    let spec = &object.spec;
    let group_by: Result<_, UnknownAttribute> = spec.group_by.iter().map(|text| text.parse::<Attribute>()).collect();
    if spec.group_by.is_empty() {
        return Err(PolicyFault::NoGroup);
    }
    let kept = |field, text| duration(field, text).map(|time| Some(time).filter(|time| !time.is_zero()));
    let number = |number: i32| usize::try_from(number).unwrap_or(1).max(1);
    Ok(Policy {
        name: object.name_any(),
        group_by: group_by?,
        ignore_missing_labels: spec.ignore_missing_labels,
        storm_alerts: number(spec.storm.alerts),
        storm_resources: number(spec.storm.resources),
        quiet_period: duration("quietPeriod", &spec.quiet_period)?,
        stale_after: duration("staleAfter", &spec.stale_after)?,
        settle_delay: duration("settleDelay", &spec.settle_delay)?,
        max_age: duration("maxAge", &spec.max_age)?,
        publish_interval: Duration::try_from(duration("publishInterval", &spec.publish_interval)?).unwrap_or_default(),
        retention: kept("retention", &spec.retention)?,
        request_retention: kept("requestRetention", &spec.request_retention)?,
        dedup_horizon: duration("dedupHorizon", &spec.dedup_horizon)?,
        affected_cap: number(spec.affected_cap).min(MAX_AFFECTED),
        close_on_outcome: spec.close_on_outcome,
        cooldown: cooldown(&spec.cooldown)?,
        suspended: spec.suspended,
    })
}

fn cooldown(cooldown: &api::Cooldown) -> Result<Cooldowns, PolicyFault> {
    Ok(Cooldowns {
        succeeded: duration("cooldown.succeeded", &cooldown.succeeded)?,
        failed: duration("cooldown.failed", &cooldown.failed)?,
        no_action_needed: duration("cooldown.noActionNeeded", &cooldown.no_action_needed)?,
        manual_required: duration("cooldown.manualRequired", &cooldown.manual_required)?,
        ineffective: duration("cooldown.ineffective", &cooldown.ineffective)?,
    })
}

fn duration(field: &'static str, text: &str) -> Result<SignedDuration, PolicyFault> {
    let parsed = text.parse::<SignedDuration>().ok().filter(|duration| !duration.is_negative());
    parsed.ok_or_else(|| PolicyFault::Duration { field, seen: text.chars().take(40).collect() })
}

fn criteria(matches: &api::PolicyMatch) -> Criteria {
    let set = |texts: &Vec<String>| texts.iter().cloned().collect::<BTreeSet<_>>();
    Criteria {
        names: matches.names.clone(),
        severities: matches.severities.clone(),
        sources: matches.sources.as_ref().map(set),
        namespace: matches.namespace_selector.as_ref().map(selector),
        labels: matches.label_selector.as_ref().map(selector),
    }
}

fn selector(selector: &api::Selector) -> LabelSelector {
    let equal = selector.match_labels.iter().flatten();
    let equal = equal.map(|(key, value)| LabelRequirement::In(key.clone(), BTreeSet::from([value.clone()])));
    let said = selector.match_expressions.iter().flatten().map(|requirement| {
        let (key, values) = (requirement.key.clone(), requirement.values.iter().flatten().cloned().collect());
        match requirement.operator {
            Operator::In => LabelRequirement::In(key, values),
            Operator::NotIn => LabelRequirement::NotIn(key, values),
            Operator::Exists => LabelRequirement::Exists(key),
            Operator::DoesNotExist => LabelRequirement::DoesNotExist(key),
        }
    });
    LabelSelector(equal.chain(said).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::StormPolicySpec;

    // The defaults of the API are the built-in policy: a policy that says nothing changes nothing.
    #[test]
    fn a_policy_that_says_nothing_is_the_built_in_one() {
        let object = StormPolicy::new("default", StormPolicySpec::default());
        assert_eq!(policy(&object), Ok(Policy::default()));
        let empty: StormPolicySpec = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, StormPolicySpec::default());
    }

    // Decision 0031: whoever wants to tune storms applies it, and by itself it changes nothing.
    #[test]
    fn the_default_policy_of_the_manifests_is_the_built_in_one() {
        let object: StormPolicy = serde_saphyr::from_str(include_str!("../../manifests/policy.yaml")).unwrap();
        assert_eq!(policy(&object), Ok(Policy::default()));
    }

    #[test]
    fn a_duration_that_cannot_be_read_is_named() {
        let spec = StormPolicySpec { quiet_period: "soon".into(), ..StormPolicySpec::default() };
        let fault = policy(&StormPolicy::new("p", spec)).unwrap_err().to_string();
        assert_eq!(fault, "spec.quietPeriod is \"soon\": write a duration such as 30s, 10m or 6h");
    }

    #[test]
    fn durations_are_read_as_the_api_servers_rules_read_them() {
        for (text, millis) in [("0s", 0), ("500ms", 500), ("90s", 90_000), ("10m", 600_000), ("1h30m", 5_400_000)] {
            assert_eq!(duration("maxAge", text), Ok(SignedDuration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn zero_keeps_for_ever() {
        let spec = StormPolicySpec { retention: "0s".into(), ..StormPolicySpec::default() };
        assert_eq!(policy(&StormPolicy::new("p", spec)).unwrap().retention, None);
    }
}
