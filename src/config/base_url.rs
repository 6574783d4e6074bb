//! `api_base` in its parts, parsed once so that no request has to.

use std::fmt;
use std::net::Ipv6Addr;

/// `api_base`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    pub tls: bool,
    /// Host without brackets or port, lower case.
    pub host: String,
    pub port: u16,
    /// Value of the `Host` header: with the port only where it is not the scheme's own.
    pub authority: String,
    /// Path prefix without a trailing slash; may be empty.
    pub path: String,
    /// Query string of the base without `?`, carried to each request; may be empty.
    pub query: String,
}

impl BaseUrl {
    /// Writes the base for people, without its query, which may hold a key.
    pub fn without_query(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path)
    }

    /// Returns whether the last segment of the path is `v1`, `v2`, `v1beta`... Anthropic's bases
    /// leave it out, and many write it all the same.
    pub fn ends_in_version(&self) -> bool {
        let last = self.path.rsplit('/').next().unwrap_or_default();
        let mut bytes = last.bytes();
        bytes.next() == Some(b'v')
            && bytes.next().is_some_and(|b| b.is_ascii_digit())
            && bytes.all(|b| b.is_ascii_alphanumeric())
    }
}

impl BaseUrl {
    /// Reads `http[s]://host[:port][/path][?query]`. Slashes at the end of the path mean nothing;
    /// the query goes with each request.
    ///
    /// The error is a sentence without its subject. It shows the text only when no secret can be in
    /// it.
    pub fn parse(text: &str) -> Result<BaseUrl, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("is empty; write the provider's address, such as https://api.openai.com/v1".to_owned());
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!(
                "`{}` has no scheme; write it with https:// or http:// in front",
                without_secrets(text)
            ));
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(format!("has the scheme `{}`; only https and http are spoken", without_secrets(scheme))),
        };
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '\\' | '"' | '<' | '>' | '#')) {
            return Err(format!("holds {bad:?}, which is not allowed in it; write it percent-encoded or leave it out"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err("holds a user name or password; put the key in api_key or in custom_headers".to_owned());
        }
        if tail.starts_with("//") && matches!(authority, "http:" | "https:") {
            return Err("has two schemes; write one of them, such as https://api.openai.com/v1".to_owned());
        }
        let (host, port) = host_and_port(authority)?;
        let default = if tls { 443 } else { 80 };
        let port = port.unwrap_or(default);
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let authority = if port == default { bracketed } else { format!("{bracketed}:{port}") };
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        let path = path.trim_end_matches('/').to_owned();
        Ok(BaseUrl { tls, host, port, authority, path, query: query.to_owned() })
    }
}

/// Paths of endpoints that are pasted as a base, and the part of each that belongs to the base. A
/// longer path stands before one that it ends with.
const ENDPOINTS: &[(&str, &str)] = &[
    ("/chat/completions", ""),
    ("/completions", ""),
    ("/messages/count_tokens", ""),
    ("/messages", ""),
    ("/responses", ""),
    ("/embeddings", ""),
    // Behind a version only: `/models` alone is the base of Azure AI Inference.
    ("/v1/models", "/v1"),
];

/// Hosts whose API in OpenAI's formats is under a path, by their own documentation (read
/// 2026-11). A base without a path can only mean it: nothing is served at the root.
const HOMES: &[(&str, &str)] = &[
    ("api.openai.com", "/v1"),
    ("api.groq.com", "/openai/v1"),
    ("api.mistral.ai", "/v1"),
    ("api.x.ai", "/v1"),
    ("api.together.xyz", "/v1"),
    ("api.together.ai", "/v1"),
    ("api.fireworks.ai", "/inference/v1"),
    ("openrouter.ai", "/api/v1"),
    ("generativelanguage.googleapis.com", "/v1beta/openai"),
    ("api.moonshot.ai", "/v1"),
    ("api.moonshot.cn", "/v1"),
    ("api.cerebras.ai", "/v1"),
];

impl BaseUrl {
    /// Makes a base of an endpoint's address, and puts the version in where the host is known to
    /// need one. `paths_have_version`: the paths of the provider's first format begin with a
    /// version of their own.
    ///
    /// Gives a sentence without its subject if there was something to correct. It shows no query,
    /// which may hold a key.
    pub fn correct(&mut self, paths_have_version: bool) -> Option<String> {
        let path = self.path.to_ascii_lowercase();
        if let Some((endpoint, kept)) = ENDPOINTS.iter().find(|(endpoint, _)| path.ends_with(endpoint)) {
            self.path.truncate(path.len() - endpoint.len());
            self.path.push_str(kept);
            self.path.truncate(self.path.trim_end_matches('/').len());
            return Some(format!("is the address of an endpoint ({endpoint}); its base {self} is used"));
        }
        let home = HOMES
            .iter()
            .find(|(host, _)| *host == self.host)
            .filter(|_| self.path.is_empty() && !paths_have_version)?;
        self.path = home.1.to_owned();
        Some(format!("has no path, and the API of this host is under {}; {self} is used", home.1))
    }
}

/// Without the query.
impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.path)
    }
}

/// Returns `text` as an error may show it: a query may hold a key, and so may the text before an
/// `@`.
fn without_secrets(text: &str) -> &str {
    let text = text.split('?').next().unwrap_or_default();
    if text.contains('@') || text.len() > 100 { "..." } else { text }
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("has a `[` without its `]`")?;
            let host: Ipv6Addr = host.parse().map_err(|_| format!("has `[{host}]`, which is no IPv6 address"))?;
            let port = match after.strip_prefix(':') {
                Some(port) => port,
                None if after.is_empty() => "",
                None => return Err(format!("has `{after}` after the address, where only a port is allowed")),
            };
            (host.to_string(), port)
        }
        None => {
            if authority.matches(':').count() > 1 {
                return Err(match authority.parse::<Ipv6Addr>() {
                    Ok(_) => format!("has `{authority}`; an IPv6 address is written in brackets, such as [::1]"),
                    Err(_) => format!("has `{authority}`; a host has one port at most, such as host:8080"),
                });
            }
            let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
            (host_name(host)?, port)
        }
    };
    let port = match port {
        "" => None,
        digits => match digits.parse::<u16>() {
            Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Some(port),
            _ => {
                return Err(format!(
                    "has the port `{digits}`; a port is a number from 1 to 65535 (IPv6 addresses are written in brackets)"
                ));
            }
        },
    };
    Ok((host, port))
}

fn host_name(host: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    if host.len() > 253 || !host.chars().all(fits) {
        return Err(format!("has `{host}` for a host, which is no name"));
    }
    Ok(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_apart() {
        // text, tls, host, port, authority, path, query
        let rows = [
            ("https://api.openai.com/v1", true, "api.openai.com", 443, "api.openai.com", "/v1", ""),
            ("https://api.openai.com", true, "api.openai.com", 443, "api.openai.com", "", ""),
            (" HTTPS://API.Example.com:443/v1// ", true, "api.example.com", 443, "api.example.com", "/v1", ""),
            ("http://localhost:11434/v1/", false, "localhost", 11434, "localhost:11434", "/v1", ""),
            ("http://my_box:80", false, "my_box", 80, "my_box", "", ""),
            ("http://h:/x", false, "h", 80, "h", "/x", ""),
            ("https://[::1]:8443/a%20b", true, "::1", 8443, "[::1]:8443", "/a%20b", ""),
            ("http://[0:0::1]", false, "::1", 80, "[::1]", "", ""),
            (
                "https://x.azure.com/openai/v1/?api-version=preview",
                true,
                "x.azure.com",
                443,
                "x.azure.com",
                "/openai/v1",
                "api-version=preview",
            ),
            ("https://x?a=b?c/", true, "x", 443, "x", "", "a=b?c/"),
        ];
        for (text, tls, host, port, authority, path, query) in rows {
            let base = BaseUrl::parse(text).unwrap();
            let seen = (base.tls, &*base.host, base.port, &*base.authority, &*base.path, &*base.query);
            assert_eq!(seen, (tls, host, port, authority, path, query), "{text}");
        }
    }

    #[test]
    fn endpoints_become_bases() {
        // text, whether Messages, the base, how the notice begins
        let endpoint = "is the address of an endpoint";
        let rows = [
            ("https://h/v1/chat/completions", false, "https://h/v1", endpoint),
            ("https://h/v1/chat/completions/?key=secret", false, "https://h/v1", endpoint),
            ("https://h/v1/completions", false, "https://h/v1", endpoint),
            ("https://h/v1/messages", true, "https://h/v1", endpoint),
            ("https://h/messages/count_tokens", true, "https://h", endpoint),
            ("https://h/V1/Responses", false, "https://h/V1", endpoint),
            ("https://h/v1/models", false, "https://h/v1", endpoint),
            ("https://h/v1/embeddings", false, "https://h/v1", endpoint),
            ("https://h/openai/deployments/d/chat/completions?a=1", false, "https://h/openai/deployments/d", endpoint),
            ("https://api.openai.com", false, "https://api.openai.com/v1", "has no path, and the API of this host"),
            ("https://api.openai.com/", false, "https://api.openai.com/v1", "has no path, and the API of this host"),
            ("https://openrouter.ai", false, "https://openrouter.ai/api/v1", "has no path"),
        ];
        for (text, messages, base, begins) in rows {
            let mut seen = BaseUrl::parse(text).unwrap();
            let notice = seen.correct(messages).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(seen.to_string(), base, "{text}");
            assert!(notice.starts_with(begins) && notice.contains(base) && !notice.contains("secret"), "{notice}");
        }
        let right = [
            ("https://api.openai.com/v1", false),
            ("https://api.openai.com/v2", false),
            ("https://api.anthropic.com", true),
            ("https://openrouter.ai", true),
            ("https://x.services.ai.azure.com/models", false),
            ("https://h", false),
            ("https://h/my-messages-proxy", false),
        ];
        for (text, messages) in right {
            let mut seen = BaseUrl::parse(text).unwrap();
            assert_eq!(seen.correct(messages), None, "{text}");
            assert_eq!(seen.to_string(), text);
        }
    }

    #[test]
    fn refused() {
        let rows = [
            ("", "is empty"),
            ("api.openai.com/v1", "no scheme"),
            ("ftp://x", "scheme `ftp`"),
            ("https://", "no host"),
            ("https:///v1", "no host"),
            ("https://user:secret@x/v1", "user name or password"),
            ("https://x:0", "port `0`"),
            ("https://x:+1", "port `+1`"),
            ("https://x:70000", "port `70000`"),
            ("https://::1/v1", "has `::1`; an IPv6 address is written in brackets"),
            ("https://[::1/v1", "without its `]`"),
            ("http://::1:9/v1", "has `::1:9`; an IPv6 address is written in brackets, such as [::1]"),
            ("http://fe80::1:2:3/v1", "an IPv6 address is written in brackets"),
            ("http://localhost:80:90/v1", "has `localhost:80:90`; a host has one port at most, such as host:8080"),
            ("http://10.0.0.1:80:90", "one port at most"),
            ("http://x::80", "one port at most"),
            ("https://https://api.openai.com/v1", "has two schemes"),
            ("https://http://localhost:8000", "has two schemes"),
            ("https://[::1]x", "`x` after"),
            ("https://[zz]", "no IPv6 address"),
            ("https://ex ample.com", "' '"),
            ("https://exämple.com", "'ä'"),
            ("https://x/v1\r\nhost: y", "'\\r'"),
            ("https://x/v1#top", "'#'"),
            ("https://a,b/v1", "no name"),
        ];
        for (text, message) in rows {
            let error = BaseUrl::parse(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn errors_show_no_secret() {
        for text in ["x?key=secret", "user:secret@x", "secret@x://y", "https://u:secret@x", "https://x y?key=secret"] {
            let error = BaseUrl::parse(text).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
