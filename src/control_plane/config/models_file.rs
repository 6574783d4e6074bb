//! `MODELS_FILE`: the operator's own facts about models, which go before the embedded ones.
//!
//! The file is read at the start and again when it looks different and has looked so twice, since
//! editors do not write it in one step. A file that cannot be read changes nothing: the facts that
//! were read last stay in force, and the problem is listed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use llm_wire::target::facts::Facts;
use tokio::time::{Instant, sleep_until};

use crate::config::snapshot::Problem;

/// How often the file is compared with what was read.
const INTERVAL: Duration = Duration::from_secs(1);
/// In bytes; a larger file is refused.
const MAX_BYTES: u64 = 16 << 20;

/// The file that `MODELS_FILE` names, followed like a configuration file.
pub(crate) struct ModelsFile {
    path: Option<PathBuf>,
    stamp: Option<FileStamp>,
    /// A stamp that differs from `stamp`, if the last check found one.
    changed_stamp: Option<Option<FileStamp>>,
    next_look: Instant,
    facts: Arc<Facts>,
    problems: Vec<Problem>,
}

/// What changes when a file is written or replaced.
type FileStamp = (SystemTime, u64, u64);

impl ModelsFile {
    /// Reads the file at `path`, if there is one.
    pub(crate) fn open(path: Option<&Path>) -> ModelsFile {
        let path = path.map(Path::to_owned);
        let mut file = ModelsFile {
            path,
            stamp: None,
            changed_stamp: None,
            next_look: Instant::now(),
            facts: Arc::default(),
            problems: Vec::new(),
        };
        file.read();
        file
    }

    /// Returns the facts about models that are current.
    pub(crate) fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// Returns what is wrong with the file as it is now.
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Waits until the file differs from what was read last; for ever if there is no file to
    /// follow. What it knows stays when the future is dropped, which happens many times a second.
    pub(crate) async fn changed(&mut self) {
        let Some(path) = &self.path else { return std::future::pending().await };
        loop {
            sleep_until(self.next_look).await;
            let seen = stamp(path);
            if seen != self.stamp && self.changed_stamp == Some(seen) {
                return;
            }
            self.changed_stamp = (seen != self.stamp).then_some(seen);
            self.next_look = Instant::now() + if self.changed_stamp.is_some() { INTERVAL / 5 } else { INTERVAL };
        }
    }

    /// Reads the file again.
    pub(crate) fn read(&mut self) {
        let Some(path) = &self.path else { return };
        // Taken before the file is read, so that what is written meanwhile is noticed later.
        (self.stamp, self.changed_stamp) = (stamp(path), None);
        let messages = match read(path) {
            Ok((facts, messages)) => {
                self.facts = Arc::new(facts);
                messages
            }
            Err(message) => vec![message],
        };
        let object = format!("MODELS_FILE {}", path.display());
        let problem = |message| Problem { object: object.clone(), message };
        self.problems = messages.into_iter().map(problem).collect();
    }
}

/// Reads the facts in the file at `path`, and what is wrong with single ones.
pub fn read(path: &Path) -> Result<(Facts, Vec<String>), String> {
    let unreadable = |error: std::io::Error| format!("The file cannot be read: {error}.");
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(format!("It is not a regular file of at most {} MiB.", MAX_BYTES >> 20));
    }
    Ok(Facts::parse(&std::fs::read_to_string(path).map_err(unreadable)?))
}

fn stamp(path: &Path) -> Option<FileStamp> {
    let of = |file: Metadata| Some((file.modified().ok()?, file.len(), file.ino()));
    std::fs::metadata(path).ok().and_then(of)
}
