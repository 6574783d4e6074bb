//! A stream that another provider may go on with: see [`Rescue`].

use super::output::{Output, Phase};
use super::rescue::Rescue;
use super::{AnyDecoder, Translator};
use crate::canonical::event::{Block, Event, Status};
use crate::canonical::text;
use crate::error::Error;
use crate::json::RawStr;
use crate::passthrough::continuation::Continuation;
use crate::response::delta_template::DeltaTemplate;
use crate::target::plan::{Plan, Reply};

impl Translator {
    /// Makes the translator of a stream that passed unchanged and broke off: it has written what the
    /// client has, and goes on by [`Translator::resume`]. `None` if the client may have something else.
    pub fn continuing(reply: Reply, passed: &Continuation) -> Option<Translator> {
        let blocks = u32::try_from(passed.blocks.max(1)).ok()?;
        // An encoder may hold back what is blank, and the client has it.
        if text::is_blank(RawStr::new(passed.text())) {
            return None;
        }
        let mut translator = Translator::new(Reply {
            own_id: passed.own_id(),
            created: passed.created.unwrap_or(reply.created),
            ..reply
        });
        let mut written = Vec::new();
        let is_open = |ix: u32| ix + 1 == blocks && passed.is_open();
        let result = translator.run(&mut written, |_, sink| {
            for ix in 0..blocks {
                // Of blocks before the last one the encoder needs to know no more than that they were.
                let raw = if ix + 1 == blocks { RawStr::new(passed.text()) } else { RawStr::new(b".") };
                sink(Event::Open { ix, block: Block::Text });
                sink(Event::Text { ix, raw });
                if !is_open(ix) {
                    sink(Event::Close { ix, status: Status::Complete });
                }
            }
        });
        let Output::Stream(encoder) = &mut translator.output else { return None };
        encoder.follow(passed.number, passed.item_id());
        translator.rescue = Some(Box::new(Rescue::behind(passed.text())));
        (result.is_ok() && translator.phase == Phase::Committed).then_some(translator)
    }

    /// Lets another provider go on with the stream, should it break off behind its first text.
    pub fn allow_rescue(&mut self) {
        if let Output::Stream(_) = self.output {
            self.rescue = Some(Box::default());
        }
    }

    /// Returns how the stream broke off, if another provider can go on. Nothing was written for that.
    pub fn take_broken(&mut self) -> Option<Error> {
        self.rescue.as_mut()?.broken.take()
    }

    /// Returns the text that the client has of a stream that may be continued, escaped.
    pub fn text(&self) -> &[u8] {
        self.rescue.as_ref().map_or(&[], |rescue| &rescue.text)
    }

    /// Returns whether the stream goes on, and nothing of the rest has come.
    pub fn awaits_rest(&self) -> bool {
        self.rescue.as_ref().is_some_and(|rescue| rescue.awaits_rest())
    }

    /// Goes on with the stream of another provider. `plan` is that of the request for the rest.
    pub fn resume(&mut self, plan: Plan, out: &mut Vec<u8>) {
        self.phase = Phase::Committed;
        self.shape.forget_usage();
        self.decoder = AnyDecoder::new(plan.provider, plan.quirks);
        self.template = DeltaTemplate::new(plan.provider, plan.quirks);
        self.reply.plan = plan;
        let text = self.rescue.take().map(|rescue| rescue.text).unwrap_or_default();
        let (open, items) = (self.shape.open_items(), self.shape.items());
        let joins = self.shape.ends_with_open_text() && open.len() == 1;
        if !joins {
            // An attempt that brought no content may have left items behind.
            let _ = self.run(out, |_, sink| {
                open.iter().for_each(|ix| sink(Event::Close { ix: *ix, status: Status::Complete }));
            });
        }
        let base = if joins { items - 1 } else { items };
        self.rescue = Some(Box::new(Rescue::resumed(text, base, joins)));
    }
}
