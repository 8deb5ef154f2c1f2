//! The search: every state that can be reached, the nearest first, so that a trace is as short as one can be.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::case::Case;
use super::steps::{Move, Step};
use super::world::World;

/// A search that did not end by then is one whose bounds are wrong.
const MOST_STATES: usize = 40_000_000;

/// What a search saw.
#[derive(Debug, Default)]
pub struct Found {
    pub states: usize,
    /// States in which no step of the system is left.
    pub at_rest: usize,
    /// States in which two RemediationRequests are open.
    pub doubled: usize,
    pub steps: usize,
    /// The first thing that is wrong, and how it comes to that.
    pub wrong: Option<String>,
}

/// States are kept as digests of 128 bits, with the step that led to each.
#[derive(Default)]
struct Reached {
    index: ByDigest<u32>,
    from: Vec<(u32, Step)>,
    /// Steps of the system, backwards: which state from which.
    backwards: Vec<(u32, u32)>,
    at_rest: Vec<u32>,
}

/// By digests, which are hashes already.
pub type ByDigest<V> = HashMap<u128, V, BuildHasherDefault<Half>>;

/// The upper half of a digest.
#[derive(Default)]
pub struct Half(u64);

impl Hasher for Half {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a digest is one number")
    }

    fn write_u128(&mut self, digest: u128) {
        self.0 = u64::try_from(digest >> 64).unwrap();
    }
}

/// 128 bits of a value.
pub fn digest(value: &impl Hash) -> u128 {
    let mut hasher = SipHasher13::new();
    value.hash(&mut hasher);
    hasher.finish128().as_u128()
}

/// Which process is which does not matter: of two states that differ in that, one stands for both. True: names were changed.
fn canonical(world: &mut World, case: &Case) -> bool {
    let swaps = !case.names_stay && world.replicas.len() == 2 && world.replicas[0].digest > world.replicas[1].digest;
    if swaps {
        world.replicas.swap(0, 1);
    }
    swaps
}

/// Searches all that these rules allow, or until something is wrong.
pub fn search(case: &Case) -> Found {
    let mut reached = Reached::default();
    let mut first = World::new(case);
    canonical(&mut first, case);
    reached.index.insert(digest(&first), 0);
    reached.from.push((0, Step::Tick));
    let mut frontier = VecDeque::from([(0u32, first)]);
    let mut found = Found::default();
    while let Some((at, world)) = frontier.pop_front() {
        let moves = world.moves(case);
        let at_rest = !moves.iter().any(|next| next.step.is_of_the_system());
        let wrong = world.violated.map(str::to_owned).or_else(|| world.at_rest(case).filter(|_| at_rest));
        if let Some(wrong) = wrong {
            found.states = reached.from.len();
            found.wrong = Some(reached.trace(case, at, &wrong));
            break;
        }
        found.doubled += usize::from(world.open().len() > 1);
        if at_rest {
            reached.at_rest.push(at);
        }
        for Move { step, mut world, mut digest } in moves {
            if canonical(&mut world, case) {
                digest = self::digest(&world);
            }
            let new = u32::try_from(reached.from.len()).unwrap();
            let index = *reached.index.entry(digest).or_insert(new);
            found.steps += 1;
            if index == new {
                reached.from.push((at, step));
                frontier.push_back((index, world));
            }
            if step.is_of_the_system() {
                reached.backwards.push((index, at));
            }
        }
        if reached.from.len() > case.most_states {
            found.states = reached.from.len();
            return found;
        }
        assert!(reached.from.len() < MOST_STATES, "the search does not end");
    }
    found.states = reached.from.len();
    found.at_rest = reached.at_rest.len();
    if found.wrong.is_none()
        && let Some(restless) = reached.restless()
    {
        found.wrong = Some(reached.trace(case, restless, "from here nothing ever comes to rest"));
    }
    found
}

impl Reached {
    /// A state from which steps of the system never lead to rest.
    fn restless(&mut self) -> Option<u32> {
        self.backwards.sort_unstable();
        let mut rests = vec![false; self.from.len()];
        let mut waiting = self.at_rest.clone();
        while let Some(state) = waiting.pop() {
            if std::mem::replace(&mut rests[state as usize], true) {
                continue;
            }
            let first = self.backwards.partition_point(|(to, _)| *to < state);
            let before = self.backwards[first..].iter().take_while(|(to, _)| *to == state);
            waiting.extend(before.map(|(_, from)| *from));
        }
        rests.iter().position(|rests| !rests).map(|state| u32::try_from(state).unwrap())
    }

    /// The steps to a state, in words.
    fn trace(&self, case: &Case, end: u32, wrong: &str) -> String {
        let mut steps = Vec::new();
        let mut at = end;
        while at != 0 {
            let (from, step) = self.from[at as usize];
            steps.push(step);
            at = from;
        }
        let mut world = World::new(case);
        let mut swapped = canonical(&mut world, case);
        let mut text = format!("{wrong}\n");
        for (number, step) in (1..).zip(steps.into_iter().rev()) {
            let next = world.after(step, case);
            let named = world.tell(step, |r| if swapped { 1 - r } else { r });
            writeln!(text, "{number:>3}. {named}").unwrap();
            world = next;
            swapped ^= canonical(&mut world, case);
        }
        write!(text, "Redis {:#?}\n{:#?}\n{:?}", world.redis.data, world.objects, world.signals).unwrap();
        text
    }
}
