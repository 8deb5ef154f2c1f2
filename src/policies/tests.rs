//! The labels of namespaces that no watch event has told: asked for with the right that the watch has, and not for each Signal.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::api::{PolicyMatch, Selector, StormPolicy, StormPolicySpec};
use crate::runtime::error::Disposition;

/// What an API server says of namespaces.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Answers>>);

#[derive(Default)]
struct Answers {
    namespaces: HashMap<String, Value>,
    asked: usize,
    refusal: Option<u16>,
}

impl Server {
    fn set<T>(&self, change: impl FnOnce(&mut Answers) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    fn asked(&self) -> usize {
        self.set(|answers| answers.asked)
    }

    /// Policies of which one asks for the labels of namespaces.
    fn policies(&self) -> Policies {
        let router = Router::new().route("/api/v1/namespaces", get(list)).with_state(self.clone());
        let policies = Policies::new(Client::new(router, "default"), Policy::default());
        let labels =
            Selector { match_labels: Some([("team".to_owned(), "a".to_owned())].into()), ..Selector::default() };
        let matches = PolicyMatch { namespace_selector: Some(labels), ..PolicyMatch::default() };
        let spec = StormPolicySpec { matches: Some(matches), ..StormPolicySpec::default() };
        policies.edit(|book| book.put(StormPolicy::new("asks", spec)));
        policies
    }
}

async fn list(State(server): State<Server>, RawQuery(query): RawQuery) -> (StatusCode, Json<Value>) {
    let query = query.unwrap();
    let (_, name) = query.split_once("fieldSelector=metadata.name%3D").expect("one namespace is asked for");
    let name = name.split('&').next().unwrap();
    server.set(|answers| {
        answers.asked += 1;
        if let Some(code) = answers.refusal {
            let status = json!({ "kind": "Status", "status": "Failure", "code": code, "message": "scripted" });
            return (StatusCode::from_u16(code).unwrap(), Json(status));
        }
        let found = answers.namespaces.get(name);
        let made = |labels: &Value| labels["made"].as_str().map(|made| second(made.parse().unwrap()).to_string());
        let metadata = |labels: &Value| json!({ "name": name, "labels": labels, "creationTimestamp": made(labels) });
        let items: Vec<_> = found.iter().map(|labels| json!({ "metadata": metadata(labels) })).collect();
        let list = json!({ "apiVersion": "v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": items });
        (StatusCode::OK, Json(list))
    })
}

fn second(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn team(policies: &Policies, namespace: &str) -> Option<String> {
    policies.view().labels_of(namespace).get("team").cloned()
}

// E12: a Signal may be here before the watch event of its namespace is.
#[tokio::test]
async fn the_labels_of_a_namespace_are_asked_for_once() {
    let server = Server::default();
    let policies = server.policies();
    server.set(|answers| answers.namespaces.insert("prod".into(), json!({ "team": "a" })));
    for seconds in [5, 1, 9] {
        policies.know_namespace("prod", second(seconds)).await.unwrap();
        assert_eq!(team(&policies, "prod").as_deref(), Some("a"));
    }
    assert_eq!(server.asked(), 1);
    let nobody_asks = Policies::new(Client::new(Router::new(), "default"), Policy::default());
    nobody_asks.know_namespace("prod", second(5)).await.unwrap();
}

// R2: thousands of Signals of a namespace that is gone are one question, and one that is made again is another one.
#[tokio::test]
async fn a_namespace_that_is_gone_is_asked_for_once_and_again_when_it_is_made_again() {
    let server = Server::default();
    let policies = server.policies();
    for seconds in [5, 4, 5, 1] {
        policies.know_namespace("gone", second(seconds)).await.unwrap();
    }
    assert_eq!((server.asked(), team(&policies, "gone")), (1, None));
    server.set(|answers| answers.namespaces.insert("gone".into(), json!({ "team": "b" })));
    policies.know_namespace("gone", second(6)).await.unwrap();
    assert_eq!((server.asked(), team(&policies, "gone").as_deref()), (2, Some("b")));
    // What is remembered is bounded.
    for n in 0..=MAX_GONE {
        policies.forget_namespace(&format!("gone-{n}"), second(1));
    }
    assert!(policies.gone().len() <= MAX_GONE);
}

#[tokio::test]
async fn whether_the_labels_cannot_be_read_or_only_not_now_is_told_apart() {
    let server = Server::default();
    let policies = server.policies();
    for (code, disposition) in
        [(403, Disposition::Terminal), (404, Disposition::Terminal), (500, Disposition::Transient)]
    {
        server.set(|answers| answers.refusal = Some(code));
        let error = policies.know_namespace("prod", second(1)).await.unwrap_err();
        assert_eq!(error.disposition(), disposition, "{error}");
        assert!(error.to_string().starts_with("look for Namespace prod: "), "{error}");
    }
}

/// A namespace that was made at this second, and whose deletion began at that one.
fn made(name: &str, made: i64, deleted: Option<i64>) -> PartialObjectMeta<Namespace> {
    let deleted = deleted.map(|deleted| second(deleted).to_string());
    let made = second(made).to_string();
    let metadata = json!({ "name": name, "creationTimestamp": made, "deletionTimestamp": deleted });
    serde_json::from_value(json!({ "metadata": metadata })).unwrap()
}

// C15: what is told late of a namespace that went says nothing of the one that was made again, and its Signals can come before either.
#[tokio::test]
async fn a_namespace_that_is_made_again_is_known_by_its_signals_whatever_the_watch_has_told() {
    let server = Server::default();
    let policies = server.policies();
    let known = || policies.view().made("prod").map(Timestamp::as_second);
    policies.put_namespace(&made("prod", 10, None));
    server.set(|answers| answers.namespaces.insert("prod".into(), json!({ "made": "30" })));
    policies.know_namespace("prod", second(20)).await.unwrap();
    policies.put_namespace(&made("prod", 10, Some(25)));
    // Of the namespace that is going.
    policies.know_namespace("prod", second(24)).await.unwrap();
    assert_eq!((server.asked(), known()), (0, Some(10)));
    policies.know_namespace("prod", second(31)).await.unwrap();
    assert_eq!((server.asked(), known()), (1, Some(30)));
    policies.put_namespace(&made("prod", 10, Some(25)));
    policies.remove_namespace("prod", Some(second(10)));
    policies.know_namespace("prod", second(31)).await.unwrap();
    assert_eq!((server.asked(), known()), (1, Some(30)));
    policies.remove_namespace("prod", Some(second(30)));
    assert_eq!(known(), None);
    policies.know_namespace("prod", second(40)).await.unwrap();
    assert_eq!((server.asked(), known()), (2, Some(30)));
}
