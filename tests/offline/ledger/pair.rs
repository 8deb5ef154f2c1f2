//! Two ledgers that live the same history: Redis, with all that can happen to it, and the memory ledger, to which nothing happens.

use std::sync::Arc;

use stormfold::ledger::memory::MemoryLedger;
use stormfold::ledger::redis::RedisLedger;
use stormfold::ledger::{Closing, Ledger, LedgerError, Merge, Snapshot};
use stormfold::storm::decide::{CloseReason, LedgerView};
use stormfold::storm::{Digest, Epoch, Observation, StormId, StormMetadata};

use super::histories::{Reports, Step};
use super::{Key, empty, now, redis_ledger};
use crate::redis_server::RedisServer;

/// A Signal that was merged.
struct Delivered {
    reports: Reports,
    /// The storm that joined it last.
    storm: Option<Epoch>,
    /// The storm that its receipt names.
    receipt: Option<Epoch>,
}

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

    fn signals(&self, all: &[Reports]) -> Vec<Observation> {
        all.iter().map(|reports| self.key.signal(reports)).collect()
    }

    pub(super) async fn play(&mut self, step: &Step) {
        self.at += 1;
        self.others |= matches!(step, Step::Together(..) | Step::Other | Step::Crash | Step::Race(_) | Step::Wipe);
        match step {
            Step::Signals(all) => self.deliver(all).await,
            Step::Again(back) => {
                let index = self.delivered.len().checked_sub(*back);
                if let Some(reports) = index.map(|index| self.delivered[index].reports.clone()) {
                    self.deliver(&[reports]).await;
                }
            }
            Step::Together(one, other) => self.deliver_together(one, other).await,
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
            Step::Race(reports) => self.race(reports).await,
            Step::Forget => self.forget().await,
            Step::Full(reports) => self.fill_up(reports).await,
            Step::Wipe => self.wipe().await,
        }
        self.compare().await;
    }

    /// Delivers as ingest does: merge; open when something fires anew; merge again.
    async fn deliver(&mut self, all: &[Reports]) {
        let batch = [(self.key.key, self.signals(all))];
        let mut outcomes = self.merge(&batch).await;
        if let Merge::NotOpen { opens, last } = &outcomes {
            assert_eq!(self.open, None);
            if opens.contains(&true) {
                self.open_both((4_100_000_000 + self.at).max(last.map_or(0, |last| last + 1))).await;
                outcomes = self.merge(&batch).await;
            } else {
                let over: Vec<Digest> =
                    all.iter().flatten().filter(|(_, firing)| !firing).map(|(uid, _)| *uid).collect();
                self.memory.note_resolved(self.key.key, &over, now(self.at).into()).await.unwrap();
                self.redis[0].note_resolved(self.key.key, &over, now(self.at).into()).await.unwrap();
            }
        }
        let (storm, last) = match outcomes {
            Merge::Joined { epoch, .. } => (Some(epoch), None),
            Merge::NotOpen { last, .. } => (None, last),
            Merge::Full { .. } => panic!("the memory ledger is never full"),
        };
        self.delivered.extend(all.iter().map(|reports| Delivered {
            reports: reports.clone(),
            storm,
            receipt: last.filter(|_| reports.iter().any(|(_, firing)| *firing)),
        }));
    }

    async fn merge(&self, batch: &[(stormfold::storm::StormKey, Vec<Observation>)]) -> Merge {
        let expected = self.memory.merge(batch, now(self.at)).await.unwrap().remove(0);
        let merge = self.redis[0].merge(batch, now(self.at)).await.unwrap().remove(0);
        match (&merge, &expected) {
            // What Redis lost is new to it once more.
            (Merge::Joined { epoch, .. }, Merge::Joined { epoch: expected, .. }) if self.rebuilding => {
                assert_eq!(epoch, expected);
            }
            // No receipt tells the epoch of a storm whose object is gone; the next one is later all the same.
            (Merge::NotOpen { opens, last }, Merge::NotOpen { opens: expected, last: later }) if self.wiped => {
                assert_eq!(opens, expected);
                assert!(last <= later);
            }
            (Merge::Joined { epoch, new, held, last }, Merge::Joined { last: later, .. }) if self.wiped => {
                let but_for_last = Merge::Joined { epoch: *epoch, new: new.clone(), held: held.clone(), last: *later };
                assert_eq!(but_for_last, expected);
                assert!(last <= later);
            }
            _ => assert_eq!(merge, expected),
        }
        expected
    }

    async fn open_both(&mut self, epoch: Epoch) {
        let id = self.id(epoch);
        for ledger in [&self.memory as &dyn Ledger, self.redis[0].as_ref()] {
            assert_eq!(ledger.open(id, &self.key.pattern, now(self.at)).await.unwrap(), Some(epoch));
        }
        (self.open, self.has_object, self.shown) = (Some(epoch), false, None);
    }

    /// Both processes merge; which of them counts what is theirs to settle, the sum is not.
    async fn deliver_together(&mut self, one: &Reports, other: &Reports) {
        if self.open.is_none() {
            return self.deliver(&[one.clone(), other.clone()]).await;
        }
        let batches = [one, other].map(|reports| [(self.key.key, self.signals(std::slice::from_ref(reports)))]);
        let (here, there) = tokio::join!(
            self.redis[0].merge(&batches[0], now(self.at)),
            self.redis[1].merge(&batches[1], now(self.at))
        );
        assert!(matches!((&here.unwrap()[0], &there.unwrap()[0]), (Merge::Joined { .. }, Merge::Joined { .. })));
        for (batch, reports) in batches.iter().zip([one, other]) {
            self.memory.merge(batch, now(self.at)).await.unwrap();
            self.delivered.push(Delivered { reports: reports.clone(), storm: self.open, receipt: None });
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
            signal.receipt = Some(id.epoch);
        }
    }

    async fn close(&mut self) {
        let Some((id, delivered, memory, redis)) = self.snapshot.clone() else { return };
        if self.open != Some(id.epoch) || !self.has_object {
            return;
        }
        match self.redis[0].close(id, &redis, CloseReason::Quiet, now(self.at).into()).await.unwrap() {
            Closing::Closed => {
                let expected = self.memory.close(id, &memory, CloseReason::Quiet, now(self.at).into()).await.unwrap();
                assert_eq!(expected, Closing::Closed);
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
        assert_eq!((self.with_shown(metadata), reason), (expected, Some(CloseReason::Quiet)));
        self.memory.settle(id).await.unwrap();
        self.redis[0].settle(id).await.unwrap();
        for signal in self.delivered.iter_mut().filter(|signal| signal.storm == Some(id.epoch)) {
            signal.receipt = Some(id.epoch);
        }
        (self.open, self.has_object, self.shown) = (None, false, None);
    }

    /// Whichever comes first, nothing is counted twice or by nobody.
    async fn race(&mut self, reports: &Reports) {
        self.take_snapshot().await;
        let Some((id, _, memory, redis)) = self.snapshot.clone() else { return };
        if self.open != Some(id.epoch) || !self.has_object {
            return;
        }
        let batch = [(self.key.key, self.signals(std::slice::from_ref(reports)))];
        let (closing, merged) = tokio::join!(
            self.redis[0].close(id, &redis, CloseReason::Quiet, now(self.at).into()),
            self.redis[1].merge(&batch, now(self.at))
        );
        let (closing, merged) = (closing.unwrap(), merged.unwrap().remove(0));
        if closing == Closing::Closed {
            // The merge came before and brought nothing new, or after and counted nothing.
            self.memory.close(id, &memory, CloseReason::Quiet, now(self.at).into()).await.unwrap();
            self.closed(id).await;
            if let Merge::Joined { new, .. } = merged {
                assert_eq!(new, [0]);
            }
            self.deliver(std::slice::from_ref(reports)).await;
        } else {
            assert!(matches!(merged, Merge::Joined { .. }), "not closed, so it is open");
            self.memory.merge(&batch, now(self.at)).await.unwrap();
            self.delivered.push(Delivered { reports: reports.clone(), storm: self.open, receipt: None });
        }
    }

    async fn forget(&mut self) {
        let Some(epoch) = self.open.filter(|_| self.has_object) else { return };
        if self.ends && self.others {
            // All of it may be let go, and with it the ends that came without a beginning: the receipts know nothing of those.
            return;
        }
        let id = self.id(epoch);
        let expected = self.memory.forget(id, now(self.at).into()).await.unwrap();
        let let_go = self.redis[0].forget(id, now(self.at).into()).await.unwrap();
        assert!(let_go || !expected, "what nobody was shown is let go");
        assert!(let_go == expected || self.others, "it can tell what was shown");
        self.deleted.push(epoch);
        (self.open, self.has_object, self.shown) = (None, false, None);
        if let_go {
            self.rewatch().await;
        }
    }

    /// All Signals are read again: what closed storms hold first, because Signals without an open storm wait for the end of a list.
    async fn rewatch(&mut self) {
        let mut others = Vec::new();
        for signal in std::mem::take(&mut self.delivered) {
            match signal.receipt.filter(|epoch| self.open != Some(*epoch)) {
                Some(epoch) => {
                    let uids: Vec<Digest> = signal.reports.iter().map(|(uid, _)| *uid).collect();
                    let epoch = Some(epoch).filter(|epoch| !self.deleted.contains(epoch));
                    for ledger in [&self.memory as &dyn Ledger, self.redis[0].as_ref()] {
                        ledger.hold(self.key.key, epoch, &uids, now(self.at).into()).await.unwrap();
                    }
                    self.delivered.push(signal);
                }
                None => others.push((signal.reports, signal.receipt)),
            }
        }
        for (reports, receipt) in others {
            self.deliver(&[reports]).await;
            if let Some(signal) = self.delivered.last_mut().filter(|signal| signal.storm == receipt) {
                signal.receipt = receipt;
            }
        }
        self.snapshot = None;
    }

    async fn fill_up(&mut self, reports: &Reports) {
        let batch = [(self.key.key, self.signals(std::slice::from_ref(reports)))];
        self.server.command("CONFIG SET maxmemory 1").unwrap();
        let refused = self.redis[0].merge(&batch, now(self.at)).await;
        // Publishing goes on: it is what frees memory.
        self.take_snapshot().await;
        self.acknowledge().await;
        self.server.command("CONFIG SET maxmemory 0").unwrap();
        if self.open.is_some() {
            let is_right = match refused.as_deref() {
                Ok([Merge::Joined { new, .. }]) => *new == [0],
                Ok([Merge::Full { epoch, .. }]) => Some(*epoch) == self.open,
                // To remember for longer what a closed storm holds takes room as well.
                Err(LedgerError::Full(_)) => true,
                _ => false,
            };
            assert!(is_right, "{refused:?}");
        }
        self.deliver(std::slice::from_ref(reports)).await;
    }

    async fn wipe(&mut self) {
        self.server.command("FLUSHALL").unwrap();
        if let Some(epoch) = self.open {
            let lost = self.redis[0].snapshot(self.id(epoch)).await;
            assert!(matches!(lost, Err(LedgerError::Lost(_))), "{lost:?}");
        }
        for ledger in &self.redis {
            ledger.begin().await.unwrap();
        }
        if let Some(epoch) = self.open {
            // Adopted from the cluster.
            self.redis[0].open(self.id(epoch), &self.key.pattern, now(self.at)).await.unwrap();
            if self.has_object {
                self.redis[0].mark_published(self.id(epoch)).await.unwrap();
            }
        }
        (self.rebuilding, self.wiped) = (true, true);
        self.rewatch().await;
        self.rebuilding = false;
    }

    /// The texts of resources leave Redis when they are shown: what is shown joins in. A process that has not met a Signal of the storm
    /// cannot say what it groups, and needs not.
    fn with_shown(&self, metadata: Option<StormMetadata>) -> Option<StormMetadata> {
        let pattern = self.key.pattern.clone();
        join(metadata, self.shown.clone()).map(|facts| StormMetadata { pattern, ..facts })
    }

    /// The open storm is the same in both.
    async fn compare(&self) {
        let Some(epoch) = self.open else { return };
        let memory = self.memory.snapshot(self.id(epoch)).await.unwrap();
        let redis = self.redis[0].snapshot(self.id(epoch)).await.unwrap();
        let (
            LedgerView::Open { metadata: expected, resolvable: expected_resolvable, published: expected_published },
            LedgerView::Open { metadata, resolvable, published },
        ) = (memory.view, redis.view)
        else {
            panic!("both are open");
        };
        assert_eq!((resolvable, published), (expected_resolvable, expected_published));
        assert_eq!(self.with_shown(metadata), expected);
        // The mark that one process knows to be there, another may have cleared: then the one asks for the publish all the same.
        assert!(
            memory.dirty_since.is_none() || redis.dirty_since.is_some() || self.others,
            "news without a dirty mark"
        );
    }
}

fn join(one: Option<StormMetadata>, other: Option<StormMetadata>) -> Option<StormMetadata> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.join(&other)),
        (one, other) => one.or(other),
    }
}
