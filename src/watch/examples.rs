//! What a Signal says of its alerts for people: of all of them, and of a few that fire as examples. It decides nothing.

use jiff::Timestamp;

use crate::api::{SignalExample, SignalSpec};
use crate::storm::Said;
use crate::storm::example::{MAX_EXAMPLE_SUMMARY, MAX_EXAMPLES, ToldAlert, example_labels};
use crate::storm::said::short;
use crate::storm::text::one_line;

/// Bytes of a fingerprint, as in a Signal.
const MAX_FINGERPRINT: usize = 256;

/// What a storm that the Signal opens says. Where its alerts differ in what is wrong, it is what one of them says.
pub(super) fn said(spec: &SignalSpec) -> Said {
    let mut annotations = spec.annotations.clone();
    if let Some(SignalExample { summary, description, .. }) = spec.examples.first() {
        for (name, text) in [("summary", summary), ("description", description)] {
            if let Some(text) = text {
                annotations.entry(name.to_owned()).or_insert_with(|| text.clone());
            }
        }
    }
    Said::new(&spec.labels, &annotations, spec.generator_url.as_deref())
}

/// Chooses the examples that a Signal gives.
pub(super) struct ToldAlerts<'a> {
    spec: &'a SignalSpec,
    chosen: Vec<Chosen>,
}

struct Chosen {
    /// Which of `spec.examples` it is.
    text: Option<usize>,
    fingerprint: String,
    report: u16,
    starts_at: Option<Timestamp>,
}

impl<'a> ToldAlerts<'a> {
    pub(super) fn of(spec: &'a SignalSpec) -> Self {
        Self { spec, chosen: Vec::new() }
    }

    /// An occurrence that fires. Those of which the Signal says more come first, then by fingerprint: the same for every delivery.
    pub(super) fn offer(&mut self, report: usize, fingerprint: Option<&str>, starts_at: Option<Timestamp>) {
        let Ok(report) = u16::try_from(report) else { return };
        let texts = &self.spec.examples;
        let text = fingerprint.and_then(|own| texts.iter().position(|text| text.fingerprint == own));
        let fingerprint = fingerprint.unwrap_or_default();
        let rank = (text.is_none(), fingerprint, report);
        let place =
            self.chosen.partition_point(|one| (one.text.is_none(), one.fingerprint.as_str(), one.report) < rank);
        if place < MAX_EXAMPLES {
            self.chosen.truncate(MAX_EXAMPLES - 1);
            self.chosen.insert(place, Chosen { text, fingerprint: fingerprint.to_owned(), report, starts_at });
        }
    }

    pub(super) fn into_told(self) -> Vec<ToldAlert> {
        let Self { spec, chosen } = self;
        let of_all = spec.annotations.get("summary");
        let told = |Chosen { text, fingerprint, report, starts_at }: Chosen| {
            let text = text.and_then(|text| spec.examples.get(text));
            let summary = text.and_then(|text| text.summary.as_ref()).or(of_all);
            let summary = summary.map(|summary| one_line(summary, MAX_EXAMPLE_SUMMARY).into_owned());
            ToldAlert {
                report,
                fingerprint: Some(short(&fingerprint, MAX_FINGERPRINT)).filter(|fingerprint| !fingerprint.is_empty()),
                starts_at,
                labels: text.map(|text| example_labels(&text.labels)).unwrap_or_default(),
                summary: summary.filter(|summary| !summary.is_empty()),
            }
        };
        chosen.into_iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(examples: &[&str]) -> SignalSpec {
        let example = |fingerprint: &&str| SignalExample {
            fingerprint: (*fingerprint).to_owned(),
            labels: [("pod".to_owned(), format!("web-{fingerprint}\n"))].into(),
            summary: Some(format!("{fingerprint} is\nslow")),
            description: Some(format!("{fingerprint}:\nlong")),
        };
        SignalSpec {
            annotations: [("summary".to_owned(), "All are slow".to_owned())].into(),
            examples: examples.iter().map(example).collect(),
            ..SignalSpec::default()
        }
    }

    #[test]
    fn those_of_which_a_signal_says_more_come_first_and_then_by_fingerprint() {
        let spec = spec(&["zz", "yy", "gone"]);
        let offered: Vec<_> = (0..20).map(|n| format!("f{n:02}")).chain(["zz".into(), "yy".into()]).collect();
        let choose = |order: &[usize]| {
            let mut told = ToldAlerts::of(&spec);
            for n in order {
                told.offer(*n, Some(&offered[*n]), None);
            }
            told.into_told()
        };
        let forwards: Vec<_> = (0..offered.len()).collect();
        let backwards: Vec<_> = forwards.iter().rev().copied().collect();
        let told = choose(&forwards);
        assert_eq!(told, choose(&backwards));
        let fingerprints: Vec<_> = told.iter().filter_map(|alert| alert.fingerprint.as_deref()).collect();
        assert_eq!(fingerprints, ["yy", "zz", "f00", "f01", "f02", "f03", "f04", "f05", "f06", "f07"]);
        assert_eq!((told[0].report, told[0].labels["pod"].as_str()), (21, "web-yy"));
        assert_eq!(told[0].summary.as_deref(), Some("yy is slow"));
        assert_eq!((told[2].labels.len(), told[2].summary.as_deref()), (0, Some("All are slow")));
    }

    #[test]
    fn where_alerts_differ_in_what_is_wrong_a_storm_says_what_one_of_them_says() {
        let said = said(&spec(&["zz", "yy"]));
        assert_eq!(said.annotations["summary"], "All are slow");
        assert_eq!(said.annotations["description"], "zz:\nlong");
    }
}
