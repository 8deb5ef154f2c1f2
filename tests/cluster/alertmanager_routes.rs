//! What a real Alertmanager makes of alerts by its own configuration: how it groups them, how many it tells of, which ones it holds back.

use rstest::rstest;
use serde_json::{Value, json};

use super::alertmanager_polls::polls;
use super::alertmanager_scene::Scene;
use super::policies::PolicyOf;
use super::wait::eventually;
use super::world::facts;

/// `route` and `webhook`: further fields of the one route, and of its webhook. `rest`: further parts of the configuration.
fn config(url: &str, route: &str, webhook: &str, rest: &str) -> String {
    format!(
        "global: {{resolve_timeout: 1h}}\n\
         route: {{receiver: stormfold, group_wait: 1s, group_interval: 1s, repeat_interval: 4h, {route}}}\n\
         receivers: [{{name: stormfold, webhook_configs: [{{url: '{url}', send_resolved: true{webhook}}}]}}]\n\
         {rest}\n"
    )
}

impl Scene {
    fn pods(&self, count: usize) -> Vec<Value> {
        let zone = |n: usize| ["east", "west"][n % 2];
        (0..count)
            .map(|n| self.alert("HighLoad", &json!({ "pod": format!("web-{n}"), "zone": zone(n) }), false))
            .collect()
    }

    /// The requests: pattern, alerts, and how many of them fire.
    async fn requests(&self) -> Vec<(String, i64, i64)> {
        let storms = self.world.storms().await;
        let mut shown: Vec<_> = storms
            .iter()
            .filter_map(|object| {
                facts(object).map(|storm| (object.spec.pattern.clone(), storm.alert_count, storm.firing_count))
            })
            .collect();
        shown.sort();
        shown
    }

    async fn shows(&self, expected: &[(&str, i64, i64)]) {
        let expected: Vec<_> =
            expected.iter().map(|(pattern, alerts, firing)| ((*pattern).to_owned(), *alerts, *firing)).collect();
        eventually("the requests are as expected", || async {
            let shown = self.requests().await;
            if shown == expected { Ok(()) } else { Err(format!("{shown:?}")) }
        })
        .await;
    }
}

// However Alertmanager groups them, the requests are by the policy.
#[rstest]
#[case::each_alone("alone", "group_by: ['...']")]
#[case::by_name("by-name", "group_by: [alertname]")]
#[case::all_together("together", "group_by: []")]
#[tokio::test]
async fn the_requests_do_not_depend_on_how_alertmanager_groups(#[case] test: &str, #[case] route: &str) {
    let scene = Scene::new(&format!("routes-{test}"), |url| config(url, route, "", "")).await;
    let _policy = PolicyOf::create(&scene.world, json!({ "groupBy": ["name", "label:zone"] })).await;
    let _operator = scene.operator(&[]).await;
    scene.manager.raise(&scene.pods(6)).await;
    let anywhere = |zone: &str| format!("HighLoad (any namespace) {{zone=\"{zone}\"}}");
    let (east, west) = (anywhere("east"), anywhere("west"));
    scene.shows(&[(&east, 3, 3), (&west, 3, 3)]).await;
}

// D4: what `max_alerts` leaves out is told by nobody, and the request says that it is not all; asked, Alertmanager tells the rest.
#[tokio::test]
async fn what_max_alerts_leaves_out_makes_a_storm_incomplete_and_is_found_by_asking() {
    let scene = Scene::new("max-alerts", |url| config(url, "group_by: [alertname]", ", max_alerts: 4", "")).await;
    let operator = scene.operator(&[]).await;
    scene.manager.raise(&scene.pods(7)).await;
    let object = scene.world.one_storm("four of seven", |storm| storm.alert_count == 4 && storm.incomplete).await;
    operator.sigkill();
    let url = format!("--alertmanager-url=http://{}", scene.manager.address());
    let _operator = scene.operator(&[&url, "--alertmanager-interval=200ms"]).await;
    scene.world.storm_named(&object, |storm| storm.alert_count == 7 && storm.firing_count == 7).await;
}

// D5: what another alert inhibits is nobody's trouble while that fires, whether told by webhooks or asked for.
#[tokio::test]
async fn what_is_inhibited_opens_nothing_until_it_is_not() {
    let inhibit =
        "inhibit_rules: [{source_matchers: [alertname=NodeDown], target_matchers: [alertname=PodDown], equal: [node]}]";
    let scene = Scene::new("inhibited", |url| config(url, "group_by: [alertname]", "", inhibit)).await;
    let url = format!("--alertmanager-url=http://{}", scene.manager.address());
    let operator = scene.operator(&[&url, "--alertmanager-interval=200ms"]).await;
    let node = |over| scene.alert("NodeDown", &json!({ "node": "n1" }), over);
    let pod = scene.alert("PodDown", &json!({ "node": "n1", "pod": "web-0" }), false);
    scene.manager.raise(&[node(false)]).await;
    let (down, lost) = ("NodeDown (cluster-scoped)", format!("PodDown in {}", scene.world.namespace));
    scene.shows(&[(down, 1, 1)]).await;
    // Alertmanager knows what inhibits before it hears of what is inhibited: of both at once it may tell either.
    scene.manager.raise(&[pod]).await;
    polls(&operator, "Done", 4.0).await;
    scene.shows(&[(down, 1, 1)]).await;
    scene.manager.raise(&[node(true)]).await;
    scene.shows(&[(down, 1, 0), (&lost, 1, 1)]).await;
}
