//! The program as kubectl finds it, with an account that may only look.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::operator::kubeconfig_of;
use super::world::World;

/// What an account may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// Nothing.
    Nothing,
    /// Look at what is in its namespace.
    LookHere,
    /// Look at what `why` depends on, StormPolicies and namespaces included.
    Look,
    /// What an engine and a person may, too.
    Act,
}

/// The program under the name by which kubectl finds it.
pub struct Plugin {
    files: TempDir,
    namespace: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// The answer of a command that did what it was asked.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Plugin {
    /// With an account of its own in the namespace of this world.
    pub async fn of(world: &World, may: May) -> Self {
        let name = match may {
            May::Nothing => "nothing",
            May::LookHere => "look-here",
            May::Look => "look",
            May::Act => "act",
        };
        grant(world, name, may).await;
        Self::with(&kubeconfig_of(&world.client, &world.namespace, name).await, &world.namespace)
    }

    /// With this kubeconfig, and its script for completion.
    pub fn with(kubeconfig: &str, namespace: &str) -> Self {
        let files = TempDir::new().unwrap();
        std::fs::write(files.path().join("kubeconfig"), kubeconfig).unwrap();
        symlink(env!("CARGO_BIN_EXE_stormfold"), files.path().join("kubectl-storm")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/kubectl/kubectl_complete-storm");
        symlink(script, files.path().join("kubectl_complete-storm")).unwrap();
        Self { files, namespace: namespace.to_owned() }
    }

    /// The folder that has the program, for PATH.
    pub fn folder(&self) -> PathBuf {
        self.files.path().to_owned()
    }

    /// `kubectl-storm ARGUMENTS --namespace …`.
    pub fn ask(&self, arguments: &[&str]) -> Answer {
        let mut command = Command::new(self.folder().join("kubectl-storm"));
        command.args(arguments).args(["--namespace", &self.namespace]);
        self.run(command)
    }

    /// The same without a namespace.
    pub fn ask_all(&self, arguments: &[&str]) -> Answer {
        let mut command = Command::new(self.folder().join("kubectl-storm"));
        command.args(arguments);
        self.run(command)
    }

    /// What the real kubectl offers to a shell behind `kubectl storm`.
    pub fn complete(&self, words: &[&str]) -> Answer {
        let mut command = Command::new("kubectl");
        command.args(["__complete", "storm"]).args(words);
        self.run(command)
    }

    /// `kubectl storm ARGUMENTS --namespace …` with the real kubectl.
    pub fn ask_kubectl(&self, arguments: &[&str]) -> Answer {
        let mut command = Command::new("kubectl");
        command.arg("storm").args(arguments).args(["--namespace", &self.namespace]);
        self.run(command)
    }

    /// The same as a process that goes on. What it writes is read by the caller.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(self.folder().join("kubectl-storm"));
        command.args(arguments).args(["--namespace", &self.namespace]).stdout(Stdio::piped());
        self.at(&mut command).spawn().expect("it starts")
    }

    fn at<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let path = format!("{}:{}", self.folder().display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env("KUBECONFIG", self.folder().join("kubeconfig"))
    }

    fn run(&self, mut command: Command) -> Answer {
        self.at(&mut command);
        let output = command.output().expect("it starts");
        Answer {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The answer of `why -o json`.
    pub fn why(&self, object: &str) -> Value {
        self.ask(&["why", object, "-o", "json"]).json()
    }
}

/// An account, and its rights.
async fn grant(world: &World, name: &str, may: May) {
    let namespace = &world.namespace;
    let here = |value: Value| (world.client.clone(), namespace.clone(), value);
    create_in::<ServiceAccount>(here(json!({ "metadata": { "name": name } }))).await;
    let looks = |group: &str, resources: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"] });
    let mut rules = Vec::new();
    if may != May::Nothing {
        rules.push(looks("stormfold.dev", &["signals", "remediationrequests"]));
        rules.push(looks("events.k8s.io", &["events"]));
    }
    if may == May::Act {
        let resources = ["remediationrequests", "remediationrequests/status"];
        rules.push(json!({ "apiGroups": ["stormfold.dev"], "resources": resources, "verbs": ["patch"] }));
    }
    let role = |kind: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
    let subjects = json!([{ "kind": "ServiceAccount", "name": name, "namespace": namespace }]);
    create_in::<Role>(here(json!({ "metadata": { "name": name }, "rules": rules }))).await;
    let binding = json!({ "metadata": { "name": name }, "roleRef": role("Role"), "subjects": subjects });
    create_in::<RoleBinding>(here(binding)).await;
    if matches!(may, May::Look | May::Act) {
        let wide = format!("{namespace}-{name}");
        let rules = json!([looks("stormfold.dev", &["stormpolicies"]), looks("", &["namespaces"])]);
        create(Api::<ClusterRole>::all(world.client.clone()), json!({ "metadata": { "name": wide }, "rules": rules }))
            .await;
        let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": wide });
        let binding = json!({ "metadata": { "name": wide }, "roleRef": role, "subjects": subjects });
        create(Api::<ClusterRoleBinding>::all(world.client.clone()), binding).await;
    }
}

async fn create_in<K>((client, namespace, object): (kube::Client, String, Value))
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + DeserializeOwned
        + Serialize
        + Clone
        + std::fmt::Debug,
{
    create(Api::<K>::namespaced(client, &namespace), object).await;
}

async fn create<K: DeserializeOwned + Serialize + Clone + std::fmt::Debug>(api: Api<K>, object: Value) {
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}
