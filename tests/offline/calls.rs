//! Every call to the API server that the code has, with the right that it needs: the rights of the manifests are those, and no others. What
//! a test plays may miss a call (row R2 was one); reading the tree does not.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::guards::{root, rust_files};

/// File, receiver and method of each call, and the rights that it needs.
const CALLS: &[(&str, &str, &[&str])] = &[
    ("cluster/mod.rs", "api.list", &["stormfold.dev/remediationrequests:list"]),
    ("cluster/mod.rs", "api().create", &["stormfold.dev/remediationrequests:create"]),
    ("cluster/mod.rs", "api().get_opt", &["stormfold.dev/remediationrequests:get"]),
    ("cluster/mod.rs", "api().patch_status", &["stormfold.dev/remediationrequests/status:patch"]),
    ("cluster/receipt.rs", "api.patch_status", &["stormfold.dev/signals/status:patch"]),
    ("sources/writer/recall.rs", "api.list", &["stormfold.dev/signals:list"]),
    ("sources/writer/mod.rs", "api.list_metadata", &["stormfold.dev/signals:list"]),
    ("sources/writer/mod.rs", "client.send", &["stormfold.dev/signals:create"]),
    ("sources/writer/series.rs", "api.list_metadata", &["stormfold.dev/signals:list"]),
    ("policies/mod.rs", "namespace_api.list", &["/namespaces:list"]),
    ("policies/status.rs", "api.patch_status", &["stormfold.dev/stormpolicies/status:patch"]),
    ("retention/mod.rs", "api.list", &["stormfold.dev/signals:list"]),
    ("retention/mod.rs", "api.delete", &["stormfold.dev/signals:delete", "stormfold.dev/remediationrequests:delete"]),
    ("runtime/crds.rs", "api.get", &["apiextensions.k8s.io/customresourcedefinitions:get"]),
    ("runtime/events.rs", "recorder.publish", &["events.k8s.io/events:create", "events.k8s.io/events:patch"]),
    ("runtime/leader.rs", "api.get_opt", &["coordination.k8s.io/leases:get"]),
    ("runtime/leader.rs", "api.create", &["coordination.k8s.io/leases:create"]),
    ("runtime/leader.rs", "api.replace", &["coordination.k8s.io/leases:update"]),
    ("runtime/part_gate.rs", "api.list_metadata", LISTED),
    ("runtime/part_gate.rs", "api.watch_metadata", WATCHED),
    ("runtime/watch.rs", "watcher", LISTED),
    ("runtime/watch.rs", "watcher", WATCHED),
    ("watch/lister.rs", "api.list", &["stormfold.dev/signals:list"]),
];

/// What is watched is listed first.
const LISTED: &[&str] = &[
    "stormfold.dev/signals:list",
    "stormfold.dev/remediationrequests:list",
    "stormfold.dev/stormpolicies:list",
    "/namespaces:list",
    "events.k8s.io/events:list",
];
const WATCHED: &[&str] = &[
    "stormfold.dev/signals:watch",
    "stormfold.dev/remediationrequests:watch",
    "stormfold.dev/stormpolicies:watch",
    "/namespaces:watch",
    "events.k8s.io/events:watch",
];

/// Methods of kube's `Api`, `Client` and `Recorder` that make a call.
const METHODS: &[&str] = &[
    "get",
    "get_opt",
    "get_metadata",
    "get_metadata_opt",
    "get_status",
    "get_subresource",
    "list",
    "list_metadata",
    "create",
    "create_subresource",
    "delete",
    "delete_collection",
    "patch",
    "patch_metadata",
    "patch_status",
    "patch_subresource",
    "replace",
    "replace_status",
    "replace_subresource",
    "watch",
    "watch_metadata",
    "entry",
    "evict",
    "send",
    "request",
    "request_text",
    "request_status",
    "publish",
];

/// What makes calls by itself.
const FUNCTIONS: &[&str] = &["watcher", "metadata_watcher", "reflector", "finalizer"];

/// Who is called so in a file that has an API, and is a map, a channel, one of ours, or a client of something else.
const OTHERS: &[(&str, &str)] = &[
    ("sources/writer/series.rs", "all.get"),
    ("sources/writer/series.rs", "by_namespace.get"),
    ("sources/writer/series.rs", "labels.get"),
    ("sources/writer/series.rs", "listing.entry"),
    ("sources/writer/series.rs", "listing.get"),
    ("sources/writer/series.rs", "or_default().entry"),
    ("sources/writer/series.rs", "self.list"),
    ("sources/alertmanager/poll/peer.rs", "client.send"),
    ("sources/alertmanager/poll/peer.rs", "labels.get"),
    ("sources/alertmanager/poll/peer.rs", "starts_at.get"),
    ("app.rs", "crds.watch"),
    ("app.rs", "self.watch"),
    ("cluster/mod.rs", "self.create"),
    ("cluster/mod.rs", "self.get"),
    ("sources/writer/mod.rs", "self.create"),
    ("sources/writer/mod.rs", "self.send"),
    ("sources/http/security.rs", "tokens.get"),
    ("policies/mod.rs", "gone().get"),
    ("policies/mod.rs", "namespaces.get"),
    ("policies/mod.rs", "self.publish"),
    ("policies/status.rs", "matched.get"),
    ("policies/status.rs", "open.get"),
    ("policies/watching.rs", "inbox.send"),
    ("retention/mod.rs", "looked.get"),
    ("runtime/watch.rs", "self.watch"),
    ("watch/arrival.rs", "status.get"),
    ("watch/requests.rs", "inbox.send"),
];

/// What comes before `.method(`: its last part, without arguments.
fn receiver(before: &str) -> String {
    let (mut depth, mut name) = (0, Vec::new());
    for c in before.chars().rev() {
        match c {
            ')' => depth += 1,
            '(' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    name.extend([')', '(']);
                }
            }
            _ if depth > 0 => {}
            c if c.is_alphanumeric() || c == '_' => name.push(c),
            _ => break,
        }
    }
    name.iter().rev().collect()
}

/// The calls of a text, each as receiver and method.
fn calls(text: &str) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for method in METHODS {
        let pattern = format!(".{method}(");
        for (at, _) in text.match_indices(&pattern) {
            calls.insert(format!("{}.{method}", receiver(text[..at].trim_end())));
        }
    }
    for function in FUNCTIONS {
        let begins = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
        let mut places = text.match_indices(&format!("{function}(")).map(|(at, _)| at).collect::<Vec<_>>();
        places.retain(|at| begins(*at) && !text[..*at].ends_with("fn "));
        if !places.is_empty() {
            calls.insert((*function).to_owned());
        }
    }
    calls
}

/// The program's text without comments and tests.
fn program(file: &std::path::Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn every_call_to_the_api_server_is_in_the_table_of_calls() {
    let mut found = BTreeSet::new();
    for path in rust_files(&root().join("src")) {
        let file = path.strip_prefix(root().join("src")).unwrap().display().to_string();
        let text = program(&path);
        // Without one of these in hand nobody calls the API server.
        let has_api = ["Api<", "Api::", "Client", "Recorder", "watcher"].iter().any(|word| text.contains(word));
        // Whoever calls `kubectl storm` has rights of his own: `check` has the table of those.
        let ours = !file.starts_with("ledger/") && !file.starts_with("kubectl/");
        if has_api && !file.ends_with("tests.rs") && ours {
            found.extend(calls(&text).into_iter().map(|call| (file.clone(), call)));
        }
    }
    let known: BTreeSet<_> = CALLS.iter().map(|(file, call, _)| ((*file).to_owned(), (*call).to_owned())).collect();
    let others: BTreeSet<_> = OTHERS.iter().map(|(file, call)| ((*file).to_owned(), (*call).to_owned())).collect();
    let new: Vec<_> = found.iter().filter(|call| !known.contains(*call) && !others.contains(*call)).collect();
    let gone: Vec<_> = known.union(&others).filter(|call| !found.contains(*call)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "not in the table, with the right that it needs: {new:#?}\nin no file: {gone:#?}"
    );
}

/// The rights that the rules of these manifests give.
fn granted(manifest: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(manifest)).unwrap();
    let mut rights = BTreeSet::new();
    for document in text.split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document).unwrap();
        for rule in object["rules"].as_array().into_iter().flatten() {
            let words = |key: &str| rule[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
            for group in words("apiGroups") {
                for resource in words("resources") {
                    rights.extend(words("verbs").map(|verb| format!("{group}/{resource}:{verb}")));
                }
            }
        }
    }
    rights
}

#[test]
fn the_rights_of_the_manifests_are_those_of_the_calls_in_the_code() {
    let needed: BTreeSet<String> =
        CALLS.iter().flat_map(|(.., rights)| *rights).map(|right| (*right).to_owned()).collect();
    let (base, events) =
        (granted("manifests/base/rbac.yaml"), granted("manifests/components/events-source/rights.yaml"));
    assert!(base.is_disjoint(&events), "the base reads no Events: {base:#?}");
    let granted: BTreeSet<_> = base.union(&events).cloned().collect();
    let lacks: Vec<_> = needed.difference(&granted).collect();
    let idle: Vec<_> = granted.difference(&needed).collect();
    assert!(lacks.is_empty() && idle.is_empty(), "lacks: {lacks:#?}\nnot needed: {idle:#?}");
}

#[test]
fn a_call_is_found_however_it_is_written() {
    let text = "call(what, self.api(&namespace).get_opt(name)).await; self.api\n    .list(&params); let w = watcher(api, c); map.get(&1);";
    let expected = ["api().get_opt", "api.list", "map.get", "watcher"].map(str::to_owned);
    assert_eq!(calls(text), BTreeSet::from(expected));
}
