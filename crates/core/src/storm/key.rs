//! What groups together, and which run of it.

use sha2::{Digest as _, Sha256};

/// Digest of (object namespace, pattern): Signals with one key belong to one storm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StormKey([u8; 32]);

impl StormKey {
    /// The least of all.
    pub const MIN: Self = Self([0; 32]);

    /// The key of `pattern` for Signals that live in `namespace`. Namespaces have no control characters, so the separator
    /// makes the pair injective.
    pub fn new(namespace: &str, pattern: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(namespace.as_bytes());
        hash.update([0]);
        hash.update(pattern.as_bytes());
        Self(hash.finalize().into())
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// 64 lower-case hexadecimal characters, as in `spec.stormKey`.
    pub fn to_hex(self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            hex.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            hex.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
            hex
        })
    }

    /// The key that `to_hex` wrote; `None` for any other text.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let bytes = hex.as_bytes();
        if bytes.len() != 64 {
            return None;
        }
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(bytes.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(key))
    }
}

fn nibble(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

impl std::fmt::Debug for StormKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_hex()[..12])
    }
}

/// Unix seconds of a storm's opening; strictly increasing per key.
pub type Epoch = i64;

/// One storm: one run of Signals of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StormId {
    /// What groups together.
    pub key: StormKey,
    /// Which run of it.
    pub epoch: Epoch,
}

#[cfg(test)]
mod tests {
    use super::*;

    // C11: lookups go by the whole 64 characters, never by a shortened label value.
    #[test]
    fn a_key_survives_its_hexadecimal_form() {
        let key = StormKey::new("prod", "X in prod");
        assert_eq!(key.to_hex().len(), 64);
        assert_eq!(StormKey::from_hex(&key.to_hex()), Some(key));
        for bad in ["", "zz", &"g".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
            assert_eq!(StormKey::from_hex(bad), None, "{bad}");
        }
    }

    // A26, A29: alerts of different names are different storms; to find their common cause is out of scope.
    // A24, A25: one alert name in two namespaces is two storms; the key is the pattern with its namespace.
    #[test]
    fn namespace_and_pattern_both_count() {
        assert_ne!(StormKey::new("prod", "X in prod"), StormKey::new("staging", "X in prod"));
        assert_ne!(StormKey::new("prod", "X in prod"), StormKey::new("prod", "Y in prod"));
    }
}
