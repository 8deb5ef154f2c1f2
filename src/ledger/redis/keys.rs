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
//! | `{pp}a<kid>` | string | the alerts of the open storm, and what storms before it left: counts, and sixteen bytes for each alert (`lua/alerts.lua`) | while a storm is open; then as `l` |
//! | `{pp}j<sid>` | string | journal: reports that are merged and not yet taken into `a` | until the next look at the storm |
//! | `{pp}x<sid>` | string | digests of the resources counted, eight bytes each | while it is open |
//! | `{pp}n<sid>` | list | resource texts not published yet | until acknowledged |
//! | `{pp}q` | zset | dirty marks `<kid><sid>` by the millisecond of the first unpublished change | until acknowledged |
//! | `{pp}l<kid>` | zset | `m` the last closed epoch, `t` the second in which it was last told of reports that no open storm takes in | the dedup horizon after either |
//! | `{pp}f<sid>` | string | final facts of a closed storm | until its end is in the cluster; at most as `l` |
//! | `{00}e` | string | the incarnation: `v` and the number of the form of all this (`format`), 16 random bytes in hexadecimal | for ever: a missing one means the ledger was wiped |

use crate::ledger::DedupWindow;
use crate::storm::{DigestKey, Epoch, StormKey};

/// The incarnation.
pub(super) const INCARNATION: &str = "{00}e";

/// How many partitions there are. Enough to spread over the nodes of a Redis Cluster, few enough to read all dirty marks in one pipeline.
pub(super) const PARTITIONS: u16 = 256;

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

/// When what is kept of closed storms expires, in unix seconds.
pub(super) fn closed_expires(at: DedupWindow) -> i64 {
    at.now.as_second().saturating_add(at.horizon.as_secs())
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

    /// Whose registers these are. `None` for the name of something else.
    pub(super) fn of_registers(name: &str) -> Option<Self> {
        let (partition, kid) = name.strip_prefix('{')?.split_once("}h").filter(|(_, kid)| kid.len() == 9)?;
        Some(Self { partition: u8::from_str_radix(partition, 16).ok()?, kid: kid.to_owned() })
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

    /// Alerts.
    pub(super) fn alerts(&self) -> String {
        self.name('a', &self.kid)
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
    /// Reports that are merged and not yet taken into the alerts.
    pub(super) fn journal(&self) -> String {
        self.key.name('j', &self.sid)
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
