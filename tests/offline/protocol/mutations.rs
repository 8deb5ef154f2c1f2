//! Rules of the protocol that are broken on purpose: the search finds out. The second table is what it found in the protocol when it was first
//! searched, found again (decision 0012 has the traces).

use rstest::rstest;

use super::search::search;
use super::world::{Budget, Mutation, Rules};
use super::{END, NONE, fine, published, rules};

/// Searches with a rule broken; the first thing that goes wrong must be this.
fn is_found(mutation: Mutation, rules: Rules, breaks: &str) {
    let found = search(&Rules { mutation: Some(mutation), ..rules });
    let wrong = found.wrong.expect("the search finds it");
    println!("{mutation:?}: found in {} states: {wrong}", found.states);
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
    is_found(mutation, rules, breaks);
}

#[rstest]
#[case::receipts_outlive_loss(Mutation::ReceiptsOutliveLoss, rules(&[1], 1, Budget { flushes: 1, ..NONE }), "invariant 1")]
#[case::receipts_of_the_unknown(Mutation::ReceiptsOfTheUnknown, rules(&[1], 1, Budget { flushes: 1, ..NONE }), "invariant 1")]
#[case::holders_are_looked_at_once(Mutation::HoldersAreLookedAtOnce, rules(&[1], 1, Budget { flushes: 1, ..END }), "invariant 1")]
#[case::empty_storms_stay(Mutation::EmptyStormsStay, rules(&[1], 1, Budget { flushes: 1, ..END }), "invariant 15")]
#[case::closed_are_not_looked_at(Mutation::ClosedAreNotLookedAt, rules(&[1], 1, Budget { rollbacks: 1, ..END }), "invariant 15")]
#[case::closed_are_rebuilt(Mutation::ClosedAreRebuilt, published(rules(&[1, 2], 1, Budget { rollbacks: 1, ..END })), "invariant 15")]
#[case::ends_before_listed(Mutation::EndsBeforeListed, rules(&[1], 1, Budget { wipes: 1, crashes: 1, ..END }), "invariant 1")]
#[case::ends_during_join(Mutation::EndsDuringJoin, published(rules(&[1, 2], 1, Budget { flushes: 1, ..END })), "invariant 1")]
#[case::ends_before_held_are_told(Mutation::EndsBeforeHeldAreTold, rules(&[1], 1, Budget { flushes: 1, crashes: 1, ..END }), "invariant 1")]
#[case::old_snapshots(Mutation::OldSnapshots, published(rules(&[1, 2], 1, Budget { flushes: 1, ..END })), "invariant 1")]
#[case::held_names_the_open(Mutation::HeldNamesTheOpen, rules(&[1], 2, END), "invariant 13")]
#[case::open_without_look(Mutation::OpenWithoutLook, rules(&[1], 2, Budget { flushes: 1, ..NONE }), "invariant 1")]
#[case::claim_after_snapshot(Mutation::ClaimAfterSnapshot, rules(&[1, 2], 1, Budget { crashes: 1, ..END }), "invariant 1")]
#[case::opens_in_doubt(Mutation::OpensInDoubt, published(rules(&[1, 1], 1, Budget { flushes: 1, ..END })), "invariant 1")]
#[case::joins_while_listed(Mutation::JoinsWhileListed, published(rules(&[1, 2], 1, Budget { flushes: 1, ..END })), "invariant 1")]
fn what_the_search_found_is_found_again(#[case] mutation: Mutation, #[case] rules: Rules, #[case] breaks: &str) {
    is_found(mutation, rules, breaks);
}
