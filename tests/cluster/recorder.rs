//! A proxy before the API server that writes down what it is asked for, in the words of RBAC.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use http::{Method, Request, StatusCode, Uri, header};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::net::TcpListener;

/// One right: API group, resource with its subresource, verb.
pub type Right = (String, String, String);

#[derive(Default)]
struct Seen {
    used: BTreeSet<Right>,
    /// Right → where it was asked for.
    refused: BTreeMap<Right, String>,
}

/// Forwards everything with the rights of one account.
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    seen: Arc<Mutex<Seen>>,
}

impl Recorder {
    /// Before the server of this kubeconfig, and with its credentials; the kubeconfig that goes through it has none.
    pub async fn before(kubeconfig: &str) -> (Self, String) {
        let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        // What the server says is for the operator.
        config.default_retry = false;
        let recorder = Self { client: Client::try_from(config).unwrap(), seen: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(forward).with_state(recorder.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (recorder, kubeconfig_to(address))
    }

    /// The rights that were used and given.
    pub fn used(&self) -> BTreeSet<Right> {
        self.seen.lock().unwrap().used.clone()
    }

    /// The rights that were asked for and not given, each with a place where.
    pub fn refused(&self) -> BTreeMap<Right, String> {
        self.seen.lock().unwrap().refused.clone()
    }

    fn note(&self, method: &Method, uri: &Uri, status: StatusCode) {
        let right = right(method, uri);
        let mut seen = self.seen.lock().unwrap();
        if status == StatusCode::FORBIDDEN {
            seen.refused.insert(right, format!("{method} {uri}"));
        } else if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS) {
            seen.used.insert(right);
        }
    }
}

fn kubeconfig_to(address: SocketAddr) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
        "users": [{ "name": "c", "user": {} }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
    })
    .to_string()
}

async fn forward(State(recorder): State<Recorder>, request: Request<Body>) -> Response {
    let (mut parts, body) = request.into_parts();
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    for of_this_connection in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        parts.headers.remove(of_this_connection);
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    // Its answer may be a watch: it is handed on as it comes.
    match recorder.client.send(Request::from_parts(parts, body.into())).await {
        Ok(mut answer) => {
            recorder.note(&method, &uri, answer.status());
            answer.headers_mut().remove(header::TRANSFER_ENCODING);
            answer.map(Body::new)
        }
        Err(error) => {
            let mut answer = Response::new(Body::from(error.to_string()));
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer
        }
    }
}

/// What the API server asks its authorizer for.
fn right(method: &Method, uri: &Uri) -> Right {
    let mut path = uri.path().trim_matches('/').split('/');
    let group = match path.next() {
        Some("api") => String::new(),
        Some("apis") => path.next().unwrap_or_default().to_owned(),
        other => panic!("not about a resource: {other:?} in {uri}"),
    };
    let rest: Vec<&str> = path.skip(1).collect();
    // What is in a namespace; else what belongs to the cluster, namespaces themselves among it.
    let rest = if rest.len() > 2 && rest[0] == "namespaces" { &rest[2..] } else { &rest[..] };
    let resource = match rest {
        [resource, _, subresource] => format!("{resource}/{subresource}"),
        [resource, ..] => (*resource).to_owned(),
        [] => panic!("no resource in {uri}"),
    };
    let one = rest.len() > 1;
    let watches = uri.query().unwrap_or_default().split('&').any(|pair| pair == "watch=true" || pair == "watch=1");
    let verb = match (method.as_str(), one) {
        ("GET", false) if watches => "watch",
        ("GET", false) => "list",
        ("GET", true) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        other => panic!("no verb for {other:?}"),
    };
    (group, resource, verb.to_owned())
}

#[test]
fn a_request_is_written_down_in_the_words_of_rbac() {
    let cases = [
        ("GET", "/api/v1/namespaces?&limit=5", "/namespaces:list"),
        ("GET", "/api/v1/namespaces/n", "/namespaces:get"),
        ("GET", "/apis/stormfold.dev/v1alpha1/signals?&watch=true&timeoutSeconds=290", "stormfold.dev/signals:watch"),
        ("GET", "/apis/stormfold.dev/v1alpha1/namespaces/n/signals", "stormfold.dev/signals:list"),
        (
            "PATCH",
            "/apis/stormfold.dev/v1alpha1/namespaces/n/signals/s/status?force=true",
            "stormfold.dev/signals/status:patch",
        ),
        ("PATCH", "/apis/stormfold.dev/v1alpha1/stormpolicies/p/status", "stormfold.dev/stormpolicies/status:patch"),
        ("POST", "/apis/events.k8s.io/v1/namespaces/n/events", "events.k8s.io/events:create"),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/l", "coordination.k8s.io/leases:update"),
        ("DELETE", "/apis/stormfold.dev/v1alpha1/namespaces/n/signals/s", "stormfold.dev/signals:delete"),
        ("DELETE", "/apis/stormfold.dev/v1alpha1/namespaces/n/signals", "stormfold.dev/signals:deletecollection"),
    ];
    for (method, uri, expected) in cases {
        let (group, resource, verb) = right(&method.parse().unwrap(), &uri.parse().unwrap());
        assert_eq!(format!("{group}/{resource}:{verb}"), expected, "{method} {uri}");
    }
}
