//! Random histories of alerts, policies and restarts: where each alert is at any moment (invariants 17 to 19).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use stormfold::api::{Occurrence, OccurrenceResource, OccurrenceState, Signal, SignalSpec, StormPolicy, StormStatus};
use stormfold::replay::Replay;
use stormfold::storm::Policy;

use super::{millis, open, start};

/// Alerts of a history, half of them of each node.
const ALERTS: usize = 6;

/// What policies may group by.
const GROUPINGS: [&[&str]; 4] =
    [&["name", "label:node"], &["namespace"], &["severity"], &["name", "namespace", "source"]];

#[derive(Clone, Debug)]
enum Step {
    /// Some alerts of one node are reported.
    Report { node: usize, alerts: BTreeSet<usize>, firing: bool },
    /// A policy comes, or changes.
    Put { policy: usize, grouping: usize, matches: bool, priority: i32 },
    /// A policy goes.
    Delete(usize),
    /// The process is killed, with its ledger.
    Restart,
    /// Time passes.
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let alerts = prop::collection::btree_set(0..ALERTS / 2, 1..=ALERTS / 2);
    prop_oneof![
        8 => (0..2usize, alerts, prop::bool::weighted(0.65)).prop_map(|(node, alerts, firing)| Step::Report { node, alerts, firing }),
        3 => (0..3usize, 0..GROUPINGS.len(), any::<bool>(), 0..3).prop_map(|(policy, grouping, matches, priority)| Step::Put {
            policy,
            grouping,
            matches,
            priority
        }),
        2 => (0..3usize).prop_map(Step::Delete),
        1 => Just(Step::Restart),
        3 => (1..20_000i64).prop_map(Step::Pass),
    ]
}

/// A history, and what is true of its alerts.
struct Play {
    replay: Replay,
    /// Those whose last report fires.
    firing: BTreeSet<(usize, usize)>,
    signals: usize,
}

impl Play {
    fn new() -> Self {
        let seconds = |seconds: i64| millis(1_000 * seconds);
        let policy =
            Policy { settle_delay: seconds(3), max_age: seconds(40), quiet_period: seconds(5), ..Policy::default() };
        Self { replay: Replay::new(policy, start()), firing: BTreeSet::new(), signals: 0 }
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Report { node, alerts, firing } => self.report(*node, alerts, *firing),
            Step::Put { policy, grouping, matches, priority } => {
                self.replay.put_policy(self::policy(*policy, *grouping, *matches, *priority));
            }
            Step::Delete(policy) => self.replay.delete_policy(&format!("p{policy}")),
            Step::Restart => {
                // When the burst is over, receipts are written; before that nothing in the cluster says which storm has an alert (decision 0045).
                self.pass(5_000);
                self.replay.restart();
            }
            Step::Pass(time) => self.pass(*time),
        }
        self.pass(10);
        self.nothing_is_in_two();
    }

    fn report(&mut self, node: usize, alerts: &BTreeSet<usize>, firing: bool) {
        self.signals += 1;
        let state = if firing { OccurrenceState::Firing } else { OccurrenceState::Resolved };
        let occurrence = |alert: &usize| Occurrence {
            fingerprint: Some(format!("fp-{node}-{alert}")),
            state,
            resource: Some(OccurrenceResource { kind: "Pod".into(), name: pod(node, *alert), ..Default::default() }),
            ..Occurrence::default()
        };
        let spec = SignalSpec {
            name: "X".into(),
            resolvable: true,
            reported_at: Some(MicroTime(self.replay.now())),
            labels: BTreeMap::from([("node".into(), format!("n{node}"))]),
            occurrences: Some(alerts.iter().map(occurrence).collect()),
            ..SignalSpec::default()
        };
        // A list is by name, and this order is another one than that in which they came.
        let mut signal = Signal::new(&format!("s{:02}-{}", 97 * self.signals % 100, self.signals), spec);
        signal.metadata.namespace = Some("prod".into());
        assert!(self.replay.create_signal(signal));
        for alert in alerts {
            if firing {
                self.firing.insert((node, *alert))
            } else {
                self.firing.remove(&(node, *alert))
            };
        }
    }

    fn pass(&mut self, time: i64) {
        self.replay.run_for(millis(time)).unwrap();
    }

    /// Each Pod is of one alert.
    fn nothing_is_in_two(&self) {
        let mut of = BTreeMap::new();
        for storm in open(&self.replay) {
            for resource in &storm.affected_resources {
                *of.entry(resource.clone()).or_insert(0) += 1;
            }
        }
        let doubled: Vec<_> = of.iter().filter(|(_, storms)| **storms > 1).collect();
        assert!(doubled.is_empty(), "in more than one open storm: {doubled:?}");
    }

    fn at_rest(&self) {
        let storms = open(&self.replay);
        let fire: i64 = storms.iter().map(|storm| storm.firing_count).sum();
        assert_eq!(
            usize::try_from(fire),
            Ok(self.firing.len()),
            "{:?} fire, and the open storms are {storms:?}",
            self.firing
        );
        for (node, alert) in &self.firing {
            let pod = pod(*node, *alert);
            let is_in = |storm: &&StormStatus| storm.affected_resources.iter().any(|resource| resource.name == pod);
            assert!(storms.iter().any(is_in), "{pod} fires and is in no open storm: {storms:?}");
        }
    }
}

fn pod(node: usize, alert: usize) -> String {
    format!("pod-{node}-{alert}")
}

fn policy(name: usize, grouping: usize, matches: bool, priority: i32) -> StormPolicy {
    let mut spec = json!({
        "priority": priority, "groupBy": GROUPINGS[grouping],
        "settleDelay": "3s", "maxAge": "40s", "quietPeriod": "5s", "staleAfter": "5h",
    });
    if matches {
        spec["match"] = json!({ "names": ["X"] });
    }
    StormPolicy::new(&format!("p{name}"), serde_json::from_value(spec).unwrap())
}

// Invariant 19, with 17 and 18.
#[test]
fn an_alert_is_in_at_most_one_open_storm_whatever_policies_come_change_and_go() {
    let cases = std::env::var("STORMFOLD_HISTORIES").ok().and_then(|cases| cases.parse().ok());
    let config = Config { cases: cases.unwrap_or(300), failure_persistence: None, ..Config::default() };
    // A few are the same ones each time; more of them are others each time.
    let mut runner = if cases.is_none() {
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
    } else {
        TestRunner::new(config)
    };
    let histories = prop::collection::vec(step(), 1..40);
    let played = runner.run(&histories, |history| {
        let mut play = Play::new();
        for step in &history {
            play.play(step);
        }
        // Longer than what is being opened takes, and shorter than a storm settles.
        play.pass(1_500);
        play.at_rest();
        Ok(())
    });
    played.unwrap_or_else(|wrong| panic!("{wrong}"));
}
