//! Content on its way to a provider: parts fitted to what the target takes, then written.
//!
//! Fitting may fail and enters losses; writing cannot fail. So a message is fitted as a whole
//! before its first byte is written.

use crate::canonical::loss::{Ledger, Loss};
use crate::canonical::request::{CachePoint, FilePart, ImagePart, Part, Src};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::json::{RawStr, RawValue, write};
use crate::reasoning::history;
use crate::request::data_url;
use crate::request::reader;
use crate::request::turns;
use crate::target::plan::Target;
use crate::target::quirks::Quirk;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One part as Chat Completions has it.
#[derive(Debug, Clone)]
pub(super) struct Piece<'a> {
    pub kind: PieceKind<'a>,
    /// Carries an explicit cache breakpoint.
    pub cache: bool,
}

/// What a piece is.
#[derive(Debug, Clone)]
pub(super) enum PieceKind<'a> {
    Text(Text<'a>),
    Refusal(Text<'a>),
    Image {
        src: Src<'a>,
        detail: Option<&'static str>,
    },
    File {
        src: Src<'a>,
        name: Option<Text<'a>>,
    },
    Audio {
        data: RawStr<'a>,
        format: RawStr<'a>,
    },
    /// A part that only this format knows, from a client of this format.
    Raw(RawValue<'a>),
}

impl<'a> Piece<'a> {
    /// Makes a text without a cache breakpoint.
    pub(super) fn text(text: impl Into<Text<'a>>) -> Piece<'a> {
        Piece { kind: PieceKind::Text(text.into()), cache: false }
    }

    /// Returns the text of the piece. `None` for anything else.
    pub(super) fn as_text(&self) -> Option<&Text<'a>> {
        match &self.kind {
            PieceKind::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The explicit cache breakpoints of one request. Targets take the last four.
#[derive(Debug)]
pub(super) struct Points {
    /// How many go by before the first that is written. `None`: the target has none.
    skip: Option<usize>,
}

impl Points {
    /// The most cache breakpoints of one request.
    pub(super) const MAX: usize = 4;

    /// Makes the counter for a request with `total` breakpoints. Nothing is written if the target
    /// takes none.
    pub(super) fn new(takes: bool, total: usize) -> Points {
        Points { skip: takes.then(|| total.saturating_sub(Points::MAX)) }
    }

    /// Returns whether this point is written.
    pub(super) fn take(&mut self, point: Option<CachePoint>) -> bool {
        match (&mut self.skip, point) {
            (Some(0), Some(_)) => true,
            (Some(n), Some(_)) => {
                *n -= 1;
                false
            }
            _ => false,
        }
    }
}

/// What fitting needs to know.
pub(super) struct Fitter<'f, 'c> {
    pub target: &'f Target<'c>,
    pub ledger: &'f mut Ledger,
    pub points: &'f mut Points,
}

impl Fitter<'_, '_> {
    /// Fits the parts of one message; `path` is the client's path to it.
    pub(super) fn parts<'a>(&mut self, parts: &[Part<'a>], path: &str) -> Result<Vec<Piece<'a>>, Error> {
        let mut out = Vec::with_capacity(parts.len());
        for part in parts {
            self.part(part, path, &mut out)?;
        }
        Ok(out)
    }

    fn part<'a>(&mut self, part: &Part<'a>, path: &str, out: &mut Vec<Piece<'a>>) -> Result<(), Error> {
        let cache = self.points.take(part.cache());
        let kind = match part {
            Part::Text(part) => {
                if part.citations.is_some_and(|list| list.elements().next().is_some()) {
                    self.ledger.drop(Loss::Citations)?;
                }
                // Some hosts refuse empty parts.
                if part.text.is_empty() {
                    return Ok(());
                }
                PieceKind::Text(part.text.clone())
            }
            Part::Refusal(text) => PieceKind::Refusal(text.clone()),
            Part::Image(image) => self.image(image, path)?,
            Part::File(file) => return self.file(file, cache, path, out),
            Part::Audio { data, format, .. } if self.target.caps.audio_in => {
                PieceKind::Audio { data: *data, format: *format }
            }
            Part::Audio { path: own, .. } => {
                return Err(reader::unsupported_content(&reader::nearest(own, path), "audio", reader::AUDIO_REMEDY));
            }
            Part::SearchResult { .. } => {
                self.ledger.approx(Loss::SearchResult)?;
                PieceKind::Text(turns::search_text(part))
            }
            Part::ToolReference { .. } => return self.ledger.drop(Loss::ToolReference),
            Part::Foreign(foreign) if foreign.format == Format::Chat => PieceKind::Raw(foreign.raw),
            Part::Foreign(foreign) => {
                if let Some(loss) = history::droppable(foreign) {
                    return self.ledger.drop(loss);
                }
                return Err(reader::unsupported_foreign(foreign, "content"));
            }
        };
        out.push(Piece { kind, cache });
        Ok(())
    }

    fn image<'a>(&mut self, image: &ImagePart<'a>, path: &str) -> Result<PieceKind<'a>, Error> {
        let path = reader::nearest(&image.path, path);
        match &image.src {
            Src::Url(_) if !self.target.caps.url_images => {
                return Err(reader::unsupported_content(&path, "the URL of an image", reader::URL_REMEDY));
            }
            Src::Url(_) | Src::Base64 { .. } => {}
            Src::FileId { .. } => return Err(reader::not_portable(path)),
            Src::Text(_) | Src::Content(_) => {
                return Err(reader::unsupported_content(&path, "an image without image data", reader::IMAGE_REMEDY));
            }
        }
        // `original` exists in Responses only.
        let detail = image.detail.and_then(|detail| {
            let words = [("low", "low"), ("high", "high"), ("auto", "auto"), ("original", "high")];
            words.iter().find(|(word, _)| detail.eq_str(word)).map(|(_, sent)| *sent)
        });
        Ok(PieceKind::Image { src: image.src.clone(), detail })
    }

    /// A document may become several pieces: its context, and itself.
    fn file<'a>(
        &mut self,
        file: &FilePart<'a>,
        cache: bool,
        path: &str,
        out: &mut Vec<Piece<'a>>,
    ) -> Result<(), Error> {
        let path = reader::nearest(&file.path, path);
        if file.citations {
            self.ledger.drop(Loss::Citations)?;
        }
        if let Some(context) = file.context.as_ref().filter(|context| !context.is_empty()) {
            self.ledger.approx(Loss::DocumentContext)?;
            out.push(Piece::text(context.clone()));
        }
        let takes_files = self.target.caps.pdf && !self.target.quirks.has(Quirk::NoFiles);
        let name = file.name.clone().or_else(|| file.title.clone());
        let kind = match &file.src {
            Src::Text(text) => inline(name, text.clone()),
            Src::Base64 { media, .. } if media.starts_with("image/") => {
                PieceKind::Image { src: file.src.clone(), detail: None }
            }
            Src::Base64 { media, data } if media.starts_with("text/") => match plain(*data) {
                Some(text) => inline(name, text),
                None => return Err(reader::invalid(&path, "holds a text file that is not base64 of UTF-8")),
            },
            Src::Content(parts) => {
                out.extend(name.map(Piece::text));
                for part in parts {
                    self.part(part, path, out)?;
                }
                return Ok(());
            }
            // Both formats of OpenAI name the same files.
            Src::FileId { format: Format::Responses, .. } if takes_files && self.target.host.is_native() => {
                PieceKind::File { src: file.src.clone(), name: None }
            }
            Src::FileId { format: Format::Chat, .. } | Src::Base64 { .. } if takes_files => {
                PieceKind::File { src: file.src.clone(), name }
            }
            Src::FileId { format, .. } if *format != Format::Chat => return Err(reader::not_portable(path)),
            Src::FileId { .. } | Src::Base64 { .. } => {
                return Err(reader::unsupported_content(&path, "a file", reader::FILE_REMEDY));
            }
            Src::Url(_) => {
                return Err(reader::unsupported_content(&path, "the URL of a file", reader::FILE_URL_REMEDY));
            }
        };
        out.push(Piece { kind, cache });
        Ok(())
    }
}

/// Returns a text document as text, under its name.
fn inline<'a>(name: Option<Text<'a>>, text: Text<'a>) -> PieceKind<'a> {
    PieceKind::Text(match name {
        Some(name) => Text::join(&[name, text], "\n"),
        None => text,
    })
}

fn plain(base64: RawStr<'_>) -> Option<Text<'static>> {
    let bytes = STANDARD.decode(base64.unescape().as_bytes()).ok()?;
    Some(Text::plain(std::str::from_utf8(&bytes).ok()?))
}

/// Writes content: a string if it is one plain text, else a list.
pub(super) fn write(pieces: &[Piece<'_>], target: &Target<'_>, out: &mut Vec<u8>) {
    match pieces {
        [] => out.extend_from_slice(b"\"\""),
        [Piece { kind: PieceKind::Text(text), cache: false }] => write::raw_string(out, text.raw()),
        _ => write::array(out, |list| {
            for piece in pieces {
                write_piece(piece, target, list.element());
            }
        }),
    }
}

fn write_piece(piece: &Piece<'_>, target: &Target<'_>, out: &mut Vec<u8>) {
    if let PieceKind::Raw(raw) = &piece.kind {
        return out.extend_from_slice(raw.bytes());
    }
    write::object(out, |o| {
        match &piece.kind {
            PieceKind::Text(text) => {
                o.str("type", "text");
                o.raw_str("text", text.raw());
            }
            PieceKind::Refusal(text) => {
                o.str("type", "refusal");
                o.raw_str("refusal", text.raw());
            }
            PieceKind::Image { src, .. } if target.quirks.has(Quirk::ImageString) => {
                o.str("type", "image_url");
                write_src(src, o.key("image_url"));
            }
            PieceKind::Image { src, detail } => {
                o.str("type", "image_url");
                o.object("image_url", |o| {
                    write_src(src, o.key("url"));
                    if let Some(detail) = detail {
                        o.str("detail", detail);
                    }
                });
            }
            PieceKind::File { src, name } => {
                o.str("type", "file");
                o.object("file", |o| match src {
                    Src::FileId { id, .. } => o.raw_str("file_id", *id),
                    src => {
                        // OpenAI refuses data without a name.
                        match name {
                            Some(name) => o.raw_str("filename", name.raw()),
                            None => o.str("filename", "document.pdf"),
                        }
                        write_src(src, o.key("file_data"));
                    }
                });
            }
            PieceKind::Audio { data, format } => {
                o.str("type", "input_audio");
                o.object("input_audio", |o| {
                    let out = o.key("data");
                    out.push(b'"');
                    data_url::write_payload(*data, out);
                    out.push(b'"');
                    o.raw_str("format", *format);
                });
            }
            PieceKind::Raw(_) => {}
        }
        if piece.cache {
            o.object("prompt_cache_breakpoint", |o| o.str("mode", "explicit"));
        }
    });
}

/// Writes a URL, or a data URL. Fitting leaves no other sources.
fn write_src(src: &Src<'_>, out: &mut Vec<u8>) {
    match src {
        Src::Base64 { media, data } => data_url::write(media, *data, out),
        Src::Url(url) => write::raw_string(out, url.raw()),
        Src::FileId { .. } | Src::Text(_) | Src::Content(_) => out.extend_from_slice(b"\"\""),
    }
}
