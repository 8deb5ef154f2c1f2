//! The check of the CRDs over time: what holds the start up, what does not, and what /readyz is told meanwhile.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use stormfold::runtime::crds::CrdCheck;
use stormfold::runtime::readiness::Readiness;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::script::{Expected, Script};

const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/signals.stormfold.dev";

fn ours() -> CustomResourceDefinition {
    stormfold::api::crds().into_iter().find(|crd| crd.spec.names.plural == "signals").unwrap()
}

fn get() -> Expected {
    Expected::new("GET", CRD)
}

fn current() -> Expected {
    get().gives(serde_json::to_value(ours()).unwrap())
}

/// Without the field `spec.table`.
fn older() -> Expected {
    let mut crd = serde_json::to_value(ours()).unwrap();
    let spec = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap();
    spec.as_object_mut().unwrap().remove("table").unwrap();
    get().gives(crd)
}

fn check(server: &Script, readiness: &Readiness) -> CrdCheck {
    CrdCheck::new(server.client(), vec![ours()], readiness.open_gate("crds"))
}

/// How many seconds the start was held up by these answers.
async fn held(answers: Vec<Expected>, readiness: &Readiness) -> u64 {
    let mut server = Script::default();
    let mut check = check(&server, readiness);
    let began = Instant::now();
    server.expect(answers, check.hold(&CancellationToken::new())).await.expect("nobody stops it");
    began.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_check_that_cannot_be_made_holds_nothing_up() {
    for code in [401, 403, 500] {
        let readiness = Readiness::default();
        assert_eq!(held(vec![get().fails(code)], &readiness).await, 0);
        assert!(readiness.closed().is_empty(), "{code}");
    }
    let readiness = Readiness::default();
    assert_eq!(held(vec![get().fails(404)], &readiness).await, 0);
    assert!(readiness.closed()["crds"].contains("is not installed"), "the watches say it as well");
}

#[tokio::test(start_paused = true)]
async fn an_older_crd_holds_the_start_up_until_its_successor_is_served() {
    let readiness = Readiness::default();
    assert_eq!(held(vec![current()], &readiness).await, 0);
    assert_eq!(held(vec![older(), older(), current(), current()], &readiness).await, 6);
    // An API server that does not answer for a moment has not replaced anything.
    assert_eq!(held(vec![older(), get().fails(500), get().fails(500), current(), current()], &readiness).await, 8);
    assert!(readiness.closed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_crd_that_is_replaced_by_an_older_one_under_a_running_operator_is_found_within_half_a_minute() {
    let (mut server, readiness, stop) = (Script::default(), Readiness::default(), CancellationToken::new());
    let watch = tokio::spawn(check(&server, &readiness).watch(stop.clone()));
    server.expect(vec![current()], tokio::time::sleep(Duration::from_secs(29))).await;
    assert!(readiness.closed().is_empty());
    server.expect(vec![older()], tokio::time::sleep(Duration::from_secs(2))).await;
    assert!(readiness.closed()["crds"].contains("it lacks the field spec.table"), "{:?}", readiness.closed());
    server.expect(vec![get().fails(500)], tokio::time::sleep(Duration::from_secs(2))).await;
    assert!(!readiness.closed().is_empty(), "nobody said that it was mended");
    server.expect(vec![current()], tokio::time::sleep(Duration::from_secs(2))).await;
    assert!(readiness.closed().is_empty());
    stop.cancel();
    watch.await.unwrap();
}
