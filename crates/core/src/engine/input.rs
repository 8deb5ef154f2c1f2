//! What the engine hears.

use std::sync::Arc;

use super::call::{CallId, Reply};
use super::effect::Timer;
use super::resync::ResyncReason;
use crate::request::Request;
use crate::storm::{Observation, PolicySet, Rejection, SignalRef, StormId};

/// Something that the engine reacts to.
#[derive(Clone, Debug)]
pub enum Input {
    /// What the watch on Signals brought: one chunk after each `Effect::NextChunk`.
    Signals(Vec<Arrival>),
    /// What the watch on RemediationRequests brought.
    Request(RequestEvent),
    /// The policies that are in force from now on.
    Policies(Arc<PolicySet>),
    /// The first lists of policies and of namespaces are complete.
    PoliciesListed,
    /// An answer.
    Reply(CallId, Reply),
    /// A timer ran off.
    Timer(Timer),
    /// The process stops: runs under way end, and nothing new begins.
    Stop,
    /// Somebody asks for a run of this storm.
    Storm(StormId),
    /// Somebody outside has reason to want all Signals read again.
    Resync(ResyncReason),
}

/// What a watch event on a Signal means. The number is the part of the watch: one for each watched namespace.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// The list of this part begins.
    ListBegins(usize),
    /// It is complete.
    ListEnds(usize),
    /// A Signal to merge.
    Observed(usize, Box<Observation>),
    /// A Signal that cannot be merged, ever.
    Rejected(SignalRef, Rejection),
}

/// What a watch event on a RemediationRequest means.
#[derive(Clone, Debug)]
pub enum RequestEvent {
    /// The list of this part begins.
    ListBegins(usize),
    /// An object of it.
    Listed(usize, Request),
    /// It is complete.
    ListEnds(usize),
    /// An object was added or changed.
    Changed(Request),
    /// An object was deleted.
    Deleted(StormId),
}
