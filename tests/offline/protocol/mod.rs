//! The protocol of opening, merging, publishing, receipts and closing, searched exhaustively.

mod carry_out;
mod ingest;
mod merging;
mod publish;
mod redis;
mod replica;
mod search;
mod steps;
mod world;

use search::search;
use world::{Budget, Mutation, Rules};

fn rules(signals: &[u8], replicas: u8, budget: Budget) -> Rules {
    let most = std::env::var("MOST").map_or(3_000_000, |most| most.parse().unwrap());
    Rules { signals: signals.to_vec(), replicas, budget, command_by_command: false, mutation: None, most_states: most }
}
fn b() -> Budget {
    Budget { outcomes: 1, ..Budget::default() }
}
fn families() -> Vec<(&'static str, Rules)> {
    vec![
        ("1 none", rules(&[1, 2], 1, b())),
        ("1 repeat", rules(&[1, 2, 1], 1, b())),
        ("1 fine crash", Rules { command_by_command: true, ..rules(&[1, 2], 1, Budget { crashes: 1, ..b() }) }),
        ("1 lost", rules(&[1, 2], 1, Budget { lost_replies: 1, ..b() })),
        ("1 late", rules(&[1, 2], 1, Budget { late_effects: 1, ..b() })),
        ("1 late crash", rules(&[1], 1, Budget { late_effects: 1, crashes: 1, ..b() })),
        ("1 flush1", rules(&[1], 1, Budget { flushes: 1, ..b() })),
        ("1 flush crash 1", rules(&[1], 1, Budget { flushes: 1, crashes: 1, ..b() })),
        ("1 wipe1", rules(&[1], 1, Budget { wipes: 1, ..b() })),
        ("1 wipe crash 1", rules(&[1], 1, Budget { wipes: 1, crashes: 1, ..b() })),
        ("1 rollback1", rules(&[1], 1, Budget { rollbacks: 1, ..b() })),
        ("1 rollback crash 1", rules(&[1], 1, Budget { rollbacks: 1, crashes: 1, ..b() })),
        ("1 relist", rules(&[1, 2], 1, Budget { relists: 1, repeats: 1, ..b() })),
        ("1 flush2", rules(&[1, 2], 1, Budget { flushes: 1, ..b() })),
        ("1 rollback2", rules(&[1, 2], 1, Budget { rollbacks: 1, ..b() })),
        ("1 repeat flush", rules(&[1, 2, 1], 1, Budget { flushes: 1, ..b() })),
        ("2 none", rules(&[1], 2, b())),
        ("2 fine", Rules { command_by_command: true, ..rules(&[1], 2, Budget { ..Budget::default() }) }),
        ("2 crash", rules(&[1], 2, Budget { crashes: 1, ..Budget::default() })),
        ("2 lost", rules(&[1], 2, Budget { lost_replies: 1, ..Budget::default() })),
        ("2 flush", rules(&[1], 2, Budget { flushes: 1, ..Budget::default() })),
        ("2 flush tick", rules(&[1], 2, Budget { flushes: 1, ticks: 1, ..Budget::default() })),
        ("2 rollback", rules(&[1], 2, Budget { rollbacks: 1, ..Budget::default() })),
        ("2 relist", rules(&[1], 2, Budget { relists: 1, repeats: 1, ..Budget::default() })),
    ]
}
#[test]
fn all() {
    for (name, rules) in families() {
        let start = std::time::Instant::now();
        let found = search(&rules);
        eprintln!(
            "## {name}: {} states, {} at rest, {} steps, {:?} {}",
            found.states,
            found.at_rest,
            found.steps,
            start.elapsed(),
            found.wrong.unwrap_or_default()
        );
    }
}
#[test]
fn mutations() {
    use Mutation as M;
    for mutation in [
        M::MergeIgnoresItsEnd,
        M::CloseIgnoresChanges,
        M::CloseHoldsNothing,
        M::ApplyWithoutVersion,
        M::NoWatchAgain,
        M::ReceiptBeforePublish,
        M::CloseBeforeListed,
        M::OpenWithoutLook,
        M::StraysStay,
        M::ClaimAfterSnapshot,
        M::ReceiptsOutliveLoss,
        M::HoldersAreLookedAtOnce,
        M::ReceiptsOfTheUnknown,
        M::HeldNamesTheOpen,
        M::EmptyStormsStay,
        M::ClosedAreNotLookedAt,
        M::OldSnapshots,
        M::EndsBeforeListed,
        M::EndsDuringJoin,
        M::EndsBeforeHeldAreTold,
        M::JoinsWhileListed,
        M::ClosedAreRebuilt,
    ] {
        for (name, rules) in families() {
            let found = search(&Rules { mutation: Some(mutation), ..rules });
            if let Some(wrong) = found.wrong {
                eprintln!("## {mutation:?}: {name} {} states {}", found.states, wrong.lines().next().unwrap());
                break;
            }
        }
    }
}
