//! A scripted API server: it answers what is expected, in order, and ends the test at any other call.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tower_test::mock::{Handle, SendResponse, pair};

pub const API: &str = "/apis/stormfold.dev/v1alpha1";

/// A call that came.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Instant,
    pub method: String,
    pub path: String,
    pub query: String,
    pub content_type: String,
    pub body: Value,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}?{} {}", self.method, self.path, self.query, self.body)
    }
}

enum Answer {
    /// What an API server says that keeps what it is sent.
    Natural,
    /// This code and body.
    Given(u16, Value),
    /// None, ever.
    Silence,
}

type Check = Box<dyn Fn(&Call)>;

/// A call that has to come, and its answer.
pub struct Expected {
    method: &'static str,
    path: String,
    checks: Vec<Check>,
    answer: Answer,
}

impl Expected {
    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), checks: Vec::new(), answer: Answer::Natural }
    }

    pub fn check(mut self, check: impl Fn(&Call) + 'static) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    pub fn fails(self, code: u16) -> Self {
        self.fails_with(code, "scripted", None)
    }

    pub fn fails_with(mut self, code: u16, message: &str, cause: Option<&str>) -> Self {
        self.answer = Answer::Given(code, failure(code, message, cause));
        self
    }

    /// The failure is about an object of this kind.
    pub fn about(mut self, kind: &str) -> Self {
        if let Answer::Given(_, body) = &mut self.answer {
            body["details"]["kind"] = json!(kind);
        }
        self
    }

    pub fn gives(mut self, body: Value) -> Self {
        self.answer = Answer::Given(200, body);
        self
    }

    pub fn silent(mut self) -> Self {
        self.answer = Answer::Silence;
        self
    }
}

fn failure(code: u16, message: &str, cause: Option<&str>) -> Value {
    // kube tells "not found" by the reason, not by the code.
    let reason = if code == 404 { "NotFound" } else { "Scripted" };
    let causes: Vec<Value> = cause.into_iter().map(|reason| json!({ "reason": reason })).collect();
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code, "reason": reason, "message": message, "details": { "causes": causes },
    })
}

/// The server.
pub struct Script {
    handle: Handle<Request<Body>, Response<Body>>,
    /// Keeps the handle open.
    client: Client,
    objects: BTreeMap<String, Value>,
    version: u64,
    unanswered: Vec<SendResponse<Response<Body>>>,
    /// Paths that [`Script::serve`] answers with an error.
    pub faults: BTreeMap<String, u16>,
    /// All calls so far.
    pub calls: Vec<Call>,
}

impl Default for Script {
    fn default() -> Self {
        let (service, handle) = pair();
        Self {
            handle,
            client: Client::new(service, "default"),
            objects: BTreeMap::new(),
            version: 100,
            unanswered: Vec::new(),
            faults: BTreeMap::new(),
            calls: Vec::new(),
        }
    }
}

impl Script {
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Has this object from now on.
    pub fn put(&mut self, object: &impl Serialize) {
        let object = serde_json::to_value(object).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let plural = text(&object["kind"]).to_lowercase() + "s";
        let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
        self.objects.insert(format!("{API}/namespaces/{namespace}/{plural}/{name}"), object);
    }

    pub fn remove(&mut self, path: &str) {
        assert!(self.objects.remove(path).is_some(), "there is no {path}");
    }

    pub fn object(&self, path: &str) -> Value {
        self.objects.get(path).cloned().unwrap_or_else(|| panic!("there is no {path}"))
    }

    /// Answers these calls, in this order, while `doing` runs; ends the test if another comes, or one of them does not.
    pub async fn expect<T>(&mut self, expected: Vec<Expected>, doing: impl Future<Output = T>) -> T {
        let mut expected = VecDeque::from(expected);
        let mut doing = Box::pin(doing);
        let done = loop {
            tokio::select! {
                biased;
                request = self.handle.next_request() => {
                    let (request, respond) = request.unwrap();
                    let call = read(request).await;
                    let Some(next) = expected.pop_front() else { panic!("unexpected call: {call}") };
                    let fits = next.method == call.method && next.path == call.path;
                    assert!(fits, "expected: {} {}\nbut came: {call}", next.method, next.path);
                    next.checks.iter().for_each(|check| check(&call));
                    self.answer(next.answer, call, respond);
                }
                done = &mut doing => break done,
            }
        };
        // A call that nobody waits for is one too many all the same.
        if let Ok(Some((request, _))) = timeout(Duration::from_millis(1), self.handle.next_request()).await {
            panic!("unexpected call: {}", read(request).await);
        }
        let missing: Vec<_> = expected.iter().map(|call| format!("{} {}", call.method, call.path)).collect();
        assert!(missing.is_empty(), "these calls did not come: {missing:?}");
        done
    }

    /// Answers any call naturally while `doing` runs, but for `faults`.
    pub async fn serve<T>(&mut self, doing: impl Future<Output = T>) -> T {
        let mut doing = Box::pin(doing);
        loop {
            tokio::select! {
                biased;
                request = self.handle.next_request() => {
                    let (request, respond) = request.unwrap();
                    let call = read(request).await;
                    let fault = self.faults.get(&call.path).map(|code| Answer::Given(*code, failure(*code, "fault", None)));
                    self.answer(fault.unwrap_or(Answer::Natural), call, respond);
                }
                done = &mut doing => return done,
            }
        }
    }

    /// Proves that no call comes for this long.
    pub async fn silence(&mut self, time: Duration) {
        self.expect(Vec::new(), tokio::time::sleep(time)).await;
    }

    fn answer(&mut self, answer: Answer, call: Call, respond: SendResponse<Response<Body>>) {
        let watching = call.query.contains("watch=true");
        let (code, body) = match answer {
            Answer::Natural if watching => (0, Value::Null),
            Answer::Natural => self.natural(&call),
            Answer::Given(code, body) => (code, body),
            Answer::Silence => (0, Value::Null),
        };
        self.calls.push(call);
        if code == 0 {
            self.unanswered.push(respond);
        } else {
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            respond.send_response(Response::builder().status(code).body(body).unwrap());
        }
    }

    fn natural(&mut self, call: &Call) -> (u16, Value) {
        let path = call.path.trim_end_matches("/status");
        let found = self.objects.get(path).cloned();
        match (call.method.as_str(), found) {
            ("POST", _) => {
                let name = call.body["metadata"]["name"].as_str().unwrap();
                let path = format!("{path}/{name}");
                if self.objects.contains_key(&path) {
                    return (409, failure(409, "already exists", None));
                }
                let mut object = call.body.clone();
                // The status is a subresource: a create does not write it.
                object.as_object_mut().unwrap().remove("status");
                object["metadata"]["uid"] = json!(format!("uid-of-{name}"));
                (201, self.keep(path, object))
            }
            ("PATCH", Some(mut object)) => {
                let sent = &call.body["metadata"]["resourceVersion"];
                if sent.is_string() && *sent != object["metadata"]["resourceVersion"] {
                    return (409, failure(409, "the object has been modified", None));
                }
                for (field, value) in call.body["status"].as_object().unwrap() {
                    object["status"][field] = value.clone();
                }
                (200, self.keep(path.to_owned(), object))
            }
            ("GET", Some(object)) => (200, object),
            ("GET", None) if path.ends_with('s') => (200, self.list(path, &call.query)),
            _ => (404, failure(404, "not found", None)),
        }
    }

    fn keep(&mut self, path: String, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path, object.clone());
        object
    }

    /// All of a plural; of one storm key where the query selects one.
    fn list(&self, path: &str, query: &str) -> Value {
        let plural = path.rsplit('/').next().unwrap();
        let scope = path.trim_end_matches(plural);
        let fits = |(path, object): &(&String, &Value)| {
            let selected = object["spec"]["stormKey"].as_str().is_some_and(|key| query.contains(key));
            path.starts_with(scope)
                && path.contains(&format!("/{plural}/"))
                && (!query.contains("stormKey") || selected)
        };
        let items: Vec<_> = self.objects.iter().filter(fits).map(|(_, object)| object.clone()).collect();
        list_of(&items, None)
    }
}

/// A page of a list.
pub fn list_of(items: &[Value], next: Option<&str>) -> Value {
    json!({
        "apiVersion": "stormfold.dev/v1alpha1", "kind": "List",
        "metadata": { "resourceVersion": "100", "continue": next.unwrap_or_default() }, "items": items,
    })
}

async fn read(request: Request<Body>) -> Call {
    let (head, body) = request.into_parts();
    let bytes = body.collect_bytes().await.unwrap();
    let content_type = head.headers.get("content-type").map(|value| value.to_str().unwrap().to_owned());
    Call {
        at: Instant::now(),
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        content_type: content_type.unwrap_or_default(),
        body: if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() },
    }
}
