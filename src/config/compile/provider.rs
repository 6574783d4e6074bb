//! One row of `providers`: its type decides the formats, the formats decide the header that carries
//! the key.

use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::dialect::Words;
use crate::config::env::Env;
use crate::config::link_local;
use crate::config::models::Mapping;
use crate::config::nearest::nearest;
use crate::config::ordered;
use crate::config::outbound::{self, Outbound};
use crate::config::retries::Retries;
use crate::config::rows::ProviderRow;
use crate::config::secret::HeaderLines;
use crate::config::secret_env::{self, VariableClass};
use crate::config::snapshot::{BaseUrl, Dialect, Provider};
use crate::config::timeouts::Timeouts;
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

/// Headers that frame the message or belong to the connection. The gateway alone writes them.
const OWN: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "expect",
    "proxy-connection",
    "accept-encoding",
];

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
        dialect.by_deployment = azure(&mut base);
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

/// Whether the paths of the provider's first format begin with a version of their own, as those of
/// Messages do.
fn paths_have_version(kind: Type, formats: Option<&[Format]>) -> bool {
    let first = formats.and_then(|formats| formats.first().copied()).unwrap_or_else(|| kind.format());
    !first.profile().http.version_segment.is_empty()
}

/// Returns notices about values that were corrected, in sentences that begin with the column. None
/// of them keeps the row from being served.
pub(super) fn notices(row: &ProviderRow, env: &Env<'_>) -> Vec<String> {
    let mut notices = Vec::new();
    if Type::of(&row.provider_type) == Type::Unknown {
        let name = row.provider_type.trim();
        let near = nearest(name, TYPES.iter().map(|(known, _)| *known));
        let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
        notices.push(format!("type `{name}` is not known{near}; the provider is treated as openai"));
    }
    let params = Params::parse(&row.provider_params, &mut Vec::new()).ok();
    let formats = params.and_then(|params| params.formats);
    if let Ok(mut base) = BaseUrl::parse(&row.api_base) {
        let notice = base.correct(paths_have_version(Type::of(&row.provider_type), formats.as_deref()));
        notices.extend(notice.map(|notice| format!("api_base {notice}")));
    }
    if let Some(name) = row.api_key.trim().strip_prefix("env:").map(str::trim).filter(|name| !name.is_empty())
        && secret_env::class_of(name, env) == VariableClass::Other
        && env(name).is_some_and(|value| !value.trim().is_empty())
    {
        notices.push(format!(
            "api_key is taken from the environment variable `{name}`, and names of providers' keys are {}",
            secret_env::FORMS
        ));
    }
    if looks_unexpanded(&row.api_key) {
        notices.push(format!(
            "api_key `{}` looks like a variable that no shell has filled in, and is taken as it stands; \
             write env:NAME to have it read from the server's environment",
            row.api_key.trim()
        ));
    }
    notices.extend(doubtful_key(row));
    notices
}

/// Returns what is doubtful about a row's key: a variable's name without `env:`, or no key for a
/// vendor that demands one.
fn doubtful_key(row: &ProviderRow) -> Option<String> {
    let key = row.api_key.trim();
    let is_name = key.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if is_name && (key.ends_with("_KEY") || key.ends_with("_TOKEN")) {
        return Some(format!("api_key `{key}` looks like the name of a variable; write env:{key} to have it read"));
    }
    let host = Host::of(&BaseUrl::parse(&row.api_base).ok()?.authority);
    // A key may also come with a header of the row.
    let has_header = row.provider_params.contains("custom_headers");
    (key.is_empty() && !has_header && matches!(host, Host::OpenAi | Host::Anthropic))
        .then(|| format!("api_key is empty, and {} demands a key", host.name()))
}

/// `$NAME`, `${NAME}`, `%NAME%` or LiteLLM's `os.environ/NAME`, whole: no provider's key looks so,
/// and none is given away by showing it.
fn looks_unexpanded(key: &str) -> bool {
    let key = key.trim();
    let name = match key.strip_prefix('$') {
        Some(rest) => rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(rest),
        None => match key.strip_prefix("os.environ/") {
            Some(name) => name,
            None => key.strip_prefix('%').and_then(|rest| rest.strip_suffix('%')).unwrap_or_default(),
        },
    };
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
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

/// Azure has two APIs (learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle, 2026-11).
/// In the first, which requires an `api-version`, the deployment is in the path: `true`, unless
/// the base names it already. The other is like OpenAI's, under `/openai/v1`, which is what a base
/// without path and version means.
fn azure(base: &mut BaseUrl) -> bool {
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

struct Header {
    /// Lower case.
    name: String,
    value: String,
}

/// A complete line.
impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\r\n", self.name, self.value)
    }
}

impl Header {
    /// The error does not show the value: it may be a key.
    fn parse(name: &str, value: &RawValue) -> Result<Header, String> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            return Err("is not a header name".to_owned());
        }
        let name = name.to_ascii_lowercase();
        if OWN.contains(&name.as_str()) {
            return Err("is a header that llm-proxy itself must set".to_owned());
        }
        let value = match serde_json::from_str::<serde_json::Value>(value.get()) {
            Ok(serde_json::Value::String(text)) => text.trim().to_owned(),
            Ok(other @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => other.to_string(),
            _ => return Err("has a value that is not a string".to_owned()),
        };
        if !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t') {
            return Err("has a value with a line break or another character that is not allowed in a header".to_owned());
        }
        Ok(Header { name, value })
    }
}

/// The members of `provider_params` that this module reads.
struct Params<'j> {
    /// The formats, never empty. `None` stands for those of the type and the host.
    formats: Option<Vec<Format>>,
    headers: Vec<Header>,
    priority: u32,
    timeouts: Timeouts,
    retries: Retries,
    limits: ProviderSettings,
    proxy: Option<&'j RawValue>,
    tls: Option<&'j RawValue>,
    words: Words<'j>,
}

impl<'j> Params<'j> {
    fn parse(json: &'j str, problems: &mut Vec<String>) -> Result<Params<'j>, String> {
        // A provider may rely on a header that can't be read, so that it is not called at all.
        let pairs = ordered::pairs("provider_params", json)?;
        let mut params = Params {
            formats: None,
            headers: Vec::new(),
            priority: 0,
            timeouts: Timeouts::default(),
            retries: Retries::default(),
            limits: ProviderSettings::default(),
            proxy: None,
            tls: None,
            words: Words::default(),
        };
        for (name, value) in pairs {
            match &*name {
                "formats" => params.formats = Some(formats(value, problems)?),
                "custom_headers" => params.headers = headers(value, problems)?,
                "priority" => params.priority = priority(value, problems),
                "timeouts" => params.timeouts = timeouts(value, problems),
                "retries" => params.retries = retries(value, problems),
                "proxy" => params.proxy = Some(value),
                "tls" => params.tls = Some(value),
                "limits" => params.limits = limits(value)?,
                "host" => params.words.host = Some(value),
                "quirks" => params.words.quirks = Some(value),
                "capabilities" => params.words.capabilities = Some(value),
                "translation" => params.words.translation = Some(value),
                _ => {}
            }
        }
        Ok(params)
    }
}

fn timeouts(value: &RawValue, problems: &mut Vec<String>) -> Timeouts {
    Timeouts::parse(value.get()).unwrap_or_else(|reason| {
        problems.push(format!("provider_params: timeouts: {reason}; the provider has those of the process"));
        Timeouts::default()
    })
}

/// Returns the limits that the numbers stand for. `None` if nothing is limited.
pub(super) fn limits_of(settings: ProviderSettings, before: Option<&ProviderLimits>) -> Option<Arc<ProviderLimits>> {
    (settings != ProviderSettings::default()).then(|| Arc::new(ProviderLimits::new(settings, before)))
}

/// Reads the limits. The provider is not served if one can't be read, since it must not count as
/// absent.
fn limits(value: &RawValue) -> Result<ProviderSettings, String> {
    let numbers = serde_json::from_str::<WrittenLimits>(value.get());
    let numbers = numbers.map_err(|error| format!("provider_params: limits: {error}"))?;
    Ok(ProviderSettings {
        max_concurrency: numbers.max_concurrency,
        requests_per_minute: numbers.requests_per_minute,
        tokens_per_minute: numbers.tokens_per_minute,
    })
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLimits {
    max_concurrency: Option<u32>,
    requests_per_minute: Option<u32>,
    tokens_per_minute: Option<u32>,
}

fn retries(value: &RawValue, problems: &mut Vec<String>) -> Retries {
    Retries::parse(value.get()).unwrap_or_else(|reason| {
        problems.push(format!("provider_params: retries: {reason}; the provider has those of the process"));
        Retries::default()
    })
}

fn priority(value: &RawValue, problems: &mut Vec<String>) -> u32 {
    serde_json::from_str(value.get()).unwrap_or_else(|_| {
        problems.push(format!(
            "provider_params: priority `{}` is not a whole number from 0; the provider is in the first tier",
            value.get()
        ));
        0
    })
}

fn formats(value: &RawValue, problems: &mut Vec<String>) -> Result<Vec<Format>, String> {
    let Ok(names) = serde_json::from_str::<Vec<String>>(value.get()) else {
        return Err("provider_params: formats is not a list of strings".to_owned());
    };
    let mut formats = Vec::new();
    for name in names {
        match name.parse::<Format>() {
            Ok(format) if !formats.contains(&format) => formats.push(format),
            Ok(_) => {}
            Err(reason) => problems.push(format!("provider_params: formats: {reason}; it is left out")),
        }
    }
    if formats.is_empty() { Err("provider_params: formats names no format".to_owned()) } else { Ok(formats) }
}

fn headers(value: &RawValue, problems: &mut Vec<String>) -> Result<Vec<Header>, String> {
    let pairs = ordered::pairs("provider_params: custom_headers", value.get())?;
    let mut headers: Vec<Header> = Vec::new();
    for (name, value) in pairs {
        match Header::parse(&name, value) {
            Ok(header) => {
                headers.retain(|other| other.name != header.name);
                headers.push(header);
            }
            Err(reason) => problems.push(format!("provider_params: custom_headers: `{name}` {reason}; it is left out")),
        }
    }
    Ok(headers)
}
