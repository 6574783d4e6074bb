//! What the commands that work on the store have in common.

use std::path::PathBuf;

use super::{Failure, print};
use crate::background::store::blocking::Blocking;
use crate::config::boot::{Boot, Environment};

#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// Directory of the embedded store [DATA_DIR, else ./data]
    // A global argument is also read by the commands above it, where `data_dir` is the flag of `serve`: hence its own id.
    #[arg(id = "store_dir", long = "data-dir", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl StoreArgs {
    /// Opens the store that `serve` would open with the same flag and environment.
    pub fn open(&self) -> Result<(Blocking, Environment), Failure> {
        let (environment, warnings) = Environment::of_process();
        for warning in warnings {
            print::note("warning", &warning.0);
        }
        let dir = match (&self.data_dir, environment.get("DATA_DIR")) {
            (Some(dir), _) => dir.clone(),
            (None, Some(dir)) => PathBuf::from(dir.trim()),
            (None, None) => Boot::default().data_dir,
        };
        Ok((Blocking::embedded(&dir)?, environment))
    }
}

/// The id and name of the row that `wanted`, a name or an id, means.
pub fn pick<'a>(
    what: &str,
    wanted: &str,
    rows: impl Iterator<Item = (i64, &'a str)>,
) -> Result<(i64, &'a str), Failure> {
    let by_id = wanted.parse::<i64>().ok();
    let found: Vec<_> = rows.filter(|(id, name)| *name == wanted || Some(*id) == by_id).collect();
    match found.as_slice() {
        [row] => Ok(*row),
        [] => Err(Failure::failed(format!("there is no {what} with the name or id `{wanted}`"))),
        rows => {
            let ids = rows.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(", ");
            Err(Failure::failed(format!(
                "`{wanted}` may mean the {what}s with the ids {ids}; name the one by what only it has"
            )))
        }
    }
}

/// A name that lists, logs and metric labels can bear.
pub fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.trim() != text {
        return Err("a name is not empty and does not begin or end with a space".to_owned());
    }
    if text.chars().any(char::is_control) || text.chars().count() > 255 {
        return Err("a name has at most 255 characters, all of them visible".to_owned());
    }
    Ok(text.to_owned())
}
