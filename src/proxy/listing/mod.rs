//! What models there are: `/v1/models` in the words of OpenAI and of Anthropic, one model, and
//! LiteLLM's `/model/info`.
//!
//! A model is listed if the caller could use it: it is a key of some provider's mapping, or stands
//! in the list that a provider without a mapping gave of itself, and the caller's credential allows
//! it. Patterns are not names and are left out, save in `/model/info`, which shows mappings as they
//! are. Names are shown without the prefix of `PROVIDER_SUFFIX`: both forms are served.

mod info;
mod query;

use crate::config::snapshot::{Provider, Snapshot};
use crate::proxy::auth::Caller;
use crate::shared::catalog::Lists;
use llm_wire::error::{Error, Kind};
use llm_wire::json::write::{self, Object};
use query::Query;

/// When a model was made, which nobody here knows: the constant that llm-proxy v1 gives, in
/// seconds since 1970 and in words.
const CREATED: u64 = 1_677_610_602;
const CREATED_AT: &str = "2023-02-28T18:56:42Z";

/// Models on a page of Anthropic's listing, unless `limit` says otherwise (docs.claude.com, "List
/// Models", 2026-11).
const PAGE: usize = 20;
const MAX_PAGE: usize = 1000;

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'p> {
    Models,
    /// The rest of the path, percent-encoded as sent.
    Model(&'p str),
    /// LiteLLM's form, with paging or without.
    Info {
        paged: bool,
    },
}

/// What there is to list, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    pub snapshot: &'a Snapshot,
    pub lists: &'a Lists,
    pub caller: Caller<'a>,
    /// `PROVIDER_SUFFIX`.
    pub prefix: Option<&'a str>,
}

impl<'a> Listing<'a> {
    /// The JSON body of the answer. `query` is as sent; `anthropic` says that the request came from
    /// a client of the Messages format.
    pub fn respond(&self, what: What<'_>, query: Option<&str>, anthropic: bool) -> Result<Vec<u8>, Error> {
        let query = Query::parse(query.unwrap_or_default());
        match what {
            What::Models if anthropic => self.anthropic(&query),
            What::Models => Ok(self.openai(query.get("client_version").is_some())),
            What::Model(id) => self.one(&query::decode(id), anthropic),
            What::Info { paged: false } => Ok(info::all(self, &query)),
            What::Info { paged: true } => info::page(self, &query),
        }
    }

    /// Codex asks with its `client_version` and reads `models`, which tells of each model how it is
    /// to be prompted. An empty list leaves that to what Codex itself knows.
    fn openai(&self, is_codex: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        write::object(&mut out, |o| {
            o.str("object", "list");
            o.array("data", |a| {
                for name in self.names() {
                    a.object(|o| openai_model(o, name));
                }
            });
            if is_codex {
                o.array("models", |_| {});
            }
        });
        out
    }

    fn anthropic(&self, query: &Query) -> Result<Vec<u8>, Error> {
        let limit = query.number("limit", PAGE, 1..=MAX_PAGE)?;
        let names = self.names();
        let (page, has_more) = match (query.get("after_id"), query.get("before_id")) {
            (Some(_), Some(_)) => {
                let note = "`after_id` and `before_id` exclude each other; send one of them";
                return Err(Error::client(Kind::InvalidRequest, note).param("before_id"));
            }
            // The cursors need not be on the list any more: it is sorted, so their place is known.
            (None, Some(before)) => {
                let rest = &names[..names.partition_point(|name| *name < before)];
                (&rest[rest.len().saturating_sub(limit)..], rest.len() > limit)
            }
            (after, None) => {
                let rest = after.map_or(0, |after| names.partition_point(|name| *name <= after));
                let rest = &names[rest..];
                (&rest[..limit.min(rest.len())], rest.len() > limit)
            }
        };
        let mut out = Vec::with_capacity(1024);
        write::object(&mut out, |o| {
            o.array("data", |a| {
                for name in page {
                    a.object(|o| anthropic_model(o, name));
                }
            });
            o.bool("has_more", has_more);
            o.opt_str("first_id", page.first().copied());
            o.opt_str("last_id", page.last().copied());
        });
        Ok(out)
    }

    /// Not only what is listed: whatever would be served is a model.
    fn one(&self, id: &str, anthropic: bool) -> Result<Vec<u8>, Error> {
        let name = strip(self.prefix, id);
        let served = self.snapshot.providers.iter().any(|provider| provider.models.resolve(name).is_some());
        if name.is_empty() || !served || !self.allows(name) {
            let shown: String = id.chars().take(200).collect();
            let note =
                format!("model `{shown}` is not served, or not to this credential; GET /v1/models lists what is");
            return Err(Error::client(Kind::ModelNotFound, note).param("model"));
        }
        let mut out = Vec::with_capacity(256);
        write::object(&mut out, |o| if anthropic { anthropic_model(o, id) } else { openai_model(o, id) });
        Ok(out)
    }

    /// Sorted, each name once.
    fn names(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = Vec::new();
        for provider in &self.snapshot.providers {
            names.extend(provider.models.names().chain(self.own_list(provider)).filter(|name| self.allows(name)));
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What a provider without a mapping says that it has.
    fn own_list(&self, provider: &Provider) -> impl Iterator<Item = &'a str> + use<'a> {
        let list = if provider.models.is_catch_all() { self.lists.get(&provider.id) } else { None };
        list.into_iter().flat_map(|list| list.iter().map(String::as_str))
    }

    fn allows(&self, model: &str) -> bool {
        self.caller.is_none_or(|credential| credential.allowed.allows(model))
    }
}

fn openai_model(o: &mut Object<'_>, name: &str) {
    o.str("id", name);
    o.str("object", "model");
    o.u64("created", CREATED);
    o.str("owned_by", "system");
    o.array("permission", |_| {});
    o.str("root", name);
    o.null("parent");
}

fn anthropic_model(o: &mut Object<'_>, name: &str) {
    o.str("type", "model");
    o.str("id", name);
    o.str("display_name", name);
    o.str("created_at", CREATED_AT);
}

/// `Proxy/gpt-4` without the configured prefix; other prefixes belong to the name.
fn strip<'m>(prefix: Option<&str>, model: &'m str) -> &'m str {
    match model.split_once('/') {
        Some((first, rest)) if Some(first) == prefix && !rest.is_empty() => rest,
        _ => model,
    }
}

#[cfg(test)]
mod tests;
