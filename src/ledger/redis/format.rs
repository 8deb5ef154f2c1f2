//! Which form the values in the server have: kept with the incarnation, so that it goes and comes with them.
//!
//! A value is read by the form that it was written in, or not at all. What an earlier version left in another form is removed, and the ledger
//! begins afresh from the Signals and the RemediationRequests: that costs time, and no count. What a later version left is not touched.

use super::keys::{INCARNATION, is_ours};
use super::reply::read;
use super::{RedisLedger, random, scripts};
use crate::ledger::LedgerError;
use crate::metrics::LedgerOperation;
use crate::storm::DigestKey;

/// The form that this version writes and reads. Raised by every change that the versions before would misread; a field or a member that
/// they ignore is no such change. 1 is what was there before forms had numbers: its storms may lack the member that merges look for. In 2 the names of
/// registers end with two characters of `sid`; in 3 occurrences are sets, and have no time.
pub(super) const FORMAT: u32 = 4;

/// Keys removed at once: what Lua's `unpack` takes is 8,000.
const PAGE: usize = 1_000;

/// What the key of the incarnation says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Incarnation {
    pub(super) format: u32,
    /// 16 random bytes: the key of every digest.
    random: u128,
}

impl Incarnation {
    /// Another one, in our form.
    pub(super) fn new() -> Self {
        Self { format: FORMAT, random: u128::from(random()) << 64 | u128::from(random()) }
    }

    /// `v3 <32 hexadecimal digits>`; further words are of versions to come. Without the first word it is of form 1. `None`: not ours.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let first = words.next()?;
        let (format, digits) = match first.strip_prefix('v') {
            Some(number) => (number.parse().ok()?, words.next()?),
            None => (1, first),
        };
        let hexadecimal = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let random = u128::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)?;
        Some(Self { format, random })
    }

    pub(super) fn digests(&self) -> DigestKey {
        DigestKey::new(self.random.to_be_bytes())
    }
}

impl std::fmt::Display for Incarnation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v{} {:032x}", self.format, self.random)
    }
}

impl RedisLedger {
    /// Reads the incarnation, and makes one if there is none, or one of an earlier form. True when it was made.
    pub(super) async fn read_incarnation(&self) -> Result<(String, DigestKey, bool), LedgerError> {
        let mut made = false;
        loop {
            let mut pipeline = redis::pipe();
            pipeline.cmd("GET").arg(INCARNATION);
            let replies = self.connection.send(LedgerOperation::Begin, &pipeline).await?;
            let Some(text) = read::<Option<String>>(&replies, 0)? else {
                // A merge that was under way when the last one was lost may have left what nobody can name any more.
                made |= self.begin_afresh("").await?;
                continue;
            };
            let incarnation = Incarnation::parse(&text).ok_or_else(|| somebody_elses(&text))?;
            if incarnation.format > FORMAT {
                return Err(newer(incarnation.format));
            }
            if incarnation.format == FORMAT {
                return Ok((text, incarnation.digests(), made));
            }
            // Whoever is faster has begun afresh for both of us: either way nothing of the old form is left.
            made = true;
            tracing::warn!(
                format = incarnation.format,
                ours = FORMAT,
                "what Redis holds is of an earlier version: it is removed, and the Signals are read again"
            );
            self.begin_afresh(&text).await?;
        }
    }

    /// Removes everything that was written under this incarnation, or, if it is '', under one that is not there any more; then another one takes its
    /// place. False: somebody else has done so.
    async fn begin_afresh(&self, old: &str) -> Result<bool, LedgerError> {
        let mut cursor = 0;
        loop {
            let mut pipeline = redis::pipe();
            pipeline.cmd("SCAN").arg(cursor).arg("MATCH").arg("{??}*").arg("COUNT").arg(PAGE);
            let replies = self.connection.send(LedgerOperation::Begin, &pipeline).await?;
            let (next, mut keys): (u64, Vec<String>) = read(&replies, 0)?;
            keys.retain(|key| is_ours(key));
            for keys in keys.chunks(PAGE) {
                if !self.remove_while(old, keys, "").await? {
                    return Ok(false);
                }
            }
            if next == 0 {
                return self.remove_while(old, &[], &Incarnation::new().to_string()).await;
            }
            cursor = next;
        }
    }

    /// False: another incarnation is there by now.
    async fn remove_while(&self, old: &str, keys: &[String], new: &str) -> Result<bool, LedgerError> {
        let all: Vec<String> = std::iter::once(INCARNATION.to_owned()).chain(keys.iter().cloned()).collect();
        let mut cmd = scripts::call(&scripts::BEGIN_AFRESH, &all);
        cmd.arg(old).arg(new);
        let mut pipeline = redis::pipe();
        pipeline.add_command(cmd);
        read(&self.connection.send(LedgerOperation::Begin, &pipeline).await?, 0)
    }
}

fn somebody_elses(text: &str) -> LedgerError {
    LedgerError::Refused(format!(
        "the key {INCARNATION} holds {text:?} instead of a version and 32 hexadecimal digits: is this Redis database somebody else's?"
    ))
}

fn newer(format: u32) -> LedgerError {
    LedgerError::Refused(format!(
        "a newer version of Stormfold has written to this Redis (format {format}, this one knows {FORMAT}), and this one would misread it: \
         run the newer version, or let go what it keeps, which costs time and no count: stop all replicas, and FLUSHDB in this database"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "00000000000000000000000000000abc";

    #[test]
    fn an_incarnation_is_read_as_it_was_written() {
        let incarnation = Incarnation::new();
        assert_eq!(Incarnation::parse(&incarnation.to_string()), Some(incarnation));
    }

    #[test]
    fn an_incarnation_without_a_version_is_of_the_first_and_further_words_are_of_versions_to_come() {
        let of = |format| Some(Incarnation { format, random: 0xabc });
        assert_eq!(Incarnation::parse(DIGITS), of(1));
        assert_eq!(Incarnation::parse(&format!("v3 {DIGITS} and=more")), of(3));
        assert_eq!(Incarnation::parse(&format!("v71 {DIGITS}")), of(71));
    }

    #[test]
    fn what_is_no_incarnation_is_not_taken_for_one() {
        for text in [
            "",
            "v2",
            "v2 abc",
            "v-1 00000000000000000000000000000abc",
            "vv",
            "+0000000000000000000000000000abc",
            "hello world",
        ] {
            assert_eq!(Incarnation::parse(text), None, "{text}");
        }
    }
}
