//! Every key that this ledger writes, and how long each one lives.
//!
//! `{pp}` is the partition: two hexadecimal digits of a keyed digest, and the hash tag, so that all keys of one StormKey are in one slot.
//! `kid` names a StormKey and `sid` one storm of it: 54 bits of keyed digests, nine characters each. A name of fourteen characters
//! fills an allocation of sixteen bytes; the digests' key is the incarnation's, so nobody outside can aim at another storm's keys,
//! and whoever still has the key of a ledger that was wiped writes where nobody reads.
//!
//! | key | type | holds | lives |
//! |---|---|---|---|
//! | `{pp}h<kid>` | zset as registers | of the open storm: `e` epoch, its `sid` as a member, `p` counter of names published, `a` alerts shown; and, each with the first three characters of `sid` behind it, `l` last seen, `f` −first seen, `s` severity, `r` resolvable, `i` incomplete | while it is open; until something joined it, at most as `l` |
//! | `{pp}u<sid>` `{pp}r<sid>` | intset | occurrences seen firing; seen resolved | while it is open; `r` as `h` |
//! | `{pp}x<sid>` | intset | resources counted | while it is open |
//! | `{pp}n<sid>` | list | resource texts not published yet | until acknowledged |
//! | `{pp}q` | zset | dirty marks `<kid><sid>` by the millisecond of the first unpublished change | until acknowledged |
//! | `{pp}c<kid><bucket>` | intset | occurrences that closed storms hold, met in one span of two hours | the dedup horizon of the policy after its end |
//! | `{pp}d<kid>` | intset | occurrences over before any storm opened with them | the dedup horizon |
//! | `{pp}l<kid>` | zset | `m` the last closed epoch | the dedup horizon and one span after the close |
//! | `{pp}f<sid>` | string | final facts of a closed storm | until its end is in the cluster; at most as `l` |
//! | `{pp}t<sid>` | intset | scratch of `forget` | a minute |
//! | `{00}e` | string | the incarnation: `v` and the number of the form of all this (`format`), 16 random bytes in hexadecimal | for ever: a missing one means the ledger was wiped |

use jiff::{SignedDuration, Timestamp};

use crate::ledger::DedupWindow;
use crate::storm::{DigestKey, Epoch, StormKey};

/// The incarnation.
pub(super) const INCARNATION: &str = "{00}e";

/// How many partitions there are. Enough to spread over the nodes of a Redis Cluster, few enough to read all dirty marks in one pipeline.
pub(super) const PARTITIONS: u16 = 256;

/// How long the scratch of `forget` may be left by a crash, in seconds.
pub(super) const SCRATCH_SECONDS: i64 = 60;

/// What closed storms hold is kept in spans of this many seconds: the shortest dedup horizon of a policy.
const SPAN: i64 = 2 * 3600;
/// Spans in the longest dedup horizon of a policy: a day.
pub(super) const MAX_SPANS: i64 = 12;

/// The dirty marks of one partition.
pub(super) fn dirty(partition: u16) -> String {
    format!("{{{partition:02x}}}q")
}

/// Whether a key is one that a ledger may have written; not the incarnation.
pub(super) fn is_ours(key: &str) -> bool {
    let [b'{', a, b, b'}', kind, ..] = key.as_bytes() else { return false };
    let partition = [a, b].iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    partition && kind.is_ascii_lowercase() && key != INCARNATION
}

/// When `l` and `f` expire: not before any `c` of the same close, so that an epoch is never forgotten before what it held.
pub(super) fn closed_expires(at: DedupWindow) -> i64 {
    at.now.as_second().saturating_add((spans(at.horizon) + 1) * SPAN)
}

/// When `d` expires.
pub(super) fn early_expires(at: DedupWindow) -> i64 {
    at.now.as_second().saturating_add(spans(at.horizon) * SPAN)
}

/// The span that `now` is in. What is met in one span is remembered for the horizon after its end: each occurrence for itself,
/// whatever others of the key are met.
pub(super) fn bucket(now: Timestamp) -> i64 {
    now.as_second().div_euclid(SPAN)
}

/// How many spans back a horizon goes.
pub(super) fn spans(horizon: SignedDuration) -> i64 {
    horizon.as_secs().saturating_add(SPAN - 1).div_euclid(SPAN).clamp(1, MAX_SPANS)
}

/// When the `c` of now expires.
pub(super) fn bucket_expires(at: DedupWindow) -> i64 {
    (bucket(at.now).saturating_add(spans(at.horizon)).saturating_add(1)).saturating_mul(SPAN)
}

/// The names of the keys of one StormKey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyNames {
    partition: u8,
    kid: String,
}

impl KeyNames {
    /// The names under this digest key.
    pub(super) fn of(digests: &DigestKey, key: StormKey) -> Self {
        let digest = digests.digest(&[b"key", key.as_bytes()]);
        let [.., partition] = (digest >> 54).to_be_bytes();
        Self { partition, kid: nine_characters(digest) }
    }

    /// What a dirty mark says: whose it is, and of which storm. `None` for a text that is no dirty mark.
    pub(super) fn of_mark(partition: u16, mark: &str) -> Option<(Self, String)> {
        let (kid, sid) = mark.split_at_checked(9).filter(|(_, sid)| sid.len() == 9)?;
        Some((Self { partition: u8::try_from(partition).ok()?, kid: kid.to_owned() }, sid.to_owned()))
    }

    fn name(&self, kind: char, id: &str) -> String {
        format!("{{{:02x}}}{kind}{id}", self.partition)
    }

    /// Registers of the open storm.
    pub(super) fn registers(&self) -> String {
        self.name('h', &self.kid)
    }

    /// The last closed epoch.
    pub(super) fn last(&self) -> String {
        self.name('l', &self.kid)
    }

    /// What closed storms hold, as met in this bucket.
    pub(super) fn held(&self, bucket: i64) -> String {
        self.name('c', &format!("{}{bucket}", self.kid))
    }

    /// What was over early.
    pub(super) fn early(&self) -> String {
        self.name('d', &self.kid)
    }

    /// The dirty marks of this partition.
    pub(super) fn dirty(&self) -> String {
        dirty(self.partition.into())
    }

    /// The names of one storm's keys.
    pub(super) fn storm(&self, digests: &DigestKey, epoch: Epoch) -> StormNames {
        let digest = digests.digest(&[b"storm", self.kid.as_bytes(), &[self.partition], &epoch.to_be_bytes()]);
        StormNames { key: self.clone(), sid: nine_characters(digest) }
    }

    /// The names of the keys that a dirty mark is about.
    pub(super) fn storm_of_mark(&self, sid: &str) -> StormNames {
        StormNames { key: self.clone(), sid: sid.to_owned() }
    }
}

/// The names of the keys of one storm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StormNames {
    /// The names that it shares with the other storms of its StormKey.
    pub(super) key: KeyNames,
    sid: String,
}

impl StormNames {
    /// Occurrences seen firing.
    pub(super) fn seen(&self) -> String {
        self.key.name('u', &self.sid)
    }

    /// Occurrences seen resolved.
    pub(super) fn resolved(&self) -> String {
        self.key.name('r', &self.sid)
    }

    /// Resources counted.
    pub(super) fn resources(&self) -> String {
        self.key.name('x', &self.sid)
    }

    /// Resource texts not published yet.
    pub(super) fn names(&self) -> String {
        self.key.name('n', &self.sid)
    }

    /// Final facts.
    pub(super) fn facts(&self) -> String {
        self.key.name('f', &self.sid)
    }

    /// Scratch of `forget`.
    pub(super) fn scratch(&self) -> String {
        self.key.name('t', &self.sid)
    }

    /// What its registers' names end with. Two storms of one key have the same tag once in 262,144 times; then, if a stray of the one
    /// comes when the other is open, the other's times and severity may be too wide.
    pub(super) fn tag(&self) -> &str {
        self.sid.get(..3).unwrap_or_default()
    }

    /// The member of the registers that says that this very storm is open.
    pub(super) fn sid(&self) -> &str {
        &self.sid
    }

    /// Its dirty mark.
    pub(super) fn mark(&self) -> String {
        format!("{}{}", self.key.kid, self.sid)
    }
}

/// The low 54 bits in the URL-safe base 64 alphabet.
fn nine_characters(digest: i64) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sextet = |place: u8| usize::try_from(digest >> (6 * place) & 63).unwrap_or_default();
    (0..9).rev().map(|place| char::from(ALPHABET[sextet(place)])).collect()
}
