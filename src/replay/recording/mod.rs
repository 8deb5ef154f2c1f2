//! Recordings: what was reported, and when. Several are one, in order of time.
//!
//! JSON lines of webhooks are read line by line, so that a recording may be larger than the memory. Everything else (Signals as YAML or
//! JSON, lists of them, what Alertmanager's API says) is read whole and sorted by time.

mod dump;
mod lines;
mod objects;

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::value::RawValue;

pub use super::documents::{FilePlace, InputFault};
use crate::api::Signal;
use lines::{WebhookLines, is_webhook_line};
pub(super) use objects::namespace;

/// Something that was reported.
#[derive(Clone, Debug)]
pub struct Item {
    /// When.
    pub at: Timestamp,
    /// Where it is written.
    pub place: FilePlace,
    /// What.
    pub what: Happening,
}

/// See [`Item`].
#[derive(Clone, Debug)]
pub enum Happening {
    /// Somebody created a Signal.
    Signal(Box<Signal>),
    /// A webhook came to this path.
    Body {
        /// Such as `/webhook/alertmanager`.
        path: String,
        /// As it came.
        body: Box<RawValue>,
    },
    /// A namespace has these labels.
    Namespace(String, BTreeMap<String, String>),
}

type Items = Box<dyn Iterator<Item = Result<Item, InputFault>>>;

/// One file, with its next item.
struct Track {
    next: Option<Item>,
    rest: Items,
}

/// Recordings as one.
#[derive(Default)]
pub struct Recording(Vec<Track>);

/// Why a file is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingFault {
    /// It cannot be read.
    #[error("{0}: cannot be read: {1}")]
    Io(Arc<str>, io::Error),
    /// What it says is wrong.
    #[error(transparent)]
    Input(#[from] InputFault),
}

impl Recording {
    /// Adds a file.
    pub fn add(&mut self, file: &str, mut input: Box<dyn BufRead>) -> Result<(), RecordingFault> {
        let file: Arc<str> = file.into();
        let io = |fault| RecordingFault::Io(file.clone(), fault);
        let mut first = String::new();
        input.read_line(&mut first).map_err(io)?;
        let mut rest: Items = if is_webhook_line(&first) {
            Box::new(WebhookLines::new(file.clone(), first, input))
        } else {
            let mut text = first;
            input.read_to_string(&mut text).map_err(io)?;
            Box::new(objects::items(&file, &text)?.into_iter().map(Ok))
        };
        let next = rest.next().transpose()?;
        self.0.push(Track { next, rest });
        Ok(())
    }

    /// When the first report came.
    pub fn start(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(|track| track.next.as_ref()).map(|item| item.at).min()
    }
}

impl Iterator for Recording {
    type Item = Result<Item, InputFault>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = |(index, track): (usize, &Track)| Some((track.next.as_ref()?.at, index));
        let (_, index) = self.0.iter().enumerate().filter_map(next).min()?;
        let track = &mut self.0[index];
        let after = match track.rest.next().transpose() {
            Ok(after) => after,
            Err(fault) => return Some(Err(fault)),
        };
        std::mem::replace(&mut track.next, after).map(Ok)
    }
}
