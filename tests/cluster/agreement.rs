//! A real Prometheus, a real Alertmanager and the operator, for as long as AGREEMENT_SECONDS: alerts start, flap, end and are silenced,
//! the three are stopped and restarted, and once a second what Alertmanager's API says is compared with the RemediationRequests.
//!
//! **What is allowed.** Alertmanager is the reference, so nothing that Prometheus or its scrapes take is allowed for. A change of what
//! Alertmanager says of a name may take, until the requests show it: its `group_wait` or `group_interval` (one second each); its pause
//! before it tries again what the operator did not take, where one was restarted (at most 4 s after so short a time); the publish
//! interval (1 s); the second between two looks; and `SLACK`, for a machine that does other things. A request of which nothing fires
//! may stay open for the settle delay more. `resolve_timeout` plays no part: Prometheus says with each alert when it ends unless it is
//! told again. An answer that does not stand for as long is not judged, but at the end everything stands still until both agree in all.
//! Time is counted by looks: one that comes late, because the machine stood still with all that is on it, counts as one second.
//!
//! **What is left out.** An alert that ends while it is silenced is never reported as ended, by Alertmanager: its request stays open
//! until the alert is reported again and ends, or until `--stale-after`. So a name is not judged from its silence on until it is active
//! again without one. Nor is anything judged while Alertmanager, just restarted, has not yet heard of all that fires (it keeps no
//! alerts), and while the operator is away; afterwards each allowance begins anew. An alert that has ended when both Prometheus
//! and Alertmanager are restarted, and was not yet told as ended, is told as ended by nobody: so that is told before, and none changes then.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::agreement_judge::{Disagreement, Judge};
use super::agreement_score::{Deed, GONE, ROUND, SILENCED, Score};
use super::agreement_sides::{Sides, resource};
use super::alertmanager::Alertmanager;
use super::exporter::Exporter;
use super::operator::Operator;
use super::prometheus::Prometheus;
use super::wait::{LIMIT, eventually};
use super::world::World;

const ALERTMANAGER: Duration = Duration::from_secs(1 + 4);
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
const SETTLE_DELAY: Duration = Duration::from_secs(2);
const LOOKS: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_secs(5);
/// What lasts longer is printed, even where it is allowed.
const NOTEWORTHY: Duration = Duration::from_secs(4);

/// For how long alerts change: one round of the score at least, which takes half a minute.
fn seconds() -> u64 {
    std::env::var("AGREEMENT_SECONDS").map_or(1, |seconds| seconds.parse().expect("whole seconds"))
}

struct Stage {
    world: World,
    flags: Vec<String>,
    operator: Option<Operator>,
    alertmanager: Alertmanager,
    prometheus: Prometheus,
    exporter: Exporter,
    score: Score,
    /// The rule of `GONE` is in force.
    ruled: bool,
    silence: Option<String>,
    judge: Judge,
    sides: Sides,
    second: Interval,
    begun: Instant,
    /// Time as the judge counts it, by looks.
    counted: Instant,
    /// What was done, and what was seen, and when: for people.
    done: Vec<String>,
}

impl Stage {
    async fn new() -> Self {
        let world = World::new("agreement").await;
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let flags = vec![
            format!("--gateway-listen={listen}"),
            format!("--settle-delay={}s", SETTLE_DELAY.as_secs()),
            format!("--publish-interval={}s", PUBLISH_INTERVAL.as_secs()),
            "--quiet-period=10s".to_owned(),
            // Short, so that what fires for longer goes on in successors.
            "--max-age=20s".to_owned(),
        ];
        let config = json!({
            "route": {
                "receiver": "stormfold", "group_by": ["alertname", "namespace"],
                "group_wait": "1s", "group_interval": "1s", "repeat_interval": "10s",
            },
            "receivers": [{
                "name": "stormfold",
                "webhook_configs": [{ "url": format!("http://{listen}/webhook/alertmanager"), "send_resolved": true }],
            }],
        });
        let alertmanager = Alertmanager::start(&config.to_string()).await;
        let (exporter, metrics) = Exporter::start(&world.namespace).await;
        let score = Score::new(&exporter);
        let prometheus = Prometheus::start(&Score::rules(true), &alertmanager.address(), Some(&metrics)).await;
        let mut second = interval(LOOKS);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let told = ALERTMANAGER + PUBLISH_INTERVAL + LOOKS + SLACK;
        let mut stage = Self {
            flags,
            operator: None,
            alertmanager,
            prometheus,
            exporter,
            score,
            ruled: true,
            silence: None,
            judge: Judge::new(told, SETTLE_DELAY),
            sides: Sides::default(),
            second,
            begun: Instant::now(),
            counted: Instant::now(),
            done: Vec::new(),
            world,
        };
        stage.start_operator().await;
        stage.until_alertmanager_knows().await;
        stage.begun = Instant::now();
        stage
    }

    async fn start_operator(&mut self) {
        let flags: Vec<_> = self.flags.iter().map(String::as_str).collect();
        self.operator = Some(Operator::start(&[&self.world], &flags).await);
        self.judge.begin_anew(self.counted);
    }

    /// One second, at the end of which both sides are looked at.
    async fn look(&mut self) {
        self.second.tick().await;
        self.sides.read(&self.alertmanager, &self.world).await;
        self.counted += LOOKS;
        let found = self.judge.look(self.counted, &self.sides.said, &self.sides.shown);
        for Disagreement { name, fault, lasts, too_long } in found.iter().filter(|found| found.lasts > NOTEWORTHY) {
            self.done.push(format!("{:.1?} {name} is {fault:?} for {lasts:?}", self.begun.elapsed()));
            if *too_long {
                let told = self.sides.tell(name, &self.world).await;
                panic!("{name} is {fault:?} for {lasts:?}\n{told}\nwhat was done, and seen:\n{}", self.done.join("\n"));
            }
        }
    }

    /// What Alertmanager knows when it has heard of all that burns.
    fn burning(&self) -> Vec<(String, String)> {
        let all = self.exporter.burning().into_iter();
        let told = all.filter(|((name, _), burns)| *burns && (self.ruled || name != GONE));
        told.map(|((name, pod), _)| (name, resource(&pod))).collect()
    }

    /// Waits until Alertmanager, which knows nothing yet, has heard of all that burns; nothing changes meanwhile.
    async fn until_alertmanager_knows(&mut self) {
        let expected = self.burning();
        eventually("Alertmanager knows what burns", || async {
            let known = Sides::known(&self.alertmanager).await;
            if known == expected { Ok(()) } else { Err(format!("{known:?}, not {expected:?}")) }
        })
        .await;
        self.judge.begin_anew(self.counted);
    }

    /// Looks until both sides have heard of everything; nothing changes meanwhile. `all`: and nothing is left out.
    async fn until_told(&mut self, all: bool) {
        let (expected, end) = (self.burning(), Instant::now() + LIMIT);
        loop {
            self.look().await;
            if self.sides.known == expected && self.judge.agrees() && !(all && self.judge.leaves_out()) {
                return;
            }
            assert!(Instant::now() < end, "gave up waiting until both know of {expected:?}: {:#?}", self.sides);
        }
    }

    async fn act(&mut self, deed: Deed) {
        self.done.push(format!("{:.1?} {deed:?}", self.begun.elapsed()));
        match deed {
            Deed::Stall => self.prometheus.signal("STOP"),
            Deed::GoOn => self.prometheus.signal("CONT"),
            Deed::Silence => {
                self.judge.silence(SILENCED, true);
                self.silence = Some(self.alertmanager.silence(SILENCED).await);
            }
            Deed::EndSilence => {
                self.alertmanager.end_silence(&self.silence.take().expect("it is silenced")).await;
                self.judge.silence(SILENCED, false);
            }
            Deed::RemoveRule | Deed::RestoreRule => {
                self.ruled = deed == Deed::RestoreRule;
                self.prometheus.set_rules(&Score::rules(self.ruled)).await;
            }
            Deed::RestartPrometheus => {
                self.prometheus.stop();
                self.prometheus.start_again().await;
            }
            Deed::RestartAlertmanager => {
                self.alertmanager.stop();
                self.alertmanager.start_again().await;
                self.until_alertmanager_knows().await;
            }
            Deed::RestartBoth => {
                self.until_told(false).await;
                self.prometheus.stop();
                self.alertmanager.stop();
                self.alertmanager.start_again().await;
                self.prometheus.start_again().await;
                self.until_alertmanager_knows().await;
            }
            Deed::KillOperator => {
                self.operator.take().expect("it runs").sigkill();
                self.start_operator().await;
            }
        }
    }

    /// Plays the score until this time is over, and the round that has begun then.
    async fn play(&mut self, time: Duration) {
        let mut rounds = 0;
        while rounds == 0 || self.begun.elapsed() < time {
            for (deed, pause) in ROUND {
                self.act(deed).await;
                let more = if rounds == 0 { 0 } else { self.score.any(0..=5) };
                for _ in 0..pause + more {
                    self.score.second(&self.exporter);
                    self.look().await;
                }
            }
            rounds += 1;
        }
        self.done.push(format!("{:.1?} {rounds} rounds are over", self.begun.elapsed()));
    }

    /// Every alert burns, or none does, and nothing else changes until both sides agree in everything.
    async fn rest(&mut self, all_burn: bool) {
        self.done.push(format!("{:.1?} rest, all burn: {all_burn}", self.begun.elapsed()));
        self.score.set_all(&self.exporter, all_burn);
        self.until_told(true).await;
    }
}

// F1, F2, M1, invariants 4, 17 and 18, as real ones play them. `make agreement` plays it for ten minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agreement_of_alertmanager_and_the_remediation_requests_second_by_second() {
    let mut stage = Stage::new().await;
    stage.play(Duration::from_secs(seconds())).await;
    stage.rest(true).await;
    stage.rest(false).await;
    let open = stage.sides.shown.values().flatten().filter(|shown| shown.open).count();
    assert_eq!(open, 0, "{:#?}", stage.sides);
    println!("agreement: {}\nlongest disagreements {:?}", stage.sides.summary(), stage.judge.longest);
    println!(
        "agreement: {} changes in Alertmanager; what was done, and seen:\n{}",
        stage.judge.changes,
        stage.done.join("\n")
    );
    assert!(stage.sides.came_back > 0, "Prometheus has stalled, and an alert of the same start came back");
    assert!(stage.sides.moved > 0, "restarts have moved the start of an alert");
}
