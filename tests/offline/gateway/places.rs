//! In which namespace a Signal is stored.

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
        server.forbidden.insert("closed");
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
    let page = world.metrics.encode().unwrap();
    assert!(page.contains("stormfold_gateway_signals_total{result=\"Created\",place=\"Home\"} 3"), "{page}");
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
