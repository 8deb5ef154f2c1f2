//! What a failure asks for.

/// How to react to a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// A retry changes nothing until somebody changes something: report it. It is retried all the same, with back-off,
    /// because nothing tells when it was changed.
    Terminal,
    /// Decided on an old state: read again and decide again, at once.
    Conflict,
    /// Passes by itself: back off.
    Transient,
    /// Nobody answers: back off, and say so in readiness.
    Unavailable,
}
