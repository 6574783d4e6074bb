//! Content parts of Chat Completions, both ways.

use crate::canonical::loss::Ledger;
use crate::canonical::request::{CachePoint, FilePart, Foreign, ImagePart, Part, Src, TextPart};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::formats::chat::request::members::{pick, unknown};
use crate::json::{RawKind, RawStr, RawValue};
use crate::request::data_url;
use crate::request::data_url::Payload;
use crate::request::reader;
use crate::request::reader::Path;

/// Reads `content`: a string, a list of parts, or nothing.
pub(super) fn read<'a>(
    content: Option<RawValue<'a>>,
    path: &Path<'_>,
    ledger: &mut Ledger,
) -> Result<Vec<Part<'a>>, Error> {
    let Some(content) = content else { return Ok(Vec::new()) };
    if let Some(text) = content.as_str() {
        return Ok(if text.is_empty() { Vec::new() } else { vec![Part::text(text)] });
    }
    if content.kind() != RawKind::Array {
        return Err(reader::wrong_type(path, "a string or an array of parts", content));
    }
    let mut parts = Vec::new();
    for (n, (raw, _)) in content.elements().enumerate() {
        let path = path.index(n);
        parts.extend(part(reader::object(raw, &path)?, &path, ledger)?);
    }
    Ok(parts)
}

/// One part; `None` for what is elsewhere in the canonical form.
fn part<'a>(raw: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Option<Part<'a>>, Error> {
    let names = [
        "type",
        "text",
        "image_url",
        "input_audio",
        "file",
        "refusal",
        "thinking",
        "prompt_cache_breakpoint",
        "cache_control",
    ];
    let ([kind, text, image, audio, file, refusal, _, breakpoint, control], others) = pick(raw, names);
    let kind_path = path.key("type");
    let Some(kind) = kind else { return Err(reader::invalid(&kind_path, "is required")) };
    let kind = reader::string(kind, &kind_path)?;
    let cache = cache_point(breakpoint, control);
    let part = match (kind.as_bytes(), text, image, audio, file, refusal) {
        // The names of Responses too, as its readers take those of Chat.
        (b"text" | b"input_text" | b"output_text", Some(text), ..) => {
            let text = reader::string(text, &path.key("text"))?.into();
            Part::Text(TextPart { text, citations: None, cache })
        }
        (b"image_url" | b"input_image", _, Some(image), ..) => {
            crate::formats::chat::request::parts::image(image, cache, &path.key("image_url"), ledger)?
        }
        (b"input_audio", _, _, Some(audio), ..) => {
            let path = path.key("input_audio");
            let word = |key| reader::required(audio, key, &path).and_then(|v| reader::string(v, &path.key(key)));
            Part::Audio { data: word("data")?, format: word("format")?, path: path.to_string().into() }
        }
        (b"file", _, _, _, Some(file), _) => {
            crate::formats::chat::request::parts::file(file, cache, &path.key("file"), ledger)?
        }
        (b"refusal", .., Some(refusal)) => Part::Refusal(reader::string(refusal, &path.key("refusal"))?.into()),
        // Read as reasoning.
        (b"thinking" | b"redacted_thinking", ..) => return Ok(None),
        (b"text" | b"image_url" | b"input_audio" | b"file" | b"refusal", ..) => {
            return Err(reader::invalid(&path.key(&kind.unescape()), "is required"));
        }
        _ => {
            let foreign = Foreign { format: Format::Chat, kind, path: path.to_string(), raw };
            return Ok(Some(Part::Foreign(foreign)));
        }
    };
    unknown(&others, path, ledger)?;
    Ok(Some(part))
}

/// OpenAI's breakpoint, or Anthropic's in the form that OpenRouter takes.
pub(super) fn cache_point(breakpoint: Option<RawValue<'_>>, control: Option<RawValue<'_>>) -> Option<CachePoint> {
    let point = breakpoint.or(control)?;
    Some(CachePoint { hour: point.find("ttl").is_some_and(|ttl| ttl.eq_str("1h")) })
}

fn image<'a>(
    image: RawValue<'a>,
    cache: Option<CachePoint>,
    path: &Path<'_>,
    ledger: &mut Ledger,
) -> Result<Part<'a>, Error> {
    // A plain string is Mistral's form.
    let (url, detail) = match image.as_str() {
        Some(url) => (url, None),
        None => {
            let image = reader::object(image, path)?;
            let url = reader::string(reader::required(image, "url", path)?, &path.key("url"))?;
            let ([_, detail], others) = pick(image, ["url", "detail"]);
            unknown(&others, path, ledger)?;
            (url, detail.map(|v| reader::string(v, &path.key("detail"))).transpose()?)
        }
    };
    let src = match data_url::parse(url) {
        Some(data_url::DataUrl { media, payload: Payload::Base64(data) }) => Src::Base64 { media, data },
        _ => Src::Url(url.into()),
    };
    // Some clients send documents in the place of images.
    if data_url::is_document(&src) {
        return Ok(Part::File(Box::new(FilePart { cache, ..FilePart::of(src, path) })));
    }
    Ok(Part::Image(ImagePart { src, detail, cache, path: path.to_string().into() }))
}

fn file<'a>(
    file: RawValue<'a>,
    cache: Option<CachePoint>,
    path: &Path<'_>,
    ledger: &mut Ledger,
) -> Result<Part<'a>, Error> {
    let ([data, id, name], others) = pick(reader::object(file, path)?, ["file_data", "file_id", "filename"]);
    unknown(&others, path, ledger)?;
    let name = name.map(|v| reader::string(v, &path.key("filename"))).transpose()?;
    let name = name.filter(|name| !name.is_empty()).map(Text::from);
    let src = match (data, id) {
        (Some(data), _) => file_src(reader::string(data, &path.key("file_data"))?),
        (None, Some(id)) => Src::FileId { format: Format::Chat, id: reader::string(id, &path.key("file_id"))? },
        (None, None) => return Err(reader::invalid(path, "needs `file_data` or `file_id`")),
    };
    let src = data_url::named(src, name.as_ref());
    Ok(Part::File(Box::new(FilePart { name, cache, ..FilePart::of(src, path) })))
}

/// Reads a data URL; from some clients a link, or base64 without its head.
fn file_src(data: RawStr<'_>) -> Src<'_> {
    match data_url::parse(data) {
        Some(data_url::DataUrl { media, payload: Payload::Base64(data) }) => Src::Base64 { media, data },
        Some(data_url::DataUrl { payload: Payload::Text(text), .. }) => Src::Text(text),
        None if data.as_bytes().starts_with(b"http") => Src::Url(data.into()),
        None => Src::Base64 { media: data_url::media_of("", data), data },
    }
}
