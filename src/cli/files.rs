//! Files of the command line.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::replay::PolicyFiles;
use crate::replay::recording::{Recording, RecordingFault};

/// What is read at once.
const BUFFER: usize = 1 << 18;

/// A file that cannot be read, or says what cannot be: in words.
pub(super) type FileFault = String;

fn cannot_read(path: &Path, error: &io::Error) -> FileFault {
    format!("{}: cannot be read: {error}", path.display())
}

/// These recordings as one.
pub(super) fn recording(paths: &[PathBuf]) -> Result<Recording, FileFault> {
    let mut recording = Recording::default();
    for path in paths {
        let (name, input): (String, Box<dyn BufRead>) = if path.as_os_str() == "-" {
            ("standard input".to_owned(), Box::new(BufReader::new(io::stdin())))
        } else {
            let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
            (path.display().to_string(), Box::new(BufReader::with_capacity(BUFFER, file)))
        };
        recording.add(&name, input).map_err(|fault: RecordingFault| fault.to_string())?;
    }
    Ok(recording)
}

/// The policies in these files and folders.
pub(super) fn policies<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<PolicyFiles, FileFault> {
    let mut files = PolicyFiles::default();
    for path in paths {
        for file in files_of(path)? {
            let text = std::fs::read_to_string(&file).map_err(|error| cannot_read(&file, &error))?;
            files.add(&file.display().to_string(), &text).map_err(|fault| fault.to_string())?;
        }
    }
    Ok(files)
}

/// A file, or the YAML and JSON files of a folder by name.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, FileFault> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| cannot_read(path, &error))?;
    let is_policy =
        |path: &PathBuf| path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|one| end == *one));
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).filter(is_policy).collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("{}: there is no file in it that ends in .yaml, .yml or .json", path.display()));
    }
    Ok(files)
}
