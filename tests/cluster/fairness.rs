//! What one tenant does to himself costs others a turn (invariant 21).

use std::time::Instant;

use futures::stream::{self, StreamExt as _};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;
use stormfold::api::Severity;

use super::operator::Operator;
use super::policies::PolicyOf;
use super::signals::firing;
use super::wait::eventually;
use super::world::{World, is_open};

/// Alert names of one tenant that begin at once.
const FLOOD: usize = 1_500;
/// Requests that are deleted one after the other.
const ROUNDS: usize = 5;

// R5: a tenant deletes a request again and again, each time with a Signal in it that it did not show. What was deleted is read again in his
// namespace; the Signals of everybody are listed at the start, and never again.
#[tokio::test]
async fn a_request_that_is_deleted_again_and_again_makes_its_namespace_be_read_and_no_other() {
    let world = World::new("fair-deleting").await;
    let policy = PolicyOf::create(&world, json!({ "publishInterval": "2s" })).await;
    let operator = Operator::start(&[&world], &[]).await;
    let merged = "stormfold_occurrences_total{result=\"Merged\"}";
    for n in 0..ROUNDS {
        // The second round finds the Signal that was not shown in the first: it opens the next storm.
        if n == 0 {
            world.create(&firing("Deleted", 0)).await;
        }
        world.one_open_storm("it is open", |storm| storm.alert_count == 1).await;
        let before = operator.metric(merged).await;
        world.create(&firing("Deleted", n + 1)).await;
        eventually("the next one is merged", || async {
            let now = operator.metric(merged).await;
            if now > before { Ok(()) } else { Err(format!("{now}")) }
        })
        .await;
        let storms = world.storms().await;
        world.requests().delete(&storms[0].name_any(), &DeleteParams::default()).await.unwrap();
        eventually("it is forgotten", || async {
            let told = operator.log_text().matches("the storm is forgotten").count();
            if told == n + 1 { Ok(()) } else { Err(format!("{told} are forgotten")) }
        })
        .await;
    }
    world.one_open_storm("what no request showed is counted, once", |storm| storm.alert_count == 1).await;
    world.receipts(ROUNDS + 1).await;
    let read_again = operator.metric("stormfold_rereads_total{reason=\"RequestDeleted\"}").await;
    println!("{ROUNDS} requests deleted: the namespace was read again {read_again} times");
    assert!((1.0..=10.0).contains(&read_again), "{read_again}");
    assert_eq!(operator.metric("stormfold_relists_total").await, 1.0, "the one of the start");
    policy.delete().await;
}

// R11: 1,500 alert names of one tenant at once. The first request of another one waits for one turn, and not for the flood; and of
// the flood itself what is critical goes first.
#[tokio::test]
async fn the_first_request_of_a_tenant_waits_for_no_flood_of_another() {
    let world = World::new("fair-flood").await;
    let other = world.another_namespace("fair-flood-other").await;
    let operator = Operator::launch(&[&world, &other], &[]).await;
    operator.ready().await;
    operator.signal("STOP");
    let one = |n: usize| {
        let mut signal = firing(&format!("Flood{n}"), 1);
        signal.spec.severity = if n == FLOOD { Severity::Critical } else { Severity::Info };
        signal
    };
    stream::iter(1..=FLOOD)
        .for_each_concurrent(16, |n| {
            let (world, signal) = (&world, one(n));
            async move { drop(world.create(&signal).await) }
        })
        .await;
    other.create(&firing("Alone", 1)).await;
    let begun = Instant::now();
    operator.signal("CONT");
    other.one_storm("the other tenant's request", is_open).await;
    let (waited, before) = (begun.elapsed(), world.storms().await.len());
    println!("first request of the other tenant after {waited:?}; {before} of {FLOOD} of the flood were open by then");
    assert!(before < FLOOD / 4, "{before} of the flood came first");
    let critical = format!("Flood{FLOOD} in {}", world.namespace);
    eventually("the critical one", || async {
        let storms = world.storms().await;
        let open = storms.iter().any(|storm| storm.spec.pattern == critical);
        assert!(open || storms.len() < FLOOD / 2, "it waits behind {} that are not", storms.len());
        if open { Ok(()) } else { Err(format!("{} are open", storms.len())) }
    })
    .await;
    eventually("all of the flood is open", || async {
        let open = world.storms().await.len();
        if open == FLOOD { Ok(()) } else { Err(format!("{open} of {FLOOD}")) }
    })
    .await;
    println!("all of it after {:?}", begun.elapsed());
}
