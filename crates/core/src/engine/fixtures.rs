//! What tests do to an engine that no input does: a state from which a test begins, and what it asks afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Engine;
use super::receipts::Receipt;
use super::resync::{RereadReason, ResyncReason};
use crate::request::Request;
use crate::storm::{Opening, StormId};

impl Engine {
    /// The Signal that opened this storm is known.
    pub fn offer_opening(&mut self, id: StormId, opening: &Arc<Opening>) {
        self.openings.offer(id, opening);
    }

    /// It is not known any more.
    pub fn remove_opening(&mut self, id: StormId) {
        self.openings.remove(id);
    }

    /// The store has taken in this object, which asks for no run.
    pub fn put(&mut self, object: Request) {
        self.store.put(object);
    }

    /// The store has this object, whatever it had.
    pub fn replace(&mut self, object: Request) {
        self.store.replace(object);
    }

    /// The store has lost the object of this storm, which asks for no run.
    pub fn remove(&mut self, id: StormId) {
        self.store.remove(id);
    }

    /// A list of all Signals begins.
    pub fn begin_list(&mut self) {
        self.resync.begin();
    }

    /// It is complete. Gives the storms that waited for it, and asks for no run.
    pub fn end_list(&mut self) -> BTreeSet<StormId> {
        self.resync.complete()
    }

    /// Why all Signals are to be read again. Whoever asks takes it away.
    pub fn take_resync(&mut self) -> Option<ResyncReason> {
        let wanted = self.resync.wanted();
        self.resync.begins_now();
        wanted
    }

    /// Which namespaces are to be read again, and why. Whoever asks takes it away.
    pub fn take_rereads(&mut self) -> Vec<(Arc<str>, RereadReason)> {
        self.ingest.take_rereads()
    }

    /// These Signals were merged into a storm.
    pub fn owe(&mut self, id: StormId, receipts: Vec<Receipt>) {
        self.receipts.owe(id, receipts);
    }

    /// A snapshot of this storm is about to be taken.
    pub fn claim(&mut self, id: StormId) {
        self.receipts.claim(id);
    }

    /// It is in the cluster.
    pub fn release(&mut self, id: StormId) {
        self.receipts.release(id);
    }

    /// This Signal waits for nothing.
    pub fn write_now(&mut self, receipt: Receipt) {
        self.receipts.write_now(receipt);
    }

    /// This Signal adds nothing to a storm that is over.
    pub fn write_for(&mut self, id: StormId, receipt: Receipt) {
        self.receipts.write_for(id, receipt);
    }

    /// The ledger may have lost what no object shows.
    pub fn forget_unpublished(&mut self) {
        self.receipts.forget_unpublished();
    }

    /// Something is about to be merged. The next step tells it.
    pub fn merges_something(&mut self) {
        self.burst_goes_on();
    }
}
