//! The files that rows name: keys (`file:PATH`) and certificates of providers. When one changes,
//! the rows are compiled again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::config::outbound;
use crate::config::rows::Rows;
use crate::tls::{FileStamp, file_stamp};

/// How often the files are compared with what was read.
const INTERVAL: Duration = Duration::from_secs(1);

/// The files that rows name, such as certificates, and when each was changed.
pub(crate) struct RowFiles {
    files: Vec<(PathBuf, Option<FileStamp>)>,
    next_look: Instant,
}

impl Default for RowFiles {
    fn default() -> RowFiles {
        RowFiles { files: Vec::new(), next_look: Instant::now() }
    }
}

impl RowFiles {
    /// Notes the files of `rows` as they are now.
    pub(crate) fn follow(&mut self, rows: &Rows) {
        self.files.clear();
        for row in rows.providers.iter().filter(|row| row.is_enabled) {
            let key = row.api_key.trim().strip_prefix("file:").map(|path| Path::new(path.trim()).to_owned());
            let named = row.provider_params.contains("\"tls\"").then(|| outbound::files(&row.provider_params));
            for path in key.into_iter().chain(named.into_iter().flatten()) {
                let stamp = file_stamp(&path);
                self.files.push((path, stamp));
            }
        }
    }

    /// Waits until a file differs from what it was; for ever if there is none. What is known stays
    /// when the future is dropped.
    pub(crate) async fn changed(&mut self) {
        if self.files.is_empty() {
            return std::future::pending().await;
        }
        loop {
            sleep_until(self.next_look).await;
            self.next_look = Instant::now() + INTERVAL;
            if self.files.iter().any(|(path, stamp)| file_stamp(path) != *stamp) {
                return;
            }
        }
    }
}
