//! Replicas: one works, the others stand by, and whoever comes next counts exactly.
//!
//! `make replicas` plays more of it, and prints how long each takeover took.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::operator::{Operator, metric};
use super::replicas::{LEASE, Replicas};
use super::signals::firing;
use super::wait::eventually;
use super::world::{World, facts};

/// Beyond what must be, on a machine that does three other things at the same time.
const SLACK: Duration = Duration::from_secs(10);

/// How many leaders are killed, every other one by SIGTERM.
fn takeovers() -> usize {
    std::env::var("STORMFOLD_TAKEOVERS").map_or(20, |count| count.parse().expect("a number"))
}

/// Durations in order, for people.
fn told(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let millis: Vec<_> = times.iter().map(Duration::as_millis).collect();
    println!("leading: {what}: {millis:?} ms");
}

// C7, C8, D5: a leader that is killed is followed within the Lease, one that is told to stop at once; nothing is lost or doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_are_killed_in_the_middle_of_a_storm_and_the_next_one_goes_on_with_exact_counts() {
    const PER_ROUND: usize = 16;
    let world = World::new("leading").await;
    let mut replicas = Replicas::start(&world, &[]).await;
    let (mut killed, mut stopped) = (Vec::new(), Vec::new());
    for round in 0..takeovers() {
        let leader = replicas.take_leader().await;
        // Half of it comes before the end of this leader, half of it after: nothing waits for the other.
        let (first, middle, end) = (round * PER_ROUND, round * PER_ROUND + PER_ROUND / 2, (round + 1) * PER_ROUND);
        for n in first..middle {
            world.create(&firing("Led", n)).await;
        }
        let began = Instant::now();
        let by_kill = round % 2 == 0;
        if by_kill {
            leader.sigkill();
        } else {
            let before = holder(&world).await;
            assert!(leader.sigterm().success());
            assert_ne!(holder(&world).await, before, "told to stop, it has given its Lease back when it ends");
        }
        for n in middle..end {
            world.create(&firing("Led", n)).await;
        }
        let expected = i64::try_from(end).unwrap();
        world.one_storm(&format!("{expected} are counted"), |storm| storm.alert_count == expected).await;
        if by_kill { &mut killed } else { &mut stopped }.push(began.elapsed());
        replicas.add().await;
    }
    let total = takeovers() * PER_ROUND;
    let object = world.one_storm("all of them fire", |storm| storm.firing_count == storm.alert_count).await;
    assert_eq!(facts(&object).unwrap().affected_count, i64::try_from(total).unwrap());
    world.receipts(total).await;
    assert!(killed.iter().all(|time| *time < LEASE + SLACK), "{killed:?}");
    assert!(stopped.iter().all(|time| *time < SLACK), "{stopped:?}");
    told(&format!("after SIGKILL, with a Lease of {} s", LEASE.as_secs()), killed);
    told("after SIGTERM", stopped);
    println!("leading: {} of the replicas lost the Lease by themselves", replicas.gave_up);
}

/// When a replica was first and last seen to have written.
#[derive(Clone, Copy, Debug)]
struct Writing {
    first: Instant,
    last: Instant,
}

/// Looks at the writes of one replica until it ends.
fn observe(replica: &Operator, writing: &Arc<Mutex<BTreeMap<u32, Writing>>>) -> JoinHandle<()> {
    let (address, pid, writing) = (replica.admin().unwrap(), replica.pid(), writing.clone());
    tokio::spawn(async move {
        let mut before = 0.0;
        // A page of a process that is stopped does not come: it is asked for until the process goes on, or ends.
        while let Ok(writes) = metric(&address, "stormfold_api_writes_total{").await {
            if writes > before {
                let now = Instant::now();
                writing.lock().unwrap().entry(pid).or_insert(Writing { first: now, last: now }).last = now;
            }
            before = writes;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

/// One Signal every 25 ms until `stop`; gives how many. Each is taken by the API server before it ends: one on its way could come after it.
fn load(world: &World, stop: CancellationToken) -> JoinHandle<usize> {
    let signals = world.signals();
    tokio::spawn(async move {
        let mut written = 0;
        while stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(25))).await.is_some() {
            let signal = firing("Twice", written);
            signals.create(&PostParams::default(), &signal).await.expect("the API server takes the Signal");
            written += 1;
        }
        written
    })
}

async fn holder(world: &World) -> String {
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), &world.namespace);
    let lease = leases.get("stormfold").await.unwrap();
    lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default()
}

// C8, invariant 3: a leader that is suspended for longer than its Lease wakes up as one of two. It ends at once, what it still writes
// lowers nothing, and the counts are exact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_sleeps_through_its_lease_is_never_a_second_writer_for_longer_than_a_lease() {
    let world = World::new("sleeping").await;
    let mut replicas = Replicas::start(&world, &[]).await;
    let mut old = replicas.take_leader().await;
    let writing = Arc::new(Mutex::new(BTreeMap::new()));
    for replica in replicas.running.iter().chain([&old]) {
        replica.ready().await;
        observe(replica, &writing);
    }
    let stop = CancellationToken::new();
    let load = load(&world, stop.clone());
    world.one_storm("the first leader works", |storm| storm.alert_count > 20).await;
    let held = holder(&world).await;
    old.signal("STOP");
    let slept = Instant::now();
    // The Lease says that another one leads, and the writes say that it works.
    eventually("another one writes", || async {
        let works = writing.lock().unwrap().len() > 1;
        let holder = holder(&world).await;
        if works && holder != held { Ok(()) } else { Err(format!("{holder} holds it, another writes: {works}")) }
    })
    .await;
    let taken = slept.elapsed();
    let seen = world.one_storm("there is one storm", |storm| storm.alert_count > 20).await;
    let woken = Instant::now();
    old.signal("CONT");
    let code = loop {
        if let Some(status) = old.ended() {
            break status.code();
        }
        assert!(woken.elapsed() < LEASE + SLACK, "it still runs");
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let overlap = woken.elapsed();
    assert_eq!(code, Some(1), "a lost Lease ends the process");
    stop.cancel();
    let written = load.await.unwrap();
    let there = world.signals().list(&kube::api::ListParams::default()).await.unwrap().items.len();
    assert_eq!(there, written);
    let expected = i64::try_from(written).unwrap();
    let object = world
        .one_storm(&format!("each of {expected} Signals counts once"), |storm| storm.alert_count == expected)
        .await;
    assert_eq!(facts(&object).unwrap().firing_count, expected);
    assert!(facts(&object).unwrap().revision >= facts(&seen).unwrap().revision);
    let writing = writing.lock().unwrap().clone();
    let (first, second) = (writing[&old.pid()], writing.iter().find(|(pid, _)| **pid != old.pid()).unwrap().1);
    let together = first.last.saturating_duration_since(second.first);
    // While it slept it wrote nothing: both could write from its waking to its end.
    println!(
        "leading: taken over after {taken:?}; two were awake for {overlap:?}, and were seen to write for {together:?}"
    );
    assert!(overlap < LEASE && together < LEASE, "{overlap:?} {together:?} {second:?}");
}
