//! A client's stream.
//!
//! | phase | event | writes | goes to |
//! |---|---|---|---|
//! | `Init` | content | the chunk with the role, then as `Live` | `Live` |
//! | `Live` | text, reasoning, refusal, call, citation | one chunk | |
//! | `Live` | `Finish` | the chunk with the finish reason | `Finished` |
//! | `Finished` | `End` | the chunk with usage, if it was asked for, and `[DONE]` | `Over` |
//! | any | `Fail` | an error in the place of a chunk, no `[DONE]` | `Over` |

use crate::canonical::codec::Encode;
use crate::canonical::event::{Block, Cite, Event, Finish, Note, Reason};
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::canonical::text::Text;
use crate::canonical::usage::Usage;
use crate::formats::chat::{error, words};
use crate::json::{RawStr, write};
use crate::reasoning::envelope::Seal;
use crate::sse;
use crate::target::plan::Reply;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Init,
    Live,
    Finished,
    Over,
}

/// Writes a client's stream. `Default`: its facts come with each call, in the [`Reply`].
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    phase: Phase,
    /// What every chunk begins with, up to the list of choices.
    head: Vec<u8>,
    /// What every chunk of text begins with, up to the text.
    text_head: Vec<u8>,
    tier: Option<Text<'static>>,
    items: Vec<Item>,
    tools: u32,
    reasonings: u32,
    /// Reasoning was shown.
    reasoned: bool,
    refused: bool,
    /// An envelope around Google's signature, which is also on the call that follows.
    signature: Vec<u8>,
    /// Characters of text so far.
    chars: u64,
    /// Citations so far.
    cited: u64,
    usage: Usage,
}

/// What an item is to the client; its number is the index.
#[derive(Debug)]
enum Item {
    Text {
        /// Characters of text before it.
        start: u64,
        /// Links to all of its text, whose end is not known yet: URL and title.
        cites: Vec<(Text<'static>, Text<'static>)>,
    },
    Refusal,
    Reasoning {
        index: u32,
        id: Text<'static>,
        last: Option<(ReasoningKind, u32)>,
    },
    Tool {
        index: u32,
        kind: CallKind,
    },
}

const LIVE: &str = r#","finish_reason":null}]"#;
/// What a chunk of text begins with behind the head of the chunk.
const TEXT_BEGIN: &[u8] = br#"{"index":0,"delta":{"content":""#;
/// What stands behind the text.
const TEXT_END: &[u8] = b"\"},\"finish_reason\":null}]}\n\n";
const TEXT_END_WITH_USAGE: &[u8] = b"\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const BREAK: &[u8] = br"\n\n";

impl Encode for Encoder {
    fn event(&mut self, event: Event<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        if self.phase == Phase::Over {
            return;
        }
        match event {
            Event::Start { .. } | Event::Note(_) => {}
            Event::Tier(tier) => self.tier = Some(Text::from(tier).into_owned()),
            Event::Usage(usage) => self.usage = usage,
            Event::Open { ix, block } => self.open(ix, block, reply, out),
            Event::Text { raw, .. } => self.text(raw, words::chars(raw.as_bytes()), reply, out),
            Event::Refusal { raw, .. } => {
                self.refused = true;
                self.delta(reply, out, |o| o.raw_str("refusal", raw));
            }
            Event::Reason { ix, part, kind, raw } => self.reason(ix, (kind, part), raw, reply, out),
            Event::Opaque { ix, seal, raw } => self.opaque(ix, seal, raw, reply, out),
            Event::Args { ix, raw } => self.args(ix, raw, reply, out),
            Event::Cite { ix, cite } => self.cite(ix, cite, reply, out),
            Event::Logprobs { raw, .. } => {
                let choice = |out: &mut Vec<u8>| {
                    out.extend_from_slice(br#"{},"logprobs":{"content":"#);
                    out.extend_from_slice(raw.bytes());
                    out.extend_from_slice(br#","refusal":null}"#);
                    out.extend_from_slice(LIVE.as_bytes());
                };
                self.chunk(reply, out, choice);
            }
            Event::Close { ix, .. } => self.close(ix, reply, out),
            Event::Finish(finish) => self.finish(finish, reply, out),
            Event::End => self.end(reply, out),
            Event::Fail(failure) => {
                self.phase = Phase::Over;
                error::event(out, &failure, &reply.request_id);
            }
        }
    }

    /// Only comments: the chunk with the role waits for content.
    fn wait(&mut self, _reply: &mut Reply, out: &mut Vec<u8>) {
        if self.phase != Phase::Over {
            sse::write::comment(out, "keep-alive");
        }
    }
}

impl Encoder {
    /// Writes [`Event::Text`] of a text that is ASCII without escapes.
    #[inline]
    pub(crate) fn plain_text(&mut self, raw: RawStr<'_>, reply: &Reply, out: &mut Vec<u8>) {
        if self.phase != Phase::Over {
            self.text(raw, raw.len() as u64, reply, out);
        }
    }

    /// Writes a text of so many characters. In three pieces: nearly every chunk is one of these.
    #[inline]
    fn text(&mut self, raw: RawStr<'_>, chars: u64, reply: &Reply, out: &mut Vec<u8>) {
        self.chars += chars;
        self.begin(reply, out);
        let end = if reply.plan.include_usage { TEXT_END_WITH_USAGE } else { TEXT_END };
        out.reserve(self.text_head.len() + raw.len() + end.len());
        for piece in [&self.text_head, raw.as_bytes(), end] {
            out.extend_from_slice(piece);
        }
    }

    fn open(&mut self, ix: u32, block: Block<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        if ix as usize != self.items.len() {
            return;
        }
        self.items.push(match block {
            Block::Text => Item::Text { start: self.chars, cites: Vec::new() },
            Block::Refusal => Item::Refusal,
            Block::Reasoning { id } => {
                self.reasonings += 1;
                Item::Reasoning { index: self.reasonings - 1, id: Text::from(id).into_owned(), last: None }
            }
            Block::Tool { kind, .. } => {
                self.tools += 1;
                Item::Tool { index: self.tools - 1, kind }
            }
        });
        let Block::Tool { kind, id, name, .. } = block else { return };
        let index = u64::from(self.tools - 1);
        if reply.plan.legacy_functions {
            if index > 0 {
                return reply.note(Note::DroppedOutput);
            }
            return self.delta(reply, out, |o| {
                o.object("function_call", |o| {
                    o.raw_str("name", name);
                    o.str("arguments", "");
                });
            });
        }
        let signature = std::mem::take(&mut self.signature);
        self.delta(reply, out, |o| {
            o.array("tool_calls", |list| {
                list.object(|o| {
                    o.u64("index", index);
                    words::write_call(kind, id, name, RawStr::default(), o);
                    words::write_signature(RawStr::new(&signature), o);
                });
            });
        });
    }

    /// Identity is written once: clients take a changed one for an error, or append it.
    fn args(&mut self, ix: u32, raw: RawStr<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        let Some(Item::Tool { index, kind }) = self.items.get(ix as usize) else { return };
        let (index, kind) = (u64::from(*index), *kind);
        if reply.plan.legacy_functions {
            // There is room for one.
            if index == 0 {
                self.delta(reply, out, |o| o.object("function_call", |o| o.raw_str("arguments", raw)));
            }
            return;
        }
        self.delta(reply, out, |o| {
            o.array("tool_calls", |list| {
                list.object(|o| {
                    o.u64("index", index);
                    match kind {
                        CallKind::Function => o.object("function", |o| o.raw_str("arguments", raw)),
                        CallKind::Custom => o.object("custom", |o| o.raw_str("input", raw)),
                    }
                });
            });
        });
    }

    fn reason(&mut self, ix: u32, now: (ReasoningKind, u32), raw: RawStr<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        let Some(Item::Reasoning { index, last, .. }) = self.items.get_mut(ix as usize) else { return };
        // A blank line separates parts, and in the plain text between items too.
        let part_gap = last.is_some_and(|last| last != now);
        let item_gap = last.is_none() && self.reasoned;
        let index = *index;
        *last = Some(now);
        self.reasoned = true;
        let details = reply.plan.reasoning_details;
        let summary = words::is_summary(reply.plan.provider, now.0);
        self.delta(reply, out, |o| {
            let text = o.key("reasoning_content");
            text.push(b'"');
            text.extend_from_slice(if part_gap || item_gap { BREAK } else { b"" });
            text.extend_from_slice(raw.as_bytes());
            text.push(b'"');
            if details {
                o.array("reasoning_details", |list| {
                    words::write_shown(summary, index, None, list, |text| {
                        text.extend_from_slice(if part_gap { BREAK } else { b"" });
                        text.extend_from_slice(raw.as_bytes());
                    });
                });
            }
        });
    }

    fn opaque(&mut self, ix: u32, seal: Seal, raw: RawStr<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        let Some(Item::Reasoning { index, id, .. }) = self.items.get(ix as usize) else { return };
        if !reply.plan.reasoning_details {
            return;
        }
        let (index, id) = (*index, id.clone());
        if seal == Seal::Signature {
            self.signature = raw.as_bytes().to_vec();
        }
        self.delta(reply, out, |o| {
            o.array("reasoning_details", |list| words::write_sealed(seal, raw, id.raw(), index, list));
        });
    }

    /// Offsets arrive relative to the item's text and are written relative to all of the text.
    fn cite(&mut self, ix: u32, cite: Cite<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        let Some(Item::Text { start, cites }) = self.items.get_mut(ix as usize) else { return };
        let Some((from, to)) = cite.range else {
            cites.push((Text::from(cite.url).into_owned(), Text::from(cite.title).into_owned()));
            return;
        };
        let range = (start.saturating_add(from), start.saturating_add(to));
        let index = self.cited;
        self.cited += 1;
        self.delta(reply, out, |o| {
            o.array("annotations", |list| words::write_cite(Some(index), (cite.url, cite.title), range, list));
        });
    }

    fn close(&mut self, ix: u32, reply: &mut Reply, out: &mut Vec<u8>) {
        let Some(Item::Text { start, cites }) = self.items.get_mut(ix as usize) else { return };
        let (range, cites) = ((*start, self.chars), std::mem::take(cites));
        if cites.is_empty() {
            return;
        }
        let first = self.cited;
        self.cited += cites.len() as u64;
        self.delta(reply, out, |o| {
            o.array("annotations", |list| {
                for (index, (url, title)) in (first..).zip(&cites) {
                    words::write_cite(Some(index), (url.raw(), title.raw()), range, list);
                }
            });
        });
    }

    fn finish(&mut self, finish: Finish<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        if self.phase == Phase::Finished {
            return;
        }
        let explanation = finish.explanation.filter(|text| !text.is_empty() && finish.reason == Reason::Refusal);
        if let Some(explanation) = explanation.filter(|_| !self.refused) {
            self.delta(reply, out, |o| o.raw_str("refusal", explanation));
        }
        let word = words::finish(finish.reason, &reply.plan);
        self.chunk(reply, out, |out| {
            out.extend_from_slice(br#"{},"finish_reason":""#);
            out.extend_from_slice(word.as_bytes());
            out.extend_from_slice(br#""}]"#);
        });
        self.phase = Phase::Finished;
    }

    fn end(&mut self, reply: &mut Reply, out: &mut Vec<u8>) {
        self.finish(Finish::of(Reason::End), reply, out);
        if reply.plan.include_usage {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(br#"],"usage":"#);
            write::object(out, |o| words::write_usage(&self.usage, o));
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        self.phase = Phase::Over;
    }

    /// One chunk with a delta whose members `fill` writes.
    fn delta(&mut self, reply: &Reply, out: &mut Vec<u8>, fill: impl FnOnce(&mut write::Object<'_>)) {
        self.chunk(reply, out, |out| {
            write::object(out, fill);
            out.extend_from_slice(LIVE.as_bytes());
        });
    }

    /// Writes the chunk with the role before the first other one.
    #[inline(always)]
    fn begin(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        if self.phase == Phase::Init {
            self.write_role(reply, out);
        }
    }

    #[inline(never)]
    fn write_role(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        self.phase = Phase::Live;
        self.head = self.make_head(reply);
        self.text_head = [&self.head, TEXT_BEGIN].concat();
        self.write(reply, out, |out| {
            out.extend_from_slice(br#"{"role":"assistant","content":"","refusal":null}"#);
            out.extend_from_slice(LIVE.as_bytes());
        });
    }

    /// One chunk; `choice` writes its choice from the value of `delta` to the end of the list.
    fn chunk(&mut self, reply: &Reply, out: &mut Vec<u8>, choice: impl FnOnce(&mut Vec<u8>)) {
        self.begin(reply, out);
        self.write(reply, out, choice);
    }

    #[inline]
    fn write(&self, reply: &Reply, out: &mut Vec<u8>, choice: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(br#"{"index":0,"delta":"#);
        choice(out);
        if reply.plan.include_usage {
            out.extend_from_slice(br#","usage":null"#);
        }
        out.extend_from_slice(b"}\n\n");
    }

    /// `data: {"id":…,"choices":[`: the same for all chunks of an answer.
    fn make_head(&self, reply: &Reply) -> Vec<u8> {
        // To grow in steps would copy it each time.
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(b"data: ");
        write::object(&mut head, |o| {
            o.str("id", &reply.answer_id());
            o.str("object", "chat.completion.chunk");
            o.u64("created", reply.created);
            o.str("model", &reply.plan.model);
            if let Some(tier) = &self.tier {
                words::write_tier(tier.raw(), o);
            }
            o.array("choices", |_| {});
        });
        head.truncate(head.len() - "]}".len());
        head
    }
}
