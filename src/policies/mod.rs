//! The policies of the cluster, as a value: which policy a Signal is under, and what the policy of a storm says. Read often, replaced on each edit.

mod book;
mod status;
mod translate;
mod watching;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

pub use status::write_statuses;
pub use watching::{tell_policies, watch_namespaces, watch_policies};

pub(crate) use book::Book;

use crate::runtime::error::{ApiError, call};
use crate::storm::matching::Labels;
use crate::storm::{GroupBy, Policy, PolicySet};

/// More namespaces that are gone than these are not remembered: they are looked for again.
const MAX_GONE: usize = 1_000;

/// The policies in force and the labels of namespaces. Read often, replaced on each edit.
pub struct Policies {
    namespace_api: Api<PartialObjectMeta<Namespace>>,
    book: Mutex<Book>,
    view: RwLock<View>,
    /// How often the policies changed: what follows them looks again.
    changes: watch::Sender<u64>,
    /// Whether the first list of policies, and of namespaces, is complete.
    listed: watch::Sender<(bool, bool)>,
    matched: Mutex<HashMap<String, Timestamp>>,
    /// Namespaces that were not there when they were looked for, and the creation of the newest Signal that asked: older ones were in the
    /// same namespace, and are asked for no more. One that is made again has newer Signals.
    gone: Mutex<HashMap<String, Timestamp>>,
    /// Namespaces that were seen to go. When Signals are in one of them again, it was made again.
    deleted: Mutex<HashSet<String>>,
}

/// The policies and the namespaces as of one moment.
#[derive(Clone)]
pub struct View {
    /// The policies.
    pub set: Arc<PolicySet>,
    namespaces: Arc<HashMap<String, NamespaceFacts>>,
}

/// What is known of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NamespaceFacts {
    labels: Arc<Labels>,
    /// When it was made. One of the same name that is made later is another one.
    made: Option<Timestamp>,
    /// When its deletion began: a Signal that was created since is in another one.
    deleted: Option<Timestamp>,
}

impl NamespaceFacts {
    fn of(namespace: &PartialObjectMeta<Namespace>) -> Self {
        Self {
            labels: Arc::new(namespace.labels().clone()),
            made: namespace.creation_timestamp().map(|time| time.0),
            deleted: namespace.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        }
    }
}

impl View {
    /// What these policies say, in namespaces with these labels.
    pub(crate) fn new(book: &Book, namespaces: HashMap<String, Arc<Labels>>) -> Self {
        let facts = |(name, labels)| (name, NamespaceFacts { labels, made: None, deleted: None });
        Self { set: Arc::new(book.compile()), namespaces: Arc::new(namespaces.into_iter().map(facts).collect()) }
    }

    /// The labels of a namespace; none, where it is not known.
    pub fn labels_of(&self, namespace: &str) -> Arc<Labels> {
        self.namespaces.get(namespace).map(|facts| facts.labels.clone()).unwrap_or_default()
    }

    /// When a namespace was made, where it is known.
    pub fn made(&self, namespace: &str) -> Option<Timestamp> {
        self.namespaces.get(namespace)?.made
    }
}

impl Policies {
    /// No policy but `built_in`, until the watches have brought those of the cluster.
    pub fn new(client: Client, built_in: Policy) -> Self {
        let book = Book::new(built_in);
        let view = View::new(&book, HashMap::new());
        Self {
            namespace_api: Api::all(client),
            book: Mutex::new(book),
            view: RwLock::new(view),
            changes: watch::Sender::new(0),
            listed: watch::Sender::new((false, false)),
            matched: Mutex::default(),
            gone: Mutex::default(),
            deleted: Mutex::default(),
        }
    }

    /// `built_in` and nothing else, for ever: for whoever may not read what belongs to the whole cluster.
    pub fn built_in_only(client: Client, built_in: Policy) -> Self {
        let policies = Self::new(client, built_in);
        policies.listed.send_replace((true, true));
        policies
    }

    /// As of now.
    pub fn view(&self) -> View {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the policy of this name says now.
    pub fn named(&self, name: &str) -> Arc<Policy> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).set.named(name).clone()
    }

    /// Told after each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until the first list of policies is complete: before that a webhook could be cut into Signals that have too much in common.
    pub async fn policies_listed(&self) {
        let _ = self.listed.subscribe().wait_for(|(policies, _)| *policies).await;
    }

    /// Waits until the first lists are complete: before that a Signal could come under a wrong policy.
    pub async fn listed(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.listed.subscribe().wait_for(|(policies, namespaces)| *policies && *namespaces).await;
    }

    /// Says under which groupings storms are open: what belongs to them joins them, although their policy groups otherwise by now.
    pub fn note_open(&self, open: impl IntoIterator<Item = (String, GroupBy)>) {
        let mut book = self.book();
        if book.note_open(open) {
            self.publish(&book);
        }
    }

    /// A Signal was matched that was not seen before.
    pub fn matched(&self, policy: &str, now: Timestamp) {
        let mut matched = self.matched.lock().unwrap_or_else(PoisonError::into_inner);
        match matched.get_mut(policy) {
            Some(last) => *last = now.max(*last),
            None => drop(matched.insert(policy.to_owned(), now)),
        }
    }

    /// Makes sure that the labels of a namespace are known if a policy asks for any, and that one is known again that was made again: its
    /// Signals may be here before its watch event is (case E12). One that is gone has no labels, and what was created in it until `created` needs none.
    pub async fn know_namespace(&self, namespace: &str, created: Timestamp) -> Result<(), ApiError> {
        let view = self.view();
        let is_known = match view.namespaces.get(namespace) {
            Some(facts) => facts.deleted.is_none_or(|deleted| created < deleted),
            None => !view.set.asks_for_namespaces() && !self.deleted().contains(namespace),
        };
        if is_known {
            return Ok(());
        }
        if self.gone().get(namespace).is_some_and(|newest| created <= *newest) {
            return Ok(());
        }
        // A list, not a get: that right is there for the watch. Without a version it is no cache's answer: who has created a Signal in a
        // namespace, and finds none, finds that it is gone.
        let params = ListParams::default().fields(&format!("metadata.name={namespace}")).limit(1);
        let found = call(|| format!("look for Namespace {namespace}"), self.namespace_api.list(&params)).await?;
        if let Some(found) = found.items.first() {
            self.put_namespace(found);
        } else {
            tracing::info!(namespace, "a Signal is in a namespace that is gone: policies see no labels of it");
            self.forget_namespace(namespace, created);
        }
        Ok(())
    }

    /// Takes it that a namespace has no labels, for Signals that were created until `created`.
    pub fn forget_namespace(&self, namespace: &str, created: Timestamp) {
        let mut gone = self.gone();
        if gone.len() >= MAX_GONE {
            gone.clear();
        }
        gone.insert(namespace.to_owned(), created);
    }

    fn gone(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is told late of one that went before says nothing of this one.
    fn put_namespace(&self, namespace: &PartialObjectMeta<Namespace>) {
        let (name, facts) = (namespace.name_any(), NamespaceFacts::of(namespace));
        self.deleted().remove(&name);
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if view.namespaces.get(&name).is_none_or(|known| *known != facts && known.made <= facts.made) {
            Arc::make_mut(&mut view.namespaces).insert(name, facts);
        }
    }

    /// It is gone, unless it was made again after `made`.
    fn remove_namespace(&self, name: &str, made: Option<Timestamp>) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if made.is_some() && view.namespaces.get(name).is_some_and(|known| known.made > made) {
            return;
        }
        Arc::make_mut(&mut view.namespaces).remove(name);
        drop(view);
        let mut deleted = self.deleted();
        if deleted.len() >= MAX_GONE {
            deleted.clear();
        }
        deleted.insert(name.to_owned());
    }

    fn deleted(&self) -> MutexGuard<'_, HashSet<String>> {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the book, and compiles it if that changed anything.
    fn edit(&self, change: impl FnOnce(&mut Book) -> bool) {
        let mut book = self.book();
        if change(&mut book) {
            self.publish(&book);
        }
    }

    fn publish(&self, book: &Book) {
        self.view.write().unwrap_or_else(PoisonError::into_inner).set = Arc::new(book.compile());
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// No method panics while it holds the lock, so a poisoned lock still guards a whole book.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
