//! Lists models: `/v1/models` in the formats of OpenAI and of Anthropic, one model, and LiteLLM's
//! `/model/info`.
//!
//! A model is listed if the caller may use it: it is a key of some provider's mapping, or is in the
//! own list of a provider without a mapping, and the caller's credential allows it; or it is a
//! virtual model of which the caller may also use a member. Patterns are not names and are left
//! out, save in `/model/info`, which shows mappings as they are. Names are shown without the prefix
//! of `MODEL_PREFIX`: both forms are served.

mod info;
mod query;
mod visible;

use llm_wire::error::{Error, Kind};
use llm_wire::json::write::{self, Object};
use query::Query;
pub use visible::Listing;

/// When a model was created, which the gateway does not know: the constant of llm-proxy v1, in
/// seconds since 1970 and as text.
const CREATED: u64 = 1_677_610_602;
const CREATED_AT: &str = "2023-02-28T18:56:42Z";

/// Models on a page of Anthropic's listing, unless `limit` says otherwise (docs.claude.com, "List
/// Models", 2026-11).
const PAGE: usize = 20;
const MAX_PAGE: usize = 1000;

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'p> {
    Models,
    /// The rest of the path, percent-encoded as sent.
    Model(&'p str),
    /// LiteLLM's form, with paging or without.
    Info {
        paged: bool,
    },
}

impl Listing<'_> {
    /// Returns the JSON body of the response. `query` is as sent; `anthropic` says that the request
    /// came from a client of the Messages format.
    pub fn respond(&self, resource: Resource<'_>, query: Option<&str>, anthropic: bool) -> Result<Vec<u8>, Error> {
        let query = Query::parse(query.unwrap_or_default());
        match resource {
            Resource::Models if anthropic => self.anthropic(&query),
            Resource::Models => Ok(self.openai(query.get("client_version").is_some())),
            Resource::Model(id) => self.one(&query::decode(id), anthropic),
            Resource::Info { paged: false } => Ok(info::all(self, &query)),
            Resource::Info { paged: true } => info::page(self, &query),
        }
    }

    /// Codex asks with its `client_version` and reads `models`, whose entries must have the
    /// instructions that it prompts the model with. Only Codex knows those; it adds its own entries
    /// to the list, so an empty one leaves them as they are (openai/codex,
    /// `codex-rs/protocol/src/openai_models.rs`, `ModelsResponse` and `ModelPreset::merge`,
    /// 2026-11).
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
            // The cursors need not be in the list any more: it is sorted, so their place is known.
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

    /// Returns one model. It need not be listed: whatever would be served is a model.
    fn one(&self, id: &str, anthropic: bool) -> Result<Vec<u8>, Error> {
        let name = strip(self.prefix, id);
        let served = match self.snapshot.virtual_models.get(name) {
            Some(model) => self.shows(model),
            None => self.snapshot.providers.iter().any(|provider| provider.models.resolve(name).is_some()),
        };
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

/// Returns `gpt-4` for `Proxy/gpt-4` where `Proxy` is the configured prefix. Other prefixes belong
/// to the name.
fn strip<'m>(prefix: Option<&str>, model: &'m str) -> &'m str {
    match model.split_once('/') {
        Some((first, rest)) if Some(first) == prefix && !rest.is_empty() => rest,
        _ => model,
    }
}

#[cfg(test)]
mod tests;
