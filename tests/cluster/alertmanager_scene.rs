//! A real Alertmanager that sends to the gateway of an operator, which may be started again with other flags: the address stays.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::alertmanager::Alertmanager;
use super::operator::Operator;
use super::world::World;

/// See the module.
pub struct Scene {
    pub world: World,
    pub manager: Alertmanager,
    listen: String,
    begun: Timestamp,
}

impl Scene {
    /// `config` makes Alertmanager's configuration of the URL that it sends to.
    pub async fn new(test: &str, config: impl FnOnce(&str) -> String) -> Self {
        let world = World::new(test).await;
        let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let manager = Alertmanager::start(&config(&format!("http://{listen}/webhook/alertmanager"))).await;
        Self { world, manager, listen, begun: a_minute_ago() }
    }

    /// Starts the operator, with further flags.
    pub async fn operator(&self, also: &[&str]) -> Operator {
        let listen = format!("--gateway-listen={}", self.listen);
        let mut flags = vec![listen.as_str(), "--settle-delay=1s"];
        flags.extend(also);
        Operator::start(&[&self.world], &flags).await
    }

    /// An alert of this name with these further labels.
    pub fn alert(&self, name: &str, labels: &Value, over: bool) -> Value {
        alert(&self.world, name, labels, self.begun, over)
    }
}

/// When alerts begin: before everything here.
pub fn a_minute_ago() -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(1)
}

/// An alert of this world's namespace as Prometheus posts it.
pub fn alert(world: &World, name: &str, labels: &Value, begun: Timestamp, over: bool) -> Value {
    let mut all = json!({ "alertname": name, "namespace": world.namespace, "severity": "critical" });
    all.as_object_mut().unwrap().extend(labels.as_object().unwrap().clone());
    let mut alert = json!({ "labels": all, "annotations": { "summary": "it burns" }, "startsAt": begun.to_string() });
    if over {
        alert["endsAt"] = Timestamp::now().to_string().into();
    }
    alert
}
