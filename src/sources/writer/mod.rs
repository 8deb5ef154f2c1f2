//! Signals into the API server: in the namespace of the trouble where that is possible, else in the operator's own. Knows no source:
//! [`series`] tells repeats from news, `known` what is stored already.

mod known;
mod recall;
mod series;
mod shelf;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{Request, StatusCode};
use futures::{StreamExt as _, stream};
use kube::api::ListParams;
use kube::client::Body;
use kube::core::{ObjectMeta, Status};
use kube::{Api, Client, Resource};
use tokio::sync::Semaphore;

pub(super) use recall::{LatestReports, RecalledAlert};
pub use shelf::SignalShelf;

use known::StoredSignals;
use series::{BodySeries, Mark, Precedent, SeriesLister};

use super::draft::Draft;
use super::text::clean;
use crate::api::{self, Signal};
use crate::metrics::{GatewayMetrics, SignalNamespace, StoreResult};
use crate::runtime::error::{ApiError, call};
use crate::storm::Reach;

/// Creates at once, of all requests together: each has a connection to the API server.
const CREATES: usize = 16;
/// Creates at once of one request, so that others get their turn.
const CREATES_PER_BODY: usize = 8;
/// How long after another replica's create has used up a quota its object can be read at the latest: far more than a write to etcd takes.
const QUOTA_LAG: Duration = Duration::from_millis(250);
/// The API server answers with this much of an object instead of all of it.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
/// An answer that is no success has at most this much of interest.
const MAX_STATUS: usize = 64 * 1024;

/// Of the words of an error, in characters.
const MAX_ERROR: usize = 500;

/// The words of an error. Whoever refused may have quoted an alert in them, or all of a Signal.
pub(super) fn told(error: &ApiError) -> String {
    clean(&error.to_string(), MAX_ERROR).into_owned()
}

/// Stores Signals.
pub struct SignalWriter {
    /// Of its own, without retries: the sender tries again, and must hear of a failure in time.
    client: Client,
    places: Places,
    permits: Arc<Semaphore>,
    known: StoredSignals,
    series: SeriesLister,
    metrics: GatewayMetrics,
}

/// Where Signals may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    home: String,
    /// None: all.
    watched: Vec<String>,
    /// Whose Signals may speak of others.
    reach: Reach,
}

impl Places {
    /// `own`: the operator's namespace. `watched`: what it watches; none: all. A Signal where nobody watches would be lost, so if the
    /// operator's own is not among them, the first of them takes its place.
    pub fn new(own: &str, watched: Vec<String>) -> Self {
        let home = if watched.is_empty() || watched.iter().any(|namespace| namespace == own) {
            own
        } else {
            watched.first().map_or(own, String::as_str)
        };
        let (home, reach) = (home.to_owned(), Reach::default().and(home));
        Self { home, watched, reach }
    }

    /// The same, where Signals of these namespaces may speak of others.
    #[must_use]
    pub fn reaching(mut self, reach: Reach) -> Self {
        self.reach = reach.and(&self.home);
        self
    }

    /// The namespace for what has none, or cannot be in its own.
    pub fn home(&self) -> &str {
        &self.home
    }

    fn is_watched(&self, namespace: &str) -> bool {
        self.watched.is_empty() || self.watched.iter().any(|watched| watched == namespace)
    }
}

/// A Signal that the API server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) namespace: String,
    pub(super) name: String,
    /// False: it had it already.
    pub(super) created: bool,
}

impl Stored {
    fn already(namespace: &str, name: String) -> Self {
        Self { namespace: namespace.to_owned(), name, created: false }
    }
}

/// What one create came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Created,
    /// The name is taken.
    Existed,
    /// Not in this namespace.
    Refused(Away),
}

/// What became of a Signal in one namespace.
enum Placed {
    Here(Stored),
    Elsewhere(Away),
}

/// Why a Signal is not in the namespace of its trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    /// Nobody watches there.
    NotWatched,
    /// It does not exist, or is being deleted.
    Missing,
    /// The operator may not create there, or its quota is used up.
    Forbidden,
    /// Something there, such as an admission policy, does not take it.
    Refused,
}

impl Away {
    fn reason(self) -> &'static str {
        match self {
            Self::NotWatched => "NotWatched",
            Self::Missing => "NamespaceMissing",
            Self::Forbidden => "Forbidden",
            Self::Refused => "Refused",
        }
    }

    /// Whether this error is about the namespace, and another one may do.
    fn of(error: &ApiError) -> Option<Self> {
        if error.namespace_is_gone() {
            return Some(Self::Missing);
        }
        match error.code()? {
            403 => Some(Self::Forbidden),
            // About us, about the API, or about this moment: it is the same in every namespace.
            401 | 404 | 408 | 409 | 429 => None,
            // By a policy of the namespace perhaps: 422 is what a ValidatingAdmissionPolicy says unless it is told otherwise, and an
            // admission webhook may say anything. What is wrong with the Signal itself is refused at home as well.
            400..=499 => Some(Self::Refused),
            _ => None,
        }
    }
}

impl SignalWriter {
    /// Stores with this client, in these places.
    pub fn new(client: Client, places: Places, metrics: GatewayMetrics) -> Self {
        let series = SeriesLister::new(client.clone());
        let permits = Arc::new(Semaphore::new(CREATES));
        Self { client, places, permits, known: StoredSignals::default(), series, metrics }
    }

    /// Whose Signals may speak of others.
    pub(super) fn reach(&self) -> Reach {
        self.places.reach.clone()
    }

    /// Stores all of them, which are one body; gives what became of each. One that fails does not keep the others from being stored.
    pub(super) async fn store(&self, drafts: &[Draft]) -> Vec<Result<Stored, ApiError>> {
        let series = self.series.of(drafts, self.places.home());
        // Futures do nothing before they are polled, and no more than these are at a time.
        let creates: Vec<_> = drafts.iter().map(|draft| self.store_one(draft, &series)).collect();
        stream::iter(creates).buffered(CREATES_PER_BODY).collect().await
    }

    async fn store_one(&self, draft: &Draft, series: &BodySeries<'_>) -> Result<Stored, ApiError> {
        let home = self.places.home();
        if let Some(namespace) = self.known.namespace(draft) {
            match series.precedent(&namespace, draft).await {
                Ok(Precedent::Repeat(name)) => {
                    return self.counted(draft, &namespace, Ok(Stored::already(&namespace, name)));
                }
                // It is gone, perhaps with its namespace; or there is more to say, where it can be said today.
                Ok(Precedent::Unseen | Precedent::News(_)) => {}
                Err(error) => return self.counted(draft, &namespace, Err(error)),
            }
        }
        // The semaphore is never closed; without a permit there would only be one create more.
        let _permit = self.permits.acquire().await.ok();
        let (mut namespace, mut away) = match draft.namespace.as_deref() {
            None => (home, None),
            Some(namespace) if !self.places.is_watched(namespace) => (home, Some(Away::NotWatched)),
            Some(namespace) => (namespace, None),
        };
        loop {
            match self.put(namespace, draft, away, series).await {
                // Twice at most: nothing is refused at home but by an error.
                Ok(Placed::Elsewhere(why)) => (namespace, away) = (home, Some(why)),
                Ok(Placed::Here(stored)) => return self.counted(draft, namespace, Ok(stored)),
                Err(error) => return self.counted(draft, namespace, Err(error)),
            }
        }
    }

    fn counted(&self, draft: &Draft, namespace: &str, stored: Result<Stored, ApiError>) -> Result<Stored, ApiError> {
        let result = match &stored {
            Ok(Stored { created: true, .. }) => StoreResult::Created,
            Ok(_) => StoreResult::Existed,
            Err(_) => StoreResult::Failed,
        };
        let origin = draft.namespace.as_deref() == Some(namespace);
        let metrics = self.metrics.of(draft.shared.label);
        metrics.stored(result, if origin { SignalNamespace::Origin } else { SignalNamespace::Fallback });
        stored
    }

    /// Stores it in this namespace, under a name of its own where the first one is that of an earlier report.
    async fn put(
        &self,
        namespace: &str,
        draft: &Draft,
        away: Option<Away>,
        series: &BodySeries<'_>,
    ) -> Result<Placed, ApiError> {
        let already = |name| Placed::Here(Stored::already(namespace, name));
        let created = |name| Placed::Here(Stored { created: true, ..Stored::already(namespace, name) });
        match self.create(namespace, &draft.name, draft, away).await? {
            Made::Refused(why) => return Ok(Placed::Elsewhere(why)),
            Made::Created => {
                self.known.add(draft, namespace);
                return Ok(created(draft.name.clone()));
            }
            Made::Existed => self.known.add(draft, namespace),
        }
        Ok(match series.precedent(namespace, draft).await? {
            Precedent::Repeat(name) => already(name),
            // Somebody made it after the list was read: the other one of a pair.
            Precedent::Unseen => already(draft.name.clone()),
            Precedent::News(name) => match self.create(namespace, &name, draft, away).await? {
                Made::Refused(why) => Placed::Elsewhere(why),
                Made::Created => created(name),
                Made::Existed => already(name),
            },
        })
    }

    /// Creates it under this name.
    async fn create(&self, namespace: &str, name: &str, draft: &Draft, away: Option<Away>) -> Result<Made, ApiError> {
        let signal = object(draft, name, away);
        match call(|| format!("create Signal {namespace}/{name}"), self.send(namespace, &signal)).await {
            Ok(()) => Ok(Made::Created),
            Err(ApiError::Kube { cause, .. }) if matches!(cause.as_ref(), kube::Error::Api(s) if s.is_already_exists()) => {
                Ok(Made::Existed)
            }
            Err(error) => match Away::of(&error) {
                Some(why) if namespace != self.places.home() => {
                    if self.is_stored(namespace, name, &error).await? {
                        return Ok(Made::Existed);
                    }
                    tracing::debug!(error = told(&error), "a Signal goes to the operator's namespace");
                    Ok(Made::Refused(why))
                }
                _ => Err(error),
            },
        }
    }

    /// Whether another replica was faster: a namespace at its quota refuses a Signal before it looks whether it exists, and a second one
    /// in the operator's namespace would be a second storm of the same alerts.
    async fn is_stored(&self, namespace: &str, name: &str, refusal: &ApiError) -> Result<bool, ApiError> {
        // A list, not a get: that right is there for the watch.
        let params = ListParams::default().fields(&format!("metadata.name={name}")).limit(1);
        let api: Api<Signal> = Api::namespaced(self.client.clone(), namespace);
        // A quota is charged a moment before the object can be read.
        let looks = if refusal.to_string().contains("exceeded quota") { 2 } else { 1 };
        for look in 0..looks {
            if look > 0 {
                tokio::time::sleep(QUOTA_LAG).await;
            }
            match call(|| format!("look for Signal {namespace}/{name}"), api.list_metadata(&params)).await {
                Ok(found) if found.items.is_empty() => {}
                Ok(_) => return Ok(true),
                // Whoever may not look there, or finds no namespace, has stored nothing there either.
                Err(error) if matches!(error.code(), Some(403 | 404)) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    async fn send(&self, namespace: &str, signal: &Signal) -> Result<(), kube::Error> {
        let path = format!("{}?fieldManager={}", Signal::url_path(&(), Some(namespace)), api::FIELD_MANAGER);
        let body = serde_json::to_vec(signal).map_err(kube::Error::SerdeError)?;
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, METADATA_ONLY)
            .body(Body::from(body))
            .map_err(kube::Error::HttpError)?;
        let response = self.client.send(request).await?;
        let code = response.status();
        let mut body = axum::body::Body::new(response.into_body()).into_data_stream();
        // Read to its end, so that the connection can be used again.
        let mut answer = Vec::new();
        while let Some(part) = body.next().await {
            let part = part.map_err(|error| kube::Error::Service(error.into()))?;
            let room = MAX_STATUS.saturating_sub(answer.len());
            answer.extend_from_slice(&part[..part.len().min(room)]);
        }
        // Nothing else means that it is stored: a 200 is of something that answers in the API server's place, such as a proxy's page.
        if code == StatusCode::CREATED {
            return Ok(());
        }
        let unknown = || Status::failure("the answer is not of an API server", "Unknown");
        let status: Status = serde_json::from_slice(&answer).unwrap_or_else(|_| unknown());
        Err(kube::Error::Api(Box::new(status.with_code(code.as_u16()))))
    }
}

fn object(draft: &Draft, name: &str, away: Option<Away>) -> Signal {
    let key = |name: &str| format!("{}/{name}", api::GROUP);
    let spec = draft.spec();
    let labels = [
        (key("source"), draft.shared.source.kind.clone()),
        (Mark::Series.key(), draft.series.clone()),
        (Mark::Received.key(), draft.shared.bucket.to_string()),
    ];
    let mut annotations: BTreeMap<_, _> = [(Mark::ReportedAt.key(), draft.shared.received.to_string())].into();
    if let Some(away) = away {
        annotations.insert(key("origin-namespace"), draft.namespace.clone().unwrap_or_default());
        annotations.insert(key("origin-reason"), away.reason().to_owned());
    }
    Signal {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.into()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("stormfold-system", &[], "stormfold-system")]
    #[case("stormfold-system", &["prod", "stormfold-system"], "stormfold-system")]
    #[case("stormfold-system", &["prod", "web"], "prod")]
    fn what_nobody_watches_takes_no_signals(#[case] own: &str, #[case] watched: &[&str], #[case] home: &str) {
        let places = Places::new(own, watched.iter().map(ToString::to_string).collect());
        assert_eq!(places.home(), home);
        assert!(places.is_watched(home));
    }
}
