//! The text of what is grouped. People read it, names are derived from it, so it must be injective: two different groups
//! never share a text, whatever they are grouped by.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::Severity;

/// The longest text, in characters: what `spec.pattern` of a RemediationRequest takes.
const MAX_PATTERN: usize = 400;
/// Where a longer one is cut. No text without labels is as long (200 + 4 + 63 + 4 + 100).
const CUT: usize = 380;

/// Where the trouble is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// In a namespace.
    Namespace(&'a str),
    /// In none, such as a Node's trouble.
    Cluster,
}

/// What the members of a group have in common. `None`: it is not grouped by that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The alert's name.
    pub name: Option<&'a str>,
    /// Where the trouble is.
    pub scope: Option<Scope<'a>>,
    /// The cluster, where one is stated.
    pub cluster: Option<&'a str>,
    /// The severity.
    pub severity: Option<Severity>,
    /// The kind of the source; the inner `None`: no source is stated.
    pub source: Option<Option<&'a str>>,
    /// Labels and their values, sorted by label; `None`: the label is missing.
    pub labels: Vec<(&'a str, Option<&'a str>)>,
}

/// `HighMemoryUsage in prod-payments`; `NodeNotReady (cluster-scoped)`; `HighLatency (any namespace)`; `prod (any alert)`; `any alert anywhere`; with a cluster,
/// ` on CLUSTER` behind it; with more in common, ` {severity=critical, team="a", zone=-}` behind that.
///
/// Read from the end it has one meaning only. Braces close nothing but the last part, and in it ` {` stands within quotes only, behind an
/// odd number of quotes. Neither a namespace nor a cluster contains a space or a parenthesis, so the last words before tell the form whatever the
/// alert's name is. A text that is too long is cut and ends with a digest of the whole behind `…#`, as nothing else does.
pub fn pattern(parts: &Parts<'_>) -> String {
    let mut text = match (parts.name, parts.scope) {
        (Some(name), Some(Scope::Namespace(namespace))) => format!("{name} in {namespace}"),
        (Some(name), Some(Scope::Cluster)) => format!("{name} (cluster-scoped)"),
        (Some(name), None) => format!("{name} (any namespace)"),
        (None, Some(Scope::Namespace(namespace))) => format!("{namespace} (any alert)"),
        (None, Some(Scope::Cluster)) => "cluster-scoped trouble (any alert)".to_owned(),
        (None, None) => "any alert anywhere".to_owned(),
    };
    if let Some(cluster) = parts.cluster {
        text.push_str(" on ");
        text.push_str(cluster);
    }
    let more = more(parts);
    if !more.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(text, " {{{}}}", more.join(", "));
    }
    cut(text)
}

fn more(parts: &Parts<'_>) -> Vec<String> {
    let severity = parts.severity.map(|severity| format!("severity={}", severity.as_str()));
    let source = parts.source.map(|source| format!("source={}", source.unwrap_or("-")));
    let label = |(key, value): &(&str, Option<&str>)| match value {
        Some(value) => format!("{key}={}", quoted(value)),
        None => format!("{key}=-"),
    };
    severity.into_iter().chain(source).chain(parts.labels.iter().map(label)).collect()
}

/// The value in quotes, on one line. Our own rules: a text is an identity, and must not change with a library's.
fn quoted(value: &str) -> String {
    let mut quoted = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.extend(c.escape_unicode()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn cut(text: String) -> String {
    if text.chars().count() <= MAX_PATTERN {
        return text;
    }
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let mut short: String = text.chars().take(CUT).collect();
    short.push_str("…#");
    digest[..8].iter().fold(short, |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case(Parts { name: Some("A"), scope: Some(Scope::Namespace("prod")), ..Parts::default() }, "A in prod")]
    #[case(Parts { name: Some("A"), scope: Some(Scope::Cluster), cluster: Some("c"), ..Parts::default() }, "A (cluster-scoped) on c")]
    #[case(Parts { name: Some("A"), ..Parts::default() }, "A (any namespace)")]
    #[case(Parts { scope: Some(Scope::Namespace("prod")), ..Parts::default() }, "prod (any alert)")]
    #[case(
        Parts { name: Some("A"), severity: Some(Severity::Critical), labels: vec![("team", Some("a \"b\"")), ("zone", None)], ..Parts::default() },
        r#"A (any namespace) {severity=critical, team="a \"b\"", zone=-}"#
    )]
    fn the_text_says_what_is_grouped(#[case] parts: Parts<'_>, #[case] text: &str) {
        assert_eq!(pattern(&parts), text);
    }

    /// The parts, owned. An empty text is what is stated to be absent.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct ParsedGroup {
        name: Option<String>,
        scope: Option<String>,
        cluster: Option<String>,
        severity: Option<bool>,
        source: Option<String>,
        labels: std::collections::BTreeMap<String, Option<String>>,
    }

    impl ParsedGroup {
        fn text(&self) -> String {
            pattern(&Parts {
                name: self.name.as_deref(),
                scope: self
                    .scope
                    .as_deref()
                    .map(|scope| if scope.is_empty() { Scope::Cluster } else { Scope::Namespace(scope) }),
                cluster: self.cluster.as_deref(),
                severity: self.severity.map(|bad| if bad { Severity::Critical } else { Severity::Info }),
                source: self.source.as_deref().map(|source| Some(source).filter(|source| !source.is_empty())),
                labels: self.labels.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect(),
            })
        }
    }

    fn hostile() -> impl Strategy<Value = String> {
        // Words chosen to collide if anything can.
        let words = vec![
            "a",
            " in ",
            " on ",
            " (cluster-scoped)",
            "prod",
            " (any alert)",
            " (any namespace)",
            " {a=",
            "\"",
            ", ",
            "}",
            "\\",
            "a=-",
            "severity=critical",
            "any alert",
            " anywhere",
            "anywhere",
        ];
        prop::collection::vec(prop::sample::select(words), 1..6).prop_map(|words| words.concat())
    }

    fn label() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "in", "on", "prod", "cluster-scoped", "anywhere", ""]).prop_map(String::from)
    }

    fn group() -> impl Strategy<Value = ParsedGroup> {
        let option = prop::option::of::<BoxedStrategy<String>>;
        let labels = prop::collection::btree_map(
            prop::sample::select(vec!["a", "b", "severity"]).prop_map(String::from),
            option(hostile().boxed()),
            0..3,
        );
        (
            option(hostile().boxed()),
            option(label().boxed()),
            option(label().prop_filter("a cluster has a name", |cluster| !cluster.is_empty()).boxed()),
            prop::option::of(any::<bool>()),
            option(label().boxed()),
            labels,
        )
            .prop_map(|(name, scope, cluster, severity, source, labels)| ParsedGroup {
                name,
                scope,
                cluster,
                severity,
                source,
                labels,
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn the_pattern_text_is_injective_over_its_parts(a in group(), b in group()) {
            prop_assert_eq!(a.text() == b.text(), a == b);
        }

        // A pair that differs in one part only is where a collision would be.
        #[test]
        fn a_group_that_differs_in_one_part_has_another_text(a in group(), name in hostile(), value in hostile()) {
            let mut b = a.clone();
            b.name = Some(name);
            prop_assert_eq!(a.text() == b.text(), a == b);
            let mut c = a.clone();
            c.labels.insert("a".into(), Some(value));
            prop_assert_eq!(a.text() == c.text(), a == c);
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_and_stays_another_than_any_other() {
        let long = |last: &str| {
            let value = "v".repeat(1_000) + last;
            pattern(&Parts { name: Some("A"), labels: vec![("team", Some(&value))], ..Parts::default() })
        };
        assert!(long("a").chars().count() <= MAX_PATTERN);
        assert_ne!(long("a"), long("b"));
    }
}
