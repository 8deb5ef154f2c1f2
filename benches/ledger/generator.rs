//! The storms that are merged: occurrence `n` of storm `s` is the same whoever asks, so that each count can be checked afterwards.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use stormfold::storm::{
    DEDUP_HORIZON, Digest, DigestKey, Epoch, Observation, Opening, Refused, Report, Severity, SignalRef, StormId,
    StormKey,
};

/// The second of the first occurrence of every storm, and its epoch. In 2033: keys that expire some hours after it must not do so while they are measured;
/// and with as many bits as an epoch of today.
pub const START: Epoch = 2_000_000_000;
/// What all storms are about.
pub const PATTERN: &str = "HighCPUUsage in prod-payments";
/// How many resources repeat, where they do.
const REPEATED: u32 = 50;

/// What the occurrences of a storm are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resources {
    /// Each about another resource.
    Distinct,
    /// Fifty resources in turn.
    Repeated,
}

impl Resources {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Distinct => "distinct resources",
            Self::Repeated => "50 resources",
        }
    }

    /// How many resources so many occurrences are about.
    pub fn affected(self, occurrences: u32) -> u32 {
        match self {
            Self::Distinct => occurrences,
            Self::Repeated => occurrences.min(REPEATED),
        }
    }

    /// The name of the pod that an occurrence is about: 30 characters with its kind, as in a real cluster.
    pub fn pod(self, storm: u32, occurrence: u32) -> String {
        let number = match self {
            Self::Distinct => occurrence,
            Self::Repeated => occurrence % REPEATED,
        };
        // 36^5 names, and a step that shares no factor with it: no two occurrences of a storm share a name by chance.
        let place = (u64::from(number) * 1_000_003 + mix(storm.into()) % 1_000_000) % 36u64.pow(5);
        format!("payment-api-6c8f9d7b54-{}", base36(place, 5))
    }
}

/// What a merge says of its alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// That it fires, and it is new.
    First,
    /// That it fires on, later than what is known of it.
    Repeat,
    /// That it is over.
    End,
}

/// A storm and how many occurrences it has.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    pub number: u32,
    pub occurrences: u32,
    /// How many repeats and ends came after those.
    pub later: u32,
    /// How many of its alerts are over.
    pub ended: u32,
}

impl Storm {
    /// One whose alerts were reported once and fire.
    pub const fn new(number: u32, occurrences: u32) -> Self {
        Self { number, occurrences, later: 0, ended: 0 }
    }

    /// One more report of this kind came.
    pub fn tell(&mut self, telling: Telling) {
        match telling {
            Telling::First => self.occurrences += 1,
            Telling::Repeat => self.later += 1,
            Telling::End => (self.later, self.ended) = (self.later + 1, self.ended + 1),
        }
    }
}

/// `count` storms from the first one, each with so many occurrences.
pub fn storms(count: u32, occurrences: u32) -> Vec<Storm> {
    (0..count).map(|number| Storm::new(number, occurrences)).collect()
}

/// The `n`th second of every storm.
pub fn second(n: u32) -> Timestamp {
    Timestamp::from_second(START + i64::from(n)).unwrap_or(Timestamp::MAX)
}

/// The storm's key.
pub fn key(storm: u32) -> StormKey {
    StormKey::new("prod-payments", &format!("{PATTERN} {storm}"))
}

/// The storm's only run.
pub fn id(storm: u32) -> StormId {
    StormId { key: key(storm), epoch: START }
}

/// A Signal with these occurrences. Each begins a second after the one before: every merge moves `lastSeen`, which is the dearest case.
pub fn observation(storm: u32, occurrences: Range<u32>, resources: Resources, digests: &DigestKey) -> Observation {
    let report = |occurrence: u32| {
        let text: Arc<str> = format!("Pod/{}", resources.pod(storm, occurrence)).into();
        Report {
            uid: uid(storm, occurrence),
            firing: true,
            resource: Some((digests.digest(&[b"resource", text.as_bytes()]), text)),
        }
    };
    let (signal, opening) = &*SHARED;
    Observation {
        signal: signal.clone(),
        key: key(storm),
        opening: opening.clone(),
        scope: opening.namespace.as_str().into(),
        severity: Severity::Warning,
        resolvable: false,
        incomplete: false,
        first_seen: second(occurrences.start),
        last_seen: second(occurrences.end.saturating_sub(1)),
        reported_at: second(occurrences.end.saturating_sub(1)),
        reports: occurrences.map(report).collect(),
        told: Vec::new(),
        held: Vec::new(),
        refused: Refused::default(),
        clamped: 0,
        groupings: Vec::new(),
        missing_labels: Vec::new(),
        resource_version: None,
        has_receipt: false,
        dedup_horizon: DEDUP_HORIZON,
        pending_message: None,
        receipt: None,
        receipt_others: Vec::new(),
        share: None,
        namespace_made: None,
    }
}

/// A Signal that says something more of this alert, at this second.
pub fn again(
    storm: u32,
    occurrence: u32,
    at: u32,
    telling: Telling,
    resources: Resources,
    digests: &DigestKey,
) -> Observation {
    let mut observation = observation(storm, occurrence..occurrence + 1, resources, digests);
    (observation.last_seen, observation.reported_at) = (second(at), second(at));
    for report in &mut observation.reports {
        report.firing = telling != Telling::End;
    }
    observation
}

/// What the ledger never looks at.
static SHARED: LazyLock<(Arc<SignalRef>, Arc<Opening>)> = LazyLock::new(|| {
    let signal = SignalRef { namespace: "prod-payments".into(), name: "signal".into(), uid: "uid".into() };
    let opening = Opening {
        object_namespace: "prod-payments".into(),
        pattern: PATTERN.into(),
        signal_name: "HighCPUUsage".into(),
        source_kind: None,
        namespace: "prod-payments".into(),
        cluster: None,
        severity: Severity::Warning,
        group_labels: BTreeMap::new(),
        policy: "default".into(),
        said: Arc::default(),
    };
    (Arc::new(signal), Arc::new(opening))
});

fn uid(storm: u32, occurrence: u32) -> Digest {
    (mix(mix(storm.into()) ^ u64::from(occurrence)) >> 1).cast_signed()
}

/// Well-spread bits from a number (`SplitMix64`): two different numbers never give the same.
pub const fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// So many digits, the least first.
pub fn base36(mut number: u64, digits: usize) -> String {
    let mut text = String::with_capacity(digits);
    for _ in 0..digits {
        let digit = u32::try_from(number % 36).unwrap_or_default();
        text.push(char::from_digit(digit, 36).unwrap_or('0'));
        number /= 36;
    }
    text
}

/// The numbers below `count` in random order, the same in each run.
pub fn shuffled(count: u32) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..count).collect();
    numbers.sort_by_key(|number| mix(u64::from(*number) ^ 0x5eed));
    numbers
}
