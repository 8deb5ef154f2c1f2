//! The register of one alert: what each report and each end of a storm makes of it.

use super::{AlertReport, Micros, Past, Says, StormEnd};

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlertStanding {
    /// Its end was reported, and no beginning of it: no storm has counted it.
    EndedUnseen,
    /// Over, and counted by a storm that is closed, or never to be counted.
    Over,
    /// In the open storm, and ended.
    Ended,
    /// In the open storm, and firing.
    Firing {
        /// Whether its source reports ends.
        resolvable: bool,
    },
    /// It fires on, its storm is closed, and the next one takes it over.
    Left,
    /// It fires on, and a person has handled it: until it ends.
    Handled,
}

impl AlertStanding {
    /// As a ledger keeps it: less than eight.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::EndedUnseen => 0,
            Self::Over => 1,
            Self::Ended => 2,
            Self::Firing { resolvable: false } => 3,
            Self::Firing { resolvable: true } => 4,
            Self::Left => 5,
            Self::Handled => 6,
        }
    }

    /// What a ledger keeps as this number. `None`: nothing.
    pub fn of_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::EndedUnseen,
            1 => Self::Over,
            2 => Self::Ended,
            3 => Self::Firing { resolvable: false },
            4 => Self::Firing { resolvable: true },
            5 => Self::Left,
            6 => Self::Handled,
            _ => return None,
        })
    }

    /// Whether it is in the open storm.
    pub fn is_in_storm(self) -> bool {
        matches!(self, Self::Ended | Self::Firing { .. })
    }

    /// Whether it fires, in a storm or in none.
    pub(super) fn fires(self) -> bool {
        matches!(self, Self::Firing { .. } | Self::Left | Self::Handled)
    }

    /// Whether it fires in the open storm.
    pub fn fires_in_storm(self) -> bool {
        matches!(self, Self::Firing { .. })
    }
}

/// The register of one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AlertRegister {
    /// The time of its latest report, or of the close that ended it.
    pub at: Micros,
    /// Where it stands.
    pub standing: AlertStanding,
}

impl AlertRegister {
    /// The register after a report that a storm takes in. `None`: as before.
    #[must_use]
    pub fn joined(before: Option<Self>, report: &AlertReport) -> Option<Self> {
        let AlertReport { at, says, .. } = *report;
        let now = |standing| Some(Self { at, standing });
        let Some(Self { at: last, standing }) = before else {
            return now(match says {
                Says::Firing { resolvable } => AlertStanding::Firing { resolvable },
                Says::Resolved => AlertStanding::EndedUnseen,
                Says::Held(past) => past.standing(),
            });
        };
        match (says, standing) {
            (Says::Firing { resolvable }, AlertStanding::Firing { resolvable: before }) => {
                let resolvable = if at == last { resolvable || before } else { resolvable };
                now(AlertStanding::Firing { resolvable }).filter(|_| at >= last)
            }
            // What is over is counted, too, if it never was: it ended before it was seen to begin.
            (Says::Firing { .. }, AlertStanding::EndedUnseen) if at <= last => {
                Some(Self { at: last, standing: AlertStanding::Ended })
            }
            (Says::Firing { resolvable }, AlertStanding::EndedUnseen | AlertStanding::Over | AlertStanding::Ended) => {
                now(AlertStanding::Firing { resolvable }).filter(|_| at > last)
            }
            (Says::Firing { resolvable }, AlertStanding::Left) => {
                Some(Self { at: at.max(last), standing: AlertStanding::Firing { resolvable: resolvable || at < last } })
            }
            (Says::Firing { .. }, AlertStanding::Handled) => now(standing).filter(|_| at > last),
            (Says::Resolved, AlertStanding::Firing { .. } | AlertStanding::Left) => {
                now(AlertStanding::Ended).filter(|_| at >= last)
            }
            (Says::Resolved, AlertStanding::Handled) => now(AlertStanding::Over).filter(|_| at >= last),
            (Says::Resolved, AlertStanding::EndedUnseen | AlertStanding::Over | AlertStanding::Ended) => {
                now(standing).filter(|_| at > last)
            }
            (Says::Held(_), _) => Self::held(before, report, StormEnd::Closed(at), false),
        }
    }

    /// The register after a report that no storm takes in: the end of what is in no storm, or one more report of what is handled.
    #[must_use]
    pub fn noted(before: Option<Self>, report: &AlertReport) -> Option<Self> {
        let AlertReport { at, says, .. } = *report;
        match (before.map(|alert| alert.standing), says) {
            (Some(AlertStanding::Left), Says::Resolved) => {
                let over = Self { at, standing: AlertStanding::Over };
                Some(over).filter(|_| before.is_some_and(|alert| at >= alert.at))
            }
            (Some(AlertStanding::Left), Says::Firing { .. }) => {
                Some(Self { at, standing: AlertStanding::Left }).filter(|_| before.is_some_and(|alert| at > alert.at))
            }
            (Some(AlertStanding::EndedUnseen | AlertStanding::Over), Says::Firing { .. })
            | (None, Says::Firing { .. }) => None,
            _ => Self::joined(before, report),
        }
    }

    /// The register after a report that is known to have been taken in by a storm which is over. `of_open`: by the very storm that is open here, because
    /// the ledger fell back; it will be dropped, and what it had must not go with it.
    #[must_use]
    pub fn held(before: Option<Self>, report: &AlertReport, end: StormEnd, of_open: bool) -> Option<Self> {
        let was = Self::joined(None, report)?;
        let after = match report.says {
            Says::Resolved => Self { standing: AlertStanding::Over, ..was },
            Says::Firing { .. } => was.after(end),
            Says::Held(_) => was,
        };
        let Some(before) = before else { return Some(after) };
        match before.standing {
            AlertStanding::Ended | AlertStanding::Firing { .. } if of_open => Some(before.after(end)),
            // An end that the storm before had is one here, too: a list is not in order of time.
            AlertStanding::Firing { .. } if report.says == Says::Resolved && report.at >= before.at => {
                Some(Self { at: report.at, standing: AlertStanding::Ended })
            }
            // What else the open storm has, it has by a report of its own.
            AlertStanding::Ended | AlertStanding::Firing { .. } => None,
            // It began in that storm, and its end was reported since.
            AlertStanding::EndedUnseen if before.at >= after.at => {
                Some(Self { standing: AlertStanding::Over, ..before })
            }
            // An older report of another source, which reports no ends, does not end what is known to fire on.
            AlertStanding::Left | AlertStanding::Handled if report.at < before.at => None,
            AlertStanding::Over | AlertStanding::EndedUnseen | AlertStanding::Left | AlertStanding::Handled => {
                let over = after.standing == AlertStanding::Over;
                Some(after).filter(|after| after.at > before.at || over && after.at == before.at)
            }
        }
    }

    /// The register once the storm that it is in has ended so.
    #[must_use]
    pub fn after(self, end: StormEnd) -> Self {
        let (StormEnd::Closed(closed) | StormEnd::Handled(closed)) = end;
        let standing = match (self.standing, end) {
            (AlertStanding::Firing { resolvable: true }, StormEnd::Closed(_)) => AlertStanding::Left,
            (AlertStanding::Firing { resolvable: true }, StormEnd::Handled(_)) => AlertStanding::Handled,
            (AlertStanding::Firing { resolvable: false }, _) => {
                return Self { at: self.at.max(closed), standing: AlertStanding::Over };
            }
            (AlertStanding::Ended, _) => AlertStanding::Over,
            (other, _) => other,
        };
        Self { standing, ..self }
    }

    /// What the alert is, if a report says nothing that a storm would take in: an echo of what is over, or more of what is handled. `Over` where the
    /// report itself is an end.
    #[must_use]
    pub fn past(alert: Option<&Self>, report: &AlertReport) -> Option<Past> {
        if let Says::Held(past) = report.says {
            return Some(past);
        }
        let Self { at, standing } = alert?;
        match (standing, report.says) {
            (AlertStanding::Over, Says::Firing { .. }) => Some(Past::Over).filter(|_| report.at <= *at),
            (AlertStanding::Handled, Says::Firing { .. }) => Some(Past::Handled),
            (AlertStanding::Over | AlertStanding::Handled, Says::Resolved | Says::Held(_)) => Some(Past::Over),
            (
                AlertStanding::EndedUnseen | AlertStanding::Ended | AlertStanding::Firing { .. } | AlertStanding::Left,
                _,
            ) => None,
        }
    }
}

impl Past {
    fn standing(self) -> AlertStanding {
        match self {
            Self::Over => AlertStanding::Over,
            Self::Handled => AlertStanding::Handled,
        }
    }
}
