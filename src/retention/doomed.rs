//! The Signals of a closed storm that may go, and in which order.

use std::collections::VecDeque;

use jiff::Timestamp;
use kube::{Resource, ResourceExt};

use crate::api::Signal;
use crate::runtime::guarded::Guarded;
use crate::storm::{AlertRegisters, AlertReport};

/// Signals that are kept in memory to be deleted, at some 100 bytes each. What comes beyond is read once more when they are gone.
const MOST: usize = 10_000;

/// A Signal that may go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OldSignal {
    reported: Timestamp,
    pub(super) name: String,
    pub(super) uid: Option<String>,
}

/// What was found of the Signals of a storm.
#[derive(Debug, Default)]
pub(super) struct Doomed {
    signals: Vec<OldSignal>,
    /// Some tell that an alert fires on: they stay, and their RemediationRequest with them.
    pub(super) kept: bool,
    /// There are more that may go.
    pub(super) overflowed: bool,
}

impl Doomed {
    /// A Signal that says this is there. It stays while nothing newer tells that one of its alerts fires on.
    pub(super) fn find(&mut self, signal: &Guarded<Signal>, says: &[AlertReport], alerts: &AlertRegisters) {
        let meta = signal.meta();
        // One that is being deleted waits for the finalizer of somebody: asking again changes nothing.
        if meta.deletion_timestamp.is_some() {
            return;
        }
        if says.iter().any(|report| alerts.needs(report)) {
            self.kept = true;
            return;
        }
        let created = meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let reported = says.first().and_then(|report| Timestamp::from_microsecond(report.at).ok());
        self.signals.push(OldSignal {
            reported: reported.unwrap_or(created),
            name: signal.name_any(),
            uid: meta.uid.clone(),
        });
        if self.signals.len() > 2 * MOST {
            self.cut();
        }
    }

    /// Those that go now: what was reported first goes first, so that no beginning is left whose end is gone.
    pub(super) fn in_order(&mut self) -> VecDeque<OldSignal> {
        self.cut();
        std::mem::take(&mut self.signals).into()
    }

    fn cut(&mut self) {
        self.signals.sort_unstable();
        self.overflowed |= self.signals.len() > MOST;
        self.signals.truncate(MOST);
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use rstest::rstest;

    use super::*;
    use crate::api::SignalSpec;
    use crate::storm::alerts::StormEnd;
    use crate::storm::{Past, Says};

    fn signal(name: &str) -> Guarded<Signal> {
        Guarded(Ok(Signal::new(name, SignalSpec::default())))
    }

    fn report(at: i64, says: Says) -> AlertReport {
        AlertReport { uid: 1, at, says }
    }

    const FIRES: Says = Says::Firing { resolvable: true };

    fn alerts(says: &[AlertReport], end: StormEnd) -> AlertRegisters {
        let mut alerts = AlertRegisters::default();
        alerts.hold(says, end, false);
        alerts
    }

    // R1, invariant 17: retention never deletes what alone tells that an alert fires on.
    #[rstest]
    #[case::left(alerts(&[report(5, FIRES)], StormEnd::Closed(9)), true)]
    #[case::handled(alerts(&[report(5, FIRES)], StormEnd::Handled(9)), true)]
    #[case::over(alerts(&[report(5, FIRES), report(6, Says::Resolved)], StormEnd::Closed(9)), false)]
    #[case::reported_again(alerts(&[report(7, FIRES)], StormEnd::Closed(9)), false)]
    #[case::of_a_source_without_ends(alerts(&[report(5, Says::Firing { resolvable: false })], StormEnd::Closed(9)), false)]
    #[case::forgotten(AlertRegisters::default(), false)]
    fn a_signal_stays_while_nothing_newer_tells_that_its_alert_fires(
        #[case] alerts: AlertRegisters,
        #[case] kept: bool,
    ) {
        let mut doomed = Doomed::default();
        doomed.find(&signal("a"), &[report(5, FIRES)], &alerts);
        assert_eq!((doomed.kept, doomed.in_order().len()), (kept, usize::from(!kept)));
    }

    #[test]
    fn one_that_is_held_stays_only_for_what_a_person_has_handled() {
        let handled = alerts(&[report(5, FIRES)], StormEnd::Handled(9));
        let stays = |says| {
            let mut doomed = Doomed::default();
            doomed.find(&signal("a"), &[report(6, says)], &handled);
            doomed.kept
        };
        assert!(stays(Says::Held(Past::Handled)));
        assert!(!stays(Says::Held(Past::Over)));
    }

    #[test]
    fn what_was_reported_first_goes_first_however_many_there_are() {
        let mut doomed = Doomed::default();
        let count = i64::try_from(2 * MOST + 7).unwrap();
        for n in 0..count {
            doomed.find(&signal(&format!("s{n}")), &[report(count - n, FIRES)], &AlertRegisters::default());
        }
        let order = doomed.in_order();
        assert!(doomed.overflowed);
        assert_eq!((order.len(), order[0].name.as_str()), (MOST, format!("s{}", count - 1).as_str()));
        let second = |signal: &OldSignal| signal.reported.duration_since(Timestamp::UNIX_EPOCH);
        assert!(order.iter().map(second).is_sorted());
        assert_eq!(second(&order[1]), SignedDuration::from_micros(2));
    }
}
