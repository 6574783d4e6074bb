//! Content parts for a provider: the content of messages and tool results.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::canonical::loss::{Ledger, Loss};
use crate::canonical::request::{CachePoint, FilePart, ImagePart, ItemKind, Part, Request, Role, Src, TextPart};
use crate::canonical::text::Text;
use crate::canonical::tools::Tool;
use crate::error::Error;
use crate::format::Format;
use crate::json::{RawStr, write};
use crate::reasoning::history;
use crate::request::cache_points;
use crate::request::cache_points::On;
use crate::request::data_url;
use crate::request::reader;
use crate::request::turns;
use crate::target::plan::Context;
use crate::target::quirks::{Host, Quirk};

/// The author of a text part, which decides its `type`. OpenAI refuses a part of the wrong type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextAuthor {
    /// `input_text`: user, system, developer.
    Input,
    /// `input_text`, and no cache breakpoints.
    Result,
    /// `output_text`.
    Assistant,
}

/// Writes parts. Holds what every writer of a request shares.
pub(super) struct Parts<'b, 'a> {
    pub request: &'b Request<'a>,
    pub cx: &'b Context<'b>,
    pub ledger: &'b mut Ledger,
    pub cache: CachePoints,
}

impl Parts<'_, '_> {
    /// Without the parts that have no place here, whose losses are entered.
    pub(super) fn fit<'p, 's>(&mut self, parts: &'p [Part<'s>]) -> Result<Cow<'p, [Part<'s>]>, Error> {
        let loss = |part: &Part<'_>| match part {
            Part::ToolReference { .. } => Some(Loss::ToolReference),
            Part::Foreign(foreign) if foreign.format != Format::Responses => history::droppable(foreign),
            _ => None,
        };
        let losses: Vec<Loss> = parts.iter().filter_map(loss).collect();
        if losses.is_empty() {
            return Ok(Cow::Borrowed(parts));
        }
        losses.into_iter().try_for_each(|loss| self.ledger.drop(loss))?;
        Ok(parts.iter().filter(|part| loss(part).is_none()).cloned().collect())
    }

    /// Writes the array of parts. `path` is the client's path to what holds them.
    pub(super) fn list(
        &mut self,
        parts: &[Part<'_>],
        author: TextAuthor,
        path: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        write::array(out, |a| result = self.each(parts, author, path, a));
        result
    }

    fn each(
        &mut self,
        parts: &[Part<'_>],
        author: TextAuthor,
        path: &str,
        a: &mut write::Array<'_>,
    ) -> Result<(), Error> {
        parts.iter().try_for_each(|part| self.part(part, author, path, a))
    }

    fn part(&mut self, part: &Part<'_>, author: TextAuthor, path: &str, a: &mut write::Array<'_>) -> Result<(), Error> {
        match part {
            Part::Text(part) => self.text(part, author, a),
            Part::Refusal(text) if author == TextAuthor::Assistant => {
                a.object(|o| {
                    o.str("type", "refusal");
                    o.raw_str("refusal", text.raw());
                });
                Ok(())
            }
            Part::Refusal(text) => {
                write_text(text.raw(), author, a);
                Ok(())
            }
            Part::Image(image) => self.image(image, author, path, a),
            Part::File(file) => self.file(file, author, path, a),
            Part::Audio { path: own, .. } => {
                Err(reader::unsupported_content(&reader::nearest(own, path), "audio", reader::AUDIO_REMEDY))
            }
            Part::SearchResult { .. } => {
                self.ledger.approx(Loss::SearchResult)?;
                write_text(turns::search_text(part).raw(), author, a);
                Ok(())
            }
            // Left out by `fit`.
            Part::ToolReference { .. } => Ok(()),
            Part::Foreign(foreign) if foreign.format == Format::Responses => {
                a.value(foreign.raw);
                Ok(())
            }
            Part::Foreign(foreign) => Err(reader::unsupported_foreign(foreign, "content")),
        }
    }

    fn text(&mut self, part: &TextPart<'_>, author: TextAuthor, a: &mut write::Array<'_>) -> Result<(), Error> {
        let own = self.request.from == Format::Responses && author == TextAuthor::Assistant;
        if part.citations.is_some() && !own {
            self.ledger.drop(Loss::Citations)?;
        }
        a.object(|o| {
            o.str("type", text_type(author));
            o.raw_str("text", part.text.raw());
            if let Some(citations) = part.citations.filter(|_| own) {
                o.value("annotations", citations);
            }
            self.cache.write(part.cache, author, o);
        });
        Ok(())
    }

    fn image(
        &mut self,
        image: &ImagePart<'_>,
        author: TextAuthor,
        path: &str,
        a: &mut write::Array<'_>,
    ) -> Result<(), Error> {
        let path = reader::nearest(&image.path, path);
        let source = match &image.src {
            Src::Base64 { media, data } => Source::Data("image_url", media, *data),
            Src::Url(url) => Source::Text("image_url", self.url(url, path, "an image")?),
            Src::FileId { format, id } => Source::Text("file_id", self.file_id(*format, *id, path)?),
            Src::Text(_) | Src::Content(_) => {
                return Err(reader::unsupported_content(&path, "an image made of text", reader::IMAGE_REMEDY));
            }
        };
        a.object(|o| {
            o.str("type", "input_image");
            source.write(o);
            match image.detail {
                Some(detail) => o.raw_str("detail", detail),
                None => o.str("detail", "auto"),
            }
            self.cache.write(image.cache, author, o);
        });
        Ok(())
    }

    fn file(
        &mut self,
        file: &FilePart<'_>,
        author: TextAuthor,
        path: &str,
        a: &mut write::Array<'_>,
    ) -> Result<(), Error> {
        let path = reader::nearest(&file.path, path);
        if file.citations {
            self.ledger.drop(Loss::Citations)?;
        }
        if let Some(context) = file.context.as_ref().filter(|text| !text.is_empty()) {
            self.ledger.approx(Loss::DocumentContext)?;
            write_text(context.raw(), author, a);
        }
        if let (Src::Base64 { media, data }, Some(_)) = (&file.src, image_media(&file.src)) {
            let src = Src::Base64 { media: media.clone(), data: *data };
            let image = ImagePart { src, detail: None, cache: file.cache, path: path.into() };
            return self.image(&image, author, path, a);
        }
        if let Src::Content(parts) = &file.src {
            return self.each(parts, author, path, a);
        }
        let takes_files = self.cx.target.caps.pdf && !self.cx.target.quirks.has(Quirk::NoFiles);
        let encoded;
        let source = match &file.src {
            // Hosts without files still read their text.
            Src::Text(text) if !takes_files => {
                write_text(text.raw(), author, a);
                return Ok(());
            }
            Src::FileId { format: Format::Messages, .. } => return Err(reader::not_portable(path)),
            _ if !takes_files => return Err(reader::unsupported_content(&path, "a file", reader::FILE_REMEDY)),
            Src::Text(text) => {
                encoded = STANDARD.encode(text.unescape().as_bytes());
                Source::Data("file_data", "text/plain", RawStr::new(encoded.as_bytes()))
            }
            Src::Base64 { media, data } => Source::Data("file_data", media, *data),
            Src::Url(url) => Source::Text("file_url", self.url(url, path, "a file")?),
            Src::FileId { format, id } => Source::Text("file_id", self.file_id(*format, *id, path)?),
            Src::Content(_) => return Ok(()),
        };
        if file.name.is_none() && file.title.is_some() {
            self.ledger.approx(Loss::DocumentTitle)?;
        }
        let name = file.name.as_ref().or(file.title.as_ref());
        a.object(|o| {
            o.str("type", "input_file");
            source.write(o);
            match (name, &source) {
                // Beside an id or a URL a name is refused.
                (_, Source::Text(..)) => {}
                (Some(name), _) => o.raw_str("filename", name.raw()),
                (None, Source::Data(_, "text/plain", _)) => o.str("filename", "document.txt"),
                (None, _) => o.str("filename", "document.pdf"),
            }
            self.cache.write(file.cache, author, o);
        });
        Ok(())
    }

    fn url<'s>(&self, url: &'s Text<'_>, path: &str, what: &str) -> Result<RawStr<'s>, Error> {
        if !self.cx.target.caps.url_images {
            return Err(reader::unsupported_content(&path, &format!("{what} by its URL"), reader::URL_REMEDY));
        }
        Ok(url.raw())
    }

    /// Ids of files mean nothing outside the account that holds the files.
    fn file_id<'s>(&self, format: Format, id: RawStr<'s>, path: &str) -> Result<RawStr<'s>, Error> {
        let own = format != Format::Messages && is_openai(self.cx.target.host);
        if !own {
            return Err(reader::not_portable(path));
        }
        Ok(id)
    }
}

/// Where the bytes are: the member's name and its value.
enum Source<'s> {
    /// A data URL of this media type.
    Data(&'static str, &'s str, RawStr<'s>),
    Text(&'static str, RawStr<'s>),
}

impl Source<'_> {
    fn write(&self, o: &mut write::Object<'_>) {
        match self {
            Source::Data(name, media, data) => data_url::write(media, *data, o.key(name)),
            Source::Text(name, text) => o.raw_str(name, *text),
        }
    }
}

/// Returns images that came as files.
fn image_media<'s>(src: &'s Src<'_>) -> Option<&'s str> {
    match src {
        Src::Base64 { media, .. } if media.starts_with("image/") => Some(media),
        _ => None,
    }
}

fn text_type(author: TextAuthor) -> &'static str {
    match author {
        TextAuthor::Input | TextAuthor::Result => "input_text",
        TextAuthor::Assistant => "output_text",
    }
}

/// Writes a text part without anything else.
pub(super) fn write_text(text: RawStr<'_>, author: TextAuthor, a: &mut write::Array<'_>) {
    a.object(|o| {
        o.str("type", text_type(author));
        o.raw_str("text", text);
    });
}

/// How many breakpoints OpenAI takes in one request (Prompt caching guide, 2026).
const POINTS_MAX: usize = 4;

/// Which cache breakpoints are written: only parts of messages can have them, and older models
/// cache by themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct CachePoints {
    takes: bool,
    /// So many are left out before the first one is written: the last ones cover the most.
    skip: usize,
}

impl CachePoints {
    /// Counts the breakpoints of a request, if the target takes any.
    pub(super) fn new(request: &Request<'_>, cx: &Context<'_>, ledger: &mut Ledger) -> Result<CachePoints, Error> {
        let takes = cx.target.caps.cache_points;
        let own = request.from == Format::Responses;
        let points = if takes { count(request) } else { 0 };
        let skip = if own { 0 } else { points.saturating_sub(POINTS_MAX) };
        // Breakpoints on tools, calls, results and the assistant's text have no place here.
        if skip > 0 || (takes && !own && count_all(request) > points) {
            cache_points::name_lost(request, |on| on == On::Input, skip, ledger)?;
        }
        Ok(CachePoints { takes, skip })
    }

    /// Returns whether the target takes breakpoints.
    pub(super) fn takes(&self) -> bool {
        self.takes
    }

    /// Writes the breakpoint, if there is one and it may stand.
    fn write(&mut self, point: Option<CachePoint>, author: TextAuthor, o: &mut write::Object<'_>) {
        if point.is_none() || !self.takes || author != TextAuthor::Input {
            return;
        }
        match self.skip {
            0 => o.object("prompt_cache_breakpoint", |o| o.str("mode", "explicit")),
            _ => self.skip -= 1,
        }
    }
}

/// Returns all breakpoints of a request.
fn count_all(request: &Request<'_>) -> usize {
    let of = |parts: &[Part<'_>]| parts.iter().filter(|part| part.cache().is_some()).count();
    let items = request.items.iter().map(|item| match &item.kind {
        ItemKind::Message(message) => of(&message.parts),
        ItemKind::Result(result) => of(&result.parts) + usize::from(result.cache.is_some()),
        ItemKind::Call(call) => usize::from(call.cache.is_some()),
        ItemKind::Reasoning(_) | ItemKind::Foreign(_) => 0,
    });
    let tools = request.tools.iter().filter(|tool| match tool {
        Tool::Function(tool) => tool.cache.is_some(),
        Tool::WebSearch(search) => search.cache.is_some(),
        _ => false,
    });
    of(&request.system) + items.sum::<usize>() + tools.count()
}

/// All breakpoints that have a place.
fn count(request: &Request<'_>) -> usize {
    let messages = request.items.iter().filter_map(|item| match &item.kind {
        ItemKind::Message(message) if message.role != Role::Assistant => Some(&message.parts),
        _ => None,
    });
    messages.flatten().chain(&request.system).filter(|part| part.cache().is_some()).count()
}

/// Reads whether the host is OpenAI's own, where file ids of both its formats mean the same files.
pub(super) fn is_openai(host: Host) -> bool {
    matches!(host, Host::OpenAi | Host::Azure)
}
