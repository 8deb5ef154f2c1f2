//! Places in a Signal as text: `0-3,7`. Short where they come in runs, readable by people, and bounded whatever they are.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// As many places as a Signal can have: 500 items and a table of 2,000 lines. What is said of further ones is not read.
pub const MAX_PLACES: u16 = 2_500;

/// Places in order, as text. `None`: there is none.
pub fn write_places(places: impl IntoIterator<Item = u16>) -> Option<String> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for place in places.into_iter().filter(|place| *place < MAX_PLACES) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == place => *last = place,
            _ => runs.push((place, place)),
        }
    }
    let mut text = String::new();
    for (first, last) in runs {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = if first == last { write!(text, "{comma}{first}") } else { write!(text, "{comma}{first}-{last}") };
    }
    Some(text).filter(|text| !text.is_empty())
}

/// The places that a text names. Anybody may have written it: what is no place is none.
pub fn read_places(text: &str) -> BTreeSet<u16> {
    let run = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?.min(MAX_PLACES - 1))
    };
    text.split(',').filter_map(run).flatten().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// What the schema of a Signal's status allows.
    const MAX_TEXT: usize = 8_400;

    #[rstest]
    #[case(&[], None)]
    #[case(&[0], Some("0"))]
    #[case(&[0, 1, 5], Some("0-1,5"))]
    #[case(&[3, 4, 5, 7, 2499], Some("3-5,7,2499"))]
    fn runs_of_places_are_ranges(#[case] places: &[u16], #[case] text: Option<&str>) {
        assert_eq!(write_places(places.iter().copied()).as_deref(), text);
        assert_eq!(read_places(text.unwrap_or_default()), places.iter().copied().collect());
    }

    // Invariant 16: every other place, two of three, and whatever else.
    #[test]
    fn the_text_of_any_places_is_bounded() {
        for modulus in 2..12 {
            let text = write_places((0..u16::MAX).filter(|place| place % modulus != 0)).unwrap();
            assert!(text.len() <= MAX_TEXT, "{} characters for {modulus}", text.len());
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(places in prop::collection::btree_set(0..MAX_PLACES, 0..400)) {
            let text = write_places(places.iter().copied()).unwrap_or_default();
            prop_assert_eq!(read_places(&text), places);
        }

        #[test]
        fn any_text_is_read_in_bounded_time(text in "[0-9,-]{0,60}|.{0,40}") {
            prop_assert!(read_places(&text).iter().all(|place| *place < MAX_PLACES));
        }
    }
}
