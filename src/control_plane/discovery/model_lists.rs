//! Fetches the model lists of providers that serve every model: when their row is new or has
//! changed, and every ten minutes. Listings and routing use the lists. No request depends on one,
//! so a failure is a line in the debug log.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::snapshot::{Provider, Snapshot};
use crate::control_plane::http::client::Client;
use crate::control_plane::http::provider;
use crate::control_plane::http::provider::Target;
use crate::control_plane::timing::until;
use crate::shared::ProcessState;
use llm_wire::json::RawValue;

/// The first pause after a failure. It doubles up to the time that a list is used
/// (`MODEL_LIST_SECS`).
const RETRY: Duration = Duration::from_secs(30);
/// After this a fetch counts as lost. The client's own timeouts are shorter.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Fetches that run at the same time.
const MAX_CONCURRENT: usize = 4;
/// Bounds a model's name, in bytes. Longer ids are ignored.
const MAX_ID: usize = 256;

type List = Arc<[String]>;

/// Fetches the model lists of providers that serve every model.
pub(crate) struct Models {
    shared: Arc<ProcessState>,
    client: Client,
    /// Providers that serve every model, by their id.
    entries: BTreeMap<i64, Entry>,
    fetches: JoinSet<Fetched>,
}

struct Entry {
    key: Arc<str>,
    request: Arc<Target>,
    client: Client,
    list: Option<List>,
    /// When to fetch. During a fetch: when to fetch again if it never ends.
    due: Instant,
    /// Failures in a row.
    failures: u32,
}

/// The result of a fetch.
pub(crate) struct Fetched {
    provider: i64,
    request: Arc<Target>,
    list: Result<List, String>,
}

/// What [`Models`] waits for.
pub(crate) enum Step {
    Due,
    Fetched(Fetched),
    /// A fetch ended without a result, which only a panic can cause. It is repeated when it is due.
    Lost,
}

impl Models {
    /// Makes the part of the control plane for model lists, without any yet.
    pub(crate) fn new(shared: Arc<ProcessState>, client: Client) -> Models {
        Models { shared, client, entries: BTreeMap::new(), fetches: JoinSet::new() }
    }

    /// Notes that `snapshot` is current. Lists of providers with an unchanged request are kept, and
    /// not fetched again.
    pub(crate) fn adopt(&mut self, snapshot: &Snapshot) {
        if self.shared.boot.model_list.is_none() {
            return;
        }
        let mut old = std::mem::take(&mut self.entries);
        for provider in snapshot.providers.iter().filter(|provider| provider.models.is_catch_all()) {
            let request = match request(provider) {
                Ok(request) => Arc::new(request),
                Err(reason) => {
                    tracing::debug!(
                        provider = &*provider.key,
                        "gateway: the provider's models can't be requested: {reason}"
                    );
                    continue;
                }
            };
            let fresh = || Entry {
                key: provider.key.clone(),
                request: request.clone(),
                client: self.client.of_provider(&provider.outbound),
                list: None,
                due: Instant::now(),
                failures: 0,
            };
            let entry = old.remove(&provider.id).filter(|entry| entry.request == request).unwrap_or_else(fresh);
            self.entries.insert(provider.id, entry);
        }
        self.publish();
        self.fetch_due();
    }

    /// Waits for the next step. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Step {
        let busy = self.fetches.len() >= MAX_CONCURRENT;
        let due = self.entries.values().map(|entry| entry.due).min().filter(|_| !busy);
        tokio::select! {
            () = until(due) => Step::Due,
            Some(ended) = self.fetches.join_next() => ended.map_or(Step::Lost, Step::Fetched),
        }
    }

    /// Does what a step requires. It does not wait.
    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Due => {}
            Step::Fetched(fetched) => self.fetched(fetched),
            Step::Lost => tracing::error!("gateway: a panic ended the fetch of a provider's models"),
        }
        self.fetch_due();
    }

    fn fetch_due(&mut self) {
        let now = Instant::now();
        let mut due = self.entries.iter_mut().filter(|(_, entry)| entry.due <= now);
        while self.fetches.len() < MAX_CONCURRENT
            && let Some((id, entry)) = due.next()
        {
            entry.due = now + FETCH_TIMEOUT;
            let (provider, request, client) = (*id, entry.request.clone(), entry.client.clone());
            self.fetches.spawn(async move {
                let answer = client.get(request.uri.clone(), request.headers.clone()).await;
                Fetched { provider, request, list: answer.and_then(|body| parse(&body)) }
            });
        }
    }

    fn fetched(&mut self, fetched: Fetched) {
        let Fetched { provider, request, list } = fetched;
        let Some(renew) = self.shared.boot.model_list else { return };
        // The provider may have been removed meanwhile, or have another address.
        let Some(entry) = self.entries.get_mut(&provider).filter(|entry| entry.request == request) else { return };
        let now = Instant::now();
        match list {
            Ok(list) => {
                entry.failures = 0;
                entry.due = now + renew;
                if entry.list.as_ref() != Some(&list) {
                    tracing::debug!(
                        provider = &*entry.key,
                        models = list.len(),
                        "gateway: the provider's models were fetched"
                    );
                    entry.list = Some(list);
                    self.publish();
                }
            }
            Err(reason) => {
                tracing::debug!(provider = &*entry.key, "gateway: the provider's models can't be fetched: {reason}");
                entry.due = now + renew.min(RETRY * (1 << entry.failures.min(10)));
                entry.failures += 1;
            }
        }
    }

    fn publish(&self) {
        let known = self.entries.iter().filter_map(|(id, entry)| Some((*id, entry.list.clone()?)));
        self.shared.catalog.publish(known.collect::<HashMap<_, _>>());
    }
}

/// `GET {api_base}/models` as the provider's first format has it.
pub(crate) fn request(provider: &Provider) -> Result<Target, String> {
    provider::target(provider, "/models", None, provider::format(provider).profile().http.model_list_query)
}

/// Returns the ids in `{"data":[{"id":..},..]}`, or in the bare array that some hosts send.
pub(crate) fn parse(body: &[u8]) -> Result<List, String> {
    let document = RawValue::parse(body).map_err(|error| format!("the answer is not JSON: {error}"))?;
    let data = if document.is_object() { document.find("data") } else { Some(document) };
    let Some(data) = data.filter(|data| data.bytes().starts_with(b"[")) else {
        return Err("the answer holds no list of models".to_owned());
    };
    let id = |(model, _): (RawValue<'_>, _)| model.find("id")?.as_str().map(|id| id.unescape().into_owned());
    let mut ids: Vec<String> =
        data.elements().filter_map(id).filter(|id| !id.is_empty() && id.len() <= MAX_ID).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::boot::Boot;
    use crate::config::compile::compile;
    use crate::config::rows::{ProviderRow, Rows};
    use crate::shared::Hints;
    use crate::tls::{Trust, client_config};

    fn row(id: i64, base: &str, params: &str) -> ProviderRow {
        ProviderRow {
            id,
            provider_key: format!("p{id}"),
            provider_type: "openai".into(),
            api_base: base.into(),
            api_key: "sk-1".into(),
            model_mapping: "{}".into(),
            provider_params: params.into(),
            is_enabled: true,
            ..ProviderRow::default()
        }
    }

    fn snapshot(providers: Vec<ProviderRow>) -> Snapshot {
        compile(&Rows { version: 1, providers, ..Rows::default() }, None, &|_| None).0
    }

    #[test]
    fn requests() {
        // type, base, params, address, headers that matter
        let rows = [
            ("openai", "https://h/v1", "{}", "https://h/v1/models", "authorization: Bearer sk-1"),
            ("openai", "http://h:81", "{}", "http://h:81/models", "authorization: Bearer sk-1"),
            ("azure", "https://h/openai?api-version=1", "{}", "https://h/openai/models?api-version=1", "api-key: sk-1"),
            ("responses", "https://[::1]/v1", "{}", "https://[::1]/v1/models", "authorization: Bearer sk-1"),
            (
                "anthropic",
                "https://h",
                "{}",
                "https://h/v1/models?limit=1000",
                "anthropic-version: 2023-06-01, x-api-key: sk-1",
            ),
            (
                "anthropic",
                "https://h/v1?a=b",
                "{}",
                "https://h/v1/models?a=b&limit=1000",
                "anthropic-version: 2023-06-01, x-api-key: sk-1",
            ),
            (
                "openai",
                "https://h",
                r#"{"formats":["messages","chat"]}"#,
                "https://h/v1/models?limit=1000",
                "anthropic-version: 2023-06-01, x-api-key: sk-1",
            ),
            (
                "openai",
                "https://h",
                r#"{"custom_headers":{"X-Org":"a b","Authorization":"Basic x"}}"#,
                "https://h/models",
                "authorization: Basic x, x-org: a b",
            ),
        ];
        for (kind, base, params, address, headers) in rows {
            let snapshot = snapshot(vec![ProviderRow { provider_type: kind.into(), ..row(1, base, params) }]);
            let request = request(&snapshot.providers[0]).unwrap();
            assert_eq!(request.uri.to_string(), address, "{kind} {base}");
            let mut seen: Vec<_> = request
                .headers
                .iter()
                .filter(|(name, _)| !["accept", "user-agent"].contains(&name.as_str()))
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            seen.sort();
            assert_eq!(seen.join(", "), headers, "{kind} {base} {params}");
        }
    }

    #[test]
    fn answers() {
        let long = format!(r#"{{"data":[{{"id":"{}"}},{{"id":"a"}}]}}"#, "x".repeat(MAX_ID + 1));
        let rows: [(&str, Option<&[&str]>); 10] = [
            (r#"{"object":"list","data":[{"id":"b","object":"model"},{"id":"a/x"},{"id":"b"}]}"#, Some(&["a/x", "b"])),
            (r#"[{"id":"b"},{"id":"\u0061"}]"#, Some(&["a", "b"])),
            (r#"{"data":[]}"#, Some(&[])),
            (r#"{"data":[{"id":1},{"name":"x"},"y",null,{"id":""}]}"#, Some(&[])),
            (&long, Some(&["a"])),
            (r#"{"data":{"id":"a"}}"#, None),
            (r#"{"error":{"message":"no"}}"#, None),
            (r#"{"data":[{"id":"a"}"#, None),
            ("<html>", None),
            ("", None),
        ];
        for (body, expected) in rows {
            let expected = expected.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
            assert_eq!(parse(body.as_bytes()).ok().map(|list| list.to_vec()), expected, "{body}");
        }
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn lists_outlive_failures_but_not_their_provider() {
        let hints = Hints { no_credentials: String::new(), no_providers: String::new() };
        let shared = Arc::new(ProcessState::new(Boot::default(), 1, hints));
        let (tls, _) = client_config(&Trust { insecure: true, ..Trust::default() }).unwrap();
        let mut models = Models::new(shared.clone(), Client::new(shared.clone(), &tls));
        let listed = || {
            let mut ids: Vec<_> = shared.catalog.load().keys().copied().collect();
            ids.sort_unstable();
            ids
        };
        let mapped = ProviderRow { model_mapping: r#"{"a":"b"}"#.into(), ..row(9, "http://m", "{}") };
        let rows = |first: &str| snapshot(vec![row(1, first, "{}"), row(2, "http://b", "{}"), mapped.clone()]);
        models.adopt(&rows("http://a"));
        assert_eq!((models.entries.len(), models.fetches.len()), (2, 2));

        let fetched = |models: &Models, provider, list: Result<&str, &str>| {
            let list = list.map(|id| Arc::from([id.to_owned()])).map_err(str::to_owned);
            Step::Fetched(Fetched { provider, request: models.entries[&provider].request.clone(), list })
        };
        for provider in [1, 2] {
            models.take(fetched(&models, provider, Ok("m")));
            assert_eq!(models.entries[&provider].due, Instant::now() + Duration::from_secs(600));
        }
        assert_eq!(listed(), [1, 2]);
        for pause in [30, 60, 120, 240, 480, 600, 600] {
            models.take(fetched(&models, 1, Err("status 500")));
            assert_eq!(models.entries[&1].due, Instant::now() + Duration::from_secs(pause));
        }
        assert_eq!(listed(), [1, 2]);

        // A response from the former address of a provider is ignored.
        let late = fetched(&models, 1, Ok("old"));
        models.adopt(&rows("http://elsewhere"));
        models.take(late);
        assert_eq!(listed(), [2]);
        models.adopt(&snapshot(Vec::new()));
        assert_eq!(listed(), [0; 0]);
    }
}
