//! The operator is killed at every call that it makes while a storm opens, grows and closes: to the API server, and to Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use super::crash_api::{Point, Step, wire};
use super::crash_life::Life;
use super::crash_trap::{Moment, Trap};
use super::operator::{Operator, kubeconfig_of};
use super::redis_server::RedisServer;
use super::world::World;

/// Lives at once: they wait most of their time.
const AT_ONCE: usize = 8;

// D5, invariants 1, 4, 9 and 12.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_at_every_call_to_the_api_server_leaves_one_open_object_and_exact_counts() {
    let points = Step::ALL.into_iter().flat_map(|step| Moment::BOTH.map(|moment| Point { step, moment }));
    futures::stream::iter(points.map(|point| Box::pin(at_call(point))))
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>()
        .await;
}

async fn at_call(point: Point) {
    let Point { step, moment } = point;
    let life = Life::new(World::new(&format!("crash-{step:?}-{moment:?}").to_lowercase()).await, format!("{point:?}"));
    let kubeconfig = kubeconfig_of(&life.world.client, "stormfold-system", "stormfold").await;
    let (held, is_held) = watch::channel(step == Step::LastReceipt);
    let through = wire(&kubeconfig, point, life.trap.clone(), is_held).await;
    let flags = ["--publish-interval=100ms"];
    let operator = Operator::launch_with(&through, &[&life.world], &flags);
    operator.ready().await;
    assert!(life.until_death(&operator, &held).await, "{point:?} was not met");
    operator.sigkill();
    let _operator = Operator::start(&[&life.world], &flags).await;
    life.goes_on().await;
}

// The same for whatever is sent to Redis, one position after the other, until a life goes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_redis_at_every_chunk_sent_to_it_leaves_one_open_object_and_exact_counts() {
    let (mut position, mut deaths) = (0, 0);
    loop {
        let positions = position..position + AT_ONCE / 2;
        position = positions.end;
        let lives = positions.flat_map(|at| Moment::BOTH.map(|moment| Box::pin(at_chunk(at, moment))));
        let died: Vec<bool> = futures::stream::iter(lives).buffer_unordered(AT_ONCE).collect().await;
        deaths += died.iter().filter(|died| **died).count();
        if died.contains(&false) {
            break;
        }
    }
    println!("{deaths} deaths before or after a chunk to Redis, among the first {position} chunks");
    // Merges, an opening, looks, acknowledgements, a close: fewer would mean that the wire does not see them.
    assert!(deaths > 20);
}

/// False when the operator outlived its storm: the position is beyond its end.
async fn at_chunk(at: usize, moment: Moment) -> bool {
    let mut world = World::new(&format!("crash-redis-{at}-{moment:?}").to_lowercase()).await;
    world.redis = None;
    let life = Life::new(world, format!("chunk {at} to Redis, {moment:?}"));
    let redis = RedisServer::start(&[]);
    let through = redis_wire(redis.port(), at, moment, life.trap.clone()).await;
    let flags =
        |url: &str| ["--ledger=redis".to_owned(), format!("--redis-url={url}"), "--publish-interval=100ms".into()];
    let (first, second) = (flags(&through), flags(&redis.url()));
    let operator = Operator::start(&[&life.world], &first.each_ref().map(String::as_str)).await;
    let died = life.until_death(&operator, &watch::Sender::new(false)).await;
    operator.sigkill();
    let _operator = Operator::start(&[&life.world], &second.each_ref().map(String::as_str)).await;
    life.goes_on().await;
    died
}

/// A wire to Redis that kills the operator at the chunk of this number after the trap is armed; its URL.
async fn redis_wire(port: u16, at: usize, moment: Moment, trap: Arc<Trap>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let passed = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(carry(near, far, (at, moment), passed.clone(), trap.clone()));
        }
    });
    url
}

async fn carry(near: TcpStream, far: TcpStream, here: (usize, Moment), passed: Arc<AtomicUsize>, trap: Arc<Trap>) {
    let ((mut from_operator, mut to_operator), (mut from_redis, mut to_redis)) = (near.into_split(), far.into_split());
    let answered = Notify::new();
    let up = async {
        let mut chunk = vec![0; 65_536];
        while let Ok(length @ 1..) = from_operator.read(&mut chunk).await {
            let (at, moment) = here;
            let met = trap.is_armed() && passed.fetch_add(1, Ordering::SeqCst) == at;
            if met && moment == Moment::Before {
                trap.spring();
            }
            if trap.is_shut() {
                return;
            }
            if met {
                trap.shut();
            }
            if to_redis.write_all(&chunk[..length]).await.is_err() {
                return;
            }
            if met {
                answered.notified().await;
                trap.spring();
            }
        }
    };
    let down = async {
        let mut chunk = vec![0; 65_536];
        while let Ok(length @ 1..) = from_redis.read(&mut chunk).await {
            if trap.is_shut() {
                answered.notify_one();
            } else if to_operator.write_all(&chunk[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
