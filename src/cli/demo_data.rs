//! What `llm-proxy demo` opens with: teams, budgets, a virtual model, prices, and three days of
//! logged requests that were never sent.

use std::collections::BTreeMap;

use super::failure::Failure;
use super::key;
use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow};
use crate::control_plane::store::blocking::Blocking;
use crate::control_plane::store::logs::spend::DAY;
use crate::control_plane::store::logs::{PriceRow, RequestRow, Row, SpendKey, SpendSums};

/// Requests, over so many seconds.
const REQUESTS: i64 = 1200;
const SECONDS: i64 = 3 * 86_400;
/// Rows in one write.
const AT_ONCE: usize = 400;

/// Keys with their groups.
const KEYS: &[(&str, &str)] =
    &[("alice", "research"), ("bob", "research"), ("helpdesk-bot", "support"), ("ci", "platform")];
/// Models with dollars per million tokens, in and out, and how many of ten requests are for them.
const MODELS: &[(&str, f64, f64, i64)] =
    &[("demo-large", 2.5, 10.0, 4), ("demo-small", 0.15, 0.6, 4), ("demo-reasoning", 1.1, 4.4, 2)];
const FORMATS: &[(&str, &str)] =
    &[("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages"), ("openai_responses", "/v1/responses")];

/// Fills the store of the demo. `now` is in seconds since 1970.
///
/// # Errors
/// The store cannot be written.
pub(super) fn fill(store: &Blocking, now: i64) -> Result<(), Failure> {
    for (name, parent) in
        [("company", None), ("research", Some("company")), ("support", Some("company")), ("platform", None)]
    {
        store.add_group(&group(name, parent))?;
    }
    for (name, group) in KEYS {
        store.create_credential(&credential(name, group)?)?;
    }
    store.add_model(&smart())?;
    for row in budgets() {
        store.add_budget(&row)?;
    }
    let shared = store.store();
    let Some(tables) = shared.tables() else { return Ok(()) };
    let prices = MODELS.iter().map(|(model, input, output, _)| price(model, *input, *output).values());
    store.wait(tables.insert(PriceRow::TABLE, prices.collect()))?;
    let rows = requests(now);
    store.wait(tables.add_spend(spend(&rows)))?;
    let rows: Vec<_> = rows.into_iter().map(Row::values).collect();
    for part in rows.chunks(AT_ONCE) {
        store.wait(tables.insert(RequestRow::TABLE, part.to_vec()))?;
    }
    Ok(())
}

fn group(name: &str, parent: Option<&str>) -> GroupRow {
    GroupRow {
        name: name.to_owned(),
        parent: parent.map(str::to_owned),
        allowed_models: "[]".to_owned(),
        metadata: "{}".to_owned(),
        tokens_per_minute: parent.is_none().then_some(2_000_000),
        is_enabled: true,
        ..GroupRow::default()
    }
}

/// Returns a key that nobody knows: it is made and forgotten.
fn credential(name: &str, group: &str) -> Result<CredentialRow, Failure> {
    Ok(CredentialRow {
        credential_key: key::hash(&key::generate()?),
        name: name.to_owned(),
        group_name: Some(group.to_owned()),
        allowed_models: "[]".to_owned(),
        rate_limit: Some(10),
        is_enabled: true,
        ..CredentialRow::default()
    })
}

fn smart() -> ModelRow {
    ModelRow {
        name: "smart".to_owned(),
        members:
            r#"[{"model":"demo-large","weight":3},{"model":"demo-reasoning"},{"model":"demo-small","priority":1}]"#
                .to_owned(),
        overrides: "{}".to_owned(),
        options: r#"{"fallback_on":["context_length","content_filter"]}"#.to_owned(),
        is_enabled: true,
        ..ModelRow::default()
    }
}

fn budgets() -> [BudgetRow; 3] {
    let budget = |name: &str, scope: &str, subject: &str, unit: &str, amount: i64, period: &str| BudgetRow {
        name: name.to_owned(),
        scope: scope.to_owned(),
        subject: subject.to_owned(),
        unit: unit.to_owned(),
        amount,
        period: period.to_owned(),
        warn_at: "[80,95]".to_owned(),
        is_hard: true,
        is_enabled: true,
        ..BudgetRow::default()
    };
    [
        budget("demo-daily", "credential", "demo", "tokens", 20_000, "day"),
        budget("research-monthly", "group", "research", "usd", 400_000_000_000, "month"),
        budget("batch", "tag", "batch", "tokens", 2_000_000, "week"),
    ]
}

fn price(model: &str, input: f64, output: f64) -> PriceRow {
    PriceRow { model: model.to_owned(), input: Some(input), output: Some(output), ..PriceRow::default() }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    /// From 0 to one below `sides`.
    fn roll(&mut self, sides: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap_or_default() % sides.max(1)
    }
}

fn requests(now: i64) -> Vec<RequestRow> {
    let mut dice = Dice(7);
    let mut rows = Vec::new();
    while rows.len() < REQUESTS as usize {
        let at = now - dice.roll(SECONDS) - 60;
        // Few at night and at weekends.
        let hour = at.rem_euclid(86_400) / 3600;
        let is_weekend = matches!((at.div_euclid(86_400) + 4).rem_euclid(7), 0 | 6);
        let busy = if (7..19).contains(&hour) { 10 } else { 2 } / if is_weekend { 2 } else { 1 };
        if dice.roll(10) < busy {
            rows.push(request(&mut dice, at, rows.len()));
        }
    }
    rows.sort_by_key(|row| row.timestamp);
    rows
}

fn request(dice: &mut Dice, at: i64, number: usize) -> RequestRow {
    let (credential, _) = KEYS[dice.roll(KEYS.len() as i64) as usize];
    let (model, input_price, output_price, _) = pick(dice);
    let (protocol, endpoint) = FORMATS[dice.roll(FORMATS.len() as i64) as usize];
    let is_failed = dice.roll(40) == 0;
    let (input, output) = (80 + dice.roll(4000), if is_failed { 0 } else { 20 + dice.roll(900) });
    let ttft = 120 + dice.roll(900);
    let is_streaming = dice.roll(3) > 0;
    let cost = (input as f64 * input_price + output as f64 * output_price) * 1000.0;
    let duration = ttft + output * (4 + dice.roll(8));
    let trace = format!(
        r#"{{"stages":[{{"stage":"route","ms":0.021}},{{"stage":"first_byte","ms":{ttft}}},{{"stage":"last_byte","ms":{}}}],"attempts":[{{"provider":"mock","model":"{model}","format":"{protocol}","began_ms":0.08,"first_byte_ms":{ttft},"ended_ms":{duration},"status":{}}}],"request_bytes":{},"response_bytes":{}}}"#,
        duration - ttft,
        if is_failed { 503 } else { 200 },
        input * 4,
        output * 5,
    );
    RequestRow {
        timestamp: at * 1_000_000 + dice.roll(1_000_000),
        request_id: format!("demo-{number:05}"),
        endpoint: Some(endpoint.to_owned()),
        credential_name: Some(credential.to_owned()),
        model_requested: Some(if dice.roll(6) == 0 { "smart" } else { model }.to_owned()),
        model_mapped: Some(model.to_owned()),
        provider_name: Some("mock".to_owned()),
        provider_type: Some("openai".to_owned()),
        client_protocol: Some(protocol.to_owned()),
        provider_protocol: Some(protocol.to_owned()),
        is_streaming,
        status_code: Some(if is_failed { 503 } else { 200 }),
        input_tokens: input,
        output_tokens: output,
        total_tokens: input + output,
        total_duration_ms: Some(duration),
        ttft_ms: (is_streaming && !is_failed).then_some(ttft),
        error_category: is_failed.then(|| "provider_5xx".to_owned()),
        error_message: is_failed.then(|| "the model is overloaded; try again in a moment".to_owned()),
        cost: Some(cost as i64),
        session: (dice.roll(3) == 0).then(|| format!("session-{}", dice.roll(40))),
        tags: (credential == "ci").then(|| ",batch,".to_owned()),
        trace: Some(trace),
        ..RequestRow::default()
    }
}

/// Returns what the requests come to, by day.
fn spend(rows: &[RequestRow]) -> Vec<(SpendKey, SpendSums)> {
    let mut days: BTreeMap<SpendKey, SpendSums> = BTreeMap::new();
    for row in rows {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let group =
            KEYS.iter().find(|(name, _)| Some(*name) == row.credential_name.as_deref()).map_or("", |(_, group)| group);
        let key = SpendKey {
            day: row.timestamp / 1_000_000 / DAY * DAY,
            credential: text(&row.credential_name),
            group_path: if group == "platform" { group.to_owned() } else { format!("{group}\ncompany") },
            tags: text(&row.tags).trim_matches(',').to_owned(),
            model: text(&row.model_requested),
            provider: text(&row.provider_name),
            upstream_model: text(&row.model_mapped),
            ..SpendKey::default()
        };
        days.entry(key).or_default().add(&SpendSums {
            requests: 1,
            errors: i64::from(row.error_category.is_some()),
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cost: row.cost.unwrap_or_default(),
            ..SpendSums::default()
        });
    }
    days.into_iter().collect()
}

fn pick(dice: &mut Dice) -> (&'static str, f64, f64, i64) {
    let mut rest = dice.roll(10);
    let found = MODELS.iter().find(|(.., share)| {
        rest -= share;
        rest < 0
    });
    *found.unwrap_or(&MODELS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_days_of_requests_that_look_like_some() {
        let now = 1_800_000_000;
        let rows = requests(now);
        assert_eq!(rows.len(), REQUESTS as usize);
        let first = (now - SECONDS - 60) * 1_000_000;
        assert!(rows.iter().all(|row| row.timestamp >= first && row.timestamp < now * 1_000_000));
        let failed = rows.iter().filter(|row| row.error_category.is_some()).count();
        assert!((5..100).contains(&failed), "{failed}");
        for row in &rows {
            let trace = row.trace.as_deref().unwrap_or_default();
            assert!(serde_json::from_str::<serde_json::Value>(trace).is_ok(), "{trace}");
        }
        let spent: i64 = spend(&rows).iter().map(|(_, sums)| sums.requests).sum();
        assert_eq!(spent, REQUESTS);
        for (model, ..) in MODELS {
            assert!(rows.iter().any(|row| row.model_mapped.as_deref() == Some(model)), "{model}");
        }
    }
}
