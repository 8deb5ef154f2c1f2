//! The delay queue: one run per storm at a time, one publish per interval, back-off, and no trigger lost.

use std::sync::Arc;
use std::time::Duration;

use stormfold::inbox::{Inbox, inbox};
use stormfold::runtime::readiness::Readiness;
use stormfold::storm::StormId;
use stormfold_core::engine::effect::Timer;
use stormfold_core::engine::input::Input;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::hand::reporter;
use crate::press::{Press, apply, create, opening_in, path, storm, storm_in};
use crate::script::API;

const INTERVAL: Duration = Duration::from_secs(1);

/// A driver at work, until this is dropped.
struct Running {
    inbox: Inbox,
    _stop: DropGuard,
}

impl Running {
    fn now(&self, id: StormId) {
        self.inbox.send(Input::Storm(id));
    }
}

/// Drives the engine of a press, which owes no receipts.
fn begin(press: &mut Press) -> Running {
    let stop = CancellationToken::new();
    let (inbox, mailbox) = inbox();
    let mut engine = press.engine().clone();
    engine.forget_unpublished();
    let reporter = reporter(press.server.client(), &press.metrics, &press.policies, &Readiness::default());
    let (driver, _) = press.driver(engine, press.ledger.clone(), reporter);
    tokio::spawn(driver.run(mailbox, stop.clone()));
    // The pause of a run before this.
    inbox.send(Input::Timer(Timer::Pause(storm())));
    Running { inbox, _stop: stop.drop_guard() }
}

/// When each call of this method whose path begins so came, in seconds since `began`.
fn times(press: &Press, began: Instant, method: &str, prefix: &str) -> Vec<f64> {
    let calls = press.server.calls.iter().filter(|call| call.method == method && call.path.starts_with(prefix));
    calls.map(|call| (call.at - began).as_secs_f64()).collect()
}

fn gaps(times: &[f64]) -> Vec<f64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

// Section 4: at most one run per storm.
#[tokio::test(start_paused = true)]
async fn a_storm_has_at_most_one_run_at_a_time() {
    let mut press = Press::with(&[1]).await;
    let running = begin(&mut press);
    let asking = async {
        for _ in 0..9 {
            running.now(storm());
            sleep(INTERVAL).await;
        }
    };
    // The first run waits for its answer; the other eight requests wait for the first run.
    press.server.expect(vec![create().silent()], asking).await;
    press.server.expect(vec![create(), apply(storm())], sleep(Duration::from_secs(5))).await;
}

// Section 8: at most one write per second and storm; the last state is what stays (A6).
#[tokio::test(start_paused = true)]
async fn a_storm_is_published_at_most_once_per_interval() {
    let mut press = Press::with(&[1]).await;
    let running = begin(&mut press);
    let began = Instant::now();
    running.now(storm());
    for uid in 2..=40 {
        press.server.serve(sleep(Duration::from_millis(77))).await;
        press.merge("prod", &[uid], uid).await;
        running.now(storm());
    }
    press.server.serve(sleep(INTERVAL * 2)).await;
    let writes = times(&press, began, "PATCH", API);
    assert_eq!(writes.len(), 5, "at once, at 1, 2 and 3 s, and the rest: {writes:?}");
    assert!(writes[0] < 0.01, "{writes:?}");
    assert!(gaps(&writes).iter().all(|gap| *gap >= 1.0 && *gap < 1.1), "{writes:?}");
    assert_eq!(press.shown(storm())["alertCount"], 40);
    press.server.silence(Duration::from_mins(5)).await;
}

// Invariant 10: a trigger during a hold is deferred, not lost.
#[tokio::test(start_paused = true)]
async fn a_trigger_within_the_interval_is_deferred_and_not_lost() {
    let mut press = Press::with(&[1]).await;
    let running = begin(&mut press);
    running.now(storm());
    press.server.expect(vec![create(), apply(storm())], sleep(Duration::from_millis(200))).await;
    press.merge("prod", &[2], 1).await;
    running.now(storm());
    press.server.silence(Duration::from_millis(750)).await;
    press.server.expect(vec![apply(storm())], sleep(Duration::from_millis(100))).await;
    assert_eq!(press.shown(storm())["alertCount"], 2);
}

// E1, D7, invariant 11: one that fails backs off, 0.5 s doubling, and holds up nobody.
#[tokio::test(start_paused = true)]
async fn a_failing_storm_backs_off_while_others_go_on() {
    let mut press = Press::with(&[1]).await;
    press.bring_to("web", 0, &[1], 0).await;
    let failing = format!("{API}/namespaces/prod/remediationrequests");
    press.server.faults.insert(failing.clone(), 503);
    let running = begin(&mut press);
    let (began, web) = (Instant::now(), storm_in("web", 0));
    for uid in 2..=101 {
        running.now(storm());
        press.merge("web", &[uid], uid).await;
        running.now(web);
        press.server.serve(sleep(Duration::from_millis(100))).await;
    }
    let tries = times(&press, began, "POST", &failing);
    assert!(tries.len() >= 4 && tries.len() <= 6, "{tries:?}");
    for (gap, about) in gaps(&tries).iter().zip([0.5, 1.0, 2.0, 4.0]) {
        assert!((gap - about).abs() <= about * 0.1 + 0.01, "{tries:?}");
    }
    let writes = times(&press, began, "PATCH", &path("web", web));
    assert!((9..=11).contains(&writes.len()), "{writes:?}");
    // A success forgets the failures, and what came meanwhile is all there.
    press.server.faults.clear();
    press.server.serve(sleep(Duration::from_secs(10))).await;
    assert_eq!(press.shown(storm())["alertCount"], 1);
}

// A17, E1: a successor looks often whether its predecessor has ended, and does not drive it out of its back-off.
#[tokio::test(start_paused = true)]
async fn a_successor_waits_without_hurrying_a_predecessor_that_backs_off() {
    let mut press = Press::published(&[1]).await;
    let successor = storm_in("prod", 601);
    press.set_clock(601);
    let ending = path("prod", storm()) + "/status";
    press.server.faults.insert(ending.clone(), 503);
    press.engine().offer_opening(successor, &Arc::new(opening_in("prod")));
    let running = begin(&mut press);
    running.now(storm());
    press.server.serve(sleep(Duration::from_millis(100))).await;
    press.bring_to("prod", 601, &[2], 601).await;
    running.now(successor);
    press.server.calls.clear();
    let began = Instant::now();
    press.server.serve(sleep(Duration::from_secs(12))).await;
    let tries = times(&press, began, "PATCH", &ending);
    assert!((3..=5).contains(&tries.len()), "{tries:?}");
    assert_eq!(times(&press, began, "POST", API).len(), 0, "the successor did not wait");
    press.server.faults.clear();
    press.server.serve(sleep(Duration::from_secs(20))).await;
    assert_eq!(press.shown(storm())["state"], "Closed");
    assert_eq!(press.shown(successor)["alertCount"], 1);
}
