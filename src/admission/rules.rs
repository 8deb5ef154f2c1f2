//! The CEL rules of the CRDs, restated: which there are is closed, and a test fails when one is added that is not here.

use jiff::SignedDuration;
use serde_json::Value;

/// A rule of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CelRule {
    /// It compares an object with what it was: it says nothing of a new one.
    Transition,
    /// All of these hold.
    Durations(Vec<DurationTerm>),
    /// At least one of these fields is there.
    AnyOf(Vec<String>),
    /// No name of a map is longer.
    Keys(usize),
    /// `values` belong to the operators In and NotIn.
    Values,
    /// `requestRetention` and `retention`.
    Retention,
    /// The policy named default has no `match`.
    DefaultMatchesAll,
}

/// `duration(self.maxAge) > duration('1s')`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DurationTerm {
    left: DurationOperand,
    compare: Compare,
    right: DurationOperand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Above,
    AtLeast,
    AtMost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum DurationOperand {
    /// The value itself, or a field of it.
    Field(Option<String>),
    Literal(SignedDuration),
}

impl CelRule {
    /// `None`: nobody has restated it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match words.as_str() {
            "self == oldSelf" => return Some(Self::Transition),
            "self.all(key, key.size() <= 253)" => return Some(Self::Keys(253)),
            "(self.operator in ['In', 'NotIn']) == has(self.values)" => return Some(Self::Values),
            "self.requestRetention == '0s' || (self.retention != '0s' && duration(self.requestRetention) >= duration(self.retention))" =>
            {
                return Some(Self::Retention);
            }
            "self.metadata.name != 'default' || !has(self.spec.match)" => return Some(Self::DefaultMatchesAll),
            _ => {}
        }
        let field = |term: &str| Some(term.strip_prefix("has(self.")?.strip_suffix(')')?.to_owned());
        if let Some(fields) = words.split(" || ").map(field).collect() {
            return Some(Self::AnyOf(fields));
        }
        words.split(" && ").map(DurationTerm::parse).collect::<Option<_>>().map(Self::Durations)
    }

    /// Whether it holds for this value, which is of its type.
    pub(super) fn holds(&self, value: &Value) -> bool {
        let has = |field: &str| value.get(field).is_some();
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        match self {
            Self::Transition => true,
            Self::Durations(terms) => terms.iter().all(|term| term.holds(value)),
            Self::AnyOf(fields) => fields.iter().any(|field| has(field)),
            Self::Keys(most) => value.as_object().is_none_or(|map| map.keys().all(|key| key.chars().count() <= *most)),
            Self::Values => ["In", "NotIn"].contains(&text("operator")) == has("values"),
            Self::Retention => {
                let (request, signals) = (duration(text("requestRetention")), duration(text("retention")));
                text("requestRetention") == "0s" || text("retention") != "0s" && request >= signals
            }
            Self::DefaultMatchesAll => {
                value.pointer("/metadata/name").and_then(Value::as_str) != Some("default")
                    || value.pointer("/spec/match").is_none()
            }
        }
    }
}

/// What is no duration fails its pattern.
fn duration(text: &str) -> SignedDuration {
    text.parse().unwrap_or_default()
}

impl DurationTerm {
    fn parse(text: &str) -> Option<Self> {
        let compares = [(" >= ", Compare::AtLeast), (" <= ", Compare::AtMost), (" > ", Compare::Above)];
        let (left, compare, right) = compares
            .into_iter()
            .find_map(|(sign, compare)| text.split_once(sign).map(|(left, right)| (left, compare, right)))?;
        Some(Self { left: DurationOperand::parse(left)?, compare, right: DurationOperand::parse(right)? })
    }

    fn holds(&self, value: &Value) -> bool {
        let (left, right) = (self.left.of(value), self.right.of(value));
        match self.compare {
            Compare::Above => left > right,
            Compare::AtLeast => left >= right,
            Compare::AtMost => left <= right,
        }
    }
}

impl DurationOperand {
    fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix("duration(")?.strip_suffix(')')?;
        if let Some(literal) = inner.strip_prefix('\'') {
            return literal.strip_suffix('\'')?.parse().ok().map(Self::Literal);
        }
        match inner.strip_prefix("self")? {
            "" => Some(Self::Field(None)),
            field => field.strip_prefix('.').map(|field| Self::Field(Some(field.to_owned()))),
        }
    }

    fn of(&self, value: &Value) -> SignedDuration {
        let text = match self {
            Self::Literal(duration) => return *duration,
            Self::Field(None) => value.as_str(),
            Self::Field(Some(field)) => value.get(field).and_then(Value::as_str),
        };
        duration(text.unwrap_or_default())
    }
}
