//! The configuration file: providers, credentials and settings in YAML, under the names that they
//! have in the tables, in the Admin API and in the environment. [`read`] loads a file or reports
//! all that is wrong with it, each with its line; [`write()`] makes one.

mod read;
pub mod schema;
mod write;
pub(crate) mod yaml;

use std::collections::{HashMap, HashSet};
use std::fmt;

pub use read::{read, read_all};
pub use write::write;

use super::compile::{compile, judge, notices};
use super::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows};
use super::snapshot::{Problem, Snapshot};

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
    pub settings: Vec<Setting>,
    /// The position of a [`Problem`]'s object.
    places: HashMap<String, Place>,
    /// Lines on which a variable is missing.
    holes: HashSet<usize>,
    /// Keys of clients that may be guessed.
    weak_keys: Vec<Problem>,
}

/// Lines of a row.
#[derive(Debug, Clone, Default, PartialEq)]
struct Place {
    line: usize,
    /// Of its values, by their names in the file.
    fields: Vec<(&'static str, usize)>,
}

/// A process setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub value: super::secret::Secret,
    pub line: usize,
}

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// From 1.
    pub line: usize,
    pub message: String,
}

impl Complaint {
    fn new(line: usize, message: impl Into<String>) -> Complaint {
        Complaint { line, message: message.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl File {
    /// What is worth a warning of the file itself, beside [`notices`] of its rows.
    pub fn notices(&self) -> &[Problem] {
        &self.weak_keys
    }

    /// The rows, numbered from 1 in the order of the file.
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

    /// What would be served, and what of the file can't be.
    pub fn compile(&self, env: &super::compile::Env<'_>) -> (Snapshot, Vec<Complaint>) {
        let (snapshot, problems) = compile(&self.rows(), None, env);
        let mut complaints: Vec<_> = problems.iter().map(|problem| self.complain(problem)).collect();
        complaints.sort_by_key(|complaint| complaint.line);
        (snapshot, complaints)
    }

    /// What would keep a server from taking the file up; see [`judge`].
    pub fn judge(&self, env: &super::compile::Env<'_>) -> Vec<Complaint> {
        let (problems, _) = judge(&self.rows(), env);
        let mut complaints: Vec<_> = problems.iter().map(|problem| self.complain(problem)).collect();
        complaints.sort_by_key(|complaint| complaint.line);
        complaints
    }

    /// All that there is to say of rows that could be read, enabled or not: what is wrong, and what
    /// is worth a warning, which is an unset variable, a fault of a row that is disabled, and what
    /// was taken for what it must mean.
    pub fn review(&self, env: &super::compile::Env<'_>) -> (Vec<Complaint>, Vec<Complaint>) {
        let complain = |problem: &Problem| self.complain(problem);
        let errors = self.judge(env);
        let (_, problems) = compile(&self.rows(), None, env);
        let mut warnings: Vec<_> = problems.iter().map(complain).filter(|found| !errors.contains(found)).collect();
        let mut all = self.rows();
        all.providers.iter_mut().for_each(|row| row.is_enabled = !row.is_enabled);
        all.credentials.iter_mut().for_each(|row| row.is_enabled = !row.is_enabled);
        all.models.iter_mut().for_each(|row| row.is_enabled = !row.is_enabled);
        all.groups.iter_mut().for_each(|row| row.is_enabled = true);
        all.budgets.iter_mut().for_each(|row| row.is_enabled = !row.is_enabled);
        let disabled = judge(&all, env)
            .0
            .into_iter()
            .map(|problem| Problem { message: format!("{} (it is disabled)", problem.message), ..problem });
        warnings.extend(disabled.map(|problem| self.complain(&problem)));
        warnings.extend(notices(&self.rows(), env).iter().map(complain));
        warnings.extend(self.weak_keys.iter().map(complain));
        warnings.retain(|warning| !self.holes.contains(&warning.line));
        warnings.sort_by_key(|complaint| complaint.line);
        (errors, warnings)
    }

    /// A problem begins with the name of what it speaks of.
    fn complain(&self, problem: &Problem) -> Complaint {
        let word = match problem.message.split([' ', ':']).next().unwrap_or_default() {
            "type" => "provider_type",
            word => word,
        };
        let line = self.places.get(&problem.object).map_or(1, |place| {
            let field = place.fields.iter().find(|(name, _)| *name == word);
            field.map_or(place.line, |(_, line)| *line)
        });
        Complaint::new(line, format!("{}: {}", problem.object, problem.message))
    }

    /// What else is wrong, beside `complaints`: in each row that has a name, the fields of which no
    /// complaint speaks.
    fn problems_beside(&self, complaints: &[Complaint], env: &super::compile::Env<'_>) -> Vec<Complaint> {
        // The object and the field of a complaint, as `Fields` writes it.
        let spoken = |complaint: &Complaint| {
            let (object, rest) = complaint.message.split_once(": ")?;
            let field = match rest.split([' ', ':', ',']).next().unwrap_or_default() {
                "key" | "this" => "credential_key",
                field => field,
            };
            Some((object.to_owned(), field.to_owned()))
        };
        let spoken: HashSet<_> = complaints.iter().filter_map(spoken).collect();
        let (problems, _) = judge(&self.rows(), env);
        let known = |problem: &&Problem| {
            let word = problem.message.split([' ', ':']).next().unwrap_or_default();
            self.places.contains_key(&problem.object) && !spoken.contains(&(problem.object.clone(), word.to_owned()))
        };
        let found = problems.iter().filter(known).map(|problem| self.complain(problem));
        found.filter(|found| !self.holes.contains(&found.line)).collect()
    }
}
