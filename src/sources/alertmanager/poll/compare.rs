//! What Signals say beside what Alertmanagers say: which beginnings and ends no webhook has told. Pure.
//!
//! A difference counts when two polls in a row find it: a webhook may be on its way. An alert is over only if every Alertmanager that
//! belongs has answered and none has it; one that was just started has not heard of its alerts yet, and one of a cluster whose other peers
//! nobody asks does not know theirs: alerts are not told from peer to peer.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::peer::PeerAnswer;
use crate::metrics::PollResult;
use crate::sources::writer::{LatestReports, RecalledAlert};

/// What fires on is told again when no webhook has done it for so long: Alertmanager does it every four hours by default, and a storm of
/// which nobody hears for five is stale.
const REPEAT: SignedDuration = SignedDuration::from_mins(4 * 60 + 30);

/// What all that were asked say together.
#[derive(Clone, Debug, Default)]
pub(super) struct Polled {
    /// The fingerprints of all alerts.
    present: HashSet<String>,
    /// In the words of a webhook: those that fire and that nobody knows of.
    fires: BTreeMap<String, String>,
    names: HashSet<String>,
    clusters: HashSet<String>,
    settling: bool,
    silent: bool,
}

impl Polled {
    /// One has answered, or not. `settled`: whoever was started later has not heard of all its alerts.
    pub(super) fn add(&mut self, answer: Result<PeerAnswer, String>, settled: Timestamp) {
        let Ok(answer) = answer else {
            self.silent = true;
            return;
        };
        self.settling |= answer.started.is_none_or(|started| started > settled);
        self.names.extend(answer.name);
        self.clusters.extend(answer.cluster);
        for alert in answer.alerts {
            if let Some(told) = alert.told {
                self.fires.entry(alert.fingerprint.clone()).or_insert(told);
            }
            self.present.insert(alert.fingerprint);
        }
    }

    /// Whether what is not there is over, and why not.
    pub(super) fn result(&self) -> PollResult {
        if self.silent {
            PollResult::NoAnswer
        } else if !self.clusters.is_subset(&self.names) {
            PollResult::NotAll
        } else if self.settling {
            PollResult::Settling
        } else {
            PollResult::Done
        }
    }

    /// How many are in the clusters, and how many of them were asked.
    pub(super) fn peers(&self) -> (usize, usize) {
        (self.clusters.len(), self.clusters.intersection(&self.names).count())
    }
}

/// What no webhook has told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) ends: Vec<RecalledAlert>,
    /// By fingerprint, in the words of a webhook.
    pub(super) fires: BTreeMap<String, String>,
}

/// What is known from poll to poll.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Fingerprints of alerts that fire as Signals say, and that the last poll did not find.
    gone: HashSet<String>,
    /// And those that it found, and no Signal tells of.
    new: HashSet<String>,
    /// Those that no Signal can tell of.
    untellable: HashSet<String>,
}

impl Comparison {
    /// When each alert was last told to fire, by fingerprint.
    pub(super) fn told(latest: &LatestReports) -> HashMap<&str, Timestamp> {
        let mut told = HashMap::new();
        for alert in latest.firing() {
            let at: &mut Timestamp = told.entry(given(alert)).or_insert(alert.reported_at);
            *at = alert.reported_at.max(*at);
        }
        told
    }

    /// Whether a poll at `now` wants to know more of this alert.
    pub(super) fn wants(&self, told: &HashMap<&str, Timestamp>, fingerprint: &str, now: Timestamp) -> bool {
        let is_known = told.get(fingerprint).is_some_and(|at| *at + REPEAT > now);
        !is_known && !self.untellable.contains(fingerprint)
    }

    /// What two polls in a row have found.
    pub(super) fn compare(&mut self, latest: &LatestReports, polled: Polled) -> Missed {
        let is_complete = polled.result() == PollResult::Done;
        let Polled { present, fires, .. } = polled;
        let absent = |alert: &&RecalledAlert| is_complete && !present.contains(given(alert));
        let ends = latest.firing().filter(absent).filter(|alert| self.gone.contains(given(alert))).cloned().collect();
        let gone = latest.firing().filter(absent).map(|alert| given(alert).to_owned()).collect();
        let new = fires.keys().cloned().collect();
        let fires = fires.into_iter().filter(|(fingerprint, _)| self.new.contains(fingerprint)).collect();
        (self.gone, self.new) = (gone, new);
        self.untellable.retain(|fingerprint| present.contains(fingerprint));
        Missed { ends, fires }
    }

    /// No Signal can tell of this alert: it is not wanted again as long as it is there.
    pub(super) fn give_up(&mut self, fingerprint: &str) {
        self.untellable.insert(fingerprint.to_owned());
    }
}

/// The fingerprint that Alertmanager has given it: what `batch` puts behind it tells apart what should never share one.
fn given(alert: &RecalledAlert) -> &str {
    alert.fingerprint.split('-').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::peer::PolledAlert;
    use super::*;
    use crate::api::{Signal, SignalSpec};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_485_300 + second).unwrap()
    }

    /// That these fire, as Signals told at `second`.
    fn told(fingerprints: &[&str], second: i64) -> LatestReports {
        let table =
            fingerprints.iter().map(|fingerprint| format!("firing - {fingerprint} Pod/{fingerprint}\n")).collect();
        let spec = SignalSpec {
            name: "A".into(),
            table: Some(table),
            reported_at: Some(at(second).into()),
            ..SignalSpec::default()
        };
        LatestReports::of(&[(Signal::new("s", spec), "prod")])
    }

    /// An Alertmanager that was started long ago, and has these. A name in capitals fires, the others are silenced.
    fn answer(alerts: &[&str]) -> PeerAnswer {
        let alert = |name: &&str| PolledAlert {
            fingerprint: name.to_lowercase(),
            told: name.starts_with(char::is_uppercase).then(|| format!("told {name}")),
        };
        PeerAnswer { alerts: alerts.iter().map(alert).collect(), started: Some(at(-3_600)), ..PeerAnswer::default() }
    }

    fn polled(answers: impl IntoIterator<Item = PeerAnswer>) -> Polled {
        let mut polled = Polled::default();
        for answer in answers {
            polled.add(Ok(answer), at(-120));
        }
        polled
    }

    fn ends(missed: &Missed) -> Vec<&str> {
        let mut ends: Vec<_> = missed.ends.iter().map(|alert| alert.fingerprint.as_str()).collect();
        ends.sort_unstable();
        ends
    }

    #[test]
    fn what_two_polls_in_a_row_do_not_find_is_over_and_what_is_silenced_fires_on() {
        let (mut comparison, open) = (Comparison::default(), told(&["a", "b", "c"], 0));
        assert_eq!(comparison.compare(&open, polled([answer(&["a"])])), Missed::default());
        let missed = comparison.compare(&open, polled([answer(&["a", "b"])]));
        assert_eq!((ends(&missed), missed.fires.len()), (vec!["c"], 0));
        assert_eq!(missed.ends[0].resource, "Pod/c");
        // It was not stored, and b is back.
        let again = comparison.compare(&open, polled([answer(&["a", "b"])]));
        assert_eq!(ends(&again), ["c"]);
    }

    #[test]
    fn an_alert_is_known_by_the_fingerprint_that_it_was_given() {
        let (mut comparison, open) = (Comparison::default(), told(&["a-0123", "b-0123"], 0));
        assert!(!comparison.wants(&Comparison::told(&open), "a", at(0)));
        comparison.compare(&open, polled([answer(&["a"])]));
        assert_eq!(ends(&comparison.compare(&open, polled([answer(&["a"])]))), ["b-0123"]);
    }

    #[test]
    fn what_two_polls_in_a_row_find_and_no_signal_tells_of_is_told() {
        let (mut comparison, open) = (Comparison::default(), told(&["a"], 0));
        // `a` is known: whoever asks does not want to know more of it.
        assert_eq!(comparison.compare(&open, polled([answer(&["a", "B", "c"])])), Missed::default());
        let missed = comparison.compare(&open, polled([answer(&["a", "B", "C"])]));
        assert_eq!(missed.fires, [("b".to_owned(), "told B".to_owned())].into());
    }

    #[rstest]
    #[case({
        let mut polled = polled([answer(&["b"])]);
        polled.add(Err("no answer".into()), at(0));
        polled
    }, PollResult::NoAnswer)]
    #[case(polled([answer(&["b"]), answer(&["a"])]), PollResult::Done)]
    #[case(polled([PeerAnswer { started: Some(at(-60)), ..answer(&["b"]) }]), PollResult::Settling)]
    #[case(polled([PeerAnswer { started: None, ..answer(&["b"]) }]), PollResult::Settling)]
    #[case(polled([of_cluster("x")]), PollResult::NotAll)]
    fn an_alert_is_over_only_if_all_that_belong_answer_and_none_has_it(
        #[case] polled_before: Polled,
        #[case] result: PollResult,
    ) {
        let (mut comparison, open) = (Comparison::default(), told(&["a"], 0));
        for _ in 0..3 {
            assert_eq!(polled_before.result(), result);
            assert_eq!(comparison.compare(&open, polled_before.clone()), Missed::default());
        }
        // Two polls in a row, from now on.
        assert_eq!(ends(&comparison.compare(&open, polled([answer(&["b"])]))), Vec::<&str>::new());
        assert_eq!(ends(&comparison.compare(&open, polled([answer(&["b"])]))), ["a"]);
    }

    /// One of a cluster of two.
    fn of_cluster(name: &str) -> PeerAnswer {
        PeerAnswer { name: Some(name.into()), cluster: vec!["x".into(), "y".into()], ..answer(&[]) }
    }

    #[test]
    fn a_cluster_all_of_whose_peers_are_asked_is_complete() {
        let two = polled([of_cluster("x"), of_cluster("y")]);
        assert_eq!((two.result(), two.peers()), (PollResult::Done, (2, 2)));
        // A Service before both, asked twice, may answer twice for one of them.
        let same = polled([of_cluster("x"), of_cluster("x")]);
        assert_eq!((same.result(), same.peers()), (PollResult::NotAll, (2, 1)));
    }

    #[test]
    fn what_is_known_is_wanted_when_nobody_has_told_of_it_for_hours() {
        let (mut comparison, open) = (Comparison::default(), told(&["a"], 0));
        let told = Comparison::told(&open);
        assert!(!comparison.wants(&told, "a", at(4 * 3_600)) && comparison.wants(&told, "a", at(5 * 3_600)));
        assert!(comparison.wants(&told, "b", at(0)));
        comparison.give_up("b");
        assert!(!comparison.wants(&told, "b", at(0)));
        // It is gone, and another time is another try.
        comparison.compare(&open, polled([answer(&["a"])]));
        assert!(comparison.wants(&told, "b", at(0)));
    }
}
