//! Rules of the protocol that are broken on purpose: the search finds out. The second table is what it found in the protocol when it was first
//! searched, found again (decision 0012 has the traces).

use rstest::rstest;

use super::search::search;
use super::world::{Budget, Mutation, Rules};
use super::{END, NONE, fine, published, rules};

/// Searches with rules broken; the first thing that goes wrong must be this.
fn is_found(mutations: &[Mutation], rules: Rules, breaks: &str) {
    let found = search(&Rules { mutations: mutations.to_vec(), ..rules });
    let wrong = found.wrong.expect("the search finds it");
    println!("{mutations:?}: found in {} states: {wrong}", found.states);
    assert!(wrong.lines().next().is_some_and(|first| first.contains(breaks)), "{wrong}");
}

#[rstest]
#[case::a_close_that_ignores_changes(Mutation::CloseIgnoresChanges, rules(&[1, 2], 1, END), "invariant 1")]
#[case::a_closed_storm_that_holds_nothing(Mutation::CloseHoldsNothing, rules(&[1, 2, 1], 1, END), "invariant 1")]
#[case::an_apply_without_a_version(Mutation::ApplyWithoutVersion, rules(&[1, 2], 1, Budget { lost_replies: 1, ..END }), "invariant 4")]
#[case::no_watching_again_after_a_loss(Mutation::NoWatchAgain, rules(&[1], 1, Budget { flushes: 1, ..END }), "invariant 3")]
#[case::a_receipt_before_the_publish(Mutation::ReceiptBeforePublish, fine(rules(&[1, 2], 1, Budget { crashes: 1, ..END })), "invariant 1")]
#[case::a_close_before_the_list_is_read(Mutation::CloseBeforeListed, rules(&[1], 1, Budget { flushes: 1, ..END }), "invariant 1")]
#[case::a_merge_that_ignores_its_end(Mutation::MergeIgnoresItsEnd, published(fine(rules(&[1, 2], 1, END))), "invariant 1")]
#[case::strays_that_stay(Mutation::StraysStay, published(fine(rules(&[1, 2], 1, END))), "invariant 15")]
fn the_search_finds_what_each_rule_is_there_for(
    #[case] mutation: Mutation,
    #[case] rules: Rules,
    #[case] breaks: &str,
) {
    is_found(&[mutation], rules, breaks);
}

#[rstest]
#[case::closed_are_not_looked_at(Mutation::ClosedAreNotLookedAt, rules(&[1], 1, Budget { rollbacks: 1, ..END }), "invariant 15")]
#[case::closed_are_rebuilt(Mutation::ClosedAreRebuilt, published(rules(&[1, 2], 1, Budget { rollbacks: 1, ..END })), "invariant 15")]
#[case::ends_before_listed(Mutation::EndsBeforeListed, rules(&[1], 1, Budget { wipes: 1, crashes: 1, ..END }), "invariant 1")]
#[case::ends_during_join(Mutation::EndsDuringJoin, published(rules(&[1, 2], 1, Budget { flushes: 1, ..END })), "invariant 1")]
#[case::ends_before_held_are_told(Mutation::EndsBeforeHeldAreTold, rules(&[1], 1, Budget { flushes: 1, crashes: 1, ..END }), "invariant 1")]
#[case::held_names_the_open(Mutation::HeldNamesTheOpen, rules(&[1], 2, END), "invariant 13")]
#[case::strays_of_the_lost_stay(Mutation::StraysOfTheLostStay, rules(&[1, 2], 1, Budget { flushes: 1, crashes: 1, ..NONE }), "invariant 15")]
#[case::drops_before_listed(Mutation::DropsBeforeListed, published(rules(&[1, 1], 1, Budget { flushes: 1, ..END })), "invariant 1")]
fn what_the_search_found_is_found_again(#[case] mutation: Mutation, #[case] rules: Rules, #[case] breaks: &str) {
    is_found(&[mutation], rules, breaks);
}

// Since no storm is dropped before a list, these are not reached by a quick search any more; without that rule they are.
#[rstest]
#[case::holders_are_looked_at_once(Mutation::HoldersAreLookedAtOnce, rules(&[1], 1, Budget { flushes: 1, ..END }), "invariant 1")]
#[case::empty_storms_stay(Mutation::EmptyStormsStay, rules(&[1], 1, Budget { flushes: 1, ..END }), "invariant 15")]
fn what_the_search_found_before_drops_waited_for_a_list_is_found_again(
    #[case] mutation: Mutation,
    #[case] rules: Rules,
    #[case] breaks: &str,
) {
    is_found(&[mutation, Mutation::DropsBeforeListed], rules, breaks);
}

// One rule is behind the other: with both broken, a Signal has a receipt for what the ledger lost.
#[test]
fn a_receipt_that_outlives_the_loss_of_its_merge_is_found() {
    let both = [Mutation::ReceiptsOutliveLoss, Mutation::ReceiptsOfTheUnknown];
    is_found(&both, rules(&[1], 1, Budget { flushes: 1, ..END }), "invariant 1");
}
