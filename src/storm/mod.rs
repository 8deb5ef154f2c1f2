//! What a storm is. No kube client, no Redis, no clock: everything here is a function of its arguments.

pub mod decide;
mod digest;
mod key;
pub mod merge;
pub mod metadata;
pub mod name;
mod observation;
pub mod pattern;
pub mod policy;
pub mod resource;
pub mod sample;
mod severity;

pub use digest::{Digest, DigestKey};
pub use key::{Epoch, StormId, StormKey};
pub use metadata::{Opening, StormMetadata};
pub use observation::{Observation, Refused, Rejection, Report, SignalRef, uid};
pub use policy::Policy;
pub use resource::Resource;
pub use sample::Sample;
pub use severity::Severity;
