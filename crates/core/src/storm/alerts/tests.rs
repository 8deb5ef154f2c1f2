//! What the latest report of an alert says, and what becomes of it when its storm ends.

use rstest::rstest;

use super::*;

const ALERT: Digest = 1;

fn fires(at: Micros) -> AlertReport {
    AlertReport { uid: ALERT, at, says: Says::Firing { resolvable: true } }
}

fn once(at: Micros) -> AlertReport {
    AlertReport { uid: ALERT, at, says: Says::Firing { resolvable: false } }
}

fn over(at: Micros) -> AlertReport {
    AlertReport { uid: ALERT, at, says: Says::Resolved }
}

fn after(reports: &[AlertReport]) -> AlertRegisters {
    let mut alerts = AlertRegisters::default();
    for report in reports {
        alerts.join(report);
    }
    alerts
}

// F1, F2: the latest report tells, in whatever order they come; of two at one instant the end.
#[rstest]
#[case(&[fires(1), over(2), fires(3)], (1, 1))]
#[case(&[fires(3), over(2), fires(1)], (1, 1))]
#[case(&[over(2), fires(1), fires(3)], (1, 1))]
#[case(&[fires(2), fires(1), over(3)], (1, 0))]
#[case(&[over(3), fires(2), fires(1)], (1, 0))]
#[case(&[fires(2), over(2)], (1, 0))]
#[case(&[over(2), fires(2)], (1, 0))]
#[case(&[over(2)], (0, 0))]
fn the_latest_report_tells_whether_an_alert_fires(#[case] reports: &[AlertReport], #[case] counts: (usize, usize)) {
    let alerts = after(reports);
    assert_eq!((alerts.in_storm(), alerts.firing()), counts);
}

// Invariant 17: what a source that reports ends has not ended goes on in the next storm; what other sources reported is over.
#[test]
fn the_next_storm_takes_over_what_fires_on() {
    let mut alerts = after(&[fires(1)]);
    alerts.join(&AlertReport { uid: 2, ..once(1) });
    alerts.end(StormEnd::Closed(10));
    assert_eq!((alerts.in_storm(), alerts.left()), (0, 1));
    assert!(alerts.opens(&fires(2)), "it fires, and is in no storm");
    assert!(!alerts.opens(&AlertReport { uid: 2, ..once(9) }), "an echo");
    assert!(alerts.opens(&AlertReport { uid: 2, ..once(11) }), "news");
    assert_eq!(alerts.take_over(), [ALERT]);
    assert_eq!((alerts.in_storm(), alerts.firing(), alerts.left()), (1, 1, 0));
}

#[test]
fn what_a_person_has_handled_opens_nothing_until_it_ends_and_fires_again() {
    let mut alerts = after(&[fires(1)]);
    alerts.end(StormEnd::Handled(10));
    assert!(!alerts.opens(&fires(20)));
    alerts.note(&[fires(20)]);
    alerts.note(&[over(15)]);
    assert!(!alerts.opens(&fires(30)), "an end that is older than its last report");
    alerts.note(&[over(31)]);
    assert!(!alerts.opens(&fires(31)), "an echo");
    assert!(alerts.opens(&fires(32)));
}

// A restart: receipts tell what closed storms had, in any order with what was noted.
#[test]
fn what_a_closed_storm_had_is_known_again_in_any_order() {
    let closed = StormEnd::Closed(10);
    let standing = |alerts: &AlertRegisters| alerts.get(ALERT).map(|alert| alert.standing);
    let mut alerts = AlertRegisters::default();
    alerts.hold(&[fires(1)], closed, false);
    assert_eq!(standing(&alerts), Some(AlertStanding::Left));
    alerts.hold(&[over(5)], closed, false);
    assert_eq!(standing(&alerts), Some(AlertStanding::Over));
    let mut reversed = AlertRegisters::default();
    reversed.hold(&[over(5)], closed, false);
    reversed.hold(&[fires(1)], closed, false);
    assert_eq!(reversed, alerts);
    let mut ended_later = AlertRegisters::default();
    ended_later.note(&[over(5)]);
    ended_later.hold(&[fires(1)], closed, false);
    assert_eq!(standing(&ended_later), Some(AlertStanding::Over));
    let mut open = after(&[fires(7)]);
    open.hold(&[fires(1)], closed, false);
    assert_eq!((open.in_storm(), open.firing()), (1, 1), "what the open storm has, it keeps");
    open.hold(&[fires(1)], closed, true);
    open.drop_storm();
    assert_eq!(standing(&open), Some(AlertStanding::Left), "what it had as the storm that is over stays known");
}

#[test]
fn what_is_in_no_storm_is_forgotten_after_a_while() {
    let mut alerts = after(&[fires(1)]);
    alerts.join(&AlertReport { uid: 2, ..over(1) });
    alerts.expire(2);
    assert_eq!(alerts.iter().map(|(uid, _)| uid).collect::<Vec<_>>(), [ALERT]);
    alerts.drop_storm();
    assert!(alerts.is_empty());
}
