//! Files that may change while the process runs: a token, a certificate and its key. Looked at when they are needed, at most once a
//! second, and read whole: that also sees the links that Kubernetes turns when a mounted secret changes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::GatewayMetrics;

/// The shortest time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What some files say, as of the last time that they could be used.
pub(super) struct Watched<T> {
    files: Vec<PathBuf>,
    read: fn(&[Vec<u8>]) -> Result<T, String>,
    state: Mutex<FileState<T>>,
    metrics: GatewayMetrics,
}

struct FileState<T> {
    contents: Vec<Vec<u8>>,
    value: Arc<T>,
    looked: Instant,
    /// Said once for each fault.
    fault: Option<String>,
}

impl<T> Watched<T> {
    /// Reads the files for the first time; the message says what is wrong with them.
    pub(super) fn open(
        files: Vec<PathBuf>,
        read: fn(&[Vec<u8>]) -> Result<T, String>,
        metrics: GatewayMetrics,
    ) -> Result<Self, String> {
        let contents = contents(&files)?;
        let value = Arc::new(read(&contents).map_err(|fault| told(&files, &fault))?);
        let state = FileState { contents, value, looked: Instant::now(), fault: None };
        Ok(Self { files, read, state: Mutex::new(state), metrics })
    }

    /// What they say now. Files that cannot be used leave what was there: a half-written certificate is no reason to serve nobody.
    pub(super) fn get(&self) -> Arc<T> {
        // Nothing panics while the lock is held.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            self.look(&mut state);
        }
        state.value.clone()
    }

    fn look(&self, state: &mut FileState<T>) {
        let contents = match contents(&self.files) {
            Ok(contents) if contents == state.contents => {
                state.fault = None;
                return;
            }
            other => other,
        };
        let read = contents.and_then(|contents| match (self.read)(&contents) {
            Ok(value) => Ok((contents, value)),
            Err(fault) => Err(told(&self.files, &fault)),
        });
        match read {
            Ok((contents, value)) => {
                tracing::info!(files = ?self.files, "reloaded changed files of the gateway");
                (state.contents, state.value, state.fault) = (contents, Arc::new(value), None);
            }
            Err(fault) if state.fault.as_ref() != Some(&fault) => {
                tracing::warn!("{fault}; the files read before stay in use, and these are read again");
                self.metrics.reload_failures.inc();
                state.fault = Some(fault);
            }
            Err(_) => {}
        }
    }
}

fn contents(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let read =
        |file: &PathBuf| std::fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()));
    files.iter().map(read).collect()
}

fn told(files: &[PathBuf], fault: &str) -> String {
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    format!("{}: {fault}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    use super::*;

    fn number(contents: &[Vec<u8>]) -> Result<u32, String> {
        String::from_utf8_lossy(&contents[0]).trim().parse().map_err(|_| "not a number".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_changes_is_read_again_and_a_bad_one_changes_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("number");
        let metrics = Metrics::default().gateway;
        let open = || Watched::open(vec![file.clone()], number, metrics.clone());
        assert!(open().err().unwrap().contains("cannot be read"));
        std::fs::write(&file, "x").unwrap();
        assert!(open().err().unwrap().contains("not a number"));
        std::fs::write(&file, "1").unwrap();
        let watched = open().unwrap();
        for (text, value, failures) in [("2\n", 2, 0), ("half", 2, 1), ("half", 2, 1), ("3", 3, 1)] {
            std::fs::write(&file, text).unwrap();
            tokio::time::advance(LOOK).await;
            assert_eq!((*watched.get(), metrics.reload_failures.get()), (value, failures), "{text}");
        }
        std::fs::remove_file(&file).unwrap();
        tokio::time::advance(LOOK).await;
        assert_eq!((*watched.get(), metrics.reload_failures.get()), (3, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_looked_at_once_a_second() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("number");
        std::fs::write(&file, "1").unwrap();
        let watched = Watched::open(vec![file.clone()], number, Metrics::default().gateway).unwrap();
        std::fs::write(&file, "2").unwrap();
        assert_eq!(*watched.get(), 1);
        tokio::time::advance(LOOK).await;
        assert_eq!(*watched.get(), 2);
    }
}
