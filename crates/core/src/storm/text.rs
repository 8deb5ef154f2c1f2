//! Bounds of text.

/// The longest beginning of `text` that has at most `bytes` bytes and ends at a character.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
