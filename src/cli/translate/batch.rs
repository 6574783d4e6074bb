//! Many translations in one process: lines of JSON in, lines of JSON out.

use std::io::{self, BufRead, BufWriter, Write};
use std::process::ExitCode;
use std::str::FromStr;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::job::{Job, JobKind, JobResult, OutputForm, host};
use crate::cli::failure::Failure;
use llm_wire::Format;

pub(super) const HELP: &str = "\
Each line of standard input is an object:
  id        any value; the result repeats it
  kind      request, response or stream
  from, to  formats: chat, messages or responses
  body      the body to translate: JSON, or a string with its bytes (for a stream
            always a string)
  request   the client's request that a response belongs to (JSON or a string)
  out       whole or stream: the form of the output
  status    the status of a response [default: 200]
  model, host, strict  like the options of `translate request`
  note, right  remarks for readers of the line, such as what is right; not read

Each line of standard output is an object, in the same order:
  id, status, body (JSON, or a string for a stream), error (null, or why the
  client gets an error), losses, repairs, notes. A line that cannot be read
  gets status 400 and an error with its number; the next one is read.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputLine<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    kind: String,
    from: String,
    to: String,
    #[serde(borrow)]
    body: &'a RawValue,
    #[serde(borrow, default)]
    request: Option<&'a RawValue>,
    #[serde(default)]
    out: Option<String>,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    strict: bool,
    #[serde(default, rename = "note")]
    _note: IgnoredAny,
    #[serde(default, rename = "right")]
    _right: IgnoredAny,
}

#[derive(Serialize)]
struct OutputLine<'a> {
    id: Option<&'a RawValue>,
    status: u16,
    body: Body,
    error: Option<String>,
    losses: Vec<String>,
    repairs: Vec<String>,
    notes: Vec<String>,
}

/// JSON as it is, and anything else as a string.
#[derive(Serialize)]
#[serde(untagged)]
enum Body {
    Json(Box<RawValue>),
    Text(String),
}

pub(super) fn run() -> Result<ExitCode, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut unreadable = Unreadable::default();
    for (at, line) in io::stdin().lock().lines().enumerate() {
        let line = line.map_err(|error| Failure::failed(format!("stdin cannot be read: {error}")))?;
        if line.trim().is_empty() {
            continue;
        }
        // One line that cannot be read is the matter of that line.
        let result = match translate(&line) {
            Ok(result) => result,
            Err(why) => {
                let why = format!("line {}: {why}", at + 1);
                let result = unread(&line, &why)?;
                unreadable.add(why);
                result
            }
        };
        if let Err(error) = writeln!(out, "{result}") {
            return gone(error);
        }
    }
    out.flush().map_or_else(gone, |()| unreadable.end())
}

/// The lines that could not be read: all are counted, the first few are shown.
#[derive(Default)]
struct Unreadable {
    count: usize,
    first: Vec<String>,
}

impl Unreadable {
    const SHOWN: usize = 10;

    fn add(&mut self, why: String) {
        self.count += 1;
        if self.first.len() < Unreadable::SHOWN {
            self.first.push(why);
        }
    }

    fn end(mut self) -> Result<ExitCode, Failure> {
        if self.count == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        if self.count > self.first.len() {
            self.first.push(format!("and {} more lines cannot be read", self.count - self.first.len()));
        }
        Err(Failure::failed(self.first.join("; ")))
    }
}

/// The reader closed the pipe: that is no failure.
fn gone(error: io::Error) -> Result<ExitCode, Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        _ => Err(Failure::failed(format!("stdout cannot be written: {error}"))),
    }
}

/// Returns the result for a line that was not understood: its `id` if there is one, and `why`.
fn unread(line: &str, why: &str) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Id<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
    }
    let line = OutputLine {
        id: serde_json::from_str::<Id<'_>>(line).ok().and_then(|line| line.id),
        status: 400,
        body: Body::Text(String::new()),
        error: Some(why.to_owned()),
        losses: Vec::new(),
        repairs: Vec::new(),
        notes: Vec::new(),
    };
    serde_json::to_string(&line).map_err(|error| Failure::failed(error.to_string()))
}

fn translate(line: &str) -> Result<String, String> {
    let line: InputLine<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let what = match line.kind.as_str() {
        "request" => JobKind::Request,
        "response" => JobKind::Response { status: line.status.unwrap_or(200) },
        "stream" => JobKind::Stream,
        other => return Err(format!("kind `{other}` is none of request, response and stream")),
    };
    let request = line.request.map(bytes).transpose()?;
    let job = Job {
        what,
        from: Format::from_str(&line.from)?,
        to: Format::from_str(&line.to)?,
        model: line.model.as_deref(),
        host: line.host.as_deref().map(host).transpose()?,
        strict: line.strict,
        out: line.out.as_deref().map(OutputForm::from_str).transpose()?,
        request: request.as_deref(),
        body: &bytes(line.body)?,
    };
    let done = job.run();
    serde_json::to_string(&result(line.id, done)).map_err(|error| error.to_string())
}

/// Returns the bytes of a body: of JSON itself, or what a string holds.
fn bytes(raw: &RawValue) -> Result<Vec<u8>, String> {
    match raw.get() {
        text if text.starts_with('"') => {
            serde_json::from_str::<String>(text).map(String::into_bytes).map_err(|error| error.to_string())
        }
        json => Ok(json.as_bytes().to_vec()),
    }
}

fn result(id: Option<&RawValue>, done: JobResult) -> OutputLine<'_> {
    let text = String::from_utf8_lossy(&done.body).into_owned();
    // In JSON a line break is between values alone, and here it would end the line.
    let body = match serde_json::from_str::<Box<RawValue>>(&text.replace(['\n', '\r'], " ")) {
        Ok(json) => Body::Json(json),
        Err(_) => Body::Text(text),
    };
    OutputLine {
        id,
        status: done.status,
        body,
        error: done.error,
        losses: done.losses.into_iter().map(|lost| format!("{};{}", lost.field, lost.how.label())).collect(),
        repairs: done.repairs.into_iter().map(|(name, times, _)| format!("{name}={times}")).collect(),
        notes: done.notes.into_iter().map(|(name, times)| format!("{name}={times}")).collect(),
    }
}
