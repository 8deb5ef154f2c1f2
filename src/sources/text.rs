//! Text from alerts is hostile: whoever can raise an alert chooses it. What is kept of it is bounded and has no control characters.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use sha2::{Digest as _, Sha256};

use crate::storm::text::is_hostile;

/// `text` without control characters, blanks at its ends, and what is beyond `characters`. Borrowed where nothing has to go.
pub(super) fn clean(text: &str, characters: usize) -> Cow<'_, str> {
    let trimmed = text.trim();
    // The common case, and a cheap look: printable ASCII that fits.
    if trimmed.len() <= characters && trimmed.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Cow::Borrowed(trimmed);
    }
    let kept: String = trimmed.chars().filter(|c| !is_hostile(*c)).take(characters).collect();
    // What was removed or cut may have uncovered a blank.
    Cow::Owned(kept.trim().to_owned())
}

/// Like [`clean`], and two texts that differ only behind the cut stay two.
pub(super) fn clean_name(text: &str, characters: usize) -> Cow<'_, str> {
    let whole = clean(text, usize::MAX);
    if whole.chars().count() <= characters {
        return whole;
    }
    let digest: [u8; 32] = Sha256::digest(whole.as_bytes()).into();
    let end = format!("… {}", hex(&digest[..4]));
    let kept: String = whole.chars().take(characters.saturating_sub(end.chars().count())).collect();
    Cow::Owned(format!("{}{end}", kept.trim_end()))
}

/// Whether nothing of `text` can be seen: white space of any script, and characters without a glyph (Unicode's general category C).
/// What the schema of a Signal's name asks for.
pub(super) fn is_blank(text: &str) -> bool {
    let invisible = |c: char| {
        matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
    };
    text.chars().all(|c| c.is_whitespace() || is_hostile(c) || invisible(c))
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        hex.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        hex.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        hex
    })
}

/// A string of a JSON document, borrowed from it unless it has escapes.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    struct Text;
    impl<'de> Visitor<'de> for Text {
        type Value = Cow<'de, str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.to_owned()))
        }
    }
    deserializer.deserialize_str(Text)
}

/// The same, where a number or a boolean stands for its text; `None` for null.
pub(super) fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    struct Text;
    impl<'de> Visitor<'de> for Text {
        type Value = Option<Cow<'de, str>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string, a number or a boolean")
        }

        fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Some(Cow::Borrowed(text)))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(Cow::Owned(text.to_owned())))
        }

        fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
            Ok(Some(Cow::Borrowed(if value { "true" } else { "false" })))
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
            self.visit_str(&value.to_string())
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
            self.visit_str(&value.to_string())
        }

        fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
            self.visit_str(&value.to_string())
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("HighLoad", "HighLoad")]
    #[case(" a\nb\u{7}\u{85} ", "ab")]
    #[case("\u{202e}daoLhgiH", "daoLhgiH")]
    #[case("\u{61c}daoLhgiH", "daoLhgiH")]
    #[case("温度が高い", "温度が高い")] // E13
    #[case("\u{0} \u{0}", "")]
    fn control_characters_go_and_scripts_stay(#[case] text: &str, #[case] kept: &str) {
        assert_eq!(clean(text, 200), kept);
    }

    // R7: a name that nobody can see is none, in any script.
    #[rstest]
    #[case(" \u{3000}\u{2003}", true)]
    #[case("\u{200b}", true)]
    #[case("\u{2062}\u{ad}", true)]
    #[case("\u{e000}", true)]
    #[case("\u{200b}a", false)]
    #[case("負", false)]
    fn what_has_no_visible_character_is_blank(#[case] text: &str, #[case] blank: bool) {
        assert_eq!(is_blank(text), blank);
    }

    #[test]
    fn long_names_that_differ_at_their_end_stay_two() {
        let name = |end| format!("{}{end}", "x".repeat(300));
        let (one, two) = (name("1"), name("2"));
        assert_ne!(clean_name(&one, 200), clean_name(&two, 200));
        assert_eq!(clean_name(&one, 200).chars().count(), 200);
        assert_eq!(clean_name("short", 200), "short");
    }

    proptest! {
        #[test]
        fn what_is_kept_is_bounded_and_has_no_control_characters(text in "\\PC{0,40}|.{0,60}|(?s:.){0,60}", characters in 0..50usize) {
            for kept in [clean(&text, characters), clean_name(&text, characters + 12)] {
                prop_assert!(kept.chars().count() <= characters + 12);
                prop_assert!(!kept.chars().any(is_hostile));
                prop_assert_eq!(kept.trim(), kept.as_ref());
            }
            prop_assert!(clean(&text, characters).chars().count() <= characters);
        }
    }
}
