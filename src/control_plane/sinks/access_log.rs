//! The access log: one line for each finished request, level info, target `llm_proxy::access`.
//!
//! Requests of monitoring, which come every few seconds, are left out unless the level is debug.

use std::sync::Arc;

use tracing::Level;

use crate::control_plane::records::drain::{Directory, Sink};
use crate::telemetry::record::{Outcome, Record};

/// The sink that logs a line for each request.
pub(crate) struct Access;

/// Endpoints of monitoring.
const MONITORING: [&str; 2] = ["/health", "/metrics"];

impl Sink for Access {
    fn is_enabled(&self) -> bool {
        tracing::enabled!(target: "llm_proxy::access", Level::INFO)
    }

    fn record(&mut self, record: &Arc<Record>, directory: &Directory) {
        let monitoring = MONITORING.contains(&record.endpoint) && record.status < 400;
        if monitoring && !tracing::enabled!(target: "llm_proxy::access", Level::DEBUG) {
            return;
        }
        let (outcome, kind) = match record.outcome {
            Outcome::Complete => (None, None),
            Outcome::ClientDisconnected => (Some("client gone"), None),
            Outcome::Failed(kind) => (Some("failed"), Some(kind)),
            Outcome::Truncated(kind) => (Some("truncated"), Some(kind)),
        };
        let (model, sent_model) = (record.model.as_str(), record.sent_model.as_str());
        // The model's name is from the client. As a `str`, not through `Display`, it is quoted and
        // escaped, and can't break the line.
        tracing::info!(
            target: "llm_proxy::access",
            status = record.status,
            client_format = record.client_format.map(|format| format.name()),
            key = directory.credential(record.credential),
            model = (!model.is_empty()).then_some(model),
            upstream_model = (!sent_model.is_empty() && sent_model != model).then_some(sent_model),
            provider = directory.provider(record.provider).map(|provider| &*provider.key),
            stream = record.stream.then_some(true),
            attempts = (record.attempts > 1).then_some(record.attempts),
            duration_ms = milliseconds(record.total_us),
            ttfb_ms = (record.first_byte_us > 0).then(|| milliseconds(record.first_byte_us)),
            input_tokens = record.tokens.map(|tokens| tokens.input),
            output_tokens = record.tokens.map(|tokens| tokens.output),
            outcome,
            kind = kind.map(|kind| kind.row().label),
            request_id = record.request_id.as_str(),
            "{} {}",
            record.method,
            record.endpoint,
        );
    }
}

/// Rounds to a tenth.
fn milliseconds(us: u64) -> f64 {
    (us as f64 / 100.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use tracing_subscriber::EnvFilter;

    use super::*;
    use crate::config::compile::compile;
    use crate::config::rows::{CredentialRow, ProviderRow, Rows};
    use crate::control_plane::records::drain::tests::record;
    use crate::telemetry::record::Short;
    use llm_wire::error::Kind;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn directory() -> Directory {
        let provider = ProviderRow {
            id: 9,
            provider_key: "groq".into(),
            provider_type: "openai".into(),
            api_base: "http://localhost".into(),
            model_mapping: "{}".into(),
            provider_params: "{}".into(),
            is_enabled: true,
            ..ProviderRow::default()
        };
        let credential = CredentialRow {
            id: 7,
            credential_key: "00".repeat(32),
            name: "team a".into(),
            allowed_models: "[]".into(),
            is_enabled: true,
            ..CredentialRow::default()
        };
        let rows = Rows { version: 1, providers: vec![provider], credentials: vec![credential], ..Rows::default() };
        Directory::of(Arc::new(compile(&rows, None, &|_| None).0))
    }

    /// Returns what is logged of `records` under `filter`, line by line.
    fn lines(filter: &str, records: &[Record]) -> Vec<String> {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let directory = directory();
            if Access.is_enabled() {
                records.iter().for_each(|record| Access.record(&Arc::new(record.clone()), &directory));
            }
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_for_each_request() {
        let gone = Record {
            provider: 1,
            credential: 0,
            model: Short::new("a\n\"b\u{1b}[31m"),
            client_format: None,
            status: 499,
            stream: true,
            attempts: 3,
            tokens: None,
            first_byte_us: 0,
            outcome: Outcome::ClientDisconnected,
            ..record("id-2")
        };
        let broken = Record { outcome: Outcome::Truncated(Kind::UpstreamTruncated), ..record("id-3") };
        let expected = [
            r#" INFO llm_proxy::access: POST /v1/chat/completions status=200 client_format="chat" key="team a" model="gpt-4" upstream_model="gpt-4-0613" provider="groq" duration_ms=12.3 ttfb_ms=2.0 input_tokens=11 output_tokens=22 request_id="id-1""#,
            r#" INFO llm_proxy::access: POST /v1/chat/completions status=499 model="a\n\"b\u{1b}[31m" upstream_model="gpt-4-0613" stream=true attempts=3 duration_ms=12.3 outcome="client gone" request_id="id-2""#,
            r#" INFO llm_proxy::access: POST /v1/chat/completions status=200 client_format="chat" key="team a" model="gpt-4" upstream_model="gpt-4-0613" provider="groq" duration_ms=12.3 ttfb_ms=2.0 input_tokens=11 output_tokens=22 outcome="truncated" kind="upstream_truncated" request_id="id-3""#,
        ];
        assert_eq!(lines("info", &[record("id-1"), gone, broken]), expected);
    }

    #[test]
    fn filters() {
        let records = [
            record("a"),
            Record { endpoint: "/metrics", ..record("b") },
            Record { endpoint: "/health", ..record("c") },
            Record { endpoint: "/health", status: 503, ..record("d") },
        ];
        let rows = [
            ("info", 2),
            ("debug", 4),
            ("warn", 0),
            ("info,llm_proxy::access=off", 0),
            ("off,llm_proxy::access=info", 2),
        ];
        for (filter, expected) in rows {
            assert_eq!(lines(filter, &records).len(), expected, "{filter}");
        }
    }
}
