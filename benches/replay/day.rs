//! A day of webhooks, written as it is read: groups of alerts that fire together, end together 2.4 hours later, and fire again.

use std::fmt::Write as _;
use std::io::{self, Read};

use jiff::{SignedDuration, Timestamp};

/// Alerts of one webhook.
pub const ALERTS: usize = 50;
/// Of each group: it fires five times, and ends as often.
const ROUNDS: usize = 10;
const NAMESPACES: usize = 200;
const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// The lines, one after the other.
pub struct Day {
    webhooks: usize,
    groups: usize,
    next: usize,
    line: String,
    given: usize,
}

impl Day {
    /// One of so many reports, or a few less: a whole number of rounds.
    pub fn of(reports: usize) -> Self {
        let groups = (reports / ALERTS / ROUNDS).max(1);
        Self { webhooks: groups * ROUNDS, groups, next: 0, line: String::new(), given: 0 }
    }

    /// How many there are.
    pub fn webhooks(&self) -> usize {
        self.webhooks
    }

    /// How many storms they are: every second round of a group fires.
    pub fn storms(&self) -> usize {
        self.webhooks / 2
    }

    fn write(&mut self) {
        let webhook = self.next;
        let (round, group) = (webhook / self.groups, webhook % self.groups);
        let fires = round % 2 == 0;
        let (namespace, name) = (group % NAMESPACES, group / NAMESPACES);
        let time = |webhook: usize| {
            let millis = 86_400_000 * i64::try_from(webhook).unwrap_or(0) / i64::try_from(self.webhooks).unwrap_or(1);
            START + SignedDuration::from_millis(millis)
        };
        // The beginning of an end is that of its firing.
        let began = time(if fires { webhook } else { webhook - self.groups });
        let state = if fires { "firing" } else { "resolved" };
        let line = &mut self.line;
        line.clear();
        let _ = write!(
            line,
            r#"{{"at":"{}","path":"/webhook/alertmanager","body":{{"version":"4","status":"{state}","receiver":"stormfold","groupLabels":{{"alertname":"Alert{name}","namespace":"ns-{namespace}"}},"externalURL":"http://alertmanager","alerts":["#,
            time(webhook)
        );
        for alert in 0..ALERTS {
            let comma = if alert > 0 { "," } else { "" };
            let _ = write!(
                line,
                r#"{comma}{{"status":"{state}","labels":{{"alertname":"Alert{name}","namespace":"ns-{namespace}","pod":"web-{alert}","severity":"warning"}},"annotations":{{"summary":"pod web-{alert} has trouble"}},"startsAt":"{began}","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus/graph"}}"#
            );
        }
        line.push_str("]}}\n");
        (self.next, self.given) = (webhook + 1, 0);
    }
}

impl Read for Day {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.line.len() {
            if self.next == self.webhooks {
                return Ok(0);
            }
            self.write();
        }
        let count = buffer.len().min(self.line.len() - self.given);
        buffer[..count].copy_from_slice(&self.line.as_bytes()[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}
