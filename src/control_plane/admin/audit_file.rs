//! Writes each change as a line of JSON into a file, beside the table `audit_log`, for programs
//! that collect logs.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::control_plane::admin::field_values::Moment;
use crate::control_plane::store::Audit;

pub(super) struct File {
    path: PathBuf,
    /// LOG_FILE_MODE.
    mode: u32,
    /// It could not be written last time, which was logged.
    failing: AtomicBool,
}

/// A change of the configuration
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Entry<'a> {
    /// Id of the row in the table; absent in the file
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    timestamp: Moment,
    /// `admin:` and the fingerprint of the admin key, or `cli:` and the name of the system user
    actor: &'a str,
    /// Address that the request came from; only in the file
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    request_id: Option<&'a str>,
    action: &'a str,
    object: &'a str,
    object_id: i64,
    /// The row before, without secrets
    #[schemars(with = "Option<serde_json::Value>")]
    old: Option<&'a RawValue>,
    /// The row after, without secrets
    #[schemars(with = "Option<serde_json::Value>")]
    new: Option<&'a RawValue>,
}

impl<'a> Entry<'a> {
    /// Describes a change at a time in seconds since 1970, with neither id nor peer.
    pub(super) fn of(audit: &'a Audit, object_id: i64, seconds: i64) -> Entry<'a> {
        let raw = |text: &'a Option<String>| text.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Entry {
            id: None,
            timestamp: Moment(seconds),
            actor: &audit.actor,
            peer: None,
            request_id: audit.request_id.as_deref(),
            action: &audit.action,
            object: &audit.object,
            object_id,
            old: raw(&audit.old),
            new: raw(&audit.new),
        }
    }
}

impl<'a> Entry<'a> {
    /// Adds the id of the row in the table.
    pub(super) fn with_id(self, id: i64) -> Entry<'a> {
        Entry { id: Some(id), ..self }
    }
}

impl File {
    pub(super) fn new(path: PathBuf, mode: u32) -> File {
        File { path, mode, failing: AtomicBool::new(false) }
    }

    /// Appends a line. A failure loses the line and not the change, which is in the table as well.
    pub(super) fn append(&self, audit: &Audit, object_id: i64, peer: IpAddr) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let entry = Entry {
            peer: Some(peer.to_string()),
            ..Entry::of(audit, object_id, i64::try_from(now.as_secs()).unwrap_or_default())
        };
        let write = || -> std::io::Result<()> {
            let mut line = serde_json::to_vec(&entry)?;
            line.push(b'\n');
            let mut file = OpenOptions::new().create(true).append(true).mode(self.mode).open(&self.path)?;
            // One write, since other processes may append too.
            file.write_all(&line)
        };
        match write() {
            Ok(()) => self.failing.store(false, Ordering::Relaxed),
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                tracing::error!("gateway: the audit log {} can't be written: {error}", self.path.display());
            }
            Err(_) => {}
        }
    }
}
