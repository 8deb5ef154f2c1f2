//! What each ledger does with time, races and its own keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;
use stormfold::ledger::memory::MemoryLedger;
use stormfold::ledger::{Ledger, Merge, Moment};
use stormfold::storm::{Observation, StormId};

use super::{Key, now, redis_ledger};
use crate::redis_server::RedisServer;

// A3: of two openers of one key, exactly one opens, and the step itself tells.
async fn of_many_openers_one_opens(ledgers: &[Arc<dyn Ledger>]) {
    let key = Key::another();
    let open = |n: i64| {
        let ledger = ledgers.iter().cycle().nth(usize::try_from(n).unwrap()).unwrap().clone();
        let id = StormId { key: key.key, epoch: 100 + n };
        tokio::spawn(async move { ledger.open(id, "X in prod", now(0)).await })
    };
    let mut epochs = BTreeSet::new();
    for opener in (0..16).map(open).collect::<Vec<_>>() {
        epochs.insert(opener.await.unwrap().unwrap().unwrap());
    }
    assert_eq!(epochs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_openers_one_opens_and_all_learn_the_same_epoch() {
    of_many_openers_one_opens(&[Arc::new(MemoryLedger::default())]).await;
    let server = RedisServer::start(&[]);
    of_many_openers_one_opens(&[redis_ledger(&server).await, redis_ledger(&server).await]).await;
}

// C13 and the dedup horizon of the policy: a repeat within it is known, and renews it; one horizon and one span of two hours after the last one the
// occurrence is new.
async fn a_closed_storm_holds_its_occurrences(ledger: &dyn Ledger) {
    let hour = 3600;
    for horizon in [2, 6, 24] {
        let key = Key::another();
        let dedup_horizon = SignedDuration::from_hours(horizon);
        ledger.hold(key.key, Some(7), &[1], Moment { now: now(0), horizon: dedup_horizon }).await.unwrap();
        let opens = async |at: i64| {
            let batch = [(key.key, vec![Observation { dedup_horizon, ..key.signal(&[(1, true)]) }])];
            match ledger.merge(&batch, now(at)).await.unwrap().remove(0) {
                Merge::NotOpen { opens, .. } => opens[0],
                other => panic!("no storm is open: {other:?}"),
            }
        };
        for repeat in 1..5 {
            assert!(!opens(horizon * hour * repeat).await, "repeat {repeat} at a horizon of {horizon} h");
        }
        assert!(opens((horizon * 5 + 2) * hour + 1).await, "after a horizon of {horizon} h");
    }
}

#[tokio::test]
async fn a_closed_storm_holds_its_occurrences_for_the_dedup_horizon_after_the_last_repeat() {
    a_closed_storm_holds_its_occurrences(&MemoryLedger::default()).await;
    let server = RedisServer::start(&[]);
    a_closed_storm_holds_its_occurrences(redis_ledger(&server).await.as_ref()).await;
}
