//! Text for a terminal. What alerts say is hostile: it gets there through [`clean`] only.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use crate::storm::Severity;

/// A colour of the terminal, by what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// Somebody should look.
    Alarm,
    /// Something waits, or is not as it should be.
    Caution,
    /// All is well.
    Calm,
    /// Less important than the rest.
    Faint,
    /// A heading.
    Strong,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Alarm => "31",
            Self::Caution => "33",
            Self::Calm => "32",
            Self::Faint => "2",
            Self::Strong => "1",
        }
    }

    /// That of a severity, where it has one.
    pub(super) fn of(severity: Severity) -> Option<Self> {
        match severity {
            Severity::Critical | Severity::Error => Some(Self::Alarm),
            Severity::Warning => Some(Self::Caution),
            Severity::Info => None,
        }
    }
}

/// How answers look: whether there are colours, and what time it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Whether they are painted.
    pub(super) colours: bool,
    /// The time that ages are told by.
    pub(super) now: Timestamp,
}

impl Style {
    /// Text without control characters, painted.
    pub(super) fn paint(self, paint: Paint, text: &str) -> String {
        if self.colours { format!("\u{1b}[{}m{}\u{1b}[0m", paint.code(), clean(text)) } else { clean(text) }
    }

    /// How long ago, in the short form of kubectl.
    pub(super) fn age(self, since: Timestamp) -> String {
        short(self.now.duration_since(since).max(SignedDuration::ZERO))
    }

    /// A time, and how far from now it is.
    pub(super) fn moment(self, at: Timestamp) -> String {
        if at == Timestamp::MAX {
            return "never".to_owned();
        }
        let away = at.duration_since(self.now);
        if away.is_positive() {
            format!("{at:.0} (in {})", short(away))
        } else {
            format!("{at:.0} ({} ago)", self.age(at))
        }
    }
}

/// A length of time as kubectl writes ages.
pub(super) fn short(time: SignedDuration) -> String {
    let seconds = time.as_secs();
    let two = |whole: i64, unit: &str, rest: i64, small: &str| match rest {
        0 => format!("{whole}{unit}"),
        _ => format!("{whole}{unit}{rest}{small}"),
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => two(seconds / 60, "m", seconds % 60, "s"),
        600..10_800 => format!("{}m", seconds / 60),
        10_800..28_800 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        28_800..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// So many of something.
pub(super) fn many(count: impl Into<i128>, what: &str) -> String {
    let count = count.into();
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Text in which nothing moves the cursor, changes the colour, turns the direction of reading or hides: such characters are spelled out.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hostile(c) { cleaned.extend(c.escape_default()) } else { cleaned.push(c) }
    }
    cleaned
}

fn is_hostile(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    let hides = matches!(c, '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || turns || breaks || hides
}

/// Every text in a value, without control characters: for YAML and JSON that a terminal may show.
pub(super) fn clean_value(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    // Lines are a matter of course in such texts, and are quoted by whoever writes them.
    let lines = |text: &str| text.split('\n').map(clean).collect::<Vec<_>>().join("\n");
    match value {
        Value::String(text) => Value::String(lines(&text)),
        Value::Array(items) => items.into_iter().map(clean_value).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (clean(&key), clean_value(value))).collect(),
        other => other,
    }
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    paint: Option<Paint>,
}

impl Cell {
    /// One that is painted.
    pub(super) fn painted(paint: Option<Paint>, text: &str) -> Self {
        Self { text: clean(text), paint }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(None, text.as_ref())
    }
}

/// A table as kubectl writes them: columns as wide as what is in them, three spaces between.
pub(super) fn table(style: Style, head: &[&str], rows: &[Vec<Cell>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count());
        cells.chain(head.get(column).map(|head| head.chars().count())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let head: Vec<Cell> = head.iter().map(Cell::from).collect();
    let mut text = String::new();
    for row in [&head].into_iter().chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let gap = " ".repeat((width + 3).saturating_sub(cell.text.chars().count()));
            line += &cell.paint.map_or_else(|| cell.text.clone(), |paint| style.paint(paint, &cell.text));
            line += &gap;
        }
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Lines of a name and what it is, the names in one column.
pub(super) fn fields(style: Style, lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default() + 2;
    let line = |(name, value): &(&str, String)| {
        let gap = " ".repeat(width - name.chars().count());
        format!("{}{gap}{}\n", style.paint(Paint::Strong, &format!("{name}:")), value.trim_end())
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("plain é 温度", "plain é 温度")]
    #[case("\u{1b}[2J\u{7}", "\\u{1b}[2J\\u{7}")]
    #[case("a\nb\tc\r", "a\\nb\\tc\\r")]
    #[case("\u{9b}31m", "\\u{9b}31m")]
    #[case("evil\u{202e}txt", "evil\\u{202e}txt")]
    fn what_moves_a_cursor_or_turns_text_round_is_spelled_out(#[case] text: &str, #[case] cleaned: &str) {
        assert_eq!(clean(text), cleaned);
    }

    proptest! {
        #[test]
        fn no_text_brings_a_control_character_to_a_terminal(text in "\\PC*|[\\x00-\\x9f\u{202a}-\u{202e}]{0,20}") {
            prop_assert!(!clean(&text).chars().any(is_hostile));
            let rows = vec![vec![Cell::from(text.as_str())]];
            let style = Style { colours: false, now: Timestamp::UNIX_EPOCH };
            prop_assert!(!table(style, &["A"], &rows).chars().any(|c| is_hostile(c) && c != '\n'));
        }
    }

    #[rstest]
    #[case(14, "14s")]
    #[case(119, "119s")]
    #[case(180, "3m")]
    #[case(185, "3m5s")]
    #[case(601, "10m")]
    #[case(10_860, "3h1m")]
    #[case(86_400, "24h")]
    #[case(400_000, "4d")]
    fn ages_are_those_of_kubectl(#[case] seconds: i64, #[case] text: &str) {
        assert_eq!(short(SignedDuration::from_secs(seconds)), text);
    }

    #[test]
    fn colours_change_no_width() {
        let style = |colours| Style { colours, now: Timestamp::UNIX_EPOCH };
        let rows = vec![vec![Cell::painted(Some(Paint::Alarm), "bad"), Cell::from("x")]];
        assert_eq!(table(style(false), &["A", "B"], &rows), "A     B\nbad   x\n");
        assert_eq!(table(style(true), &["A", "B"], &rows), "A     B\n\u{1b}[31mbad\u{1b}[0m   x\n");
    }
}
