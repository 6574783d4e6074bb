//! Every recorded exchange through the bypass: the request arrives as it was sent, the answer comes
//! back as it was recorded.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use llm_wire::Format;

use super::case::{ASKED, Case, Framing, Naming, PRIVATE};
use super::dice::Dice;
use super::row::{LEFT_OUT, PROTOCOLS, Protocol, Row};
use super::rules::{Expected, RULES, Rule, Word};
use super::upstream::Upstream;
use super::{corpus, gateway, say};
use crate::support::gateway::PROVIDER_KEY;
use crate::support::{Client, End, Gateway, KEY, Request, Response};

const THREADS: usize = 3;

const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

#[test]
fn recorded_exchanges_pass_unchanged() {
    replay(Naming::Same);
}

#[test]
fn recorded_exchanges_pass_with_the_model_renamed_and_nothing_else() {
    replay(Naming::Mapped);
}

/// What came of a row.
#[derive(Default)]
struct Tally {
    tried: usize,
    as_recorded: usize,
    by_rule: BTreeMap<&'static str, usize>,
    model_added: usize,
}

fn replay(naming: Naming) {
    let Some(dir) = corpus() else { return };
    let rows = Row::all(&dir.join("dev.jsonl"));
    let upstream = Upstream::start();
    let mapping = match naming {
        Naming::Same => "{}".to_owned(),
        Naming::Mapped => format!(r#"{{"{ASKED}*":"*"}}"#),
    };
    let url = |path: &str| upstream.url(path);
    let gateways = Format::ALL.map(|format| gateway(&url, format, &mapping));
    let stage = Stage { naming, gateways, upstream };
    let (tallies, failures) = (Mutex::default(), Mutex::new(Vec::new()));
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut clients = [None, None, None];
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(protocol) = row.protocol() else { continue };
                    let client = &mut clients[protocol.format as usize];
                    let failed = stage.row(row, protocol, client, &tallies);
                    failures.lock().unwrap().extend(failed);
                }
            });
        }
    });
    report(naming, &rows, &tallies.into_inner().unwrap());
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} rows failed:\n{}", failures.len(), failures.join("\n"));
}

type Tallies = BTreeMap<&'static str, Tally>;

/// Where rows are replayed.
struct Stage {
    naming: Naming,
    /// By the format of the provider behind it.
    gateways: [Gateway; 3],
    upstream: Upstream,
}

impl Stage {
    /// Replays a row in each way of sending its answer. Says why it failed, if it did.
    fn row(
        &self,
        row: &Row,
        protocol: &'static Protocol,
        client: &mut Option<Client>,
        tallies: &Mutex<Tallies>,
    ) -> Option<String> {
        let mut by_rule = None;
        let mut failed = None;
        let mut model_added = false;
        for framing in Framing::of(row) {
            let case = Case::new(row, protocol, self.naming, *framing);
            let rule = RULES.iter().find(|rule| rule.naming.contains(&self.naming) && (rule.applies)(&case));
            let outcome = catch_unwind(AssertUnwindSafe(|| self.run(&case, rule, client)));
            if let Err(why) = outcome.unwrap_or_else(|panic| Err(words(&*panic))) {
                *client = None;
                let rule = rule.map_or("as recorded", |rule| rule.name);
                failed = Some(format!("{} {} ({framing:?}, {rule}): {why}", row.protocol, row.id));
            }
            by_rule = by_rule.or(rule);
            model_added |= case.model_added;
        }
        let mut tallies = tallies.lock().unwrap();
        let tally = tallies.entry(protocol.name).or_default();
        tally.tried += 1;
        tally.model_added += usize::from(model_added);
        match by_rule {
            Some(rule) => *tally.by_rule.entry(rule.name).or_default() += 1,
            None => tally.as_recorded += 1,
        }
        failed
    }

    fn run(&self, case: &Case<'_>, rule: Option<&Rule>, client: &mut Option<Client>) -> Checked {
        let row = case.row;
        let mut dice = Dice::new(&row.id, 2 + case.framing as u64);
        self.upstream.expect(&row.id, case.script(&mut dice));
        if case.model_added {
            let (head, body, _) = self.exchange(case, &row.request(case.protocol), &mut dice, client);
            equal("status of the request without a model", &head.status, &400)?;
            error_of(case, &body, Word { openai: "null", anthropic: "invalid_request_error" })?;
        }
        let (head, body, end) = self.exchange(case, &case.sent, &mut dice, client);
        let unheard = || format!("the upstream heard nothing; {}: {}", head.status, String::from_utf8_lossy(&body));
        let received = self.upstream.heard(&row.id).ok_or_else(unheard)?;
        check_request(case, &received)?;
        check_own_headers(case, &head)?;
        match rule.map_or(Expected::Recorded, |rule| (rule.expected)(case)) {
            Expected::Recorded => check_answer(case, &head, &case.expected, &body, end),
            Expected::Edited(bytes) => check_answer(case, &head, &bytes, &body, end),
            Expected::Truncated(word) => {
                let (same, rest) = body.split_at_checked(case.expected.len()).ok_or("less than the upstream sent")?;
                check_answer(case, &head, &case.expected, same, End::Whole)?;
                equal("end", &end, &End::Truncated)?;
                let data = std::str::from_utf8(rest).unwrap().lines().find_map(|line| line.strip_prefix("data: "));
                error_of(case, data.unwrap_or_default().as_bytes(), word)
            }
            Expected::Estimated => {
                equal("status", &head.status, &200)?;
                let displayed: serde_json::Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
                equal("an estimate", &displayed["input_tokens"].as_u64().is_some_and(|n| n > 0), &true)
            }
            Expected::Refused { status, word } => {
                equal("status", &head.status, &status)?;
                equal("end", &end, &End::Whole)?;
                error_of(case, &body, word)
            }
        }
    }

    /// Sends a request in pieces and reads the answer, on the connection of the last one if that is
    /// still there.
    fn exchange(
        &self,
        case: &Case<'_>,
        body: &str,
        dice: &mut Dice,
        client: &mut Option<Client>,
    ) -> (Response, Vec<u8>, End) {
        let bytes = case.outgoing(body, dice).bytes();
        let on = client.get_or_insert_with(|| self.gateways[case.protocol.format as usize].client());
        for piece in dice.cuts(&bytes, 3) {
            on.send(&bytes[piece]);
        }
        let head = on.head();
        let (body, end) = on.rest();
        if end == End::Truncated || head.header("connection") == Some("close") {
            *client = None;
        }
        (head, body, end)
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Says what was done, and fails if that is less than it was.
fn report(naming: Naming, rows: &[Row], tallies: &Tallies) {
    let mut text = format!("corpus, model {naming:?}:");
    for (name, why) in LEFT_OUT {
        let count = rows.iter().filter(|row| row.protocol == *name).count();
        text += &format!("\n  {name:22} {count:4} rows left out: {why}");
    }
    for (name, tally) in tallies {
        text += &format!("\n  {name:22} {:4} rows tried: {} as recorded", tally.tried, tally.as_recorded);
        for (rule, count) in &tally.by_rule {
            text += &format!(", {count} {rule}");
        }
        if tally.model_added > 0 {
            text += &format!("; {} named no model, were refused, and got one", tally.model_added);
        }
    }
    say(&text);
    for row in rows {
        let known = row.protocol().is_some() || LEFT_OUT.iter().any(|(name, _)| *name == row.protocol);
        assert!(known, "row {}: protocol {} is neither replayed nor left out", row.id, row.protocol);
    }
    for Protocol { name, kept, .. } in PROTOCOLS {
        let tried = tallies.get(name).map_or(0, |tally| tally.tried);
        assert!(tried >= *kept, "{name}: {tried} rows tried, there were {kept}");
    }
    for rule in RULES.iter().filter(|rule| rule.naming.contains(&naming)) {
        let used = tallies.values().any(|tally| tally.by_rule.contains_key(rule.name));
        assert!(used, "no row needs the rule `{}` ({})", rule.name, rule.why);
    }
}

type Checked = Result<(), String>;

fn check_request(case: &Case<'_>, heard: &Request) -> Checked {
    equal("method at the upstream", &heard.method.as_str(), &"POST")?;
    equal("target at the upstream", &heard.target, &case.target())?;
    same_bytes("request body", &heard.body, case.upstream_body.as_bytes())?;
    let (name, value) = match case.protocol.format {
        Format::Messages => ("x-api-key", PROVIDER_KEY.to_owned()),
        _ => ("authorization", format!("Bearer {PROVIDER_KEY}")),
    };
    equal(name, &heard.header(name), &Some(&*value))?;
    if let Some((name, _)) = heard.headers.0.iter().find(|(_, value)| value.contains(KEY)) {
        return Err(format!("the client's key reached the upstream in {name}"));
    }
    for (name, value) in &case.row.request_headers {
        // What SDKs say of themselves is theirs and the gateway's.
        let expected = (!name.starts_with("x-stainless-")).then_some(value.as_str());
        equal(&format!("request header {name}"), &heard.header(name), &expected)?;
    }
    Ok(())
}

/// What every answer says, whoever made it.
fn check_own_headers(case: &Case<'_>, head: &Response) -> Checked {
    equal("x-request-id", &head.headers.all("x-request-id").collect::<Vec<_>>(), &vec![&*case.row.id])?;
    match PRIVATE.iter().find(|(name, _)| head.header(name).is_some()) {
        Some((name, _)) => Err(format!("the provider's {name} reached the client")),
        None => Ok(()),
    }
}

fn check_answer(case: &Case<'_>, head: &Response, expected: &[u8], body: &[u8], end: End) -> Checked {
    equal("status", &head.status, &case.row.status)
        .map_err(|why| format!("{why}: {}", String::from_utf8_lossy(&body[..body.len().min(300)])))?;
    let mut upstream_id = None;
    for (name, value) in &case.row.response_headers {
        if name == "x-request-id" || name == "request-id" {
            // The gateway's own id has that name; of several the first is kept.
            upstream_id.get_or_insert(value.as_str());
            continue;
        }
        let got: Vec<_> = head.headers.all(name).collect();
        // Events under another label get their own, save where nothing is translated.
        let is_read = case.protocol.name != "completions";
        let is_mislabelled = is_read && name == "content-type" && case.row.stream && !case.row.is_event_stream();
        let value = if is_mislabelled && case.row.status == 200 { EVENT_STREAM } else { value };
        equal(&format!("response header {name}"), &got, &vec![value])?;
    }
    equal("id of the upstream", &head.header("x-llm-proxy-upstream-request-id"), &upstream_id)?;
    equal("end", &end, &End::Whole)?;
    same_bytes("answer", body, expected)
}

fn error_of(case: &Case<'_>, json: &[u8], word: Word) -> Checked {
    let text = String::from_utf8_lossy(json);
    let value: serde_json::Value = serde_json::from_slice(json).map_err(|_| format!("not an error: {text}"))?;
    let format = case.protocol.format;
    let member = if format == Format::Messages { "type" } else { "code" };
    let got = &value["error"][member];
    let got = got.as_str().map_or_else(|| got.to_string(), str::to_owned);
    equal("error", &got.as_str(), &word.of(format))
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, expected: &T) -> Checked {
    if got == expected { Ok(()) } else { Err(format!("{what}: {got:?}, expected {expected:?}")) }
}

fn same_bytes(what: &str, got: &[u8], expected: &[u8]) -> Checked {
    if got == expected {
        return Ok(());
    }
    let at = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let near = |bytes: &[u8]| {
        let (from, to) = (at.saturating_sub(60), (at + 60).min(bytes.len()));
        String::from_utf8_lossy(&bytes[from.min(to)..to]).into_owned()
    };
    let (a, b) = (got.len(), expected.len());
    Err(format!("{what} differs at byte {at} ({a} bytes, expected {b}):\n  {:?}\n  {:?}", near(got), near(expected)))
}
