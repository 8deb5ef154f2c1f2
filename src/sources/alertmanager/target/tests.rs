use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::storm::Reach;
use crate::storm::resource::{extract_resource_name, is_dns_label};

fn labels(text: &str) -> LabelPairs<'_> {
    text.split_whitespace().map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
}

/// The namespace, empty for none, and the text of the resource.
fn read(text: &str) -> (String, String) {
    let text = format!("alertname=A {text}");
    let labels = labels(&text);
    let rules = TargetRules::default().reaching(Reach::default().and("home"));
    let about = rules.about(&labels, &mut SignMemo::default()).unwrap();
    let resource = about.target.as_ref().and_then(|target| target.resource(about.namespace));
    let text = resource.map(|resource| extract_resource_name(&resource, about.namespace)).unwrap_or_default();
    (about.namespace.unwrap_or_default().to_owned(), text)
}

// The specific kind wins; E8: a Node has no namespace unless the alert is about one.
#[rstest]
#[case("namespace=prod pod=web-0 node=n1 deployment=web", "prod", "Pod/web-0")]
#[case("namespace=prod deployment=web replicaset=web-1", "prod", "Deployment/web")]
#[case("namespace=prod statefulset=db", "prod", "StatefulSet/db")]
#[case("namespace=prod daemonset=log", "prod", "DaemonSet/log")]
#[case("namespace=prod job_name=backup job=kube-state-metrics", "prod", "Job/backup")]
#[case("namespace=prod cronjob=backup", "prod", "CronJob/backup")]
#[case("namespace=prod horizontalpodautoscaler=web", "prod", "HorizontalPodAutoscaler/web")]
#[case("namespace=prod hpa=web", "prod", "HorizontalPodAutoscaler/web")]
#[case("namespace=prod poddisruptionbudget=web", "prod", "PodDisruptionBudget/web")]
#[case("namespace=prod persistentvolumeclaim=data node=n1", "prod", "PersistentVolumeClaim/data")]
#[case("namespace=prod replicaset=web-1 node=n1", "prod", "ReplicaSet/web-1")]
#[case("namespace=prod exported_service=web", "prod", "Service/web")]
#[case("node=n1", "", "Node/n1")]
#[case("namespace=prod node=n1", "prod", "")] // invariant 22
#[case("namespace=home node=n1", "home", "Node/n1")]
#[case("exported_namespace=prod pod=web-0", "prod", "")] // the pod is that of who reports
#[case("namespace=a exported_namespace=b pod=web-0", "b", "")]
#[case("namespace=prod pod=", "prod", "")]
#[case("namespace=Not_One exported_namespace=prod", "prod", "")]
#[case("pod=web-0", "", "/Pod/web-0")]
#[case("namespace=prod pod=a/b node=n1", "prod", "")]
#[case("namespace=prod pod=web-0,web-1", "prod", "")]
#[case("namespace=prod deployment=負荷", "prod", "")]
fn the_specific_kind_wins(#[case] text: &str, #[case] namespace: &str, #[case] resource: &str) {
    let (read_namespace, read_resource) = read(text);
    // A Pod of no known namespace is told as it is.
    let read_resource =
        if namespace.is_empty() && resource.starts_with('/') { format!("/{read_resource}") } else { read_resource };
    assert_eq!((read_namespace.as_str(), read_resource.as_str()), (namespace, resource));
}

// E6: who was scraped is never what is broken; E9: nothing is guessed.
#[rstest]
#[case("namespace=prod job=web instance=10.0.0.1:9100 service=web endpoint=http container=c prometheus=p/k")]
#[case("namespace=prod job=deployment service=pod")]
#[case("namespace=prod")]
fn labels_of_the_scraping_side_are_never_the_target(#[case] text: &str) {
    assert_eq!(read(text), ("prod".to_owned(), String::new()));
}

// E5: kube-state-metrics with and without honorLabels, and node-exporter.
#[rstest]
#[case("job=kube-state-metrics namespace=prod pod=kube-state-metrics-7d-x deployment=web", "prod", "Deployment/web")]
#[case("job=kube-state-metrics namespace=prod pod=ksm-0 deployment=web", "prod", "Deployment/web")]
#[case("job=kube-state-metrics namespace=prod pod=web-0 node=n1 uid=1", "prod", "Pod/web-0")]
#[case(
    "job=kube-state-metrics namespace=monitoring exported_namespace=prod pod=ksm-0 exported_pod=web-0",
    "prod",
    "Pod/web-0"
)]
#[case(
    "job=kube-state-metrics namespace=monitoring exported_namespace=prod pod=ksm-0 deployment=web",
    "prod",
    "Deployment/web"
)]
#[case("job=kube-state-metrics namespace=monitoring pod=kube-state-metrics-0 node=n1", "", "Node/n1")]
#[case("namespace=monitoring pod=kube-state-metrics-0 node=n1", "", "Node/n1")]
#[case(
    "namespace=monitoring pod=kube-state-metrics-0 container=kube-state-metrics",
    "monitoring",
    "Pod/kube-state-metrics-0"
)]
#[case("job=node-exporter namespace=monitoring pod=node-exporter-x instance=10.0.0.1:9100", "", "")]
#[case("job=node-exporter namespace=monitoring pod=node-exporter-x node=n1", "", "Node/n1")]
#[case("job=kubelet namespace=kube-system node=n1 metrics_path=/metrics", "", "Node/n1")]
#[case("job=kubelet namespace=prod pod=web-0 container=web node=n1", "prod", "Pod/web-0")]
#[case("job=kubelet namespace=prod persistentvolumeclaim=data node=n1", "prod", "PersistentVolumeClaim/data")]
fn an_exporters_alerts_name_the_object_and_not_the_exporter(
    #[case] text: &str,
    #[case] namespace: &str,
    #[case] resource: &str,
) {
    assert_eq!(read(text), (namespace.to_owned(), resource.to_owned()));
}

#[rstest]
#[case("east", Some("east"))]
#[case("arn:aws:eks/prod", Some("arn:aws:eks/prod"))]
#[case("prod east!", Some("prod-east"))]
#[case("温度", None)]
fn a_cluster_is_what_the_schema_allows(#[case] label: &str, #[case] kept: Option<&str>) {
    assert_eq!(cluster(label).as_deref(), kept);
}

#[test]
fn an_alert_without_a_name_is_none() {
    for text in ["severity=page", "alertname=", "alertname=\u{7}"] {
        assert_eq!(TargetRules::default().about(&labels(text), &mut SignMemo::default()), None, "{text}");
    }
}

proptest! {
    // E13: names of any length and script give a resource, or none, whose text can be read again.
    #[test]
    fn any_labels_give_a_valid_place_and_a_valid_resource(
        labels in prop::collection::vec((prop::sample::select(vec![
            "alertname", "namespace", "exported_namespace", "pod", "exported_pod", "node", "job", "deployment", "cluster", "severity",
        ]), "\\PC{0,300}|(?s:.){0,30}|[a-z]{1,9}"), 0..8),
    ) {
        let labels: LabelPairs<'_> = labels.iter().map(|(k, v)| ((*k).into(), v.as_str().into())).collect();
        let rules = TargetRules::default();
        if let Some(about) = rules.about(&labels, &mut SignMemo::default()) {
            prop_assert!(!about.name.is_empty() && about.name.chars().count() <= 200);
            prop_assert!(about.namespace.is_none_or(is_dns_label));
            prop_assert!(about.cluster.is_none_or(|c| c.len() <= 100 && c.is_ascii()));
            if let Some(target) = &about.target {
                let resource = target.resource(about.namespace).expect("a valid resource");
                let text = extract_resource_name(&resource, about.namespace);
                prop_assert_eq!(crate::storm::resource::parse_resource_name(&text, about.namespace), Ok(resource));
            }
        }
    }
}
