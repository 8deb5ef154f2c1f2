use super::*;

const MINUTE: i64 = 60;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_485_300 + second).unwrap()
}

fn event(namespace: &str, reason: &str, pod: usize, second: i64) -> WarningEvent {
    let mut fingerprint = EventFingerprint::default();
    let text = format!("{namespace}/{reason}/{pod}");
    fingerprint[..8].copy_from_slice(&(pod as u64).to_be_bytes());
    fingerprint[8..]
        .copy_from_slice(&(text.bytes().map(u64::from).sum::<u64>() << 8 | text.len() as u64).to_be_bytes());
    WarningEvent {
        group: EventGroup { namespace: Some(namespace.into()), reason: reason.into() },
        fingerprint,
        resource: format!("Pod/web-{pod}"),
        note: format!("{reason} of web-{pod}"),
        began: at(second),
        over: at(second) + QUIET,
    }
}

/// Stores what is due at once; gives states and resources, by reason.
fn told(fold: &mut EventFold, second: i64) -> Vec<(String, Vec<String>)> {
    let due = fold.due(at(second), usize::MAX);
    for due in &due {
        fold.stored(&due.group);
    }
    let words = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        format!("{} {}", words[0], words[3])
    };
    due.iter().map(|due| (due.group.reason.clone(), due.table.lines().map(words).collect())).collect()
}

fn one(reason: &str, lines: &[&str]) -> Vec<(String, Vec<String>)> {
    vec![(reason.to_owned(), lines.iter().map(ToString::to_string).collect())]
}

#[test]
fn the_first_event_is_told_at_once_and_those_that_follow_a_second_later_together() {
    let mut fold = EventFold::default();
    assert_eq!(fold.next(), None);
    assert_eq!(fold.take_in(event("prod", "BackOff", 0, 0), at(0)), Folded::Began);
    assert_eq!(told(&mut fold, 0), one("BackOff", &["firing Pod/web-0"]));
    for pod in 1..4 {
        fold.take_in(event("prod", "BackOff", pod, 0), at(0));
    }
    assert_eq!(told(&mut fold, 0), vec![]);
    assert_eq!(fold.next(), Some(at(1)));
    assert_eq!(told(&mut fold, 1), one("BackOff", &["firing Pod/web-1", "firing Pod/web-2", "firing Pod/web-3"]));
}

#[test]
fn a_series_that_goes_on_is_one_alert_and_ten_minutes_without_an_event_are_its_end() {
    let mut fold = EventFold::default();
    for minute in 0..30 {
        let folded = fold.take_in(event("prod", "BackOff", 0, minute * MINUTE), at(minute * MINUTE));
        assert_eq!(folded, if minute == 0 { Folded::Began } else { Folded::GoesOn });
        let expected = if minute == 0 { one("BackOff", &["firing Pod/web-0"]) } else { vec![] };
        assert_eq!(told(&mut fold, minute * MINUTE), expected);
    }
    assert_eq!(told(&mut fold, 39 * MINUTE - 1), vec![]);
    assert_eq!(fold.next(), Some(at(39 * MINUTE)));
    assert_eq!(told(&mut fold, 39 * MINUTE), one("BackOff", &["resolved Pod/web-0"]));
    assert_eq!((fold.len(), fold.groups.len(), fold.namespaces.len(), fold.next()), (0, 0, 0, None));
    // Again, and it is one more beginning.
    assert_eq!(fold.take_in(event("prod", "BackOff", 0, 60 * MINUTE), at(60 * MINUTE)), Folded::Began);
    assert_eq!(told(&mut fold, 60 * MINUTE), one("BackOff", &["firing Pod/web-0"]));
}

// A storm of which nobody hears is stale after five hours.
#[test]
fn what_goes_on_is_told_again_every_four_hours() {
    let mut fold = EventFold::default();
    let mut times = Vec::new();
    for minute in 0..10 * 60 {
        fold.take_in(event("prod", "FailedScheduling", 0, minute * MINUTE), at(minute * MINUTE));
        times.extend(told(&mut fold, minute * MINUTE).iter().map(|_| minute));
    }
    assert_eq!(times, [0, 240, 480]);
}

#[test]
fn an_end_that_is_not_told_yet_is_none_when_the_next_event_comes() {
    let mut fold = EventFold::default();
    fold.take_in(event("prod", "BackOff", 0, 0), at(0));
    let first = fold.due(at(0), 1);
    // The API server is slow: its Signal is under way for eleven minutes, and the end waits for it.
    assert_eq!(fold.due(at(11 * MINUTE), 1), vec![]);
    assert_eq!(fold.take_in(event("prod", "BackOff", 0, 11 * MINUTE), at(11 * MINUTE)), Folded::GoesOn);
    fold.stored(&first[0].group);
    assert_eq!(told(&mut fold, 12 * MINUTE), vec![]);
    assert_eq!(told(&mut fold, 21 * MINUTE), one("BackOff", &["resolved Pod/web-0"]));
}

#[test]
fn an_alert_that_is_over_before_it_was_told_is_told_as_both() {
    let mut fold = EventFold::default();
    fold.take_in(event("prod", "BackOff", 0, 0), at(0));
    assert_eq!(told(&mut fold, 15 * MINUTE), one("BackOff", &["firing Pod/web-0"]));
    assert_eq!(told(&mut fold, 15 * MINUTE + 1), one("BackOff", &["resolved Pod/web-0"]));
}

#[test]
fn while_events_may_be_missing_nothing_is_over() {
    let mut fold = EventFold::default();
    fold.take_in(event("prod", "BackOff", 0, 0), at(0));
    told(&mut fold, 0);
    fold.hold_ends(at(20 * MINUTE));
    assert_eq!(told(&mut fold, 19 * MINUTE), vec![]);
    assert_eq!(fold.next(), Some(at(20 * MINUTE)));
    // What was written meanwhile is heard of late.
    fold.take_in(event("prod", "BackOff", 0, 12 * MINUTE), at(20 * MINUTE));
    assert_eq!(told(&mut fold, 20 * MINUTE), vec![]);
    assert_eq!(told(&mut fold, 22 * MINUTE), one("BackOff", &["resolved Pod/web-0"]));
}

// What is stored is not told again; what the list shows of it goes on, the rest is over, and what was over for long before is no news.
#[test]
fn after_a_restart_nothing_is_told_twice_and_no_end_is_lost() {
    let mut fold = EventFold::default();
    let known = |fold: &mut EventFold, pod| {
        let WarningEvent { group, fingerprint, resource, .. } = event("prod", "BackOff", pod, 0);
        fold.recall(group, fingerprint, resource, [at(0), at(5 * MINUTE)]);
    };
    known(&mut fold, 0);
    known(&mut fold, 1);
    known(&mut fold, 1);
    fold.hold_ends(at(61 * MINUTE));
    let now = at(60 * MINUTE);
    assert_eq!(fold.take_in(event("prod", "BackOff", 0, 59 * MINUTE), now), Folded::GoesOn);
    assert_eq!(fold.take_in(event("prod", "BackOff", 2, 40 * MINUTE), now), Folded::Over);
    assert_eq!(fold.take_in(event("prod", "BackOff", 3, 58 * MINUTE), now), Folded::Began);
    assert_eq!(told(&mut fold, 60 * MINUTE), one("BackOff", &["firing Pod/web-3"]));
    assert_eq!(told(&mut fold, 61 * MINUTE), one("BackOff", &["resolved Pod/web-1"]));
}

#[test]
fn ten_thousand_events_a_minute_are_a_few_signals_and_all_are_in_them() {
    let mut fold = EventFold::default();
    let (mut lines, mut signals) = (0, 0);
    for second in 0..60 {
        for n in 0..167 {
            let pod = usize::try_from(second).unwrap() * 167 + n;
            assert_eq!(
                fold.take_in(event("prod", "FailedMount", pod, second), at(second)),
                if pod < 10_000 { Folded::Began } else { Folded::Dropped }
            );
        }
        for (_, table) in told(&mut fold, second) {
            (signals, lines) = (signals + 1, lines + table.len());
        }
    }
    assert_eq!((signals, lines), (60, 10_000));
    fold.take_in(event("prod", "FailedMount", 3, 60), at(60));
    assert_eq!(
        fold.take_in(event("web", "FailedMount", 3, 60), at(60)),
        Folded::Began,
        "another namespace has its own room"
    );
}

#[test]
fn what_is_dropped_is_seen_in_the_signals_of_its_group() {
    let limits = FoldLimits { alerts_of_namespace: 2, ..FoldLimits::default() };
    let mut fold = EventFold { limits, ..EventFold::default() };
    for pod in 0..3 {
        fold.take_in(event("prod", "BackOff", pod, 0), at(0));
    }
    let due = fold.due(at(0), 1);
    assert_eq!((due[0].table.lines().count(), due[0].incomplete), (2, true));
}

#[test]
fn a_namespace_that_makes_up_reasons_has_its_share_and_no_more() {
    let mut fold = EventFold::default();
    for reason in 0..200 {
        let folded = fold.take_in(event("bad", &format!("R{reason}"), reason, 0), at(0));
        assert_eq!(folded, if reason < 64 { Folded::Began } else { Folded::Dropped });
    }
    fold.take_in(event("prod", "BackOff", 0, 0), at(0));
    let due = fold.due(at(0), 16);
    let of = |namespace: &str| due.iter().filter(|due| due.group.namespace.as_deref() == Some(namespace)).count();
    assert_eq!((of("bad"), of("prod")), (2, 1));
    // They are not stored, and nobody spins for that.
    assert_eq!(fold.due(at(1), 16), vec![]);
    assert_eq!(fold.next(), Some(at(10 * MINUTE)), "only what is told already is looked at");
}

#[test]
fn a_second_has_so_many_signals_and_namespaces_take_turns() {
    let limits = FoldLimits { signals: 3, ..FoldLimits::default() };
    let mut fold = EventFold { limits, ..EventFold::default() };
    let mut turns = Vec::new();
    for namespace in ["a", "b", "c", "d", "e"] {
        fold.take_in(event(namespace, "BackOff", 0, 0), at(0));
        fold.take_in(event(namespace, "Unhealthy", 0, 0), at(0));
    }
    for second in 0..4 {
        let due = fold.due(at(second), usize::MAX);
        turns.extend(due.iter().map(|due| due.group.namespace.clone().unwrap()));
        assert_eq!(fold.due(at(second), usize::MAX), vec![]);
        for due in &due {
            fold.stored(&due.group);
        }
        assert_eq!(fold.next(), if second < 3 { Some(at(second + 1)) } else { Some(at(10 * MINUTE)) });
    }
    assert_eq!(turns.join(""), "abcdeabcde");
}
