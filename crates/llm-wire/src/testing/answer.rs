//! Properties of answers: any bytes of a provider, for any client.

use crate::canonical::codec::Decode;
use crate::canonical::event::Event;
use crate::canonical::request::CallKind;
use crate::canonical::text::Text;
use crate::error::{Error, Kind};
use crate::format::Format;
use crate::json::RawValue;
use crate::json::property::pieces;
use crate::sse::Framer;
use crate::target::overrides::Overrides;
use crate::target::plan::{Context, Plan, Reply, SequentialIds, Target};
use crate::target::quirks::{Host, Quirk, Quirks};
use crate::target::tool_names::{Shape, ToolEntry};
use crate::testing::reading;
use crate::testing::reading::{End, OutputItem, Reading};
use crate::translate::{AnyDecoder, Phase, Translator};

/// The bytes before the stream in an input of the fuzz target.
const HEAD: usize = 4;

/// The property of the fuzz target `wire_stream`. Three bytes choose the provider's format (`c`,
/// `m`, `r`), the options and the cuts; one more, a line end in our seeds, is skipped; the rest is
/// what the provider sends.
pub fn check(input: &[u8]) {
    let Some((&[format, options, seed, _], bytes)) = input.split_first_chunk::<HEAD>() else { return };
    let provider = match format {
        b'c' => Format::Chat,
        b'm' => Format::Messages,
        b'r' => Format::Responses,
        other => Format::ALL[usize::from(other) % Format::ALL.len()],
    };
    for client in Format::ALL {
        let case = Case { client, provider, options };
        if options & 1 << 7 == 0 { case.streams(bytes, seed.into()) } else { case.bodies(bytes) }
    }
}

/// One pair of formats, and what a request left behind.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The client's format.
    pub client: Format,
    /// The provider's format.
    pub provider: Format,
    /// Bits: think tags, stop sequences, thinking omitted, legacy functions, tools under other
    /// names, no details, logprobs.
    pub options: u8,
}

/// How an answer ended, as the caller of [`Translator`] sees it.
type Outcome = Result<Option<Kind>, Kind>;

impl Case {
    fn translator(self, stream: bool) -> Translator {
        let target = Target::new(self.provider, Host::Unknown, "m", "p", &Overrides::default());
        let mut plan = Plan::new(self.client, RawValue::new(b"{}"), &Context::new(target, "asked"));
        let option = |bit: u8| self.options & 1 << bit != 0;
        plan.stream = stream;
        plan.include_usage = true;
        plan.quirks = if option(0) { Quirks::NONE.with(Quirk::ThinkTags) } else { Quirks::NONE };
        if option(1) {
            plan.stops = vec!["STOP".to_owned(), "\n\n".to_owned()];
        }
        plan.display_omitted = option(2);
        plan.legacy_functions = option(3) && self.client.profile().request.has_legacy_functions;
        let tools = [
            ("a__f", "f", Shape::Function),
            ("patch", "patch", Shape::ShimmedCustom),
            ("json_response", "json_response", Shape::Answer),
        ];
        for (sent, name, shape) in tools.into_iter().filter(|_| option(4)) {
            let namespace = sent.starts_with("a__").then(|| Text::plain("a"));
            let _ = plan.tools.add(ToolEntry { sent: sent.to_owned(), name: Text::plain(name), namespace, shape });
        }
        plan.reasoning_details = !option(5);
        plan.logprobs = option(6);
        let mut reply = Reply::new(plan, Box::new(SequentialIds::default()), "req_1");
        reply.input_estimate = Some(7);
        Translator::new(reply)
    }

    /// Feeds reads, as a relay does. `patience`: how many frames a client waits before it has to be
    /// sent something.
    fn run(self, reads: &[&[u8]], stream: bool, patience: usize) -> (Vec<u8>, Outcome) {
        let (mut translator, mut framer, mut out) = (self.translator(stream), Framer::default(), Vec::new());
        let mut frames = 0;
        let mut feed = |reads: &mut dyn Iterator<Item = &[u8]>| -> Result<(), Error> {
            for mut read in reads {
                while let Ok(Some(block)) = framer.next(&mut read) {
                    let Some(frame) = block.frame else { continue };
                    translator.frame(frame, &mut out)?;
                    frames += 1;
                    if frames % patience == 0 {
                        translator.wait(&mut out);
                    }
                }
            }
            if let Some(frame) = framer.finish().and_then(|block| block.frame) {
                translator.frame(frame, &mut out)?;
            }
            translator.end(&mut out)
        };
        let ended = feed(&mut reads.iter().copied());
        assert_eq!(translator.phase(), Phase::Over);
        let kind = |error: &Error| error.kind;
        let outcome = ended.map(|()| translator.failure().map(kind)).map_err(|error| error.kind);
        (out, outcome)
    }

    /// Cuts change nothing; a stream is valid, ends once, and has the content of the whole answer;
    /// waiting adds nothing. `seed` decides where it is cut (a fourth of all seeds: at every byte),
    /// and whether the client waits.
    pub fn streams(self, bytes: &[u8], seed: u64) {
        let whole_read = [bytes];
        let (stream, outcome) = self.run(&whole_read, true, usize::MAX);
        let cut = if seed.is_multiple_of(4) { bytes.chunks(1).collect() } else { pieces(bytes, seed) };
        let (other, otherwise) = self.run(&cut, true, usize::MAX);
        assert!(other == stream && otherwise == outcome, "{self:?}: cuts");
        let (body, whole) = self.run(&whole_read, false, usize::MAX);
        self.agree((&stream, outcome), (&body, whole));
        self.bounded(bytes, &stream);
        self.bounded(bytes, &body);
        if seed.is_multiple_of(3) {
            let (waited, _) = self.run(&whole_read, true, 2);
            let streamed = reading::stream(self.client, &waited);
            assert!(outcome.is_err() || streamed == reading::stream(self.client, &stream), "{self:?}: waiting");
        }
    }

    /// A whole answer of a provider, for a client of either kind.
    pub fn bodies(self, body: &[u8]) {
        let run = |stream| {
            let (mut translator, mut out) = (self.translator(stream), Vec::new());
            let ended = translator.body(body, &mut out);
            let ended = ended.and_then(|()| translator.end(&mut out));
            (out, ended.map(|()| translator.failure().map(|e| e.kind)).map_err(|e| e.kind))
        };
        let ((stream, streamed), (whole, outcome)) = (run(true), run(false));
        self.agree((&stream, streamed), (&whole, outcome));
        self.bounded(body, &stream);
        self.bounded(body, &whole);
    }

    /// The stream, put together, is the whole answer; and both fail or neither.
    fn agree(self, (stream, streamed): (&[u8], Outcome), (body, whole): (&[u8], Outcome)) {
        let Ok(failure) = streamed else {
            assert!(stream.is_empty() && body.is_empty(), "{self:?}: bytes before a failure");
            assert_eq!(streamed.err(), whole.err(), "{self:?}");
            return;
        };
        let streamed = reading::stream(self.client, stream);
        self.readable(stream, &streamed);
        match (failure, whole) {
            (None, Ok(_)) => {
                let (mut streamed, mut whole) = (streamed, reading::whole(self.client, body));
                for reading in [&mut streamed, &mut whole] {
                    self.settle(reading);
                }
                assert_eq!(streamed, whole, "{self:?}: stream and whole");
            }
            // A block of Messages that has ended cannot go on: the encoder itself gives up,
            // whatever the provider would have gone on to say.
            (Some(Kind::UpstreamFault), _) if self.client == Format::Messages => {
                assert_eq!(streamed.end, End::Failed, "{self:?}");
            }
            (failed, whole) => {
                assert_eq!(streamed.end, End::Failed, "{self:?}");
                assert_eq!(failed, whole.err(), "{self:?}: only one of stream and whole failed");
                assert!(body.is_empty());
            }
        }
    }

    /// Items that were open side by side stand in a stream in the order in which they spoke, and in
    /// a whole answer in that in which they began. Chat has one text for all of them, so that there
    /// the letters alone are compared.
    fn settle(self, reading: &mut Reading) {
        let letters = |text: &mut String| {
            let mut sorted: Vec<char> = text.chars().collect();
            sorted.sort_unstable();
            *text = sorted.into_iter().collect();
        };
        match self.client {
            Format::Messages => {}
            Format::Responses => reading.items.sort(),
            Format::Chat => reading.items.iter_mut().for_each(|item| match item {
                OutputItem::Text(text) | OutputItem::Refusal(text) => letters(text),
                OutputItem::Reasoning(text, seals) => {
                    letters(text);
                    seals.sort();
                }
                OutputItem::Call(..) => {}
            }),
        }
    }

    /// What the encoder writes, the decoder of the same format takes.
    fn readable(self, stream: &[u8], streamed: &Reading) {
        let (mut decoder, mut framer, mut rest) =
            (AnyDecoder::new(self.client, Quirks::NONE), Framer::default(), stream);
        let (mut ended, mut failed, mut calls) = (false, false, 0);
        let mut sink = |event: Event<'_>| match event {
            Event::End => ended = true,
            Event::Fail(_) => failed = true,
            Event::Open {
                block: crate::canonical::event::Block::Tool { kind: CallKind::Function | CallKind::Custom, .. },
                ..
            } => calls += 1,
            _ => {}
        };
        while let Ok(Some(block)) = framer.next(&mut rest) {
            let Some(frame) = block.frame else { continue };
            assert!(decoder.frame(frame, &mut sink).is_ok(), "{self:?}: its own decoder refuses the stream");
        }
        assert_eq!(
            (ended, failed),
            match streamed.end {
                End::Finished(..) => (true, false),
                End::Failed => (false, true),
                End::Open => (false, false),
            },
            "{self:?}"
        );
        let streamed_calls = streamed.items.iter().filter(|item| matches!(item, OutputItem::Call(..))).count();
        assert!(failed || calls == streamed_calls, "{self:?}");
    }

    /// What goes out is in proportion to what came in: Responses repeats everything four times, in
    /// objects with long names.
    fn bounded(self, input: &[u8], output: &[u8]) {
        assert!(output.len() <= 64 * input.len() + (16 << 10), "{self:?}: {} of {}", output.len(), input.len());
    }
}
