//! Notices about the row of a provider: values that are corrected or doubtful, and keep nothing
//! from being served.

use super::provider::{TYPES, Type, paths_have_version};
use super::provider_params::Params;
use crate::config::env::Env;
use crate::config::nearest::nearest;
use crate::config::rows::ProviderRow;
use crate::config::secret_env::{self, VariableClass};
use crate::config::snapshot::BaseUrl;
use llm_wire::target::quirks::Host;

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
            "api_key is taken from the environment variable `{name}`; through the admin interface it could not be, which \
             takes {} alone",
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
