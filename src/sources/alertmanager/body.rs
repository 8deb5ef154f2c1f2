//! The webhook's body, as Alertmanager and its [`Dialect`]s write it, read with bounds and without copying: texts are borrowed from the body.
//!
//! What Stormfold does not need may be missing, null, of another type, or new. Each alert is read by itself, later: one that
//! cannot be read is the fault of that alert.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::dialect::Dialect;
use crate::sources::draft::LabelPairs;
use crate::sources::text::{clean, text, text_or_number};

/// The shortest alert that Alertmanager can write has 170 bytes. A body with more alerts than this allows is made to cost memory.
const BYTES_PER_ALERT: usize = 128;

/// A body.
#[derive(Debug, Default)]
pub struct Body<'a> {
    pub(super) dialect: &'static Dialect,
    /// Alerts that the receiver's `max_alerts` left out.
    pub(super) truncated: u64,
    /// The receiver's name.
    pub(super) receiver: Option<Cow<'a, str>>,
    /// Where people find this Alertmanager.
    pub(super) external_url: Option<Cow<'a, str>>,
    /// What Alertmanager grouped by.
    pub(super) group_labels: LabelPairs<'a>,
    /// The state of an alert that does not say its own.
    pub(super) status: Option<Cow<'a, str>>,
    /// The alerts, unread.
    pub(super) alerts: Vec<&'a RawValue>,
}

/// Why a body as a whole is no webhook.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It is not what the sender sends: says what is wrong.
    #[error("{0}")]
    NotAWebhook(String),
    /// It has more alerts than its bound on bytes allows for.
    #[error("{0} alerts are more than the {1} that a body of this bound can have: they are not of Alertmanager's size")]
    TooManyAlerts(usize, usize),
}

/// One alert, as written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert<'a> {
    #[serde(borrow, default, deserialize_with = "optional")]
    pub(super) status: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "labels")]
    pub(super) labels: LabelPairs<'a>,
    /// For people only: whatever is wrong with them is no fault of the alert.
    #[serde(borrow, default)]
    pub(super) annotations: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "optional")]
    pub(super) starts_at: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "generatorURL")]
    pub(super) generator_url: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "optional")]
    pub(super) fingerprint: Option<Cow<'a, str>>,
}

/// Reads a body of Alertmanager's of at most `max_body` bytes.
pub fn read_body(bytes: &[u8], max_body: usize) -> Result<Body<'_>, BodyFault> {
    read_body_of(<&Dialect>::default(), bytes, max_body)
}

/// The same in this dialect.
pub(super) fn read_body_of<'a>(
    dialect: &'static Dialect,
    bytes: &'a [u8],
    max_body: usize,
) -> Result<Body<'a>, BodyFault> {
    let Dialect { sender, version, .. } = dialect;
    let not = |what: String| BodyFault::NotAWebhook(what);
    let max_alerts = max_body / BYTES_PER_ALERT;
    let text = std::str::from_utf8(bytes).map_err(|fault| not(format!("the body is not UTF-8: {fault}")))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let outline = AlertOutline { max_alerts }
        .deserialize(&mut deserializer)
        .and_then(|outline| deserializer.end().map(|()| outline))
        .map_err(|fault| not(format!("the body is not the JSON of a webhook of {sender}: {}", told(&fault))))?;
    match outline.version.map(RawValue::get) {
        Some(given) if given.trim_matches('"') == *version && given.len() == version.len() + 2 => {}
        Some(other) => return Err(not(format!("version is {}, not \"{version}\"", clean(other, 40)))),
        None => return Err(not(format!("version is missing: {sender} writes \"{version}\" there"))),
    }
    let Some((alerts, count)) = outline.alerts else { return Err(not("alerts is missing".to_owned())) };
    if count > max_alerts {
        return Err(BodyFault::TooManyAlerts(count, max_alerts));
    }
    Ok(Body { dialect, alerts, ..outline.body })
}

/// Reads one alert of a body.
pub(super) fn read_alert(raw: &RawValue) -> Result<Alert<'_>, String> {
    serde_json::from_str(raw.get()).map_err(|fault| told(&fault))
}

/// The annotations of an alert, as far as they can be told as text. One that cannot takes no other one with it.
pub(super) fn read_annotations<'a>(alert: &Alert<'a>) -> LabelPairs<'a> {
    let read = |raw: &'a RawValue| serde_json::from_str::<Texts<'a>>(raw.get()).ok();
    let read_each = |raw: &'a RawValue| {
        let all: BTreeMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(raw.get()).ok()?;
        let told = |(name, raw): (_, &'a RawValue)| {
            let LabelText(text) = serde_json::from_str(raw.get()).ok()?;
            Some((name, text?))
        };
        Some(Texts(all.into_iter().filter_map(told).collect()))
    };
    alert.annotations.and_then(|raw| read(raw).or_else(|| read_each(raw))).map(|texts| texts.0).unwrap_or_default()
}

/// The words of the parser, which may quote the body.
fn told(fault: &serde_json::Error) -> String {
    clean(&fault.to_string(), 200).into_owned()
}

#[derive(Deserialize)]
struct Texts<'a>(#[serde(borrow, deserialize_with = "labels")] LabelPairs<'a>);

fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    Ok(Option::<Borrowed<'de>>::deserialize(deserializer)?.map(|borrowed| borrowed.0))
}

#[derive(Deserialize)]
pub(super) struct Borrowed<'a>(#[serde(borrow, deserialize_with = "text")] pub(super) Cow<'a, str>);

/// A label's value: a text, or what others than Alertmanager write for one. `None`: null, which is no label.
#[derive(Deserialize)]
struct LabelText<'a>(#[serde(borrow, deserialize_with = "text_or_number")] Option<Cow<'a, str>>);

/// A map of texts; null is an empty one.
fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LabelPairs<'de>, D::Error> {
    struct Map;
    impl<'de> Visitor<'de> for Map {
        type Value = LabelPairs<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of strings")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut labels = Vec::new();
            while let Some((Borrowed(name), LabelText(value))) = map.next_entry()? {
                labels.extend(value.map(|value| (name, value)));
            }
            // As Alertmanager writes them; whoever does not makes nobody search.
            labels.sort_unstable();
            Ok(labels)
        }
    }
    deserializer.deserialize_any(Map)
}

/// Reads the outer map, and leaves alone whatever it does not know.
struct AlertOutline {
    max_alerts: usize,
}

#[derive(Default)]
struct Read<'a> {
    version: Option<&'a RawValue>,
    alerts: Option<(Vec<&'a RawValue>, usize)>,
    body: Body<'a>,
}

impl<'de> DeserializeSeed<'de> for AlertOutline {
    type Value = Read<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AlertOutline {
    type Value = Read<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with version and alerts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut read = Read::default();
        while let Some(Borrowed(field)) = map.next_key()? {
            match field.as_ref() {
                "version" => read.version = map.next_value::<Option<&'de RawValue>>()?,
                "alerts" => read.alerts = map.next_value_seed(Alerts { max: self.max_alerts })?,
                "truncatedAlerts" => read.body.truncated = lenient(map.next_value()?).unwrap_or_default(),
                "receiver" => read.body.receiver = lenient(map.next_value()?).map(|Borrowed(text)| text),
                "externalURL" => read.body.external_url = lenient(map.next_value()?).map(|Borrowed(text)| text),
                "status" => read.body.status = lenient(map.next_value()?).map(|Borrowed(text)| text),
                "groupLabels" => {
                    read.body.group_labels = lenient(map.next_value()?).map(|Texts(labels)| labels).unwrap_or_default();
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(read)
    }
}

/// A field without which there is a webhook, too.
fn lenient<'de, T: Deserialize<'de>>(raw: &'de RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// The list of alerts: at most `max` of them are kept, and all are counted.
struct Alerts {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for Alerts {
    type Value = Option<(Vec<&'de RawValue>, usize)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Alerts {
    type Value = Option<(Vec<&'de RawValue>, usize)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list in alerts")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut alerts = Vec::new();
        let mut count = 0;
        while count < self.max
            && let Some(alert) = seq.next_element()?
        {
            alerts.push(alert);
            count += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Some((alerts, count)))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn fault(body: &str) -> String {
        read_body(body.as_bytes(), 4096).unwrap_err().to_string()
    }

    #[rstest]
    #[case("", "EOF")]
    #[case("{", "EOF")]
    #[case("[]", "expected a map with version and alerts")]
    #[case("7", "expected a map with version and alerts")]
    #[case("{}", "version is missing")]
    #[case(r#"{"version":null}"#, "version is missing")]
    #[case(r#"{"version":"3","alerts":[]}"#, r#"version is "3", not "4""#)]
    #[case(r#"{"version":4,"alerts":[]}"#, r#"version is 4, not "4""#)]
    #[case(r#"{"version":"4"}"#, "alerts is missing")]
    #[case(r#"{"version":"4","alerts":null}"#, "alerts is missing")]
    #[case(r#"{"version":"4","alerts":{"a":1}}"#, "expected a list in alerts")]
    #[case(r#"{"version":"4","alerts":[]} x"#, "trailing characters")]
    fn a_body_that_is_no_webhook_is_told_what_is_wrong_with_it(#[case] body: &str, #[case] says: &str) {
        let said = fault(body);
        assert!(said.contains(says), "{said}");
    }

    #[test]
    fn bytes_that_are_no_text_are_no_webhook() {
        let fault = read_body(b"{\"version\":\"4\",\"alerts\":[\"\xff\"]}", 4096).unwrap_err().to_string();
        assert!(fault.contains("not UTF-8"), "{fault}");
    }

    #[test]
    fn missing_null_new_and_odd_fields_are_no_fault() {
        let body = r#"{"version":"4","receiver":7,"status":null,"groupLabels":[1],"externalURL":{},"truncatedAlerts":-1,
            "somethingNew":{"deep":[[[]]]},"alerts":[{},{"labels":null,"annotations":7,"endsAt":3,"new":1}]}"#;
        let body = read_body(body.as_bytes(), 4096).unwrap();
        assert_eq!((body.alerts.len(), body.truncated, body.receiver), (2, 0, None));
        let alert = read_alert(body.alerts[1]).unwrap();
        assert!(alert.labels.is_empty() && read_annotations(&alert).is_empty());
    }

    #[test]
    fn texts_are_borrowed_from_the_body() {
        let body = r#"{"version":"4","alerts":[{"labels":{"alertname":"A","é":"\u00e9"}}]}"#;
        let body = read_body(body.as_bytes(), 4096).unwrap();
        let labels = read_alert(body.alerts[0]).unwrap().labels;
        assert!(matches!(&labels[0], (Cow::Borrowed("alertname"), Cow::Borrowed("A"))));
        assert_eq!(labels[1], ("é".into(), "é".into()));
    }

    #[test]
    fn numbers_and_booleans_are_texts_and_null_is_no_label() {
        let body = r#"{"version":"4","alerts":[{"labels":{"alertname":"A","code":502,"ok":true,"load":1.5,"none":null,"minus":-1},
            "annotations":{"summary":"It burns","value":12.5,"list":[1],"none":null,"runbook_url":"https://x"}}]}"#;
        let body = read_body(body.as_bytes(), 4096).unwrap();
        let alert = read_alert(body.alerts[0]).unwrap();
        let pairs =
            |pairs: &LabelPairs<'_>| pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ");
        assert_eq!(pairs(&alert.labels), "alertname=A code=502 load=1.5 minus=-1 ok=true");
        assert_eq!(pairs(&read_annotations(&alert)), "runbook_url=https://x summary=It burns value=12.5");
    }

    #[test]
    fn more_alerts_than_bytes_allow_for_are_counted_and_not_kept() {
        let body = format!(r#"{{"version":"4","alerts":[{}0]}}"#, "0,".repeat(1_000));
        assert_eq!(read_body(body.as_bytes(), 1_280).unwrap_err(), BodyFault::TooManyAlerts(1_001, 10));
        assert_eq!(read_body(body.as_bytes(), 1_280_000).unwrap().alerts.len(), 1_001);
    }

    #[rstest]
    #[case("7")]
    #[case(r#"{"labels":7}"#)]
    #[case(r#"{"labels":{"a":{}}}"#)]
    #[case(r#"{"labels":{"a":["b"]}}"#)]
    #[case(r#"{"status":{}}"#)]
    fn an_alert_that_cannot_be_read_is_a_fault_of_that_alert(#[case] alert: &str) {
        let body = format!(r#"{{"version":"4","alerts":[{alert}]}}"#);
        assert!(read_alert(read_body(body.as_bytes(), 4096).unwrap().alerts[0]).is_err());
    }
}
