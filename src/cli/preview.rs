//! A preview of what a gateway would serve of a store, in a shell that may lack its variables.

use std::collections::HashMap;

use super::print;
use crate::config::boot::Environment;
use crate::config::compile::{compile, judge};
use crate::config::rows::Rows;
use crate::config::snapshot::{Problem, Snapshot};
use crate::config::vault;

/// The variable that encrypted keys are opened with.
const SECRET_KEY: &str = "SECRET_KEY";

/// The rows as a gateway compiles them that has every variable which is not set here.
pub(super) struct Preview {
    pub(super) snapshot: Snapshot,
    /// Those that no variable would solve.
    pub(super) problems: Vec<Problem>,
    /// The variable that a provider's key needs and that is not set here, by the provider's id.
    pub(super) needs: HashMap<i64, String>,
}

impl Preview {
    /// Compiles `rows` with the variables of `environment`.
    pub(super) fn compile(rows: &Rows, environment: &Environment) -> Preview {
        let env = |name: &str| environment.get(name).map(str::to_owned);
        let mut rows = rows.clone();
        let mut needs = HashMap::new();
        let is_closed = env(SECRET_KEY).is_none();
        for row in rows.providers.iter_mut().filter(|row| is_closed && vault::is_sealed(&row.api_key)) {
            needs.insert(row.id, SECRET_KEY.to_owned());
            row.api_key = "sealed".to_owned().into();
        }
        let (problems, unset) = judge(&rows, &env);
        let is_unset = |name: &str| unset.iter().any(|known| known == name);
        let (snapshot, _) = compile(&rows, None, &|name| match is_unset(name) {
            true => Some("unset".to_owned()),
            false => env(name),
        });
        for row in &rows.providers {
            let name = row.api_key.trim().strip_prefix("env:").map(str::trim);
            if let Some(name) = name.filter(|name| is_unset(name)) {
                needs.insert(row.id, name.to_owned());
            }
        }
        Preview { snapshot, problems, needs }
    }

    /// Prints which variables are taken as set.
    pub(super) fn note_unset_variables(&self) {
        let mut names: Vec<&str> = self.needs.values().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        if !names.is_empty() {
            let names = names.join(", ");
            print::note("note", &format!("not set in this shell, and needed where the gateway runs: {names}"));
        }
    }
}
