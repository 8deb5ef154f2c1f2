//! The protocol of opening, merging, publishing, receipts and closing, searched exhaustively.

mod ingest;
mod publish;
mod redis;
mod replica;
mod search;
mod steps;
mod world;

use search::search;
use world::{Budget, Mutation, Rules};

#[allow(dead_code)]
fn show(name: &str, rules: &Rules) {
    let start = std::time::Instant::now();
    let found = search(rules);
    eprintln!("{name}: {} states, {} at rest, {} steps, {:?}", found.states, found.at_rest, found.steps, start.elapsed());
    assert!(found.wrong.is_none(), "{name}: {}", found.wrong.unwrap());
}

fn rules(signals: &[u8], replicas: u8, budget: Budget) -> Rules {
    Rules { signals: signals.to_vec(), replicas, budget, command_by_command: false, mutation: None }
}
#[test]
fn f1() { show("crash, one replica, fine", &Rules { command_by_command: true, ..rules(&[1, 2], 1, Budget { outcomes: 1, crashes: 2, ..Budget::default() }) }); }
#[test]
fn f2() { show("lost, one replica", &rules(&[1, 2, 1], 1, Budget { outcomes: 1, lost_replies: 1, crashes: 1, ..Budget::default() })); }
#[test]
fn f3() { show("flush, one replica", &rules(&[1, 2], 1, Budget { outcomes: 1, flushes: 1, ..Budget::default() })); }
#[test]
fn f4() { show("wipe, one replica", &rules(&[1, 2], 1, Budget { outcomes: 1, wipes: 1, crashes: 1, ..Budget::default() })); }
#[test]
fn f5() { show("rollback, one replica", &rules(&[1, 2], 1, Budget { outcomes: 1, rollbacks: 1, ..Budget::default() })); }
#[test]
fn f6() { show("relist, one replica", &rules(&[1, 2, 1], 1, Budget { outcomes: 1, relists: 1, repeats: 1, crashes: 1, ..Budget::default() })); }
#[test]
fn f7() { show("late, one replica", &rules(&[1, 2], 1, Budget { outcomes: 1, late_effects: 1, crashes: 1, ..Budget::default() })); }
#[test]
fn g1() { show("two, two signals", &rules(&[1, 2], 2, Budget { outcomes: 0, ..Budget::default() })); }
#[test]
fn g2() { show("two, flush", &rules(&[1], 2, Budget { outcomes: 0, flushes: 1, ticks: 1, ..Budget::default() })); }
#[test]
fn g3() { show("two, rollback", &rules(&[1], 2, Budget { outcomes: 1, rollbacks: 1, ..Budget::default() })); }
#[test]
fn g4() { show("two, crash", &rules(&[1], 2, Budget { outcomes: 1, crashes: 1, ..Budget::default() })); }

#[test]
fn f8() { show("flush, one replica, late, repeat", &rules(&[1, 2, 1], 1, Budget { outcomes: 1, flushes: 1, ..Budget::default() })); }
