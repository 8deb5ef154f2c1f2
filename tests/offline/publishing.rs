//! Publishing, call by call: opening, meeting other writers, objects deleted by hand, a ledger that lost its memory.

use std::time::Duration;

use serde_json::json;
use stormfold::api::RemediationRequest;
use stormfold::cluster::request_of;
use stormfold::ledger::{Ledger, Merge};
use stormfold::metrics::{ApiWrite, DispositionLabel, WriteResult};
use stormfold::storm::Past;
use stormfold::storm::decide::LedgerView;
use stormfold::storm::name::storm_name;
use stormfold_core::engine::effect::Next;
use stormfold_core::engine::resync::{RereadReason, ResyncReason};

use crate::press::{EPOCH, Press, apply, at, create, get, path, storm};
use crate::script::Call;

fn is_an_apply_of_what_was_decided_on(call: &Call) {
    assert_eq!(call.content_type, "application/apply-patch+yaml");
    assert!(call.query.contains("fieldManager=stormfold"), "{call}");
    assert_eq!(call.body["metadata"]["resourceVersion"], "101", "{call}");
    assert!(call.body["metadata"]["uid"].as_str().unwrap().starts_with("uid-of-storm-"), "{call}");
}

// A4, A12: one object from the first alert on; the threshold is only a condition of it. Invariant 5.
#[tokio::test(start_paused = true)]
async fn the_first_signal_of_a_storm_gives_its_remediationrequest_at_once() {
    let mut press = Press::with(&[1]).await;
    let receipts = press.receipts.clone();
    let create = create().check(|call| {
        let spec = &call.body["spec"];
        assert_eq!(spec["pattern"], "HighMemoryUsage in prod");
        assert_eq!(spec["stormKey"], storm().key.to_hex());
        assert_eq!(spec["epoch"], EPOCH);
        assert_eq!(spec.get("previousRef"), None);
        assert!(call.query.contains("fieldManager=stormfold"), "{call}");
    });
    let apply = apply(storm()).check(move |call| {
        is_an_apply_of_what_was_decided_on(call);
        let shown = &call.body["status"]["storm"];
        assert_eq!((&shown["state"], &shown["alertCount"], &shown["revision"]), (&json!("Open"), &json!(1), &json!(1)));
        assert_eq!(call.body["status"]["conditions"][0]["status"], "False", "one alert is no storm yet");
        assert_eq!(receipts.released(), 0, "a receipt before the publish");
    });
    let next = press.run(storm(), vec![create, apply]).await;
    assert!(matches!(next, Next::Published(..)), "{next:?}");
    assert!(press.receipts.released() > 0);
    assert!(!press.is_dirty(storm()).await);
}

// Invariant 14.
#[tokio::test(start_paused = true)]
async fn no_update_of_ours_triggers_itself_and_equal_state_is_never_written() {
    let mut press = Press::published(&[1]).await;
    press.watch_catches_up(storm());
    for _ in 0..3 {
        assert!(matches!(press.run(storm(), vec![]).await, Next::After(_)));
    }
    // A repeat of what the storm holds is equal state, too (A27).
    press.merge("prod", &[1], 0).await;
    assert!(matches!(press.run(storm(), vec![]).await, Next::After(_)));
}

// C7, C10: the name is the lock: two creators make one object. Invariant 4.
#[tokio::test(start_paused = true)]
async fn one_stormkey_has_at_most_one_open_remediationrequest_whoever_races_to_create_it() {
    let mut other = Press::with(&[1]).await;
    other.run(storm(), vec![create(), apply(storm()).fails(503)]).await;
    let mut press = Press::with(&[2]).await;
    press.server.put(&other.server.object(&path("prod", storm())));
    let next = press.run(storm(), vec![create(), get(storm()), apply(storm())]).await;
    assert!(matches!(next, Next::Published(..)), "{next:?}");
    assert_eq!(press.writes(ApiWrite::Create, WriteResult::Done), 0, "it was not ours");
}

// Invariant 13: a create that came to nothing is counted, also where the object that has the name cannot be read.
#[tokio::test(start_paused = true)]
async fn a_create_that_is_refused_and_meets_nobody_counts_as_failed() {
    let unread = vec![create().fails(409), get(storm()).fails(503)];
    // A conflict is decided once more at once.
    let gone = vec![create().fails(409), get(storm()), get(storm()), create().fails(409), get(storm())];
    for (calls, failures) in [(unread, 1), (gone, 2)] {
        let mut press = Press::with(&[1]).await;
        assert_eq!(press.run(storm(), calls).await, Next::Failed);
        assert_eq!(press.writes(ApiWrite::Create, WriteResult::Failed), failures);
    }
}

// E1: the answer to a create may be lost although the object was made.
#[tokio::test(start_paused = true)]
async fn a_create_whose_answer_was_lost_is_not_made_twice() {
    let mut press = Press::with(&[1]).await;
    assert_eq!(press.run(storm(), vec![create().silent()]).await, Next::Failed);
    let mut other = Press::published(&[1]).await;
    press.server.put(&other.watch_catches_up(storm()));
    assert!(matches!(press.run(storm(), vec![create(), get(storm())]).await, Next::After(_)), "it shows all there is");
    assert!(!press.is_dirty(storm()).await);
    other.server.silence(Duration::from_mins(1)).await;
}

// A12, invariant 3: decided on an old object: read it, decide again, at once.
#[tokio::test(start_paused = true)]
async fn a_conflict_is_answered_by_reading_and_deciding_again_at_once() {
    let mut press = Press::published(&[1]).await;
    let mut newer = press.server.object(&path("prod", storm()));
    newer["metadata"]["resourceVersion"] = json!("900");
    newer["status"]["remediation"] = json!({ "startedAt": "2023-11-14T22:13:20Z" });
    press.server.put(&newer);
    press.merge("prod", &[2], 1).await;
    let again = apply(storm()).check(|call| assert_eq!(call.body["metadata"]["resourceVersion"], "900"));
    let next = press.run(storm(), vec![apply(storm()), get(storm()), again]).await;
    assert!(matches!(next, Next::Published(..)), "{next:?}");
    assert_eq!(press.shown(storm())["alertCount"], 2);
    assert_eq!(press.failures(DispositionLabel::Conflict), 1);
}

// Invariant 3: one immediate retry, then the back-off: two writers must not race without end.
#[tokio::test(start_paused = true)]
async fn a_second_conflict_in_one_run_backs_off() {
    let mut press = Press::published(&[1]).await;
    press.merge("prod", &[2], 1).await;
    let calls = vec![apply(storm()).fails(409), get(storm()), apply(storm()).fails(409)];
    assert_eq!(press.run(storm(), calls).await, Next::Failed);
    assert!(press.is_dirty(storm()).await);
    assert!(matches!(press.run(storm(), vec![apply(storm())]).await, Next::Published(..)));
}

// A12: merges gave 7 and 8; the writer of 7 comes last, with an old view.
#[tokio::test(start_paused = true)]
async fn a_published_projection_never_regresses_and_at_rest_it_equals_the_ledger() {
    let mut ahead = Press::published(&[1, 2, 3, 4, 5, 6, 7, 8]).await;
    let mut behind = Press::published(&[1, 2, 3, 4, 5, 6]).await;
    let mut newer = ahead.watch_catches_up(storm());
    newer.metadata.resource_version = Some("900".into());
    behind.server.put(&newer);
    behind.merge("prod", &[7], 0).await;
    let next = behind.run(storm(), vec![apply(storm()), get(storm())]).await;
    assert!(matches!(next, Next::After(_)), "{next:?}");
    assert_eq!(behind.shown(storm())["alertCount"], 8);
    ahead.server.silence(Duration::from_mins(1)).await;
}

// D2, D4, invariant 8: after the loss of a ledger the object tells what the storm was; nothing in it goes down.
#[tokio::test(start_paused = true)]
async fn a_ledger_that_lost_its_memory_lowers_nothing() {
    let mut before = Press::published(&[1, 2, 3, 4, 5, 6, 7, 8]).await;
    let mut press = Press::default();
    press.server.put(&before.server.object(&path("prod", storm())));
    press.watch_catches_up(storm());
    press.bring(&[8], 30).await;
    let next = press.run(storm(), vec![apply(storm())]).await;
    assert!(matches!(next, Next::Published(..)), "{next:?}");
    let (old, new) = (before.shown(storm()), press.shown(storm()));
    for field in ["alertCount", "firingCount", "affectedCount", "affectedResources", "severity", "firstSeen"] {
        assert_eq!(old[field], new[field], "{field}");
    }
    assert!(new["lastSeen"].as_str() > old["lastSeen"].as_str());
    before.server.silence(Duration::from_secs(1)).await;
}

// D4, D5: while the first list is read, the ledger knows less than the cluster; what is shown stays as it is.
// E12: nothing is decided on a list that is still being read.
#[tokio::test(start_paused = true)]
async fn what_the_cluster_shows_is_not_written_before_the_first_list_is_complete() {
    let mut press = Press::published(&[1]).await;
    press.list_begins();
    press.merge("prod", &[2], 30).await;
    assert_eq!(press.run(storm(), vec![]).await, Next::Done);
    assert!(press.list_ends().contains(&storm()), "the end of the list asks for it");
    assert!(matches!(press.run(storm(), vec![apply(storm())]).await, Next::Published(..)));
}

// C17, invariant 9.
#[tokio::test(start_paused = true)]
async fn a_storm_that_is_open_in_the_cluster_but_unknown_to_the_ledger_is_adopted_not_doubled() {
    let mut before = Press::published(&[1, 2]).await;
    let mut press = Press::default();
    press.server.put(&before.watch_catches_up(storm()));
    press.watch_catches_up(storm());
    assert!(matches!(press.run(storm(), vec![]).await, Next::After(_)));
    assert!(matches!(press.view(storm()).await, LedgerView::Open { metadata: None, .. }));
    assert!(matches!(press.merge("prod", &[3], 0).await, Merge::Joined { epoch: EPOCH, .. }));
    before.server.silence(Duration::from_secs(1)).await;
}

async fn is_forgotten(press: &mut Press) {
    let over = vec![vec![(0, Past::Over)]];
    let held = Merge::NotOpen { opens: vec![false], held: over, last: Some(EPOCH) };
    assert_eq!(press.merge("prod", &[1], 0).await, held, "delivered again, it opens nothing");
    assert!(matches!(press.merge("prod", &[2], 60).await, Merge::NotOpen { opens, .. } if opens == [true]));
    assert_eq!(press.run(storm(), vec![]).await, Next::Done);
}

// C16, C17, invariant 8: gone from the cache is a hint, gone by an uncached read is a fact.
#[tokio::test(start_paused = true)]
async fn a_remediationrequest_deleted_by_hand_is_a_storm_forgotten() {
    let mut press = Press::published(&[1]).await;
    press.server.remove(&path("prod", storm()));
    press.engine().remove(storm());
    press.owe(storm());
    assert_eq!(press.run(storm(), vec![get(storm())]).await, Next::Done);
    assert_eq!(press.receipts.released(), 2, "what it held counts as handled");
    is_forgotten(&mut press).await;
}

// C16: the deletion is met by a write, before the watch told of it.
#[tokio::test(start_paused = true)]
async fn a_deletion_that_a_write_meets_is_a_storm_forgotten_too() {
    let mut press = Press::published(&[1]).await;
    press.server.remove(&path("prod", storm()));
    press.merge("prod", &[1], 30).await;
    assert_eq!(press.run(storm(), vec![apply(storm()), get(storm())]).await, Next::Done);
    assert_eq!(press.receipts.released(), 2, "what it held counts as handled");
    is_forgotten(&mut press).await;
}

// Invariants 8 and 10: what joined since the last publish was shown to nobody, so nobody has handled it.
#[tokio::test(start_paused = true)]
async fn what_no_object_showed_is_read_again_when_the_object_is_deleted() {
    let mut press = Press::published(&[1]).await;
    press.server.remove(&path("prod", storm()));
    press.merge("prod", &[1, 2], 30).await;
    assert_eq!(press.run(storm(), vec![apply(storm()), get(storm())]).await, Next::Done);
    assert_eq!(press.wants_reread(), Some(RereadReason::RequestDeleted), "the Signals are read again");
    assert_eq!((press.receipts.released(), press.receipts.abandoned()), (1, 2), "and get their receipts then");
    is_forgotten(&mut press).await;
}

// Who may create objects in one namespace has no say in the storms of another, nor in where a key's epochs stand.
#[tokio::test(start_paused = true)]
async fn an_object_that_is_not_what_we_would_have_written_belongs_to_no_storm() {
    let mut press = Press::published(&[1]).await;
    let ours = press.watch_catches_up(storm());
    let put = |change: fn(&mut RemediationRequest)| {
        let mut object = ours.clone();
        change(&mut object);
        request_of(&object).map(|request| request.id)
    };
    assert_eq!(put(|_| {}), Some(storm()));
    assert_eq!(put(|object| object.metadata.namespace = Some("evil".into())), None);
    assert_eq!(put(|object| object.metadata.name = Some("another".into())), None);
    assert_eq!(put(|object| object.spec.pattern = "Y in prod".into()), None);
    assert_eq!(put(|object| object.spec.epoch += 1), None);
    assert_eq!(put(|object| object.spec.epoch = i64::MAX), None);
    let far = |object: &mut RemediationRequest| {
        object.metadata.creation_timestamp = Some(at(0).into());
        object.spec.epoch += 100_000;
        object.metadata.name = Some(storm_name(&object.spec.pattern, object.spec.epoch));
    };
    assert_eq!(put(far), None);
}

// C10, C17: a cache that lags does not end a storm.
#[tokio::test(start_paused = true)]
async fn an_object_that_only_the_cache_has_lost_is_not_forgotten() {
    let mut press = Press::published(&[1]).await;
    press.engine().remove(storm());
    assert!(matches!(press.run(storm(), vec![get(storm())]).await, Next::After(_)));
    assert!(matches!(press.view(storm()).await, LedgerView::Open { .. }));
    press.engine().remove(storm());
    assert_eq!(press.run(storm(), vec![get(storm()).fails(503)]).await, Next::Failed);
    assert!(matches!(press.view(storm()).await, LedgerView::Open { .. }));
}

// C10, C17: without a name there is no uncached read, so there is no fact to act on.
#[tokio::test(start_paused = true)]
async fn a_storm_whose_object_cannot_be_looked_up_is_not_forgotten() {
    let mut press = Press::with(&[1]).await;
    press.ledger.mark_published(storm()).await.unwrap();
    press.engine().remove_opening(storm());
    assert_eq!(press.run(storm(), vec![]).await, Next::Failed);
    assert!(matches!(press.view(storm()).await, LedgerView::Open { .. }));
    assert_eq!(press.wants_list(), Some(ResyncReason::OpeningUnknown));
}

// Invariant 8: a ledger that has lost something is told everything again, before it can end what it does not know.
#[tokio::test(start_paused = true)]
async fn a_storm_that_the_ledger_knows_less_of_than_it_did_waits_until_all_signals_were_read_again() {
    let mut press = Press::published(&[1, 2, 3]).await;
    press.ledger.drop_storm(storm()).await.unwrap();
    press.ledger.open(storm(), "HighLoad in prod", at(0)).await.unwrap();
    press.merge("prod", &[1], 0).await;
    assert_eq!(press.run(storm(), vec![]).await, Next::Done);
    assert_eq!(press.wants_list(), Some(ResyncReason::LedgerBehind));
    assert_eq!(press.run(storm(), vec![]).await, Next::Done, "they are being read");
    // The Signals of 2 and 3 are gone for good: what is shown stays, and the storm goes on.
    press.list_begins();
    assert!(press.list_ends().contains(&storm()), "the end of the list asks for it");
    press.merge("prod", &[4, 5, 6, 7], 30).await;
    assert!(matches!(press.run(storm(), vec![apply(storm())]).await, Next::Published(..)));
    assert_eq!(press.shown(storm())["alertCount"], 5);
}
