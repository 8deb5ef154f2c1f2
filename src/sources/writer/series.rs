//! A Signal whose name is taken: a repeat, or news?
//!
//! A name says what is reported (see `draft`). That an alert fires, that it is over, and that it fires again are three reports, of which
//! the first and the last say the same; within five minutes they have one name. So a name that is taken is a repeat only if nothing else
//! was reported of the same series since. What was, the API server says: it is the same for all replicas, and after a restart.
//!
//! The Signals of one body never stand against each other: an alert is in one of them only.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use kube::api::ListParams;
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::{OnceCell, Semaphore};

use super::super::draft::{Draft, FieldDigest};
use super::super::text::hex;
use crate::api::{self, Signal};
use crate::runtime::error::{ApiError, call};

/// Lists at once, of all requests together.
const LISTS: usize = 4;
/// So many objects of a list are in memory at a time.
const PAGE: u32 = 500;
/// A selector names at most so many series; for more, all that came in these five minutes is read.
const SELECTED: usize = 64;
/// For more namespaces than these, one list reads all of them.
const NAMESPACES: usize = 4;

/// What is told of a Signal beside its spec, so that a list of metadata is enough.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    /// Label: what the Signal is about.
    Series,
    /// Label: in which five minutes it came; others need not be read.
    Received,
    /// Annotation: `spec.reportedAt`.
    ReportedAt,
}

impl Mark {
    pub(super) fn key(self) -> String {
        let name = match self {
            Self::Series => "series",
            Self::Received => "received",
            Self::ReportedAt => "reported-at",
        };
        format!("{}/{name}", api::GROUP)
    }
}

/// What a taken name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Precedent {
    /// Nothing else was reported since: this Signal says it all.
    Repeat(String),
    /// Something else was: this is the name of the report after it, the same for whoever makes it.
    News(String),
    /// No such Signal is there as far as can be seen.
    Unseen,
}

/// A Signal of a series that is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StoredReport {
    pub(super) reported_at: Timestamp,
    pub(super) name: String,
}

/// By namespace and series.
pub(super) type Listing = HashMap<String, HashMap<String, Vec<StoredReport>>>;

/// Lists Signals.
pub(super) struct SeriesLister {
    client: Client,
    permits: Semaphore,
}

/// What is stored of the series of one body. Each list is made when a name is taken, and once for the body.
pub(super) struct BodySeries<'a> {
    lister: &'a SeriesLister,
    received: i64,
    names: HashSet<&'a str>,
    series: BTreeSet<&'a str>,
    by_namespace: HashMap<&'a str, OnceCell<Listing>>,
    /// `None` in it: it may not be read.
    everywhere: OnceCell<Option<Listing>>,
}

impl SeriesLister {
    pub(super) fn new(client: Client) -> Self {
        Self { client, permits: Semaphore::new(LISTS) }
    }

    /// For a body of these, which has Signals in their namespaces and in `home`.
    pub(super) fn of<'a>(&'a self, drafts: &'a [Draft], home: &'a str) -> BodySeries<'a> {
        let namespaces = drafts.iter().filter_map(|draft| draft.namespace.as_deref());
        BodySeries {
            lister: self,
            received: drafts.first().map_or(0, |draft| draft.shared.bucket),
            names: drafts.iter().map(|draft| draft.name.as_str()).collect(),
            series: drafts.iter().map(|draft| draft.series.as_str()).collect(),
            by_namespace: namespaces.chain([home]).map(|namespace| (namespace, OnceCell::new())).collect(),
            everywhere: OnceCell::new(),
        }
    }
}

impl BodySeries<'_> {
    /// What it means that the name of `draft` is taken in this namespace.
    pub(super) async fn precedent(&self, namespace: &str, draft: &Draft) -> Result<Precedent, ApiError> {
        let Some(cell) = self.by_namespace.get(namespace) else { return Ok(Precedent::Unseen) };
        if self.by_namespace.len() > NAMESPACES {
            let everywhere = self.everywhere.get_or_try_init(|| self.list(None)).await?;
            if let Some(listing) = everywhere {
                return Ok(self.judge(namespace, draft, listing));
            }
        }
        let listing = cell.get_or_try_init(async || Ok(self.list(Some(namespace)).await?.unwrap_or_default())).await?;
        Ok(self.judge(namespace, draft, listing))
    }

    fn judge(&self, namespace: &str, draft: &Draft, listing: &Listing) -> Precedent {
        let stored = listing.get(namespace).and_then(|all| all.get(&draft.series)).map(Vec::as_slice);
        judge(&draft.name, &self.names, stored.unwrap_or_default())
    }

    /// `None`: whoever may not look there cannot tell.
    async fn list(&self, namespace: Option<&str>) -> Result<Option<Listing>, ApiError> {
        // Never closed; see `SignalWriter`.
        let _permit = self.lister.permits.acquire().await.ok();
        let client = self.lister.client.clone();
        let (api, place): (Api<Signal>, _) = match namespace {
            None => (Api::all(client), "of all namespaces"),
            Some(namespace) => (Api::namespaced(client, namespace), namespace),
        };
        let mut params = ListParams::default().labels(&self.selector()).limit(PAGE);
        let mut listing = Listing::new();
        loop {
            let list = call(|| format!("list Signals {place}"), api.list_metadata(&params)).await;
            let list = match list {
                Err(error) if matches!(error.code(), Some(403 | 404)) => {
                    tracing::debug!(%error, "whether a webhook is a repeat cannot be told");
                    return Ok(None);
                }
                other => other?,
            };
            list.items.into_iter().for_each(|object| self.add(object, &mut listing));
            match list.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => params = params.continue_token(&next),
                None => return Ok(Some(listing)),
            }
        }
    }

    fn selector(&self) -> String {
        let received = format!("{}={}", Mark::Received.key(), self.received);
        if self.series.len() > SELECTED {
            return received;
        }
        let series: Vec<_> = self.series.iter().copied().collect();
        format!("{received},{} in ({})", Mark::Series.key(), series.join(","))
    }

    fn add(&self, object: PartialObjectMeta<Signal>, listing: &mut Listing) {
        let (namespace, metadata) = (object.namespace().unwrap_or_default(), object.metadata);
        let Some(series) = metadata.labels.as_ref().and_then(|labels| labels.get(&Mark::Series.key())) else { return };
        if self.series.contains(series.as_str()) {
            let reports = listing.entry(namespace).or_default().entry(series.clone()).or_default();
            reports.push(StoredReport { reported_at: reported_at(&metadata), name: metadata.name.unwrap_or_default() });
        }
    }
}

/// The creation where somebody took the annotation away.
fn reported_at(metadata: &ObjectMeta) -> Timestamp {
    let stated = metadata.annotations.as_ref().and_then(|all| all.get(&Mark::ReportedAt.key()));
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
    stated.and_then(|text| text.parse().ok()).or(created).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `name` is taken; `body`: the names of all Signals of the body; `stored`: the Signals of its series.
pub(super) fn judge(name: &str, body: &HashSet<&str>, stored: &[StoredReport]) -> Precedent {
    let same = stored.iter().filter(|report| content(&report.name) == name).max();
    // Of another body; what came at the same instant came in one body, and is about other alerts.
    let other = stored.iter().filter(|report| !body.contains(content(&report.name))).max();
    match (same, other) {
        (None, _) => Precedent::Unseen,
        (Some(same), Some(other)) if other.reported_at > same.reported_at => Precedent::News(after(name, &other.name)),
        (Some(same), _) => Precedent::Repeat(same.name.clone()),
    }
}

/// The name of what `name` reports, once more, after this Signal. Two replicas that find the same arrive at the same name.
fn after(name: &str, other: &str) -> String {
    let mut digest = FieldDigest::default();
    digest.add(other.as_bytes());
    format!("{name}-{}", hex(&digest.finish()[..4]))
}

/// The part of a name that says what is reported: `SOURCE-DIGEST-SECONDS`, without what `after` puts behind it.
fn content(name: &str) -> &str {
    name.match_indices('-').nth(2).map_or(name, |(place, _)| &name[..place])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "am-aa-300";
    const OTHER: &str = "am-bb-300";
    const SIBLING: &str = "am-cc-300";

    fn stored(reports: &[(&str, i64)]) -> Vec<StoredReport> {
        let report = |(name, at): &(&str, i64)| StoredReport {
            reported_at: Timestamp::from_microsecond(*at).unwrap(),
            name: (*name).into(),
        };
        reports.iter().map(report).collect()
    }

    fn judged(name: &str, body: &[&str], reports: &[(&str, i64)]) -> Precedent {
        judge(name, &body.iter().copied().collect(), &stored(reports))
    }

    #[test]
    fn a_taken_name_is_a_repeat_as_long_as_nothing_else_was_reported_since() {
        let repeat = |of: &str| Precedent::Repeat(of.into());
        assert_eq!(judged(ONE, &[ONE], &[(ONE, 1)]), repeat(ONE));
        assert_eq!(judged(ONE, &[ONE], &[(OTHER, 0), (ONE, 1)]), repeat(ONE));
        let Precedent::News(again) = judged(ONE, &[ONE], &[(ONE, 1), (OTHER, 2)]) else { panic!("it is news") };
        assert_eq!((content(&again), again.len()), (ONE, ONE.len() + 9));
        // Its own repeat, and what is reported next.
        assert_eq!(judged(ONE, &[ONE], &[(&again, 3), (ONE, 1), (OTHER, 2)]), repeat(&again));
        let Precedent::News(over) = judged(OTHER, &[OTHER], &[(&again, 3), (ONE, 1), (OTHER, 2)]) else {
            panic!("it is news")
        };
        let Precedent::News(third) = judged(ONE, &[ONE], &[(&again, 3), (ONE, 1), (OTHER, 2), (&over, 4)]) else {
            panic!("it is news")
        };
        assert_ne!(third, again);
    }

    // Three Signals of one body, of which one changes and changes back. The others are as they were, and are told anew only where
    // what changed may have been about them.
    #[test]
    fn the_signals_of_one_body_do_not_make_each_other_news() {
        let all = [(ONE, 1), (SIBLING, 1)];
        assert_eq!(judged(ONE, &[ONE, SIBLING], &all), Precedent::Repeat(ONE.into()));
        // ONE gives way to OTHER: the sibling is a repeat, although ONE is in this body no more.
        assert_eq!(judged(SIBLING, &[OTHER, SIBLING], &all), Precedent::Repeat(SIBLING.into()));
        // Retried after it was stored in part.
        let late = [(ONE, 1), (SIBLING, 9)];
        assert_eq!(judged(ONE, &[ONE, SIBLING], &late), Precedent::Repeat(ONE.into()));
        let changed = [(ONE, 1), (SIBLING, 1), (OTHER, 2)];
        assert!(matches!(judged(ONE, &[ONE, SIBLING], &changed), Precedent::News(_)));
    }

    #[test]
    fn a_signal_that_is_not_in_the_list_is_unseen() {
        assert_eq!(judged(ONE, &[ONE], &[]), Precedent::Unseen);
        assert_eq!(judged(ONE, &[ONE], &[(OTHER, 2)]), Precedent::Unseen);
    }

    #[test]
    fn when_a_signal_was_reported_is_its_annotation_or_else_its_creation() {
        let created = Timestamp::from_second(60).unwrap();
        let mut metadata = ObjectMeta { creation_timestamp: Some(created.into()), ..ObjectMeta::default() };
        assert_eq!(reported_at(&metadata), created);
        for (text, time) in [("nonsense", "1970-01-01T00:01:00Z"), ("1970-01-01T00:00:59.5Z", "1970-01-01T00:00:59.5Z")]
        {
            metadata.annotations = Some([(Mark::ReportedAt.key(), text.to_owned())].into());
            assert_eq!(reported_at(&metadata), time.parse().unwrap());
        }
    }
}
