//! The writer where there is no API server: drafts become Signals under the same names, and a name that is taken means the same.

use std::collections::{HashMap, HashSet};

use kube::Resource as _;

use super::super::draft::Draft;
use super::series::{Listing, Precedent, StoredReport, judge};
use super::{Places, object};
use crate::api::Signal;

/// What is stored of the five minutes in which the last body came: in others, no name comes again.
pub struct SignalShelf {
    places: Places,
    bucket: i64,
    /// By namespace.
    names: HashMap<String, HashSet<String>>,
    listing: Listing,
}

impl SignalShelf {
    /// An empty one. Every namespace is there, and may be written to.
    pub fn new(places: Places) -> Self {
        Self { places, bucket: i64::MIN, names: HashMap::new(), listing: Listing::new() }
    }

    /// The drafts of one body: the Signals that are new. Bodies come in order of time.
    pub(in crate::sources) fn put(&mut self, drafts: &[Draft]) -> Vec<Signal> {
        if let Some(first) = drafts.first().filter(|first| first.shared.bucket != self.bucket) {
            (self.bucket, self.names, self.listing) = (first.shared.bucket, HashMap::new(), Listing::new());
        }
        let body: HashSet<&str> = drafts.iter().map(|draft| draft.name.as_str()).collect();
        drafts.iter().filter_map(|draft| self.put_one(draft, &body)).collect()
    }

    fn put_one(&mut self, draft: &Draft, body: &HashSet<&str>) -> Option<Signal> {
        let namespace = draft.namespace.as_deref().unwrap_or(self.places.home()).to_owned();
        if self.take(&namespace, &draft.name, draft) {
            return Some(signal(draft, &draft.name, namespace));
        }
        let stored = self.listing.get(&namespace).and_then(|all| all.get(&draft.series)).map(Vec::as_slice);
        match judge(&draft.name, body, stored.unwrap_or_default()) {
            Precedent::Repeat(_) | Precedent::Unseen => None,
            Precedent::News(name) => {
                self.take(&namespace, &name, draft).then(|| signal(draft, &name, namespace.clone()))
            }
        }
    }

    /// False: the name is taken.
    fn take(&mut self, namespace: &str, name: &str, draft: &Draft) -> bool {
        if !self.names.entry(namespace.to_owned()).or_default().insert(name.to_owned()) {
            return false;
        }
        let of_namespace = self.listing.entry(namespace.to_owned()).or_default();
        let report = StoredReport { reported_at: draft.shared.received, name: name.to_owned() };
        of_namespace.entry(draft.series.clone()).or_default().push(report);
        true
    }
}

fn signal(draft: &Draft, name: &str, namespace: String) -> Signal {
    let mut signal = object(draft, name, None);
    signal.meta_mut().namespace = Some(namespace);
    signal
}
