//! Every case for every client of every provider, streamed and whole on either side: what `wire`
//! makes of the request is what the provider demands and carries what the client said, and what it
//! makes of the answer is what the provider meant.
//!
//! No cell is refused, so there is no list of exceptions. What must hold is worked out from the
//! provider's own answer by [`crossed`](crate::support::crossed), which knows nothing of the code
//! under test.

mod cases;

use llm_wire::Format;
use llm_wire::error::classify;
use llm_wire::error::{Error, Kind};
use llm_wire::formats::errors;
use llm_wire::json::RawValue;
use llm_wire::sse::Framer;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Plan, Reply, SequentialIds, Target};
use llm_wire::translate::{self, Translator};
use serde_json::{Value, json};

use self::cases::{CASES, Case, End};
use crate::support::crossed::{crossed, differences};
use crate::support::demands;
use crate::support::output::{self, Output};
use crate::support::say;

/// One cell.
#[derive(Clone, Copy)]
struct Cell {
    case: &'static Case,
    client: Format,
    provider: Format,
    /// The client asks for a stream; the provider sends one.
    asks: bool,
    sends: bool,
}

impl Cell {
    fn all() -> impl Iterator<Item = Cell> {
        let modes = [(true, true), (false, false), (true, false), (false, true)];
        let pairs = || Format::ALL.into_iter().flat_map(|client| Format::ALL.map(move |provider| (client, provider)));
        let cells = CASES.iter().flat_map(move |case| {
            pairs().flat_map(move |(client, provider)| {
                modes.map(|(asks, sends)| Cell { case, client, provider, asks, sends })
            })
        });
        // Only a stream breaks in the midst.
        cells.filter(|cell| cell.sends || cell.case.end != End::Broken)
    }

    fn name(&self) -> String {
        let form = |stream| if stream { "stream" } else { "whole" };
        let Cell { case, client, provider, asks, sends } = self;
        format!("{} for {client} ({}) of {provider} ({})", case.name, form(*asks), form(*sends))
    }
}

#[test]
fn every_case_passes_for_every_pair() {
    let (mut tried, mut failures) = (0, Vec::new());
    for cell in Cell::all() {
        tried += 1;
        let wrong = check(cell).unwrap_or_else(|error| vec![format!("refused: {error}")]);
        failures.extend(wrong.into_iter().map(|why| format!("{}: {why}", cell.name())));
    }
    say(&format!("matrix: {tried} cells of {} cases, {} wrong, none excepted", CASES.len(), failures.len()));
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(tried, (14 * 4 + 2 * 2) * 9);
}

/// What is wrong with a cell. `Err`: the request was refused, which none is to be.
fn check(cell: Cell) -> Result<Vec<String>, Error> {
    let request = cell.case.of(cell.client).request(cell.asks);
    let (sent, plan) = ask(cell, &request)?;
    let mut wrong = check_request(cell, &sent);
    let stops = plan.stops.clone();
    let answer = answer(cell, plan);
    match cell.case.end {
        End::Answer => match answer {
            Ok(bytes) => wrong.extend(check_answer(cell, &stops, &bytes)),
            Err(error) => wrong.push(format!("an error: {error}")),
        },
        End::Refused => wrong.extend(check_status(cell, answer, Kind::Overloaded)),
        End::Broken if cell.asks => wrong.extend(check_broken(cell, answer)),
        End::Broken if cell.case.name == "truncated_stream" => {
            wrong.extend(check_status(cell, answer, Kind::UpstreamTruncated));
        }
        End::Broken => wrong.extend(check_status(cell, answer, Kind::Overloaded)),
    }
    Ok(wrong)
}

/// The client's request for the provider, and what it leaves behind.
fn ask(cell: Cell, request: &Value) -> Result<(String, Plan), Error> {
    let (host, model) = cell.case.of(cell.provider).target(cell.provider);
    let target = Target::new(cell.provider, host, model, "account", &Overrides::default());
    let body = request.to_string();
    let encoded = translate::request(cell.client, body.as_bytes(), &Context::new(target, "m"))?;
    Ok((String::from_utf8(encoded.body).unwrap(), encoded.plan))
}

fn check_request(cell: Cell, sent: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for word in cell.case.carries.iter().filter(|word| !sent.contains(**word)) {
        wrong.push(format!("the request lost {word}: {sent}"));
    }
    if cell.client != cell.provider {
        let (host, _) = cell.case.of(cell.provider).target(cell.provider);
        let demands = demands::broken(cell.provider, host.is_native(), &serde_json::from_str(sent).unwrap());
        wrong.extend(demands.into_iter().map(|fault| format!("request: {fault}")));
    }
    wrong
}

/// What the client gets.
fn answer(cell: Cell, mut plan: Plan) -> Result<Vec<u8>, Error> {
    plan.stream = cell.asks;
    plan.include_usage = true;
    let part = cell.case.of(cell.provider);
    let mut translator = Translator::new(Reply::new(plan, Box::new(SequentialIds::default()), "req_1"));
    let mut out = Vec::new();
    if !cell.sends {
        let (status, whole) = part.whole().unwrap();
        let body = whole.to_string();
        if status >= 400 {
            let read = errors::read_refusal(cell.provider, body.as_bytes()).unwrap();
            return Err(classify::error(Some(status), &read));
        }
        translator.body(body.as_bytes(), &mut out)?;
        return Ok(out);
    }
    let stream = part.stream(cell.provider);
    let (mut framer, mut rest) = (Framer::default(), stream.as_slice());
    while let Some(block) = framer.next(&mut rest).unwrap() {
        block.frame.map_or(Ok(()), |frame| translator.frame(frame, &mut out))?;
    }
    translator.end(&mut out)?;
    Ok(out)
}

fn recorded(cell: Cell) -> Output {
    let part = cell.case.of(cell.provider);
    match cell.sends {
        true => output::stream(cell.provider, &part.stream(cell.provider)).output,
        false => output::whole(cell.provider, part.whole().unwrap().1),
    }
}

fn check_answer(cell: Cell, stops: &[String], bytes: &[u8]) -> Vec<String> {
    let mut expected = crossed(cell.provider, cell.client, &recorded(cell));
    let cut = cut_at_stop(cell.client, stops, &mut expected);
    let (got, mut wrong) = match cell.asks {
        true => {
            let streamed = output::stream(cell.client, bytes);
            let errors = streamed.errors.iter().map(|error| format!("an error event: {error}"));
            (streamed.output, streamed.faults.into_iter().chain(errors).collect())
        }
        false => (output::whole(cell.client, &serde_json::from_slice(bytes).unwrap()), Vec::new()),
    };
    if cut {
        // What the provider would have gone on to say is not paid for by the client; its end is an
        // estimate.
        expected.usage = None;
    }
    wrong.extend(differences(&expected, &got));
    if !cell.asks && wrong.is_empty() {
        wrong.extend(check_next_turn(cell, bytes));
    }
    wrong
}

/// A stop sequence that the provider does not know is the gateway's to find.
fn cut_at_stop(client: Format, stops: &[String], output: &mut Output) -> bool {
    let Some((stop, at)) = stops.iter().find_map(|stop| Some((stop, output.text.find(stop.as_str())?))) else {
        return false;
    };
    output.text.truncate(at);
    if client == Format::Messages {
        (output.finish, output.stop_sequence) = ("stop_sequence".to_owned(), Some(stop.clone()));
    }
    true
}

/// The client sends the answer back as history: the provider gets its own reasoning state again, as
/// it gave it.
fn check_next_turn(cell: Cell, whole: &[u8]) -> Vec<String> {
    let output: Value = serde_json::from_slice(whole).unwrap();
    let mut request = cell.case.of(cell.client).request(false);
    match cell.client {
        Format::Chat => append(&mut request["messages"], [output["choices"][0]["message"].clone()]),
        Format::Messages => {
            append(&mut request["messages"], [json!({"role": "assistant", "content": output["content"]})])
        }
        Format::Responses => {
            if let Some(text) = request["input"].as_str() {
                request["input"] = json!([{"role": "user", "content": text}]);
            }
            append(&mut request["input"], output["output"].as_array().unwrap().clone());
        }
    }
    let list = if cell.client == Format::Responses { "input" } else { "messages" };
    append(&mut request[list], [json!({"role": "user", "content": "Go on."})]);
    let mut wrong = Vec::new();
    match ask(cell, &request) {
        Ok((sent, _)) => {
            let states = recorded(cell).sealed;
            let lost = states.iter().filter(|state| !sent.contains(state.as_str()));
            wrong.extend(lost.map(|state| format!("next turn: lost the state {state}: {sent}")));
        }
        Err(error) => wrong.push(format!("next turn: {error}")),
    }
    wrong
}

fn append(list: &mut Value, more: impl IntoIterator<Item = Value>) {
    list.as_array_mut().unwrap().extend(more);
}

fn check_status(cell: Cell, answer: Result<Vec<u8>, Error>, kind: Kind) -> Vec<String> {
    let error = match answer {
        Ok(bytes) => return vec![format!("no error: {}", String::from_utf8_lossy(&bytes))],
        Err(error) => error,
    };
    let mut body = Vec::new();
    errors::body(cell.client, &mut body, &error, "req_1");
    let body: Value = serde_json::from_slice(&body).unwrap();
    let expected = match (kind, cell.client) {
        (Kind::Overloaded, Format::Messages) => (529, json!("overloaded_error")),
        (Kind::Overloaded, _) => (503, json!("server_is_overloaded")),
        (_, Format::Messages) => (502, json!("api_error")),
        (_, _) => (502, json!("upstream_stream_truncated")),
    };
    let member = if cell.client == Format::Messages { "type" } else { "code" };
    let got = (errors::status(cell.client, error.kind), body["error"][member].clone());
    if got == expected { Vec::new() } else { vec![format!("{got:?}, expected {expected:?}")] }
}

/// The words that came, then an error in the client's format, and no proper end.
fn check_broken(cell: Cell, answer: Result<Vec<u8>, Error>) -> Vec<String> {
    let bytes = match answer {
        Ok(bytes) => bytes,
        Err(error) => return vec![format!("an error where words had been sent: {error}")],
    };
    let streamed = output::stream(cell.client, &bytes);
    let mut wrong = streamed.faults;
    if !String::from_utf8_lossy(&bytes).contains("Half") {
        wrong.push("the words are lost".to_owned());
    }
    // In Responses the failure itself is the end.
    let ends = usize::from(cell.client == Format::Responses);
    if streamed.errors.len() != 1 || streamed.ends != ends || !streamed.output.finish.is_empty() && ends == 0 {
        wrong
            .push(format!("{} ends, errors {:?}, finish {:?}", streamed.ends, streamed.errors, streamed.output.finish));
    }
    wrong
}

/// The fixtures are valid responses of vendors: their streams break no rule and mean the same as
/// the whole bodies.
#[test]
fn the_fixtures_agree_with_themselves() {
    for format in Format::ALL {
        assert_eq!(cases::all(format).as_object().unwrap().len(), CASES.len());
        for case in CASES.iter().filter(|case| case.end == End::Answer) {
            let part = case.of(format);
            let streamed = output::stream(format, &part.stream(format));
            assert_eq!((streamed.faults.as_slice(), streamed.ends), (&[][..], 1), "{format} {}", case.name);
            let (status, whole) = part.whole().unwrap();
            assert_eq!(status, 200);
            let differences = differences(&output::whole(format, whole), &streamed.output);
            assert!(differences.is_empty(), "{format} {}: {differences:?}", case.name);
        }
        for case in CASES {
            let request = case.of(format).request(true).to_string();
            assert!(RawValue::parse(request.as_bytes()).is_ok());
        }
    }
}
