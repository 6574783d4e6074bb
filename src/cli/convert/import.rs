//! The parts of another gateway's configuration that were understood, as rows of this one.

use crate::config::budget::DOLLAR;
use crate::config::file::{self, FileProblem};
use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows};

/// The result of a conversion while the file is read.
#[derive(Debug, Default)]
pub(super) struct Import {
    pub(super) providers: Vec<Draft>,
    pub(super) credentials: Vec<CredentialRow>,
    pub(super) groups: Vec<GroupRow>,
    pub(super) models: Vec<ModelRow>,
    pub(super) budgets: Vec<BudgetRow>,
    /// Names that stand for several models in the other gateway's keys, each with one of them.
    pub(super) access_groups: Vec<(String, String)>,
    /// Settings by their names in a configuration file, with values as YAML.
    settings: Vec<(&'static str, String)>,
    /// Whether a password stands in a setting.
    pub(super) has_password: bool,
    /// The parts that are not carried over.
    pub(super) left: Vec<FileProblem>,
}

/// A provider while models are added to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub(super) name: String,
    /// The name of the vendor in the other gateway's file.
    pub(super) vendor: String,
    pub(super) kind: &'static str,
    pub(super) base: String,
    pub(super) api_key: String,
    /// Names and values of headers.
    pub(super) headers: Vec<(String, String)>,
    pub(super) weight: i64,
    /// 0 is the first tier.
    pub(super) tier: i64,
    /// Further members of `provider_params`: names, and values as JSON.
    pub(super) params: Vec<(&'static str, String)>,
    pub(super) budget: Option<Spending>,
    /// Model, upstream model, and what else is known of it as JSON members. Empty: it serves what
    /// no other provider has a name or a pattern for.
    pub(super) models: Vec<DraftModel>,
}

/// A model's name, its name at the provider, and what else is known of it: JSON members.
pub(super) type DraftModel = (String, String, Vec<(String, String)>);

impl Draft {
    /// Returns whether both are the same account at the same place with the same share. What has
    /// limits or a budget of its own is like nothing else: they would count for both together.
    fn is_like(&self, other: &Draft) -> bool {
        let is_bounded =
            |draft: &Draft| draft.budget.is_some() || draft.params.iter().any(|(name, _)| *name == "limits");
        let key = |draft: &Draft| {
            let account = (draft.kind, draft.base.clone(), draft.api_key.clone(), draft.headers.clone());
            (account, draft.weight, draft.tier, draft.params.clone())
        };
        key(self) == key(other) && !is_bounded(self) && self.models.is_empty() == other.models.is_empty()
    }

    pub(super) fn serves(&self, model: &str) -> bool {
        self.models.iter().any(|(known, ..)| known == model)
    }

    /// Returns the entry of a model that the other gateway serves by the pattern `pattern`, which
    /// has one star.
    fn entry_by(&self, pattern: &str, model: &str) -> Option<DraftModel> {
        let (_, upstream, more) = self.models.iter().find(|(known, ..)| known == pattern)?;
        let part = starred(pattern, model)?;
        Some((model.to_owned(), upstream.replacen('*', part, 1), more.clone()))
    }

    fn row(self) -> ProviderRow {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let entry = |(model, upstream, more): &(String, String, Vec<(String, String)>)| {
            let more: String = more.iter().map(|(name, value)| format!(",{}:{value}", text(name))).collect();
            match more.is_empty() {
                true => format!("{}:{}", text(model), text(upstream)),
                false => format!("{}:{{\"mapped_model\":{}{more}}}", text(model), text(upstream)),
            }
        };
        let models: Vec<_> = self.models.iter().map(entry).collect();
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| format!("{}:{}", text(name), text(value))).collect();
        let mut params: Vec<(&str, String)> = Vec::new();
        if !headers.is_empty() {
            params.push(("custom_headers", format!("{{{}}}", headers.join(","))));
        }
        if self.tier > 0 {
            params.push(("priority", self.tier.to_string()));
        }
        params.extend(self.params);
        let params: Vec<_> = params.iter().map(|(name, value)| format!("{}:{value}", text(name))).collect();
        ProviderRow {
            provider_key: self.name,
            provider_type: self.kind.to_owned(),
            api_base: self.base,
            api_key: self.api_key.into(),
            model_mapping: format!("{{{}}}", models.join(",")),
            weight: self.weight,
            provider_params: format!("{{{}}}", params.join(",")),
            is_enabled: true,
            ..ProviderRow::default()
        }
    }
}

/// Returns the drafts that serve a model, each with its entry for it: those that have its name, or
/// those with the longest pattern that it matches, or those that serve what is left.
pub(super) fn serving<'d>(drafts: &'d [Draft], model: &str) -> Vec<(&'d Draft, DraftModel)> {
    let by_name = |draft: &'d Draft| Some((draft, draft.models.iter().find(|(known, ..)| known == model)?.clone()));
    let named: Vec<_> = drafts.iter().filter_map(by_name).collect();
    if !named.is_empty() {
        return named;
    }
    let patterns = drafts.iter().flat_map(|draft| &draft.models).map(|(pattern, ..)| pattern.as_str());
    let matching = patterns.filter(|pattern| starred(pattern, model).is_some());
    let Some(pattern) = matching.max_by_key(|pattern| pattern.len()) else {
        let catch_alls = drafts.iter().filter(|draft| draft.models.is_empty());
        return catch_alls.map(|draft| (draft, (model.to_owned(), model.to_owned(), Vec::new()))).collect();
    };
    drafts.iter().filter_map(|draft| Some((draft, draft.entry_by(pattern, model)?))).collect()
}

/// Returns the text that the star of a pattern stands for in a model's name.
fn starred<'m>(pattern: &str, model: &'m str) -> Option<&'m str> {
    let (begin, end) = pattern.split_once('*')?;
    model.strip_prefix(begin)?.strip_suffix(end)
}

impl Import {
    /// Reports a part that is not carried over.
    pub(super) fn leave(&mut self, line: usize, message: impl Into<String>) {
        self.left.push(FileProblem { line, message: message.into() });
    }

    /// Reports a field that has no counterpart.
    pub(super) fn leave_field(&mut self, line: usize, path: &str) {
        self.leave(line, format!("{path} has no counterpart and is not carried over"));
    }

    /// Adds a model to a provider like `draft` that does not serve it yet, or to a new one.
    pub(super) fn add(&mut self, draft: Draft) {
        if draft.models.is_empty() {
            let name = self.free_name(&draft.name);
            self.providers.push(Draft { name, ..draft });
            return;
        }
        let mut new: Option<usize> = None;
        for model in draft.models.clone() {
            let place = new.filter(|at| self.providers.get(*at).is_some_and(|known: &Draft| !known.serves(&model.0)));
            let like = |known: &Draft| known.is_like(&draft) && !known.serves(&model.0);
            match place.or_else(|| self.providers.iter().position(like)).and_then(|at| self.providers.get_mut(at)) {
                Some(known) => known.models.push(model),
                None => {
                    let name = self.free_name(&draft.name);
                    new = Some(self.providers.len());
                    self.providers.push(Draft { name, models: vec![model], ..draft.clone() });
                }
            }
        }
    }

    /// Gives a vendor's provider a budget. Returns false if the vendor is not one provider here.
    pub(super) fn bound_vendor(&mut self, vendor: &str, spending: &Spending) -> bool {
        let mut drafts = self.providers.iter_mut().filter(|draft| draft.vendor == vendor);
        match (drafts.next(), drafts.next()) {
            (Some(draft), None) => draft.budget = Some(spending.clone()),
            _ => return false,
        }
        true
    }

    /// Adds a budget under a name that no other one has.
    pub(super) fn add_budget(&mut self, scope: &str, subject: &str, spending: &Spending) {
        let taken = |name: &str| self.budgets.iter().any(|row| row.name == name);
        let name = free(&format!("{subject}-{}", spending.period), &taken);
        self.budgets.push(BudgetRow {
            name,
            scope: scope.to_owned(),
            subject: subject.to_owned(),
            unit: spending.unit.to_owned(),
            amount: spending.amount,
            period: spending.period.to_owned(),
            is_hard: true,
            warn_at: "[]".to_owned(),
            is_enabled: true,
            ..BudgetRow::default()
        });
    }

    fn free_name(&self, name: &str) -> String {
        free(name, &|name: &str| self.providers.iter().any(|draft| draft.name == name))
    }

    pub(super) fn set(&mut self, name: &'static str, value: impl ToString) {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_string()));
    }

    /// Takes what is not carried over, in the order of lines.
    pub(super) fn take_notes(&mut self) -> Vec<FileProblem> {
        self.left.sort_by_key(|problem| problem.line);
        std::mem::take(&mut self.left)
    }

    /// Writes the configuration file.
    pub(super) fn text(mut self) -> String {
        let bounded: Vec<_> =
            self.providers.iter().filter_map(|draft| Some((draft.name.clone(), draft.budget.clone()?))).collect();
        for (name, spending) in bounded {
            self.add_budget("provider", &name, &spending);
        }
        let mut text = String::new();
        if !self.settings.is_empty() {
            text.push_str("settings:\n");
            for (name, value) in &self.settings {
                text.push_str(&format!("  {name}: {value}\n"));
            }
        }
        let providers = std::mem::take(&mut self.providers).into_iter().map(Draft::row).collect();
        let Import { credentials, groups, models, budgets, .. } = self;
        let rows = Rows { version: 0, providers, credentials, groups, models, budgets };
        text.push_str(&file::write(&rows, &|_| None));
        fill_in(&text)
    }
}

/// Returns `name`, or with a number behind it where that is taken.
pub(super) fn free(name: &str, taken: &dyn Fn(&str) -> bool) -> String {
    if !taken(name) {
        return name.to_owned();
    }
    (2..).map(|count| format!("{name}-{count}")).find(|name| !taken(name)).unwrap_or_default()
}

/// What may be spent in a window.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spending {
    /// `usd` or `tokens`.
    unit: &'static str,
    /// Billionths of a dollar, or tokens.
    amount: i64,
    period: &'static str,
}

impl Spending {
    /// Makes a budget of an amount in dollars, and of a time such as `30d`; without a time it never
    /// renews. Months are `mo` or `M`.
    ///
    /// # Errors
    /// What keeps it from being carried over.
    pub(super) fn new(dollars: Option<f64>, time: Option<&str>) -> Result<Spending, String> {
        // More does not fit into a budget.
        const LARGEST: f64 = 9e6;
        let dollars = dollars.filter(|dollars| (0.0..=LARGEST).contains(dollars));
        let dollars = dollars.ok_or("the amount is no number from 0 to 9000000")?;
        Ok(Spending { unit: "usd", amount: (dollars * DOLLAR as f64).round() as i64, period: period(time)? })
    }

    /// Makes a budget of an amount of tokens in a time.
    ///
    /// # Errors
    /// What keeps it from being carried over.
    pub(super) fn of_tokens(tokens: i64, time: &str) -> Result<Spending, String> {
        Ok(Spending { unit: "tokens", amount: tokens, period: period(Some(time))? })
    }
}

/// Returns the period of a budget for a time; without one it never renews.
fn period(time: Option<&str>) -> Result<&'static str, String> {
    Ok(match time {
        None => "total",
        Some("1h" | "60m" | "3600s") => "hour",
        Some("1d" | "24h" | "86400s") => "day",
        Some("1w" | "7d" | "168h") => "week",
        Some("1mo" | "1M" | "30d") => "month",
        Some(other) => {
            return Err(format!("a budget here is for an hour, a day, a week, a month or in all, not for `{other}`"));
        }
    })
}

/// Returns a value that the environment will have: [`fill_in`] makes `${NAME}` of it. Rows hold it
/// as text, in which a dollar sign stands for itself.
pub(super) fn variable(name: &str) -> String {
    format!("\u{1}{name}\u{2}")
}

/// Replaces the marks of [`variable`], which `file::write` has escaped; a hash that is one becomes
/// a key.
fn fill_in(text: &str) -> String {
    let text = text.replace("\\u0001", "${").replace("\\u0002", "}");
    text.replace("credential_key: \"${", "key: \"${")
}

/// Requests per second of so many in `window` seconds: at least one, since there is no smaller rate
/// here, and none if there may be none.
pub(super) fn rate(most: i64, window: i64) -> i64 {
    if most == 0 { 0 } else { most.saturating_add(window / 2).div_euclid(window.max(1)).max(1) }
}

/// A weight as this gateway has them, from shares that may be fractions.
pub(super) fn weight(share: f64) -> i64 {
    let scaled = if share.fract() == 0.0 { share } else { share * 100.0 };
    (scaled.round() as i64).clamp(0, 1_000_000)
}
