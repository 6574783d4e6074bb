//! Records for the tests of sinks.

use std::sync::Arc;

use crate::config::compile::compile;
use crate::config::rows::{CredentialRow, ProviderRow, Rows};
use crate::control_plane::records::drain::Directory;
use crate::control_plane::records::drain::tests::record;
use crate::telemetry::capture::{Attempt, CaptureConfig, Detail, Piece};
use crate::telemetry::record::{Record, Short};
use llm_wire::Format;

/// Of the ids in [`record`]: the credential `team a`, the provider `groq`.
pub(super) fn directory() -> Directory {
    let provider = ProviderRow {
        id: 9,
        provider_key: "groq".into(),
        provider_type: "openai".into(),
        api_base: "http://localhost:1/v1?key=hidden".into(),
        api_key: "pk-secret".into(),
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

/// A request with this head and body, and nothing of an answer yet.
pub(super) fn request_record(head: &str, body: &str) -> Record {
    let mut detail =
        Detail::new(CaptureConfig { detail: true, body_bytes: 1 << 16, per_second: None }, head.as_bytes()).unwrap();
    detail.set_request_body(body.as_bytes());
    Record { detail: Some(detail), ..record("id-1") }
}

/// The same, sent as it is to the provider.
pub(super) fn forwarded_record(head: &str, body: &str) -> Record {
    let mut record = request_record(head, body);
    let detail = record.detail.as_mut().unwrap();
    detail.begin_attempt(Attempt::new(9, Format::Chat, Short::new("gpt-4-0613"), "/chat/completions", 1_000));
    detail.set_upstream_body(None);
    record
}

/// The same, and answered in one piece.
pub(super) fn complete_record(body: &str, answer: &str) -> Record {
    let mut record = forwarded_record("POST /v2/chat/completions HTTP/1.1\r\n\r\n", body);
    let detail = record.detail.as_mut().unwrap();
    detail.push_upstream(Piece::Part(answer.as_bytes()));
    detail.mark_passthrough();
    let attempt = detail.last_attempt().unwrap();
    (attempt.status, attempt.first_byte_us) = (200, 2_000);
    detail.end_attempt(12_000, None);
    record
}
