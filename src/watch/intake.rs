//! Intake: a Signal becomes an `Observation` or a `Rejection`. Pure, and the same for every delivery of one Signal.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::examples::{ToldAlerts, said};
use super::table::{Row, parse_line};
use super::told::as_told;
use crate::api::{self, ACCEPTED, HELD_BACK_REASONS, OccurrenceState, Signal};
use crate::storm::Refused;
use crate::storm::grouping::{Attribute, GroupBy, Member};
use crate::storm::matching::{Labels, Subject};
use crate::storm::metadata::whole_seconds;
use crate::storm::pattern::Scope;
use crate::storm::places::MAX_PLACES;
use crate::storm::resource::extract_resource_name;
use crate::storm::{
    DigestKey, Observation, Opening, Policy, PolicySet, Reach, Rejection, Report, Resource, Said, SignalRef, cut,
    given, rescope, uid,
};

/// A time may be this much later than the Signal's creation: clocks differ.
const FUTURE: SignedDuration = SignedDuration::from_mins(5);
/// And this much earlier: year-1 dates and forgotten alerts would pin firstSeen for ever.
const PAST: SignedDuration = SignedDuration::from_hours(24);
/// More lines than this in one table are refused whole; the CRD says the same.
const MAX_LINES: usize = 2_000;

/// The reasons of a Rejection: a closed list.
pub mod reason {
    /// The object is not a Signal that this operator can read: a CRD older or newer than the operator let it in.
    pub const MALFORMED: &str = "Malformed";
    /// The table has more lines than a Signal may have.
    pub const TOO_MANY_LINES: &str = "TooManyLines";
    /// Not one occurrence is left.
    pub const NO_VALID_OCCURRENCE: &str = "NoValidOccurrence";
    /// It speaks of another namespace than its own, or of what is cluster-scoped, and may not.
    pub const CROSS_NAMESPACE: &str = "CrossNamespace";
}

/// What identifies the object that `signal` is.
pub fn signal_ref(object: &impl ResourceExt) -> SignalRef {
    SignalRef {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
    }
}

/// Takes a Signal in. `namespace`: the labels of the namespace that it is in; `reach`: whose Signals may speak of others.
pub fn intake(
    signal: &Signal,
    policies: &PolicySet,
    namespace: &Labels,
    reach: &Reach,
    key: &DigestKey,
) -> Result<Observation, Rejection> {
    let reference = signal_ref(signal);
    let spec = &signal.spec;
    let trouble = spec.namespace.clone().unwrap_or_else(|| reference.namespace.clone());
    let bound = Some(reference.namespace.as_str()).filter(|own| !reach.is_wide(own));
    if let Some(own) = bound.filter(|own| **own != trouble) {
        return Err(speaks_of_another(spec, own, &trouble));
    }
    let created = signal.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let mut reader =
        OccurrenceReader::new(&reference, spec, Some(trouble.as_str()).filter(|t| !t.is_empty()), created, key);
    reader.bound = bound;
    reader.read_items(spec.occurrences.as_deref().unwrap_or_default());
    reader.read_table(spec.table.as_deref().unwrap_or_default())?;
    let reported_at = reader.reported_at(spec.reported_at.as_ref().map(|time| time.0));
    let OccurrenceReader { mut reports, told, refused, beyond, clamped, first_seen, last_seen, .. } = reader;
    let told = told.into_told();
    if reports.is_empty() {
        return Err(nothing_is_left(refused, beyond));
    }
    let severity = spec.severity;
    let source = spec.source.as_ref().map(|source| source.kind.as_str());
    let policy = policies.of(&Subject { name: &spec.name, severity, source, namespace, labels: &spec.labels });
    let said = Arc::new(said(spec));
    let grouper = Grouper { signal, object_namespace: &reference.namespace, trouble: &trouble, policy, said };
    let (opening, missing_labels) = grouper.opening(&policy.group_by);
    rescope(&mut reports, &trouble, &opening.namespace);
    let conditions = signal.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let opening = Arc::new(opening);
    let groupings = grouper.groupings(policies, &opening);
    let observation = Observation {
        key: opening.key(),
        opening,
        scope: trouble.as_str().into(),
        groupings,
        missing_labels,
        signal: Arc::new(reference),
        severity,
        resolvable: spec.resolvable,
        incomplete: spec.incomplete,
        first_seen,
        last_seen,
        reported_at,
        reports,
        told,
        held: Vec::new(),
        refused,
        clamped,
        resource_version: signal.resource_version(),
        dedup_horizon: policy.dedup_horizon,
        has_receipt: verdict(conditions).is_some_and(|verdict| !is_waiting(&verdict.reason)),
        pending_message: verdict(conditions)
            .filter(|verdict| is_waiting(&verdict.reason))
            .map(|verdict| verdict.message.clone()),
        receipt: signal.status.as_ref().and_then(|status| status.storm.clone()),
        receipt_others: Vec::new(),
        share: None,
        namespace_made: None,
    };
    Ok(as_told(observation, signal.status.as_ref()))
}

/// The Rejection of a Signal in `own`, which may speak of nothing else, and says that the trouble is elsewhere.
fn speaks_of_another(spec: &api::SignalSpec, own: &str, trouble: &str) -> Rejection {
    let seen = if trouble.is_empty() { "\"\" (cluster-scoped)".to_owned() } else { format!("{:?}", cut(trouble, 63)) };
    let items = spec.occurrences.as_ref().map_or(0, Vec::len);
    let lines = spec.table.iter().flat_map(|table| table.lines()).filter(|line| !line.is_empty()).count();
    Rejection {
        reason: reason::CROSS_NAMESPACE,
        message: format!("spec.namespace is {seen}: {}", only_of(own)),
        occurrences: items + lines,
    }
}

/// What a Signal in `own` may say, and what to do.
fn only_of(own: &str) -> String {
    format!(
        "a Signal in namespace {own} may only speak of {own}; create it where the trouble is, or ask the administrator for \
         --cross-namespace={own}"
    )
}

/// The Rejection of a Signal of which every occurrence was refused; `beyond`: how many because of what they speak of.
fn nothing_is_left(refused: Refused, beyond: usize) -> Rejection {
    let all_beyond = beyond > 0 && beyond == refused.count;
    Rejection {
        reason: if all_beyond { reason::CROSS_NAMESPACE } else { reason::NO_VALID_OCCURRENCE },
        message: refused
            .first
            .unwrap_or_else(|| "spec.occurrences and spec.table are empty: at least one occurrence is needed".into()),
        occurrences: refused.count,
    }
}

/// What a Signal was told last.
pub(super) fn verdict(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == ACCEPTED)
}

/// Whether a verdict of this reason is no receipt yet.
pub(super) fn is_waiting(reason: &str) -> bool {
    HELD_BACK_REASONS.contains(&reason)
}

/// Finds the group of a Signal under its policy.
struct Grouper<'a> {
    signal: &'a Signal,
    object_namespace: &'a str,
    trouble: &'a str,
    policy: &'a Policy,
    said: Arc<Said>,
}

impl Grouper<'_> {
    /// The groupings that its policy had, and its own behind them; none, if there was none before.
    fn groupings(&self, policies: &PolicySet, own: &Arc<Opening>) -> Vec<Arc<Opening>> {
        let former = policies.former(&self.policy.name).iter().map(|group_by| Arc::new(self.opening(group_by).0));
        let mut groupings: Vec<_> = former.collect();
        if !groupings.is_empty() {
            groupings.push(own.clone());
        }
        groupings
    }

    /// What a storm that the Signal opens under this grouping takes from it, and the labels that it lacks.
    fn opening(&self, group_by: &GroupBy) -> (Opening, Vec<String>) {
        let Self { signal, object_namespace, trouble, policy, said } = self;
        let spec = &signal.spec;
        let source = spec.source.as_ref().map(|source| source.kind.as_str());
        let member = Member {
            name: &spec.name,
            scope: if trouble.is_empty() { Scope::Cluster } else { Scope::Namespace(trouble) },
            cluster: spec.cluster.as_deref(),
            severity: spec.severity,
            source,
            labels: &spec.labels,
        };
        let group = group_by.group(&member, policy.ignore_missing_labels);
        // The scope of a storm is what its Signals have in common, not what the first of them says.
        let namespace = if group_by.has(&Attribute::Namespace) { *trouble } else { "" };
        let opening = Opening {
            object_namespace: (*object_namespace).to_owned(),
            pattern: group.pattern,
            signal_name: spec.name.clone(),
            source_kind: source.map(str::to_owned),
            namespace: namespace.to_owned(),
            cluster: spec.cluster.clone(),
            severity: spec.severity,
            group_labels: group.labels,
            policy: policy.name.clone(),
            said: said.clone(),
        };
        (opening, group.missing)
    }
}

/// Collects the occurrences of one Signal.
struct OccurrenceReader<'a> {
    signal: &'a SignalRef,
    cluster: &'a str,
    scope: Option<&'a str>,
    /// The namespace that its resources must be in.
    bound: Option<&'a str>,
    created: Timestamp,
    key: &'a DigestKey,
    reports: Vec<Report>,
    told: ToldAlerts<'a>,
    refused: Refused,
    /// How many of them because their resource is not in that namespace.
    beyond: usize,
    clamped: usize,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

impl<'a> OccurrenceReader<'a> {
    fn new(
        signal: &'a SignalRef,
        spec: &'a api::SignalSpec,
        scope: Option<&'a str>,
        created: Timestamp,
        key: &'a DigestKey,
    ) -> Self {
        Self {
            signal,
            cluster: spec.cluster.as_deref().unwrap_or_default(),
            scope,
            bound: None,
            created,
            key,
            reports: Vec::new(),
            told: ToldAlerts::of(spec),
            refused: Refused::default(),
            beyond: 0,
            clamped: 0,
            first_seen: Timestamp::MAX,
            last_seen: created,
        }
    }

    fn read_items(&mut self, items: &[api::Occurrence]) {
        for (index, item) in items.iter().enumerate() {
            let resource = item
                .resource
                .as_ref()
                .map(|r| Resource::new(r.api_version.as_deref(), &r.kind, r.namespace.as_deref(), &r.name, self.scope));
            match resource.transpose() {
                Ok(Some(resource)) if self.is_beyond(&resource) => {
                    self.refuse_beyond(&resource, || format!("spec.occurrences[{index}].resource"));
                }
                Ok(resource) => self.take(
                    &ReportedOccurrence {
                        place: ("item", index),
                        firing: item.state == OccurrenceState::Firing,
                        starts_at: item.starts_at.as_ref().map(|time| time.0),
                        ends_at: item.ends_at.as_ref().map(|time| time.0),
                        fingerprint: item.fingerprint.as_deref(),
                    },
                    resource.as_ref(),
                ),
                Err(fault) => self.refuse(|| format!("spec.occurrences[{index}].resource: {fault}")),
            }
        }
    }

    fn read_table(&mut self, table: &str) -> Result<(), Rejection> {
        let lines = table.lines().count();
        if lines > MAX_LINES {
            return Err(Rejection {
                reason: reason::TOO_MANY_LINES,
                message: format!("spec.table has {lines} lines; at most {MAX_LINES} are allowed: use more Signals"),
                occurrences: lines,
            });
        }
        for (index, line) in table.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            match parse_line(line, self.scope) {
                Ok(Row { resource: Some(resource), .. }) if self.is_beyond(&resource) => {
                    self.refuse_beyond(&resource, || format!("spec.table line {}", index + 1));
                }
                Ok(row) => {
                    let found = ReportedOccurrence {
                        place: ("line", index),
                        firing: row.firing,
                        starts_at: row.starts_at,
                        ends_at: None,
                        fingerprint: row.fingerprint,
                    };
                    self.take(&found, row.resource.as_ref());
                }
                Err(fault) => self.refuse(|| format!("spec.table line {}: {fault}", index + 1)),
            }
        }
        Ok(())
    }

    fn take(&mut self, found: &ReportedOccurrence<'_>, resource: Option<&Resource<'_>>) {
        let starts_at = given(found.starts_at);
        let digest = resource.map(|resource| resource.digest(self.key));
        let uid = match found.fingerprint {
            Some(fingerprint) => uid(self.key, self.cluster, fingerprint, digest),
            None => {
                self.key.digest(&[found.place.0.as_bytes(), self.signal.uid.as_bytes(), &found.place.1.to_be_bytes()])
            }
        };
        let start = starts_at.map_or(self.created, |time| self.clamp(time));
        let end = given(found.ends_at).map_or(self.created, |time| self.clamp(time));
        self.first_seen = self.first_seen.min(whole_seconds(start));
        self.last_seen = self.last_seen.max(whole_seconds(start)).max(whole_seconds(end));
        if found.firing {
            self.told.offer(self.reports.len(), found.fingerprint, starts_at.map(|_| whole_seconds(start)));
        }
        let text = resource.map(|resource| extract_resource_name(resource, self.scope).into());
        let resource = digest.zip(text);
        self.reports.push(Report { uid, firing: found.firing, resource });
    }

    /// In whole microseconds, in which reports are told apart: what a schema of another version let in may be finer.
    fn reported_at(&mut self, stated: Option<Timestamp>) -> Timestamp {
        let time = given(stated).map_or(self.created, |time| self.clamp(time));
        Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
    }

    fn is_beyond(&self, resource: &Resource<'_>) -> bool {
        self.bound.is_some_and(|own| !resource.is_within(own))
    }

    fn refuse_beyond(&mut self, Resource { kind, namespace, name, .. }: &Resource<'_>, place: impl Fn() -> String) {
        self.beyond += 1;
        let own = self.bound.unwrap_or_default();
        self.refuse(|| {
            let seen = match namespace {
                Some(namespace) if *namespace != own => format!("in namespace {namespace}"),
                Some(_) | None => "cluster-scoped".to_owned(),
            };
            format!("{}: {kind} {:?} is {seen}: {}", place(), cut(name, 80), only_of(own))
        });
    }

    fn refuse(&mut self, message: impl Fn() -> String) {
        let place = self.reports.len() + self.refused.count;
        self.refused.places.extend(u16::try_from(place).ok().filter(|place| *place < MAX_PLACES));
        self.refused.count += 1;
        self.refused.first.get_or_insert_with(message);
    }

    fn clamp(&mut self, time: Timestamp) -> Timestamp {
        let earliest = self.created.checked_sub(PAST).unwrap_or(Timestamp::MIN);
        let latest = self.created.checked_add(FUTURE).unwrap_or(Timestamp::MAX);
        let clamped = time.clamp(earliest, latest);
        self.clamped += usize::from(clamped != time);
        clamped
    }
}

/// One occurrence in either shape, but for its resource.
struct ReportedOccurrence<'a> {
    /// Shape and index: the identity of an occurrence without a fingerprint, together with the Signal's UID.
    place: (&'static str, usize),
    firing: bool,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    fingerprint: Option<&'a str>,
}

#[cfg(test)]
mod tests;
