//! Endings, call by call: quiet, owed receipts, the final write, successors, and two open objects of one key.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rstest::rstest;
use stormfold::api::{Outcome, RemediationStatus};
use stormfold::metrics::{ApiWrite, WriteResult};
use stormfold::storm::decide::LedgerView;
use stormfold::storm::name::storm_name;
use stormfold_core::engine::effect::Next;
use stormfold_core::engine::resync::{RereadReason, ResyncReason};

use crate::press::{Press, apply, at, create, get, opening_in, path, storm, storm_in};
use crate::script::{Call, Expected};

/// The quiet period, in seconds.
const QUIET: i64 = 600;
const SHORTLY: Next = Next::After(Duration::from_millis(200));

fn closes_as(reason: &'static str) -> impl Fn(&Call) {
    move |call| {
        let shown = &call.body["status"]["storm"];
        assert_eq!((shown["state"].as_str(), shown["closeReason"].as_str()), (Some("Closed"), Some(reason)), "{call}");
        assert!(shown["closedAt"].is_string(), "{call}");
        let conditions = call.body["status"]["conditions"].as_array().unwrap();
        let closed = conditions.iter().find(|condition| condition["type"] == "Closed").unwrap();
        assert_eq!((closed["status"].as_str(), closed["reason"].as_str()), (Some("True"), Some(reason)));
    }
}

fn ending(reason: &'static str) -> Expected {
    apply(storm()).check(closes_as(reason))
}

// A16, A21, invariant 12: the boundary belongs to the storm; its end needs no timer, only a run after it.
#[tokio::test(start_paused = true)]
async fn a_quiet_storm_is_closed_strictly_after_the_quiet_period() {
    let mut press = Press::published(&[1]).await;
    press.set_clock(QUIET);
    assert_eq!(press.run(storm(), vec![]).await, Next::After(Duration::from_millis(1)));
    press.set_clock(QUIET + 1);
    assert_eq!(press.run(storm(), vec![ending("Quiet")]).await, Next::Done);
    assert_eq!(press.shown(storm())["alertCount"], 1);
}

// A14: a storm that never rests has a maximum age.
#[tokio::test(start_paused = true)]
async fn a_storm_without_rest_is_closed_at_its_maximum_age() {
    let mut press = Press::published(&[1]).await;
    let age = 6 * 3600 + 1;
    press.merge("prod", &[2], age).await;
    press.set_clock(age);
    // What is new is shown first, and the end is not due before that.
    assert_eq!(press.run(storm(), vec![apply(storm()), ending("MaxAge")]).await, Next::Done);
    assert_eq!(press.shown(storm())["alertCount"], 2);
}

// A20: a Signal without a receipt would open a successor after a restart: receipts come before the end.
#[tokio::test(start_paused = true)]
async fn the_end_is_written_after_the_last_owed_receipt() {
    let mut press = Press::published(&[1]).await;
    press.set_clock(QUIET + 1);
    press.owe(storm());
    press.receipts.slow.store(true, Ordering::Relaxed);
    assert_eq!(press.run(storm(), vec![]).await, SHORTLY);
    assert!(matches!(press.view(storm()).await, LedgerView::Closed { .. }));
    assert_eq!(press.run(storm(), vec![]).await, SHORTLY);
    press.answer_receipts();
    assert_eq!(press.run(storm(), vec![ending("Quiet")]).await, Next::Done);
}

// A13, invariant 10.
#[tokio::test(start_paused = true)]
async fn a_failed_final_write_is_repeated_until_it_lands() {
    let mut press = Press::published(&[1]).await;
    press.set_clock(QUIET + 1);
    for fault in [ending("Quiet").fails(503), ending("Quiet").silent(), ending("Quiet").fails(422)] {
        assert_eq!(press.run(storm(), vec![fault]).await, Next::Failed);
        assert_eq!(press.writes(ApiWrite::Close, WriteResult::Done), 0);
    }
    assert_eq!(press.run(storm(), vec![ending("Quiet")]).await, Next::Done);
    assert_eq!(press.writes(ApiWrite::Close, WriteResult::Done), 1);
}

// C16: deleted by hand between the two steps of a close: there is nothing left to write.
#[tokio::test(start_paused = true)]
async fn an_object_that_is_deleted_while_its_storm_closes_is_settled() {
    let mut press = Press::published(&[1]).await;
    press.set_clock(QUIET + 1);
    press.server.remove(&path("prod", storm()));
    assert_eq!(press.run(storm(), vec![apply(storm()), get(storm())]).await, Next::Done);
    assert_eq!(press.engine().store().of_key(storm().key).len(), 0);
    assert_eq!(press.writes(ApiWrite::Close, WriteResult::Gone), 1);
}

// C1, C2: the engine's outcome ends a storm, and its part of the status stays its own.
#[tokio::test(start_paused = true)]
async fn the_outcome_of_the_engine_closes_the_storm() {
    let mut press = Press::published(&[1]).await;
    let mut object = press.watch_catches_up(storm());
    let remediation = RemediationStatus { outcome: Some(Outcome::Succeeded), ..RemediationStatus::default() };
    object.status.as_mut().unwrap().remediation = Some(remediation);
    press.server.put(&object);
    press.watch_catches_up(storm());
    let ending = ending("RemediationFinished")
        .check(|call| assert_eq!(call.body["status"].get("remediation"), None, "not ours to write: {call}"));
    assert_eq!(press.run(storm(), vec![ending]).await, Next::Done);
}

// D5, invariant 12: the process ended between the two steps of a close; whoever meets the object finishes it.
#[tokio::test(start_paused = true)]
async fn a_restart_between_the_two_steps_of_a_close_leaves_nothing_open_for_ever() {
    let mut before = Press::published(&[1]).await;
    before.set_clock(QUIET + 1);
    before.run(storm(), vec![ending("Quiet").fails(503)]).await;
    let mut press = Press::default();
    press.server.put(&before.server.object(&path("prod", storm())));
    press.watch_catches_up(storm());
    press.set_clock(QUIET + 30);
    assert_eq!(press.run(storm(), vec![ending("Quiet")]).await, Next::Done);
}

// A17, invariant 4: a closed one is never reopened, by whatever the ledger says.
#[tokio::test(start_paused = true)]
async fn nothing_is_written_after_closed() {
    let mut press = Press::published(&[1]).await;
    press.set_clock(QUIET + 1);
    press.run(storm(), vec![ending("Quiet")]).await;
    press.watch_catches_up(storm());
    assert_eq!(press.run(storm(), vec![]).await, Next::Done);
    let mut wiped = Press::default();
    wiped.server.put(&press.server.object(&path("prod", storm())));
    wiped.watch_catches_up(storm());
    wiped.bring(&[2], 0).await;
    wiped.list_begins();
    assert_eq!(
        wiped.run(storm(), vec![]).await,
        Next::Done,
        "which storms are over was not known when this list began"
    );
    assert!(wiped.list_ends().contains(&storm()), "the end of the list asks for it");
    assert_eq!(wiped.run(storm(), vec![]).await, Next::Done, "first its Signals are read");
    assert_eq!(wiped.wants_list(), Some(ResyncReason::ClosedInCluster));
    assert_eq!(wiped.run(storm(), vec![]).await, Next::Done, "they are being read");
    assert!(
        matches!(wiped.view(storm()).await, LedgerView::Open { .. }),
        "a repeat joins it meanwhile, and opens nothing"
    );
    wiped.list_begins();
    assert!(wiped.list_ends().contains(&storm()), "the end of the list asks for it");
    assert_eq!(wiped.run(storm(), vec![]).await, Next::Done, "the ledger's storm lost its place");
    assert!(wiped.receipts.abandoned() > 0);
    assert_eq!(wiped.wants_reread(), Some(RereadReason::StormDropped));
    assert!(!matches!(wiped.view(storm()).await, LedgerView::Open { .. }));
}

// Invariants 1, 8: the ledger was wiped after the merge and before the first publish. Nobody was shown these Signals: a receipt would
// let the list that follows take them for handled.
#[tokio::test(start_paused = true)]
async fn a_storm_that_the_ledger_does_not_know_has_no_receipts_written() {
    let mut press = Press::default();
    press.owe(storm());
    assert_eq!(press.run(storm(), vec![]).await, Next::Done);
    assert_eq!(press.receipts.released(), 0);
    assert_eq!(press.wants_reread(), Some(RereadReason::ReceiptsDropped));
}

// Section 4: an end that is written before the list is complete comes before receipts that a process that died has owed.
#[tokio::test(start_paused = true)]
async fn no_end_is_written_before_the_list_of_signals_is_complete() {
    let mut press = Press::published(&[1]).await;
    press.set_clock(QUIET + 1);
    press.run(storm(), vec![ending("Quiet").fails(503)]).await;
    press.list_begins();
    assert_eq!(press.run(storm(), vec![]).await, Next::Done);
    assert!(press.list_ends().contains(&storm()), "the end of the list asks for it");
    assert_eq!(press.run(storm(), vec![ending("Quiet")]).await, Next::Done);
}

// Section 4: a storm closes only when the first list of this leader is complete.
#[tokio::test(start_paused = true)]
async fn silence_before_the_first_list_is_complete_ends_no_storm() {
    let mut press = Press::published(&[1]).await;
    press.list_begins();
    press.set_clock(QUIET + 1);
    assert_eq!(press.run(storm(), vec![]).await, Next::Done);
    assert!(matches!(press.view(storm()).await, LedgerView::Open { .. }));
}

// A17, A14, C2: same pattern again: a new object, after the old one shows its end, and with its name.
#[tokio::test(start_paused = true)]
async fn a_successor_waits_until_its_predecessor_shows_closed() {
    let mut press = Press::published(&[1]).await;
    let successor = storm_in("prod", QUIET + 1);
    press.set_clock(QUIET + 1);
    assert_eq!(press.run(storm(), vec![ending("Quiet").fails(503)]).await, Next::Failed);
    press.bring_to("prod", QUIET + 1, &[2], QUIET + 1).await;
    assert_eq!(press.run(successor, vec![]).await, SHORTLY);
    press.run(storm(), vec![ending("Quiet")]).await;
    let previous = storm_name(&opening_in("prod").pattern, storm().epoch);
    let create = create().check(move |call| assert_eq!(call.body["spec"]["previousRef"]["name"], *previous));
    let next = press.run(successor, vec![create, apply(successor)]).await;
    assert!(matches!(next, Next::Published(..)), "{next:?}");
    assert_eq!(press.shown(successor)["alertCount"], 1, "the successor counts what is new only");
}

/// Two open objects of one key in the cluster; the younger has a status or has not.
async fn two_open(with_status: bool) -> (Press, Press) {
    let mut older = Press::published(&[1]).await;
    let mut press = Press::default();
    press.bring_to("prod", 5, &[2], 5).await;
    let younger = storm_in("prod", 5);
    let status = if with_status { apply(younger) } else { apply(younger).fails(503) };
    press.run(younger, vec![create(), status]).await;
    press.owe(younger);
    press.server.put(&older.watch_catches_up(storm()));
    press.watch_catches_up(storm());
    (press, older)
}

// Invariant 4: overlapping leaders and a wiped ledger: the older stays, the younger is closed, its Signals are read again.
#[rstest]
#[case::with_facts(true)]
#[case::created_and_not_yet_written(false)]
#[tokio::test(start_paused = true)]
async fn of_two_open_objects_of_one_key_the_younger_is_closed_as_superseded(#[case] with_status: bool) {
    let (mut press, _older) = Box::pin(two_open(with_status)).await;
    let younger = storm_in("prod", 5);
    let superseded = apply(younger).check(closes_as("Superseded"));
    assert_eq!(press.run(younger, vec![]).await, Next::Done);
    assert!(press.receipts.abandoned() > 0);
    assert_eq!(press.wants_reread(), Some(RereadReason::StormDropped));
    assert_eq!(press.run(younger, vec![superseded]).await, Next::Done, "when they are read");
    assert!(matches!(press.run(storm(), vec![]).await, Next::After(_)), "the older is adopted and stays");
    assert!(matches!(press.view(storm()).await, LedgerView::Open { .. }));
    assert_eq!(press.run(younger, vec![]).await, Next::Done);
}

// Invariants 5, 12: created, then a crash before the first status; its Signals are gone. It must not stay open for ever, nor
// hold up its successor.
#[tokio::test(start_paused = true)]
async fn an_object_that_never_got_its_facts_is_closed_and_lets_its_successor_go() {
    let mut before = Press::with(&[1]).await;
    before.run(storm(), vec![create(), apply(storm()).fails(503)]).await;
    let mut press = Press::default();
    press.server.put(&before.server.object(&path("prod", storm())));
    press.watch_catches_up(storm());
    press.set_clock(QUIET + 1);
    assert_eq!(press.run(storm(), vec![ending("Quiet")]).await, Next::Done);
    assert_eq!(press.shown(storm())["alertCount"], 0);
    assert_eq!(press.shown(storm())["firstSeen"], at(0).to_string());
    let successor = storm_in("prod", QUIET + 1);
    press.bring_to("prod", QUIET + 1, &[2], QUIET + 1).await;
    assert!(matches!(press.run(successor, vec![create(), apply(successor)]).await, Next::Published(..)));
}
