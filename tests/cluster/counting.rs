//! Counting on a real API server.

use stormfold::api::Severity;

use super::operator::Operator;
use super::signals::{firing, signal, table};
use super::wait::eventually;
use super::world::{World, accepted, affected, facts, is_storm};

// A28 cannot arise: no request exists beside the storm's, because the first alert's object is the storm's.
// A1, A4, A5, A6, B7: fifteen Signals, one object from the first on, exact at rest.
#[tokio::test]
async fn the_first_signal_of_a_storm_gives_its_remediation_request_at_once() {
    let world = World::new("first-signal").await;
    let operator = Operator::start(&[&world], &[]).await;
    world.create(&firing("HighLoad", 0)).await;
    let first = world.one_storm("the first Signal shows", |storm| storm.alert_count == 1).await;
    assert_eq!(first.spec.pattern, format!("HighLoad in {}", world.namespace));
    for n in 1..15 {
        world.create(&firing("HighLoad", n)).await;
    }
    let last = world.one_storm("all fifteen are counted", |storm| storm.alert_count == 15).await;
    assert_eq!(last.metadata.uid, first.metadata.uid);
    let storm = facts(&last).unwrap();
    assert_eq!((storm.firing_count, storm.affected_count, storm.affected_resources.len()), (15, 15, 15));
    for signal in world.receipts(15).await {
        assert_eq!(accepted(&signal), Some("Merged"));
        assert_eq!(signal.status.unwrap().storm, last.metadata.name);
    }
    assert_eq!(operator.metric("stormfold_occurrences_total{result=\"Merged\"}").await, 15.0);
    eventually("no receipt is owed", || async {
        let owed = operator.metric("stormfold_owed_receipts").await;
        if owed == 0.0 { Ok(()) } else { Err(owed.to_string()) }
    })
    .await;
    assert!(operator.sigterm().success());
}

// A6, A9, A10, A27, B2: repeats count once, a resource counts once, the list is capped and the count is not.
#[tokio::test]
async fn every_accepted_signal_is_counted_exactly_once_per_distinct_occurrence() {
    let world = World::new("exactly-once").await;
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&table("a", "Full", 0..300)).await;
    world.create(&table("b", "Full", 100..400)).await;
    let mut same_pod = table("c", "Full", []);
    same_pod.spec.table = Some((0..50).map(|n| format!("firing - other-{n} Pod/pod-7\n")).collect());
    world.create(&same_pod).await;
    let object = world.one_storm("400 and 50", |storm| storm.alert_count == 450).await;
    let storm = facts(&object).unwrap();
    assert_eq!((storm.affected_count, storm.affected_resources.len(), storm.truncated), (400, 100, true));
    let receipts = world.receipts(3).await;
    let sum = |part: fn(&stormfold::api::OccurrenceSummary) -> i64| -> i64 {
        receipts.iter().map(|signal| part(&signal.status.as_ref().unwrap().occurrences.clone().unwrap())).sum()
    };
    assert_eq!((sum(|o| o.total), sum(|o| o.new), sum(|o| o.rejected)), (650, 450, 0));
}

// A24, A25, B1, B2: a storm per namespace of the trouble; a Node's trouble has none; a name in two namespaces is two resources.
#[tokio::test]
async fn storms_are_isolated_by_the_scope_of_the_trouble() {
    let world = World::new("scopes").await;
    let _operator = Operator::start(&[&world], &["--cross-namespace=*"]).await;
    for (n, namespace) in ["alpha", "beta", ""].into_iter().enumerate() {
        let mut signal = signal(&format!("s{n}"), "Down");
        signal.spec.namespace = Some(namespace.into());
        signal.spec.table = Some(
            "firing - f1 Node/n1\nfiring - f2 /namespaces/alpha/Pod/p\nfiring - f3 /namespaces/beta/Pod/p\n".into(),
        );
        world.create(&signal).await;
    }
    let storms = world.storms_until("three storms", 3, |storm| storm.alert_count == 3).await;
    let mut scopes: Vec<_> =
        storms.iter().map(|object| (object.spec.namespace.as_str(), object.spec.pattern.as_str())).collect();
    scopes.sort_unstable();
    assert_eq!(scopes, [("", "Down (cluster-scoped)"), ("alpha", "Down in alpha"), ("beta", "Down in beta")]);
    for object in &storms {
        let storm = world.storm_named(object, |storm| storm.affected_count == 3).await;
        assert!(storm.affected_resources.iter().any(|resource| resource.name == "n1"), "{storm:?}");
    }
}

// B4, B5, B9: the storm's severity is the highest seen; what opened it stays what it was.
#[tokio::test]
async fn severity_of_the_storm_rises_and_its_opening_stays() {
    let world = World::new("severity").await;
    let _operator = Operator::start(&[&world], &[]).await;
    for (n, severity) in [Severity::Warning, Severity::Critical, Severity::Info].into_iter().enumerate() {
        let mut signal = firing("Mixed", n);
        signal.spec.severity = severity;
        world.create(&signal).await;
        world.one_storm("it is counted", |storm| storm.alert_count == i64::try_from(n).unwrap() + 1).await;
    }
    let object = world.storms().await.remove(0);
    assert_eq!(object.spec.severity, Severity::Warning);
    assert_eq!(facts(&object).unwrap().severity, Severity::Critical);
}

// A22: exactly at the threshold, seen by people as an Event and a condition.
#[tokio::test]
async fn the_tenth_alert_makes_it_a_storm() {
    let world = World::new("threshold").await;
    let _operator = Operator::start(&[&world], &[]).await;
    let one_pod = |name: &str, numbers: std::ops::Range<usize>| {
        let mut signal = signal(name, "Edge");
        signal.spec.table = Some(numbers.map(|n| format!("firing - fp-{n} Pod/only\n")).collect());
        signal
    };
    world.create(&one_pod("nine", 0..9)).await;
    let nine = world.one_storm("nine", |storm| storm.alert_count == 9).await;
    assert!(!is_storm(&nine));
    world.create(&one_pod("tenth", 9..10)).await;
    let ten = world.one_storm("ten", |storm| storm.alert_count == 10).await;
    assert!(is_storm(&ten));
    assert_eq!(world.event("StormThresholdReached").await, "10 alerts on 1 resources");
    assert!(world.event("StormOpened").await.contains("Edge in"));
}

#[tokio::test]
async fn twenty_namespaces_at_once_give_twenty_exact_storms() {
    let first = World::new("many").await;
    let mut worlds = Vec::new();
    for _ in 1..20 {
        worlds.push(first.another_namespace("many").await);
    }
    worlds.push(first);
    let _operator = Operator::start(&worlds.iter().collect::<Vec<_>>(), &[]).await;
    let writers = worlds.iter().map(|world| async move {
        for n in 0..15 {
            world.create(&firing("Everywhere", n)).await;
        }
    });
    futures::future::join_all(writers).await;
    for world in &worlds {
        let object = world.one_storm("fifteen", |storm| storm.alert_count == 15 && storm.affected_count == 15).await;
        // One write per storm and interval, and one at the opening.
        assert!(facts(&object).unwrap().revision <= 15, "{:?}", facts(&object));
    }
}

// Invariant 14: nothing moves when nothing happens.
#[tokio::test]
async fn at_rest_nothing_is_written() {
    let world = World::new("rest").await;
    let operator = Operator::start(&[&world], &["--publish-interval=100ms"]).await;
    world.create(&table("a", "Calm", 0..20)).await;
    world.one_storm("twenty", |storm| storm.alert_count == 20).await;
    world.receipts(1).await;
    let versions = async || {
        let object = world.storms().await.remove(0);
        let signal = world.signals().get("a").await.unwrap();
        (
            object.metadata.resource_version,
            signal.metadata.resource_version,
            operator.metric("stormfold_api_writes_total").await,
        )
    };
    eventually("both Events are out", || async {
        let events = operator.metric("stormfold_api_writes_total{write=\"Event\"").await;
        if events == 2.0 { Ok(()) } else { Err(events.to_string()) }
    })
    .await;
    let before = versions().await;
    // Something else happens, long enough for ten publish intervals.
    for n in 0..10 {
        world.create(&firing(&format!("Other{n}"), 0)).await;
        world.storms_until("the next storm shows", n + 2, |_| true).await;
    }
    let after = versions().await;
    assert_eq!((&before.0, &before.1), (&after.0, &after.1));
}

// A7, A8, A10, invariant 16: the longest names there are, a hundred times more than fit.
#[tokio::test]
async fn object_size_is_bounded_whatever_comes_in_and_the_cut_is_visible() {
    let world = World::new("bounded").await;
    let _operator = Operator::start(&[&world], &["--cross-namespace=*"]).await;
    let namespace = "n".repeat(63);
    for part in 0..10 {
        let mut signal = signal(&format!("part-{part}"), &"长".repeat(200));
        let line = |n: usize| format!("firing - f{n} /apis/apps/v1/namespaces/{namespace}/Deployment/{n:0>253}\n");
        signal.spec.table = Some((part * 700..(part + 1) * 700).map(line).collect());
        world.create(&signal).await;
    }
    let object = world.one_storm("seven thousand", |storm| storm.alert_count == 7_000).await;
    let storm = facts(&object).unwrap();
    assert_eq!((storm.affected_count, storm.affected_resources.len(), storm.truncated), (7_000, 100, true));
    let size = serde_json::to_vec(&object).unwrap().len();
    assert!(size < 80_000, "{size} bytes");
}

// A9, A10, B2, invariant 6: one loud namespace does not hide the quiet ones.
#[tokio::test]
async fn a_resource_is_counted_once_per_storm_and_the_sample_keeps_every_namespace_and_kind_it_can() {
    let world = World::new("fair").await;
    let _operator = Operator::start(&[&world], &["--cross-namespace=*"]).await;
    let mut loud = signal("loud", "Wide");
    loud.spec.table = Some((0..1_000).map(|n| format!("firing - loud-{n} Pod/loud-{}\n", n % 500)).collect());
    world.create(&loud).await;
    let mut quiet = signal("quiet", "Wide");
    let lines = (0..40).map(|n| format!("firing - quiet-{n} /namespaces/quiet-{n}/Pod/p\n"));
    quiet.spec.table = Some(lines.chain(["firing - node Node/n1\n".to_owned()]).collect());
    world.create(&quiet).await;
    let object = world.one_storm("all", |storm| storm.alert_count == 1_041).await;
    let storm = facts(&object).unwrap();
    assert_eq!(storm.affected_count, 541);
    let count = |what: &str| affected(&object).iter().filter(|text| text.contains(what)).count();
    assert_eq!((count("/namespaces/quiet-"), count("Node/n1"), count("Pod/loud-")), (40, 1, 59));
}
