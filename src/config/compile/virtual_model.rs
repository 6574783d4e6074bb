//! The rows of `virtual_models`: each read by itself, then those that name one another put
//! together.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::rows::{ModelRow, Rows};
use crate::config::share::Share;
use crate::config::snapshot::{Problem, Snapshot};
use crate::config::virtual_models::{self, Member, Options, VirtualModel, Written};

/// Members of a virtual model with those of all others that it names.
const MAX_MEMBERS: usize = 256;

/// A row that was read, with its members as written.
struct Read<'r> {
    row: &'r ModelRow,
    members: Vec<Written>,
    overrides: Vec<(Box<str>, Vec<Written>)>,
    options: Options,
    messages: Vec<String>,
}

pub(super) fn virtual_models(rows: &Rows, snapshot: &mut Snapshot, problems: &mut Vec<Problem>) {
    let mut read: Vec<Read<'_>> = rows.models.iter().filter(|row| row.is_enabled).map(read_row).collect();
    read.sort_by_key(|read| read.row.id);
    let mut names: HashMap<&str, usize> = HashMap::new();
    for (at, one) in read.iter_mut().enumerate() {
        if one.row.name.is_empty() || names.contains_key(one.row.name.as_str()) {
            one.messages.push(format!("another row has this name; the one with id {} is not served", one.row.id));
        } else {
            names.insert(&one.row.name, at);
        }
    }
    let mut found = Vec::new();
    for (at, one) in read.iter().enumerate() {
        let mut messages = one.messages.clone();
        if names.get(one.row.name.as_str()) == Some(&at) {
            let (row, options) = (one.row, one.options.clone());
            let mut expand =
                |list: &[Written]| Expansion { read: &read, names: &names }.expand(at, list, &mut messages);
            let members = expand(&one.members);
            let overrides = one.overrides.iter().map(|(name, list)| (name.clone(), expand(list))).collect();
            if members.is_empty() {
                messages.push("members has none that can be used; the model is not served".to_owned());
            } else {
                let name = row.name.as_str().into();
                found.push(VirtualModel { id: row.id, name, members, overrides, options });
            }
        }
        let object = object(one.row);
        problems.extend(messages.into_iter().map(|message| Problem { object: object.clone(), message }));
    }
    snapshot.virtual_models = found.into_iter().map(|model| (Box::from(&*model.name), Arc::new(model))).collect();
}

fn object(row: &ModelRow) -> String {
    match row.name.as_str() {
        "" => format!("model {}", row.id),
        name => format!("model {name}"),
    }
}

fn read_row(row: &ModelRow) -> Read<'_> {
    let mut messages = Vec::new();
    let members = virtual_models::members("members", &row.members, &mut messages);
    let overrides = virtual_models::overrides(&row.overrides, &mut messages);
    let options = virtual_models::options(&row.options, &mut messages);
    Read { row, members, overrides, options, messages }
}

/// Puts the members of other virtual models in the places of their names.
struct Expansion<'a, 'r> {
    read: &'a [Read<'r>],
    names: &'a HashMap<&'r str, usize>,
}

/// A member whose tier is not numbered yet: the tiers of the lists that it stands in, the outer one
/// first. Absent ones are 0.
struct Placed {
    tiers: Vec<u32>,
    member: Member,
}

impl Expansion<'_, '_> {
    /// Returns the members of a list of the row at `at`.
    fn expand(&self, at: usize, list: &[Written], messages: &mut Vec<String>) -> Vec<Member> {
        let mut path = vec![at];
        let mut placed = self.list(&mut path, list, messages);
        if placed.len() > MAX_MEMBERS {
            messages.push(format!(
                "members are {} with those of other virtual models; at most {MAX_MEMBERS} are used",
                placed.len()
            ));
            placed.truncate(MAX_MEMBERS);
        }
        let depth = placed.iter().map(|placed| placed.tiers.len()).max().unwrap_or_default();
        placed.iter_mut().for_each(|placed| placed.tiers.resize(depth, 0));
        let mut tiers: Vec<_> = placed.iter().map(|placed| placed.tiers.clone()).collect();
        tiers.sort_unstable();
        tiers.dedup();
        let number = |own: &Vec<u32>| tiers.binary_search(own).map_or(u32::MAX, |at| at as u32);
        placed.iter().map(|Placed { tiers, member }| Member { priority: number(tiers), ..member.clone() }).collect()
    }

    /// `path` is the rows whose lists are being expanded. Its last is that of `list`.
    fn list(&self, path: &mut Vec<usize>, list: &[Written], messages: &mut Vec<String>) -> Vec<Placed> {
        let mut found = Vec::new();
        for written in list {
            if found.len() > MAX_MEMBERS {
                break;
            }
            let own_name = path.last().map(|at| self.read[*at].row.name.as_str());
            // A model's own name is the model of the providers that has it.
            let inner = self.names.get(&*written.model).filter(|_| written.provider.is_none());
            match inner.filter(|_| own_name != Some(&*written.model)) {
                None => found.push(Placed { tiers: vec![written.priority], member: member(written) }),
                Some(at) if path.contains(at) => {
                    let names: Vec<_> = path.iter().chain([at]).map(|at| self.read[*at].row.name.as_str()).collect();
                    messages.push(format!(
                        "members: `{}` leads back to a model that it is a member of ({}); it is left out",
                        written.model,
                        names.join(" -> ")
                    ));
                }
                Some(at) => {
                    path.push(*at);
                    let inner = self.list(path, &self.read[*at].members, messages);
                    path.pop();
                    found.extend(within(written, inner));
                }
            }
        }
        found
    }
}

fn member(written: &Written) -> Member {
    Member {
        model: written.model.clone(),
        provider: written.provider.clone(),
        share: Share::whole(written.weight),
        priority: written.priority,
        context_window: written.context_window,
    }
}

/// Puts the members of a virtual model, which is itself a member, into its tier. Each tier of them
/// shares the whole weight.
fn within(outer: &Written, inner: Vec<Placed>) -> Vec<Placed> {
    let total = |tiers: &[u32]| {
        let same = inner.iter().filter(|placed| placed.tiers == tiers);
        same.fold(Share::whole(0), |sum, placed| sum.plus(placed.member.share))
    };
    let totals: Vec<_> = inner.iter().map(|placed| total(&placed.tiers)).collect();
    let place = |(Placed { tiers, member }, total): (Placed, Share)| {
        let tiers = std::iter::once(outer.priority).chain(tiers).collect();
        let share = Share::whole(outer.weight).part(member.share, total);
        Placed { tiers, member: Member { share, ..member } }
    };
    inner.into_iter().zip(totals).map(place).collect()
}

/// Returns what is worth a warning of virtual models that are served: members that no provider
/// serves, overrides of nobody, names that hide those of real models.
pub(super) fn notices(rows: &Rows, snapshot: &Snapshot) -> Vec<Problem> {
    let mut found = Vec::new();
    for row in rows.models.iter().filter(|row| row.is_enabled) {
        let Some(model) = snapshot.virtual_models.get(row.name.as_str()) else { continue };
        let mut note = |message: String| found.push(Problem { object: object(row), message });
        let lists = std::iter::once(&model.members).chain(model.overrides.iter().map(|(_, members)| members));
        for member in lists.flatten() {
            let of_name = |key: &str| rows.providers.iter().any(|provider| provider.provider_key == key);
            match &member.provider {
                Some(provider) if !of_name(provider) => note(format!("members: there is no provider `{provider}`")),
                _ if !snapshot.providers.iter().any(|provider| member.is_served_by(provider)) => {
                    note(format!("members: no provider in use serves `{}`", member.model));
                }
                _ => {}
            }
        }
        for (name, _) in &model.overrides {
            if !rows.credentials.iter().any(|row| row.name == **name) {
                note(format!("overrides: there is no credential named `{name}`"));
            }
        }
        let own = model.members.iter().any(|member| *member.model == *model.name);
        let hidden = snapshot.providers.iter().find(|provider| {
            provider.models.named(&model.name).is_some_and(|named| named != crate::config::models::Named::AsEvery)
        });
        if let Some(provider) = hidden.filter(|_| !own) {
            note(format!(
                "name hides the model `{}` of provider `{}`, which nobody can ask for any more; choose another name, \
                 or make that model a member",
                model.name, provider.key
            ));
        }
    }
    found.dedup();
    found
}
