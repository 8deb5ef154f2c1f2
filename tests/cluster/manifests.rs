//! What is installed: the manifests as kubectl renders them, and as the API server takes them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the kubectl of the throwaway cluster in the root of the tree.
fn kubectl(arguments: &[&str]) -> Output {
    let mut command = Command::new("kubectl");
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.output().expect("kubectl is on PATH: hack/cluster/cluster with …")
}

/// What `kubectl kustomize` makes of this folder.
pub fn rendered(folder: &str) -> String {
    let output = kubectl(&["kustomize", folder]);
    assert!(output.status.success(), "{folder}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The objects of a rendered text.
pub fn objects(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

pub fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn what_one_command_installs_is_what_the_base_renders() {
    assert!(
        read("manifests/install.yaml") == rendered("manifests/base"),
        "manifests/install.yaml is old: run `make manifests`"
    );
}

/// Kinds and names, without namespaces.
fn names(objects: &[Value]) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    objects.iter().map(|object| format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))).collect()
}

#[test]
fn the_namespaced_operator_brings_nothing_that_belongs_to_the_whole_cluster() {
    let objects = objects(&rendered("manifests/overlays/namespaced"));
    let expected = [
        "Deployment/stormfold",
        "Role/stormfold",
        "Role/stormfold-storms",
        "RoleBinding/stormfold",
        "RoleBinding/stormfold-storms",
        "Service/stormfold",
        "ServiceAccount/stormfold",
    ];
    assert_eq!(names(&objects), expected.map(str::to_owned).into());
    for object in &objects {
        assert_eq!(object["metadata"]["namespace"], "team-a", "{object}");
    }
}

// Admission included: pod security, schemas, references between the parts of a Deployment.
#[test]
fn every_manifest_is_taken_by_the_api_server_without_a_warning() {
    for folder in ["manifests/base", "manifests/overlays/local", "manifests/overlays/namespaced"] {
        // The namespaces are there: stormfold-system is what the tests run in, team-a stands for somebody's own.
        let text = rendered(folder).replace("namespace: team-a", "namespace: default");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        let output = kubectl(&["apply", "--dry-run=server", "--validate=strict", "--filename", path]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{folder}: {said}");
    }
}
