//! The short notation of what is reported of an alert: `firing x5 every 1m, resolved`.

use jiff::SignedDuration;

use super::file::test_time;

/// Reports of one series.
const MOST: usize = 10_000;

/// One report of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeriesReport {
    /// From the beginning of the test.
    pub(super) at: SignedDuration,
    pub(super) fires: bool,
    /// StepTime the episode began.
    pub(super) since: SignedDuration,
}

/// Between two reports, where nothing is said.
const EVERY: SignedDuration = SignedDuration::from_mins(1);

/// The reports, in order of time; the message says which step is wrong.
pub(super) fn parse(text: &str) -> Result<Vec<SeriesReport>, String> {
    let mut reports: Vec<SeriesReport> = Vec::new();
    let (mut next, mut last) = (SignedDuration::ZERO, SignedDuration::ZERO);
    for step in text.split(',') {
        let wrong = |why: &str| format!("series {text:?}: step {:?}: {why}", step.trim());
        let step = SeriesStep::parse(step).map_err(|why| wrong(&why))?;
        let mut at = match step.when {
            StepTime::Next => next,
            StepTime::At(at) => at,
            StepTime::After(time) => last + time,
        };
        if at < last && !reports.is_empty() {
            return Err(wrong("it comes before the step before"));
        }
        for _ in 0..step.count {
            let since = match reports.last() {
                Some(before) if before.fires || !step.fires => before.since,
                _ => at,
            };
            reports.push(SeriesReport { at, fires: step.fires, since });
            last = at;
            at += step.every;
        }
        next = at;
        if reports.len() > MOST {
            return Err(wrong("the series has more than 10000 reports"));
        }
    }
    Ok(reports)
}

enum StepTime {
    Next,
    At(SignedDuration),
    After(SignedDuration),
}

struct SeriesStep {
    when: StepTime,
    fires: bool,
    count: usize,
    every: SignedDuration,
}

impl SeriesStep {
    fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace().peekable();
        let time = |word: Option<&str>| test_time(word.unwrap_or_default());
        let when = match words.peek() {
            Some(&"at") => {
                words.next();
                StepTime::At(time(words.next())?)
            }
            Some(&"after") => {
                words.next();
                StepTime::After(time(words.next())?)
            }
            _ => StepTime::Next,
        };
        let fires = match words.next() {
            Some("firing") => true,
            Some("resolved") => false,
            Some(other) => return Err(format!("{other:?} is neither firing nor resolved")),
            None => return Err("it says neither firing nor resolved".to_owned()),
        };
        let mut step = Self { when, fires, count: 1, every: EVERY };
        while let Some(word) = words.next() {
            match (word, word.strip_prefix('x').map(str::parse)) {
                ("every", _) => step.every = time(words.next())?,
                (_, Some(Ok(count @ 1..=MOST))) => step.count = count,
                _ => return Err(format!("{word:?} is neither xCOUNT nor every TIME")),
            }
        }
        Ok(step)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn told(text: &str) -> String {
        let report = |report: &SeriesReport| {
            let state = if report.fires { "f" } else { "r" };
            format!("{state}{}<{}", report.at.as_secs(), report.since.as_secs())
        };
        parse(text).unwrap().iter().map(report).collect::<Vec<_>>().join(" ")
    }

    #[rstest]
    #[case("firing", "f0<0")]
    #[case("firing x3 every 1m, resolved", "f0<0 f60<0 f120<0 r180<0")]
    #[case("at 30s firing every 10s, resolved, after 5m firing", "f30<30 r40<30 f340<340")]
    #[case(" firing x2 , resolved x2 every 1s, firing", "f0<0 f60<0 r120<0 r121<0 f122<122")]
    fn steps_come_one_after_the_other(#[case] text: &str, #[case] wanted: &str) {
        assert_eq!(told(text), wanted);
    }

    #[rstest]
    #[case("", "it says neither firing nor resolved")]
    #[case("fires", r#""fires" is neither firing nor resolved"#)]
    #[case("firing 5x", r#""5x" is neither xCOUNT nor every TIME"#)]
    #[case("firing x0", r#""x0" is neither xCOUNT nor every TIME"#)]
    #[case("firing every soon", r#""soon" is no time: write 30s, 10m or 1h30m"#)]
    #[case("firing x3, at 1m resolved", "it comes before the step before")]
    fn a_step_that_says_nothing_is_named(#[case] text: &str, #[case] wanted: &str) {
        let fault = parse(text).unwrap_err();
        assert!(fault.starts_with("series ") && fault.ends_with(wanted), "{fault}");
    }
}
