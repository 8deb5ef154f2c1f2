//! What every loop needs: time, bounded calls, errors with a disposition, back-off, readiness, Kubernetes Events, CRDs, watches.

pub mod backoff;
pub mod clock;
pub mod crds;
pub mod error;
pub mod events;
pub mod guarded;
pub mod leader;
pub mod part_gate;
pub mod readiness;
pub mod watch;
