//! A structural schema, compiled once, and what it says of an object: fields that nobody knows, defaults, types, bounds, then rules.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::{Map, Value};

use super::FieldFault;
use super::rules::CelRule;

/// Of a value that is shown, in characters.
const MAX_SHOWN: usize = 60;
/// Faults of one object that are told.
const MAX_FAULTS: usize = 20;

/// The schema of one kind.
pub(super) struct ObjectSchema {
    kind: String,
    root: Node,
    /// What of the CRD is not understood: nothing, or this program is at fault.
    pub(super) unknown: Vec<String>,
}

/// The schema of one value.
#[derive(Default)]
struct Node {
    kind: NodeKind,
    nullable: bool,
    default: Option<Value>,
    one_of: Option<Vec<Value>>,
    /// Of a number, of a text in characters, of a list or a map in entries.
    least: Option<i64>,
    most: Option<i64>,
    pattern: Option<Regex>,
    is_time: bool,
    required: Vec<String>,
    fields: BTreeMap<String, Node>,
    /// Of the items of a list, or of the values of a map.
    inner: Option<Box<Node>>,
    is_set: bool,
    rules: Vec<(CelRule, String)>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum NodeKind {
    /// Anything, as the metadata that the API server knows by itself.
    #[default]
    Object,
    Text,
    Integer,
    Flag,
    List,
}

impl NodeKind {
    fn word(self) -> &'static str {
        match self {
            Self::Object => "a map",
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Flag => "true or false",
            Self::List => "a list",
        }
    }
}

impl ObjectSchema {
    pub(super) fn of(crd: &CustomResourceDefinition) -> Self {
        let mut unknown = Vec::new();
        let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref());
        let mut props = schema.and_then(|schema| schema.open_api_v3_schema.clone()).unwrap_or_default();
        // What only the operator and engines write is not read from files.
        let fields = props.properties.get_or_insert_default();
        fields.insert("status".to_owned(), JSONSchemaProps { type_: Some("object".into()), ..Default::default() });
        for known in ["apiVersion", "kind"] {
            fields.insert(known.to_owned(), JSONSchemaProps { type_: Some("string".into()), ..Default::default() });
        }
        fields.insert("metadata".to_owned(), JSONSchemaProps { type_: Some("object".into()), ..Default::default() });
        let root = Node::of(props, "", &mut unknown);
        Self { kind: crd.spec.names.kind.clone(), root, unknown }
    }

    /// Puts defaults in, and tells what is wrong.
    pub(super) fn admit(&self, object: &mut Value, faults: &mut Vec<FieldFault>) {
        self.root.fill(object);
        // A test says that there is nothing of the kind.
        for unknown in &self.unknown {
            let wrong = format!("this program does not understand its own schema: {unknown}");
            faults.push(FieldFault { field: String::new(), seen: String::new(), wrong });
        }
        let mut check = Check { kind: &self.kind, faults };
        check.node(&self.root, object, "");
    }
}

impl Node {
    fn of(mut props: JSONSchemaProps, path: &str, unknown: &mut Vec<String>) -> Self {
        let kind = match props.type_.take().as_deref() {
            Some("object") => NodeKind::Object,
            Some("string") => NodeKind::Text,
            Some("integer") => NodeKind::Integer,
            Some("boolean") => NodeKind::Flag,
            Some("array") => NodeKind::List,
            other => {
                unknown.push(format!("{path}: type {other:?}"));
                NodeKind::Object
            }
        };
        (props.description, props.title, props.x_kubernetes_list_map_keys) = (None, None, None);
        let format = props.format.take();
        if let Some(other) = format.as_deref().filter(|known| !["date-time", "int32", "int64"].contains(known)) {
            unknown.push(format!("{path}: format {other}"));
        }
        let mut node = Self {
            kind,
            nullable: props.nullable.take().unwrap_or_default(),
            default: props.default.take().map(|json| json.0),
            one_of: props.enum_.take().map(|values| values.into_iter().map(|json| json.0).collect()),
            is_time: format.as_deref() == Some("date-time"),
            required: props.required.take().unwrap_or_default(),
            is_set: props.x_kubernetes_list_type.take().as_deref() == Some("set"),
            ..Self::default()
        };
        node.take_bounds(&mut props, format.as_deref());
        if let Some(pattern) = props.pattern.take() {
            match Regex::new(&pattern) {
                Ok(regex) => node.pattern = Some(regex),
                Err(fault) => unknown.push(format!("{path}: pattern {pattern}: {fault}")),
            }
        }
        for rule in props.x_kubernetes_validations.take().into_iter().flatten() {
            match CelRule::parse(&rule.rule) {
                Some(known) => node.rules.push((known, rule.message.unwrap_or(rule.rule))),
                None => unknown.push(format!("{path}: rule {}", rule.rule)),
            }
        }
        for (name, field) in props.properties.take().into_iter().flatten() {
            let of = Self::of(field, &below(path, &name), unknown);
            node.fields.insert(name, of);
        }
        let items = match props.items.take() {
            Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
            _ => None,
        };
        let values = match props.additional_properties.take() {
            Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
            _ => None,
        };
        node.inner = items.or(values).map(|inner| Box::new(Self::of(*inner, &format!("{path}[]"), unknown)));
        if props != JSONSchemaProps::default() {
            unknown.push(format!("{path}: {props:?}"));
        }
        node
    }

    fn take_bounds(&mut self, props: &mut JSONSchemaProps, format: Option<&str>) {
        #[allow(clippy::cast_possible_truncation, reason = "bounds of ours are whole numbers")]
        let whole = |number: f64| number as i64;
        let lengths = [props.min_length.take(), props.min_items.take(), props.min_properties.take()];
        self.least = lengths.into_iter().flatten().next().or(props.minimum.take().map(whole));
        let lengths = [props.max_length.take(), props.max_items.take(), props.max_properties.take()];
        self.most = lengths.into_iter().flatten().next().or(props.maximum.take().map(whole));
        if format == Some("int32") {
            self.least = self.least.or(Some(i32::MIN.into()));
            self.most = self.most.or(Some(i32::MAX.into()));
        }
    }

    /// Puts defaults in the place of what is absent; null is absent where it may be.
    fn fill(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (name, field) in &self.fields {
                    let dropped =
                        map.get(name).is_some_and(Value::is_null) && (field.nullable || field.default.is_some());
                    if dropped {
                        map.remove(name);
                    }
                    if let Some(default) = field.default.as_ref().filter(|_| !map.contains_key(name)) {
                        map.insert(name.clone(), default.clone());
                    }
                    if let Some(value) = map.get_mut(name) {
                        field.fill(value);
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.inner.iter().for_each(|inner| inner.fill(item));
                }
            }
            _ => {}
        }
    }
}

struct Check<'a> {
    kind: &'a str,
    faults: &'a mut Vec<FieldFault>,
}

impl Check<'_> {
    fn fault(&mut self, path: &str, seen: &Value, wrong: impl Into<String>) {
        let seen = if seen.is_object() { String::new() } else { shown(seen) };
        self.push(FieldFault { field: path.to_owned(), seen, wrong: wrong.into() });
    }

    fn push(&mut self, fault: FieldFault) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    fn node(&mut self, node: &Node, value: &Value, path: &str) {
        let before = self.faults.len();
        match (node.kind, value) {
            (NodeKind::Object, Value::Object(map)) => self.map(node, map, path),
            (NodeKind::Text, Value::String(text)) => self.text(node, text, path),
            (NodeKind::Integer, Value::Number(number)) if number.is_i64() => {
                let number = number.as_i64().unwrap_or_default();
                self.bounds(node, number, "", path, value);
            }
            (NodeKind::Flag, Value::Bool(_)) => {}
            (NodeKind::List, Value::Array(items)) => self.list(node, items, path, value),
            _ => return self.fault(path, value, format!("write {}", node.kind.word())),
        }
        if let Some(values) = node.one_of.as_ref().filter(|values| !values.contains(value)) {
            let known: Vec<_> = values.iter().filter(|value| !value.is_null()).map(shown).collect();
            self.fault(path, value, format!("write one of {}", known.join(", ")));
        }
        // As the API server does: a rule is about values of the right form.
        if self.faults.len() == before {
            for (_, message) in node.rules.iter().filter(|(rule, _)| !rule.holds(value)) {
                self.fault(path, value, message.clone());
            }
        }
    }

    fn map(&mut self, node: &Node, map: &Map<String, Value>, path: &str) {
        for name in node.required.iter().filter(|name| !map.contains_key(*name)) {
            let (field, wrong) = (below(path, name), "is missing: it must be there".to_owned());
            self.push(FieldFault { field, seen: String::new(), wrong });
        }
        if node.fields.is_empty() && node.inner.is_none() {
            return;
        }
        if let Some(inner) = node.inner.as_deref() {
            let count = i64::try_from(map.len()).unwrap_or(i64::MAX);
            self.bounds(node, count, "entries", path, &Value::Object(Map::new()));
            for (name, value) in map {
                self.node(inner, value, &below(path, name));
            }
            return;
        }
        for (name, value) in map {
            let path = below(path, name);
            if let Some(field) = node.fields.get(name) {
                self.node(field, value, &path);
            } else {
                let known: Vec<_> = node.fields.keys().map(String::as_str).collect();
                let wrong = format!("a {} has no such field there; there are {}", self.kind, known.join(", "));
                self.fault(&path, value, wrong);
            }
        }
    }

    fn text(&mut self, node: &Node, text: &str, path: &str) {
        let value = Value::from(text);
        let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        self.bounds(node, count, "characters", path, &value);
        if let Some(pattern) = node.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            let wrong = if pattern.as_str().starts_with("^([0-9]{1,5}h)?") {
                "write a duration such as 30s, 10m, 6h or 1h30m".to_owned()
            } else if node.is_time {
                "write a time such as 2026-01-02T15:04:05Z".to_owned()
            } else {
                format!("it must match {pattern}")
            };
            return self.fault(path, &value, wrong);
        }
        if node.is_time && text.parse::<Timestamp>().is_err() {
            self.fault(path, &value, "write a time such as 2026-01-02T15:04:05Z");
        }
    }

    fn list(&mut self, node: &Node, items: &[Value], path: &str, value: &Value) {
        let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
        self.bounds(node, count, "items", path, value);
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if node.is_set && items[..index].contains(item) {
                self.fault(&path, item, "it is there twice");
            }
            node.inner.iter().for_each(|inner| self.node(inner, item, &path));
        }
    }

    fn bounds(&mut self, node: &Node, number: i64, of: &str, path: &str, value: &Value) {
        let of = if of.is_empty() { String::new() } else { format!(" {of}") };
        if let Some(least) = node.least.filter(|least| number < *least) {
            self.fault(path, value, format!("at least {least}{of}"));
        }
        if let Some(most) = node.most.filter(|most| number > *most) {
            let seen = if of.is_empty() { String::new() } else { format!(", not {number}") };
            self.fault(path, value, format!("at most {most}{of}{seen}"));
        }
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A value as JSON, cut.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
