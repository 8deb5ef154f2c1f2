//! What must be true of the server: read from its `INFO` at each connect and by the watch.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ledger::LedgerError;

/// The least rights that suffice, as `ACL SETUSER` takes them: `ACL SETUSER stormfold on >password` and this. `hello`, `info`,
/// `script|load` and `config|get` are for each new connection, the others for the ledger, its scripts included. `config|get` may be
/// left out: then nothing can be said of whether Redis saves to disk. Every key begins with `{pp}`.
pub const ACL_RULE: &str = "~{??}* +hello +select +info +config|get +script|load +evalsha \
                            +get +getrange +set +setrange +strlen +append +scan +del +unlink +exists +expire +expireat +persist \
                            +zadd +zcard +zincrby +zmscore +zrange +zrank +zrem +zscore \
                            +rpush +lrange +llen +ltrim";

/// The oldest server with scripts that have flags.
const OLDEST: (u32, u32) = (7, 0);

/// `INFO`, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Info {
    fields: HashMap<Box<str>, Box<str>>,
}

impl Info {
    /// Lines `name:value`; headings and whatever else is there are left out.
    pub(super) fn parse(text: &str) -> Self {
        let field = |line: &str| line.split_once(':').map(|(name, value)| (name.into(), value.trim_end().into()));
        Self { fields: text.lines().filter(|line| !line.starts_with('#')).filter_map(field).collect() }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(AsRef::as_ref).filter(|value| !value.is_empty())
    }

    /// A number, where the server tells it.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }

    /// Which run of which server, and which history of its data: another one may have another memory. A promoted replica has the
    /// run of its own; a primary that was a replica for a while has another history. A primary gets a new history with its first
    /// replica, too, and an hour after its last one: then all Signals are read once more than they had to be.
    pub(super) fn identity(&self) -> Arc<str> {
        let field = |name| self.text(name).unwrap_or("-");
        format!("{} {}", field("run_id"), field("master_replid")).into()
    }

    /// As people write it.
    pub(super) fn version(&self) -> &str {
        self.text("redis_version").unwrap_or("unknown")
    }

    /// Whether the server may be used, or what to change.
    pub(super) fn verdict(&self) -> Result<(), LedgerError> {
        let mut numbers = self.version().split('.').map_while(|number| number.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        if version < OLDEST {
            let (major, minor) = OLDEST;
            return Err(LedgerError::Refused(format!(
                "Redis {major}.{minor} or newer is needed, this is {}",
                self.version()
            )));
        }
        // Not `redis_mode`, which Valkey calls otherwise.
        if self.text("cluster_enabled") == Some("1") {
            return Err(LedgerError::Refused(no_cluster("cluster_enabled:1")));
        }
        if self.text("role").is_some_and(|role| role != "master") {
            let primary = [self.text("master_host").unwrap_or("?"), self.text("master_port").unwrap_or("?")].join(":");
            return Err(LedgerError::Unavailable(format!(
                "this Redis is a replica of {primary}: a failover is under way, or --redis-url names a replica; retrying"
            )));
        }
        match self.policy() {
            // What cannot be told is not refused: some services hide it.
            None | Some("noeviction") => Ok(()),
            Some(policy) => Err(LedgerError::Refused(format!(
                "Redis would throw keys of storms away when its memory is full (maxmemory-policy is {policy}): \
                 CONFIG SET maxmemory-policy noeviction, and the line `maxmemory-policy noeviction` in redis.conf"
            ))),
        }
    }

    fn policy(&self) -> Option<&str> {
        self.text("maxmemory_policy")
    }

    /// Says what is worth a line at a connect. `config`: what `CONFIG GET` said, where it is allowed.
    pub(super) fn tell(&self, config: Option<&Config>) {
        if self.policy().is_none() {
            tracing::warn!("Redis does not say its maxmemory-policy: see that it is noeviction");
        }
        let Some(config) = config else {
            return tracing::info!("CONFIG GET is forbidden: whether Redis saves to disk is unknown");
        };
        if self.text("aof_enabled") == Some("0") && config.saves == Some(false) {
            tracing::info!("Redis saves nothing to disk: after its restart all Signals are read again");
        }
    }
}

/// What `CONFIG GET` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// Whether snapshots are written.
    saves: Option<bool>,
}

impl Config {
    /// From names and values.
    pub(super) fn of(values: &HashMap<String, String>) -> Self {
        Self { saves: values.get("save").map(|save| !save.is_empty()) }
    }
}

/// `MULTI` and scripts of ours touch keys of one hash slot and the incarnation's, and one pipeline many slots.
pub(super) fn no_cluster(seen: &str) -> String {
    format!(
        "this is a node of a Redis Cluster ({seen}), and the ledger needs one primary that holds every key: \
         name a Redis with cluster-enabled no by --redis-url"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\ncluster_enabled:0\r\nrun_id:aa\r\n\r\n# Replication\r\nrole:master\r\n\
                        master_replid:bb\r\n# Memory\r\nmaxmemory_policy:noeviction\r\nmem_fragmentation_ratio:1.25\r\n";

    fn verdict(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        Info::parse(&GOOD.replace(from, to)).verdict().unwrap_err().to_string()
    }

    #[test]
    fn a_server_as_it_must_be_is_taken() {
        let info = Info::parse(GOOD);
        info.verdict().unwrap();
        assert_eq!(info.identity().as_ref(), "aa bb");
        assert_eq!(info.number("mem_fragmentation_ratio"), Some(1.25));
        Info::parse(&GOOD.replace("7.0.15", "255.255.255")).verdict().unwrap();
        Info::parse(&GOOD.replace("maxmemory_policy:noeviction", "")).verdict().unwrap();
    }

    #[test]
    fn an_old_server_is_refused_by_its_version() {
        let old = "the ledger cannot be used: Redis 7.0 or newer is needed, this is 6.2.1";
        assert_eq!(verdict("7.0.15", "6.2.1"), old);
        assert!(verdict("redis_version", "other_version").ends_with("this is unknown"));
    }

    #[test]
    fn a_server_that_evicts_is_refused_with_the_two_lines_that_mend_it() {
        for policy in ["allkeys-lru", "volatile-ttl"] {
            let text = verdict("noeviction", policy);
            assert!(text.contains(policy), "{text}");
            assert!(text.contains("CONFIG SET maxmemory-policy noeviction"), "{text}");
            assert!(text.contains("redis.conf"), "{text}");
        }
    }

    #[test]
    fn a_replica_and_a_node_of_a_cluster_are_not_taken() {
        let replica = verdict("role:master", "role:slave\r\nmaster_host:10.0.0.7\r\nmaster_port:6379");
        assert!(
            replica.starts_with("the ledger does not answer: this Redis is a replica of 10.0.0.7:6379"),
            "{replica}"
        );
        let cluster = verdict("cluster_enabled:0", "cluster_enabled:1");
        assert!(cluster.contains("cluster-enabled no"), "{cluster}");
    }
}
