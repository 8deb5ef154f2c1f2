//! Patterns of names: `*` stands for anything, and case does not count.

/// A pattern without `!`.
#[derive(Clone, Debug)]
struct Glob {
    /// What stands between the stars, in lower case.
    parts: Vec<String>,
}

impl Glob {
    fn new(text: &str) -> Self {
        Self { parts: text.to_lowercase().split('*').map(str::to_owned).collect() }
    }

    /// `text` is in lower case.
    fn fits(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts.first().is_some_and(|whole| whole == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            let Some(place) = rest.find(part.as_str()) else { return false };
            rest = &rest[place + part.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

/// Patterns, of which one fits and none of those with `!`. Without any, or with those with `!` alone, everything else fits.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    any: Vec<Glob>,
    none: Vec<Glob>,
}

impl Patterns {
    pub(super) fn new<'a>(texts: impl IntoIterator<Item = &'a String>) -> Self {
        let mut patterns = Self::default();
        for text in texts {
            match text.strip_prefix('!') {
                Some(text) => patterns.none.push(Glob::new(text)),
                None => patterns.any.push(Glob::new(text)),
            }
        }
        patterns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.any.is_empty() && self.none.is_empty()
    }

    /// `text` is in lower case.
    pub(super) fn fit(&self, text: &str) -> bool {
        !self.none.iter().any(|glob| glob.fits(text)) && (self.any.is_empty() || self.any.iter().any(|g| g.fits(text)))
    }

    /// Whether one of these fits, and none is excluded. They are in lower case.
    pub(super) fn fit_one(&self, texts: &[&str]) -> bool {
        let excluded = texts.iter().any(|text| self.none.iter().any(|glob| glob.fits(text)));
        !excluded && texts.iter().any(|text| self.fit(text))
    }

    /// Whether one and the same pattern fits the text and one of these.
    pub(super) fn fit_both(&self, text: &str, others: &[&str]) -> bool {
        self.any.iter().any(|glob| glob.fits(text) && others.iter().any(|other| glob.fits(other)))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["kubelet"], "kubelet", true)]
    #[case(&["kubelet"], "kubelets", false)]
    #[case(&["*Exporter*"], "node-exporter-x", true)]
    #[case(&["KubeNode*"], "kubenodenotready", true)]
    #[case(&["*missing"], "targetmissing", true)]
    #[case(&["a*b*c"], "axxbxxc", true)]
    #[case(&["a*b*c"], "axxcxxb", false)]
    #[case(&["ab*ba"], "aba", false)]
    #[case(&["*"], "", true)]
    #[case(&["!*x*"], "abc", true)]
    #[case(&["!*x*", "a*"], "axc", false)]
    #[case(&["!*x*", "a*"], "bc", false)]
    fn a_star_stands_for_anything_and_a_mark_excludes(
        #[case] patterns: &[&str],
        #[case] text: &str,
        #[case] fits: bool,
    ) {
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        assert_eq!(Patterns::new(&patterns).fit(text), fits);
    }
}
