//! The watches on Signals and RemediationRequests as inputs of the engine.

mod arrival;
mod examples;
pub mod intake;
mod lister;
mod requests;
pub mod signals;
mod table;
mod told;

pub(crate) use arrival::arrive;
pub use lister::SignalLister;
pub use requests::watch_requests;
pub use told::says;
