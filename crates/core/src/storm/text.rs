//! Bounds of text, and what is kept of text from alerts: whoever can raise an alert chooses it.

use std::borrow::Cow;

/// The longest beginning of `text` that has at most `bytes` bytes and ends at a character.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Control characters, and those that reverse the text around them: in a log or a terminal they show what is not there.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `text` in one line of at most so many characters: a line break or a tab is a blank, and what is hostile is left out. One that is cut
/// ends with `…`.
pub fn one_line(text: &str, characters: usize) -> Cow<'_, str> {
    tame(text, characters, ' ')
}

/// The same with its line breaks, all of one kind.
pub fn lines(text: &str, characters: usize) -> Cow<'_, str> {
    tame(text, characters, '\n')
}

fn tame(text: &str, characters: usize, line_break: char) -> Cow<'_, str> {
    let trimmed = text.trim();
    // The common case, and a cheap look: printable ASCII that fits.
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) || byte == b'\n' && line_break == '\n';
    if trimmed.len() <= characters && trimmed.bytes().all(plain) {
        return Cow::Borrowed(trimmed);
    }
    let mut kept = String::with_capacity(trimmed.len().min(4 * characters));
    let mut before = None;
    let mut count = 0;
    for c in trimmed.chars() {
        let shown = match c {
            // The second half of one line break.
            '\n' if before == Some('\r') => None,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some(line_break),
            '\t' => Some(' '),
            c if is_hostile(c) => None,
            c => Some(c),
        };
        before = Some(c);
        count += usize::from(shown.is_some());
        if count > characters {
            shorten(&mut kept, characters);
            break;
        }
        kept.extend(shown);
    }
    // What was left out or cut may have uncovered a blank.
    Cow::Owned(kept.trim().to_owned())
}

/// Makes room for the sign that something is cut.
fn shorten(kept: &mut String, characters: usize) {
    if characters > 0 {
        kept.pop();
        kept.push('…');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("HighLoad", "HighLoad", "HighLoad")]
    #[case(" a\r\nb\u{7}\tc\u{2028}d ", "a b c d", "a\nb c\nd")]
    #[case("a\n\nb", "a  b", "a\n\nb")]
    #[case("\u{202e}daoL", "daoL", "daoL")]
    #[case("温度\n高い", "温度 高い", "温度\n高い")]
    #[case("123456789012", "123456789…", "123456789…")]
    #[case("\u{0}\n\u{0}", "", "")]
    fn a_line_break_is_a_blank_or_a_line_break_and_never_nothing(
        #[case] text: &str,
        #[case] in_one: &str,
        #[case] in_many: &str,
    ) {
        assert_eq!((one_line(text, 10).as_ref(), lines(text, 10).as_ref()), (in_one, in_many));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_bounded_and_tame(text in "\\PC{0,40}|(?s:.){0,60}", characters in 0..50usize) {
            for kept in [one_line(&text, characters), lines(&text, characters)] {
                prop_assert!(kept.chars().count() <= characters);
                prop_assert!(!kept.chars().any(|c| c != '\n' && is_hostile(c)));
                prop_assert_eq!(kept.trim(), kept.as_ref());
                // Tame text stays as it is: an object that is read back says what was written.
                prop_assert_eq!(lines(&kept, characters), kept.clone());
            }
            prop_assert!(!one_line(&text, characters).contains('\n'));
        }
    }
}
