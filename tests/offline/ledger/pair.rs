//! Two ledgers that live the same history: Redis, with all that can happen to it, and the memory ledger, to which nothing happens.

mod compare;
mod listed;
mod losses;

use std::collections::BTreeMap;
use std::sync::Arc;

use stormfold::ledger::memory::MemoryLedger;
use stormfold::ledger::redis::RedisLedger;
use stormfold::ledger::{Closing, Holding, Ledger, LedgerError, Merge, Snapshot};
use stormfold::storm::alerts::StormEnd;
use stormfold::storm::decide::{CloseReason, LedgerView};
use stormfold::storm::{AlertReport, Epoch, Observation, StormId, StormMetadata};

use listed::Delivered;

use super::histories::Step;
use super::{Key, Said, empty, now, redis_ledger};
use crate::redis_server::RedisServer;

#[expect(clippy::struct_excessive_bools, reason = "each is about another thing")]
pub(super) struct Play<'a> {
    key: Key,
    server: &'a RedisServer,
    memory: MemoryLedger,
    /// The process at work, and the other one.
    redis: [Arc<RedisLedger>; 2],
    at: i64,
    open: Option<Epoch>,
    deleted: Vec<Epoch>,
    /// How each storm ended.
    ended: BTreeMap<Epoch, StormEnd>,
    delivered: Vec<Delivered>,
    /// How many Signals had been delivered when it was taken, and the snapshot of each ledger.
    snapshot: Option<(StormId, usize, Snapshot, Snapshot)>,
    /// Whether the open storm has an object, and what it shows.
    has_object: bool,
    shown: Option<StormMetadata>,
    /// Whether more than one process ever merged.
    others: bool,
    /// Whether Redis knows less than it did.
    rebuilding: bool,
    /// Whether Redis was ever wiped.
    wiped: bool,
    /// Whether some occurrences are reported as resolved.
    ends: bool,
}

impl<'a> Play<'a> {
    /// With two processes that have done nothing yet.
    pub(super) async fn new(server: &'a RedisServer, redis: [Arc<RedisLedger>; 2], ends: bool) -> Self {
        // A history that failed may have left it full.
        server.command("CONFIG SET maxmemory 0").unwrap();
        empty(server, &redis.each_ref()).await;
        Self {
            key: Key::another(),
            server,
            memory: MemoryLedger::default(),
            redis,
            at: 0,
            open: None,
            deleted: Vec::new(),
            ended: BTreeMap::new(),
            delivered: Vec::new(),
            snapshot: None,
            has_object: false,
            shown: None,
            others: false,
            rebuilding: false,
            wiped: false,
            ends,
        }
    }

    fn id(&self, epoch: Epoch) -> StormId {
        StormId { key: self.key.key, epoch }
    }

    fn signals(&self, all: &[Said]) -> Vec<Observation> {
        all.iter().map(|said| self.key.signal(said)).collect()
    }

    /// As the API server has it.
    fn listed(&self, signal: &Delivered) -> Observation {
        Observation { held: signal.told.clone(), ..self.key.signal(&signal.said) }
    }

    /// Of the step that is played.
    fn reported(&self, all: &[Said]) -> Vec<Said> {
        all.iter().map(|said| said.reported(self.at)).collect()
    }

    pub(super) async fn play(&mut self, step: &Step) {
        self.at += 1;
        self.others |= matches!(step, Step::Together(..) | Step::Other | Step::Crash | Step::Race(_) | Step::Wipe);
        match step {
            Step::Signals(all) => self.deliver(&self.reported(all)).await,
            Step::Again(back) => {
                let index = self.delivered.len().checked_sub(*back);
                if let Some(said) = index.map(|index| self.delivered[index].said.clone()) {
                    self.deliver(&[said]).await;
                }
            }
            Step::Together(one, other) => {
                self.deliver_together(&one.reported(self.at), &other.reported(self.at)).await;
            }
            Step::Other => {
                self.redis.swap(0, 1);
                // Nobody acknowledges the snapshot of another process.
                self.snapshot = None;
            }
            Step::Crash => {
                self.redis[0] = redis_ledger(self.server).await;
                self.rewatch().await;
            }
            Step::Snapshot => self.take_snapshot().await,
            Step::Ack => self.acknowledge().await,
            Step::Close => self.close().await,
            Step::Race(said) => self.race(&said.reported(self.at)).await,
            Step::Forget => self.forget().await,
            Step::Full(said) => self.fill_up(&said.reported(self.at)).await,
            Step::Retire => self.retire().await,
            Step::Wipe => self.wipe().await,
        }
        self.compare().await;
    }

    async fn deliver(&mut self, all: &[Said]) {
        self.deliver_listed(all, self.signals(all)).await;
    }

    /// Delivers as ingest does: merge; open when something fires anew; merge again.
    async fn deliver_listed(&mut self, all: &[Said], signals: Vec<Observation>) {
        let batch = [(self.key.key, signals)];
        let mut outcomes = self.merge(&batch).await;
        if let Merge::NotOpen { opens, last, .. } = &outcomes {
            assert_eq!(self.open, None);
            if opens.contains(&true) {
                self.open_both((4_100_000_000 + self.at).max(last.map_or(0, |last| last + 1))).await;
                outcomes = self.merge(&batch).await;
            } else {
                let reports: Vec<AlertReport> = batch[0].1.iter().flat_map(Observation::says).collect();
                for ledger in [&self.memory as &dyn Ledger, self.redis[0].as_ref()] {
                    ledger.note(self.key.key, &reports, now(self.at).into()).await.unwrap();
                }
            }
        }
        self.delivered.extend(all.iter().enumerate().map(|(index, said)| Delivered::of(said, &outcomes, index)));
    }

    async fn open_both(&mut self, epoch: Epoch) {
        let id = self.id(epoch);
        for ledger in [&self.memory as &dyn Ledger, self.redis[0].as_ref()] {
            assert_eq!(ledger.open(id, &self.key.pattern, now(self.at)).await.unwrap(), Some(epoch));
        }
        self.take_over(id).await;
        (self.open, self.has_object, self.shown) = (Some(epoch), false, None);
    }

    /// What fires on since the storms before it; then the Signals that had reported it are read again, and belong to this storm.
    async fn take_over(&mut self, id: StormId) {
        let expected = self.memory.take_over(id, now(self.at)).await.unwrap();
        let taken = self.redis[0].take_over(id, now(self.at)).await.unwrap();
        assert!(taken == expected || self.rebuilding, "{taken:?} are taken over, {expected:?} expected");
        let closed =
            |signal: &Delivered| signal.receipt.filter(|epoch| !self.deleted.contains(epoch) && *epoch != id.epoch);
        let again: Vec<usize> = (0..self.delivered.len()).filter(|at| closed(&self.delivered[*at]).is_some()).collect();
        for at in again.into_iter().filter(|_| taken.taken > 0) {
            let before = self.delivered[at].clone();
            let merge = self.merge(&[(self.key.key, vec![self.listed(&before)])]).await;
            let after = Delivered::of(&before.said, &merge, 0);
            if after.storm.is_some() {
                self.delivered[at] = Delivered { receipt: before.receipt, told: before.told, ..after };
            }
        }
    }

    /// Both processes merge; which of them counts what is theirs to settle, the sum is not.
    async fn deliver_together(&mut self, one: &Said, other: &Said) {
        if self.open.is_none() {
            return self.deliver(&[one.clone(), other.clone()]).await;
        }
        let batches = [one, other].map(|said| [(self.key.key, self.signals(std::slice::from_ref(said)))]);
        let (here, there) = tokio::join!(
            self.redis[0].merge(&batches[0], now(self.at)),
            self.redis[1].merge(&batches[1], now(self.at))
        );
        assert!(matches!((&here.unwrap()[0], &there.unwrap()[0]), (Merge::Joined { .. }, Merge::Joined { .. })));
        for (batch, said) in batches.iter().zip([one, other]) {
            let merge = self.memory.merge(batch, now(self.at)).await.unwrap().remove(0);
            self.delivered.push(Delivered::of(said, &merge, 0));
        }
    }

    async fn take_snapshot(&mut self) {
        let Some(epoch) = self.open else { return };
        let id = self.id(epoch);
        let (memory, redis) = (self.memory.snapshot(id).await.unwrap(), self.redis[0].snapshot(id).await.unwrap());
        self.snapshot = Some((id, self.delivered.len(), memory, redis));
    }

    /// The object is written as of the snapshot, and acknowledged; its Signals get their receipts.
    async fn acknowledge(&mut self) {
        let Some((id, delivered, memory, redis)) = self.snapshot.clone() else { return };
        if self.open != Some(id.epoch) {
            return;
        }
        let clean = self.redis[0].ack(id, &redis).await.unwrap();
        let expected = self.memory.ack(id, &memory).await.unwrap();
        // A name that one process has sent may be sent by the other as well: that is published again, and no harm done.
        assert!(clean == expected || self.others && expected, "clean: {clean}, expected: {expected}");
        let LedgerView::Open { metadata, .. } = redis.view else { panic!("it was open") };
        self.shown = join(metadata, self.shown.take());
        self.has_object = true;
        for signal in self.delivered[..delivered].iter_mut().filter(|signal| signal.storm == Some(id.epoch)) {
            signal.has_receipt(id.epoch);
        }
    }

    async fn close(&mut self) {
        let Some((id, delivered, memory, redis)) = self.snapshot.clone() else { return };
        if self.open != Some(id.epoch) || !self.has_object {
            return;
        }
        match self.redis[0].close(id, &redis, CloseReason::Quiet, now(self.at).into()).await.unwrap() {
            closed @ Closing::Closed { .. } => {
                let expected = self.memory.close(id, &memory, CloseReason::Quiet, now(self.at).into()).await.unwrap();
                assert_eq!(closed, expected);
                self.closed(id).await;
            }
            // As in `acknowledge`.
            Closing::Changed => assert!(self.others || self.delivered.len() > delivered, "changed for no reason"),
        }
    }

    /// The end is written; every Signal of the storm has its receipt before.
    async fn closed(&mut self, id: StormId) {
        let (memory, redis) =
            (self.memory.snapshot(id).await.unwrap().view, self.redis[0].snapshot(id).await.unwrap().view);
        let (LedgerView::Closed { metadata: expected, .. }, LedgerView::Closed { metadata, reason }) = (memory, redis)
        else {
            panic!("it is closed");
        };
        assert_eq!(reason, Some(CloseReason::Quiet));
        self.same(self.with_shown(metadata), expected);
        self.memory.settle(id).await.unwrap();
        self.redis[0].settle(id).await.unwrap();
        for signal in self.delivered.iter_mut().filter(|signal| signal.storm == Some(id.epoch)) {
            signal.has_receipt(id.epoch);
        }
        self.ended.insert(id.epoch, StormEnd::of(CloseReason::Quiet, now(self.at)));
        (self.open, self.has_object, self.shown) = (None, false, None);
    }

    /// Whichever comes first, nothing is counted twice or by nobody.
    async fn race(&mut self, said: &Said) {
        self.take_snapshot().await;
        let Some((id, _, memory, redis)) = self.snapshot.clone() else { return };
        if self.open != Some(id.epoch) || !self.has_object {
            return;
        }
        let batch = [(self.key.key, self.signals(std::slice::from_ref(said)))];
        let (closing, merged) = tokio::join!(
            self.redis[0].close(id, &redis, CloseReason::Quiet, now(self.at).into()),
            self.redis[1].merge(&batch, now(self.at))
        );
        let (closing, merged) = (closing.unwrap(), merged.unwrap().remove(0));
        if matches!(closing, Closing::Closed { .. }) {
            // The merge came before and brought nothing new, or after and counted nothing.
            self.memory.close(id, &memory, CloseReason::Quiet, now(self.at).into()).await.unwrap();
            self.closed(id).await;
            if let Merge::Joined { new, .. } = merged {
                assert_eq!(new, [0]);
            }
            self.deliver(std::slice::from_ref(said)).await;
        } else {
            assert!(matches!(merged, Merge::Joined { .. }), "not closed, so it is open");
            let merge = self.memory.merge(&batch, now(self.at)).await.unwrap().remove(0);
            self.delivered.push(Delivered::of(said, &merge, 0));
        }
    }

    async fn forget(&mut self) {
        let Some(epoch) = self.open.filter(|_| self.has_object) else { return };
        if self.ends && self.others {
            // All of it may be let go, and with it the ends that came without a beginning: the receipts know nothing of those.
            return;
        }
        let old_receipt =
            |signal: &Delivered| signal.storm == Some(epoch) && signal.receipt.is_some_and(|of| of != epoch);
        if self.others && self.delivered.iter().any(old_receipt) {
            // Likewise: the receipts of what was taken over name the storm before until it is published.
            return;
        }
        let id = self.id(epoch);
        let expected = self.memory.forget(id, now(self.at).into()).await.unwrap();
        let let_go = self.redis[0].forget(id, now(self.at).into()).await.unwrap();
        assert!(let_go || !expected, "what nobody was shown is let go");
        assert!(let_go == expected || self.others, "it can tell what was shown");
        self.deleted.push(epoch);
        self.ended.insert(epoch, StormEnd::of(CloseReason::Requested, now(self.at)));
        (self.open, self.has_object, self.shown) = (None, false, None);
        if let_go {
            return self.rewatch().await;
        }
        // What was merged by then is handled, and told so.
        for signal in self.delivered.iter_mut().filter(|signal| signal.storm == Some(epoch)) {
            signal.has_receipt(epoch);
        }
    }
}

fn join(one: Option<StormMetadata>, other: Option<StormMetadata>) -> Option<StormMetadata> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.join(&other)),
        (one, other) => one.or(other),
    }
}
