//! Which key each alert belongs to: the one whose storm it is in, or is about to be in. An alert is in at most one open storm (invariant 19), whatever
//! policies come, change and go and whatever else its next Signal has in common with others: while its key lives, its reports go there.
//!
//! Some 20 bytes an alert in memory, and nowhere else: after a restart the receipts of its Signals say the same, and a Signal without a receipt waits
//! until all of them are listed.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use crate::storm::{Digest, DigestKey, Observation, Opening, StormKey};

/// Fewer alerts than this are not worth a look at which of them are placed for nothing.
const FEW: usize = 4_096;

/// Alerts by what identifies them: their digest, and that of their namespace and name.
type PlaceByAlert = HashMap<Digest, u32, BuildHasherDefault<IsDigest>>;

/// Where alerts belong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Placements {
    alerts: PlaceByAlert,
    places: Vec<Arc<Opening>>,
    by_key: BTreeMap<StormKey, u32>,
    /// How many alerts the last sweep left.
    swept: usize,
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

    /// The key, other than its own, that most alerts of this Signal belong to, if more do than to its own.
    pub(super) fn elsewhere(
        &self,
        observation: &Observation,
        digests: &DigestKey,
        lives: impl Fn(StormKey) -> bool,
    ) -> Option<Arc<Opening>> {
        let own = observation.own_grouping().key();
        let own = self.by_key.get(&own);
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for place in identities(observation, digests).filter_map(|alert| self.alerts.get(&alert)) {
            *counts.entry(*place).or_default() += 1;
        }
        let at_home = own.and_then(|own| counts.remove(own)).unwrap_or_default();
        let places = counts.into_iter().filter(|(_, alerts)| *alerts > at_home);
        let places = places.map(|(place, alerts)| (alerts, self.places.get(place as usize)));
        let living =
            places.filter_map(|(alerts, place)| Some((alerts, place?))).filter(|(_, place)| lives(place.key()));
        living.max_by_key(|(alerts, _)| *alerts).map(|(_, place)| place.clone())
    }

    /// The alerts of this Signal belong to its key from now on.
    pub(super) fn place(&mut self, observation: &Observation, digests: &DigestKey) {
        let next = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let place = *self.by_key.entry(observation.key).or_insert(next);
        if place == next {
            self.places.push(observation.opening.clone());
        }
        self.alerts.extend(identities(observation, digests).map(|alert| (alert, place)));
    }

    /// The alerts of this Signal belong nowhere.
    pub(super) fn forget(&mut self, observation: &Observation, digests: &DigestKey) {
        for alert in identities(observation, digests) {
            self.alerts.remove(&alert);
        }
    }

    /// Whether there are so many that some may be of storms that are over.
    pub(super) fn are_many(&self) -> bool {
        self.alerts.len() > FEW && self.alerts.len() > 2 * self.swept
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
        self.alerts.retain(|_, place| match moved.get(place) {
            Some(to) => {
                *place = *to;
                true
            }
            None => false,
        });
        self.alerts.shrink_to_fit();
        self.swept = self.alerts.len();
    }
}

/// What identifies the alerts of a Signal among those of all namespaces: two names are two alerts, whatever their fingerprints are.
fn identities(observation: &Observation, digests: &DigestKey) -> impl Iterator<Item = Digest> {
    let own = observation.own_grouping();
    let place = digests.digest(&[own.object_namespace.as_bytes(), own.signal_name.as_bytes()]);
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
            placements.place(signal, &DIGESTS);
        }
        placements
    }

    fn pattern_of(placements: &Placements, signal: &Observation, lives: &str) -> Option<String> {
        let lives = StormKey::new("prod", lives);
        placements.elsewhere(signal, &DIGESTS, |key| key == lives).map(|opening| opening.pattern.clone())
    }

    #[test]
    fn an_alert_belongs_to_the_key_that_it_was_placed_under_while_that_lives() {
        let placements = placed(&[signal("X in prod", 0..3)]);
        let regrouped = signal("X on n4", 2..3);
        assert_eq!(pattern_of(&placements, &regrouped, "X in prod").as_deref(), Some("X in prod"));
        assert_eq!(pattern_of(&placements, &regrouped, "another"), None);
        assert_eq!(pattern_of(&placements, &signal("X on n4", 3..4), "X in prod"), None);
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
            assert_eq!(pattern_of(&placements, &other, "X in prod"), None, "{name} in {namespace}");
        }
    }

    #[test]
    fn a_signal_with_alerts_of_several_storms_goes_where_most_of_them_are() {
        let placements = placed(&[signal("one", 0..2), signal("two", 2..5), signal("home", 5..7)]);
        assert_eq!(pattern_of(&placements, &signal("home", 0..5), "two").as_deref(), Some("two"));
        assert_eq!(pattern_of(&placements, &signal("home", 0..5), "one").as_deref(), Some("one"));
        // Two of one, and two of its own: it stays.
        assert_eq!(pattern_of(&placements, &signal("home", 0..7), "one"), None);
    }

    #[test]
    fn what_is_forgotten_or_swept_belongs_nowhere() {
        let mut placements = placed(&[signal("one", 0..3000), signal("two", 3000..6000)]);
        assert!(placements.are_many());
        let two = StormKey::new("prod", "two");
        placements.sweep(|key| key == two);
        assert!(!placements.are_many());
        assert_eq!(placements.alerts.len(), 3000);
        assert_eq!(pattern_of(&placements, &signal("one", 3000..3001), "two").as_deref(), Some("two"));
        placements.forget(&signal("two", 3000..6000), &DIGESTS);
        assert_eq!(pattern_of(&placements, &signal("one", 3000..3001), "two"), None);
        // A key that comes again has a place of its own.
        placements.place(&signal("one", 0..3), &DIGESTS);
        assert_eq!(pattern_of(&placements, &signal("two", 0..3), "one").as_deref(), Some("one"));
    }
}
