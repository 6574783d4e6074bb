//! The parts of a message: text, pictures, documents.

use std::borrow::Cow;

use crate::canonical::cache::CachePoint;
use crate::canonical::text::Text;
use crate::format::Format;
use crate::json::{RawStr, RawValue};

/// One content part.
#[derive(Debug, Clone)]
pub enum Part<'a> {
    Text(TextPart<'a>),
    Image(ImagePart<'a>),
    File(Box<FilePart<'a>>),
    /// C `input_audio`. `format` is `wav` or `mp3`, `data` is base64.
    Audio {
        data: RawStr<'a>,
        format: RawStr<'a>,
        /// Where the client has it, for errors.
        path: Box<str>,
    },
    Refusal(Text<'a>),
    /// M `search_result`.
    SearchResult {
        source: Text<'a>,
        title: Text<'a>,
        /// The text blocks of its content, joined by line ends.
        text: Text<'a>,
        raw: RawValue<'a>,
    },
    /// M `tool_reference` in a tool result.
    ToolReference {
        name: Text<'a>,
    },
    Foreign(Foreign<'a>),
}

/// Text.
#[derive(Debug, Clone, Default)]
pub struct TextPart<'a> {
    pub text: Text<'a>,
    /// M `citations` of an assistant's text, R `annotations`: raw, in the client's format.
    pub citations: Option<RawValue<'a>>,
    pub cache: Option<CachePoint>,
}

impl<'a> Part<'a> {
    /// Makes a text without citations.
    pub fn text(text: impl Into<Text<'a>>) -> Part<'a> {
        Part::Text(TextPart { text: text.into(), citations: None, cache: None })
    }

    /// Returns the cache breakpoint behind this part, if there is one.
    pub fn cache(&self) -> Option<CachePoint> {
        match self {
            Part::Text(part) => part.cache,
            Part::Image(part) => part.cache,
            Part::File(part) => part.cache,
            _ => None,
        }
    }
}

/// A picture.
#[derive(Debug, Clone)]
pub struct ImagePart<'a> {
    pub src: Src<'a>,
    /// `low`, `high`, `auto`, `original` (R only).
    pub detail: Option<RawStr<'a>>,
    pub cache: Option<CachePoint>,
    /// Where the client has it, for errors.
    pub path: Box<str>,
}

/// A document.
#[derive(Debug, Clone)]
pub struct FilePart<'a> {
    pub src: Src<'a>,
    /// `filename` (C, R).
    pub name: Option<Text<'a>>,
    /// M `title`.
    pub title: Option<Text<'a>>,
    /// M `context`.
    pub context: Option<Text<'a>>,
    /// M `citations.enabled`.
    pub citations: bool,
    pub cache: Option<CachePoint>,
    /// Where the client has it, for errors.
    pub path: Box<str>,
}

impl<'a> FilePart<'a> {
    /// Returns a file at `path` of which nothing but its bytes is known.
    pub fn of(src: Src<'a>, path: &impl ToString) -> FilePart<'a> {
        let path = path.to_string().into_boxed_str();
        FilePart { src, name: None, title: None, context: None, citations: false, cache: None, path }
    }
}

/// Where the bytes of an image or a file are.
#[derive(Debug, Clone)]
pub enum Src<'a> {
    Url(Text<'a>),
    Base64 {
        /// Lower case, without parameters.
        media: Cow<'a, str>,
        /// An escaped string body; base64 but for slashes that some clients escape.
        data: RawStr<'a>,
    },
    /// An id that only the family of its format can resolve.
    FileId {
        format: Format,
        id: RawStr<'a>,
    },
    /// A text document, in the clear.
    Text(Text<'a>),
    /// M `source{type:content}`: a document made of parts.
    Content(Vec<Part<'a>>),
}

/// What only its own format knows: an item, a content part or a block.
#[derive(Debug, Clone)]
pub struct Foreign<'a> {
    pub format: Format,
    /// Its `type`, for the error message.
    pub kind: RawStr<'a>,
    /// The client's path to it, for `param`.
    pub path: String,
    pub raw: RawValue<'a>,
}
