//! Who may be connected. Places are few, and whoever reaches the port can take one without a token.
//!
//! So a place is held for good by nothing but a request that may be made. Where there are no more, whoever has the most of them loses
//! the one that has waited longest: to a peer with fewer at once, else when it has had its turn. One peer that takes all cannot keep
//! others out; many behind one address (a Service, a NodePort) get a turn each, long enough for a handshake and a header.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Connections at once. More wait in the kernel.
const CONNECTIONS: usize = 256;
/// How long a connection has at least for what comes before a request. All places turn over in this time, and so does a queue of as
/// many in the kernel.
const TURN: Duration = Duration::from_millis(250);

/// Connections that the kernel keeps until they are accepted. Beyond these it answers nobody, who then tries again after a second or three.
const QUEUE: u32 = 1_024;

/// Listens for connections.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As tokio's own `bind` does, which keeps no more than 128 waiting.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// The places for connections.
pub(super) struct Connections {
    table: Mutex<ConnectionTable>,
    changed: Notify,
    evicted: Counter,
}

#[derive(Default)]
struct ConnectionTable {
    next: u64,
    open: BTreeMap<u64, OpenConnection>,
}

struct OpenConnection {
    peer: IpAddr,
    /// `None`: a request of it is being answered that may be made.
    waiting_since: Option<Instant>,
    end: CancellationToken,
}

/// The place of one connection; free when it is dropped.
pub(super) struct ConnectionPlace {
    connections: Arc<Connections>,
    number: u64,
    end: CancellationToken,
}

/// Nobody else gets the place as long as this lives.
pub(super) struct PlaceHeld<'a>(&'a ConnectionPlace);

impl Connections {
    /// `evicted`: counts those that lose their place.
    pub(super) fn new(evicted: Counter) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), changed: Notify::new(), evicted })
    }

    /// Waits for a place, and makes one where somebody can give way. For one caller at a time.
    pub(super) async fn enter(self: &Arc<Self>, peer: IpAddr) -> ConnectionPlace {
        let peer = network(peer);
        loop {
            let entry = self.table().enter(peer, Instant::now());
            match entry {
                PlaceFound::Free { number, end, evicted } => {
                    self.evicted.inc_by(u64::from(evicted));
                    return ConnectionPlace { connections: self.clone(), number, end };
                }
                PlaceFound::At(time) => drop(timeout_at(time, self.changed.notified()).await),
                PlaceFound::Full => self.changed.notified().await,
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        // Nothing panics while the lock is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut ConnectionTable)) {
        change(&mut self.table());
        self.changed.notify_one();
    }
}

enum PlaceFound {
    Free {
        number: u64,
        end: CancellationToken,
        evicted: bool,
    },
    /// Somebody will have had his turn.
    At(Instant),
    /// All are at work.
    Full,
}

impl ConnectionTable {
    fn enter(&mut self, peer: IpAddr, now: Instant) -> PlaceFound {
        let evicted = self.open.len() >= CONNECTIONS;
        if evicted {
            let Some((number, time)) = self.first_to_go(peer) else { return PlaceFound::Full };
            if let Some(time) = time.filter(|time| *time > now) {
                return PlaceFound::At(time);
            }
            if let Some(gone) = self.open.remove(&number) {
                gone.end.cancel();
            }
        }
        let (number, end) = (self.next, CancellationToken::new());
        self.next += 1;
        self.open.insert(number, OpenConnection { peer, waiting_since: Some(now), end: end.clone() });
        PlaceFound::Free { number, end, evicted }
    }

    /// Who gives way to this peer, and when; at once where no time is said.
    fn first_to_go(&self, peer: IpAddr) -> Option<(u64, Option<Instant>)> {
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for connection in self.open.values() {
            *held.entry(connection.peer).or_default() += 1;
        }
        let held = |peer: IpAddr| held.get(&peer).copied().unwrap_or_default();
        let waiting = self.open.iter().filter_map(|(number, open)| Some((number, open.peer, open.waiting_since?)));
        let (number, of, since) = waiting.min_by_key(|(_, of, since)| (Reverse(held(*of)), *since))?;
        let has_more = held(of) > held(peer) + 1;
        Some((*number, (!has_more).then(|| since + TURN)))
    }
}

impl ConnectionPlace {
    /// Holds it for a request that may be made.
    pub(super) fn hold(&self) -> PlaceHeld<'_> {
        self.wait_since(None);
        PlaceHeld(self)
    }

    fn wait_since(&self, time: Option<Instant>) {
        self.connections.change(|table| {
            if let Some(open) = table.open.get_mut(&self.number) {
                open.waiting_since = time;
            }
        });
    }

    /// Ends when somebody else got the place.
    pub(super) async fn lost(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for PlaceHeld<'_> {
    fn drop(&mut self) {
        self.0.wait_since(Some(Instant::now()));
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.connections.change(|table| drop(table.open.remove(&self.number)));
    }
}

/// Whoever has one address of IPv6 has the 2^64 beside it.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    async fn fill(connections: &Arc<Connections>, peers: &[u8]) -> Vec<ConnectionPlace> {
        let mut places = Vec::new();
        for n in 0..CONNECTIONS {
            places.push(connections.enter(peer(peers[n % peers.len()])).await);
        }
        places
    }

    fn lost(places: &[ConnectionPlace]) -> Vec<usize> {
        (0..places.len()).filter(|n| places[*n].end.is_cancelled()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_fewer_places_gets_one_at_once_of_whoever_has_the_most() {
        let connections = Connections::new(Counter::default());
        let places = fill(&connections, &[1, 1, 2]).await;
        let begun = Instant::now();
        let _third = connections.enter(peer(3)).await;
        assert_eq!((lost(&places), begun.elapsed()), (vec![0], Duration::ZERO));
        assert_eq!(connections.evicted.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn among_equals_the_oldest_gives_way_when_it_has_had_its_turn() {
        let connections = Connections::new(Counter::default());
        let places = fill(&connections, &[1]).await;
        let begun = Instant::now();
        let _next = connections.enter(peer(1)).await;
        assert_eq!(lost(&places), [0]);
        assert!((TURN..2 * TURN).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_held_is_nobody_elses_and_has_a_turn_again_afterwards() {
        let connections = Connections::new(Counter::default());
        let places = fill(&connections, &[1]).await;
        let mut held: Vec<_> = places.iter().map(ConnectionPlace::hold).collect();
        let next = connections.enter(peer(2));
        tokio::pin!(next);
        assert!(tokio::time::timeout(Duration::from_mins(1), next.as_mut()).await.is_err(), "all are at work");
        let begun = Instant::now();
        drop(held.remove(7));
        let _next = next.await;
        assert_eq!((lost(&places), begun.elapsed()), (vec![7], Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_becomes_free_is_taken_and_nobody_gives_way() {
        let connections = Connections::new(Counter::default());
        let mut places = fill(&connections, &[1]).await;
        drop(places.remove(9));
        let _next = connections.enter(peer(1)).await;
        assert!(lost(&places).is_empty());
    }

    #[test]
    fn an_address_of_ipv6_stands_for_its_network_and_a_mapped_one_for_itself() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(of("10.0.0.1"), "10.0.0.1");
    }
}
