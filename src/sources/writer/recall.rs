//! What the Signals of one source say by now: a source that has to tell ends, and was begun anew, knows again what it told of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use super::super::draft::{DraftKey, FieldDigest, buckets};
use super::SignalWriter;
use super::series::Mark;
use crate::api::{self, Signal};
use crate::runtime::error::{ApiError, call};
use crate::runtime::guarded::Guarded;
use crate::runtime::watch::PAGE;

/// So many alerts at most. What is beyond ends with its storm, which is stale one day.
const MOST: usize = 100_000;

/// An alert whose latest report fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sources) struct RecalledAlert {
    pub(in crate::sources) key: Arc<DraftKey>,
    /// `None`: not told, or not to be read.
    pub(in crate::sources) starts_at: Option<Timestamp>,
    pub(in crate::sources) fingerprint: String,
    /// As the table of a Signal says it.
    pub(in crate::sources) resource: String,
    pub(in crate::sources) reported_at: Timestamp,
}

/// The latest report of each alert, whatever comes first.
#[derive(Default)]
pub(in crate::sources) struct LatestReports(HashMap<[u8; 16], (Timestamp, Option<RecalledAlert>)>);

impl SignalWriter {
    /// Reads what the Signals of a source of this kind say, where it puts them; `span`: only those that came within.
    pub(in crate::sources) async fn recall(
        &self,
        kind: &str,
        span: Option<[Timestamp; 2]>,
        latest: &mut LatestReports,
    ) -> Result<(), ApiError> {
        let mut selector = format!("{}/source={kind}", api::GROUP);
        if let Some([from, to]) = span {
            let within: Vec<_> = buckets(from, to).map(|bucket| bucket.to_string()).collect();
            selector = format!("{selector},{} in ({})", Mark::Received.key(), within.join(","));
        }
        let everywhere = [None];
        let watched: Vec<_> = self.places.watched.iter().map(|namespace| Some(namespace.as_str())).collect();
        for namespace in if watched.is_empty() { &everywhere[..] } else { &watched } {
            let client = self.client.clone();
            let api: Api<Guarded<Signal>> =
                namespace.map_or_else(|| Api::all(client.clone()), |own| Api::namespaced(client.clone(), own));
            let mut params = ListParams::default().labels(&selector).limit(PAGE);
            loop {
                let page = call(|| format!("list the Signals of {kind}"), api.list(&params)).await?;
                page.items
                    .iter()
                    .filter_map(|signal| signal.0.as_ref().ok())
                    .for_each(|signal| self.read(signal, latest));
                match page.metadata.continue_.filter(|next| !next.is_empty()) {
                    Some(next) => params = params.continue_token(&next),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// What a Signal may not say is not believed: its end would be told elsewhere, in our name.
    fn read(&self, signal: &Signal, latest: &mut LatestReports) {
        let own = signal.namespace().unwrap_or_default();
        let stated = signal.spec.namespace.as_deref().unwrap_or(&own);
        if stated == own || self.places.reach.is_wide(&own) {
            latest.read(signal, stated);
        }
    }
}

impl LatestReports {
    fn read(&mut self, signal: &Signal, namespace: &str) {
        let spec = &signal.spec;
        let created = signal.creation_timestamp().map(|time| time.0);
        let Some(reported_at) = spec.reported_at.as_ref().map(|time| time.0).or(created) else { return };
        let key = Arc::new(DraftKey {
            namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
            cluster: spec.cluster.clone(),
            name: spec.name.clone(),
            severity: spec.severity,
            telling: BTreeMap::new(),
        });
        for line in spec.table.iter().flat_map(|table| table.lines()) {
            let mut fields = line.splitn(4, ' ');
            let (Some(state), Some(starts_at), Some(fingerprint), Some(resource)) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let alert = || RecalledAlert {
                key: key.clone(),
                starts_at: starts_at.parse().ok(),
                fingerprint: fingerprint.to_owned(),
                resource: resource.to_owned(),
                reported_at,
            };
            let mut digest = FieldDigest::default();
            for field in [namespace, key.cluster.as_deref().unwrap_or_default(), fingerprint, resource] {
                digest.add(field.as_bytes());
            }
            let mut identity = [0; 16];
            identity.copy_from_slice(&digest.finish()[..16]);
            let room = self.0.len() < MOST;
            match self.0.get_mut(&identity) {
                // Of two reports at one instant the end is the later one.
                Some((latest, firing)) if reported_at > *latest || reported_at == *latest && state == "resolved" => {
                    (*latest, *firing) = (reported_at, (state == "firing").then(alert));
                }
                None if room => {
                    self.0.insert(identity, (reported_at, (state == "firing").then(alert)));
                }
                Some(_) | None => {}
            }
        }
    }

    /// The alerts that fire.
    pub(in crate::sources) fn firing(&self) -> impl Iterator<Item = &RecalledAlert> {
        self.0.values().filter_map(|(_, firing)| firing.as_ref())
    }

    /// Forgets which alerts had ended by then: no Signal of that time is read again.
    pub(in crate::sources) fn forget_ends(&mut self, before: Timestamp) {
        self.0.retain(|_, (latest, firing)| firing.is_some() || *latest >= before);
    }

    /// From Signals, as if they were stored in these namespaces.
    #[cfg(test)]
    pub(in crate::sources) fn of(signals: &[(Signal, &str)]) -> Self {
        let mut latest = Self::default();
        for (signal, namespace) in signals {
            latest.read(signal, namespace);
        }
        latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::SignalSpec;

    fn signal(second: i64, table: &str) -> Signal {
        let spec = SignalSpec {
            name: "BackOff".into(),
            table: Some(table.into()),
            reported_at: Some(Timestamp::from_second(second).unwrap().into()),
            ..SignalSpec::default()
        };
        Signal::new("any", spec)
    }

    // In whatever order the pages have them.
    #[test]
    fn the_latest_report_of_each_alert_tells_whether_it_fires() {
        let signals = [
            signal(1, "firing 2026-01-02T15:04:05Z a Pod/a\nfiring - b Pod/b\nfiring - c Pod/c\n"),
            signal(3, "resolved - a Pod/a\nfiring - d Pod/d\n"),
            signal(5, "firing 2026-01-02T16:04:05Z a Pod/a\nresolved - b Pod/b\nno line\n"),
            signal(5, "firing - b Pod/b\n"),
            signal(3, "resolved - d Pod/d\n"),
        ];
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
            let mut latest = LatestReports::default();
            for n in order {
                latest.read(&signals[n], "prod");
            }
            let mut firing: Vec<_> = latest.firing().collect();
            firing.sort_by(|one, other| one.fingerprint.cmp(&other.fingerprint));
            let told =
                |alert: &&RecalledAlert| (alert.fingerprint.clone(), alert.resource.clone(), alert.starts_at.is_some());
            let told: Vec<_> = firing.iter().map(told).collect();
            assert_eq!(told, [("a".into(), "Pod/a".into(), true), ("c".into(), "Pod/c".into(), false)]);
            assert_eq!(firing[0].key.namespace.as_deref(), Some("prod"));
        }
    }
}
