//! One row of `providers`: its type decides the formats, the formats decide the header that carries
//! the key.

use std::sync::Arc;

use super::provider_params::{Header, Params};
use crate::config::env::Env;
use crate::config::link_local;
use crate::config::models::Mapping;
use crate::config::outbound::{self, Outbound};
use crate::config::rows::ProviderRow;
use crate::config::secret::HeaderLines;
use crate::config::secret_env::{self, VariableClass};
use crate::config::snapshot::{BaseUrl, Dialect, Provider};
use crate::config::vault;
use crate::limit::provider::{ProviderLimits, ProviderSettings};
use llm_wire::Format;
use llm_wire::formats::profile::KeyHeader;
use llm_wire::target::quirks::Host;

/// Weights above this are cut to it.
const MAX_WEIGHT: u32 = 1_000_000;

/// The meaning of a `provider_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A provider of this format.
    Speaks(Format),
    /// As `Speaks(Chat)`, with the key in `api-key`.
    Azure,
    /// Known, but not served by this version.
    NotServed,
    /// An unknown type: the provider gets requests in [`Format::Chat`], which most providers
    /// accept.
    Unknown,
}

/// The types that have a meaning. Case does not matter.
pub const TYPES: &[(&str, Type)] = &[
    ("openai", Type::Speaks(Format::Chat)),
    ("azure", Type::Azure),
    ("anthropic", Type::Speaks(Format::Messages)),
    ("claude", Type::Speaks(Format::Messages)),
    ("response_api", Type::Speaks(Format::Responses)),
    ("response-api", Type::Speaks(Format::Responses)),
    ("responses", Type::Speaks(Format::Responses)),
    ("gemini", Type::NotServed),
    ("gcp-gemini", Type::NotServed),
    ("gcp-vertex", Type::NotServed),
    ("gcp_vertex", Type::NotServed),
    ("vertex", Type::NotServed),
];

impl Type {
    /// Returns the type of this name. White space around it and its case are ignored.
    pub fn of(provider_type: &str) -> Type {
        let known = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(provider_type.trim()));
        known.map_or(Type::Unknown, |(_, kind)| *kind)
    }

    fn format(self) -> Format {
        match self {
            Type::Speaks(format) => format,
            Type::Azure | Type::NotServed | Type::Unknown => Format::Chat,
        }
    }

    /// Name and value of the header that carries `key` towards `format`.
    fn auth(self, format: Format, key: &str) -> (&'static str, String) {
        match (format.profile().http.key_header, self) {
            (KeyHeader::XApiKey, _) => ("x-api-key", key.to_owned()),
            (KeyHeader::Bearer, Type::Azure) => ("api-key", key.to_owned()),
            (KeyHeader::Bearer, _) => ("authorization", format!("Bearer {key}")),
        }
    }
}

pub(super) fn compile(row: &ProviderRow, env: &Env<'_>, problems: &mut Vec<String>) -> Option<Provider> {
    let kind = Type::of(&row.provider_type);
    if kind == Type::NotServed {
        problems.push(format!("type `{}` is not served by this version", row.provider_type));
        return None;
    }
    if row.lua_script.as_deref().is_some_and(|script| !script.trim().is_empty()) {
        problems.push("lua_script is not served by this version; clear it".to_owned());
        return None;
    }
    // Each part is read before any failure counts, so that all faults are reported at once.
    let named = if row.provider_key.is_empty() { Err("provider_key is empty".to_owned()) } else { Ok(()) };
    let named = keep(named, problems);
    let base = keep(base_url(&row.api_base, env), problems);
    let key = keep(api_key(&row.api_key, env), problems);
    let params = keep(Params::parse(&row.provider_params, problems), problems);
    let weight = weight(row.weight, problems);
    let (models, messages) = Mapping::parse(&row.model_mapping);
    problems.extend(messages);

    let outbound = match (&base, &params) {
        (Some(base), Some(params)) => keep(outbound(params, base, env), problems),
        _ => None,
    };

    let (_, mut base, key, params, outbound) = (named?, base?, key?, params?, outbound?);
    base.correct(paths_have_version(kind, params.formats.as_deref()));
    let mut dialect = params.words.compile(&base, row.id, problems);
    if kind == Type::Azure || dialect.host == Host::Azure {
        dialect.by_deployment = complete_azure_base(&mut base);
    }
    let formats = params.formats.unwrap_or_else(|| default_formats(kind, &dialect));
    let mut own_header_names: Vec<String> = params.headers.iter().map(|header| header.name.clone()).collect();
    let auth = formats.iter().map(|format| auth(kind, *format, &key, &params.headers, &mut own_header_names)).collect();
    own_header_names.sort();
    own_header_names.dedup();
    Some(Provider {
        id: row.id,
        row_version: row.stamp.version,
        key: row.provider_key.as_str().into(),
        provider_type: row.provider_type.as_str().into(),
        base,
        auth,
        extra_headers: Arc::new(HeaderLines::from(
            params.headers.iter().flat_map(|header| header.to_string().into_bytes()).collect::<Vec<_>>(),
        )),
        own_header_names,
        weight,
        priority: params.priority,
        timeouts: params.timeouts,
        retries: params.retries,
        outbound,
        memory: Arc::default(),
        limits: limits_of(params.limits, None),
        budgets: Box::default(),
        models,
        formats,
        dialect,
    })
}

/// Reads `api_base`. A host that is an address is checked here, one that is a name when it is
/// resolved.
fn base_url(text: &str, env: &Env<'_>) -> Result<BaseUrl, String> {
    let base = BaseUrl::parse(text).map_err(|reason| format!("api_base {reason}"))?;
    let is_refused = base.host.parse().is_ok_and(link_local::is_link_local) && !link_local::is_allowed(env);
    if is_refused { Err(format!("api_base: the address {} {}", base.host, link_local::REFUSAL)) } else { Ok(base) }
}

/// Returns how a provider is reached.
fn outbound(params: &Params<'_>, base: &BaseUrl, env: &Env<'_>) -> Result<Outbound, String> {
    let written = params.proxy.map(|value| serde_json::from_str::<String>(value.get()));
    let written = written.transpose().map_err(|_| "provider_params: proxy is not a string".to_owned())?;
    let proxy = outbound::proxy(written.as_deref(), base, env)?;
    let tls = params.tls.map(|value| outbound::tls(value.get(), env)).transpose()?;
    Ok(Outbound { proxy, tls })
}

/// Returns whether the paths of the provider's first format begin with a version of their own, as
/// those of Messages do.
pub(super) fn paths_have_version(kind: Type, formats: Option<&[Format]>) -> bool {
    let first = formats.and_then(|formats| formats.first().copied()).unwrap_or_else(|| kind.format());
    !first.profile().http.version_segment.is_empty()
}

/// OpenAI and Azure serve their models in two formats; of all others only the one that their type
/// names can be relied on.
fn default_formats(kind: Type, dialect: &Dialect) -> Vec<Format> {
    let both = matches!(dialect.host, Host::OpenAi | Host::Azure) && !dialect.by_deployment;
    match kind.format() {
        Format::Chat if both => vec![Format::Chat, Format::Responses],
        format => vec![format],
    }
}

/// Completes the path of a base at Azure, and returns whether the deployment goes into it. Azure has
/// two APIs (learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle, 2026-11). In the
/// first, which requires an `api-version`, the deployment is in the path, unless the base names it
/// already. The other is like OpenAI's, under `/openai/v1`, which is what a base without path and
/// version means.
fn complete_azure_base(base: &mut BaseUrl) -> bool {
    if !matches!(base.path.as_str(), "" | "/openai") {
        return false;
    }
    let by_deployment = base.query.split('&').any(|pair| pair.starts_with("api-version="));
    base.path = if by_deployment { "/openai".to_owned() } else { "/openai/v1".to_owned() };
    by_deployment
}

/// Returns the value, or reports a problem that makes the whole row unusable.
fn keep<T>(result: Result<T, String>, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|message| problems.push(format!("{message}; the provider is not served"))).ok()
}

fn weight(weight: i64, problems: &mut Vec<String>) -> u32 {
    if weight < 0 {
        problems.push(format!(
            "weight {weight} is below 0, the least that there is; the provider is a standby, as with weight 0"
        ));
        return 0;
    }
    match u32::try_from(weight) {
        Ok(weight) if weight <= MAX_WEIGHT => weight,
        _ => {
            problems.push(format!(
                "weight {weight} is above {MAX_WEIGHT}, the most that there is; the provider has the most"
            ));
            MAX_WEIGHT
        }
    }
}

/// Returns the provider's key; it is empty where the provider needs none, as local servers do.
fn api_key(text: &str, env: &Env<'_>) -> Result<String, String> {
    if let Some(path) = text.trim().strip_prefix("file:") {
        let key = outbound::secret_file(path, env).map_err(|why| format!("api_key: {why}"))?;
        if secret_env::is_own_secret(&key, env) {
            return Err(format!(
                "api_key: the file {} holds a secret of this program, which no provider gets",
                path.trim()
            ));
        }
        return visible(key);
    }
    let key = match text.trim().strip_prefix("env:") {
        None => vault::open("api_key", text, env)?.trim().to_owned(),
        Some("") => {
            return Err("api_key is `env:` without the name of a variable; write it as env:NAME".to_owned());
        }
        Some(name) if secret_env::class_of(name, env) == VariableClass::OwnSecret => {
            return Err(format!(
                "api_key names the environment variable `{}`, a secret of this program that no provider gets; name the \
                 variable of the provider's key",
                name.trim()
            ));
        }
        Some(name) => match env(name.trim()) {
            Some(value) if !value.trim().is_empty() => value.trim().to_owned(),
            _ => {
                return Err(format!(
                    "api_key takes its value from the environment variable `{}`, which is not set",
                    name.trim()
                ));
            }
        },
    };
    visible(key)
}

fn visible(key: String) -> Result<String, String> {
    match key.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(key),
        false => {
            Err("api_key holds a character that is not allowed in a header (a space, a line break, or no ASCII)"
                .to_owned())
        }
    }
}

/// Returns the header lines that carry `key` towards `format`: none without a key, or when the row
/// sets that header itself.
fn auth(kind: Type, format: Format, key: &str, extra: &[Header], names: &mut Vec<String>) -> Arc<HeaderLines> {
    let (name, value) = kind.auth(format, key);
    if key.is_empty() || extra.iter().any(|header| header.name == name) {
        return Arc::default();
    }
    names.push(name.to_owned());
    let header = Header { name: name.to_owned(), value };
    Arc::new(HeaderLines::from(header.to_string().into_bytes()))
}

/// Returns the limits that the numbers stand for. `None` if nothing is limited.
pub(super) fn limits_of(settings: ProviderSettings, before: Option<&ProviderLimits>) -> Option<Arc<ProviderLimits>> {
    (settings != ProviderSettings::default()).then(|| Arc::new(ProviderLimits::new(settings, before)))
}
