//! LiteLLM's `/model/info`: one entry for each pair of provider and mapping key.
//!
//! `api_base` is always null: it would disclose the names of internal hosts to every client. The
//! member is there for the clients that expect it.

use super::query::Query;
use super::visible::Listing;
use crate::config::models::Allowed;
use crate::config::snapshot::Provider;
use crate::config::virtual_models::VirtualModel;
use llm_wire::error::Error;
use llm_wire::json::{RawValue, write};

const PAGE: usize = 50;
const MAX_PAGE: usize = 100;
/// Exceeds the pages of any list, and bounds the arithmetic.
const LAST_PAGE: usize = 1 << 30;

struct Entry<'a> {
    provider: &'a Provider,
    /// A model or a pattern.
    name: &'a str,
    /// The upstream model.
    mapped: &'a str,
    is_pattern: bool,
    metadata: Option<&'a str>,
}

#[derive(Clone, Copy)]
enum Sort {
    Model,
    Provider,
    Weight,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Ascending,
    Descending,
}

/// `/v1/model/info`.
pub(super) fn all(listing: &Listing<'_>, query: &Query) -> Vec<u8> {
    let entries = filtered(listing, query, "litellm_model_id");
    let mut out = Vec::with_capacity(1024);
    write::object(&mut out, |o| data(o, &entries));
    out
}

/// `/v2/model/info`.
pub(super) fn page(listing: &Listing<'_>, query: &Query) -> Result<Vec<u8>, Error> {
    let page = query.number("page", 1, 1..=LAST_PAGE)?;
    let size = query.number("size", PAGE, 1..=MAX_PAGE)?;
    let sort = [("model_name", Sort::Model), ("provider_name", Sort::Provider), ("weight", Sort::Weight)];
    let sort = query.choice("sortBy", &sort)?;
    let direction = [("asc", Direction::Ascending), ("desc", Direction::Descending)];
    let direction = query.choice("sortOrder", &direction)?.unwrap_or(Direction::Ascending);

    let mut entries = filtered(listing, query, "modelId");
    if let Some(search) = query.get("search") {
        let search = search.to_lowercase();
        entries.retain(|entry| entry.name.to_lowercase().contains(&search));
    }
    if let Some(sort) = sort {
        sort_entries(&mut entries, sort, direction);
    }
    let shown = entries.chunks(size).nth(page - 1).unwrap_or_default();
    let mut out = Vec::with_capacity(1024);
    write::object(&mut out, |o| {
        data(o, shown);
        o.u64("total_count", entries.len() as u64);
        o.u64("current_page", page as u64);
        o.u64("size", size as u64);
        o.u64("total_pages", entries.len().div_ceil(size) as u64);
    });
    Ok(out)
}

/// Returns what the caller may see, in the order of providers and of their mappings.
/// `mapped_parameter` is the query parameter that filters by upstream model.
fn filtered<'a>(listing: &Listing<'a>, query: &Query, mapped_parameter: &str) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for provider in &listing.snapshot.providers {
        let provider: &'a Provider = provider;
        entries.extend(provider.models.entries().iter().filter(|entry| visible(listing, entry)).map(|entry| Entry {
            provider,
            name: entry.key(),
            mapped: entry.mapped_name(),
            is_pattern: entry.is_pattern(),
            metadata: entry.metadata(),
        }));
        let own = listing.own_list(provider).filter(|name| listing.allows(name));
        entries.extend(own.map(|name| Entry { provider, name, mapped: name, is_pattern: false, metadata: None }));
    }
    entries.extend(virtual_models(listing));
    if let Some(model) = query.get("model") {
        entries.retain(|entry| entry.name == model);
    }
    if let Some(mapped) = query.get(mapped_parameter) {
        entries.retain(|entry| entry.mapped == mapped);
    }
    entries
}

/// Returns the virtual models that the caller may use, as LiteLLM shows its groups: one entry for
/// each provider of each member.
fn virtual_models<'a>(listing: &Listing<'a>) -> Vec<Entry<'a>> {
    let mut models: Vec<&'a VirtualModel> = listing.snapshot.virtual_models.values().map(|model| &**model).collect();
    models.sort_by_key(|model| model.id);
    let mut entries = Vec::new();
    for model in models.into_iter().filter(|model| listing.shows(model)) {
        for member in listing.members(model) {
            let providers = listing.snapshot.providers.iter().filter(|provider| member.is_served_by(provider));
            entries.extend(providers.map(|provider| Entry {
                provider,
                name: &model.name,
                mapped: &member.model,
                is_pattern: false,
                metadata: None,
            }));
        }
    }
    entries
}

/// Returns whether the caller may see an entry. A pattern is shown to a caller that may use some
/// model which matches it, as far as its list of allowed models shows.
fn visible(listing: &Listing<'_>, entry: &crate::config::models::Entry) -> bool {
    let Some(credential) = listing.caller else { return true };
    let may = |allowed: &Allowed| {
        allowed.allows(entry.key()) || entry.is_pattern() && allowed.entries().any(|allowed| entry.matches(allowed))
    };
    may(&credential.allowed) && credential.groups().iter().all(|group| may(&group.allowed))
}

/// Sorts entries. Those with equal keys keep their order.
fn sort_entries(entries: &mut [Entry<'_>], sort: Sort, direction: Direction) {
    entries.sort_by(|a, b| {
        let (a, b) = if direction == Direction::Ascending { (a, b) } else { (b, a) };
        match sort {
            Sort::Model => a.name.cmp(b.name),
            Sort::Provider => a.provider.key.cmp(&b.provider.key),
            Sort::Weight => a.provider.weight.cmp(&b.provider.weight),
        }
    });
}

fn data(o: &mut write::Object<'_>, entries: &[Entry<'_>]) {
    o.array("data", |a| {
        for entry in entries {
            a.object(|o| write_entry(o, entry));
        }
    });
}

fn write_entry(o: &mut write::Object<'_>, entry: &Entry<'_>) {
    let Entry { provider, name, mapped, is_pattern, metadata } = *entry;
    o.str("model_name", name);
    o.object("litellm_params", |o| {
        o.str("model", mapped);
        o.null("api_base");
        o.str("custom_llm_provider", &provider.provider_type);
    });
    o.object("model_info", |o| {
        o.str("provider_name", &provider.key);
        o.str("provider_type", &provider.provider_type);
        o.u64("weight", u64::from(provider.weight));
        o.bool("is_pattern", is_pattern);
        let members = metadata.map(|json| RawValue::new(json.as_bytes()).members());
        for (key, value, _) in members.into_iter().flatten() {
            let key = key.unescape();
            // The row's own values of these are written above.
            if !["provider_name", "provider_type", "weight", "is_pattern"].contains(&&*key) {
                o.value(&key, value);
            }
        }
    });
}
