//! There are few connections: nobody keeps them from others.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rstest::rstest;
use stormfold::sources::http::SecuritySettings;
use stormfold::sources::{GatewaySettings, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::world::{World, body, exchange, settings};

/// More than there are places: they turn over all the time.
const CROWD: usize = 384;
/// What Alertmanager waits for at least, and a fifth of what it gives up after.
const SOON: Duration = Duration::from_secs(2);
const HALF: &str = "POST /webhook/alertmanager HTTP/1.1\r\nHost: gate";
/// All of a header, and none of its body.
const HEADER: &str = "POST /webhook/alertmanager HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n";

async fn connect(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// Keeps so many connections up that say this and no more, and makes each again when it is cut off. Gives how many were made.
fn crowd(world: &World, says: &'static str) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let (made, address) = (Arc::new(AtomicUsize::new(0)), world.address);
    let one = |made: Arc<AtomicUsize>| async move {
        loop {
            if let Ok(mut stream) = connect([127, 0, 0, 1].into(), address).await
                && stream.write_all(says.as_bytes()).await.is_ok()
            {
                made.fetch_add(1, Ordering::Relaxed);
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        }
    };
    ((0..CROWD).map(|_| one(made.clone())).collect(), made)
}

// R9: nobody who has no token keeps those from reporting who have one, at another address or behind the same.
#[rstest]
#[case(HALF, "127.0.0.1")]
#[case(HALF, "127.0.0.2")]
#[case(HEADER, "127.0.0.1")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_without_a_token_keeps_no_webhook_out(#[case] says: &'static str, #[case] from: IpAddr) {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "secret\n").unwrap();
    let security = SecuritySettings { token_file: Some(file), ..SecuritySettings::default() };
    let world = World::new(GatewaySettings { security, ..settings() }, &[]).await;
    let (_crowd, made) = crowd(&world, says);
    while made.load(Ordering::Relaxed) < CROWD {
        tokio::task::yield_now().await;
    }
    let text = body(&["prod"]).to_string();
    let headers =
        format!("Content-Length: {}\r\nContent-Type: application/json\r\nAuthorization: Bearer secret\r\n", text.len());
    for n in 0..5 {
        let begun = Instant::now();
        let stream = connect(from, world.address).await.unwrap();
        let answer = exchange(stream, "POST /webhook/alertmanager", &headers, text.as_bytes());
        let answer = tokio::time::timeout(SOON, answer).await.expect("the crowd keeps the webhook out").unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        println!(
            "webhook {n} from {from}: {:?}, {} connections of the crowd",
            begun.elapsed(),
            made.load(Ordering::Relaxed)
        );
    }
    assert!(world.metrics.gateway.evicted_connections.get() > 0, "there were places for all of them");
}

#[tokio::test]
async fn who_does_not_finish_a_header_is_cut_off_after_five_seconds() {
    let world = World::simple().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(HALF.as_bytes()).await.unwrap();
    // It is there, and waited for.
    assert!(tokio::time::timeout(Duration::from_millis(50), stream.readable()).await.is_err());
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let ended = |stream: &TcpStream| match stream.try_read(&mut [0; 8]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    while !ended(&stream) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(begun.elapsed() < Duration::from_secs(6), "it is kept");
    }
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
}

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
