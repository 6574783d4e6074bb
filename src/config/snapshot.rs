//! The compiled configuration that requests read. Immutable; a change is a new snapshot.
//!
//! Nothing here is looked up by a scan on the request path save patterns, and those are cached per
//! core (`route::pick`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::breaker::memory::Memory;
pub use crate::config::base_url::BaseUrl;
use crate::config::hedging::Hedging;
use crate::config::outbound::Outbound;
use crate::config::retries::Retries;
use crate::config::secret::{self, HeaderLines};
use crate::config::timeouts::Timeouts;
use crate::config::virtual_models::{Member, VirtualModel};
use crate::limit::Limits;
use crate::limit::budget::Budget;
use crate::limit::provider::ProviderLimits;
use llm_wire::Format;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::Policy;
use llm_wire::target::quirks::{Host, Quirks};

/// SHA-256 of a client's key.
pub type KeyHash = [u8; 32];

/// The compiled configuration. It never changes; a change of the store makes the next one.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Grows by one with each publish in this process. 0 is the empty snapshot before the store was
    /// read.
    pub generation: u64,
    /// `config_version.version` of the rows it was made of.
    pub version: i64,
    /// Enabled providers that this version can serve, in the order of their ids.
    pub providers: Vec<Arc<Provider>>,
    /// Providers that are configured and not among these: disabled, or unusable.
    pub providers_disabled: usize,
    pub providers_unusable: usize,
    /// By hash of the key; one whose key was rotated also by that of the old key. Enabled ones
    /// only.
    pub credentials: HashMap<KeyHash, Arc<Credential>, ahash::RandomState>,
    /// The same, each once, in the order of their ids.
    pub credentials_by_id: Vec<Arc<Credential>>,
    /// Groups of credentials that can be used, in the order of their ids.
    pub groups: Vec<Arc<Group>>,
    /// By name. Enabled ones only.
    pub virtual_models: HashMap<Box<str>, Arc<VirtualModel>, ahash::RandomState>,
    /// Budgets that can be used, in the order of their ids.
    pub budgets: Vec<Arc<Budget>>,
    /// The budgets of tags, by tag. `None` if there are none.
    pub tag_budgets: Option<TagBudgets>,
}

/// `None` for a tag with a budget that can't be used: it is refused.
pub type TagBudgets = HashMap<Box<str>, Option<Vec<Arc<Budget>>>>;

impl Snapshot {
    /// Returns why none of the configured providers is served; `None` if none is configured.
    pub fn why_no_provider(&self) -> Option<String> {
        let (disabled, unusable) = (self.providers_disabled, self.providers_unusable);
        let count = |n: usize| if n == 1 { "1 provider".to_owned() } else { format!("{n} providers") };
        match (disabled, unusable) {
            (0, 0) => None,
            (0, _) => Some(format!(
                "no provider is served: {} cannot be used; `llm-proxy check-config` shows why",
                count(unusable)
            )),
            (_, 0) => Some(format!("no provider is served: {} disabled; enable one", are(disabled))),
            (..) => Some(format!(
                "no provider is served: {} disabled and {} cannot be used; `llm-proxy check-config` shows why",
                are(disabled),
                count(unusable)
            )),
        }
    }

    /// Finds a provider by its id, as records name it.
    pub fn provider(&self, id: i64) -> Option<&Arc<Provider>> {
        self.providers.binary_search_by_key(&id, |provider| provider.id).ok().map(|at| &self.providers[at])
    }

    /// Finds a budget by its id.
    pub fn budget(&self, id: i64) -> Option<&Arc<Budget>> {
        self.budgets.binary_search_by_key(&id, |budget| budget.id).ok().map(|at| &self.budgets[at])
    }

    /// Finds a group by its id.
    pub fn group(&self, id: i64) -> Option<&Arc<Group>> {
        self.groups.binary_search_by_key(&id, |group| group.id).ok().map(|at| &self.groups[at])
    }

    /// Finds a credential by its id, as records name it.
    pub fn credential(&self, id: i64) -> Option<&Arc<Credential>> {
        let at = self.credentials_by_id.binary_search_by_key(&id, |credential| credential.id).ok()?;
        Some(&self.credentials_by_id[at])
    }
}

/// `1 provider is`, `2 providers are`.
fn are(n: usize) -> String {
    if n == 1 { "1 provider is".to_owned() } else { format!("{n} providers are") }
}

/// A provider row, ready for use.
#[derive(Debug)]
pub struct Provider {
    pub id: i64,
    /// Of the row that it was made of.
    pub row_version: i64,
    pub key: Arc<str>,
    pub provider_type: Arc<str>,
    /// The formats it is offered in; the first is the default. Never empty.
    pub formats: Vec<Format>,
    pub base: BaseUrl,
    /// Complete header lines (`name: value\r\n`) that carry this provider's key, one set per format
    /// offered, same order as `formats`.
    pub auth: Vec<Arc<HeaderLines>>,
    /// Complete header lines from `provider_params.custom_headers`, sent last.
    pub extra_headers: Arc<HeaderLines>,
    /// Lower-case names that `auth` and `extra_headers` set, so that a client's header of that name
    /// is not forwarded beside it.
    pub own_header_names: Vec<String>,
    pub weight: u32,
    /// `provider_params.timeouts`.
    pub timeouts: Timeouts,
    /// `provider_params.retries`.
    pub retries: Retries,
    /// The tier: those of the next one are tried when nobody of this one is left. 0 is the first.
    pub priority: u32,
    pub models: super::models::Mapping,
    pub dialect: Dialect,
    /// How it is reached.
    pub outbound: Outbound,
    /// `provider_params.limits`; `None` if it has none.
    pub limits: Option<Arc<ProviderLimits>>,
    /// The memory of its failures, which all workers share and reloads keep.
    pub memory: Arc<Memory>,
    /// What may be spent on it.
    pub budgets: Box<[Arc<Budget>]>,
}

impl Provider {
    /// Overwrites the provider's own keys with `*` wherever `text` has them: providers quote the
    /// key that they refuse. The text keeps its length.
    pub fn hide_keys(&self, text: &mut [u8]) {
        self.keys().for_each(|key| secret::hide(key, text));
    }

    /// Does the same to a text of which the end is missing, and overwrites the beginning of a key
    /// that was cut.
    pub fn hide_keys_of_cut(&self, text: &mut [u8]) {
        self.hide_keys(text);
        let from = self.key_begins_at(text);
        text[from..].fill(b'*');
    }

    /// Returns where the end of `text` begins a key, of which the rest may follow: the length of
    /// `text` if it does nowhere.
    pub fn key_begins_at(&self, text: &[u8]) -> usize {
        self.keys().map(|key| secret::begins_at(key, text)).min().unwrap_or(text.len())
    }

    /// Returns the keys that requests to the provider carry.
    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let auth = self.auth.iter().flat_map(|lines| lines.keys(SHORTEST_KEY));
        auth.chain(self.extra_headers.keys(SHORTEST_EXTRA_KEY))
    }
}

/// A shorter key, in bytes, is a word that may stand in any text.
const SHORTEST_KEY: usize = 8;
/// Of a header of the operator's it is not known whether it has a key at all, and a short value is
/// an ordinary word.
const SHORTEST_EXTRA_KEY: usize = 16;

impl Member {
    /// Returns whether requests for this member may go to the provider.
    pub fn is_served_by(&self, provider: &Provider) -> bool {
        self.provider.as_deref().is_none_or(|key| *key == *provider.key) && provider.models.named(&self.model).is_some()
    }
}

/// How a provider deviates from its formats: all that a translation for it has to know.
#[derive(Debug, Clone, Default)]
pub struct Dialect {
    pub host: Host,
    /// Of the host, and by `provider_params.quirks`.
    pub quirks: Quirks,
    /// `provider_params.capabilities`.
    pub capabilities: Overrides,
    /// `provider_params.translation`, save `strict`.
    pub policy: Policy,
    /// `provider_params.translation.strict`; by default `STRICT_TRANSLATION` decides.
    pub strict: Option<bool>,
    /// `provider_params.translation.thinking_tools` is `pass`: a Chat request with tools and
    /// thinking goes to the provider as it is, whatever the model is known to refuse.
    pub passes_thinking_tools: bool,
    /// The id of the row as text: state that its models have sealed can be read by this account
    /// only.
    pub account: Box<str>,
    /// Azure's first API: the deployment is in the path.
    pub by_deployment: bool,
}

/// A credential row, ready for use.
#[derive(Debug)]
pub struct Credential {
    pub id: i64,
    /// Metric label `api_key_name`.
    pub name: Arc<str>,
    pub hash: KeyHash,
    /// What it may ask for.
    pub allowed: super::models::Allowed,
    /// The limits, which all cores share and which are kept over reloads that do not change them.
    pub limits: Limits,
    /// Seconds since 1970.
    pub expires_at: Option<i64>,
    pub previous: Option<Previous>,
    /// The level by which its requests wait for room; 0 goes first.
    pub level: usize,
    /// Whether and how its slow requests get a second attempt.
    pub hedging: Option<Hedging>,
    /// The limits and budgets beside those of its own row. `None` if there are none.
    pub scope: Option<Arc<Scope>>,
}

/// The groups and budgets of a credential. Either list may be empty.
#[derive(Debug, Default)]
pub struct Scope {
    /// The group of the credential, then the one that it belongs to, and so on.
    pub groups: Box<[Arc<Group>]>,
    /// The budgets of the credential and of these groups.
    pub budgets: Box<[Arc<Budget>]>,
}

/// A row of `credential_groups`, ready for use. Its limits are shared by the credentials in it, and
/// by the groups in it.
#[derive(Debug)]
pub struct Group {
    pub id: i64,
    pub name: Arc<str>,
    pub allowed: super::models::Allowed,
    pub limits: Limits,
}

/// The key before the last rotation, for the time in which both are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Previous {
    pub hash: KeyHash,
    /// Seconds since 1970.
    pub until: i64,
}

impl Credential {
    /// Its groups, the innermost first.
    pub fn groups(&self) -> &[Arc<Group>] {
        self.scope.as_ref().map_or(&[], |scope| &scope.groups)
    }

    /// Returns the budgets of it and of its groups.
    pub fn budgets(&self) -> &[Arc<Budget>] {
        self.scope.as_ref().map_or(&[], |scope| &scope.budgets)
    }

    /// Returns whether no limit is in force for it.
    pub fn is_unlimited(&self) -> bool {
        self.limits.is_none() && self.groups().is_empty()
    }

    /// Returns whether it and all of its groups allow every model.
    pub fn allows_all(&self) -> bool {
        self.allowed.allows_all() && self.groups().iter().all(|group| group.allowed.allows_all())
    }

    /// Returns whether it and all of its groups allow this model.
    pub fn allows(&self, model: &str) -> bool {
        self.allowed.allows(model) && self.groups().iter().all(|group| group.allowed.allows(model))
    }

    /// The name under which requests without a key run when `ALLOW_ANONYMOUS` is set.
    pub const ANONYMOUS: &'static str = "anonymous";
}

/// A row, or a part of one, that could not be used. The rest is served.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// `provider groq`, `credential team-a`.
    pub object: String,
    /// What is wrong, with the value (never a secret), and what to do.
    pub message: String,
}
