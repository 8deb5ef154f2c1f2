//! Files of policies: StormPolicies as a cluster would take them, and Namespaces for their labels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt as _;
use serde_json::Value;

use super::documents::{FilePlace, InputFault, cut, objects};
use super::recording::namespace;
use crate::admission::admit_policy;
use crate::api::StormPolicy;

/// What files of policies say.
#[derive(Clone, Debug, Default)]
pub struct PolicyFiles {
    /// In their order.
    pub policies: Vec<StormPolicy>,
    /// The labels of namespaces.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    names: BTreeSet<String>,
}

impl PolicyFiles {
    /// Adds a file.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), InputFault> {
        let file: Arc<str> = file.into();
        let before = self.policies.len() + self.namespaces.len();
        for (place, value) in objects(&file, text)? {
            self.add_object(&place, value)?;
        }
        if self.policies.len() + self.namespaces.len() == before {
            let place = FilePlace { file, line: 1, document: None, item: None };
            return Err(InputFault::new(&place, "there is no StormPolicy in it"));
        }
        Ok(())
    }

    fn add_object(&mut self, place: &FilePlace, mut value: Value) -> Result<(), InputFault> {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        match (text("/apiVersion"), text("/kind")) {
            ("v1", "Namespace") => {
                let (name, labels) = namespace(place, &value)?;
                self.namespaces.insert(name, labels);
                return Ok(());
            }
            ("stormfold.dev/v1alpha1", "StormPolicy") => {}
            (version, "StormPolicy") => {
                let wrong = format!("apiVersion is {:?}: write stormfold.dev/v1alpha1", cut(version));
                return Err(InputFault::new(place, wrong));
            }
            (_, kind) => {
                let wrong = format!("kind is {:?}: a file of policies has StormPolicies and Namespaces", cut(kind));
                return Err(InputFault::new(place, wrong));
            }
        }
        if let Some(object) = value.as_object_mut() {
            object.remove("status");
        }
        let shown = value.clone();
        let policy = admit_policy(value).map_err(|faults| InputFault::refused(place, &shown, &faults))?;
        if !self.names.insert(policy.name_any()) {
            let wrong = format!("StormPolicy {} is there twice: a cluster has one of a name", policy.name_any());
            return Err(InputFault::new(place, wrong));
        }
        self.policies.push(policy);
        Ok(())
    }
}
