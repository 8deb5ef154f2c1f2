//! A queue in which namespaces take turns, and the more severe goes first within each: a flood of one tenant waits behind itself.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::storm::Severity;

/// Where something stands in a [`FairQueue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Tells namespaces apart. Two of one number, which is one chance in 2^64, are one to the queue.
    lane: u64,
    severity: Severity,
}

impl Place {
    /// Of something of this namespace.
    pub fn of(namespace: &str, severity: Severity) -> Self {
        Self { lane: lane_of(namespace), severity }
    }
}

/// Tells namespaces apart, the same in each process.
pub(super) fn lane_of(namespace: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    namespace.hash(&mut hasher);
    hasher.finish()
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FairQueue<T> {
    /// By namespace and severity, in the order in which they came. None is empty.
    lanes: BTreeMap<u64, BTreeMap<Severity, VecDeque<T>>>,
    /// The namespaces that have something, in the order of their turns.
    turns: VecDeque<u64>,
    len: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { lanes: BTreeMap::new(), turns: VecDeque::new(), len: 0 }
    }
}

impl<T> FairQueue<T> {
    /// Behind those of its namespace that are as severe.
    pub fn push(&mut self, place: Place, item: T) {
        let Place { lane, severity } = place;
        let by_severity = self.lanes.entry(lane).or_insert_with(|| {
            self.turns.push_back(lane);
            BTreeMap::new()
        });
        by_severity.entry(severity).or_default().push_back(item);
        self.len += 1;
    }

    /// The next one of the namespace whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let lane = self.turns.pop_front()?;
        let by_severity = self.lanes.get_mut(&lane)?;
        let mut most_severe = by_severity.last_entry()?;
        let item = most_severe.get_mut().pop_front();
        if most_severe.get().is_empty() {
            most_severe.remove();
        }
        if by_severity.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.turns.push_back(lane);
        }
        self.len -= 1;
        item
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes out all that are meant.
    pub fn extract(&mut self, is_meant: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for by_severity in self.lanes.values_mut() {
            for queue in by_severity.values_mut() {
                let (meant, rest): (VecDeque<T>, _) = std::mem::take(queue).into_iter().partition(&is_meant);
                *queue = rest;
                taken.extend(meant);
            }
            by_severity.retain(|_, queue| !queue.is_empty());
        }
        self.lanes.retain(|_, by_severity| !by_severity.is_empty());
        self.turns.retain(|lane| self.lanes.contains_key(lane));
        self.len -= taken.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn namespaces_take_turns_and_the_more_severe_goes_first_within_each() {
        let mut queue = FairQueue::default();
        for item in ["a-info-1", "a-info-2"] {
            queue.push(Place::of("a", Severity::Info), item);
        }
        queue.push(Place::of("b", Severity::Info), "b-info");
        queue.push(Place::of("a", Severity::Warning), "a-warning");
        queue.push(Place::of("a", Severity::Critical), "a-critical");
        queue.push(Place::of("c", Severity::Warning), "c-warning");
        assert_eq!(queue.len(), 6);
        let order = ["a-critical", "b-info", "c-warning", "a-warning", "a-info-1", "a-info-2"];
        assert_eq!(drain(&mut queue), order);
        assert!(queue.is_empty() && queue.pop().is_none());
    }

    #[test]
    fn what_is_taken_out_leaves_the_others_in_their_order() {
        let mut queue = FairQueue::default();
        for item in ["x1", "y1", "x2"] {
            queue.push(Place::of("a", Severity::Info), item);
        }
        queue.push(Place::of("b", Severity::Info), "y2");
        assert_eq!(queue.extract(|item| item.starts_with('y')).len(), 2);
        assert_eq!(queue.len(), 2);
        assert_eq!(drain(&mut queue), ["x1", "x2"]);
    }
}
