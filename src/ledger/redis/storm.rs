//! The life of one storm: open, read, acknowledge, close, forget, drop. One script each.

use jiff::Timestamp;
use redis::{Cmd, Value};

use super::alerts::digests;
use super::keys::{INCARNATION, StormNames, closed_expires};
use super::known::Unshown;
use super::past::end_arguments;
use super::reply::{read, whole};
use super::{RedisLedger, facts, random, scripts};
use crate::ledger::{Closing, DedupWindow, LedgerError, Snapshot, Version};
use crate::metrics::LedgerOperation;
use crate::storm::alerts::StormEnd;
use crate::storm::decide::{CloseReason, LedgerView};
use crate::storm::{DEDUP_HORIZON, Digest, Epoch, Sample, Severity, StormId, StormMetadata};

/// Names read and staged at once, some 300 KB. Each page is looked for among all resources of the storm: small pages of a large one
/// cost its size again and again.
const PAGE: usize = 8_192;
/// Pages in one snapshot. A storm that brings more new resources than that between two publishes shows the rest with the next one.
const PAGES: usize = 32;
/// How often a read begins again because another publisher was at it.
const ATTEMPTS: usize = 8;
/// Where the counter of a storm starts: below 2^30, so that it is stored in 32 bits for long.
const NONCE_MASK: u64 = (1 << 30) - 1;

/// When a snapshot was taken, by this process' own counts.
#[derive(Clone, Copy)]
struct When {
    begun: u64,
    merged: u64,
}

/// What the first read says.
struct Page {
    open: Option<Epoch>,
    last: Option<Epoch>,
    texts: Vec<String>,
    facts: Option<String>,
    strays: bool,
}

/// What `stage` says.
struct Staged {
    mark: String,
    alerts: usize,
    firing: usize,
    resources: usize,
    names: usize,
    negated_first_seen: Option<i64>,
    last_seen: Option<i64>,
    severity: Option<i64>,
    resolvable: bool,
    incomplete: bool,
    counter: Option<i64>,
    published: bool,
    dirty_since: Option<i64>,
}

impl RedisLedger {
    /// One script in one round trip.
    async fn run(&self, operation: LedgerOperation, cmd: Cmd) -> Result<Value, LedgerError> {
        let mut pipeline = redis::pipe();
        pipeline.add_command(cmd);
        Ok(self.connection.send(operation, &pipeline).await?.pop().unwrap_or(Value::Nil))
    }

    pub(super) async fn open_storm(&self, id: StormId, now: Timestamp) -> Result<Option<Epoch>, LedgerError> {
        let (begun, names) = (self.begun()?, self.storm_names(id)?);
        let expires = closed_expires(now.into());
        let keys = [names.key.registers(), names.key.last(), INCARNATION.to_owned()];
        let mut cmd = scripts::call(&scripts::OPEN, &keys);
        cmd.arg(id.epoch).arg(begun.id.as_ref()).arg(random() & NONCE_MASK).arg(names.sid()).arg(expires);
        match read::<i64>(&[self.run(LedgerOperation::Open, cmd).await?], 0)? {
            -1 => Err(self.wiped()),
            0 => Ok(None),
            epoch => Ok(Some(epoch)),
        }
    }

    pub(super) async fn read_storm(&self, id: StormId) -> Result<Snapshot, LedgerError> {
        let names = self.storm_names(id)?;
        for _ in 0..ATTEMPTS {
            // Before anything is read: what is counted here is in what is read.
            let when = When { begun: self.begun()?.number, merged: self.known.count() };
            let page = self.page(&names, 0).await?;
            if page.open != Some(id.epoch) {
                return self.read_not_open(id, &names, page).await;
            }
            if let Some(snapshot) = self.stage_all(id, &names, page.texts, when).await? {
                return Ok(snapshot);
            }
        }
        Err(LedgerError::Unavailable("a storm changes faster than it can be read".to_owned()))
    }

    /// Reads the epochs and a page of names. No MULTI: a full server refuses to queue even what only reads. Nothing hangs on the moment:
    /// an open storm is read again by `stage`, in one step; a closed one never changes. The incarnation comes last, and vouches for
    /// everything before it.
    async fn page(&self, names: &StormNames, from: usize) -> Result<Page, LedgerError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZSCORE").arg(names.key.registers()).arg("e");
        pipeline.cmd("ZSCORE").arg(names.key.last()).arg("m");
        pipeline.cmd("LRANGE").arg(names.names()).arg(from).arg(from + PAGE - 1);
        pipeline.cmd("GET").arg(names.facts());
        pipeline.cmd("EXISTS").arg(names.journal()).arg(names.resources()).arg(names.names());
        pipeline.cmd("ZSCORE").arg(names.key.dirty()).arg(names.mark());
        pipeline.cmd("GET").arg(INCARNATION);
        let replies = self.connection.send(LedgerOperation::Snapshot, &pipeline).await?;
        if read::<Option<String>>(&replies, 6)?.as_deref() != Some(self.begun()?.id.as_ref()) {
            return Err(self.wiped());
        }
        Ok(Page {
            open: read::<Option<f64>>(&replies, 0)?.map(whole),
            last: read::<Option<f64>>(&replies, 1)?.map(whole),
            texts: read(&replies, 2)?,
            facts: read(&replies, 3)?,
            strays: read::<usize>(&replies, 4)? > 0 || read::<Option<f64>>(&replies, 5)?.is_some(),
        })
    }

    async fn read_not_open(&self, id: StormId, names: &StormNames, page: Page) -> Result<Snapshot, LedgerError> {
        self.known.gone(id);
        if page.strays {
            self.remove(id.epoch, names, None).await?;
        }
        let view = if page.last.is_some_and(|last| id.epoch <= last) {
            let (metadata, reason) = page.facts.as_deref().and_then(facts::parse).unzip();
            LedgerView::Closed { metadata: metadata.flatten(), reason }
        } else {
            LedgerView::Unknown
        };
        Ok(Snapshot { view, version: Version::default(), dirty_since: None, firing: Vec::new() })
    }

    /// Stages page after page. `None`: another publisher was at it, begin again.
    async fn stage_all(
        &self,
        id: StormId,
        names: &StormNames,
        mut texts: Vec<String>,
        when: When,
    ) -> Result<Option<Snapshot>, LedgerError> {
        let mut sample = Sample::default();
        let (mut taken, mut counter) = (0, None);
        for page in 1..=PAGES {
            for text in &texts {
                sample.offer(text);
            }
            taken += texts.len();
            let Some(staged) = self.stage(id, names, &texts).await? else { return Ok(None) };
            if *counter.get_or_insert(staged.counter) != staged.counter {
                return Ok(None);
            }
            if taken >= staged.names || page == PAGES {
                return Ok(Some(self.snapshot_of(id, staged, &sample, taken, when)));
            }
            texts = self.page(names, taken).await?.texts;
        }
        Ok(None)
    }

    async fn stage(&self, id: StormId, names: &StormNames, texts: &[String]) -> Result<Option<Staged>, LedgerError> {
        let keys = [
            names.key.registers(),
            names.key.alerts(),
            names.journal(),
            names.resources(),
            names.names(),
            names.key.dirty(),
        ];
        let key = self.begun()?.digests;
        let mut cmd = scripts::call(&scripts::STAGE, &keys);
        cmd.arg(id.epoch).arg(names.mark());
        cmd.arg(digests(texts.iter().map(|text| key.digest(&[b"resource", text.as_bytes()]))));
        let reply = self.run(LedgerOperation::Snapshot, cmd).await?;
        if reply == Value::Nil {
            return Ok(None);
        }
        let replies: Vec<Value> = read(&[reply], 0)?;
        let register = |index| read::<Option<f64>>(&replies, index).map(|score| score.map(whole));
        Ok(Some(Staged {
            mark: read(&replies, 0)?,
            alerts: read(&replies, 1)?,
            firing: read(&replies, 2)?,
            resources: read(&replies, 3)?,
            names: read(&replies, 4)?,
            negated_first_seen: register(5)?,
            last_seen: register(6)?,
            severity: register(7)?,
            resolvable: register(8)? == Some(1),
            incomplete: register(9)? == Some(1),
            counter: register(10)?,
            published: register(11)?.is_some(),
            dirty_since: register(12)?,
        }))
    }

    fn snapshot_of(&self, id: StormId, staged: Staged, sample: &Sample, taken: usize, when: When) -> Snapshot {
        let When { begun, merged } = when;
        let time = |second: i64| Timestamp::from_second(second).ok();
        let metadata = (|| {
            Some(StormMetadata {
                pattern: self.known.pattern(id),
                alert_count: staged.alerts,
                firing: staged.firing,
                affected_count: staged.resources,
                affected_resources: sample.texts(),
                first_seen: time(-staged.negated_first_seen?)?,
                last_seen: time(staged.last_seen?)?,
                severity: Severity::from_rank(staged.severity?),
                incomplete: staged.incomplete,
            })
        })();
        // A mark that no storm ever has: what was not read to the end is not what can be closed, nor all that is dirty.
        let mark = if taken < staged.names { String::new() } else { staged.mark };
        Snapshot {
            view: LedgerView::Open { metadata, resolvable: staged.resolvable, published: staged.published },
            version: Version {
                mark: mark.into(),
                merged,
                names: taken,
                counter: staged.counter.unwrap_or_default(),
                begun,
            },
            dirty_since: staged.dirty_since.and_then(|at| Timestamp::from_millisecond(at).ok()),
            firing: Vec::new(),
        }
    }

    pub(super) async fn which_fire(&self, id: StormId, alerts: &[Digest]) -> Result<Vec<Digest>, LedgerError> {
        let names = self.storm_names(id)?;
        let mut cmd = scripts::call(&scripts::WHICH, &[names.key.registers(), names.key.alerts()]);
        cmd.arg(id.epoch).arg(digests(alerts.iter().copied()));
        let says: String = read(&[self.run(LedgerOperation::Snapshot, cmd).await?], 0)?;
        Ok(alerts.iter().zip(says.bytes()).filter(|(_, says)| *says == b'1').map(|(alert, _)| *alert).collect())
    }

    pub(super) async fn storm_has_object(&self, id: StormId) -> Result<(), LedgerError> {
        let names = self.storm_names(id)?;
        let mut cmd = scripts::call(&scripts::PUBLISHED, &[names.key.registers(), names.key.alerts()]);
        cmd.arg(id.epoch);
        self.run(LedgerOperation::Ack, cmd).await.map(drop)
    }

    pub(super) async fn acknowledge(&self, id: StormId, snapshot: &Snapshot) -> Result<bool, LedgerError> {
        let LedgerView::Open { metadata, .. } = &snapshot.view else { return Ok(true) };
        let names = self.storm_names(id)?;
        let keys = [names.key.registers(), names.key.alerts(), names.journal(), names.names(), names.key.dirty()];
        let mut cmd = scripts::call(&scripts::ACK, &keys);
        let Version { mark, merged, names: taken, counter, begun } = &snapshot.version;
        if *begun != self.begun()?.number {
            return Ok(false);
        }
        let alerts = metadata.as_ref().map_or(0, |metadata| metadata.alert_count);
        cmd.arg(id.epoch).arg(names.mark()).arg(mark.as_ref()).arg(*counter).arg(*taken).arg(alerts);
        self.known.acknowledges(id);
        let clean = read(&[self.run(LedgerOperation::Ack, cmd).await?], 0)?;
        self.known.shown(id, *merged, alerts);
        Ok(clean)
    }

    pub(super) async fn close_storm(
        &self,
        id: StormId,
        snapshot: &Snapshot,
        reason: CloseReason,
        at: DedupWindow,
    ) -> Result<Closing, LedgerError> {
        let LedgerView::Open { metadata, .. } = &snapshot.view else { return Ok(Closing::Changed) };
        // A ledger that fell back can have a mark again that it had before, and other occurrences behind it.
        if snapshot.version.begun != self.begun()?.number {
            return Ok(Closing::Changed);
        }
        let names = self.storm_names(id)?;
        let keys = [
            names.key.registers(),
            names.key.alerts(),
            names.journal(),
            names.names(),
            names.key.dirty(),
            names.key.last(),
            names.facts(),
            names.resources(),
        ];
        let mut cmd = scripts::call(&scripts::CLOSE, &keys);
        cmd.arg(id.epoch).arg(names.mark()).arg(snapshot.version.mark.as_ref());
        let (kind, end) = end_arguments(StormEnd::of(reason, at.now));
        cmd.arg(facts::text(metadata.as_ref(), reason)).arg(closed_expires(at)).arg(kind).arg(end).arg(at.earliest());
        let left = read::<i64>(&[self.run(LedgerOperation::Close, cmd).await?], 0)?;
        let Ok(left) = usize::try_from(left) else { return Ok(Closing::Changed) };
        self.known.gone(id);
        Ok(Closing::Closed { left })
    }

    pub(super) async fn forget_storm(&self, id: StormId, at: DedupWindow) -> Result<bool, LedgerError> {
        let names = self.storm_names(id)?;
        let Unshown { alerts: unshown, shown, known } = self.known.unshown(id);
        let keys = [
            names.key.registers(),
            names.key.alerts(),
            names.journal(),
            names.names(),
            names.key.dirty(),
            names.key.last(),
            names.resources(),
        ];
        let mut cmd = scripts::call(&scripts::FORGET, &keys);
        cmd.arg(id.epoch).arg(names.mark()).arg(closed_expires(at)).arg(shown).arg(digests(unshown)).arg(known);
        cmd.arg(at.now.as_microsecond()).arg(at.earliest());
        let let_go = self.run(LedgerOperation::Close, cmd).await?;
        self.known.gone(id);
        read(&[let_go], 0)
    }

    pub(super) async fn drop_open_storm(&self, id: StormId) -> Result<(), LedgerError> {
        let names = self.storm_names(id)?;
        self.known.gone(id);
        for _ in 0..ATTEMPTS {
            let mut pipeline = redis::pipe();
            pipeline.cmd("ZMSCORE").arg(names.key.registers()).arg("e").arg("p");
            let replies = self.connection.send(LedgerOperation::Close, &pipeline).await?;
            let [epoch, counter] = read::<[Option<f64>; 2]>(&replies, 0)?.map(|score| score.map(whole));
            if epoch != Some(id.epoch) || self.remove(id.epoch, &names, counter).await? {
                return Ok(());
            }
        }
        Err(LedgerError::Unavailable("a storm changes faster than it can be dropped".to_owned()))
    }

    /// Deletes what a stray wrote; with `counter`, the open storm that has this counter. The counter makes a late repeat harmless.
    pub(super) async fn remove(
        &self,
        epoch: Epoch,
        names: &StormNames,
        counter: Option<i64>,
    ) -> Result<bool, LedgerError> {
        let keys = [
            names.key.registers(),
            names.key.alerts(),
            names.journal(),
            names.resources(),
            names.names(),
            names.key.dirty(),
        ];
        let mut cmd = scripts::call(&scripts::REMOVE, &keys);
        cmd.arg(epoch).arg(names.mark()).arg(counter.map(|counter| counter.to_string()).unwrap_or_default());
        cmd.arg(DEDUP_HORIZON.as_secs());
        read(&[self.run(LedgerOperation::Close, cmd).await?], 0)
    }
}
