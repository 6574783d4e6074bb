//! A large installation, compiled whole: what a change of one row costs.
#![allow(clippy::expect_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use llm_proxy::config::compile::compile;
use llm_proxy::config::rows::{CredentialRow, ProviderRow, Rows};

const PROVIDERS: i64 = 1_000;
const CREDENTIALS: i64 = 100_000;

fn rows() -> Rows {
    let providers = (1..=PROVIDERS).map(|id| ProviderRow {
        id,
        provider_key: format!("provider-{id}"),
        provider_type: if id % 3 == 0 { "anthropic" } else { "openai" }.into(),
        api_base: format!("https://api-{id}.example.com/v1"),
        api_key: format!("sk-{id:048}").into(),
        model_mapping: r#"{"gpt-4o":"gpt-4o-2024-08-06","gpt-4o-mini":"gpt-4o-mini","claude-*":"anthropic/claude-*"}"#
            .into(),
        weight: id % 5,
        provider_params: r#"{"custom_headers":{"x-team":"core"}}"#.into(),
        is_enabled: true,
        ..ProviderRow::default()
    });
    let credentials = (1..=CREDENTIALS).map(|id| CredentialRow {
        id,
        credential_key: format!("{:064x}", id.wrapping_mul(0x9e37_79b9)),
        name: format!("team-{id}"),
        allowed_models: if id % 2 == 0 { "[]" } else { r#"["gpt-4o*","re:claude-(opus|sonnet)-.*"]"# }.into(),
        rate_limit: (id % 2 == 0).then_some(100),
        is_enabled: true,
        ..CredentialRow::default()
    });
    Rows { version: 1, providers: providers.collect(), credentials: credentials.collect(), ..Rows::default() }
}

fn bench(c: &mut Criterion) {
    let rows = rows();
    let (first, problems) = compile(&rows, None, &|_| None);
    assert!(problems.is_empty());
    c.bench_function("compile/first", |b| b.iter_with_large_drop(|| compile(&rows, None, &|_| None)));
    c.bench_function("compile/reload", |b| b.iter_with_large_drop(|| compile(&rows, Some(&first), &|_| None)));
}

criterion_group!(benches, bench);
criterion_main!(benches);
