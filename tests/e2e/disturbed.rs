//! Pods are replaced, killed and deleted in the middle of a storm; the counts stay exact. Situations C7, D3, D5 of docs/cases.md, as Kubernetes makes them.

use super::installation::Installation;
use super::storm::Storm;
use super::world::World;

/// What is installed, at rest, and a storm that has begun.
async fn storm(test: &str) -> (Installation, Storm) {
    let client = World::client().await;
    let installation = Installation::at_rest(&client).await;
    (installation, Storm::begin(test).await)
}

#[tokio::test]
async fn a_rolling_update_in_the_middle_of_a_storm_loses_and_doubles_nothing() {
    let (installation, storm) = storm("rolling").await;
    let leader = installation.leader().await;
    installation.restart("rolling").await;
    installation.rolled_out().await;
    installation.leader_other_than(&leader).await;
    storm.goes_on().await;
    storm.counts_exactly().await;
}

#[tokio::test]
async fn a_leader_whose_pod_is_taken_away_is_followed_by_another_with_exact_counts() {
    let (installation, storm) = storm("leader-gone").await;
    let leader = installation.leader().await;
    installation.delete_now(&leader).await;
    installation.leader_other_than(&leader).await;
    storm.goes_on().await;
    storm.counts_exactly().await;
}

#[tokio::test]
async fn a_leader_that_is_killed_on_its_node_and_started_again_leaves_exact_counts() {
    let (installation, storm) = storm("sigkill").await;
    let leader = installation.leader().await;
    installation.sigkill(&leader).await;
    storm.goes_on().await;
    storm.counts_exactly().await;
}

#[tokio::test]
async fn all_replicas_killed_at_once_come_back_and_count_what_came_meanwhile() {
    let (installation, storm) = storm("all-killed").await;
    let pods = installation.operators().await;
    let kills = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).map(|pod| installation.sigkill(pod));
    futures::future::join_all(kills).await;
    storm.goes_on().await;
    storm.counts_exactly().await;
}

#[tokio::test]
async fn a_redis_that_is_killed_and_reads_its_file_again_costs_no_count() {
    let (installation, storm) = storm("redis-killed").await;
    installation.sigkill_redis().await;
    storm.goes_on().await;
    storm.counts_exactly().await;
}

#[tokio::test]
async fn a_redis_whose_pod_and_data_are_deleted_costs_no_count() {
    let (installation, storm) = storm("redis-deleted").await;
    installation.lose_redis().await;
    storm.goes_on().await;
    storm.counts_exactly().await;
}
