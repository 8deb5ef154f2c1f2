//! One object that cannot be read is one object that cannot be read: not the end of its list.
//!
//! kube has such a guard, too; it goes through a tree of values that it clones, which cost more than all the rest of reading a
//! large Signal. This one keeps the object's text until it is read.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An object, or what can be said of one that is no `K`.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Unreadable>);

/// An object that is not what its schema should have let in.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Which object.
    pub metadata: ObjectMeta,
    /// Its status, as it is.
    pub status: serde_json::Value,
    /// What is wrong with it.
    pub fault: String,
}

#[derive(Deserialize)]
struct ObjectOutline {
    metadata: ObjectMeta,
    #[serde(default)]
    status: serde_json::Value,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        serde_json::from_str(text.get()).map(|object| Self(Ok(object))).or_else(|fault| {
            let ObjectOutline { metadata, status } = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
            Ok(Self(Err(Unreadable { metadata, status, fault: fault.to_string() })))
        })
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(unreadable) => &unreadable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(unreadable) => &mut unreadable.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use kube::core::{ObjectList, WatchEvent};

    use super::*;

    const GOOD: &str = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"good"},"data":{"a":"b"}}"#;
    const BAD: &str = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bad"},"data":7}"#;

    // B8, invariant 11: in a list and in a watch.
    #[test]
    fn one_unreadable_object_leaves_the_others_of_its_list_readable() {
        let list = format!(r#"{{"apiVersion":"v1","kind":"ConfigMapList","metadata":{{}},"items":[{BAD},{GOOD}]}}"#);
        let list: ObjectList<Guarded<ConfigMap>> = serde_json::from_str(&list).unwrap();
        let readable: Vec<_> = list.items.iter().map(|guarded| (guarded.name_any(), guarded.0.is_ok())).collect();
        assert_eq!(readable, [("bad".to_owned(), false), ("good".to_owned(), true)]);
        let event = format!(r#"{{"type":"ADDED","object":{BAD}}}"#);
        let event: WatchEvent<Guarded<ConfigMap>> = serde_json::from_str(&event).unwrap();
        let WatchEvent::Added(Guarded(Err(unreadable))) = event else { panic!("added and unreadable") };
        assert_eq!(unreadable.metadata.name.as_deref(), Some("bad"));
        assert!(unreadable.fault.contains("invalid type: integer `7`"), "{}", unreadable.fault);
    }

    #[test]
    fn what_has_no_metadata_is_no_object() {
        assert!(serde_json::from_str::<Guarded<ConfigMap>>(r#"{"data":7}"#).is_err());
    }
}
