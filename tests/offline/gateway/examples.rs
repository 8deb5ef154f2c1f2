//! The examples for Alertmanager; `amtool` reads the one for the file, in the cluster tests.

use serde_json::Value;

const FILE: &str = include_str!("../../../manifests/alertmanager/alertmanager.yml");
const OBJECTS: &str = include_str!("../../../manifests/alertmanager/alertmanagerconfig.yaml");
/// What the component adds to the Service that it names.
const SERVICE: &str = include_str!("../../../manifests/components/gateway/service.yaml");

fn objects(kind: &str) -> Value {
    let documents = OBJECTS.split("\n---\n").map(|document| serde_saphyr::from_str::<Value>(document).unwrap());
    documents.into_iter().find(|object| object["kind"] == kind).unwrap()
}

/// What the Prometheus operator calls this field of Alertmanager's.
fn camel(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

#[test]
fn the_example_for_the_prometheus_operator_says_what_the_one_for_the_file_says() {
    let file: Value = serde_saphyr::from_str(FILE).unwrap();
    let spec = objects("AlertmanagerConfig")["spec"].clone();
    for field in ["group_by", "group_wait", "group_interval", "repeat_interval"] {
        assert_eq!(file["route"][field], spec["route"][camel(field)], "{field}");
    }
    let left_out = "Watchdog|InfoInhibitor";
    assert!(file["route"]["routes"][0]["matchers"][0].as_str().unwrap().contains(left_out));
    assert_eq!(
        (&spec["route"]["matchers"][0]["matchType"], &spec["route"]["matchers"][0]["value"]),
        (&"!~".into(), &left_out.into())
    );
    let receivers = file["receivers"].as_array().unwrap();
    let webhook = &receivers.iter().find(|receiver| receiver["name"] == "stormfold").unwrap()["webhook_configs"][0];
    let other = &spec["receivers"][0]["webhookConfigs"][0];
    for field in ["url", "send_resolved", "max_alerts"] {
        assert!(!webhook[field].is_null());
        assert_eq!(webhook[field], other[camel(field)], "{field}");
    }
    let service: Value = serde_saphyr::from_str(SERVICE).unwrap();
    let (name, namespace) = (&service["metadata"]["name"], &service["metadata"]["namespace"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let url = format!(
        "https://{}.{}.svc:{}/webhook/alertmanager",
        text(name),
        text(namespace),
        service["spec"]["ports"][0]["port"]
    );
    assert_eq!(webhook["url"], Value::from(url));
}
