use super::*;

fn found(path: &str) -> Option<(&'static str, Format)> {
    match find(path) {
        Endpoint::ApiRoute(route) => Some((route.template, route.format)),
        _ => None,
    }
}

#[test]
fn every_prefix_reaches_the_same_endpoint() {
    for route in API_ROUTES {
        for prefix in ["", "/v1", "/v2", "/v2/v1", "/v1/v1", "/v1/v2", "/v2/v2"] {
            let path = format!("{prefix}{}", route.upstream);
            assert_eq!(found(&path), Some((route.template, route.format)), "{path}");
        }
    }
    assert_eq!(found("/v1/chat/completions/"), Some(("/v1/chat/completions", Format::Chat)));
}

fn stored(id: &str, part: StoredPart) -> Endpoint<'_> {
    Endpoint::Stored(StoredResponse { id, part })
}

#[test]
fn paths() {
    let rows: &[(&str, Endpoint<'_>)] = &[
        ("/", Endpoint::Root),
        ("/v1/models", Endpoint::Models),
        ("/v2/models", Endpoint::Models),
        ("/v1/models/gpt-4o", Endpoint::Model("gpt-4o")),
        ("/v1/models/a%2Fb", Endpoint::Model("a%2Fb")),
        ("/v1/models/a/b", Endpoint::Model("a/b")),
        ("/v1/usage", Endpoint::Usage),
        ("/v1/model/info", Endpoint::ModelInfo { paged: false }),
        ("/v2/model/info", Endpoint::ModelInfo { paged: true }),
        ("/model/info", Endpoint::ModelInfo { paged: true }),
        ("/api/event_logging/batch", Endpoint::EventSink),
        ("/admin/v1/providers/7", Endpoint::Admin("/providers/7")),
        ("/admin/v1", Endpoint::Admin("")),
        ("/admin/v10", Endpoint::Unknown),
        ("/health/detailed", Endpoint::Admin("/health/detailed")),
        ("/ui", Endpoint::Page("")),
        ("/ui/keys/7", Endpoint::Page("/keys/7")),
        ("/uix", Endpoint::Unknown),
        ("/docs", Endpoint::Docs),
        ("/redoc", Endpoint::Docs),
        ("/api-docs/openapi.json", Endpoint::OpenApi),
        ("/models/gcp-vertex/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict", Endpoint::Vertex),
        ("/v1/responses/resp_1", stored("resp_1", StoredPart::Response)),
        ("/v2/v1/responses/resp-1/", stored("resp-1", StoredPart::Response)),
        ("/v1/responses/resp_1/input_items", stored("resp_1", StoredPart::InputItems)),
        ("/v1/responses/resp_1/cancel", stored("resp_1", StoredPart::Cancel)),
        ("/v1/responses/resp_1/else", Endpoint::Stateful(Format::Responses)),
        ("/v1/responses/..", Endpoint::Stateful(Format::Responses)),
        ("/v1/responses/%2e%2e/cancel", Endpoint::Stateful(Format::Responses)),
        ("/v1/messages/batches", Endpoint::Stateful(Format::Messages)),
        ("/v1/conversations", Endpoint::Stateful(Format::Responses)),
        ("/v1/files", Endpoint::Stateful(Format::Chat)),
        ("/v1/chat/completions/id/messages", Endpoint::Stateful(Format::Chat)),
        ("/files", Endpoint::Unknown),
        ("/v1", Endpoint::Unknown),
        ("/v3/chat/completions", Endpoint::Unknown),
        ("/v1/nothing", Endpoint::Unknown),
        ("/v1/v1/models", Endpoint::Models),
        ("/v1/v1/v1/models", Endpoint::Unknown),
        ("/v1chat/completions", Endpoint::Unknown),
    ];
    for (path, endpoint) in rows {
        assert_eq!(find(path), *endpoint, "{path}");
    }
}

#[test]
fn misspelled_paths() {
    let rows = [
        ("/v1/chat/completion", Some("/v1/chat/completions")),
        ("/v1/chat/Completions", Some("/v1/chat/completions")),
        ("/v1/message", Some("/v1/messages")),
        ("/v1/response", Some("/v1/responses")),
        ("/v1/embedding", Some("/v1/embeddings")),
        ("/v1/model", Some("/v1/models")),
        ("/v1/chat/completions/chat/completions", Some("/v1/chat/completions")),
        ("/v1/messages/v1/messages", Some("/v1/messages")),
        ("/openai/v1/chat/completions", Some("/v1/chat/completions")),
        ("/openai/deployments/gpt-4o/chat/completions", Some("/v1/chat/completions")),
        ("/anthropic/v1/messages/count_tokens", Some("/v1/messages/count_tokens")),
        ("/api/v1/responses/", Some("/v1/responses")),
        ("/v1/engines/davinci/completions", Some("/v1/completions")),
        ("/V1/Chat/Completions", Some("/v1/chat/completions")),
        ("//v1/messages", Some("/v1/messages")),
        ("/v1/chat", Some("/v1/chat/completions")),
        ("/v1/chat/completions%20", Some("/v1/chat/completions")),
        ("/v1//embeddings//", Some("/v1/embeddings")),
        ("/v1/chat//completions", Some("/v1/chat/completions")),
        ("/v1beta/openai/models", Some("/v1/models")),
        ("/v1/threads/t/messages", None),
        ("/v1/messages/batches", None),
        ("/v1/chat/completions/id/messages", None),
        ("/v1/files", None),
        ("/nothing", None),
        ("", None),
    ];
    for (path, meant) in rows {
        assert_eq!(near(path), meant, "{path}");
    }
    assert_eq!(near(&format!("/v1/{}", "chat/completion".repeat(100))), None);
}

#[test]
fn error_formats() {
    assert_eq!(error_format("/v1/messages/whatever", false), Format::Messages);
    assert_eq!(error_format("/messages/x", false), Format::Messages);
    assert_eq!(error_format("/nothing", false), Format::Chat);
    assert_eq!(error_format("/nothing", true), Format::Messages);
    assert_eq!(error_format("/v1/responses", true), Format::Responses);
}
