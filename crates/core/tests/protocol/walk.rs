//! Random ways to rest, where there are too many states to search them all: from the nearest states in which two RemediationRequests are open, each
//! step is any of those that can be taken.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;

use super::case::Case;
use super::search::digest;
use super::steps::Move;
use super::world::World;

/// A way that is longer than this leads nowhere.
const LONGEST: usize = 20_000;

/// The nearest states in which two RemediationRequests are open: so many, or all there are.
pub fn two_open(case: &Case, most: usize) -> Vec<World> {
    let first = World::new(case);
    let mut seen = HashSet::from([digest(&first)]);
    let (mut frontier, mut found) = (VecDeque::from([first]), Vec::new());
    while let Some(world) = frontier.pop_front().filter(|_| found.len() < most) {
        for Move { world, digest, .. } in world.moves(case) {
            if !seen.insert(digest) {
                continue;
            }
            if world.open().len() > 1 {
                found.push(world);
            } else {
                frontier.push_back(world);
            }
        }
    }
    found
}

/// Goes this many ways from a state, the same ones each time, until nothing is left to happen; or to the first thing that is wrong.
pub fn walk(from: &World, case: &Case, ways: u32) -> Result<(), String> {
    (0..ways).try_for_each(|way| walk_once(from.clone(), case, way))
}

fn walk_once(mut world: World, case: &Case, way: u32) -> Result<(), String> {
    let mut told = format!("{world:#?}\n");
    for number in 1..=LONGEST {
        let mut moves = world.moves(case);
        let at_rest = !moves.iter().any(|next| next.step.is_of_the_system());
        if let Some(wrong) = world.violated.map(str::to_owned).or_else(|| world.at_rest(case).filter(|_| at_rest)) {
            return Err(format!("way {way}: {wrong}\n{told}"));
        }
        if moves.is_empty() {
            return Ok(());
        }
        let chosen = digest(&(way, number)) % moves.len() as u128;
        let next = moves.swap_remove(usize::try_from(chosen).unwrap());
        writeln!(told, "{number:>3}. {}", world.tell(next.step, |r| r)).unwrap();
        world = next.world;
    }
    Err(format!("way {way} comes to no rest in {LONGEST} steps\n{told}"))
}
