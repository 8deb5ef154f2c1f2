//! Receipts: when they are written, in which order, and what becomes of those that fail.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use stormfold::metrics::{ApiWrite, WriteLabels, WriteResult};
use stormfold::storm::{Rejection, SignalRef};
use stormfold_core::engine::receipts::{Receipt, Verdict};
use tokio::time::Instant;

use crate::hand::Hand;
use crate::press::storm;
use crate::script::{API, Expected, Script};

fn receipt(name: &str) -> Receipt {
    let signal = SignalRef { namespace: "prod".into(), name: name.into(), uid: format!("uid-of-{name}") };
    crate::press::receipt(signal, "storm-x".into())
}

fn rejected(name: &str) -> Receipt {
    let rejection = Rejection { reason: "Malformed", message: "no".into(), occurrences: 1 };
    Receipt { storm: None, verdict: Verdict::Rejected(rejection), ..receipt(name) }
}

fn signal_path(name: &str) -> String {
    format!("{API}/namespaces/prod/signals/{name}")
}

/// The write of a receipt.
fn write(name: &str) -> Expected {
    let uid = format!("uid-of-{name}");
    Expected::new("PATCH", signal_path(name) + "/status").check(move |call| {
        assert_eq!(call.content_type, "application/merge-patch+json");
        assert_eq!(call.body["metadata"]["uid"], *uid, "it could land on another object of that name");
    })
}

/// An engine that writes receipts, and a server that has these Signals.
struct Office {
    hand: Hand,
    server: Script,
}

impl Office {
    fn new(signals: &[&str]) -> Self {
        let mut server = Script::default();
        for name in signals {
            server.put(&json!({
                "apiVersion": "stormfold.dev/v1alpha1", "kind": "Signal",
                "metadata": { "namespace": "prod", "name": name }, "spec": { "name": "X", "table": "firing - - -" },
            }));
        }
        let hand = Hand::new(&server.client());
        hand.set_clock(60);
        Self { hand, server }
    }

    /// These calls come within this time.
    async fn expect(&mut self, calls: Vec<Expected>, time: Duration) {
        self.server.expect(calls, self.hand.work(time)).await;
    }

    /// The same while Signals are merged all the time.
    async fn expect_in_burst(&mut self, calls: Vec<Expected>, time: Duration) {
        let hand = &mut self.hand;
        let burst = async {
            let mut left = time;
            while !left.is_zero() {
                hand.engine.merges_something();
                hand.work(MOMENT.min(left)).await;
                left = left.saturating_sub(MOMENT);
            }
        };
        self.server.expect(calls, burst).await;
    }

    /// No call comes for this long.
    async fn silence(&mut self, time: Duration) {
        self.expect(Vec::new(), time).await;
    }

    fn owed(&self) -> usize {
        self.hand.engine.receipts().owed(storm())
    }

    fn wrote(&self, result: WriteResult) -> u64 {
        self.hand.metrics.writes.get_or_create(&WriteLabels { write: ApiWrite::Receipt, result }).get()
    }
}

const LONG: Duration = Duration::from_mins(2);
const MOMENT: Duration = Duration::from_millis(100);

// Section 4, E1: the object shows what a Signal brought before the Signal is told so.
#[tokio::test(start_paused = true)]
async fn a_receipt_is_written_only_after_a_publish_that_includes_its_signal() {
    let mut office = Office::new(&["a", "b"]);
    office.hand.engine.owe(storm(), vec![receipt("a")]);
    office.silence(LONG).await;
    office.hand.engine.claim(storm());
    // Merged after the snapshot: not part of this publish.
    office.hand.engine.owe(storm(), vec![receipt("b")]);
    office.silence(LONG).await;
    office.hand.engine.release(storm());
    office.expect(vec![write("a")], LONG).await;
    assert_eq!(office.owed(), 1);
    office.hand.engine.release(storm());
    office.silence(LONG).await;
    office.hand.engine.claim(storm());
    office.hand.engine.release(storm());
    office.expect(vec![write("b")], LONG).await;
    assert_eq!(office.owed(), 0);
    let status = office.server.object(&signal_path("a"))["status"].clone();
    assert_eq!(
        (status["storm"].as_str(), status["conditions"][0]["reason"].as_str()),
        (Some("storm-x"), Some("Merged"))
    );
}

// Invariants 11, 13: a rejection is told first, whatever else waits.
#[tokio::test(start_paused = true)]
async fn rejections_are_written_first() {
    let mut office = Office::new(&["a", "b", "bad"]);
    office.hand.engine.write_now(receipt("a"));
    office.hand.engine.write_now(receipt("b"));
    office.hand.engine.write_now(rejected("bad"));
    office.expect(vec![write("bad"), write("a"), write("b")], LONG).await;
    assert_eq!(office.hand.metrics.owed_receipts.get(), 0);
}

// Deleted, or another object of that name: there is nobody left to tell.
#[rstest]
#[case(404)]
#[case(409)]
#[tokio::test(start_paused = true)]
async fn a_receipt_of_a_signal_that_is_gone_ends_quietly(#[case] code: u16) {
    let mut office = Office::new(&["a"]);
    office.hand.engine.owe(storm(), vec![receipt("a")]);
    office.hand.engine.claim(storm());
    office.hand.engine.release(storm());
    office.expect(vec![write("a").fails(code)], LONG).await;
    assert_eq!((office.owed(), office.hand.metrics.owed_receipts.get()), (0, 0));
    assert_eq!((office.wrote(WriteResult::Gone), office.wrote(WriteResult::Failed)), (1, 0));
}

// E4: its namespace went with it.
#[tokio::test(start_paused = true)]
async fn a_receipt_in_a_namespace_that_is_gone_ends_quietly() {
    let mut office = Office::new(&["a"]);
    office.hand.engine.write_now(receipt("a"));
    office.expect(vec![write("a").fails(404).about("namespaces")], LONG).await;
    assert_eq!(office.hand.metrics.owed_receipts.get(), 0);
    assert_eq!((office.wrote(WriteResult::Gone), office.wrote(WriteResult::Failed)), (1, 0));
}

// A13, E1, invariants 10 and 13: owed until it lands, so that the storm cannot close before.
#[tokio::test(start_paused = true)]
async fn a_failed_receipt_is_repeated_with_a_back_off_until_it_lands() {
    let mut office = Office::new(&["a"]);
    let began = Instant::now();
    office.hand.engine.owe(storm(), vec![receipt("a")]);
    office.hand.engine.claim(storm());
    office.hand.engine.release(storm());
    let faults = vec![write("a").fails(500), write("a").silent(), write("a").fails(403), write("a").fails(429)];
    office.expect(faults, Duration::from_secs(16)).await;
    assert_eq!(office.owed(), 1);
    office.expect(vec![write("a")], LONG).await;
    assert_eq!(office.owed(), 0);
    assert_eq!((office.wrote(WriteResult::Failed), office.wrote(WriteResult::Done)), (4, 1));
    // 0.5 + (10 +) 1 + 2 + 4 s, each within 10 %.
    let times: Vec<_> = office.server.calls.iter().map(|call| (call.at - began).as_secs_f64()).collect();
    for (time, about) in times.iter().zip([0.0, 0.5, 11.5, 13.5, 17.5]) {
        assert!((time - about).abs() < 0.8, "{times:?}");
    }
}

// Section 4: a receipt costs the API server as much as a create, so it waits for the burst, and not for ever.
#[tokio::test(start_paused = true)]
async fn a_burst_holds_receipts_back_for_fifteen_seconds_at_most_and_rejections_not_at_all() {
    let mut office = Office::new(&["a", "bad"]);
    office.hand.engine.write_now(receipt("a"));
    office.hand.engine.write_now(rejected("bad"));
    office.expect_in_burst(vec![write("bad")], Duration::from_millis(14_900)).await;
    office.expect_in_burst(vec![write("a")], Duration::from_millis(600)).await;
}

#[tokio::test(start_paused = true)]
async fn receipts_are_written_when_a_burst_is_over() {
    let mut office = Office::new(&["a"]);
    office.hand.engine.merges_something();
    office.hand.engine.write_now(receipt("a"));
    office.silence(Duration::from_millis(290)).await;
    office.expect(vec![write("a")], Duration::from_millis(100)).await;
}

// Invariant 1: what was merged into a ledger that was lost is merged again, and owed again.
#[tokio::test(start_paused = true)]
async fn receipts_of_what_no_object_shows_are_forgotten_with_the_ledger() {
    let mut office = Office::new(&["a", "b"]);
    office.hand.engine.owe(storm(), vec![receipt("a")]);
    office.hand.engine.claim(storm());
    office.hand.engine.release(storm());
    office.hand.engine.owe(storm(), vec![receipt("b")]);
    office.hand.engine.forget_unpublished();
    assert_eq!(office.owed(), 1, "the first one is shown, and will be written");
    office.expect(vec![write("a")], Duration::from_mins(1)).await;
    office.hand.engine.owe(storm(), vec![receipt("b")]);
    assert_eq!(office.owed(), 1, "its Signal was read again");
}

// Invariant 1: the end of a storm comes after the receipts of the Signals that it holds, whoever counted them.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_storm_waits_for_the_receipts_of_what_it_holds() {
    let mut office = Office::new(&["a"]);
    office.hand.engine.write_for(storm(), receipt("a"));
    office.hand.engine.write_for(storm(), receipt("a"));
    assert_eq!(office.owed(), 1);
    office.expect(vec![write("a")], Duration::from_mins(1)).await;
    assert_eq!(office.owed(), 0);
}
