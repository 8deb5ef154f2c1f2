//! Which key each alert belongs to: the one whose storm it is in, or is about to be in. An alert is in at most one open storm (invariant 19), whatever
//! policies come, change and go and whatever else its next Signal has in common with others: while its key lives, its reports go there.
//!
//! Some 20 bytes an alert in memory, and nowhere else: after a restart the receipts of its Signals say the same, and a Signal without a receipt waits
//! until all of them are listed. There is a bound, and a namespace may have half of what is free below it: what it has beyond that belongs to no key,
//! and is grouped as policies say by now, unless the receipt of its Signal tells more.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use crate::storm::{AlertReport, Digest, DigestKey, Observation, Opening, Says, StormKey};

/// Fewer alerts than this are not worth a look at which of them are placed for nothing.
const FEW: usize = 4_096;
/// Alerts of all namespaces: what fits into a table of 18 MB.
const MOST: usize = 900_000;

/// Alerts by what identifies them: their digest, and that of their namespace and name.
type PlaceByAlert = HashMap<Digest, u32, BuildHasherDefault<IsDigest>>;

/// Where alerts belong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Placements {
    alerts: PlaceByAlert,
    places: Vec<Arc<Opening>>,
    by_key: BTreeMap<StormKey, u32>,
    /// How many alerts each namespace has here.
    of_namespace: BTreeMap<String, usize>,
    /// How many alerts the last sweep left, and how many were refused since.
    swept: usize,
    refused: usize,
    /// All Signals were listed since the first of these.
    complete: bool,
}

/// Where there is one key, no alert can be elsewhere.
impl Hash for Placements {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if self.by_key.len() > 1 {
            let all: BTreeMap<_, _> = self.alerts.iter().collect();
            (all, &self.by_key).hash(state);
        }
        self.complete.hash(state);
    }
}

impl Placements {
    /// Whether an alert may be placed that nobody here knows of.
    pub(super) fn are_complete(&self) -> bool {
        self.complete
    }

    /// All Signals are listed.
    pub(super) fn listed(&mut self) {
        self.complete = true;
    }

    /// The ledger has another key of digests: all Signals are listed again.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Where each alert of this Signal belongs, as far as is known.
    pub(super) fn of<'a>(
        &'a self,
        observation: &'a Observation,
        digests: &'a DigestKey,
    ) -> impl Iterator<Item = Option<&'a Arc<Opening>>> {
        let place = |alert| self.places.get(*self.alerts.get(&alert)? as usize);
        identities(observation, digests).map(place)
    }

    /// The alerts of this Signal that fire belong to its key from now on. An end says nothing: it may be of an alert that never was in the storm.
    /// `anew`: also where they belonged elsewhere.
    pub(super) fn place(&mut self, observation: &Observation, digests: &DigestKey, anew: bool) {
        self.place_within(MOST, observation, digests, anew);
    }

    fn place_within(&mut self, most: usize, observation: &Observation, digests: &DigestKey, anew: bool) {
        let next = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let place = *self.by_key.entry(observation.key).or_insert(next);
        if place == next {
            self.places.push(observation.opening.clone());
        }
        let namespace = &observation.opening.object_namespace;
        let before = self.of_namespace.get(namespace).copied().unwrap_or_default();
        let mut has = before;
        let fires = |says: &AlertReport| matches!(says.says, Says::Firing { .. });
        let firing = identities(observation, digests).zip(observation.says()).filter(|(_, says)| fires(says));
        for (alert, _) in firing {
            let all = self.alerts.len();
            match self.alerts.entry(alert) {
                Entry::Occupied(mut known) if anew => *known.get_mut() = place,
                Entry::Occupied(_) => {}
                Entry::Vacant(entry) if has + all < most => {
                    entry.insert(place);
                    has += 1;
                }
                Entry::Vacant(_) => self.refused += 1,
            }
        }
        if has > before {
            self.of_namespace.insert(namespace.clone(), has);
        }
    }

    /// The alerts of this Signal belong nowhere.
    pub(super) fn forget(&mut self, observation: &Observation, digests: &DigestKey) {
        let gone = identities(observation, digests).filter(|alert| self.alerts.remove(alert).is_some()).count();
        if let Some(has) = self.of_namespace.get_mut(&observation.opening.object_namespace) {
            *has = has.saturating_sub(gone);
        }
    }

    /// Whether there are so many that some may be of storms that are over.
    pub(super) fn are_many(&self) -> bool {
        self.alerts.len() > FEW && (self.alerts.len() > 2 * self.swept || self.refused > self.swept)
    }

    /// Lets the alerts of keys go that do not live.
    pub(super) fn sweep(&mut self, lives: impl Fn(StormKey) -> bool) {
        let before = std::mem::take(&mut self.places);
        self.by_key.clear();
        let mut moved = BTreeMap::new();
        for (place, opening) in (0..).zip(before).filter(|(_, opening)| lives(opening.key())) {
            let to = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
            moved.insert(place, to);
            self.by_key.insert(opening.key(), to);
            self.places.push(opening);
        }
        let mut counts = vec![0; self.places.len()];
        self.alerts.retain(|_, place| match moved.get(place) {
            Some(to) => {
                *place = *to;
                counts[*to as usize] += 1;
                true
            }
            None => false,
        });
        self.of_namespace.clear();
        for (opening, count) in self.places.iter().zip(counts) {
            *self.of_namespace.entry(opening.object_namespace.clone()).or_default() += count;
        }
        self.alerts.shrink_to_fit();
        (self.swept, self.refused) = (self.alerts.len(), 0);
    }
}

/// What identifies the alerts of a Signal among those of all namespaces: two names are two alerts, and so is one name in two scopes, whatever the
/// fingerprints are.
fn identities(observation: &Observation, digests: &DigestKey) -> impl Iterator<Item = Digest> {
    let own = observation.own_grouping();
    let place =
        digests.digest(&[own.object_namespace.as_bytes(), own.signal_name.as_bytes(), observation.scope.as_bytes()]);
    observation.reports.iter().map(move |report| report.uid ^ place)
}

/// A digest is a hash already, of a key that nobody knows who writes alerts.
#[derive(Clone, Copy, Debug, Default)]
struct IsDigest(u64);

impl Hasher for IsDigest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_i64(&mut self, digest: i64) {
        // A hash table looks at the highest bits first, and those of a digest are 63.
        self.0 = digest.cast_unsigned().rotate_left(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::fixtures::observation;
    use crate::storm::{Report, Severity};

    const DIGESTS: DigestKey = DigestKey::new([7; 16]);

    /// A Signal of alert `X` with these alerts, grouped as this pattern.
    fn signal(pattern: &str, alerts: std::ops::Range<Digest>) -> Observation {
        let report = |uid| Report { uid, firing: true, resource: None };
        let mut signal = observation(alerts.map(report).collect(), (0, 0), Severity::Warning);
        let opening = Opening { pattern: pattern.into(), ..Opening::clone(&signal.opening) };
        signal.regroup(Arc::new(opening));
        signal
    }

    fn placed(signals: &[Observation]) -> Placements {
        let mut placements = Placements::default();
        for signal in signals {
            placements.place(signal, &DIGESTS, true);
        }
        placements
    }

    /// The patterns that the alerts of a Signal belong to.
    fn patterns<'a>(placements: &'a Placements, signal: &'a Observation) -> Vec<Option<&'a str>> {
        placements.of(signal, &DIGESTS).map(|opening| opening.map(|opening| opening.pattern.as_str())).collect()
    }

    #[test]
    fn an_alert_belongs_to_the_key_that_it_was_placed_under_last() {
        let placements = placed(&[signal("X in prod", 0..3), signal("X on n4", 1..2)]);
        let all = signal("X on n5", 0..4);
        assert_eq!(patterns(&placements, &all), [Some("X in prod"), Some("X on n4"), Some("X in prod"), None]);
    }

    // One fingerprint under two names is two alerts: fingerprints that people write are short.
    #[test]
    fn an_alert_of_another_name_or_namespace_is_another_one() {
        let placements = placed(&[signal("X in prod", 0..3)]);
        for (name, namespace) in [("Y", "prod"), ("X", "shop")] {
            let mut other = signal("X on n4", 0..3);
            let opening = Opening {
                signal_name: name.into(),
                object_namespace: namespace.into(),
                ..Opening::clone(&other.opening)
            };
            other.regroup(Arc::new(opening));
            assert_eq!(patterns(&placements, &other), [None; 3], "{name} in {namespace}");
        }
    }

    #[test]
    fn what_is_forgotten_or_swept_belongs_nowhere() {
        let mut placements = placed(&[signal("one", 0..3000), signal("two", 3000..6000)]);
        assert!(placements.are_many());
        let two = StormKey::new("prod", "two");
        placements.sweep(|key| key == two);
        assert!(!placements.are_many());
        assert_eq!(placements.alerts.len(), 3000);
        assert_eq!(patterns(&placements, &signal("one", 2999..3001)), [None, Some("two")]);
        placements.forget(&signal("two", 3000..6000), &DIGESTS);
        assert_eq!(patterns(&placements, &signal("one", 3000..3001)), [None]);
        // A key that comes again has a place of its own.
        placements.place(&signal("one", 0..1), &DIGESTS, true);
        assert_eq!(patterns(&placements, &signal("two", 0..1)), [Some("one")]);
    }

    // Row R8, invariant 21: what a flood places is bounded, and takes the place of nobody else.
    #[test]
    fn a_namespace_has_no_more_than_half_of_what_is_free() {
        const MOST: usize = 16_000;
        let part = |namespace: &str, n: i64| {
            let mut part = signal("flood", n * 1_000..(n + 1) * 1_000);
            let opening = Opening { object_namespace: namespace.into(), ..Opening::clone(&part.opening) };
            part.regroup(Arc::new(opening));
            part
        };
        let mut placements = Placements::default();
        let own = |placements: &mut Placements, namespace: &str| {
            for n in 0..20 {
                placements.place_within(MOST, &part(namespace, n), &DIGESTS, true);
            }
            placements.of_namespace[namespace]
        };
        assert_eq!(own(&mut placements, "flood"), MOST / 2);
        assert_eq!(own(&mut placements, "flood"), MOST / 2, "delivered again");
        assert_eq!(own(&mut placements, "second"), MOST / 4);
        assert!(placements.are_many(), "many were refused");
        let second = StormKey::new("second", "flood");
        placements.sweep(|key| key == second);
        assert!(!placements.are_many());
        assert_eq!((placements.alerts.len(), placements.of_namespace.len()), (MOST / 4, 1));
        assert_eq!(own(&mut placements, "second"), MOST / 2);
        for n in 0..20 {
            placements.forget(&part("second", n), &DIGESTS);
        }
        assert_eq!((placements.alerts.len(), placements.of_namespace["second"]), (0, 0));
    }
}
