//! What is measured: targets of the command line, and the request that each of them gets.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use clap::ValueEnum;

use super::events::Nonce;

/// One target, `[NAME=]URL[#MODEL]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) url: Url,
    /// The model to request of this target, if not that of the command line.
    pub(super) model: Option<String>,
}

/// Where a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) tls: bool,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Without a slash at its end; empty if there is none.
    path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        // `=` may also stand in a URL, behind its scheme.
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) if !name.contains("://") => (Some(name), rest),
            _ => (None, text),
        };
        let (url, model) = match rest.split_once('#') {
            Some((url, model)) => (url, Some(model.to_owned())),
            None => (rest, None),
        };
        let url = Url::from_str(url)?;
        let name = name.map_or_else(|| url.authority(), str::to_owned);
        if name.is_empty() || model.as_deref() == Some("") {
            return Err(format!("`{text}` has an empty name or model; write [NAME=]URL[#MODEL]"));
        }
        Ok(Target { name, url, model })
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Url, String> {
        let wrong = || format!("`{text}` is no URL of a target; write it as http://127.0.0.1:8000/v1");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or_else(wrong)?),
            None => authority.split_once(':').unwrap_or((authority, "")),
        };
        let port = match port {
            "" if tls => 443,
            "" => 80,
            port => port.parse().map_err(|_| wrong())?,
        };
        let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || host.contains('@') || !is_visible(host) || !is_visible(path) {
            return Err(wrong());
        }
        Ok(Url { tls, host: host.to_owned(), port, path: path.trim_end_matches('/').to_owned() })
    }
}

impl Url {
    /// Returns host and port as a `Host` header has them.
    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    /// Returns the path of an endpoint: the URL is that, or a base with or without `/v1`.
    fn path(&self, format: Format) -> String {
        let endpoint = format.endpoint();
        match self.path.as_str() {
            path if path.ends_with(endpoint) => path.to_owned(),
            path if path.ends_with("/v1") => format!("{path}{endpoint}"),
            path => format!("{path}/v1{endpoint}"),
        }
    }

    /// Returns the first address of the host.
    pub(super) fn resolve(&self) -> Result<SocketAddr, String> {
        let failed = |why: String| format!("`{}` has no address: {why}", self.host);
        let mut found = (self.host.as_str(), self.port).to_socket_addrs().map_err(|error| failed(error.to_string()))?;
        found.next().ok_or_else(|| failed("the name server knows none".to_owned()))
    }
}

/// The format of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// OpenAI Chat Completions
    Chat,
    /// Anthropic Messages
    Messages,
    /// OpenAI Responses
    Responses,
}

impl Format {
    fn endpoint(self) -> &'static str {
        match self {
            Format::Chat => "/chat/completions",
            Format::Messages => "/messages",
            Format::Responses => "/responses",
        }
    }

    /// Returns the headers that each request of the format has.
    fn headers(self) -> &'static str {
        match self {
            Format::Messages => "anthropic-version: 2023-06-01\r\n",
            Format::Chat | Format::Responses => "",
        }
    }

    /// Returns the header in which a key stands.
    fn key_header(self, key: &str) -> String {
        match self {
            Format::Messages => format!("x-api-key: {key}\r\n"),
            Format::Chat | Format::Responses => format!("authorization: Bearer {key}\r\n"),
        }
    }

    /// Returns what the last event of a stream holds.
    pub(super) fn end_mark(self) -> &'static str {
        match self {
            Format::Chat => "data: [DONE]",
            Format::Messages => "message_stop",
            Format::Responses => "response.completed",
        }
    }
}

/// What a request is made of.
#[derive(Debug, Clone)]
pub(super) struct Content<'a> {
    pub(super) format: Format,
    pub(super) stream: bool,
    pub(super) model: &'a str,
    pub(super) prompt_bytes: usize,
    /// The prompt begins with [`Nonce::TEXT`], which the size above does not count.
    pub(super) verify: bool,
    /// A body of the user's own, instead of the four above.
    pub(super) body: Option<&'a [u8]>,
    pub(super) key: Option<&'a str>,
    pub(super) headers: &'a [Header],
}

/// A header of the command line, `Name: value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    name: String,
    value: String,
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Header, String> {
        let (name, value) =
            text.split_once(':').ok_or_else(|| format!("`{text}` is no header; write `Name: value`"))?;
        let (name, value) = (name.trim(), value.trim());
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) || value.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(format!("`{text}` holds a character that is not allowed in a header"));
        }
        Ok(Header { name: name.to_owned(), value: value.to_owned() })
    }
}

const SYSTEM: &str = "You are a careful assistant that answers briefly and never invents facts.";
const SENTENCE: &str = "Summarise these notes in three short points, and keep every figure as it is. ";

/// Returns the bytes of the request to `url`.
pub(super) fn request(url: &Url, content: &Content<'_>) -> Vec<u8> {
    let made;
    let body = match content.body {
        Some(body) => body,
        None => {
            made = body_of(content).to_string().into_bytes();
            &made
        }
    };
    let mut head = format!("POST {} HTTP/1.1\r\nhost: {}\r\n", url.path(content.format), url.authority());
    head.push_str(content.format.headers());
    if let Some(key) = content.key {
        head.push_str(&content.format.key_header(key));
    }
    for Header { name, value } in content.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

fn body_of(content: &Content<'_>) -> serde_json::Value {
    let mut prompt: String = SENTENCE.chars().cycle().take(content.prompt_bytes).collect();
    if content.verify {
        prompt = format!("{} {prompt}", Nonce::TEXT);
    }
    let (model, stream) = (content.model, content.stream);
    match content.format {
        Format::Chat => serde_json::json!({
            "model": model,
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}],
            "max_tokens": 4096, "temperature": 0.7, "stream": stream,
        }),
        Format::Messages => serde_json::json!({
            "model": model, "system": SYSTEM, "messages": [{"role": "user", "content": prompt}],
            "max_tokens": 4096, "temperature": 0.7, "stream": stream,
        }),
        Format::Responses => serde_json::json!({
            "model": model, "instructions": SYSTEM, "input": prompt,
            "max_output_tokens": 4096, "temperature": 0.7, "stream": stream,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn targets() {
        let plain = target("http://127.0.0.1:9110");
        assert_eq!((plain.name.as_str(), plain.model.as_deref()), ("127.0.0.1:9110", None));
        assert_eq!(plain.url, Url { tls: false, host: "127.0.0.1".into(), port: 9110, path: String::new() });
        let named = target("translated=https://gw.example/proxy/#claude-x");
        assert_eq!((named.name.as_str(), named.model.as_deref()), ("translated", Some("claude-x")));
        assert_eq!(named.url, Url { tls: true, host: "gw.example".into(), port: 443, path: "/proxy".into() });
        assert_eq!(target("http://[::1]:81/v1").name, "[::1]:81");
        assert_eq!(target("http://h/v1?a=b").name, "h:80");
        for wrong in [
            "h:80",
            "ftp://h",
            "http://",
            "http://h:x",
            "http://u@h",
            "=http://h",
            "a=http://h#",
            "http://[::1]x",
            "http://h/a b",
        ] {
            assert!(Target::from_str(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths() {
        let path = |url: &str, format| target(url).url.path(format);
        assert_eq!(path("http://h", Format::Chat), "/v1/chat/completions");
        assert_eq!(path("http://h/v1/", Format::Messages), "/v1/messages");
        assert_eq!(path("http://h/openai/v1", Format::Responses), "/openai/v1/responses");
        assert_eq!(path("http://h/x/chat/completions", Format::Chat), "/x/chat/completions");
    }

    #[test]
    fn requests() {
        let url = target("http://h:81").url;
        let headers = ["X-A: b: c".parse().unwrap()];
        let content = Content {
            format: Format::Chat,
            stream: true,
            model: "m",
            prompt_bytes: 100,
            verify: false,
            body: None,
            key: Some("k"),
            headers: &headers,
        };
        let text = String::from_utf8(request(&url, &content)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            head,
            format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: h:81\r\nauthorization: Bearer k\r\nX-A: b: c\r\n\
                 content-type: application/json\r\ncontent-length: {}",
                body.len()
            )
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["messages"][1]["content"].as_str().map(str::len), Some(100));
        let own = Content { format: Format::Messages, body: Some(b"{}"), ..content };
        let text = String::from_utf8(request(&url, &own)).unwrap();
        assert!(text.contains("\r\nx-api-key: k\r\n") && text.ends_with("content-length: 2\r\n\r\n{}"), "{text}");
        assert!("A b: c".parse::<Header>().is_err() && "A: b\r\nc: d".parse::<Header>().is_err());
    }
}
