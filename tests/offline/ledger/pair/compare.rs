//! What one ledger says, beside what the other one does.

use stormfold::ledger::{Ledger, Merge};
use stormfold::storm::decide::LedgerView;
use stormfold::storm::{Observation, StormKey, StormMetadata};

use super::super::now;
use super::{Play, join};

impl Play<'_> {
    pub(super) async fn merge(&self, batch: &[(StormKey, Vec<Observation>)]) -> Merge {
        let expected = self.memory.merge(batch, now(self.at)).await.unwrap().remove(0);
        let merge = self.redis[0].merge(batch, now(self.at)).await.unwrap().remove(0);
        match (&merge, &expected) {
            // What Redis lost is new to it once more, and what another process has told it is new to this one.
            (Merge::Joined { epoch, .. }, Merge::Joined { epoch: expected, .. }) if self.rebuilding || self.others => {
                assert_eq!(epoch, expected);
            }
            // No receipt tells the epoch of a storm whose object is gone; the next one is later all the same.
            (Merge::NotOpen { opens, last, .. }, Merge::NotOpen { opens: expected, last: later, .. }) if self.wiped => {
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

    /// The texts of resources leave Redis when they are shown: what is shown joins in. A process that has not met a Signal of the storm
    /// cannot say what it groups, and needs not.
    pub(super) fn with_shown(&self, metadata: Option<StormMetadata>) -> Option<StormMetadata> {
        let pattern = self.key.pattern.clone();
        join(metadata, self.shown.clone()).map(|facts| StormMetadata { pattern, ..facts })
    }

    /// Whether a process is at work that does not know what the other one was told meanwhile: of which alerts closed storms have the end, and which
    /// fire anew. It may take a late report, which counts nothing, for news, or for an echo: then the storm has another span, or a resource more or less. A
    /// leader ends with its Lease, so this is a batch that was under way (decision 0043).
    fn has_stale(&self) -> bool {
        self.ends && self.others
    }

    /// What both know of a storm is the same.
    pub(super) fn same(&self, found: Option<StormMetadata>, expected: Option<StormMetadata>) {
        match (found, expected) {
            (Some(found), Some(expected)) if self.has_stale() => {
                let counts = |storm: StormMetadata| (storm.pattern, storm.alert_count, storm.firing);
                assert_eq!(counts(found), counts(expected));
            }
            (found, expected) => assert_eq!(found, expected),
        }
    }

    /// The open storm is the same in both.
    pub(super) async fn compare(&self) {
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
        assert!(resolvable == expected_resolvable || self.has_stale());
        assert_eq!(published, expected_published);
        self.same(self.with_shown(metadata), expected);
        // The mark that one process knows to be there, another may have cleared: then the one asks for the publish all the same.
        assert!(
            memory.dirty_since.is_none() || redis.dirty_since.is_some() || self.others,
            "news without a dirty mark"
        );
    }
}
