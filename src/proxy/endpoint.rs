//! Maps paths to endpoints, by one table. The path alone decides the client's format.

use crate::config::nearest::distance;
use llm_wire::Format;

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint<'p> {
    /// A POST request with a `model`, for a provider.
    ApiRoute(ApiRoute),
    Models,
    Model(&'p str),
    /// LiteLLM's listing: `/v1/model/info`, or with pages `/v2/model/info` and `/model/info`.
    ModelInfo {
        paged: bool,
    },
    /// What the caller's key may use and has used.
    Usage,
    /// The admin interface, with the path behind `/admin/v1`, slash included.
    Admin(&'p str),
    /// The operator's page, with the path behind `/ui`, slash included.
    Page(&'p str),
    /// The page that shows [`Endpoint::OpenApi`].
    Docs,
    OpenApi,
    Root,
    Health,
    /// The readiness check.
    Ready,
    Metrics,
    /// Telemetry that a client sends to its vendor, which is discarded.
    EventSink,
    /// Anthropic models by Google's path, which this version does not serve.
    Vertex,
    /// A response that a provider has kept.
    Stored(StoredResponse<'p>),
    /// A path of this format that needs state, which the gateway does not keep.
    Stateful(Format),
    Unknown,
}

/// A response that a provider has kept, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredResponse<'p> {
    /// Letters, digits, `_` and `-`.
    pub id: &'p str,
    pub part: StoredPart,
}

/// What of a stored response a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredPart {
    /// The response itself.
    Response,
    /// What it was made from.
    InputItems,
    /// Its end, if it still runs in the background.
    Cancel,
}

impl StoredPart {
    /// Returns the route template, which is the metric label `endpoint`.
    pub fn template(self) -> &'static str {
        match self {
            StoredPart::Response => "/v1/responses/{id}",
            StoredPart::InputItems => "/v1/responses/{id}/input_items",
            StoredPart::Cancel => "/v1/responses/{id}/cancel",
        }
    }

    /// Returns the template behind the version segment.
    pub fn upstream(self) -> &'static str {
        match self {
            StoredPart::Response => "/responses/{id}",
            StoredPart::InputItems => "/responses/{id}/input_items",
            StoredPart::Cancel => "/responses/{id}/cancel",
        }
    }
}

impl<'p> StoredResponse<'p> {
    /// Longer ids are not taken for ids. Those of OpenAI have some 60 letters.
    const MAX_ID: usize = 256;

    /// Reads a path behind `/responses/`.
    fn read(path: &'p str) -> Option<StoredResponse<'p>> {
        let (id, part) = match path.split_once('/') {
            None => (path, StoredPart::Response),
            Some((id, "input_items")) => (id, StoredPart::InputItems),
            Some((id, "cancel")) => (id, StoredPart::Cancel),
            Some(_) => return None,
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_id = (1..=StoredResponse::MAX_ID).contains(&id.len()) && id.bytes().all(is_plain);
        is_id.then_some(StoredResponse { id, part })
    }

    /// Returns the path at the provider, behind the version segment.
    pub fn path(&self) -> String {
        self.part.upstream().replace("{id}", self.id)
    }
}

/// A route to providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiRoute {
    pub format: Format,
    pub operation: Operation,
    /// The route template, which is the metric label `endpoint`.
    pub template: &'static str,
    /// The path at the provider, behind the version segment.
    pub upstream: &'static str,
}

impl ApiRoute {
    /// Returns whether a provider of another format can serve it.
    pub fn translates(&self) -> bool {
        match self.operation {
            // Legacy completions have a prompt and no conversation.
            Operation::Generate => self.upstream != "/completions",
            Operation::Count => true,
            Operation::Stored | Operation::Other => false,
        }
    }
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A model's response, whole or as a stream.
    Generate,
    /// A count of tokens, which is not rate limited.
    Count,
    /// A stored response is read, removed or cancelled.
    Stored,
    /// Embeddings, moderations, images and audio, which are never translated.
    Other,
}

macro_rules! api_routes {
    ($( $route:literal $format:ident $operation:ident; )*) => {
        const API_ROUTES: &[ApiRoute] = &[ $( ApiRoute {
            format: Format::$format, operation: Operation::$operation, template: concat!("/v1", $route), upstream: $route,
        }, )* ];
    };
}

api_routes! {
    "/chat/completions"        Chat      Generate;
    "/completions"             Chat      Generate;
    "/messages"                Messages  Generate;
    "/messages/count_tokens"   Messages  Count;
    "/responses"               Responses Generate;
    "/responses/input_tokens"  Responses Count;
    "/responses/compact"       Responses Other;
    "/embeddings"              Chat      Other;
    "/moderations"             Chat      Other;
    "/images/generations"      Chat      Other;
    "/images/edits"            Chat      Other;
    "/images/variations"       Chat      Other;
    "/audio/speech"            Chat      Other;
    "/audio/transcriptions"    Chat      Other;
    "/audio/translations"      Chat      Other;
    "/rerank"                  Chat      Other;
}

/// First segments of paths that need state, with the format whose clients use them.
const STATEFUL: &[(&str, Format)] = &[
    ("messages", Format::Messages),
    ("responses", Format::Responses),
    ("conversations", Format::Responses),
    ("batches", Format::Chat),
    ("files", Format::Chat),
    ("uploads", Format::Chat),
    ("assistants", Format::Chat),
    ("threads", Format::Chat),
    ("vector_stores", Format::Chat),
    ("fine_tuning", Format::Chat),
    ("containers", Format::Responses),
    ("evals", Format::Chat),
    ("realtime", Format::Chat),
    ("chat", Format::Chat),
];

/// Returns the route of `path` if it is one to providers.
pub fn api_route(path: &str) -> Option<ApiRoute> {
    match find(path) {
        Endpoint::ApiRoute(route) => Some(route),
        _ => None,
    }
}

/// Returns the endpoint of `path` (percent-encoded as sent, without the query).
pub fn find(path: &str) -> Endpoint<'_> {
    match path {
        "/" | "" => return Endpoint::Root,
        "/health" | "/health/live" => return Endpoint::Health,
        "/health/ready" => return Endpoint::Ready,
        "/health/detailed" => return Endpoint::Admin(path),
        "/metrics" => return Endpoint::Metrics,
        "/docs" | "/docs/" | "/swagger-ui" | "/swagger-ui/" | "/redoc" | "/redoc/" => return Endpoint::Docs,
        "/api-docs/openapi.json" | "/openapi.json" => return Endpoint::OpenApi,
        "/api/event_logging/batch" | "/api/event_logging/v2/batch" => return Endpoint::EventSink,
        "/v1/model/info" => return Endpoint::ModelInfo { paged: false },
        "/v2/model/info" | "/model/info" => return Endpoint::ModelInfo { paged: true },
        _ => {}
    }
    if let Some(rest) = path.strip_prefix("/admin/v1")
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return Endpoint::Admin(rest);
    }
    if let Some(rest) = path.strip_prefix("/ui")
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return Endpoint::Page(rest);
    }
    if path.starts_with("/models/gcp-vertex/") {
        return Endpoint::Vertex;
    }
    let (rest, prefixed) = strip_version(path);
    if let Some(route) = API_ROUTES.iter().find(|route| route.upstream == rest) {
        return Endpoint::ApiRoute(*route);
    }
    if rest == "/models" {
        return Endpoint::Models;
    }
    if rest == "/usage" {
        return Endpoint::Usage;
    }
    if let Some(id) = rest.strip_prefix("/models/") {
        return Endpoint::Model(id);
    }
    if prefixed
        && let Some(path) = rest.strip_prefix("/responses/")
        && let Some(stored) = StoredResponse::read(path)
    {
        return Endpoint::Stored(stored);
    }
    let first = rest.split('/').nth(1).unwrap_or_default();
    match STATEFUL.iter().find(|(segment, _)| *segment == first) {
        Some((_, format)) if prefixed => Endpoint::Stateful(*format),
        _ => Endpoint::Unknown,
    }
}

/// Returns whether a path belongs to those who run the gateway: the admin interface, and what names
/// keys and costs.
pub fn is_administrative(path: &str) -> bool {
    matches!(find(path), Endpoint::Admin(_) | Endpoint::Metrics | Endpoint::Page(_))
}

/// Removes `/v1` or `/v2`, also twice, and one trailing slash. Anthropic's SDKs put `/v1` behind a
/// base URL, which in many settings has a version of its own. Also returns whether there was one.
fn strip_version(path: &str) -> (&str, bool) {
    let path = if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path };
    let strip = |path: &'_ str| -> Option<usize> {
        let rest = path.strip_prefix("/v1").or_else(|| path.strip_prefix("/v2"))?;
        rest.starts_with('/').then(|| path.len() - rest.len())
    };
    let Some(first) = strip(path) else { return (path, false) };
    let rest = &path[first..];
    (&rest[strip(rest).unwrap_or(0)..], true)
}

/// Longer paths are not taken for misspelled ones.
const MAX_MISSPELLED: usize = 128;

/// Returns the path that was probably meant by one that is not served: one of almost the same
/// letters, or an endpoint behind something else. That is what a base URL makes which is an
/// endpoint already, which has the path of another service (`/openai/v1`, `/api/v1`), or which ends
/// with a slash.
pub fn near(path: &str) -> Option<&'static str> {
    const OTHERS: [&str; 3] = ["/v1/models", "/health", "/metrics"];
    if path.len() > MAX_MISSPELLED {
        return None;
    }
    let path = path.trim_end_matches("%20");
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let path: String = segments.flat_map(|segment| ["/", segment]).collect::<String>().to_ascii_lowercase();
    let (rest, _) = strip_version(&path);
    let known = || API_ROUTES.iter().map(|route| (route.upstream, route.template));
    let others = OTHERS.iter().map(|path| (path.strip_prefix("/v1").unwrap_or(path), *path));
    if rest == "/chat" {
        return Some("/v1/chat/completions");
    }
    let best = known().chain(others).map(|(path, shown)| (distance(rest, path), path, shown)).min()?;
    // Short names are too near to one another.
    if best.0 <= 2.min(best.1.len() / 4) {
        return Some(best.2);
    }
    // A message of a thread is no doubled path, and an escape may hide what is meant.
    let has_state = path.contains('%') || matches!(find(&path), Endpoint::Stateful(_));
    let is_meant = |upstream: &str| {
        let Some(base) = rest.strip_suffix(upstream) else { return false };
        let base = base.strip_suffix("/v1").or_else(|| base.strip_suffix("/v2")).unwrap_or(base);
        !has_state || API_ROUTES.iter().any(|route| base.ends_with(route.upstream))
    };
    // Of `/completions` and `/chat/completions` the longer one is meant.
    let behind = known().chain([("/models", "/v1/models")]).filter(|(upstream, _)| is_meant(upstream));
    behind.max_by_key(|(upstream, _)| upstream.len()).map(|(_, template)| template)
}

/// Returns the format of an error on this path: that of the path, and for other paths that of the
/// header which only Anthropic's clients send.
pub fn error_format(path: &str, anthropic_version: bool) -> Format {
    let (rest, _) = strip_version(path);
    match find(path) {
        Endpoint::ApiRoute(route) => route.format,
        Endpoint::Stateful(format) => format,
        Endpoint::Stored(_) => Format::Responses,
        _ if rest.starts_with("/messages") || anthropic_version => Format::Messages,
        _ => Format::Chat,
    }
}

#[cfg(test)]
mod tests;
