//! What Signals must have in common to belong to one storm.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::Severity;
use super::pattern::{Parts, Scope, pattern};

/// Something that a Signal has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// The alert's name.
    Name,
    /// The namespace the trouble is in.
    Namespace,
    /// The cluster the trouble is in.
    Cluster,
    /// How bad it is.
    Severity,
    /// The kind of its source.
    Source,
    /// One of its labels.
    Label(String),
}

/// A text that names no attribute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not name, namespace, cluster, severity, source or label:KEY")]
pub struct UnknownAttribute(String);

impl FromStr for Attribute {
    type Err = UnknownAttribute;

    fn from_str(text: &str) -> Result<Self, UnknownAttribute> {
        match (text, text.strip_prefix("label:")) {
            ("name", _) => Ok(Self::Name),
            ("namespace", _) => Ok(Self::Namespace),
            ("cluster", _) => Ok(Self::Cluster),
            ("severity", _) => Ok(Self::Severity),
            ("source", _) => Ok(Self::Source),
            (_, Some(key)) if !key.is_empty() => Ok(Self::Label(key.to_owned())),
            _ => Err(UnknownAttribute(text.to_owned())),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("name"),
            Self::Namespace => f.write_str("namespace"),
            Self::Cluster => f.write_str("cluster"),
            Self::Severity => f.write_str("severity"),
            Self::Source => f.write_str("source"),
            Self::Label(key) => write!(f, "label:{key}"),
        }
    }
}

/// The part of a Signal that it can be grouped by.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The alert's name.
    pub name: &'a str,
    /// Where the trouble is.
    pub scope: Scope<'a>,
    /// The cluster, where one is stated.
    pub cluster: Option<&'a str>,
    /// How bad it is.
    pub severity: Severity,
    /// The kind of its source, where one is stated.
    pub source: Option<&'a str>,
    /// Its labels. One with an empty value is missing, as in Prometheus.
    pub labels: &'a BTreeMap<String, String>,
}

/// The group of a Signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What identifies it.
    pub pattern: String,
    /// What it is grouped by, and the values in common; a missing one is empty.
    pub labels: BTreeMap<String, String>,
    /// The labels that the Signal lacks.
    pub missing: Vec<String>,
}

/// The attributes that Signals of one storm have in common. A set: the order in which they are written changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupBy(BTreeSet<Attribute>);

impl Default for GroupBy {
    fn default() -> Self {
        Self(BTreeSet::from([Attribute::Name, Attribute::Namespace]))
    }
}

impl FromIterator<Attribute> for GroupBy {
    fn from_iter<I: IntoIterator<Item = Attribute>>(attributes: I) -> Self {
        Self(attributes.into_iter().collect())
    }
}

impl GroupBy {
    /// The grouping that these group labels of a RemediationRequest were made by. `None` for labels that no grouping makes.
    pub fn of_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        let attributes: Result<Self, _> = labels.keys().map(|key| key.parse()).collect();
        // A cluster that is stated groups without being asked for.
        let mut attributes = attributes.ok()?;
        attributes.0.remove(&Attribute::Cluster);
        Some(attributes)
    }

    /// Whether storms stay within one namespace.
    pub fn has(&self, attribute: &Attribute) -> bool {
        self.0.contains(attribute)
    }

    /// The labels that it groups by.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|attribute| match attribute {
            Attribute::Label(key) => Some(key.as_str()),
            Attribute::Name | Attribute::Namespace | Attribute::Cluster | Attribute::Severity | Attribute::Source => {
                None
            }
        })
    }

    /// This grouping as [`GroupBy::of_labels`] reads it from an object.
    #[must_use]
    pub fn as_shown(&self) -> Self {
        Self(self.0.iter().filter(|attribute| **attribute != Attribute::Cluster).cloned().collect())
    }

    /// The group of a Signal. `ignore_missing`: labels that it lacks do not group it.
    pub fn group(&self, member: &Member<'_>, ignore_missing: bool) -> Group {
        // Two clusters never share a storm, whatever groups: decision 0001.
        let mut parts = Parts { cluster: member.cluster, ..Parts::default() };
        let mut labels = BTreeMap::new();
        let mut missing = Vec::new();
        for attribute in &self.0 {
            let value = match attribute {
                Attribute::Name => parts.name.insert(member.name).to_owned(),
                Attribute::Namespace => match parts.scope.insert(member.scope) {
                    Scope::Namespace(namespace) => (*namespace).to_owned(),
                    Scope::Cluster => String::new(),
                },
                Attribute::Cluster => continue,
                Attribute::Severity => parts.severity.insert(member.severity).as_str().to_owned(),
                Attribute::Source => parts.source.insert(member.source).unwrap_or_default().to_owned(),
                Attribute::Label(key) => {
                    let value = member.labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
                    if value.is_none() && !ignore_missing {
                        missing.push(key.clone());
                    }
                    if value.is_some() || !ignore_missing {
                        parts.labels.push((key, value));
                    }
                    value.unwrap_or_default().to_owned()
                }
            };
            labels.insert(attribute.to_string(), value);
        }
        labels.extend(member.cluster.map(|cluster| (Attribute::Cluster.to_string(), cluster.to_owned())));
        Group { pattern: pattern(&parts), labels, missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn member<'a>(labels: &'a BTreeMap<String, String>, cluster: Option<&'a str>) -> Member<'a> {
        let scope = Scope::Namespace("prod");
        Member { name: "HighLoad", scope, cluster, severity: Severity::Error, source: Some("probe"), labels }
    }

    fn by(texts: &[&str]) -> GroupBy {
        texts.iter().map(|text| text.parse::<Attribute>().unwrap()).collect()
    }

    #[test]
    fn the_order_in_which_attributes_are_written_changes_nothing() {
        let none = labels(&[]);
        let one = by(&["name", "namespace", "severity"]).group(&member(&none, None), false);
        let other = by(&["severity", "namespace", "name"]).group(&member(&none, None), false);
        assert_eq!(one, other);
        assert_eq!(one.pattern, "HighLoad in prod {severity=error}");
    }

    // Never silently into an empty bucket: absent and empty are one, and say so.
    #[test]
    fn a_missing_label_is_a_bucket_of_its_own_and_is_named() {
        let grouping = by(&["name", "label:team"]);
        let (with, without, empty) = (labels(&[("team", "a")]), labels(&[]), labels(&[("team", "")]));
        assert_eq!(grouping.group(&member(&with, None), false).pattern, "HighLoad (any namespace) {team=\"a\"}");
        for lacking in [&without, &empty] {
            let group = grouping.group(&member(lacking, None), false);
            assert_eq!(group.pattern, "HighLoad (any namespace) {team=-}");
            assert_eq!(group.missing, ["team"]);
            let ignored = grouping.group(&member(lacking, None), true);
            assert_eq!((ignored.pattern.as_str(), ignored.missing.len()), ("HighLoad (any namespace)", 0));
        }
    }

    #[test]
    fn group_labels_tell_what_they_were_grouped_by() {
        let have = labels(&[("team", "a")]);
        for grouping in [by(&["name", "namespace"]), by(&["source", "label:team", "label:gone"]), by(&["severity"])] {
            for cluster in [None, Some("east")] {
                let group = grouping.group(&member(&have, cluster), false);
                assert_eq!(GroupBy::of_labels(&group.labels), Some(grouping.clone()));
            }
        }
        assert_eq!(GroupBy::of_labels(&labels(&[("colour", "red")])), None);
        assert_eq!(by(&["name", "cluster"]).as_shown(), by(&["name"]));
    }

    #[test]
    fn a_stated_cluster_always_groups() {
        let none = labels(&[]);
        assert_eq!(
            by(&["name"]).group(&member(&none, Some("east")), false).pattern,
            "HighLoad (any namespace) on east"
        );
    }

    #[test]
    fn what_is_no_attribute_is_refused() {
        for text in ["", "label:", "labels:x", "Name"] {
            assert!(text.parse::<Attribute>().unwrap_err().to_string().contains("label:KEY"));
        }
    }
}
