//! Random ways to rest, where there are too many states to search them all: from the nearest states in which two RemediationRequests are open, each
//! step is any of those that can be taken.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;

use super::search::digest;
use super::world::{Rules, World};

/// A way that is longer than this leads nowhere.
const LONGEST: usize = 20_000;

/// The nearest states in which two RemediationRequests are open: so many, or all there are.
pub fn two_open(rules: &Rules, most: usize) -> Vec<World> {
    let first = World::new(rules);
    let mut seen = HashSet::from([digest(&first)]);
    let (mut frontier, mut found) = (VecDeque::from([first]), Vec::new());
    while let Some(world) = frontier.pop_front().filter(|_| found.len() < most) {
        for step in world.steps(rules) {
            let next = world.after(step, rules);
            if !seen.insert(digest(&next)) {
                continue;
            }
            if next.open().len() > 1 {
                found.push(next);
            } else {
                frontier.push_back(next);
            }
        }
    }
    found
}

/// Goes this many ways from a state, the same ones each time, until nothing is left to happen; or to the first thing that is wrong.
pub fn walk(from: &World, rules: &Rules, ways: u32) -> Result<(), String> {
    (0..ways).try_for_each(|way| walk_once(from.clone(), rules, way))
}

fn walk_once(mut world: World, rules: &Rules, way: u32) -> Result<(), String> {
    let mut told = format!("{world:#?}\n");
    for number in 1..=LONGEST {
        let steps = world.steps(rules);
        let at_rest = !steps.iter().any(|step| step.is_of_the_system());
        if let Some(wrong) = world.violated.map(str::to_owned).or_else(|| world.at_rest(rules).filter(|_| at_rest)) {
            return Err(format!("way {way}: {wrong}\n{told}"));
        }
        if steps.is_empty() {
            return Ok(());
        }
        let chosen = digest(&(way, number)) % steps.len() as u128;
        let step = steps[usize::try_from(chosen).unwrap()];
        writeln!(told, "{number:>3}. {}", world.tell(step, |r| r)).unwrap();
        world = world.after(step, rules);
    }
    Err(format!("way {way} comes to no rest in {LONGEST} steps\n{told}"))
}
