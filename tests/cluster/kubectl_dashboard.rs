//! The page of `kubectl storm dashboard`, as a browser asks for it: what it shows, and whom it answers. `hack/dashboard/look` opens it in a real one.

use std::io::{BufRead, BufReader};
use std::process::Child;

use kube::ResourceExt;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::exchange;
use super::kubectl_plugin::{May, Plugin};
use super::operator::Operator;
use super::signals::table;
use super::world::World;

/// Dropped, it is ended.
struct Dashboard {
    child: Child,
    address: String,
    path: String,
}

impl Dashboard {
    fn start(plugin: &Plugin) -> Self {
        let mut child = plugin.start(&["dashboard"]);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (address, path) = line.trim().strip_prefix("http://").and_then(|url| url.split_once('/')).expect("a URL");
        Self { child, address: address.to_owned(), path: format!("/{path}") }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        exchange(&self.address, &format!("GET {path}"), "", b"").await.expect("an answer")
    }

    /// The stream of changes, from its beginning.
    async fn changes(&self) -> tokio::io::Lines<tokio::io::BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("GET {}changes HTTP/1.1\r\nHost: {}\r\n\r\n", self.path, self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        tokio::io::BufReader::new(stream).lines()
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn next(changes: &mut tokio::io::Lines<tokio::io::BufReader<TcpStream>>) -> Value {
    while let Some(line) = changes.next_line().await.unwrap() {
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
    panic!("the stream ended");
}

#[tokio::test]
async fn the_dashboard_tells_every_storm_and_then_what_changes() {
    let world = World::new("dashboard").await;
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&table("two", "First", 0..2)).await;
    let object = world.one_storm("two", |storm| storm.alert_count == 2).await;
    let dashboard = Dashboard::start(&Plugin::of(&world, May::LookHere).await);
    let mut changes = dashboard.changes().await;
    let first = next(&mut changes).await;
    let key = format!("{}/{}", world.namespace, object.name_any());
    assert_eq!((&first["all"], &first["storms"][0]["key"]), (&Value::from(true), &Value::from(key)), "{first:#}");
    assert_eq!(first["storms"][0]["alerts"], 2);
    world.create(&table("more", "First", 2..5)).await;
    loop {
        let change = next(&mut changes).await;
        assert_eq!(change["all"], false, "{change:#}");
        if change["storms"][0]["alerts"] == 5 {
            break;
        }
    }
    world.requests().delete(&object.name_any(), &kube::api::DeleteParams::default()).await.unwrap();
    while next(&mut changes).await["gone"] != serde_json::json!([first["storms"][0]["key"]]) {}
}

#[tokio::test]
async fn the_dashboard_answers_nobody_who_does_not_know_its_address() {
    let world = World::new("dashboard-others").await;
    let dashboard = Dashboard::start(&Plugin::of(&world, May::LookHere).await);
    let (code, page) = dashboard.get(&dashboard.path).await;
    assert!(code == 200 && page.contains("<title>Storms</title>"), "{code} {page}");
    for file in ["page.css", "page.js"] {
        assert_eq!(dashboard.get(&format!("{}{file}", dashboard.path)).await.0, 200);
    }
    for path in ["/", "/page.js", "/00000000000000000000000000000000/changes"] {
        assert_eq!(dashboard.get(path).await.0, 404, "{path}");
    }
    // A web site whose name leads to the loopback by now.
    let mut stream = TcpStream::connect(&dashboard.address).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", dashboard.path);
    stream.write_all(request.as_bytes()).await.unwrap();
    let first = tokio::io::BufReader::new(stream).lines().next_line().await.unwrap().unwrap();
    assert!(first.contains(" 421 "), "{first}");
}

#[tokio::test]
async fn a_dashboard_without_the_right_to_look_says_which_one_is_missing() {
    let world = World::new("dashboard-nothing").await;
    let answer = Plugin::of(&world, May::Nothing).await.ask(&["dashboard"]);
    assert!(answer.code == Some(3) && answer.err.contains("remediationrequests.stormfold.dev"), "{answer:?}");
}
