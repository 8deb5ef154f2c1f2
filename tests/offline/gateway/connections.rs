//! There are few connections: nobody keeps them from others.

use std::io::ErrorKind;
use std::time::Duration;

use stormfold::gateway::{GatewaySettings, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::world::{World, body, settings};

// Needs no token: answers that nobody reads hold a connection, and what is read of it has no time of its own.
#[tokio::test]
async fn who_asks_on_and_reads_no_answer_is_cut_off() {
    let world = World::simple().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let requests = "GET / HTTP/1.1\r\nHost: gateway\r\n\r\n".repeat(1_000);
    let mut asked = 0;
    while tokio::time::timeout(Duration::from_secs(1), stream.write_all(requests.as_bytes())).await.is_ok() {
        asked += requests.len();
        assert!(asked < 256 << 20, "answers are kept without a bound");
    }
    tokio::time::pause();
    // On the paused clock: as long as nothing happens, an hour is a moment.
    for _ in 0..3_600 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        match stream.try_write(b"G") {
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                tokio::time::resume();
                assert_eq!(world.post(body(&["prod"]).to_string().as_bytes()).await.status, 200);
                return;
            }
            _ => {}
        }
    }
    panic!("the connection is kept for an hour");
}

#[tokio::test]
async fn who_is_refused_is_told_so_however_slowly_the_rest_comes() {
    let limits = Limits { timeout: Duration::from_millis(600), ..settings().limits };
    let world = World::new(GatewaySettings { limits, ..settings() }, &[]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = "POST /webhook/alertmanager HTTP/1.1\r\nHost: gateway\r\nContent-Length: 100\r\nContent-Type: text/plain\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
}
