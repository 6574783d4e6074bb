//! Whether a gateway would serve a virtual model, before a command writes it.

use crate::cli::failure::Failure;
use crate::cli::print;
use crate::config::compile::{judge, notices};
use crate::config::rows::{ModelRow, Rows};

/// Checks the row among those of the store, as a server does. Fails if it would have a problem;
/// `done` is the participle of that error's sentence. Prints a warning for anything that may be
/// wrong.
pub(super) fn check(rows: &Rows, row: &ModelRow, done: &str) -> Result<(), Failure> {
    let row = ModelRow { is_enabled: true, ..row.clone() };
    let others = rows.models.iter().filter(|other| other.id != row.id);
    let rows = Rows { models: others.cloned().chain([row.clone()]).collect(), ..rows.clone() };
    let env = |_: &str| Some("unset".to_owned());
    let object = format!("model {}", row.name);
    let (problems, _) = judge(&rows, &env);
    let messages: Vec<_> =
        problems.into_iter().filter(|problem| problem.object == object).map(|problem| problem.message).collect();
    if !messages.is_empty() {
        return Err(Failure::failed(format!(
            "model {} is not {done}, for it would have a problem: {}",
            row.name,
            messages.join("; also, ")
        )));
    }
    for notice in notices(&rows, &env).iter().filter(|notice| notice.object == object) {
        print::note("warning", &notice.message);
    }
    Ok(())
}
