//! Every timing rule and every meeting of ledger and cluster, with a clock that is an argument.

use std::sync::LazyLock;

use rstest::rstest;

use super::*;

/// The storm of these tests opened here.
const OPENED: Epoch = 1_800_000_000;

/// What happens next when all Signals were read and nothing was written in this run.
fn decided(ledger: &LedgerView, projection: &Projection, policy: &Policy, epoch: Epoch, now: Timestamp) -> Decision {
    decide(&Situation { policy, epoch, now, ..situation(ledger, projection) })
}

fn situation<'a>(ledger: &'a LedgerView, projection: &'a Projection) -> Situation<'a> {
    static POLICY: LazyLock<Policy> = LazyLock::new(Policy::default);
    static RULES: LazyLock<Rules> = LazyLock::new(Rules::default);
    Situation {
        ledger,
        projection,
        policy: &POLICY,
        epoch: OPENED,
        now: at(1),
        listed: true,
        behind: Reread::Done,
        over: Reread::Done,
        wrote: false,
        rules: &RULES,
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(OPENED + seconds).unwrap()
}

fn facts(alerts: usize, firing: usize, last_seen: i64) -> StormMetadata {
    StormMetadata {
        pattern: "X in prod".into(),
        alert_count: alerts,
        firing,
        affected_count: 1,
        affected_resources: vec!["Pod/a".into()],
        first_seen: at(-60),
        last_seen: at(last_seen),
        incomplete: false,
        severity: Severity::Warning,
    }
}

fn open(metadata: Option<StormMetadata>) -> LedgerView {
    LedgerView::Open { metadata, resolvable: false, published: true }
}

fn shown(metadata: Option<StormMetadata>) -> Projection {
    Projection::Open {
        metadata,
        is_storm: false,
        finished: false,
        wish: Wish::None,
        superseded: false,
        overwritten: None,
    }
}

fn decide_both(facts: &StormMetadata, resolvable: bool, now: i64) -> Decision {
    let ledger = LedgerView::Open { metadata: Some(facts.clone()), resolvable, published: true };
    decided(&ledger, &shown(Some(facts.clone())), &Policy::default(), OPENED, at(now))
}

// A16, A20, A21: a boundary belongs to the storm; strictly after it the storm ends.
#[rstest]
#[case::quiet_before(600 + 30 - 1, None)]
#[case::quiet_at(600 + 30, None)]
#[case::quiet_after(600 + 30 + 1, Some(CloseReason::Quiet))]
fn a_storm_is_quiet_strictly_after_its_quiet_period(#[case] now: i64, #[case] ends: Option<CloseReason>) {
    let decision = decide_both(&facts(3, 3, 30), false, now);
    assert_eq!(decision, ends.map_or(Decision::Keep(at(630)), Decision::Close));
}

// A14, A15, A16: the maximum age is checked apart from silence, however lately a Signal came.
#[rstest]
#[case::before(6 * 3600 - 1, None)]
#[case::at(6 * 3600, None)]
#[case::after(6 * 3600 + 1, Some(CloseReason::MaxAge))]
fn a_storm_ends_strictly_after_its_maximum_age(#[case] now: i64, #[case] ends: Option<CloseReason>) {
    let decision = decide_both(&facts(3, 3, now - 1), false, now);
    assert_eq!(decision, ends.map_or(Decision::Keep(at(6 * 3600)), Decision::Close));
}

#[rstest]
#[case::before(300 + 30 - 1, None)]
#[case::at(300 + 30, None)]
#[case::after(300 + 30 + 1, Some(CloseReason::Resolved))]
fn a_storm_where_nothing_fires_is_resolved_after_the_settle_delay(#[case] now: i64, #[case] ends: Option<CloseReason>) {
    let decision = decide_both(&facts(3, 0, 30), true, now);
    assert_eq!(decision, ends.map_or(Decision::Keep(at(330)), Decision::Close));
}

#[rstest]
#[case::quiet_period_is_not_enough(601, None)]
#[case::at(5 * 3600, None)]
#[case::after(5 * 3600 + 1, Some(CloseReason::Quiet))]
fn a_silent_resolvable_source_is_not_a_resolved_one(#[case] now: i64, #[case] ends: Option<CloseReason>) {
    let decision = decide_both(&facts(3, 1, 0), true, now);
    assert_eq!(decision, ends.map_or(Decision::Keep(at(5 * 3600)), Decision::Close));
}

// The operator was down when it came: old news opens a storm that is as long open as any other.
#[test]
fn a_storm_that_opens_with_old_news_is_quiet_from_its_opening() {
    assert_eq!(decide_both(&facts(3, 3, -3000), false, 600), Decision::Keep(at(600)));
    assert_eq!(decide_both(&facts(3, 3, -3000), false, 601), Decision::Close(CloseReason::Quiet));
}

// A22: at the threshold and above it, for alerts and for resources.
#[rstest]
#[case(9, 1, false)]
#[case(10, 1, true)]
#[case(11, 1, true)]
#[case(1, 4, false)]
#[case(1, 5, true)]
#[case(1, 6, true)]
fn the_threshold_is_reached_at_its_number(#[case] alerts: usize, #[case] resources: usize, #[case] reached: bool) {
    let facts = StormMetadata { affected_count: resources, ..facts(alerts, alerts, 0) };
    assert_eq!(is_storm(&facts, &Policy::default()), reached);
    let decision = decided(&open(Some(facts.clone())), &shown(Some(facts.clone())), &Policy::default(), OPENED, at(1));
    let written = decision == Decision::Write(WriteReason::ThresholdReached, facts);
    assert_eq!(written, reached);
}

// A4, A5: one object from the first alert on, far under the threshold.
#[test]
fn the_first_signal_creates_and_then_writes() {
    let ledger = LedgerView::Open { metadata: Some(facts(1, 1, 0)), resolvable: false, published: false };
    let policy = Policy::default();
    let absent = Projection::Absent { superseded: false };
    assert_eq!(decided(&ledger, &absent, &policy, OPENED, at(0)), Decision::Create);
    let written = Decision::Write(WriteReason::Opened, facts(1, 1, 0));
    assert_eq!(decided(&ledger, &shown(None), &policy, OPENED, at(0)), written);
}

// Invariant 3, D4: what the cluster shows is joined, never lowered.
#[test]
fn a_ledger_that_knows_less_lowers_nothing() {
    let policy = Policy::default();
    let (less, more) = (facts(2, 2, 5), facts(7, 4, 30));
    let decision = decided(&open(Some(less)), &shown(Some(more.clone())), &policy, OPENED, at(31));
    assert!(matches!(decision, Decision::Keep(_)), "{decision:?}");
    let Decision::Write(_, joined) = decided(&open(Some(facts(8, 8, 6))), &shown(Some(more)), &policy, OPENED, at(31))
    else {
        panic!("a greater count is written")
    };
    assert_eq!((joined.alert_count, joined.firing, joined.last_seen), (8, 8, at(30)));
}

#[test]
fn equal_state_is_never_written() {
    assert!(matches!(decide_both(&facts(3, 3, 0), false, 1), Decision::Keep(_)));
}

#[test]
fn the_engines_outcome_ends_the_storm() {
    let decision = decide_with(true, Wish::None, &Policy::default(), 1);
    assert_eq!(decision, Decision::Close(CloseReason::RemediationFinished));
    let goes_on = Policy { close_on_outcome: false, ..Policy::default() };
    assert!(matches!(decide_with(true, Wish::None, &goes_on, 1), Decision::Keep(_)));
}

fn decide_with(finished: bool, wish: Wish, policy: &Policy, now: i64) -> Decision {
    let facts = facts(1, 1, 0);
    let shown = Projection::Open {
        metadata: Some(facts.clone()),
        is_storm: false,
        finished,
        wish,
        superseded: false,
        overwritten: None,
    };
    decided(&open(Some(facts)), &shown, policy, OPENED, at(now))
}

#[test]
fn a_person_may_end_a_storm_or_hold_it_open_whatever_the_rules_say() {
    let policy = Policy::default();
    assert_eq!(decide_with(false, Wish::Close, &policy, 0), Decision::Close(CloseReason::Requested));
    let years = 10 * 365 * 24 * 3600;
    for finished in [false, true] {
        assert_eq!(decide_with(finished, Wish::HoldOpen, &policy, years), Decision::Keep(Timestamp::MAX));
    }
}

// A policy that shows fewer resources cuts the list and nothing else.
#[test]
fn the_policy_says_how_many_resources_are_shown() {
    let many = StormMetadata {
        affected_count: 300,
        affected_resources: (0..300).map(|n| format!("Pod/p{n:03}")).collect(),
        ..facts(300, 300, 0)
    };
    for cap in [1, 100, 300] {
        let policy = Policy { affected_cap: cap, ..Policy::default() };
        let decision = decided(&open(Some(many.clone())), &shown(None), &policy, OPENED, at(1));
        let Decision::Write(WriteReason::Opened, facts) = decision else { panic!("{decision:?}") };
        assert_eq!((facts.affected_resources.len(), facts.affected_count, facts.alert_count), (cap, 300, 300));
    }
}

// A14: under a stream of Signals there are always facts that are not written; the ledger keeps them for the end.
#[test]
fn an_ending_that_is_due_comes_before_facts_that_are_new() {
    let now = 6 * 3600 + 1;
    let decision =
        decided(&open(Some(facts(9, 9, now))), &shown(Some(facts(8, 8, now))), &Policy::default(), OPENED, at(now));
    assert_eq!(decision, Decision::Close(CloseReason::MaxAge));
}

#[rstest]
// Invariant 8, C16, C17: deleted by hand.
#[case(open(Some(facts(1, 1, 0))), Projection::Absent { superseded: false }, Decision::Forget)]
// Invariant 9: open in the cluster, unknown to the ledger.
#[case(LedgerView::Unknown, shown(Some(facts(1, 1, 0))), Decision::Adopt)]
// Invariant 4: closed is closed.
#[case(open(Some(facts(1, 1, 0))), Projection::Closed, Decision::Drop(DropReason::ClosedInCluster))]
#[case(LedgerView::Unknown, Projection::Closed, Decision::Settled)]
#[case(LedgerView::Unknown, Projection::Absent { superseded: false }, Decision::Settled)]
#[case(open(Some(facts(1, 1, 0))), Projection::Absent { superseded: true }, Decision::Drop(DropReason::Superseded))]
fn the_cluster_wins_over_the_ledger(
    #[case] ledger: LedgerView,
    #[case] projection: Projection,
    #[case] decision: Decision,
) {
    assert_eq!(decided(&ledger, &projection, &Policy::default(), OPENED, at(1)), decision);
}

#[test]
fn a_storm_that_is_closed_in_the_ledger_is_written_whole_and_then_closed() {
    let policy = Policy::default();
    let closed = LedgerView::Closed { metadata: Some(facts(5, 5, 9)), reason: Some(CloseReason::MaxAge) };
    let decision = decided(&closed, &shown(Some(facts(4, 4, 8))), &policy, OPENED, at(10));
    assert_eq!(decision, Decision::Write(WriteReason::Changed, facts(5, 5, 9)));
    let decision = decided(&closed, &shown(Some(facts(5, 5, 9))), &policy, OPENED, at(10));
    assert_eq!(decision, Decision::WriteClosed(CloseReason::MaxAge, facts(5, 5, 9)));
    // Whoever meets it after a crash finishes the write, with what the object shows.
    let lost = LedgerView::Closed { metadata: None, reason: None };
    let decision = decided(&lost, &shown(Some(facts(5, 5, 9))), &policy, OPENED, at(10));
    assert_eq!(decision, Decision::WriteClosed(CloseReason::Quiet, facts(5, 5, 9)));
}

#[test]
fn times_at_the_end_of_time_do_not_overflow() {
    let edited = StormMetadata { last_seen: Timestamp::MAX, ..facts(1, 1, 0) };
    let decision =
        decided(&open(Some(edited.clone())), &shown(Some(edited)), &Policy::default(), i64::MAX, Timestamp::MAX);
    assert!(matches!(decision, Decision::Keep(_)), "{decision:?}");
}

// While Signals are listed the ledger may know less than the cluster shows, and silence means nothing.
#[test]
fn nothing_that_is_shown_is_written_or_ended_before_all_signals_were_read() {
    let (less, more) = (facts(2, 2, 0), facts(3, 3, 0));
    let listing = |ledger: &LedgerView, projection: &Projection, now| {
        decide(&Situation { listed: false, now: at(now), ..situation(ledger, projection) })
    };
    let closed = LedgerView::Closed { metadata: Some(less.clone()), reason: Some(CloseReason::Quiet) };
    let over = shown(Some(less.clone()));
    assert_eq!(listing(&open(Some(more.clone())), &over, 1), Decision::AwaitList, "facts");
    assert_eq!(listing(&open(Some(less.clone())), &over, 1), Decision::AwaitList, "nothing new");
    assert_eq!(listing(&open(Some(less.clone())), &over, 10_000), Decision::AwaitList, "an end");
    assert_eq!(listing(&closed, &over, 1), Decision::AwaitList, "the write of an end");
    assert_eq!(listing(&open(Some(less)), &Projection::Closed, 1), Decision::AwaitList, "a drop");
    let first = listing(&open(Some(more.clone())), &shown(None), 1);
    assert_eq!(first, Decision::Write(WriteReason::Opened, more), "what is not shown yet is written");
}

#[test]
fn a_ledger_that_knows_less_than_it_did_is_told_again_first() {
    let ledger = open(Some(facts(1, 1, 0)));
    let behind = |behind, projection: &Projection| {
        decide(&Situation { behind, over: Reread::Done, ..situation(&ledger, projection) })
    };
    let projection = shown(Some(facts(1, 1, 0)));
    assert_eq!(behind(Reread::Needed, &projection), Decision::Resync(Doubt::LedgerBehind));
    assert_eq!(behind(Reread::UnderWay, &projection), Decision::AwaitList);
    assert_eq!(behind(Reread::Done, &projection), Decision::Keep(at(600)));
    let over = behind(Reread::Needed, &Projection::Closed);
    assert_eq!(over, Decision::Drop(DropReason::ClosedInCluster), "what is over is not rebuilt");
}

#[test]
fn a_storm_that_is_over_in_the_cluster_is_dropped_after_all_signals_were_read() {
    let ledger = open(Some(facts(1, 1, 0)));
    let over = |over| decide(&Situation { over, ..situation(&ledger, &Projection::Closed) });
    assert_eq!(over(Reread::Needed), Decision::Resync(Doubt::ClosedInCluster));
    assert_eq!(over(Reread::UnderWay), Decision::AwaitList);
    assert_eq!(over(Reread::Done), Decision::Drop(DropReason::ClosedInCluster));
}

#[test]
fn facts_are_written_once_a_run() {
    let (ledger, projection) = (open(Some(facts(2, 2, 0))), shown(Some(facts(1, 1, 0))));
    assert_eq!(decide(&Situation { wrote: true, ..situation(&ledger, &projection) }), Decision::NextRun);
}
