//! Replicas: one works, the others stand by, and whoever comes next counts exactly.

use std::time::{Duration, Instant};

use super::operator::Operator;
use super::signals::table;
use super::wait::eventually;
use super::world::World;

const FLAGS: [&str; 2] = ["--leader-elect", "--namespace=stormfold-system"];

/// Waits until one of these leads; gives the index of it, and how long it took.
async fn leader(replicas: &[Operator]) -> (usize, Duration) {
    let began = Instant::now();
    let index = eventually("one replica leads", || async {
        let mut leading = Vec::new();
        for (index, replica) in replicas.iter().enumerate() {
            if replica.metric("stormfold_leading").await > 0.0 {
                leading.push(index);
            }
        }
        assert!(leading.len() < 2, "two lead: {leading:?}");
        leading.pop().ok_or_else(|| "none leads".to_owned())
    })
    .await;
    (index, began.elapsed())
}

// C7, C8. In one test: there is one Lease in the operator's namespace, and others have to be let alone.
#[tokio::test]
async fn of_replicas_one_works_and_the_next_one_goes_on_with_exact_counts() {
    let world = World::new("leading").await;
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Operator::start(&[&world], &FLAGS).await);
    }
    let mut total = 0;
    let mut bring = async |name: &str| {
        // Half of it is what came before.
        world.create(&table(name, "Led", total..total + 20)).await;
        total += 10;
        let expected = i64::try_from(total + 10).unwrap();
        world.one_storm("all is counted", |storm| storm.alert_count == expected).await;
    };
    let (index, _) = leader(&replicas).await;
    bring("first").await;
    assert!(replicas.remove(index).sigterm().success());
    let (index, released) = leader(&replicas).await;
    bring("second").await;
    replicas.remove(index).sigkill();
    let (_, expired) = leader(&replicas).await;
    bring("third").await;
    println!("leading: after SIGTERM {released:?}, after SIGKILL {expired:?}");
    // Released, it is taken with the next look; not released, when it has expired, and not before.
    assert!(released < expired, "{released:?} {expired:?}");
}
