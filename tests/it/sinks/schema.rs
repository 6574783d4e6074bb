//! What Langfuse takes: the rules of its public API reference for `POST /api/public/ingestion`
//! (types `IngestionEvent`, `TraceBody`, `CreateGenerationBody`, `IngestionUsage`, `UsageDetails`,
//! `MapValue`), for the two kinds of events that this gateway sends, by hand. Fields that the
//! reference does not know are refused here, though the service would ignore them.

use serde_json::{Map, Value};

/// Everything that is wrong with the body of a request.
pub fn faults(body: &Value) -> Vec<String> {
    let mut check = Check::default();
    check.known("", body, &["batch", "metadata"]);
    match body["batch"].as_array() {
        Some(events) if !events.is_empty() => events.iter().for_each(|event| check.event(event)),
        _ => check.fault("batch is no list of events"),
    }
    if body.to_string().len() > 3_500_000 {
        check.fault("the batch is larger than 3.5 MB");
    }
    check.faults
}

#[derive(Default)]
struct Check {
    faults: Vec<String>,
}

/// What a field may hold.
type Rule = fn(&Value) -> bool;

const TRACE: &[(&str, Rule)] = &[
    ("id", text),
    ("timestamp", moment),
    ("name", text),
    ("userId", short),
    ("sessionId", short),
    ("input", any),
    ("output", any),
    ("release", text),
    ("version", text),
    ("metadata", any),
    ("tags", texts),
    ("environment", text),
    ("public", Value::is_boolean),
];

const GENERATION: &[(&str, Rule)] = &[
    ("id", text),
    ("traceId", text),
    ("name", text),
    ("startTime", moment),
    ("endTime", moment),
    ("completionStartTime", moment),
    ("model", text),
    ("modelParameters", parameters),
    ("input", any),
    ("output", any),
    ("usage", usage),
    ("usageDetails", counts),
    ("costDetails", numbers),
    ("promptName", text),
    ("promptVersion", Value::is_u64),
    ("metadata", any),
    ("level", level),
    ("statusMessage", text),
    ("parentObservationId", text),
    ("version", text),
    ("environment", text),
];

impl Check {
    fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    fn known(&mut self, what: &str, value: &Value, names: &[&str]) {
        let Some(fields) = value.as_object() else { return self.fault(format!("{what} is no object: {value}")) };
        for name in fields.keys().filter(|name| !names.contains(&name.as_str())) {
            self.fault(format!("{what}.{name} is not known"));
        }
    }

    fn event(&mut self, event: &Value) {
        self.known("event", event, &["id", "timestamp", "type", "body", "metadata"]);
        if !uuid(&event["id"]) {
            self.fault(format!("event.id is no UUID: {}", event["id"]));
        }
        if !moment(&event["timestamp"]) {
            self.fault(format!("event.timestamp is no moment: {}", event["timestamp"]));
        }
        let (rules, required): (_, &[&str]) = match event["type"].as_str() {
            Some("trace-create") => (TRACE, &["id", "timestamp", "name"]),
            Some("generation-create") => (GENERATION, &["id", "traceId", "startTime"]),
            _ => return self.fault(format!("event.type is {}", event["type"])),
        };
        let Some(body) = event["body"].as_object() else { return self.fault("event.body is no object") };
        for (name, value) in body {
            match rules.iter().find(|(known, _)| known == name) {
                Some((_, rule)) if rule(value) => {}
                Some(_) => self.fault(format!("{name} may not be {value}")),
                None => self.fault(format!("{name} is not known")),
            }
        }
        for name in required.iter().filter(|name| !body.contains_key(**name)) {
            self.fault(format!("{name} is missing"));
        }
    }
}

fn any(_: &Value) -> bool {
    true
}

fn text(value: &Value) -> bool {
    value.is_string()
}

/// Ids of users and sessions have at most 200 characters.
fn short(value: &Value) -> bool {
    value.as_str().is_some_and(|text| (1..=200).contains(&text.chars().count()))
}

fn texts(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
}

fn level(value: &Value) -> bool {
    ["DEBUG", "DEFAULT", "WARNING", "ERROR"].iter().any(|level| value == level)
}

/// ISO 8601 with milliseconds and a zone.
fn moment(value: &Value) -> bool {
    let shape = b"0000-00-00T00:00:00.000Z";
    value.as_str().is_some_and(|text| {
        let fits = |(byte, of): (u8, &u8)| if *of == b'0' { byte.is_ascii_digit() } else { byte == *of };
        text.len() == shape.len() && text.bytes().zip(shape).all(fits)
    })
}

fn uuid(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        let parts: Vec<usize> = text.split('-').map(str::len).collect();
        parts == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    })
}

fn all(value: &Value, rule: Rule) -> bool {
    value.as_object().is_some_and(|fields: &Map<String, Value>| fields.values().all(rule))
}

/// `MapValue`: a text, a number, a truth, a list of texts.
fn parameters(value: &Value) -> bool {
    all(value, |value| value.is_string() || value.is_number() || value.is_boolean() || texts(value))
}

/// The form of OpenAI; the other one has `input`, `output`, `total`, `unit`.
fn usage(value: &Value) -> bool {
    let known = ["promptTokens", "completionTokens", "totalTokens"];
    counts(value) && value.as_object().unwrap().keys().all(|name| known.contains(&name.as_str()))
}

fn counts(value: &Value) -> bool {
    all(value, Value::is_u64)
}

fn numbers(value: &Value) -> bool {
    all(value, Value::is_number)
}

#[test]
fn the_rules_refuse() {
    let event = |kind: &str, body: Value| {
        serde_json::json!({"batch": [{
            "id": "00000000-0000-4000-8000-000000000000", "timestamp": "2026-01-23T19:30:00.000Z", "type": kind, "body": body,
        }]})
    };
    let trace = serde_json::json!({"id": "t", "timestamp": "2026-01-23T19:30:00.000Z", "name": "n", "tags": ["a"]});
    assert_eq!(faults(&event("trace-create", trace.clone())), [""; 0]);
    let rows = [
        serde_json::json!({}),
        serde_json::json!({"batch": []}),
        event("span-create", trace.clone()),
        event("generation-create", trace),
        event("trace-create", serde_json::json!({"id": "t", "timestamp": "yesterday", "name": "n"})),
        event(
            "generation-create",
            serde_json::json!({"id": "g", "traceId": "t", "startTime": "2026-01-23T19:30:00.000Z", "usageDetails": {"input": -1}}),
        ),
    ];
    for row in rows {
        assert!(!faults(&row).is_empty(), "{row}");
    }
}
