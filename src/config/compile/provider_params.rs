//! Reads `provider_params`: formats, headers, limits, timeouts and retries of a provider.

use std::fmt;

use serde_json::value::RawValue;

use super::dialect::Words;
use crate::config::nearest::nearest;
use crate::config::ordered;
use crate::config::retries::Retries;
use crate::config::timeouts::Timeouts;
use crate::limit::provider::ProviderSettings;
use llm_wire::Format;

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

/// A header that a provider gets with each request.
pub(super) struct Header {
    /// Lower case.
    pub(super) name: String,
    pub(super) value: String,
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

/// What `provider_params` says.
pub(super) struct Params<'j> {
    /// The formats, never empty. `None` stands for those of the type and the host.
    pub(super) formats: Option<Vec<Format>>,
    pub(super) headers: Vec<Header>,
    pub(super) priority: u32,
    pub(super) timeouts: Timeouts,
    pub(super) retries: Retries,
    pub(super) limits: ProviderSettings,
    pub(super) proxy: Option<&'j RawValue>,
    pub(super) tls: Option<&'j RawValue>,
    pub(super) words: Words<'j>,
}

/// The members that are read.
const NAMES: [&str; 12] = [
    "formats",
    "custom_headers",
    "priority",
    "timeouts",
    "retries",
    "proxy",
    "tls",
    "limits",
    "host",
    "quirks",
    "capabilities",
    "translation",
];

impl<'j> Params<'j> {
    /// Reads the column. An error keeps the provider from being served; a problem does not.
    pub(super) fn parse(json: &'j str, problems: &mut Vec<String>) -> Result<Params<'j>, String> {
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
                // Rows of llm-proxy v1 have others; one that is nearly ours is a slip.
                _ => {
                    if let Some(near) = nearest(&name, NAMES) {
                        problems.push(format!("provider_params: `{name}` is not known; did you mean `{near}`?"));
                    }
                }
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

/// Reads the limits. The provider is not served if one can't be read, since it must not count as
/// absent.
fn limits(value: &RawValue) -> Result<ProviderSettings, String> {
    const OF: &str = "provider_params: limits";
    let mut limits = ProviderSettings::default();
    for (name, value) in ordered::pairs(OF, value.get())? {
        let limit = match &*name {
            "max_concurrency" => &mut limits.max_concurrency,
            "requests_per_minute" => &mut limits.requests_per_minute,
            "tokens_per_minute" => &mut limits.tokens_per_minute,
            _ => {
                return Err(format!(
                    "{OF}: `{name}` is not known; known are max_concurrency, requests_per_minute and tokens_per_minute"
                ));
            }
        };
        let (value, most) = (value.get(), u32::MAX);
        *limit = serde_json::from_str(value)
            .map_err(|_| format!("{OF}: {name} {value} is not a whole number from 0 to {most}"))?;
    }
    Ok(limits)
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
