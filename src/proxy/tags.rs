//! The tags of a request, from the header `x-llm-proxy-tags`.
//!
//! A tag is known if ALLOWED_TAGS has it or a budget is of it. With ALLOWED_TAGS a request with
//! another tag is refused; without it, other tags are ignored. So the number of tags is bounded by
//! what operators write.

use super::core::Core;
use super::core::WorkerSnapshot;
use llm_http::RequestHead;
use llm_wire::error::{Error, Kind};

const HEADER: &str = "x-llm-proxy-tags";
/// Stands between two tags, in the header and in a record.
pub const SEPARATOR: char = ',';
/// Tags of a request.
const MOST_TAGS: usize = 8;
/// Tags and bytes of a tag that an error shows.
const SHOWN: usize = 8;
const SHOWN_BYTES: usize = 64;

/// Reads the tags: in alphabetical order, each once, with [`SEPARATOR`]s. `None` without a known
/// one.
pub fn read(core: &Core, view: &WorkerSnapshot, head: &RequestHead, bytes: &[u8]) -> Result<Option<Box<str>>, Error> {
    let allowed = &core.boot().allowed_tags;
    let budgets = view.snapshot.tag_budgets.as_ref();
    let mut tags: Vec<&str> = Vec::new();
    let mut count = 0;
    let fields = head.fields(bytes).filter(|(name, _)| name.eq_ignore_ascii_case(HEADER.as_bytes()));
    for (_, value) in fields {
        let Ok(value) = std::str::from_utf8(value) else {
            return Err(refused(format!("{HEADER} is not UTF-8; tags are letters, digits and -_.:/")));
        };
        for tag in value.split(SEPARATOR).map(str::trim).filter(|tag| !tag.is_empty()) {
            count += 1;
            if count > MOST_TAGS {
                return Err(refused(format!("{HEADER} has more than {MOST_TAGS} tags")));
            }
            let is_allowed = allowed.binary_search_by(|known| known.as_str().cmp(tag)).is_ok();
            if is_allowed || budgets.is_some_and(|budgets| budgets.contains_key(tag)) {
                tags.push(tag);
            } else if !allowed.is_empty() {
                return Err(unknown(tag, allowed));
            }
        }
    }
    tags.sort_unstable();
    tags.dedup();
    Ok((!tags.is_empty()).then(|| tags.join(",").into()))
}

fn unknown(tag: &str, allowed: &[String]) -> Error {
    let mut end = tag.len().min(SHOWN_BYTES);
    while !tag.is_char_boundary(end) {
        end -= 1;
    }
    let mut list = allowed.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if allowed.len() > SHOWN {
        list.push_str(&format!(" and {} more", allowed.len() - SHOWN));
    }
    refused(format!("{HEADER} has the tag `{}`, which this gateway does not allow; it allows {list}", &tag[..end]))
}

fn refused(note: String) -> Error {
    Error::client(Kind::InvalidRequest, note).param(HEADER)
}
