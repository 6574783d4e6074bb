//! Rows of `budgets`. One that cannot be read would let its subject spend without a limit: what it
//! is of, as far as that can be read, is refused until it is corrected.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::config::budget::DOLLAR;
use crate::config::rows::BudgetRow;
use crate::config::snapshot::{Problem, Snapshot, TagBudgets};
use crate::limit::budget::{Budget, LARGEST, Scope, Terms, Unit};
use crate::limit::period::{Period, Zone};

/// The longest name of a tag, in bytes.
pub const LONGEST_TAG: usize = 64;

/// The budgets by their subjects.
#[derive(Default)]
pub(super) struct Budgets {
    by_subject: HashMap<(&'static str, String), Vec<Arc<Budget>>>,
    /// Subjects of a budget that can't be read.
    broken: HashSet<(&'static str, String)>,
}

impl Budgets {
    pub(super) fn is_empty(&self) -> bool {
        self.by_subject.is_empty() && self.broken.is_empty()
    }

    /// Returns the budgets of a subject. The error is the reason why the subject must be refused.
    pub(super) fn of(&self, scope: Scope, name: &str) -> Result<&[Arc<Budget>], String> {
        if self.is_empty() {
            return Ok(&[]);
        }
        let key = (scope.name(), name.to_owned());
        match self.broken.contains(&key) {
            true => Err(format!(
                "a budget of {} `{name}` can't be used; requests are refused until that is corrected",
                scope.name()
            )),
            false => Ok(self.by_subject.get(&key).map_or(&[], Vec::as_slice)),
        }
    }

    pub(super) fn tags(&self) -> Option<TagBudgets> {
        let is_tag = |scope: &str| scope == Scope::Tag.name();
        let good = self.by_subject.iter().filter(|((of, _), _)| is_tag(of));
        let mut tags: TagBudgets = good.map(|((_, tag), list)| (tag.as_str().into(), Some(list.clone()))).collect();
        let broken = self.broken.iter().filter(|(of, _)| is_tag(of));
        tags.extend(broken.map(|(_, tag)| (tag.as_str().into(), None)));
        (!tags.is_empty()).then_some(tags)
    }
}

/// Compiles all budgets. The slices that this node holds are carried over from `previous`.
pub(super) fn compile_all(
    rows: &[BudgetRow],
    previous: Option<&Snapshot>,
    snapshot: &mut Snapshot,
    problems: &mut Vec<Problem>,
) -> Budgets {
    let mut budgets = Budgets::default();
    let mut names = HashSet::new();
    for row in rows.iter().filter(|row| row.is_enabled) {
        let mut messages = Vec::new();
        let terms = terms(row, &mut messages);
        if !names.insert(row.name.as_str()) {
            messages.push("another row has this name, and counts".to_owned());
        } else if let Some(terms) = terms {
            let budget = carried_over(row, terms, previous);
            let key = (budget.terms.scope.name(), budget.terms.subject.to_string());
            budgets.by_subject.entry(key).or_default().push(budget.clone());
            snapshot.budgets.push(budget);
        } else if let Some(scope) = Scope::parse(&row.scope) {
            budgets.broken.insert((scope.name(), row.subject.clone()));
        }
        let object = || format!("budget {}", row.name);
        problems.extend(messages.into_iter().map(|message| Problem { object: object(), message }));
    }
    snapshot.budgets.sort_by_key(|budget| budget.id);
    budgets
}

fn carried_over(row: &BudgetRow, terms: Terms, previous: Option<&Snapshot>) -> Arc<Budget> {
    let known = previous.and_then(|previous| previous.budget(row.id)).filter(|known| *known.name == *row.name);
    if let Some(known) = known.filter(|known| known.terms == terms) {
        return known.clone();
    }
    // Other windows or another unit have other sums.
    let is_same = |known: &Terms| (known.unit, known.period, &known.zone) == (terms.unit, terms.period, &terms.zone);
    let state = known.filter(|known| is_same(&known.terms)).map(|known| known.state.clone());
    Arc::new(Budget::new(row.id, &row.name, terms, state.unwrap_or_default()))
}

fn terms(row: &BudgetRow, messages: &mut Vec<String>) -> Option<Terms> {
    const REFUSED: &str = "what it is of is refused until that is corrected";
    let mut missing = |column: &str, value: &str, choices: &str| {
        messages.push(format!("{column} `{value}` is none of {choices}; {REFUSED}"));
    };
    let scope = Scope::parse(&row.scope);
    if scope.is_none() {
        missing("scope", &row.scope, "credential, group, tag, provider");
    }
    let unit = Unit::parse(&row.unit);
    if unit.is_none() {
        missing("unit", &row.unit, "usd, tokens");
    }
    let period = Period::parse(&row.period);
    if period.is_none() {
        missing("period", &row.period, "hour, day, week, month, total");
    }
    let zone = Zone::parse(&row.time_zone);
    if zone.is_none() {
        missing("time_zone", &row.time_zone, "the names of the IANA time zone database, such as Europe/Berlin");
    }
    if !(0..=LARGEST).contains(&row.amount) {
        messages.push(format!("amount is not from 0 to {}; {REFUSED}", shown_largest(unit)));
        return None;
    }
    if row.subject.is_empty() || (scope == Some(Scope::Tag) && !is_tag(&row.subject)) {
        messages.push(format!("subject `{}` is no name of a {}; {REFUSED}", row.subject, row.scope));
        return None;
    }
    if scope == Some(Scope::Provider) && row.downgrade_to.is_some() {
        messages.push(
            "downgrade_to has no effect: when a provider's budget is used up, another provider is tried".to_owned(),
        );
    }
    let warn_at = warn_at(&row.warn_at).map_err(|message| messages.push(message)).unwrap_or_default();
    Some(Terms {
        scope: scope?,
        subject: row.subject.as_str().into(),
        unit: unit?,
        amount: row.amount,
        period: period?,
        zone: zone?,
        is_hard: row.is_hard,
        warn_at,
        downgrade_to: row.downgrade_to.as_deref().map(Box::from),
    })
}

fn shown_largest(unit: Option<Unit>) -> String {
    match unit {
        Some(Unit::Tokens) => format!("{LARGEST} tokens"),
        _ => format!("{} dollars", LARGEST / DOLLAR),
    }
}

/// Returns whether a request may carry this tag: letters, digits and `-_.:/`.
pub fn is_tag(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    !text.is_empty() && text.len() <= LONGEST_TAG && text.bytes().all(fits)
}

fn warn_at(json: &str) -> Result<Box<[u8]>, String> {
    let json = if json.is_empty() { "[]" } else { json };
    let mut percents: Vec<u8> = serde_json::from_str(json)
        .map_err(|_| "warn_at is no JSON array of whole numbers from 1 to 100; nothing is warned of".to_owned())?;
    if percents.iter().any(|percent| !(1..=100).contains(percent)) {
        return Err("warn_at has a number that is not from 1 to 100; nothing is warned of".to_owned());
    }
    percents.sort_unstable();
    percents.dedup();
    Ok(percents.into())
}
