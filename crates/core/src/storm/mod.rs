//! What a storm is. No kube client, no Redis, no clock: everything here is a function of its arguments.

pub mod alerts;
pub mod decide;
mod digest;
pub mod example;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod grouping;
pub mod holding;
mod key;
pub mod matching;
pub mod merge;
pub mod metadata;
pub mod name;
mod observation;
pub mod pattern;
pub mod places;
pub mod policy;
mod reach;
pub mod resource;
pub mod said;
pub mod sample;
mod severity;
pub mod text;

pub use alerts::{AlertRegisters, AlertReport, HeldReports, Micros, Past, Says};
pub use decide::CloseReason;
pub use digest::{Digest, DigestKey};
pub use grouping::GroupBy;
pub use holding::{ACKNOWLEDGED, Outcome};
pub use key::{Epoch, StormId, StormKey};
pub use matching::PolicySet;
pub use metadata::{Opening, StormMetadata};
pub use observation::{Observation, OtherShare, Refused, Rejection, Report, Share, SignalRef, given, rescope, uid};
pub use policy::{Cooldowns, DEDUP_HORIZON, Policy};
pub use reach::Reach;
pub use resource::Resource;
pub use said::Said;
pub use sample::Sample;
pub use severity::Severity;
pub use text::cut;
