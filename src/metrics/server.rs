//! The gauges of a ledger's server. Without a server there are none: a zero would look like a measurement.

use std::fmt::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// What was read of the server last. `None`: the server does not say.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "the help text of each is in the table")]
pub struct ServerReading {
    pub used_memory: Option<f64>,
    pub max_memory: Option<f64>,
    pub resident_memory: Option<f64>,
    pub fragmentation: Option<f64>,
    pub allocator_fragmentation: Option<f64>,
    pub evicted_keys: Option<f64>,
    pub dirty_storms: Option<f64>,
    pub oldest_dirty_seconds: Option<f64>,
}

/// The gauges; cheap to clone, all clones are one.
#[derive(Clone, Debug, Default)]
pub struct ServerMetrics(Arc<Mutex<ServerState>>);

#[derive(Debug, Default)]
struct ServerState {
    /// `None`: the ledger has no server.
    connected: Option<bool>,
    reading: ServerReading,
}

type Gauge = (&'static str, &'static str, fn(&ServerReading) -> Option<f64>);

const GAUGES: [Gauge; 8] = [
    ("ledger_server_used_memory_bytes", "Memory that Redis has given out (used_memory)", |r| r.used_memory),
    ("ledger_server_max_memory_bytes", "Where Redis refuses writes (maxmemory); 0: nowhere", |r| r.max_memory),
    ("ledger_server_resident_memory_bytes", "Memory that the process of Redis occupies (used_memory_rss)", |r| {
        r.resident_memory
    }),
    ("ledger_server_fragmentation_ratio", "Occupied by given out (mem_fragmentation_ratio)", |r| r.fragmentation),
    (
        "ledger_server_allocator_fragmentation_ratio",
        "What the allocator of Redis keeps by what it has given out (allocator_frag_ratio)",
        |r| r.allocator_fragmentation,
    ),
    ("ledger_server_evicted_keys", "Keys thrown away since the start of Redis; any but 0 may be a lost count", |r| {
        r.evicted_keys
    }),
    ("ledger_dirty_storms", "Storms with a change that is not published", |r| r.dirty_storms),
    ("ledger_oldest_dirty_seconds", "Age of the oldest change that is not published; 0: there is none", |r| {
        r.oldest_dirty_seconds
    }),
];

impl ServerMetrics {
    /// Whether there is a connection. Without one, what was read before is not shown any more, but for what was thrown away: a server that
    /// evicts is left at once, and that is when somebody must hear of it.
    pub fn connected(&self, connected: bool) {
        let mut state = self.lock();
        state.connected = Some(connected);
        if !connected {
            state.reading = ServerReading { evicted_keys: state.reading.evicted_keys, ..ServerReading::default() };
        }
    }

    /// So many keys has the server thrown away, whether or not it may be used.
    pub fn evicted(&self, keys: Option<f64>) {
        self.lock().reading.evicted_keys = keys;
    }

    /// This was read.
    pub fn read(&self, reading: ServerReading) {
        self.lock().reading = reading;
    }

    fn lock(&self) -> MutexGuard<'_, ServerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for ServerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let state = self.lock();
        let Some(connected) = state.connected else { return Ok(()) };
        let mut write = |name, help, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        write("ledger_connected", "1: there is a connection to Redis", f64::from(u8::from(connected)))?;
        for (name, help, value) in GAUGES {
            if let Some(value) = value(&state.reading) {
                write(name, help, value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn what_is_not_known_of_the_server_is_not_exported() {
        let metrics = ServerMetrics::default();
        let mut registry = Registry::with_prefix("stormfold");
        registry.register_collector(Box::new(metrics.clone()));
        assert_eq!(text(&registry), "# EOF\n");
        metrics.connected(true);
        metrics.read(ServerReading { fragmentation: Some(1.25), evicted_keys: Some(3.0), ..ServerReading::default() });
        let connected = text(&registry);
        assert!(connected.contains("\nstormfold_ledger_connected 1.0\n"), "{connected}");
        assert!(connected.contains("\nstormfold_ledger_server_fragmentation_ratio 1.25\n"), "{connected}");
        assert!(!connected.contains("used_memory"), "{connected}");
        metrics.connected(false);
        let alone = text(&registry);
        assert!(alone.contains("\nstormfold_ledger_connected 0.0\n") && !alone.contains("ratio"), "{alone}");
        assert!(alone.contains("\nstormfold_ledger_server_evicted_keys 3.0\n"), "{alone}");
    }
}
