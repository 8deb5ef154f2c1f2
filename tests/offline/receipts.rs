//! Receipts: when they are written, in which order, and what becomes of those that fail.

use std::sync::Arc;
use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use stormfold::api::OccurrenceSummary;
use stormfold::ingest::receipt::{Board, Receipt, Verdict, write_receipts};
use stormfold::metrics::{ApiWrite, Metrics, WriteLabels, WriteResult};
use stormfold::publish::Receipts;
use stormfold::runtime::readiness::Readiness;
use stormfold::storm::{Rejection, SignalRef};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::press::{at, storm};
use crate::script::{API, Expected, Script};

fn receipt(name: &str) -> Receipt {
    let signal = SignalRef { namespace: "prod".into(), name: name.into(), uid: format!("uid-of-{name}") };
    Receipt {
        missing_labels: Vec::new(),
        signal: Arc::new(signal),
        storm: Some("storm-x".into()),
        occurrences: OccurrenceSummary { total: 1, new: 1, rejected: 0 },
        verdict: Verdict::Merged,
    }
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

/// A board, its writers at work, and a server that has these Signals.
struct Office {
    board: Arc<Board>,
    server: Script,
    metrics: Metrics,
    stop: CancellationToken,
}

impl Office {
    fn new(signals: &[&str]) -> Self {
        let (metrics, mut server) = (Metrics::default(), Script::default());
        for name in signals {
            server.put(&json!({
                "apiVersion": "stormfold.dev/v1alpha1", "kind": "Signal",
                "metadata": { "namespace": "prod", "name": name }, "spec": { "name": "X", "table": "firing - - -" },
            }));
        }
        Self {
            board: Arc::new(Board::new(Readiness::default().open_gate("receipts"), metrics.clone())),
            server,
            metrics,
            stop: CancellationToken::new(),
        }
    }

    fn begin(&self) {
        tokio::spawn(write_receipts(self.board.clone(), self.server.client(), || at(60), self.stop.clone()));
    }

    async fn expect(&mut self, calls: Vec<Expected>, time: Duration) {
        self.server.expect(calls, sleep(time)).await;
    }

    fn wrote(&self, result: WriteResult) -> u64 {
        self.metrics.writes.get_or_create(&WriteLabels { write: ApiWrite::Receipt, result }).get()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const LONG: Duration = Duration::from_mins(2);

// Section 4, E1: the object shows what a Signal brought before the Signal is told so.
#[tokio::test(start_paused = true)]
async fn a_receipt_is_written_only_after_a_publish_that_includes_its_signal() {
    let mut office = Office::new(&["a", "b"]);
    office.begin();
    office.board.owe(storm(), vec![receipt("a")]);
    office.server.silence(LONG).await;
    office.board.claim(storm());
    // Merged after the snapshot: not part of this publish.
    office.board.owe(storm(), vec![receipt("b")]);
    office.server.silence(LONG).await;
    office.board.release(storm());
    office.expect(vec![write("a")], LONG).await;
    assert_eq!(office.board.owed(storm()), 1);
    office.board.release(storm());
    office.server.silence(LONG).await;
    office.board.claim(storm());
    office.board.release(storm());
    office.expect(vec![write("b")], LONG).await;
    assert_eq!(office.board.owed(storm()), 0);
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
    office.board.write_now(receipt("a"));
    office.board.write_now(receipt("b"));
    office.board.write_now(rejected("bad"));
    office.begin();
    office.expect(vec![write("bad"), write("a"), write("b")], LONG).await;
    assert_eq!(office.metrics.owed_receipts.get(), 0);
}

// Deleted, or another object of that name: there is nobody left to tell.
#[rstest]
#[case(404)]
#[case(409)]
#[tokio::test(start_paused = true)]
async fn a_receipt_of_a_signal_that_is_gone_ends_quietly(#[case] code: u16) {
    let mut office = Office::new(&["a"]);
    office.begin();
    office.board.owe(storm(), vec![receipt("a")]);
    office.board.claim(storm());
    office.board.release(storm());
    office.expect(vec![write("a").fails(code)], LONG).await;
    assert_eq!((office.board.owed(storm()), office.metrics.owed_receipts.get()), (0, 0));
    assert_eq!((office.wrote(WriteResult::Gone), office.wrote(WriteResult::Failed)), (1, 0));
}

// A13, E1, invariants 10 and 13: owed until it lands, so that the storm cannot close before.
#[tokio::test(start_paused = true)]
async fn a_failed_receipt_is_repeated_with_a_back_off_until_it_lands() {
    let mut office = Office::new(&["a"]);
    office.begin();
    let began = Instant::now();
    office.board.owe(storm(), vec![receipt("a")]);
    office.board.claim(storm());
    office.board.release(storm());
    let faults = vec![write("a").fails(500), write("a").silent(), write("a").fails(403), write("a").fails(429)];
    office.expect(faults, Duration::from_secs(16)).await;
    assert_eq!(office.board.owed(storm()), 1);
    office.expect(vec![write("a")], LONG).await;
    assert_eq!(office.board.owed(storm()), 0);
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
    office.board.merged_something();
    office.begin();
    let (board, stop) = (office.board.clone(), office.stop.clone());
    tokio::spawn(async move {
        while !stop.is_cancelled() {
            board.merged_something();
            sleep(Duration::from_millis(100)).await;
        }
    });
    office.board.write_now(receipt("a"));
    office.board.write_now(rejected("bad"));
    office.expect(vec![write("bad")], Duration::from_millis(14_900)).await;
    office.expect(vec![write("a")], Duration::from_millis(600)).await;
}

#[tokio::test(start_paused = true)]
async fn receipts_are_written_when_a_burst_is_over() {
    let mut office = Office::new(&["a"]);
    office.begin();
    office.board.merged_something();
    office.board.write_now(receipt("a"));
    office.server.silence(Duration::from_millis(290)).await;
    office.expect(vec![write("a")], Duration::from_millis(100)).await;
}

// Invariant 1: what was merged into a ledger that was lost is merged again, and owed again.
#[tokio::test(start_paused = true)]
async fn receipts_of_what_no_object_shows_are_forgotten_with_the_ledger() {
    let mut office = Office::new(&["a", "b"]);
    office.board.owe(storm(), vec![receipt("a")]);
    office.board.claim(storm());
    office.board.release(storm());
    office.board.owe(storm(), vec![receipt("b")]);
    office.board.forget_unpublished();
    assert_eq!(office.board.owed(storm()), 1, "the first one is shown, and will be written");
    office.begin();
    office.expect(vec![write("a")], Duration::from_mins(1)).await;
    office.board.owe(storm(), vec![receipt("b")]);
    assert_eq!(office.board.owed(storm()), 1, "its Signal was read again");
}

// Invariant 1: the end of a storm comes after the receipts of the Signals that it holds, whoever counted them.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_storm_waits_for_the_receipts_of_what_it_holds() {
    let mut office = Office::new(&["a"]);
    office.board.write_for(storm(), receipt("a"));
    office.board.write_for(storm(), receipt("a"));
    assert_eq!(office.board.owed(storm()), 1);
    office.begin();
    office.expect(vec![write("a")], Duration::from_mins(1)).await;
    assert_eq!(office.board.owed(storm()), 0);
}
