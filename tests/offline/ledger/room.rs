//! A server that has less room than a chunk needs at once, and enough for what stays of it.

use stormfold::ledger::{Ledger, Merge};
use stormfold::storm::decide::LedgerView;
use stormfold::storm::{Observation, Report, StormId, StormKey};

use super::{Key, Said, now, redis_ledger};
use crate::redis_server::RedisServer;

const STORMS: usize = 10;
const OCCURRENCES: usize = 4_000;
/// In KiB. The texts of all storms are 8 MB, what stays when they are published 0.7 MB, and the largest command 0.9 MB.
const ROOM: usize = 2_560;

/// A Signal about resources with names of 200 characters.
fn signal(key: &Key) -> Observation {
    let report = |uid: i64| Report { uid, firing: true, resource: Some((uid, format!("Pod/{uid:0>200}").into())) };
    Observation { reports: (0..).map(report).take(OCCURRENCES).collect(), ..key.signal(&Said::at(1, &[(1, true)])) }
}

// Invariant 10: what was taken before the server was full is merged, and publishing it is all that the rest needs.
#[tokio::test]
async fn a_chunk_that_a_server_has_no_room_for_is_merged_storm_by_storm_as_publishing_makes_room() {
    let server = RedisServer::start(&[]);
    let ledger = redis_ledger(&server).await;
    let keys: Vec<Key> = (0..STORMS).map(|_| Key::another()).collect();
    let epoch = now(0).as_second();
    for key in &keys {
        ledger.open(StormId { key: key.key, epoch }, &key.pattern, now(0)).await.unwrap();
    }
    let limit = server.info("used_memory") + (ROOM << 10);
    server.command(&format!("CONFIG SET maxmemory {limit}")).unwrap();
    let mut pending: Vec<(StormKey, Vec<Observation>)> = keys.iter().map(|key| (key.key, vec![signal(key)])).collect();
    let mut rounds = 0;
    while !pending.is_empty() {
        let before = pending.len();
        let merges = ledger.merge(&pending, now(1)).await.unwrap();
        let (mut joined, mut full) = (Vec::new(), Vec::new());
        for ((key, _), merge) in pending.iter().zip(&merges) {
            match merge {
                Merge::Joined { new, .. } => joined.push((*key, new[0])),
                Merge::Full { why, .. } => {
                    assert!(why.contains("maxmemory"), "{why}");
                    full.push(*key);
                }
                other @ (Merge::NotOpen { .. } | Merge::NoRoom { .. }) => panic!("{other:?}"),
            }
        }
        assert!(rounds > 0 || !joined.is_empty() && !full.is_empty(), "some fit and some do not: {merges:?}");
        // What may have joined is published, whether or not all of it has.
        for key in joined.iter().map(|(key, _)| key).chain(&full) {
            publish(ledger.as_ref(), StormId { key: *key, epoch }).await;
        }
        pending.retain(|(key, _)| full.contains(key));
        rounds += 1;
        assert!(pending.len() < before, "publishing makes room for one storm more at least, {before} wait");
    }
    for key in &keys {
        let view = ledger.snapshot(StormId { key: key.key, epoch }).await.unwrap().view;
        let LedgerView::Open { metadata: Some(facts), .. } = view else { panic!("it is open: {view:?}") };
        assert_eq!((facts.alert_count, facts.firing, facts.affected_count), (OCCURRENCES, OCCURRENCES, OCCURRENCES));
    }
    assert!(server.info("used_memory") < limit, "what stays fits");
}

async fn publish(ledger: &dyn Ledger, id: StormId) {
    let snapshot = ledger.snapshot(id).await.unwrap();
    let is_clean = ledger.ack(id, &snapshot).await.unwrap();
    assert!(is_clean, "nothing came since: {snapshot:?}");
}
