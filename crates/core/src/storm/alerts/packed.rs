//! A register in eight bytes: a ledger has one for each alert, by the million.

use super::{AlertRegister, AlertStanding, Micros};

/// The time, above [`STANDING_BITS`] bits for where the alert stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PackedRegister(i64);

const STANDING_BITS: u32 = 3;
/// Times beyond are taken for these: the years 34,000 and more from 1970, which no clock and no `Timestamp` shows.
const LATEST: Micros = i64::MAX >> STANDING_BITS;
const EARLIEST: Micros = i64::MIN >> STANDING_BITS;

impl From<AlertRegister> for PackedRegister {
    fn from(AlertRegister { at, standing }: AlertRegister) -> Self {
        Self(at.clamp(EARLIEST, LATEST) << STANDING_BITS | i64::from(standing.number()))
    }
}

impl From<PackedRegister> for AlertRegister {
    fn from(PackedRegister(packed): PackedRegister) -> Self {
        let number = u8::try_from(packed & ((1 << STANDING_BITS) - 1)).ok();
        // Nothing else is ever packed.
        let standing = number.and_then(AlertStanding::of_number).unwrap_or(AlertStanding::Handled);
        Self { at: packed >> STANDING_BITS, standing }
    }
}

impl std::fmt::Debug for PackedRegister {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        AlertRegister::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_register_comes_out_of_eight_bytes_as_it_went_in() {
        let times = [Timestamp::MIN.as_microsecond(), -1, 0, 1, Timestamp::MAX.as_microsecond()];
        let standings = [
            AlertStanding::EndedUnseen,
            AlertStanding::Over,
            AlertStanding::Ended,
            AlertStanding::Firing { resolvable: false },
            AlertStanding::Firing { resolvable: true },
            AlertStanding::Left,
            AlertStanding::Handled,
        ];
        for (at, standing) in times.into_iter().flat_map(|at| standings.map(|standing| (at, standing))) {
            let register = AlertRegister { at, standing };
            assert_eq!(AlertRegister::from(PackedRegister::from(register)), register);
        }
    }
}
