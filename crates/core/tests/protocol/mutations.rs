//! Rules that are broken on purpose: the search finds out. What it found in the protocol when it was first searched, and finds again, is in
//! `traces`.

use rstest::rstest;
use stormfold_core::rules::Rule;

use super::case::{Budget, Case, LedgerRule};
use super::search::search;
use super::{END, case, fine, in_turn, published};

/// A rule, whoever keeps it.
#[derive(Clone, Copy, Debug)]
pub enum Broken {
    Engine(Rule),
    Ledger(LedgerRule),
}

impl Broken {
    pub fn name(self) -> String {
        match self {
            Self::Engine(rule) => format!("{rule:?}"),
            Self::Ledger(rule) => format!("{rule:?}"),
        }
    }
}

/// The case with these rules broken.
pub fn without(broken: &[Broken], mut case: Case) -> Case {
    for rule in broken {
        match rule {
            Broken::Engine(rule) => case.rules.push(*rule),
            Broken::Ledger(rule) => case.ledger_rules.push(*rule),
        }
    }
    case
}

fn engine(rule: Rule) -> Broken {
    Broken::Engine(rule)
}

fn ledger(rule: LedgerRule) -> Broken {
    Broken::Ledger(rule)
}

#[rstest]
#[case::a_close_that_ignores_changes(ledger(LedgerRule::CloseIgnoresChanges), case(&[1, 2], 1, END), "invariant 1")]
#[case::a_closed_storm_that_holds_nothing(ledger(LedgerRule::CloseHoldsNothing), case(&[1, 2, 1], 1, END), "invariant 1")]
#[case::an_apply_without_a_version(
    ledger(LedgerRule::ApplyWithoutVersion),
    case(&[1, 2], 1, Budget { lost_replies: 1, ..END }),
    "invariant 4"
)]
#[case::no_resync_after_a_loss(engine(Rule::ResyncAfterLoss), case(&[1], 1, Budget { flushes: 1, ..END }), "invariant 3")]
#[case::a_receipt_before_the_publish(
    engine(Rule::ReceiptAfterPublish),
    fine(case(&[1, 2], 1, Budget { crashes: 1, ..END })),
    "invariant 1"
)]
#[case::a_close_before_the_list_is_read(engine(Rule::CloseAfterList), case(&[1], 1, Budget { flushes: 1, ..END }), "invariant 1")]
#[case::a_merge_that_ignores_its_end(
    ledger(LedgerRule::MergeIgnoresItsEnd),
    published(fine(case(&[1, 2], 1, END))),
    "invariant 1"
)]
fn the_search_finds_what_each_rule_is_there_for(#[case] broken: Broken, #[case] case: Case, #[case] breaks: &str) {
    let found = search(&without(&[broken], case));
    let wrong = found.wrong.expect("the search finds it");
    println!("{}: found in {} states: {wrong}", broken.name(), found.states);
    assert!(wrong.lines().next().is_some_and(|first| first.contains(breaks)), "{wrong}");
}

// The settling of its storm removes what a stray left, and so does whoever begins next: that its merge removes it first is not needed for that.
#[test]
fn what_a_stray_leaves_is_removed_also_without_the_rule_that_its_merge_does() {
    let broken = [ledger(LedgerRule::StraysStay)];
    let found = search(&without(&broken, in_turn(published(case(&[1, 2], 2, END)))));
    assert_eq!(found.wrong, None);
    assert!(found.states > 10_000, "only {} states", found.states);
}

// Once it was rebuilt for ever, for nobody looked at it again. Now its run waits for the end of the list like any other, and without the rule all
// that happens is that one more list is read.
#[test]
fn a_storm_that_is_over_is_not_rebuilt_for_ever_also_without_the_rule_about_that() {
    let broken = [engine(Rule::ClosedAreNotRebuilt)];
    let found = search(&without(&broken, case(&[1], 1, Budget { rollbacks: 1, crashes: 1, ..END })));
    assert_eq!(found.wrong, None);
    assert!(found.states > 80_000, "only {} states", found.states);
}
