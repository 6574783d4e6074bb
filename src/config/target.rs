//! The request target at a provider.

use percent_encoding::percent_decode;

use super::snapshot::{BaseUrl, Provider};
use llm_wire::Format;

impl Provider {
    /// Returns whether a model can stand where this provider has it. Servers resolve a segment of
    /// dots alone, encoded or not, to another path, and an empty one to none.
    pub fn has_path_for(&self, format: Format, model: &str) -> bool {
        !(self.has_deployments(format) && matches!(model, "" | "." | ".."))
    }

    /// Returns whether the model stands in the path. Azure has no deployments in the paths of
    /// Responses.
    fn has_deployments(&self, format: Format) -> bool {
        self.dialect.by_deployment && format.profile().http.has_deployments
    }

    /// Writes the base's path, a version segment where Anthropic's bases leave it out, the
    /// endpoint, the query.
    ///
    /// `endpoint` is the path behind the version segment, `model` the upstream's name: Azure's
    /// first API has it in the path. `None` is for what is asked of the provider and not of a
    /// model.
    pub fn write_target(
        &self,
        out: &mut Vec<u8>,
        (format, endpoint): (Format, &str),
        model: Option<&str>,
        query: Option<&[u8]>,
    ) {
        out.extend_from_slice(self.base.path.as_bytes());
        if let Some(model) = model.filter(|_| self.has_deployments(format)) {
            out.extend_from_slice(b"/deployments/");
            segment(out, model);
        }
        join(out, &self.base, format, endpoint, query);
    }
}

fn join(out: &mut Vec<u8>, base: &BaseUrl, format: Format, endpoint: &str, query: Option<&[u8]>) {
    if !base.ends_in_version() {
        out.extend_from_slice(format.profile().http.version_segment.as_bytes());
    }
    out.extend_from_slice(endpoint.as_bytes());
    let mut mark = b'?';
    let mut add = |part: &[u8]| {
        out.push(std::mem::replace(&mut mark, b'&'));
        out.extend_from_slice(part);
    };
    let own = base.query.as_bytes();
    if !own.is_empty() {
        add(own);
    }
    match query.unwrap_or_default() {
        b"" => {}
        query if own.is_empty() => add(query),
        // The parameters in the base's query are the operator's choice, such as Azure's
        // `api-version`. Servers differ in which of two they read, so the client's are left out.
        query => query.split(|byte| *byte == b'&').filter(|pair| !names(own, pair)).for_each(add),
    }
}

/// Returns whether `query` has a parameter of the same name as `pair`.
fn names(query: &[u8], pair: &[u8]) -> bool {
    let name = |pair: &[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        percent_decode(name).map(|byte| byte.to_ascii_lowercase()).collect::<Vec<_>>()
    };
    let wanted = name(pair);
    query.split(|byte| *byte == b'&').any(|own| name(own) == wanted)
}

/// Percent-encodes what may not stand in one segment of a path.
fn segment(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::compile::compile;
    use crate::config::rows::{ProviderRow, Rows};
    use Format::{Chat, Messages, Responses};

    fn joined(kind: &str, base: &str, to: (Format, &str), query: Option<&str>) -> String {
        let row = ProviderRow {
            id: 1,
            provider_key: "p".into(),
            provider_type: kind.into(),
            api_base: base.into(),
            model_mapping: "{}".into(),
            provider_params: "{}".into(),
            is_enabled: true,
            ..ProviderRow::default()
        };
        let (snapshot, problems) =
            compile(&Rows { version: 1, providers: vec![row], ..Rows::default() }, None, &|_| None);
        assert_eq!(problems, []);
        let mut out = Vec::new();
        snapshot.providers[0].write_target(&mut out, to, Some("dep/1"), query.map(str::as_bytes));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn joins() {
        // (api_base behind the host, format and endpoint, target)
        let rows = [
            ("/v1", (Chat, "/chat/completions"), "/v1/chat/completions"),
            ("/v1/", (Chat, "/chat/completions"), "/v1/chat/completions"),
            ("", (Chat, "/chat/completions"), "/chat/completions"),
            ("/api/v1", (Chat, "/embeddings"), "/api/v1/embeddings"),
            ("/v1beta/openai", (Chat, "/chat/completions"), "/v1beta/openai/chat/completions"),
            ("/v1", (Chat, "/completions"), "/v1/completions"),
            ("/v1", (Responses, "/responses"), "/v1/responses"),
            ("", (Messages, "/messages"), "/v1/messages"),
            ("/v1", (Messages, "/messages"), "/v1/messages"),
            ("/v2", (Messages, "/messages"), "/v2/messages"),
            ("/anthropic", (Messages, "/messages"), "/anthropic/v1/messages"),
            ("/anthropic/v1beta2", (Messages, "/messages"), "/anthropic/v1beta2/messages"),
            ("/vault", (Messages, "/messages"), "/vault/v1/messages"),
            ("", (Messages, "/messages/count_tokens"), "/v1/messages/count_tokens"),
        ];
        for (base, to, target) in rows {
            assert_eq!(joined("openai", &format!("http://h{base}"), to, None), target, "{base} {to:?}");
        }
        let at = |base, to, query| joined("openai", base, to, query);
        let responses = (Responses, "/responses");
        assert_eq!(at("http://h", (Messages, "/messages"), Some("beta=true")), "/v1/messages?beta=true");
        assert_eq!(at("http://h/v1?api-version=1", responses, None), "/v1/responses?api-version=1");
        assert_eq!(at("http://h/v1?a=1", responses, Some("b=2")), "/v1/responses?a=1&b=2");
        // Of two parameters of one name the base's counts.
        let versions = "b=2&api-version=2&Api-Version=3&api%2dversion=4&c";
        let base = "http://h/v1?api-version=1";
        assert_eq!(at(base, responses, Some(versions)), "/v1/responses?api-version=1&b=2&c");
        assert_eq!(at("http://h/v1", responses, Some("a=1&a=2")), "/v1/responses?a=1&a=2");
    }

    #[test]
    fn azure() {
        let rows = [
            ("azure", "https://x.openai.azure.com", "/openai/v1/chat/completions"),
            ("openai", "https://x.openai.azure.com/openai/v1", "/openai/v1/chat/completions"),
            ("azure", "https://gateway.example/openai", "/openai/v1/chat/completions"),
            (
                "azure",
                "https://x.openai.azure.com?api-version=2024-10-21",
                "/openai/deployments/dep%2F1/chat/completions?api-version=2024-10-21",
            ),
            (
                "azure",
                "https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
                "/openai/deployments/d/chat/completions?api-version=2024-10-21",
            ),
        ];
        for (kind, base, target) in rows {
            assert_eq!(joined(kind, base, (Chat, "/chat/completions"), None), target, "{base}");
        }
        let classic = "https://x.openai.azure.com?api-version=2025-04-01-preview";
        assert_eq!(
            joined("azure", classic, (Responses, "/responses"), None),
            "/openai/responses?api-version=2025-04-01-preview"
        );
    }
}
