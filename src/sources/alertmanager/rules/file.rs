//! Rules as they are written: in `targets.yaml`, and in a settings file. What a rule says is explained in `targets.yaml`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, de};

use crate::storm::Severity;

/// A settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SettingsText {
    /// Labels that name a resource, whoever reports.
    #[serde(default)]
    pub(super) targets: Vec<KindOfLabel>,
    /// Before all built-in ones.
    #[serde(default)]
    pub(super) rules: Vec<RuleText>,
    #[serde(default)]
    pub(super) remove_rules: Vec<String>,
    #[serde(default)]
    pub(super) clusters: Vec<ClusterText>,
    #[serde(default)]
    pub(super) severities: HashMap<String, Severity>,
    #[serde(default)]
    pub(super) exporters: Vec<String>,
}

/// A label that names a resource.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct KindOfLabel {
    pub(super) label: String,
    #[serde(default)]
    pub(super) api_version: Option<String>,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) cluster_scoped: bool,
}

/// The built-in file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct BuiltInText {
    pub(super) reporters: Vec<String>,
    pub(super) exporters: Vec<String>,
    pub(super) elsewhere: Vec<String>,
    pub(super) here: Vec<String>,
    pub(super) kinds: Vec<KindText>,
    pub(super) rules: Vec<RuleText>,
    pub(super) namespace: OneOrMany,
    pub(super) clusters: Vec<ClusterText>,
}

/// A kind, and what labels call it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct KindText {
    pub(super) kind: String,
    pub(super) words: Vec<String>,
    #[serde(default)]
    pub(super) api_version: Option<String>,
    #[serde(default)]
    pub(super) cluster_scoped: bool,
    #[serde(default)]
    pub(super) owner: bool,
    #[serde(default)]
    pub(super) alert: Option<String>,
    #[serde(default)]
    pub(super) spelled: bool,
}

/// A rule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a line of a file that people write")]
pub(super) struct RuleText {
    pub(super) rule: String,
    pub(super) of: String,
    pub(super) jobs: OneOrMany,
    pub(super) alerts: OneOrMany,
    pub(super) of_exporters: bool,
    pub(super) labels: BTreeMap<String, OneOrMany>,
    pub(super) has: OneOrMany,
    pub(super) target: Targets,
    pub(super) spelling: OneOrMany,
    pub(super) without: OneOrMany,
    pub(super) pairs: bool,
    pub(super) kind_in_alert: bool,
    pub(super) namespace: OneOrMany,
    pub(super) stays_in_namespace: bool,
    pub(super) drop: Option<String>,
    pub(super) example: Option<ExampleText>,
}

/// One label of a rule that has the name of a resource.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct TargetText {
    pub(super) label: String,
    pub(super) kind: Option<String>,
    pub(super) api_version: Option<String>,
    pub(super) kind_label: Option<String>,
    pub(super) group_label: Option<String>,
    pub(super) version_label: Option<String>,
    pub(super) cluster_scoped: bool,
    pub(super) shape: NameShape,
    /// Even where it is the reporter's own pod.
    pub(super) itself: bool,
}

/// What a value must look like to be a name.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) enum NameShape {
    /// As Kubernetes names objects.
    #[default]
    Object,
    /// The same, and no address.
    NodeName,
    /// `NAME.NAMESPACE.svc` and perhaps more.
    ServiceHost,
}

/// Whether a label is the name of the cluster.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct ClusterText {
    pub(super) rule: String,
    pub(super) of: String,
    pub(super) jobs: OneOrMany,
    pub(super) alerts: OneOrMany,
    pub(super) labels: BTreeMap<String, OneOrMany>,
    pub(super) has: OneOrMany,
    pub(super) cluster: OneOrMany,
    /// For a label `cluster` after which who reports is called.
    pub(super) alike: bool,
    pub(super) example: Option<ExampleText>,
}

/// Labels, and what they come to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "each is a test")]
pub(super) struct ExampleText {
    pub(super) labels: BTreeMap<String, OneOrMany>,
    pub(super) is: String,
}

/// One text, or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OneOrMany(pub(super) Vec<String>);

/// One target, or several.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets(pub(super) Vec<TargetText>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<OneOrMany, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<OneOrMany, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<OneOrMany, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Targets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a target with label and kind, or a list of them")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Targets, A::Error> {
                let target = TargetText::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Targets(vec![target]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Targets, A::Error> {
                let mut targets = Vec::new();
                while let Some(target) = seq.next_element()? {
                    targets.push(target);
                }
                Ok(Targets(targets))
            }
        }
        deserializer.deserialize_any(Read)
    }
}
