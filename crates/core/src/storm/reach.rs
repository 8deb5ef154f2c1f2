//! Of what a Signal may speak: of its own namespace, and of others where the administrator lets it (invariant 22). Whoever may create
//! Signals in one namespace must not make an engine act in another one.

use std::collections::BTreeSet;

/// The namespaces whose Signals may speak of other namespaces, and of what is cluster-scoped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    everywhere: bool,
    namespaces: BTreeSet<String>,
}

impl Reach {
    /// What stands for every namespace.
    pub const ALL: &str = "*";

    /// That of these namespaces.
    pub fn of(namespaces: impl IntoIterator<Item = String>) -> Self {
        let namespaces: BTreeSet<String> = namespaces.into_iter().collect();
        Self { everywhere: namespaces.contains(Self::ALL), namespaces }
    }

    /// That of all namespaces.
    pub fn everything() -> Self {
        Self { everywhere: true, namespaces: BTreeSet::new() }
    }

    /// The same, and this namespace.
    #[must_use]
    pub fn and(mut self, namespace: &str) -> Self {
        self.namespaces.insert(namespace.to_owned());
        self
    }

    /// Whether Signals of this namespace may speak of others.
    pub fn is_wide(&self, namespace: &str) -> bool {
        self.everywhere || self.namespaces.contains(namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_that_are_named_reach_beyond_themselves() {
        let reach = Reach::of(["ops".to_owned()]).and("stormfold-system");
        let wide =
            |reach: &Reach| ["ops", "stormfold-system", "prod", "op", ""].map(|namespace| reach.is_wide(namespace));
        assert_eq!(wide(&reach), [true, true, false, false, false]);
        assert_eq!(wide(&Reach::default()), [false; 5]);
        assert_eq!(wide(&Reach::of(["*".to_owned()])), [true; 5]);
    }
}
