use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::storm::StormKey;

fn id(epoch: i64) -> StormId {
    StormId { key: StormKey::new("prod", "X in prod"), epoch }
}

fn example(uid: Digest, severity: Severity) -> Example {
    Example {
        uid,
        reported_at: Timestamp::UNIX_EPOCH,
        severity,
        fingerprint: Some(format!("{:04x}", uid.wrapping_mul(40_503) & 0xffff)),
        starts_at: None,
        labels: BTreeMap::new(),
        summary: None,
        resource: None,
    }
}

fn shown(examples: &Examples) -> Vec<Digest> {
    examples.shown(id(1)).iter().map(|example| example.uid).collect()
}

#[test]
fn the_most_severe_are_shown_first_whatever_comes_first() {
    let severity = |uid| if uid % 50 == 0 { Severity::Critical } else { Severity::Warning };
    let all: Vec<_> = (1..=400).map(|uid| example(uid, severity(uid))).collect();
    let (mut one, mut other) = (Examples::default(), Examples::default());
    for (forwards, backwards) in all.iter().zip(all.iter().rev()) {
        one.offer(id(1), forwards.clone());
        other.offer(id(1), backwards.clone());
    }
    for examples in [&mut one, &mut other] {
        let asked = examples.ask(id(1));
        assert_eq!(asked.len(), KEPT);
        examples.answered(id(1), &asked);
    }
    assert_eq!(shown(&one), shown(&other));
    assert_eq!(shown(&one).len(), MAX_EXAMPLES);
    assert!(one.shown(id(1)).iter().take(8).all(|example| example.severity == Severity::Critical));
}

#[test]
fn what_has_ended_makes_room_and_what_came_meanwhile_is_asked_about_next_time() {
    let mut examples = Examples::default();
    examples.offer(id(1), example(1, Severity::Warning));
    examples.offer(id(1), example(2, Severity::Warning));
    assert!(shown(&examples).is_empty(), "nobody has said that it fires");
    let asked = examples.ask(id(1));
    examples.offer(id(1), example(2, Severity::Warning));
    examples.offer(id(1), example(3, Severity::Warning));
    assert_eq!(asked.len(), 2);
    examples.answered(id(1), &[1]);
    assert_eq!(shown(&examples), [1]);
    let mut asked = examples.ask(id(1));
    asked.sort_unstable();
    assert_eq!(asked, [1, 2, 3], "what was reported again fires perhaps again");
    examples.answered(id(1), &[]);
    assert!(shown(&examples).is_empty() && examples.count == 0);
}

#[test]
fn of_two_reports_of_one_alert_the_later_one_is_shown() {
    let mut examples = Examples::default();
    let told = |second, summary: &str| Example {
        reported_at: Timestamp::from_second(second).unwrap(),
        summary: Some(summary.to_owned()),
        ..example(1, Severity::Warning)
    };
    examples.offer(id(1), told(2, "later"));
    examples.offer(id(1), told(1, "earlier"));
    examples.ask(id(1));
    examples.answered(id(1), &[1]);
    assert_eq!(examples.shown(id(1))[0].summary.as_deref(), Some("later"));
}

#[test]
fn they_take_bounded_room_and_leave_it_with_their_storms() {
    let mut examples = Examples::default();
    let storms = i64::try_from(ROOM).unwrap() / 16 + 100;
    for storm in 0..storms {
        for uid in 0..20 {
            examples.offer(id(storm), example(uid, Severity::Warning));
        }
    }
    assert!(examples.count <= ROOM + KEPT + 100, "{}", examples.count);
    assert_eq!(examples.ask(id(storms - 1)).len(), 1);
    for storm in 0..storms {
        examples.remove(id(storm));
    }
    assert_eq!(examples.count, 0);
}
