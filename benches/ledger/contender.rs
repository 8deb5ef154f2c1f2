//! Who merges one Signal at a time: the ledger, the two forms of the original design, and the empty script.

use std::collections::HashSet;

use super::documents::Form;
use super::empty::{Empty, Shape};
use super::generator::{Resources, Storm, Telling};
use super::json::Json;
use super::ours::{Batch, Changes, Ours};
use super::server::Server;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Before,
    After,
    Ours,
    Empty,
    EmptyOneKey,
}

/// One of them, at a server.
pub enum Contender {
    Json(Json),
    Ours(Box<Ours>),
    Empty(Empty),
}

/// A call that is ready to be sent.
pub enum Call {
    Scripts(redis::Pipeline),
    Merge(Vec<Batch>, Telling),
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Before, Self::After, Self::Ours, Self::Empty, Self::EmptyOneKey];

    /// The figure of its server time.
    pub const fn figure(self) -> &'static str {
        match self {
            Self::Before => "before_server_time",
            Self::After => "after_server_time",
            Self::Ours => "ours_server_time",
            Self::Empty => "empty_server_time",
            Self::EmptyOneKey => "empty_of_1_key_server_time",
        }
    }

    /// The figures of its round trips: half of them are shorter, and 99 of 100.
    pub const fn round_trips(self) -> [&'static str; 2] {
        match self {
            Self::Before => ["before_round_trip_p50", "before_round_trip_p99"],
            Self::After => ["after_round_trip_p50", "after_round_trip_p99"],
            Self::Ours => ["ours_round_trip_p50", "ours_round_trip_p99"],
            Self::Empty => ["empty_round_trip_p50", "empty_round_trip_p99"],
            Self::EmptyOneKey => ["empty_of_1_key_round_trip_p50", "empty_of_1_key_round_trip_p99"],
        }
    }

    /// How many storms of a size are measured: fewer where one is megabytes or one merge milliseconds.
    pub fn storms(self, size: u32) -> u32 {
        match self {
            Self::Before => (200_000 / (300 + size)).clamp(2, 200),
            _ => (400_000 / (200 + size)).clamp(4, 2_000),
        }
    }

    /// The most calls that are measured.
    pub const fn calls(self, size: u32) -> usize {
        match self {
            Self::Before | Self::After if size >= 10_000 => 60,
            Self::Before | Self::After if size >= 1_000 => 300,
            Self::Before => 1_000,
            _ => 3_000,
        }
    }
}

impl Contender {
    pub async fn begin(server: &Server, kind: Kind, resources: Resources) -> anyhow::Result<Self> {
        Ok(match kind {
            Kind::Before => Self::Json(Json::begin(server, Form::Before, resources).await?),
            Kind::After => Self::Json(Json::begin(server, Form::After, resources).await?),
            Kind::Ours => Self::Ours(Box::new(Ours::begin(server, resources).await?)),
            Kind::Empty => Self::Empty(Empty::begin(server, Shape::Ours).await?),
            Kind::EmptyOneKey => Self::Empty(Empty::begin(server, Shape::OneKey).await?),
        })
    }

    pub async fn fill(&self, storms: &[Storm], changes: Changes) -> anyhow::Result<()> {
        match self {
            Self::Json(json) => json.fill(storms).await.map(drop),
            Self::Ours(ours) => ours.fill(storms, changes).await.map(drop),
            Self::Empty(_) => Ok(()),
        }
    }

    /// The call that merges one occurrence into each of these storms: storm and occurrence. What is told again is told of the first ones that
    /// such a storm of `size` has.
    pub fn call(&self, merges: &[(u32, u32)], telling: Telling, size: u32) -> Call {
        let scripts = |command: &dyn Fn(u32, u32) -> redis::Cmd| {
            let mut pipeline = redis::pipe();
            for (storm, occurrence) in merges {
                pipeline.add_command(command(*storm, *occurrence));
            }
            Call::Scripts(pipeline)
        };
        match self {
            Self::Json(json) => scripts(&|storm, occurrence| json.merge(storm, occurrence)),
            Self::Empty(empty) => scripts(&|storm, occurrence| empty.merge(storm, occurrence)),
            Self::Ours(ours) => {
                let signals = |&(storm, occurrence): &(u32, u32)| match telling {
                    Telling::First => ours.signals(storm, occurrence..occurrence + 1),
                    Telling::Repeat | Telling::End => ours.again(storm, occurrence - size, occurrence, telling),
                };
                Call::Merge(merges.iter().map(signals).collect(), telling)
            }
        }
    }

    pub async fn send(&self, call: &Call, connection: &mut redis::aio::MultiplexedConnection) -> anyhow::Result<()> {
        match (self, call) {
            (Self::Ours(ours), Call::Merge(batches, telling)) => Ok(ours.merge(batches, *telling).await?),
            (Self::Empty(_), Call::Scripts(pipeline)) => {
                Empty::check(&pipeline.query_async::<Vec<i64>>(connection).await?)
            }
            (_, Call::Scripts(pipeline)) => Ok(pipeline.query_async::<redis::Value>(connection).await.map(drop)?),
            (_, Call::Merge(..)) => Ok(()),
        }
    }

    /// Fails unless each storm counts what it should.
    pub async fn check(&self, storms: &[Storm], dirty: &HashSet<u32>) -> anyhow::Result<()> {
        match self {
            Self::Json(json) => json.check(storms).await,
            Self::Ours(ours) => ours.check(storms, dirty).await,
            Self::Empty(_) => Ok(()),
        }
    }
}
