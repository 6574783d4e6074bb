//! Content blocks for a provider: the content of messages, tool results, documents and the
//! system prompt.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::GeneralPurposeConfig;

use crate::canonical::loss::{Ledger, Loss, Repair};
use crate::canonical::request::{CachePoint, FilePart, ImagePart, Item, ItemKind, Part, Request, Src, TextPart};
use crate::canonical::text::Text;
use crate::canonical::tools::Tool;
use crate::error::Error;
use crate::format::Format;
use crate::json::{RawStr, RawValue, write};
use crate::request::cache_points;
use crate::request::data_url;
use crate::request::reader;
use crate::target::plan::Context;
use crate::target::quirks::Host;

const FILES: &str = "files-api-2025-04-14";

/// Writes blocks. Holds what every writer of a request shares.
pub(super) struct Blocks<'b, 'a> {
    pub request: &'b Request<'a>,
    pub cx: &'b Context<'b>,
    pub ledger: &'b mut Ledger,
    /// Headers that what was written so far needs.
    pub betas: Vec<&'static str>,
    pub cache: CacheBudget,
}

impl Blocks<'_, '_> {
    /// Notes a beta feature that the request needs.
    pub(super) fn beta(&mut self, name: &'static str) {
        if !self.betas.contains(&name) {
            self.betas.push(name);
        }
    }

    /// The provider refuses blank text; what is not even empty is counted.
    pub(super) fn skips(&mut self, part: &Part<'_>) -> bool {
        let Some(text) = text_of(part).filter(|text| text.is_blank()) else { return false };
        if !text.is_empty() {
            self.ledger.repair(Repair::BlankText);
        }
        true
    }

    /// Writes one part as a block. `path` is the client's path to what holds it. Blank text is the
    /// caller's to skip.
    pub(super) fn part(&mut self, part: &Part<'_>, path: &str, out: &mut Vec<u8>) -> Result<(), Error> {
        match part {
            Part::Text(part) => self.text(part, out),
            Part::Refusal(text) => {
                write_text(text.raw(), out);
                Ok(())
            }
            Part::Image(image) => self.image(image, path, out),
            Part::File(file) => self.file(file, path, out),
            Part::Audio { path: own, .. } => {
                Err(reader::unsupported_content(&reader::nearest(own, path), "audio", reader::AUDIO_REMEDY))
            }
            Part::SearchResult { raw, .. } => {
                out.extend_from_slice(raw.bytes());
                Ok(())
            }
            Part::ToolReference { name } => {
                write::object(out, |o| {
                    o.str("type", "tool_reference");
                    o.raw_str("tool_name", name.raw());
                });
                Ok(())
            }
            Part::Foreign(foreign) if foreign.format == Format::Messages => {
                out.extend_from_slice(foreign.raw.bytes());
                Ok(())
            }
            Part::Foreign(foreign) => Err(reader::unsupported_foreign(foreign, "content")),
        }
    }

    fn text(&mut self, part: &TextPart<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let citations = part.citations.filter(|list| list.elements().next().is_some());
        let own = self.request.from == Format::Messages;
        if citations.is_some() && !own {
            self.ledger.drop(Loss::Citations)?;
        }
        write::object(out, |o| {
            o.str("type", "text");
            o.raw_str("text", part.text.raw());
            if let Some(citations) = citations.filter(|_| own) {
                o.value("citations", citations);
            }
            self.cache.write(part.cache, o);
        });
        Ok(())
    }

    fn image(&mut self, image: &ImagePart<'_>, path: &str, out: &mut Vec<u8>) -> Result<(), Error> {
        let path = reader::nearest(&image.path, path);
        let source = match &image.src {
            Src::Base64 { media, data } if data_url::is_messages_image(media) => Source::Base64 { media, data: *data },
            Src::Base64 { media, .. } => {
                return Err(reader::unsupported_content(
                    &path,
                    &format!("an image of type `{media}`"),
                    "send it as JPEG, PNG, GIF or WebP",
                ));
            }
            Src::Url(url) => self.url(url, path, "an image")?,
            Src::FileId { format, id } => self.file_id(*format, *id, path)?,
            Src::Text(_) | Src::Content(_) => {
                return Err(reader::unsupported_content(&path, "an image made of text", reader::IMAGE_REMEDY));
            }
        };
        write::object(out, |o| {
            o.str("type", "image");
            source.write(o);
            self.cache.write(image.cache, o);
        });
        Ok(())
    }

    fn file(&mut self, file: &FilePart<'_>, path: &str, out: &mut Vec<u8>) -> Result<(), Error> {
        let path = reader::nearest(&file.path, path);
        let source = match &file.src {
            Src::Base64 { media, data } if media == "application/pdf" && self.cx.target.caps.pdf => {
                Source::Base64 { media, data: *data }
            }
            Src::Base64 { media, data } if data_url::is_messages_image(media) => {
                let src = Src::Base64 { media: Cow::Borrowed(media.as_ref()), data: *data };
                let image = ImagePart { src, detail: None, cache: file.cache, path: path.into() };
                return self.image(&image, path, out);
            }
            Src::Base64 { media, data } => match is_text(media).then(|| decoded(*data)).flatten() {
                Some(text) => Source::Text(text),
                None => {
                    let is_pdf = media == "application/pdf" || media == "application/octet-stream";
                    let remedy = if is_pdf { reader::FILE_REMEDY } else { reader::TYPE_REMEDY };
                    return Err(reader::unsupported_content(&path, &format!("a file of type `{media}`"), remedy));
                }
            },
            Src::Url(url) if self.cx.target.caps.pdf => self.url(url, path, "a file")?,
            Src::Url(_) => return Err(reader::unsupported_content(&path, "a file", reader::FILE_REMEDY)),
            Src::FileId { format, id } => self.file_id(*format, *id, path)?,
            Src::Text(text) => Source::Text(Text::from(text.raw())),
            Src::Content(parts) => {
                let mut content = Vec::new();
                self.list(parts, path, &mut content)?;
                Source::Content(content)
            }
        };
        write::object(out, |o| {
            o.str("type", "document");
            source.write(o);
            if let Some(title) = file.title.as_ref().or(file.name.as_ref()) {
                o.raw_str("title", title.raw());
            }
            if let Some(context) = &file.context {
                o.raw_str("context", context.raw());
            }
            if file.citations {
                o.object("citations", |o| o.bool("enabled", true));
            }
            self.cache.write(file.cache, o);
        });
        Ok(())
    }

    /// Parts as an array of blocks; blank texts are left out.
    pub(super) fn list(&mut self, parts: &[Part<'_>], path: &str, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut result = Ok(());
        write::array(out, |a| {
            for part in parts {
                if result.is_ok() && !self.skips(part) {
                    result = self.part(part, path, a.element());
                }
            }
        });
        result
    }

    fn url<'s>(&self, url: &'s Text<'_>, path: &str, what: &str) -> Result<Source<'s>, Error> {
        if !self.cx.target.caps.url_images {
            return Err(reader::unsupported_content(&path, &format!("{what} by its URL"), reader::URL_REMEDY));
        }
        Ok(Source::Url(url.raw()))
    }

    /// Ids of files mean nothing outside the account that holds the files.
    fn file_id<'s>(&mut self, format: Format, id: RawStr<'s>, path: &str) -> Result<Source<'s>, Error> {
        if format != Format::Messages || self.cx.target.host != Host::Anthropic {
            return Err(reader::not_portable(path));
        }
        self.beta(FILES);
        Ok(Source::FileId(id))
    }
}

/// Reads the text of a part that becomes a text block.
pub(super) fn text_of<'p, 'a>(part: &'p Part<'a>) -> Option<&'p Text<'a>> {
    match part {
        Part::Text(part) => Some(&part.text),
        Part::Refusal(text) => Some(text),
        _ => None,
    }
}

/// Returns whether a part is text of white space alone, which Messages refuses.
pub(super) fn is_blank(part: &Part<'_>) -> bool {
    text_of(part).is_some_and(Text::is_blank)
}

/// A checked `source`.
enum Source<'s> {
    Base64 {
        media: &'s str,
        data: RawStr<'s>,
    },
    Url(RawStr<'s>),
    FileId(RawStr<'s>),
    Text(Text<'s>),
    /// An array of blocks, as JSON.
    Content(Vec<u8>),
}

impl Source<'_> {
    fn write(&self, o: &mut write::Object<'_>) {
        o.object("source", |o| match self {
            Source::Base64 { media, data } => {
                o.str("type", "base64");
                o.str("media_type", media);
                let out = o.key("data");
                out.push(b'"');
                data_url::write_payload(*data, out);
                out.push(b'"');
            }
            Source::Url(url) => {
                o.str("type", "url");
                o.raw_str("url", *url);
            }
            Source::FileId(id) => {
                o.str("type", "file");
                o.raw_str("file_id", *id);
            }
            Source::Text(text) => {
                o.str("type", "text");
                o.str("media_type", "text/plain");
                o.raw_str("data", text.raw());
            }
            Source::Content(blocks) => {
                o.str("type", "content");
                o.value("content", RawValue::new(blocks));
            }
        });
    }
}

/// Writes a text block without anything else.
pub(super) fn write_text(text: RawStr<'_>, out: &mut Vec<u8>) {
    write::object(out, |o| {
        o.str("type", "text");
        o.raw_str("text", text);
    });
}

fn is_text(media: &str) -> bool {
    media.starts_with("text/") || matches!(media, "application/json" | "application/xml" | "application/yaml")
}

/// Reads the text in a base64 payload; `None` if it is not UTF-8.
fn decoded(data: RawStr<'_>) -> Option<Text<'static>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let characters: Vec<u8> = data.unescape().bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = engine.decode(characters).ok()?;
    Some(Text::plain(std::str::from_utf8(&bytes).ok()?))
}

/// How many breakpoints Anthropic takes in one request (Prompt caching page, 2026).
const POINTS_MAX: usize = 4;

/// Which cache breakpoints are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct CacheBudget {
    takes: bool,
    /// So many are left out before the first one is written: the last ones cover the most.
    skip: usize,
    whole: Option<CachePoint>,
}

impl CacheBudget {
    /// Chooses the breakpoints that are sent: the last ones, where there are more than the target
    /// takes.
    pub(super) fn new(request: &Request<'_>, cx: &Context<'_>, ledger: &mut Ledger) -> Result<CacheBudget, Error> {
        let takes = cx.target.caps.cache_points;
        let own = request.from == Format::Messages;
        let points = if takes { count(request) } else { 0 };
        let skip = if own { 0 } else { points.saturating_sub(POINTS_MAX) };
        if skip > 0 {
            cache_points::name_lost(request, |_| true, skip, ledger)?;
        }
        // Automatic caching of the whole request exists on Anthropic's own API only.
        let direct = takes && cx.target.host == Host::Anthropic;
        let automatic = !own && cx.policy.auto_cache && points == 0;
        let whole = request.cache.whole.or_else(|| automatic.then_some(CachePoint { hour: false }));
        Ok(CacheBudget { takes, skip, whole: whole.filter(|_| direct) })
    }

    /// Returns the breakpoint of the request as a whole.
    pub(super) fn whole(&self) -> Option<CachePoint> {
        self.whole
    }

    /// Writes `cache_control`, if there is a breakpoint and it may stand.
    pub(super) fn write(&mut self, point: Option<CachePoint>, o: &mut write::Object<'_>) {
        let Some(point) = point.filter(|_| self.takes) else { return };
        match self.skip {
            0 => write_cache(o, point),
            _ => self.skip -= 1,
        }
    }
}

/// Writes the member `cache_control`.
pub(super) fn write_cache(o: &mut write::Object<'_>, point: CachePoint) {
    o.object("cache_control", |o| {
        o.str("type", "ephemeral");
        if point.hour {
            o.str("ttl", "1h");
        }
    });
}

/// Returns all breakpoints of a request, in whatever place; those on blank text go with it.
fn count(request: &Request<'_>) -> usize {
    let stays = |part: &&Part<'_>| !is_blank(part);
    let parts = |parts: &[Part<'_>]| parts.iter().filter(|part| part.cache().is_some()).filter(stays).count();
    let items = |item: &Item<'_>| match &item.kind {
        ItemKind::Message(message) => parts(&message.parts),
        ItemKind::Call(call) => usize::from(call.cache.is_some()),
        ItemKind::Result(result) => parts(&result.parts) + usize::from(result.cache.is_some()),
        ItemKind::Reasoning(_) | ItemKind::Foreign(_) => 0,
    };
    let tools = |tool: &&Tool<'_>| match tool {
        Tool::Function(tool) => tool.cache.is_some(),
        Tool::WebSearch(tool) => tool.cache.is_some(),
        _ => false,
    };
    parts(&request.system) + request.tools.iter().filter(tools).count() + request.items.iter().map(items).sum::<usize>()
}
