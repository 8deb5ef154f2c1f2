//! Redis against its specification, state by state: two processes on one server, crashes, wipes, a full server, races of a merge with
//! a close. The memory ledger plays the same history without any of them.

use proptest::prelude::*;

use super::pair::Play;
use super::{Said, histories, redis_ledger, said};
use crate::redis_server::RedisServer;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Signals arrive together.
    Signals(Vec<Said>),
    /// What arrived so many steps ago arrives again.
    Again(usize),
    /// The two processes merge a Signal each, at the same time.
    Together(Said, Said),
    /// From now on the other process does everything.
    Other,
    /// The process that is at work dies, and a new one reads all Signals again.
    Crash,
    /// A publisher takes a snapshot.
    Snapshot,
    /// It acknowledges its last snapshot.
    Ack,
    /// It closes the storm as of its last snapshot.
    Close,
    /// It closes the storm while the other process merges a Signal.
    Race(Said),
    /// Somebody deletes the object.
    Forget,
    /// The server refuses to grow while a Signal arrives, and is published all the same.
    Full(Said),
    /// The Signals of storms that are over for a while go by retention, but for those of what fires on.
    Retire,
    /// The server loses everything.
    Wipe,
}

fn step(ends: bool, wipes: bool) -> impl Strategy<Value = Step> {
    let reports = said(300, if ends { 0.75 } else { 1.0 }, 7);
    prop_oneof![
        6 => prop::collection::vec(reports.clone(), 1..4).prop_map(Step::Signals),
        2 => (1..6usize).prop_map(Step::Again),
        2 => (reports.clone(), reports.clone()).prop_map(|(a, b)| Step::Together(a, b)),
        1 => Just(Step::Other),
        1 => Just(Step::Crash),
        4 => Just(Step::Snapshot),
        2 => Just(Step::Ack),
        1 => Just(Step::Close),
        1 => reports.clone().prop_map(Step::Race),
        1 => Just(Step::Forget),
        1 => reports.prop_map(Step::Full),
        1 => Just(Step::Retire),
        1 => Just(if wipes { Step::Wipe } else { Step::Other }),
    ]
}

fn play(ends: bool, wipes: bool) {
    let server = RedisServer::start(&[]);
    let begin = async || [redis_ledger(&server).await, redis_ledger(&server).await];
    histories(100, &prop::collection::vec(step(ends, wipes), 1..50), begin, &async |ledgers, history| {
        let mut play = Play::new(&server, ledgers.clone(), ends).await;
        for step in &history {
            play.play(step).await;
        }
    });
}

// A1, A2, A5, A11, C1: crashes, two processes, a full server, races.
#[test]
fn the_redis_ledger_equals_the_memory_ledger_whatever_happens_to_its_processes() {
    play(true, false);
}

// Invariant 8: what Redis lost comes again with the Signals. Occurrences that are over before they fired are left out: what a closed
// storm knew of them is in no Signal's receipt.
#[test]
fn the_redis_ledger_equals_the_memory_ledger_after_it_was_wiped() {
    play(false, true);
}
