//! JSON lines of webhooks: `{"at": "2026-01-02T15:04:05.123Z", "path": "/webhook/alertmanager", "body": {…}}`, in order of time.

use std::borrow::Cow;
use std::io::BufRead;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{FilePlace, Happening, InputFault, Item};
use crate::replay::documents::cut;

/// The form, for messages.
pub(super) const FORM: &str = r#"{"at": "2026-01-02T15:04:05Z", "path": "/webhook/alertmanager", "body": {…}}"#;

/// A line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookLine<'a> {
    at: Timestamp,
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// Whether a file that begins like this has a webhook on each line.
pub(super) fn is_webhook_line(line: &str) -> bool {
    serde_json::from_str::<WebhookLine<'_>>(line).is_ok()
}

/// A webhook, if this is one.
pub(super) fn webhook(text: &str, place: &FilePlace) -> Result<Item, InputFault> {
    let line: WebhookLine<'_> = serde_json::from_str(text).map_err(|fault| {
        InputFault::new(place, format!("{}: a webhook is one line such as {FORM}", wrong_with(text, &fault)))
    })?;
    let what = Happening::Body { path: line.path.into_owned(), body: line.body.to_owned() };
    Ok(Item { at: line.at, place: place.clone(), what })
}

/// Names the field, where that can be said.
fn wrong_with(text: &str, fault: &serde_json::Error) -> String {
    let at = serde_json::from_str::<Value>(text).ok().and_then(|line| line.get("at").cloned());
    match at {
        Some(at) if at.as_str().is_none_or(|at| at.parse::<Timestamp>().is_err()) => {
            format!("at is {}, which is no time", cut(&at.to_string()))
        }
        _ => cut(&fault.to_string()),
    }
}

/// The webhooks of a file, line by line.
pub(super) struct WebhookLines {
    place: FilePlace,
    /// Read, and not yet given.
    line: String,
    input: Box<dyn BufRead>,
    last: Timestamp,
}

impl WebhookLines {
    pub(super) fn new(file: Arc<str>, first: String, input: Box<dyn BufRead>) -> Self {
        let place = FilePlace { file, line: 1, document: None, item: None };
        Self { place, line: first, input, last: Timestamp::MIN }
    }

    fn read(&mut self) -> Result<Option<Item>, InputFault> {
        loop {
            if self.line.is_empty() {
                return Ok(None);
            }
            if !self.line.trim().is_empty() {
                let item = webhook(&self.line, &self.place)?;
                if item.at < self.last {
                    let wrong = format!("at is {}, earlier than the line before: sort the file by it", item.at);
                    return Err(InputFault::new(&self.place, wrong));
                }
                self.last = item.at;
                self.advance()?;
                return Ok(Some(item));
            }
            self.advance()?;
        }
    }

    fn advance(&mut self) -> Result<(), InputFault> {
        self.line.clear();
        self.place.line += 1;
        let wrong = |fault| InputFault::new(&self.place, format!("cannot be read: {fault}"));
        self.input.read_line(&mut self.line).map_err(wrong)?;
        Ok(())
    }
}

impl Iterator for WebhookLines {
    type Item = Result<Item, InputFault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
