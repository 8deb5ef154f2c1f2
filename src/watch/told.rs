//! What a Signal and its receipt say of its alerts.

use super::intake::intake;
use crate::api::{self, Signal};
use crate::storm::matching::Labels;
use crate::storm::places::read_places;
use crate::storm::{AlertReport, DigestKey, HeldReports, Observation, Past, PolicySet, Reach};

/// With what its receipt says of its reports.
pub(super) fn as_told(mut observation: Observation, status: Option<&api::SignalStatus>) -> Observation {
    let Some(status) = status else { return observation };
    if let Some(told) = &status.occurrences {
        observation.held = held(&observation, told);
    }
    let places = observation.places();
    let index = |place: u16| u16::try_from(places.binary_search(&place).ok()?).ok();
    let other = |other: &api::OtherStorm| {
        (other.name.clone(), read_places(&other.occurrences).into_iter().filter_map(index).collect())
    };
    observation.receipt_others = status.other_storms.iter().map(other).collect();
    observation
}

/// What a Signal says of its alerts, whatever policies there are and whatever it may speak of.
pub fn says(signal: &Signal, key: &DigestKey) -> Vec<AlertReport> {
    let taken = intake(signal, &PolicySet::default(), &Labels::new(), &Reach::of([Reach::ALL.to_owned()]), key);
    taken.map(|observation| observation.says().collect()).unwrap_or_default()
}

/// The reports that no storm took in, as the receipt says.
fn held(observation: &Observation, told: &api::OccurrenceSummary) -> HeldReports {
    let read = |text: &Option<String>| text.as_deref().map(read_places).unwrap_or_default();
    let (over, handled) = (read(&told.held), read(&told.handled));
    if over.is_empty() && handled.is_empty() {
        return HeldReports::new();
    }
    let past = |(index, place)| match (over.contains(&place), handled.contains(&place)) {
        (_, true) => Some((index, Past::Handled)),
        (true, false) => Some((index, Past::Over)),
        (false, false) => None,
    };
    (0..).zip(observation.places()).filter_map(past).collect()
}
