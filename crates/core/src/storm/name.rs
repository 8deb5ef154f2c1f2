//! Names of storms. The name of a RemediationRequest is the lock on it: two creators of one storm make one object.

use sha2::{Digest as _, Sha256};

use super::key::Epoch;

/// The longest name that is also a label value.
const MAX_NAME: usize = 63;
/// `storm-`, `-` and 12 hexadecimal characters, `-` and an epoch of up to 11 digits (until the year 5138).
const MAX_SLUG: usize = MAX_NAME - "storm-".len() - 13 - 12;

/// The base name of all storms of a pattern: `storm-<slug>-<first 12 hex of SHA-256(pattern)>`.
pub fn generate_storm_name_from_pattern(pattern: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(pattern.as_bytes()).into();
    let hash = digest[..6].iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    match slug(pattern) {
        slug if slug.is_empty() => format!("storm-{hash}"),
        slug => format!("storm-{slug}-{hash}"),
    }
}

/// The name of one storm: its base name and its epoch.
pub fn storm_name(pattern: &str, epoch: Epoch) -> String {
    format!("{}-{epoch}", generate_storm_name_from_pattern(pattern))
}

/// Lower-case ASCII letters and digits; every other run becomes one hyphen; cut at a hyphen where there is one.
fn slug(pattern: &str) -> String {
    let mut slug = String::new();
    for c in pattern.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let whole = slug.trim_end_matches('-');
    if whole.len() <= MAX_SLUG {
        return whole.to_owned();
    }
    // A hyphen right behind the cut means that the cut is at a boundary already.
    let cut = whole[..=MAX_SLUG].rfind('-').unwrap_or(MAX_SLUG);
    whole[..cut].to_owned()
}

/// A label value from any text: at most 63 characters of `[A-Za-z0-9._-]`, first and last alphanumeric; may be empty.
///
/// Source: the Kubernetes documentation, "Labels and Selectors", syntax and character set.
pub fn sanitize_label_value(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let ends = |c: char| !c.is_ascii_alphanumeric();
    let replaced: String = text.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    let start = replaced.trim_start_matches(ends);
    start.chars().take(MAX_NAME).collect::<String>().trim_end_matches(ends).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("HighMemoryUsage in prod-payments", "storm-highmemoryusage-in-prod-payments-87dd33ff1973")]
    #[case("HighCPUUsage in prod-api", "storm-highcpuusage-in-prod-api-49c7fa04bf58")]
    #[case("HighCPUUsage in production", "storm-highcpuusage-in-production-bb8c4ffb0d70")]
    #[case("PodCrashLoop in prod-api", "storm-podcrashloop-in-prod-api-5cc0824298a6")]
    fn base_names_stay_what_they_are(#[case] pattern: &str, #[case] name: &str) {
        assert_eq!(generate_storm_name_from_pattern(pattern), name);
    }

    // E13: any script works, and nothing is left of this one but the hash.
    #[test]
    fn a_name_without_ascii_is_its_hash() {
        let name = generate_storm_name_from_pattern("温度");
        assert_eq!(name.len(), "storm-".len() + 12, "{name}");
    }

    #[test]
    fn a_long_name_is_cut_at_a_boundary() {
        let base = generate_storm_name_from_pattern("KubernetesPersistentVolume filling up in production");
        assert!(base.starts_with("storm-kubernetespersistentvolume-"), "{base}");
        let hard = generate_storm_name_from_pattern(&"x".repeat(200));
        assert!(hard.starts_with(&format!("storm-{}-", "x".repeat(MAX_SLUG))), "{hard}");
    }

    // A17, A18, A19: the epoch is part of the name, and nobody parses a name.
    #[test]
    fn successive_storms_of_a_pattern_have_different_names() {
        assert_ne!(storm_name("X in y", 1_700_000_000), storm_name("X in y", 1_700_000_001));
    }

    fn dns_label(name: &str) -> bool {
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        name.len() <= 63 && name.starts_with(ok) && name.ends_with(ok) && name.chars().all(|c| ok(c) || c == '-')
    }

    proptest! {
        #[test]
        fn every_storm_name_is_an_object_name_and_a_label_value(pattern in "\\PC{1,200}", epoch in 1i64..99_999_999_999) {
            let name = storm_name(&pattern, epoch);
            prop_assert!(dns_label(&name), "{}", name);
            prop_assert_eq!(sanitize_label_value(&name), name);
        }

        // E13: cut on a character boundary, valid at both ends.
        #[test]
        fn every_sanitized_text_is_a_label_value(text in ".{0,300}") {
            let value = sanitize_label_value(&text);
            prop_assert!(value.len() <= 63);
            prop_assert!(value.is_empty() || (value.starts_with(|c: char| c.is_ascii_alphanumeric())
                && value.ends_with(|c: char| c.is_ascii_alphanumeric())));
            prop_assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)));
            prop_assert_eq!(sanitize_label_value(&value), value);
        }
    }
}
