//! The content of a configuration file.

use std::collections::{HashMap, HashSet};

use super::problem::FileProblem;
use crate::config::boot::FileSetting;
use crate::config::compile::{compile, judge, notices};
use crate::config::env::Env;
use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows};
use crate::config::snapshot::{Problem, Snapshot};

/// The content of a file. Rows have no ids and no versions: the store that loads them assigns
/// these.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct File {
    pub providers: Vec<ProviderRow>,
    pub credentials: Vec<CredentialRow>,
    pub groups: Vec<GroupRow>,
    pub models: Vec<ModelRow>,
    pub budgets: Vec<BudgetRow>,
    /// By the names of variables.
    pub settings: Vec<FileSetting>,
    /// The lines of each row, by the object that its [`Problem`]s name.
    pub(super) places: HashMap<String, Place>,
    /// Lines with a `${NAME}` whose variable is not set.
    pub(super) holes: HashSet<usize>,
    /// Warnings of clients' keys that are short enough to be guessed.
    pub(super) weak_keys: Vec<Problem>,
}

/// The lines of one row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Place {
    pub(super) line: usize,
    /// The lines of its values, by their names in the file.
    pub(super) fields: Vec<(&'static str, usize)>,
}

impl File {
    /// Returns warnings about the file itself; those about its rows come from [`notices`].
    pub fn notices(&self) -> &[Problem] {
        &self.weak_keys
    }

    /// Returns the rows, numbered from 1 in the order of the file.
    pub fn rows(&self) -> Rows {
        let (providers, credentials) = (self.providers.clone(), self.credentials.clone());
        let mut rows = Rows { version: 0, providers, credentials, ..Rows::default() };
        (rows.groups, rows.models, rows.budgets) = (self.groups.clone(), self.models.clone(), self.budgets.clone());
        (1..).zip(&mut rows.budgets).for_each(|(id, row)| row.id = id);
        (1..).zip(&mut rows.groups).for_each(|(id, row)| row.id = id);
        (1..).zip(&mut rows.models).for_each(|(id, row)| row.id = id);
        (1..).zip(&mut rows.providers).for_each(|(id, row)| row.id = id);
        (1..).zip(&mut rows.credentials).for_each(|(id, row)| row.id = id);
        rows
    }

    /// Compiles the rows. Returns what a gateway would serve, and the problems of the rest.
    pub fn compile(&self, env: &Env<'_>) -> (Snapshot, Vec<FileProblem>) {
        let (snapshot, problems) = compile(&self.rows(), None, env);
        let mut located: Vec<_> = problems.iter().map(|problem| self.locate(problem)).collect();
        located.sort_by_key(|problem| problem.line);
        (snapshot, located)
    }

    /// Returns the problems for which a server refuses the file; see [`judge`].
    pub fn judge(&self, env: &Env<'_>) -> Vec<FileProblem> {
        let (problems, _) = judge(&self.rows(), env);
        let mut located: Vec<_> = problems.iter().map(|problem| self.locate(problem)).collect();
        located.sort_by_key(|problem| problem.line);
        located
    }

    /// Returns the errors and the warnings about the rows that could be read, enabled or not. A
    /// warning is an unset variable, a problem of a disabled row, or a value that was taken for
    /// what it must mean.
    pub fn review(&self, env: &Env<'_>) -> (Vec<FileProblem>, Vec<FileProblem>) {
        let locate = |problem: &Problem| self.locate(problem);
        let errors = self.judge(env);
        let (_, problems) = compile(&self.rows(), None, env);
        let mut warnings: Vec<_> = problems.iter().map(locate).filter(|found| !errors.contains(found)).collect();
        let mut all = self.rows();
        all.providers.iter_mut().for_each(|row| row.is_enabled = !row.is_enabled);
        all.credentials.iter_mut().for_each(|row| row.is_enabled = !row.is_enabled);
        all.models.iter_mut().for_each(|row| row.is_enabled = !row.is_enabled);
        all.groups.iter_mut().for_each(|row| row.is_enabled = true);
        all.budgets.iter_mut().for_each(|row| row.is_enabled = !row.is_enabled);
        let (known, _) = judge(&self.rows(), env);
        let disabled = judge(&all, env)
            .0
            .into_iter()
            .filter(|problem| !known.contains(problem))
            .map(|problem| Problem { message: format!("{} (it is disabled)", problem.message), ..problem });
        warnings.extend(disabled.map(|problem| self.locate(&problem)));
        warnings.extend(notices(&self.rows(), env).iter().map(locate));
        warnings.extend(self.weak_keys.iter().map(locate));
        warnings.retain(|warning| !self.holes.contains(&warning.line));
        warnings.sort_by_key(|problem| problem.line);
        (errors, warnings)
    }

    /// Finds the line of a problem, whose message begins with the name of its field.
    pub(super) fn locate(&self, problem: &Problem) -> FileProblem {
        let word = match problem.message.split([' ', ':']).next().unwrap_or_default() {
            "type" => "provider_type",
            word => word,
        };
        let line = self.places.get(&problem.object).map_or(1, |place| {
            let field = place.fields.iter().find(|(name, _)| *name == word);
            field.map_or(place.line, |(_, line)| *line)
        });
        FileProblem::new(line, format!("{}: {}", problem.object, problem.message))
    }

    /// Returns the problems of fields that `known` does not mention, in rows that have a name.
    pub(super) fn problems_beside(&self, known: &[FileProblem], env: &Env<'_>) -> Vec<FileProblem> {
        // The object and the field that a problem names, as `Fields` writes it.
        let mentioned = |problem: &FileProblem| {
            let (object, rest) = problem.message.split_once(": ")?;
            let field = match rest.split([' ', ':', ',']).next().unwrap_or_default() {
                "key" | "this" => "credential_key",
                field => field,
            };
            Some((object.to_owned(), field.to_owned()))
        };
        let mentioned: HashSet<_> = known.iter().filter_map(mentioned).collect();
        let (problems, _) = judge(&self.rows(), env);
        let known = |problem: &&Problem| {
            let word = problem.message.split([' ', ':']).next().unwrap_or_default();
            self.places.contains_key(&problem.object) && !mentioned.contains(&(problem.object.clone(), word.to_owned()))
        };
        let found = problems.iter().filter(known).map(|problem| self.locate(problem));
        found.filter(|found| !self.holes.contains(&found.line)).collect()
    }
}
