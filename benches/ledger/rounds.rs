//! Rounds: everything in each, in another order each time; a round in which the unit itself is off says nothing.

use super::report::median;

/// How far the unit may be off the median of its rounds.
const TOLERANCE: f64 = 0.1;

/// The numbers below `count`, beginning with another one in each round.
pub fn rotated(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| (place + round) % count)
}

/// Which rounds count, by what the unit took in each. Says which do not.
pub fn kept(cell: &str, unit_name: &str, unit: &[f64]) -> Vec<usize> {
    let middle = median(unit);
    let near = |round: &usize| (unit[*round] / middle - 1.0).abs() <= TOLERANCE;
    let kept: Vec<usize> = (0..unit.len()).filter(near).collect();
    if kept.len() < unit.len() {
        println!(
            "{cell}: {} of {} rounds discarded, their {unit_name} is off by more than 10 % ({unit:.2?})",
            unit.len() - kept.len(),
            unit.len()
        );
    }
    kept
}
