//! `llm-proxy key create`.

use std::path::Path;

use serde_json::json;

use super::check::check;
use super::listing::Listing;
use super::priority::Priority;
use super::secret::{generate, hash};
use super::time::{DAY, now};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{self, NewName, StoreArgs, StoreLocation, call, number};
use crate::config::rows::CredentialRow;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    name: NewName,
    /// Group that the key belongs to [default: none]
    #[arg(long, value_name = "GROUP", value_parser = store::name)]
    group: Option<String>,
    /// Requests per second; 0 blocks the key [default: no limit]
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    rate_limit: Option<u32>,
    /// Requests that may arrive at one moment [default: the rate limit]
    #[arg(long, value_name = "B", requires = "rate_limit", value_parser = clap::value_parser!(u32).range(1..))]
    burst: Option<u32>,
    /// Tokens per minute, of prompts and responses together; 0 blocks the key [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    tokens_per_minute: Option<u32>,
    /// Requests in progress at one time; 0 blocks the key [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_concurrency: Option<u32>,
    /// Days until the key expires [default: never]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in: Option<u32>,
    /// A model or pattern that the key may use; may be repeated [default: every model]
    #[arg(long, value_name = "MODEL")]
    allow: Vec<String>,
    /// Who goes first of the requests that wait for room [default: normal]
    #[arg(long, value_enum)]
    priority: Option<Priority>,
}

impl Args {
    pub(super) fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let key = generate()?;
        let metadata = self.priority.unwrap_or(Priority::Normal).written_into("{}")?;
        let row = self.row(&key, metadata.to_string());
        if let Some(path) = store.config_file()? {
            return Err(unwritable(&path, self.name.get(), &key));
        }
        let place = store.open()?;
        check(&row, &place, "created")?;
        // A name may appear twice in the store, but whoever revokes by name wants to hit one key.
        if let Some(other) = Listing::read(&place)?.credentials.iter().find(|other| other.name == row.name) {
            let message = format!(
                "a key named `{}` exists (id {}); replace it with `llm-proxy key rotate {}`, or choose another name",
                row.name, other.id, row.name
            );
            return Err(Failure::failed(message));
        }
        let id = match &place {
            StoreLocation::Local(store, _) => store.create_credential(&row)?,
            StoreLocation::Remote(remote) => {
                let body = json!({
                    "key": key,
                    "name": row.name,
                    "group_name": row.group_name,
                    "allowed_models": self.allow,
                    "rate_limit": row.rate_limit,
                    "burst": row.burst,
                    "tokens_per_minute": row.tokens_per_minute,
                    "max_concurrency": row.max_concurrency,
                    "expires_at": row.expires_at,
                    "metadata": metadata,
                });
                let made: serde_json::Value = call(remote, "POST", "/credentials", Some(body.to_string()))?;
                number(&made, "/credential/id")
            }
        };
        print::line(&key)?;
        print::note(
            "note",
            &format!("created key {} with id {id}; it is shown this once, only its hash is stored", row.name),
        );
        place.note_written();
        Ok(())
    }

    fn row(&self, key: &str, metadata: String) -> CredentialRow {
        CredentialRow {
            credential_key: hash(key),
            name: self.name.get().to_owned(),
            group_name: self.group.clone(),
            allowed_models: json!(self.allow).to_string(),
            rate_limit: self.rate_limit.map(i64::from),
            burst: self.burst.map(i64::from),
            tokens_per_minute: self.tokens_per_minute.map(i64::from),
            max_concurrency: self.max_concurrency.map(i64::from),
            expires_at: self.expires_in.map(|days| now() + i64::from(days) * DAY),
            metadata,
            is_enabled: true,
            ..CredentialRow::default()
        }
    }
}

/// Says which line makes the key in a configuration file, which no command changes.
fn unwritable(path: &Path, name: &str, key: &str) -> Failure {
    Failure::failed(format!(
        "the keys of clients are those of the file {}; change them there, the server takes it up within a second; this \
         line under `credentials` makes the key: - {{name: {}, key: {key}}}",
        path.display(),
        json!(name)
    ))
}
