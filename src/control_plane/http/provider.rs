//! Calls to a provider's API from the background thread: address and headers, as a worker would
//! make them.

use hyper::header::{ACCEPT, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Uri};

use crate::config::snapshot::Provider;
use llm_wire::Format;

/// Where a call goes and what it carries besides its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub uri: Uri,
    pub headers: HeaderMap,
}

/// `path` behind the version segment of the provider's API, as its first format has it, with
/// `query` besides the base's own. `model` is the upstream's name of the one that is asked, if one
/// is.
pub(crate) fn target(provider: &Provider, path: &str, model: Option<&str>, query: &str) -> Result<Target, String> {
    let base = &provider.base;
    let scheme = if base.tls { "https" } else { "http" };
    let mut uri = format!("{scheme}://{}", base.authority).into_bytes();
    provider.write_target(&mut uri, (format(provider), path), model, Some(query.as_bytes()));
    let uri = Uri::try_from(uri).map_err(|_| "its api_base makes no address".to_owned())?;

    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("llm-proxy/", env!("CARGO_PKG_VERSION"))));
    if let Some((name, value)) = format(provider).profile().http.version_header {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for lines in provider.auth.first().into_iter().chain([&provider.extra_headers]) {
        add_lines(&mut headers, lines);
    }
    Ok(Target { uri, headers })
}

/// The one that is called by default.
pub(crate) fn format(provider: &Provider) -> Format {
    provider.formats.first().copied().unwrap_or(Format::Chat)
}

/// `lines` were checked when the provider was compiled, so that all of them can be read again.
fn add_lines(headers: &mut HeaderMap, lines: &[u8]) {
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(mut value)) = (name, value) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
}
