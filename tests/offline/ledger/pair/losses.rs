//! What Redis loses, or refuses, and how it comes to know it again.

use super::*;

impl Play<'_> {
    /// All Signals are read again: what closed storms hold first, because Signals without an open storm wait for the end of a list.
    pub(super) async fn rewatch(&mut self) {
        let mut others = Vec::new();
        for signal in std::mem::take(&mut self.delivered) {
            // This process knows that it owes a receipt of the open storm, and that the Signal is the open storm's.
            let owed = self.rebuilding && signal.storm.is_some() && signal.storm == self.open;
            match signal.receipt.filter(|epoch| self.open != Some(*epoch) && !owed) {
                Some(epoch) => {
                    let holding = Holding {
                        key: self.key.key,
                        namespace: "prod".into(),
                        epoch: Some(epoch).filter(|epoch| !self.deleted.contains(epoch)),
                        reports: self.listed(&signal).says().collect(),
                        end: self.ended[&epoch],
                        at: now(self.at).into(),
                    };
                    for ledger in [&self.memory as &dyn Ledger, self.redis[0].as_ref()] {
                        ledger.hold(&holding).await.unwrap();
                    }
                    self.delivered.push(signal);
                }
                None => others.push(signal),
            }
        }
        for before in others {
            self.deliver_listed(std::slice::from_ref(&before.said), vec![self.listed(&before)]).await;
            let joined = |signal: &&mut Delivered| {
                signal.storm.is_some() && (signal.storm == before.receipt || signal.storm == before.storm)
            };
            if let Some(signal) = self.delivered.last_mut().filter(joined) {
                (signal.receipt, signal.told) = (before.receipt, before.told);
            }
        }
        if let Some(epoch) = self.open {
            self.take_over(self.id(epoch)).await;
        }
        self.snapshot = None;
    }

    pub(super) async fn fill_up(&mut self, said: &Said) {
        let batch = [(self.key.key, self.signals(std::slice::from_ref(said)))];
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
        self.deliver(std::slice::from_ref(said)).await;
    }

    pub(super) async fn wipe(&mut self) {
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
}
