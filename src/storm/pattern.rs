//! The text of what is grouped. People read it, names are derived from it, so it must be injective: two different groups
//! never share a text.

/// Where the trouble is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// In a namespace.
    Namespace(&'a str),
    /// In none, such as a Node's trouble.
    Cluster,
}

/// `HighMemoryUsage in prod-payments`; `NodeNotReady (cluster-scoped)`; with a cluster, ` on CLUSTER` behind it.
///
/// Read from the end it has one meaning only: neither a namespace nor a cluster contains a space or a parenthesis, so the last
/// words tell the form whatever the alert's name is.
pub fn pattern(name: &str, scope: Scope<'_>, cluster: Option<&str>) -> String {
    let mut text = match scope {
        Scope::Namespace(namespace) => format!("{name} in {namespace}"),
        Scope::Cluster => format!("{name} (cluster-scoped)"),
    };
    if let Some(cluster) = cluster {
        text.push_str(" on ");
        text.push_str(cluster);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part() -> impl Strategy<Value = String> {
        // Words chosen to collide if anything can.
        prop::collection::vec(prop::sample::select(vec!["a", "in", "on", "(cluster-scoped)", "b"]), 1..5)
            .prop_map(|words| words.join(" "))
    }

    fn label() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "in", "on", "b", "cluster-scoped"]).prop_map(String::from)
    }

    fn group() -> impl Strategy<Value = (String, Option<String>, Option<String>)> {
        (part(), prop::option::of(label()), prop::option::of(label()))
    }

    proptest! {
        #[test]
        fn the_pattern_text_is_injective_over_its_parts(a in group(), b in group()) {
            let text = |g: &(String, Option<String>, Option<String>)| {
                pattern(&g.0, g.1.as_deref().map_or(Scope::Cluster, Scope::Namespace), g.2.as_deref())
            };
            prop_assert_eq!(text(&a) == text(&b), a == b);
        }
    }
}
