//! The rules of the protocol by name, so that a search can break one and show what it is there for (decision 0012).

/// A rule that the engine keeps. Its sentence says what holds; broken, the search finds what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// After a loss of the ledger all Signals are read again.
    ResyncAfterLoss,
    /// A receipt is written only after a publish that includes its Signal.
    ReceiptAfterPublish,
    /// Receipts are claimed before the snapshot is taken, so that the snapshot includes their Signals.
    ClaimBeforeSnapshot,
    /// No storm is closed while Signals are being listed.
    CloseAfterList,
    /// No end is written while Signals are being listed.
    EndAfterList,
    /// No storm is opened on the word of the store alone: the cluster is asked first.
    OpenAfterLook,
    /// Receipts of what was merged into a ledger that was lost are not owed any more.
    ReceiptsEndWithLedger,
    /// Whether a storm that a receipt names is over is checked again before another storm is joined.
    HoldersCheckedTwice,
    /// Receipts of a storm of which nobody knows how it ended are not written: its Signals are read again.
    UnknownEndsOweNothing,
    /// A Signal that closed storms hold is told the name of the one that holds it, not of the open one.
    HeldNamesItsHolder,
    /// After a loss of the ledger closed objects are looked at as well: the ledger may hold their storms open.
    ClosedAreLookedAt,
    /// A storm that is over in the cluster is not rebuilt in the ledger.
    ClosedAreNotRebuilt,
    /// No end is written while a merge of its key is under way, whose receipts are not owed yet.
    EndAfterMerges,
    /// The end of a storm waits for the receipts of the Signals that it holds.
    EndAfterHeldReceipts,
    /// A storm that is over in the cluster is dropped from the ledger only after all Signals were read since that was seen.
    DropAfterList,
    /// While the Signals of a namespace are read again, none of its storms ends, and none opens that a closed one may hold.
    RereadHoldsUp,
    /// While Signals are listed, those of a key with closed storms wait for the end of the list.
    JoinAfterList,
    /// A Signal that is owed the receipt of a storm is not taken for one of the storm before, which its receipt still names.
    OwedAreJoined,
    /// An alert stays in the storm that it is in, however its policy groups it by now.
    AlertsStay,
}

/// Which rules are kept: all of them, except in a search.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    #[cfg(any(test, feature = "broken-rules"))]
    broken: Vec<Rule>,
}

impl Rules {
    /// All but these.
    #[cfg(any(test, feature = "broken-rules"))]
    pub fn without(broken: Vec<Rule>) -> Self {
        Self { broken }
    }

    /// Whether this one is kept.
    #[cfg(any(test, feature = "broken-rules"))]
    pub fn keep(&self, rule: Rule) -> bool {
        !self.broken.contains(&rule)
    }

    /// Whether this one is kept.
    #[cfg(not(any(test, feature = "broken-rules")))]
    #[allow(clippy::unused_self, reason = "with the feature there is something to look at")]
    pub fn keep(&self, _: Rule) -> bool {
        true
    }
}
