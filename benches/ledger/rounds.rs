//! Rounds: everything in each, in another order each time; a round in which the unit itself is off says nothing.

/// How far the unit may be above the least of its rounds. A machine that gives its cores to others adds to what is measured, and never
/// takes away: where most rounds were disturbed, their median says nothing.
const TOLERANCE: f64 = 0.1;

/// The numbers below `count`, beginning with another one in each round.
pub fn rotated(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| (place + round) % count)
}

/// Which rounds count, by what the unit took in each. Says which do not.
pub fn kept(cell: &str, unit_name: &str, unit: &[f64]) -> Vec<usize> {
    let least = unit.iter().copied().fold(f64::INFINITY, f64::min);
    let near = |round: &usize| unit[*round] <= least * (1.0 + TOLERANCE);
    let kept: Vec<usize> = (0..unit.len()).filter(near).collect();
    if kept.len() < unit.len() {
        println!(
            "{cell}: {} of {} rounds discarded, their {unit_name} is more than 10 % above the least ({unit:.2?})",
            unit.len() - kept.len(),
            unit.len()
        );
    }
    kept
}
