//! The Lease: who leads, by compare-and-swap and our own clock. A scripted API server, and time that is virtual.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use stormfold::runtime::clock::Clock;
use stormfold::runtime::leader::{Election, LeaseDuration, Term};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::script::{Call, Expected, Script};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/home/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/home/leases/stormfold";

fn candidate(server: &Script) -> Election {
    let clock = Clock::new(|| Timestamp::from_second(1_800_000_000).unwrap());
    Election::new(server.client(), "home", "me".into(), LeaseDuration::default(), clock)
}

/// A Lease whose times are of 1970: nobody reads them.
fn lease(holder: &str, version: u64) -> Value {
    let time = "1970-01-01T00:00:00.000000Z";
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "stormfold", "namespace": "home", "resourceVersion": version.to_string() },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15, "acquireTime": time, "renewTime": time, "leaseTransitions": 4 },
    })
}

fn get(holder: &str, version: u64) -> Expected {
    Expected::new("GET", LEASE).gives(lease(holder, version))
}

/// A write of the Lease on this version of it.
fn replace(version: u64) -> Expected {
    Expected::new("PUT", LEASE).check(move |call: &Call| {
        assert_eq!(call.body["metadata"]["resourceVersion"], version.to_string(), "a compare-and-swap");
    })
}

fn taken(call: &Call) {
    assert_eq!(
        (&call.body["spec"]["holderIdentity"], &call.body["spec"]["leaseTransitions"]),
        (&json!("me"), &json!(5))
    );
}

/// A term that begins with version 8 of the Lease.
async fn term<'a>(server: &mut Script, election: &'a Election) -> Term<'a> {
    let calls = vec![get("", 7), replace(7).check(taken).gives(lease("me", 8))];
    server.expect(calls, election.win(&CancellationToken::new())).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_there_is_made() {
    let mut server = Script::default();
    let election = candidate(&server);
    let made = Expected::new("POST", LEASES).gives(lease("me", 1));
    let calls = vec![Expected::new("GET", LEASE).fails(404), made];
    assert!(server.expect(calls, election.win(&CancellationToken::new())).await.is_some());
}

// C8: taken over by whoever waited, and by time on one's own clock, however old the times in it are.
#[tokio::test(start_paused = true)]
async fn a_lease_expires_by_the_time_since_it_was_seen_to_change() {
    let mut server = Script::default();
    let election = candidate(&server);
    let began = Instant::now();
    // It changes once, after two seconds: 4 looks at version 1, and 30 at version 2.
    let mut calls: Vec<Expected> = (0..4).map(|_| get("other", 1)).collect();
    calls.extend((0..31).map(|_| get("other", 2)));
    calls.push(replace(2).check(taken).gives(lease("me", 3)));
    assert!(server.expect(calls, election.win(&CancellationToken::new())).await.is_some());
    assert_eq!(began.elapsed().as_secs(), 2 + 15);
}

// C7: of two candidates one wins: the API server refuses the other.
#[tokio::test(start_paused = true)]
async fn a_candidate_that_was_second_stands_by() {
    let mut server = Script::default();
    let election = candidate(&server);
    let stop = CancellationToken::new();
    let calls = vec![get("", 7), replace(7).fails(409), get("other", 8)];
    let wins = async {
        tokio::select! {
            term = election.win(&stop) => term.is_some(),
            () = tokio::time::sleep(Duration::from_millis(900)) => false,
        }
    };
    assert!(!server.expect(calls, wins).await);
}

#[tokio::test(start_paused = true)]
async fn a_leader_renews_until_it_cannot_for_ten_seconds() {
    let mut server = Script::default();
    let election = candidate(&server);
    let mut term = term(&mut server, &election).await;
    let began = Instant::now();
    let mut calls = vec![replace(8).gives(lease("me", 9)), replace(9).gives(lease("me", 10))];
    calls.extend((0..3).map(|_| replace(10).fails(500)));
    calls.push(replace(10).silent());
    let why = server.expect(calls, term.keep()).await;
    assert!(why.contains("could not be renewed for 10 s"), "{why}");
    // The last renewal that succeeded began after four seconds.
    assert_eq!(began.elapsed().as_secs(), 4 + 10);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_has_taken_is_lost_at_once_and_one_whose_answer_was_lost_is_not() {
    let mut server = Script::default();
    let election = candidate(&server);
    let mut term = term(&mut server, &election).await;
    let calls = vec![
        // Our own write of a moment ago, whose answer never came.
        replace(8).fails(409),
        get("me", 9),
        // What is seen to change is what others wait for: it is written once more.
        replace(9).gives(lease("me", 10)),
        replace(10).fails(409),
        get("other", 11),
    ];
    let why = server.expect(calls, term.keep()).await;
    assert!(why.contains("another replica has taken the Lease"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_lets_the_next_one_begin() {
    let mut server = Script::default();
    let election = candidate(&server);
    let term = term(&mut server, &election).await;
    let released = replace(8).check(|call: &Call| assert_eq!(call.body["spec"]["holderIdentity"], ""));
    server.expect(vec![released.gives(lease("", 9))], term.release()).await;
}

// Told to stop in the midst of a renewal, which the API server has taken all the same: what we have is not the Lease of now.
#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_in_the_midst_of_a_renewal_lets_the_next_one_begin_all_the_same() {
    let mut server = Script::default();
    let election = candidate(&server);
    let term = term(&mut server, &election).await;
    let nobody = |call: &Call| assert_eq!(call.body["spec"]["holderIdentity"], "");
    let calls = vec![replace(8).fails(409), get("me", 9), replace(9).check(nobody).gives(lease("", 10))];
    server.expect(calls, term.release()).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_holds_is_not_released() {
    let mut server = Script::default();
    let election = candidate(&server);
    let term = term(&mut server, &election).await;
    server.expect(vec![replace(8).fails(409), get("other", 9)], term.release()).await;
}
