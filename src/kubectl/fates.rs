//! What became of each occurrence of a Signal: its receipt, read place by place. Pure.

use std::collections::BTreeMap;

use super::answers::{Fate, of_reason};
use super::why_signal::OccurrenceAnswer;
use crate::api::{ACCEPTED, HELD_BACK_REASONS, OccurrenceState, Signal, SignalStatus};
use crate::storm::matching::Labels;
use crate::storm::places::read_places;
use crate::storm::{DigestKey, Past, PolicySet, Reach};
use crate::watch::intake::intake;

/// What a Signal was told, as far as its occurrences go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReceiptState {
    /// Nothing yet.
    Not,
    /// It is taken in, all of it or a part.
    Taken,
    /// It waits, for this reason.
    Waits(String),
    /// None of it is taken in.
    Refused,
    /// Something that this version does not know.
    Strange(String),
}

/// What its condition Accepted says.
pub(super) fn told_of(status: &SignalStatus) -> ReceiptState {
    let Some(condition) = status.conditions.iter().find(|condition| condition.type_ == ACCEPTED) else {
        return ReceiptState::Not;
    };
    let reason = condition.reason.as_str();
    match condition.status.as_str() {
        _ if of_reason(reason).is_none() => ReceiptState::Strange(reason.to_owned()),
        _ if HELD_BACK_REASONS.contains(&reason) => ReceiptState::Waits(reason.to_owned()),
        "True" => ReceiptState::Taken,
        _ => ReceiptState::Refused,
    }
}

/// One occurrence, and what became of it.
pub(super) struct OccurrenceFate<'a> {
    place: u16,
    shape: Shape<'a>,
    pub(super) fate: Fate,
}

/// An occurrence in either shape.
enum Shape<'a> {
    /// An item: its index, and it.
    Item(usize, &'a crate::api::Occurrence),
    /// A line: its number from 0, and it.
    Line(usize, &'a str),
}

impl OccurrenceFate<'_> {
    /// For people and machines.
    pub(super) fn answer(&self) -> OccurrenceAnswer {
        let (state, fingerprint, resource) = match &self.shape {
            Shape::Item(_, item) => {
                let resource = item.resource.as_ref().map(|resource| match &resource.namespace {
                    Some(namespace) => format!("{}/{} in {namespace}", resource.kind, resource.name),
                    None => format!("{}/{}", resource.kind, resource.name),
                });
                let state = if item.state == OccurrenceState::Firing { "firing" } else { "resolved" };
                (state.to_owned(), item.fingerprint.clone(), resource)
            }
            Shape::Line(_, line) => {
                let mut words = line.splitn(4, ' ');
                let (state, _) = (words.next().unwrap_or_default().to_owned(), words.next());
                let mut given = || words.next().filter(|word| *word != "-").map(str::to_owned);
                (state, given(), given())
            }
        };
        let (became, because) = (self.fate.word(), self.fate.sentence());
        OccurrenceAnswer { place: self.place, state, fingerprint, resource, became, because }
    }

    fn is_end(&self) -> bool {
        match &self.shape {
            Shape::Item(_, item) => item.state == OccurrenceState::Resolved,
            Shape::Line(_, line) => line.starts_with("resolved"),
        }
    }
}

/// What became of each occurrence. `is_bound`: the Signal may speak of its own namespace alone.
pub(super) fn fates<'a>(signal: &'a Signal, told: &ReceiptState, is_bound: bool) -> Vec<OccurrenceFate<'a>> {
    let none = SignalStatus::default();
    let status = signal.status.as_ref().unwrap_or(&none);
    let items = signal.spec.occurrences.iter().flatten().enumerate().map(|(index, item)| Shape::Item(index, item));
    let table = signal.spec.table.as_deref().unwrap_or_default();
    let lines = table.lines().enumerate().filter(|(_, line)| !line.is_empty());
    let shapes = items.chain(lines.map(|(index, line)| Shape::Line(index, line)));
    let bare = bare(signal);
    let past = told_past(status);
    let storms = told_storms(status);
    let of_place = |(place, shape): (u16, Shape<'a>)| {
        let mut of = OccurrenceFate { place, shape, fate: Fate::Untold };
        of.fate = if let Some(why) = refusal(&bare, &of.shape, is_bound) {
            Fate::Refused(why)
        } else {
            match told {
                ReceiptState::Not | ReceiptState::Strange(_) => Fate::Untold,
                ReceiptState::Waits(_) => Fate::Waits,
                // All of it is refused, whatever this occurrence alone would be.
                ReceiptState::Refused => Fate::Refused("with its Signal".to_owned()),
                ReceiptState::Taken => match (past.get(&place), storms.get(&place), &status.storm) {
                    (Some(past), _, _) => Fate::Held(*past),
                    (None, Some(storm), _) | (None, None, Some(storm)) => Fate::In(storm.clone()),
                    (None, None, None) if of.is_end() => Fate::NoStorm,
                    (None, None, None) => Fate::Held(Past::Over),
                },
            }
        };
        of
    };
    (0..u16::MAX).zip(shapes).map(of_place).collect()
}

/// What no storm took in, by place.
fn told_past(status: &SignalStatus) -> BTreeMap<u16, Past> {
    let Some(told) = &status.occurrences else { return BTreeMap::new() };
    let read = |text: &Option<String>, past| {
        let places = text.as_deref().map(read_places).unwrap_or_default();
        places.into_iter().map(move |place| (place, past)).collect::<Vec<_>>()
    };
    read(&told.held, Past::Over).into_iter().chain(read(&told.handled, Past::Handled)).collect()
}

/// What other storms have, by place.
fn told_storms(status: &SignalStatus) -> BTreeMap<u16, String> {
    let of = |other: &crate::api::OtherStorm| {
        let name = other.name.clone();
        read_places(&other.occurrences).into_iter().map(move |place| (place, name.clone())).collect::<Vec<_>>()
    };
    status.other_storms.iter().flat_map(of).collect()
}

/// A Signal without its occurrences.
fn bare(signal: &Signal) -> Signal {
    let mut bare = Signal { status: None, ..signal.clone() };
    (bare.spec.occurrences, bare.spec.table) = (None, None);
    bare
}

/// Why intake refuses this occurrence alone, if it does: the occurrence is asked for in a Signal of its own, which is otherwise the same.
fn refusal(bare: &Signal, shape: &Shape<'_>, is_bound: bool) -> Option<String> {
    let mut alone = bare.clone();
    match shape {
        Shape::Item(_, item) => alone.spec.occurrences = Some(vec![(*item).clone()]),
        Shape::Line(index, line) => alone.spec.table = Some(format!("{}{line}", "\n".repeat(*index))),
    }
    let reach = if is_bound { Reach::default() } else { Reach::everything() };
    let digests = DigestKey::new(*b"kubectl storm ..");
    let refused = intake(&alone, &PolicySet::default(), &Labels::new(), &reach, &digests).err()?;
    // An item is the first one there; where it is in its own Signal is said beside it.
    Some(match shape {
        Shape::Item(index, _) => refused.message.replace("spec.occurrences[0]", &format!("spec.occurrences[{index}]")),
        Shape::Line(..) => refused.message,
    })
}
