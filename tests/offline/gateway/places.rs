//! In which namespace a Signal is stored.

use kube::ResourceExt as _;
use rstest::rstest;
use stormfold::api::Signal;

use super::world::{World, body, settings};

/// Namespace of the trouble, and what is recorded about its being elsewhere.
fn origin(signal: &Signal) -> (Option<&str>, Option<&str>, Option<&str>) {
    let annotation =
        |name: &str| signal.metadata.annotations.as_ref().and_then(|all| all.get(name)).map(String::as_str);
    (
        signal.spec.namespace.as_deref(),
        annotation("stormfold.dev/origin-namespace"),
        annotation("stormfold.dev/origin-reason"),
    )
}

// E4, E11: a namespace that is gone, or may not be written to, loses nothing; E8: what is in none is at home.
#[tokio::test]
async fn a_signal_is_in_the_namespace_of_its_trouble_or_at_home_with_its_origin() {
    let world = World::simple().await;
    world.api_server.set(|server| {
        server.missing.insert("gone");
        server.refused.insert("closed", 403);
    });
    let answer = world.post(body(&["prod", "gone", "closed", ""]).to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let namespaces: Vec<_> =
        answer.body["signals"].as_array().unwrap().iter().map(|signal| signal["namespace"].clone()).collect();
    assert_eq!(namespaces, ["prod", "home", "home", "home"]);
    let signals = world.api_server.signals();
    let mut origins: Vec<_> = signals.iter().map(origin).collect();
    origins.sort_unstable();
    assert_eq!(
        origins,
        [
            (Some(""), None, None),
            (Some("closed"), Some("closed"), Some("Forbidden")),
            (Some("gone"), Some("gone"), Some("NamespaceMissing")),
            (Some("prod"), None, None),
        ]
    );
    // Where it can be seen that this is not as it should be.
    let page = world.metrics.encode(jiff::Timestamp::UNIX_EPOCH).unwrap();
    assert!(
        page.contains(
            "stormfold_source_signals_total{source=\"Alertmanager\",result=\"Created\",namespace=\"fallback\"} 3"
        ),
        "{page}"
    );
    let again = world.post(body(&["gone"]).to_string().as_bytes()).await;
    assert_eq!(again.body["duplicate"], serde_json::json!(1), "{again:?}");
}

#[tokio::test]
async fn a_namespace_that_nobody_watches_takes_no_signals() {
    let world = World::new(settings(), &["web", "prod"]).await;
    let answer = world.post(body(&["prod", "other", ""]).to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let namespaces: Vec<_> =
        answer.body["signals"].as_array().unwrap().iter().map(|signal| signal["namespace"].clone()).collect();
    assert_eq!(namespaces, ["prod", "web", "web"]);
    let signals = world.api_server.signals();
    assert!(signals.iter().map(origin).any(|o| o == (Some("other"), Some("other"), Some("NotWatched"))));
}

#[tokio::test]
async fn when_even_home_takes_nothing_it_is_503() {
    let world = World::simple().await;
    world.api_server.set(|server| {
        server.missing.insert("home");
        server.missing.insert("gone");
    });
    let answer = world.post(body(&["prod", "gone"]).to_string().as_bytes()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    // What could be stored is stored; the repeat finds it.
    assert_eq!(world.api_server.signals().len(), 1);
}

// Admission webhooks and policies refuse with 403, or with any other code: a ValidatingAdmissionPolicy says 422 unless it is told otherwise.
#[rstest]
#[case(400)]
#[case(422)]
#[tokio::test]
async fn what_only_that_namespace_refuses_is_stored_at_home(#[case] code: u16) {
    let world = World::simple().await;
    world.api_server.set(|server| {
        server.refused.insert("strict", code);
    });
    let answer = world.post(body(&["strict"]).to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        world.api_server.signals().iter().map(origin).collect::<Vec<_>>(),
        [(Some("strict"), Some("strict"), Some("Refused"))]
    );
}

// To be tried again in its own place: elsewhere it would be another storm.
#[rstest]
#[case(429)]
#[case(409)]
#[case(500)]
#[case(504)]
#[tokio::test]
async fn what_passes_by_itself_moves_no_signal(#[case] code: u16) {
    let world = World::simple().await;
    world.api_server.set(|server| {
        server.refused.insert("busy", code);
    });
    let text = body(&["busy"]).to_string();
    assert_eq!(world.post(text.as_bytes()).await.status, 503);
    assert!(world.api_server.signals().is_empty());
    world.api_server.set(|server| server.refused.clear());
    assert_eq!(world.post(text.as_bytes()).await.status, 200);
    assert_eq!(world.api_server.signals().iter().map(origin).collect::<Vec<_>>(), [(Some("busy"), None, None)]);
}

// R10: two replicas have one webhook, and its namespace has room for one Signal. The other replica is refused by the quota, which
// does not look whether the Signal is there: one in the operator's namespace would be a second storm of the same alerts.
#[tokio::test]
async fn what_another_replica_stored_before_the_quota_was_used_up_is_not_stored_twice() {
    let (one, other) = (World::simple().await, World::simple().await);
    let webhook = body(&["full"]).to_string();
    assert_eq!(one.post(webhook.as_bytes()).await.status, 200);
    let stored = one.api_server.signals();
    other.api_server.set(|server| {
        for signal in &stored {
            let key = (signal.namespace().unwrap_or("full".into()), signal.name_any());
            server.signals.insert(key, signal.clone());
        }
        server.refused.insert("full", 403);
    });
    let answer = other.post(webhook.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["signals"][0]["namespace"], "full", "{answer:?}");
    assert_eq!(answer.body["duplicate"], serde_json::json!(1), "{answer:?}");
    assert_eq!(other.api_server.signals().len(), 1, "none at home");
}
