//! A memory ledger that has no room for all that one tenant reports (row R8, invariant 21): his Signals wait, and say so; everybody else goes on.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::operator::Operator;
use super::signals::{firing, table};
use super::wait::eventually;
use super::world::{World, accepted, facts, is_open};

const SIGNALS: usize = 12;
const LINES: usize = 2_000;
/// Room for about two thirds of it.
const LIMIT: &str = "--ledger-memory-limit=1Mi";

/// How many Signals say what.
async fn told(world: &World) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for signal in world.signals().list(&ListParams::default()).await.unwrap().items {
        *told.entry(accepted(&signal).unwrap_or("nothing").to_owned()).or_default() += 1;
    }
    told
}

/// Waits until some Signals are merged and all others say that they wait for room, and the admin page says why.
async fn some_wait(world: &World, operator: &Operator) {
    eventually("some are merged, and the others say that they wait", || async {
        let told = told(world).await;
        let number = |reason: &str| told.get(reason).copied().unwrap_or_default();
        let (merged, waiting) = (number("Merged"), number("LedgerFull"));
        if merged > 0 && waiting > 0 && merged + waiting == SIGNALS { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    let (code, page) = operator.get("/readyz").await.unwrap();
    assert_eq!(code, 200, "one tenant's trouble is that tenant's: {page}");
    let says = format!(
        "ledger memory: Signals wait, and others are merged: the memory ledger is full: namespace {}",
        world.namespace
    );
    assert!(page.starts_with("ok\n") && page.contains(&says), "{page}");
    assert!(page.contains("raise --ledger-memory-limit") && page.contains("or use Redis"), "{page}");
    assert_eq!(operator.metric("stormfold_ledger_memory_waiting_namespaces").await, 1.0);
    let [used, limit] = ["used", "limit"].map(|what| format!("stormfold_ledger_memory_{what}_bytes"));
    let (used, limit) = (operator.metric(&used).await, operator.metric(&limit).await);
    assert!(limit == f64::from(1 << 20) && used > limit / 2.0 && used <= limit, "{used} of {limit}");
}

#[tokio::test]
async fn a_full_memory_ledger_makes_the_tenant_who_fills_it_wait_and_nobody_else() {
    let mut world = World::new("memory-flood").await;
    world.redis = None;
    let other = world.another_namespace("memory-other").await;
    let operator = Operator::start(&[&world, &other], &[LIMIT]).await;
    for n in 0..SIGNALS {
        world.create(&table(&format!("part-{n}"), "Flood", n * LINES..(n + 1) * LINES)).await;
    }
    some_wait(&world, &operator).await;
    let signals = world.signals().list(&ListParams::default()).await.unwrap().items;
    let waiting = signals.iter().find(|signal| accepted(signal) == Some("LedgerFull")).unwrap();
    let condition = &waiting.status.as_ref().unwrap().conditions[0];
    assert!(condition.status == "Unknown" && condition.message.contains("--ledger-memory-limit"), "{condition:?}");
    for n in 0..3 {
        other.create(&firing("Other", n)).await;
        other.one_storm("everybody else is served", |storm| storm.alert_count == i64::try_from(n + 1).unwrap()).await;
    }
    other.receipts(3).await;

    // A restart reads all of it into the same room.
    operator.sigkill();
    let operator = Operator::start(&[&world, &other], &[LIMIT]).await;
    some_wait(&world, &operator).await;
    other.create(&firing("Other", 3)).await;
    other.one_storm("also then", |storm| storm.alert_count == 4).await;

    // The storm ends: what is remembered of it takes less, and the rest opens a successor.
    let storm = world.one_storm("it is open", is_open).await;
    let close = json!({ "metadata": { "annotations": { "stormfold.dev/close": "true" } } });
    world.requests().patch(&storm.name_any(), &PatchParams::default(), &Patch::Merge(&close)).await.unwrap();
    eventually("all of it is counted once", || async {
        let storms = world.storms().await;
        let alerts: i64 = storms.iter().filter_map(facts).map(|storm| storm.alert_count).sum();
        let all = i64::try_from(SIGNALS * LINES).unwrap();
        assert!(alerts <= all, "counted twice: {alerts}");
        if alerts == all && storms.len() == 2 { Ok(()) } else { Err(format!("{alerts} of {all} in {}", storms.len())) }
    })
    .await;
    eventually("every Signal has its receipt, and nobody waits", || async {
        let (told, (_, page)) = (told(&world).await, operator.get("/readyz").await?);
        let waiting = operator.metric("stormfold_ledger_memory_waiting_namespaces").await;
        let done = told.get("Merged") == Some(&SIGNALS) && page == "ok\n" && waiting == 0.0;
        if done { Ok(()) } else { Err(format!("{told:?} {page} {waiting}")) }
    })
    .await;
}
