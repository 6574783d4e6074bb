//! Which call a request is.
//!
//! Only the end of the path counts, so that any base URL works: `/v1/chat/completions`,
//! `/openai/deployments/x/chat/completions`.

/// A call that the mock answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Chat completions of the Chat format.
    Chat,
    /// Legacy completions.
    Completions,
    /// The Messages format.
    Messages,
    /// The token counter of the Messages format.
    CountTokens,
    /// The Responses format.
    Responses,
    /// The token counter of the Responses format.
    InputTokens,
    /// Embeddings of text.
    Embeddings,
    /// The list of models, or one of them.
    Models,
    /// What any server answers at its root; health probes ask for it.
    Root,
    /// A path of no call: 404.
    Other,
}

impl Kind {
    /// All calls, in the order of their counters.
    pub const ALL: [Kind; 10] = [
        Kind::Chat,
        Kind::Completions,
        Kind::Messages,
        Kind::CountTokens,
        Kind::Responses,
        Kind::InputTokens,
        Kind::Embeddings,
        Kind::Models,
        Kind::Root,
        Kind::Other,
    ];

    /// Returns the kind for the path of a request, without its query.
    pub fn of(path: &str) -> Kind {
        const ENDS: [(&str, Kind); 8] = [
            ("/chat/completions", Kind::Chat),
            ("/completions", Kind::Completions),
            ("/messages", Kind::Messages),
            ("/messages/count_tokens", Kind::CountTokens),
            ("/responses", Kind::Responses),
            ("/responses/input_tokens", Kind::InputTokens),
            ("/embeddings", Kind::Embeddings),
            ("/models", Kind::Models),
        ];
        match ENDS.iter().find(|(end, _)| path.ends_with(end)) {
            Some((_, kind)) => *kind,
            None if path.contains("/models/") => Kind::Models,
            None if path == "/" => Kind::Root,
            None => Kind::Other,
        }
    }

    /// Returns the word for this kind in the counters.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Chat => "chat",
            Kind::Completions => "completions",
            Kind::Messages => "messages",
            Kind::CountTokens => "count_tokens",
            Kind::Responses => "responses",
            Kind::InputTokens => "input_tokens",
            Kind::Embeddings => "embeddings",
            Kind::Models => "models",
            Kind::Root => "root",
            Kind::Other => "other",
        }
    }

    /// Returns whether the call takes a POST with a JSON body.
    pub fn takes_body(self) -> bool {
        !matches!(self, Kind::Models | Kind::Root | Kind::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let check = |path: &str, kind: Kind| assert_eq!(Kind::of(path), kind, "{path}");
        check("/v1/chat/completions", Kind::Chat);
        check("/chat/completions", Kind::Chat);
        check("/v1/completions", Kind::Completions);
        check("/v1/messages", Kind::Messages);
        check("/v1/messages/count_tokens", Kind::CountTokens);
        check("/v1/responses", Kind::Responses);
        check("/v1/responses/input_tokens", Kind::InputTokens);
        check("/v1/embeddings", Kind::Embeddings);
        check("/v1/models", Kind::Models);
        check("/v1/models/a%2Fb", Kind::Models);
        check("/", Kind::Root);
        check("/v1/audio/speech", Kind::Other);
        check("/v1/responses/resp_1", Kind::Other);
    }
}
