//! Each answer of the list, and that there is no other.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rstest::rstest;
use serde_json::json;
use stormfold::metrics::{SourceLabel, SourceLabels};
use stormfold::sources::Limits;
use stormfold::sources::http::SecuritySettings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::world::{World, body, exchange, settings};

const PATH: &str = "POST /webhook/alertmanager";
const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn stored_is_answered_with_200_and_a_result_for_each_alert() {
    let world = World::simple().await;
    let mut body = body(&["prod", "web"]);
    body["alerts"][1]["labels"]["alertname"] = json!("");
    let text = body.to_string();
    let answer = world.post(text.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("content-type: application/json\r\n"), "{}", answer.head);
    let results: Vec<_> =
        answer.body["alerts"].as_array().unwrap().iter().map(|alert| alert["result"].clone()).collect();
    assert_eq!(results, ["accepted", "rejected"]);
    assert!(answer.body["alerts"][1]["why"].as_str().unwrap().contains("alertname"), "{answer:?}");
    // Again: nothing new is stored, and the answer says so.
    let again = world.post(text.as_bytes()).await;
    assert_eq!((again.status, &again.body["alerts"][0]["result"]), (200, &json!("duplicate")));
    assert_eq!(world.api_server.signals().len(), 1);
    let page = world.metrics.encode(jiff::Timestamp::UNIX_EPOCH).unwrap();
    for line in [
        "stormfold_gateway_requests_total{source=\"Alertmanager\",answer=\"Ok\"} 2",
        "stormfold_gateway_alerts_total{source=\"Alertmanager\",result=\"Accepted\"} 1",
        "stormfold_gateway_alerts_total{source=\"Alertmanager\",result=\"Duplicate\"} 1",
        "stormfold_gateway_alerts_total{source=\"Alertmanager\",result=\"Rejected\"} 2",
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
}

// E9: nothing is guessed; the alert counts, and a metric says that it names nothing.
#[tokio::test]
async fn an_alert_that_names_no_resource_is_stored_without_one_and_counted() {
    let world = World::simple().await;
    let mut body = body(&["prod"]);
    body["alerts"][0]["labels"] =
        json!({ "alertname": "Slow", "namespace": "prod", "job": "web", "service": "web", "instance": "10.0.0.1:80" });
    assert_eq!(world.post(body.to_string().as_bytes()).await.status, 200);
    let table = world.api_server.signals()[0].spec.table.clone().unwrap();
    assert!(table.starts_with("firing 2026-11-24T10:00:00Z 1-") && table.ends_with(" -\n"), "{table}");
    let labels = SourceLabels { source: SourceLabel::Alertmanager };
    assert_eq!(world.metrics.gateway.without_target.get_or_create(&labels).get(), 1);
}

#[rstest]
#[case(PATH, JSON, "{", 400, "not the JSON of a webhook of Alertmanager")]
#[case(PATH, JSON, r#"{"version":"3","alerts":[]}"#, 400, "version is")]
#[case("GET /webhook/alertmanager", "", "", 405, "POST only")]
#[case("DELETE /webhook/alertmanager", JSON, "", 405, "POST only")]
#[case(PATH, "", "{}", 415, "application/json")]
#[case(PATH, "Content-Type: text/plain\r\n", "{}", 415, "application/json")]
#[case(PATH, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", "{}", 415, "encoded")]
#[case("POST /webhook", JSON, "{}", 404, "nothing else here")]
#[tokio::test]
async fn what_is_no_webhook_is_told_why(
    #[case] line: &str,
    #[case] headers: &str,
    #[case] body: &str,
    #[case] status: u16,
    #[case] says: &str,
) {
    let world = World::simple().await;
    let answer = world.request(line, headers, body.as_bytes()).await;
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
    assert_eq!(answer.body["status"], json!(status));
    assert!(answer.body["detail"].as_str().unwrap().contains(says), "{answer:?}");
    assert_eq!(world.api_server.calls(), 0);
}

#[tokio::test]
async fn a_body_that_says_that_it_is_not_encoded_is_read() {
    let world = World::simple().await;
    let headers = format!("{JSON}Content-Encoding: Identity\r\n");
    let answer = world.request(PATH, &headers, body(&["prod"]).to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

// What fires by design is in no Signal, and the answer and a metric say so.
#[tokio::test]
async fn an_alert_that_a_rule_drops_is_told_and_counted() {
    let world = World::simple().await;
    let mut body = body(&["prod", "prod", "prod"]);
    body["alerts"][1]["labels"]["alertname"] = json!("Watchdog");
    body["alerts"][2]["labels"]["alertname"] = json!("InfoInhibitor");
    let answer = world.post(body.to_string().as_bytes()).await;
    let results = |field: &str| {
        answer.body["alerts"].as_array().unwrap().iter().map(|alert| alert[field].clone()).collect::<Vec<_>>()
    };
    assert_eq!((answer.status, results("result")), (200, vec![json!("accepted"), json!("dropped"), json!("dropped")]));
    assert!(results("why")[1].as_str().unwrap().contains("watchdog: it fires by design"), "{answer:?}");
    assert_eq!((answer.body["dropped"].clone(), world.api_server.signals().len()), (json!(2), 1));
    let page = world.metrics.encode(jiff::Timestamp::UNIX_EPOCH).unwrap();
    assert!(page.contains("stormfold_gateway_alerts_total{source=\"Alertmanager\",result=\"Dropped\"} 2"), "{page}");
}

#[tokio::test]
async fn a_body_over_the_bound_is_413_announced_or_not() {
    let world = World::simple().await;
    let long = vec![b' '; 64 * 1024 + 1];
    assert_eq!(world.post(&long).await.status, 413);
    let chunked = [b"10001\r\n", long.as_slice(), b"\r\n0\r\n\r\n"].concat();
    let stream = TcpStream::connect(world.address).await.unwrap();
    let answer = exchange(stream, PATH, &format!("Transfer-Encoding: chunked\r\n{JSON}"), &chunked).await.unwrap();
    assert_eq!(answer.status, 413, "{answer:?}");
    let many = format!(r#"{{"version":"4","alerts":[{}0]}}"#, "0,".repeat(30_000));
    let answer = world.post(many.as_bytes()).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    // A body at the bound is none of these.
    let mut text = body(&["prod"]).to_string();
    text.push_str(&" ".repeat(64 * 1024 - text.len()));
    assert_eq!(world.post(text.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn without_a_token_it_is_401_whatever_is_asked() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "secret\n").unwrap();
    let security = SecuritySettings { token_file: Some(file), ..SecuritySettings::default() };
    let world = World::new(stormfold::sources::GatewaySettings { security, ..settings() }, &[]).await;
    let text = body(&["prod"]).to_string();
    for (line, headers) in [(PATH, ""), (PATH, "Authorization: Bearer wrong\r\n"), ("GET /webhook/alertmanager", "")] {
        let answer = world.request(line, &format!("{JSON}{headers}"), text.as_bytes()).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
    }
    let answer = world.request(PATH, &format!("{JSON}Authorization: Bearer secret\r\n"), text.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

// E1: to be sent again, whatever the API server says or does not say; E2: a refusal for good loses nothing either.
// A 200 is of something else that answers in the API server's place, such as the page of a proxy: a create is 201.
#[rstest]
#[case(200)]
#[case(409)]
#[case(500)]
#[case(503)]
#[case(429)]
#[case(401)]
#[case(422)]
#[tokio::test]
async fn what_is_not_stored_is_503_with_retry_after(#[case] code: u16) {
    let world = World::simple().await;
    world.api_server.set(|server| server.broken = Some(code));
    let text = body(&["prod", "web"]).to_string();
    let answer = world.post(text.as_bytes()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("2 of 2 Signals are not stored"), "{detail}");
    // An admission webhook may have quoted an alert in it.
    assert!(detail.len() < 1_000 && !detail.contains(char::is_control), "{detail}");
    world.api_server.set(|server| server.broken = None);
    assert_eq!(world.post(text.as_bytes()).await.body["accepted"], json!(2));
}

#[tokio::test]
async fn a_silent_api_server_is_503_in_time_and_one_that_answers_again_is_200() {
    let limits = Limits { timeout: Duration::from_millis(300), ..settings().limits };
    let world = World::new(stormfold::sources::GatewaySettings { limits, ..settings() }, &[]).await;
    world.api_server.set(|server| server.silent = true);
    let text = body(&["prod"]).to_string();
    let answer = world.post(text.as_bytes()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    world.api_server.set(|server| server.silent = false);
    assert_eq!(world.post(text.as_bytes()).await.status, 200);
}

// More Signals than can be created in the time of a request: each repeat goes on where the time was over.
#[tokio::test]
async fn a_body_that_takes_longer_than_its_time_is_stored_in_the_end() {
    let limits = Limits { timeout: Duration::from_secs(1), ..settings().limits };
    let world = World::new(stormfold::sources::GatewaySettings { limits, ..settings() }, &[]).await;
    // Eight at once: at most 160 in a second.
    world.api_server.set(|server| server.slow = Duration::from_millis(50));
    let namespaces: Vec<_> = (0..240).map(|n| format!("web-{n}")).collect();
    let text = body(&namespaces.iter().map(String::as_str).collect::<Vec<_>>()).to_string();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(world.post(text.as_bytes()).await.status);
    }
    assert_eq!((statuses[0], statuses[3]), (503, 200), "{statuses:?}");
    assert_eq!(world.api_server.signals().len(), 240);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_503_in_time() {
    let limits = Limits { timeout: Duration::from_millis(300), ..settings().limits };
    let world = World::new(stormfold::sources::GatewaySettings { limits, ..settings() }, &[]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = format!("{PATH} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Length: 100\r\n{JSON}\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

// Whatever broke it off, perhaps a proxy: a repeat mends it, and Alertmanager would drop the alerts of a 400.
#[tokio::test]
async fn a_body_that_breaks_off_is_503() {
    let world = World::simple().await;
    for head in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let head = format!("{PATH} HTTP/1.1\r\nHost: gateway\r\n{head}{JSON}\r\n1\r\n{{\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    let answer = exchange(
        TcpStream::connect(world.address).await.unwrap(),
        PATH,
        &format!("Transfer-Encoding: chunked\r\n{JSON}"),
        b"zz\r\n",
    )
    .await;
    assert_eq!(answer.unwrap().status, 503);
}

// Memory has a bound: who finds no room waits, and who finds no place to wait is told to come back.
#[tokio::test]
async fn too_many_at_once_are_told_to_come_back_and_none_is_lost() {
    let world = World::simple().await;
    world.api_server.set(|server| server.silent = true);
    // As large as bodies may be: four of them are all the room there is.
    let mut text = body(&["prod"]).to_string();
    text.push_str(&" ".repeat(64 * 1024 - text.len()));
    let held: Vec<_> = (0..4 + 64 + 8)
        .map(|_| {
            let (address, text) = (world.address, text.clone());
            tokio::spawn(async move {
                let headers = format!("Content-Length: {}\r\n{JSON}", text.len());
                exchange(TcpStream::connect(address).await.unwrap(), PATH, &headers, text.as_bytes()).await.unwrap()
            })
        })
        .collect();
    let mut statuses: Vec<u16> =
        futures::future::join_all(held).await.into_iter().map(|answer| answer.unwrap().status).collect();
    statuses.dedup();
    assert_eq!(statuses, [503], "all of them, eight at once and the others in time");
    world.api_server.set(|server| server.silent = false);
    assert_eq!(world.post(text.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn what_is_being_answered_at_the_end_is_answered() {
    let world = World::simple().await;
    let server = world.api_server.clone();
    server.set(|server| server.silent = true);
    let text = body(&["prod"]).to_string();
    let (address, headers) = (world.address, format!("Content-Length: {}\r\n{JSON}", text.len()));
    let answer = tokio::spawn(async move {
        exchange(TcpStream::connect(address).await.unwrap(), PATH, &headers, text.as_bytes()).await
    });
    while server.calls() == 0 {
        tokio::task::yield_now().await;
    }
    let end = tokio::spawn(world.end());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.set(|server| server.silent = false);
    assert_eq!(answer.await.unwrap().unwrap().status, 200);
    end.await.unwrap();
}

/// What may come: noise, webhooks, and webhooks with noise in them.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let webhook = body(&["prod", "", "Not_One"]).to_string().into_bytes();
    let damaged =
        (prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5), any::<prop::sample::Index>())
            .prop_map(move |(hits, end)| {
                let mut bytes = webhook.clone();
                for (index, byte) in hits {
                    let index = index.index(bytes.len());
                    bytes[index] = byte;
                }
                bytes.truncate(end.index(bytes.len()) + 1);
                bytes
            });
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "\"version\":\"4\"",
        "\"alerts\":",
        ",",
        "\"\\ud800\"",
        "null",
        "1e999",
        "{}",
    ]);
    let soup = prop::collection::vec(pieces, 0..30).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![prop::collection::vec(any::<u8>(), 0..300), soup, damaged]
}

#[test]
fn every_byte_sequence_gives_an_answer_of_the_list() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::simple());
    TestRunner::default()
        .run(&bodies(), |bytes| {
            let answer = runtime.block_on(world.post(&bytes));
            prop_assert!([200, 400, 413].contains(&answer.status), "{:?}", answer);
            prop_assert!(answer.body.is_object(), "{:?}", answer);
            Ok(())
        })
        .unwrap();
}
