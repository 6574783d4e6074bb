//! One translation, for the flags of a command or for a line of a batch.

use std::str::FromStr;

use llm_wire::Format;
use llm_wire::canonical::loss::{Ledger, LossKind};
use llm_wire::error::classify;
use llm_wire::error::{Error, Kind};
use llm_wire::formats::errors;
use llm_wire::json::{RawStr, RawValue};
use llm_wire::sse::Framer;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Policy, Reply, SequentialIds, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate::{self, Translator};

/// The content of [`Job::body`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobKind {
    Request,
    Response { status: u16 },
    Stream,
}

/// What the client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputForm {
    Whole,
    Stream,
}

impl FromStr for OutputForm {
    type Err = String;

    fn from_str(word: &str) -> Result<OutputForm, String> {
        match word {
            "whole" => Ok(OutputForm::Whole),
            "stream" => Ok(OutputForm::Stream),
            _ => Err(format!("`{word}` is neither whole nor stream")),
        }
    }
}

/// Finds a host by its name on the command line or in a batch.
pub(super) fn host(word: &str) -> Result<Host, String> {
    let names = || Host::ALL.iter().map(|host| host.name()).collect::<Vec<_>>().join(", ");
    Host::named(word).ok_or_else(|| format!("`{word}` is not a known host; the hosts are {}", names()))
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    pub what: JobKind,
    pub from: Format,
    pub to: Format,
    /// The provider's name of the model; the name in the client's request if `None`.
    pub model: Option<&'a str>,
    /// The vendor of the provider's format if `None`.
    pub host: Option<Host>,
    pub strict: bool,
    /// The form of a response; the one in which the provider sent it if `None`.
    pub out: Option<OutputForm>,
    /// The client's request behind an answer; a small one if `None`.
    pub request: Option<&'a [u8]>,
    pub body: &'a [u8],
}

/// The result of a translation.
#[derive(Debug, Default)]
pub(super) struct JobResult {
    /// The status that the client would get; 200 for a request that can be sent.
    pub status: u16,
    pub body: Vec<u8>,
    /// The error that the client would get, in `body` or at its end.
    pub error: Option<String>,
    pub losses: Vec<LossEntry>,
    /// Each repair: its name, how often it was made, and its description.
    pub repairs: Vec<(&'static str, u32, &'static str)>,
    /// Oddities of the answer, and how often each was seen.
    pub notes: Vec<(&'static str, u32)>,
    /// The headers that the provider's request needs.
    pub headers: Vec<(&'static str, &'static str)>,
}

#[derive(Debug)]
pub(super) struct LossEntry {
    pub field: String,
    pub how: LossKind,
    pub why: &'static str,
}

impl Job<'_> {
    pub(super) fn run(&self) -> JobResult {
        let mut done = JobResult { status: 200, ..JobResult::default() };
        let result = match self.what {
            JobKind::Request => self.request(&mut done),
            JobKind::Response { .. } | JobKind::Stream => self.answer(&mut done),
        };
        if let Err(error) = result {
            let client = self.client();
            done.status = errors::status(client, error.kind);
            done.body.clear();
            errors::body(client, &mut done.body, &error, REQUEST_ID);
            done.error = Some(error.to_string());
        }
        done
    }

    fn client(&self) -> Format {
        if self.what == JobKind::Request { self.from } else { self.to }
    }

    fn provider(&self) -> Format {
        if self.what == JobKind::Request { self.to } else { self.from }
    }

    /// Translates the client's request for this provider. `stream` is what the client would ask
    /// for.
    fn translated(&self, request: &[u8]) -> Result<translate::Encoded, Error> {
        let requested = RawValue::parse(request).ok().and_then(|body| body.find("model")?.as_str());
        let requested = requested.map_or_else(|| "model".to_owned(), |name| RawStr::unescape(name).into_owned());
        let model = self.model.unwrap_or(&requested);
        let host = self.host.unwrap_or(self.provider().profile().vendor);
        let target = Target::new(self.provider(), host, model, "translate", &Overrides::default());
        let policy = Policy { strict: self.strict, ..Policy::default() };
        translate::request(self.client(), request, &Context { policy, ..Context::new(target, &requested) })
    }

    fn request(&self, done: &mut JobResult) -> Result<(), Error> {
        let encoded = self.translated(self.body)?;
        done.remember(&encoded.ledger);
        done.headers.extend(encoded.plan.betas.iter().map(|beta| ("anthropic-beta", *beta)));
        done.body = encoded.body;
        Ok(())
    }

    fn answer(&self, done: &mut JobResult) -> Result<(), Error> {
        let mut plan =
            self.translated(self.request.unwrap_or_else(|| self.to.profile().request.smallest.as_bytes()))?.plan;
        plan.include_usage |= self.request.is_none();
        plan.stream = match (self.out, self.what) {
            (Some(out), _) => out == OutputForm::Stream,
            (None, what) => what == JobKind::Stream,
        };
        let mut translator = Translator::new(Reply::new(plan, Box::new(SequentialIds::default()), REQUEST_ID));
        let result = match self.what {
            JobKind::Stream => self.events(&mut translator, &mut done.body),
            JobKind::Response { status } if status >= 400 => Err(refusal(self.to, self.from, status, self.body)),
            JobKind::Response { .. } | JobKind::Request => translator.body(self.body, &mut done.body),
        };
        done.notes.extend(translator.notes().map(|(note, times)| (note.label(), times)));
        // The stream had begun, so that the client gets the error at its end.
        done.error = translator.failure().map(Error::to_string);
        result
    }

    fn events(&self, translator: &mut Translator, out: &mut Vec<u8>) -> Result<(), Error> {
        let (mut framer, mut rest) = (Framer::default(), self.body);
        loop {
            match framer.next(&mut rest) {
                Ok(Some(block)) => block.frame.map_or(Ok(()), |frame| translator.frame(frame, out))?,
                Ok(None) => break,
                Err(long) => return translator.fail(Error::upstream(Kind::UpstreamFault, long.to_string()), out),
            }
        }
        if let Some(frame) = framer.finish().and_then(|block| block.frame) {
            translator.frame(frame, out)?;
        }
        translator.end(out)
    }
}

impl JobResult {
    fn remember(&mut self, ledger: &Ledger) {
        self.losses.extend(ledger.entries().map(|(loss, how, path)| LossEntry {
            field: path.unwrap_or(loss.label()).to_owned(),
            how,
            why: loss.description(),
        }));
        self.repairs.extend(ledger.repairs().map(|(repair, times)| (repair.label(), times, repair.description())));
    }
}

/// Ids and times are fixed, so that two outputs can be compared.
const REQUEST_ID: &str = "req_translate";

/// Translates the body that a provider sent with an error status.
fn refusal(client: Format, provider: Format, status: u16, body: &[u8]) -> Error {
    let Some(read) = errors::read_refusal(provider, body) else { return classify::unreadable(status, body) };
    let error = classify::error(Some(status), &read);
    match classify::param(client, provider, &read) {
        Some(param) => error.param(param),
        None => error,
    }
}
