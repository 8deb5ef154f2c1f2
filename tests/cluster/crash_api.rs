//! A wire to the API server that knows what passes over it, and kills the operator at one step.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri, header};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::crash_trap::{Moment, Trap};

/// A call to the API server in the life of a storm of two Signals, `crash-0` and `crash-1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Is there an open object of this key?
    Look,
    /// Its object.
    Create,
    /// Its first facts, of one alert.
    FirstFacts,
    /// The receipt of the first Signal.
    FirstReceipt,
    /// Facts of more alerts.
    LaterFacts,
    /// The receipt of the second Signal. With a trap here, it is held up until the storm is closed in the ledger.
    LastReceipt,
    /// The end.
    End,
}

impl Step {
    pub const ALL: [Self; 7] = [
        Self::Look,
        Self::Create,
        Self::FirstFacts,
        Self::FirstReceipt,
        Self::LaterFacts,
        Self::LastReceipt,
        Self::End,
    ];

    fn of(method: &Method, uri: &Uri, body: &[u8]) -> Option<Self> {
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        if method == Method::GET && path.ends_with("/remediationrequests") && query.contains("spec.stormKey") {
            return Some(Self::Look);
        }
        if method == Method::POST && path.ends_with("/remediationrequests") {
            return Some(Self::Create);
        }
        if method != Method::PATCH || !path.ends_with("/status") {
            return None;
        }
        if path.ends_with("/signals/crash-0/status") {
            return Some(Self::FirstReceipt);
        }
        if path.ends_with("/signals/crash-1/status") {
            return Some(Self::LastReceipt);
        }
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        let storm = &body["status"]["storm"];
        match (storm["state"].as_str()?, storm["alertCount"].as_i64()?) {
            ("Open", 1) => Some(Self::FirstFacts),
            ("Open", _) => Some(Self::LaterFacts),
            _ => Some(Self::End),
        }
    }
}

/// Where the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub step: Step,
    pub moment: Moment,
}

struct Wire {
    client: Client,
    point: Point,
    trap: Arc<Trap>,
    held: watch::Receiver<bool>,
}

/// A wire with the credentials of this kubeconfig, and the kubeconfig that goes through it. Calls to a point that `held` holds up wait
/// until it does not any more.
pub async fn wire(kubeconfig: &str, point: Point, trap: Arc<Trap>, held: watch::Receiver<bool>) -> String {
    let credentials = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(credentials, &KubeConfigOptions::default()).await.unwrap();
    let wire = Wire { client: Client::try_from(config).unwrap(), point, trap, held };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut through: serde_json::Value = serde_json::from_str(kubeconfig).unwrap();
    through["clusters"][0]["cluster"] =
        serde_json::json!({ "server": format!("http://{}", listener.local_addr().unwrap()) });
    // The wire has the token: whoever goes through it has the operator's rights and no others.
    through["users"][0]["user"] = serde_json::json!({});
    let router = Router::new().fallback(pass).with_state(Arc::new(wire));
    tokio::spawn(async move { axum::serve(listener, router).await });
    through.to_string()
}

async fn pass(State(wire): State<Arc<Wire>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let Wire { point, trap, .. } = &*wire;
    let here = trap.is_armed() && Step::of(&parts.method, &parts.uri, &body) == Some(point.step);
    if here {
        // An error: the test is over.
        let _ = wire.held.clone().wait_for(|held| !*held).await;
    }
    if here && point.moment == Moment::Before && !trap.is_shut() {
        trap.spring();
    }
    if trap.is_shut() {
        return std::future::pending().await;
    }
    if here {
        trap.shut();
    }
    // The client writes its own.
    parts.headers.remove(header::HOST);
    let answer = wire.client.send(Request::from_parts(parts, kube::client::Body::from(body.to_vec()))).await;
    if here {
        assert!(answer.as_ref().is_ok_and(|answer| answer.status().is_success()), "{point:?} is refused");
        trap.spring();
    }
    if trap.is_shut() {
        return std::future::pending().await;
    }
    match answer {
        Ok(answer) => {
            let (mut head, body) = answer.into_parts();
            head.headers.remove(header::TRANSFER_ENCODING);
            head.headers.remove(header::CONNECTION);
            Response::from_parts(head, Body::new(body))
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
