//! The API server: its RemediationRequests, and the receipts of Signals. Each call is one step.

use std::sync::Arc;

use stormfold_core::disposition::Disposition;
use stormfold_core::engine::call::{ApiCall, ApiFault, ApiFaultKind, ApiReply, Reply, SignalsPage};
use stormfold_core::engine::input::Arrival;
use stormfold_core::storm::Past;
use stormfold_core::storm::decide::CloseReason;

use super::case::{Case, LedgerRule};
use super::redis::{Epoch, Facts};
use super::values::{epoch_named, epoch_of, facts, observed, request, signal_of, token};
use super::watch::Observed;
use super::world::{Object, Receipt, Sig, World};

/// A call, as far as it goes here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    Find,
    Get(Epoch),
    Create(Epoch),
    /// Made from the object of this version.
    Apply {
        epoch: Epoch,
        revision: u8,
        finished: bool,
        facts: Facts,
        ending: Option<CloseReason>,
    },
    WriteReceipt(Sig, Receipt),
    /// One page, of one Signal: the first one, or of what is left.
    ListSignals(Option<Vec<Observed>>),
}

impl Api {
    pub fn of(call: &ApiCall) -> Self {
        match call {
            ApiCall::Find { .. } => Self::Find,
            ApiCall::Get { name, .. } => Self::Get(epoch_named(name)),
            ApiCall::Create(new) => Self::Create(epoch_of(new.id.epoch)),
            ApiCall::Apply(apply) => Self::Apply {
                epoch: epoch_of(apply.object.id.epoch),
                revision: u8::try_from(apply.object.revision()).unwrap(),
                finished: apply.object.outcome().is_some(),
                facts: facts(&apply.facts),
                ending: apply.ending,
            },
            ApiCall::WriteReceipt(receipt, _) => {
                let held = receipt.held.iter().fold(0, |held, (place, past)| {
                    assert_eq!(*past, Past::Over, "nobody handles anything");
                    held | 1 << place
                });
                Self::WriteReceipt(signal_of(&receipt.signal), (receipt.storm.as_deref().map(epoch_named), held))
            }
        }
    }

    /// Whether it leaves something: one that does not need not come late.
    pub fn writes(&self) -> bool {
        !matches!(self, Self::Find | Self::Get(_) | Self::ListSignals(_))
    }
}

/// No answer in time.
pub fn no_answer(api: &Api) -> Reply {
    let fault = fault(ApiFaultKind::Other, Disposition::Transient);
    if matches!(api, Api::ListSignals(_)) { Reply::Signals(Err(fault)) } else { Reply::Api(Err(fault)) }
}

fn fault(kind: ApiFaultKind, disposition: Disposition) -> ApiFault {
    ApiFault { kind, disposition, message: String::new() }
}

impl World {
    /// One atomic step of the API server.
    pub fn exec_api(&mut self, api: &Api, case: &Case) -> Reply {
        if let Api::ListSignals(rest) = api {
            return Reply::Signals(Ok(self.page(rest.clone(), case)));
        }
        Reply::Api(self.exec_call(api, case))
    }

    fn page(&self, rest: Option<Vec<Observed>>, case: &Case) -> SignalsPage {
        let all = || self.signals.iter().map(|(signal, receipt)| (*signal, *receipt)).collect();
        let mut rest = rest.unwrap_or_else(all);
        let first = (!rest.is_empty()).then(|| rest.remove(0));
        let observed = |(signal, receipt): Observed| observed(signal, case.signals[usize::from(signal)], receipt);
        let arrivals = first.into_iter().map(|first| Arrival::Observed(0, Box::new(observed(first)))).collect();
        SignalsPage { arrivals, next: token(&rest) }
    }

    fn exec_call(&mut self, api: &Api, case: &Case) -> Result<ApiReply, ApiFault> {
        match *api {
            Api::ListSignals(_) => unreachable!("a page is another answer"),
            Api::Find => {
                Ok(ApiReply::Found(self.objects.iter().map(|(epoch, object)| request(*epoch, *object)).collect()))
            }
            Api::Get(epoch) => Ok(ApiReply::Object(self.objects.get(&epoch).map(|object| request(epoch, *object)))),
            Api::Create(epoch) => match self.objects.get(&epoch) {
                Some(object) => Ok(ApiReply::Existed(request(epoch, *object))),
                None => Ok(ApiReply::Created(request(epoch, self.write(epoch, Object::default())))),
            },
            Api::Apply { epoch, revision, finished, facts, ending } => {
                let Some(now) = self.objects.get(&epoch).copied() else {
                    return Err(fault(ApiFaultKind::NotFound, Disposition::Terminal));
                };
                let same = (now.revision, now.finished) == (revision, finished);
                if !same && !case.breaks(LedgerRule::ApplyWithoutVersion) {
                    return Err(fault(ApiFaultKind::Conflict, Disposition::Conflict));
                }
                if now.closed.is_some() {
                    self.violated = Some("a closed RemediationRequest was written (invariant 4)");
                }
                if now.shown.is_some_and(|shown| shown.alerts > facts.alerts) {
                    self.violated = Some("a published count went down (invariant 3)");
                }
                let object = Object { revision: revision + 1, shown: Some(facts), closed: ending, ..now };
                Ok(ApiReply::Applied(request(epoch, self.write(epoch, object))))
            }
            Api::WriteReceipt(signal, receipt) => {
                Arc::make_mut(&mut self.signals).insert(signal, Some(receipt));
                Ok(ApiReply::Written)
            }
        }
    }

    /// Writes an object; every replica that is up will hear of it.
    pub fn write(&mut self, epoch: Epoch, object: Object) -> Object {
        Arc::make_mut(&mut self.objects).insert(epoch, object);
        for r in 0..self.replicas.len() {
            if self.replica(r).is_up() {
                self.change(r, |replica| {
                    replica.unheard.insert(epoch);
                });
            }
        }
        object
    }
}
