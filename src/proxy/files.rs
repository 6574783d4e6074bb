//! Finds the account that has the files which a request names. Clients upload files to a provider
//! directly, so the gateway learns their ids: from requests that a provider has served, and from
//! files that its answers name. A request that names a known file goes to the account that has it;
//! an unknown id changes nothing.
//!
//! What is learned holds for the credential (or its group) that named the file, and for no other:
//! the table is not a way to steer what others request.

use super::core::{Core, WorkerSnapshot};
use super::endpoint::Operation;
use super::request_context::{NamedFiles, RequestContext};
use crate::metrics::names::Counter;
use crate::route::pick::{Candidate, Candidates};
use crate::shared::issued_ids::Issued;
use crate::telemetry::record::Outcome;

/// The most ids of one request or answer that are looked at.
const MAX_FILES: usize = 16;

/// Longer ids are not taken for ids. Those of vendors have some 30 letters.
const MAX_ID: usize = 256;

/// The provider of a file that it was found not to have. No row has this id.
const NOBODY: i64 = 0;

/// What the ids of files begin with: at OpenAI, of its containers, at Anthropic and at Azure.
/// Members of the same name in the arguments of tools, and in metadata, have ids of another kind.
const PREFIXES: [&[u8]; 5] = [b"file-", b"file_", b"cfile_", b"cfile-", b"assistant-"];

/// Returns the candidate that has a file which the request names. `None` if that is not known, or
/// if the account is no candidate any more.
pub fn candidate<'c>(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    candidates: &'c Candidates,
) -> Option<&'c Candidate> {
    if candidates.list.len() < 2 || req.route.operation != Operation::Generate {
        return None;
    }
    let (files, owner) = (&req.core.shared.files, req.owner);
    let mut named = NamedFiles::None;
    let found = ids(req.body()).find_map(|id| {
        named = NamedFiles::Unknown;
        let provider = files.find(files.hash_for(owner, id))?.provider;
        // An id means nothing to another vendor, and is not translated.
        candidates.list.iter().find(|candidate| {
            candidate.target.format == req.route.format && view.provider(candidate.provider).id == provider
        })
    });
    if found.is_some() {
        named = NamedFiles::Known;
        req.core.metrics.inc(Counter::IssuerKnown);
    }
    req.files = named;
    found
}

/// Learns from what became of a request: a provider that has served it has the files that it names,
/// and one that refused it may have them no more.
pub fn learn(req: &RequestContext<'_>) {
    let (status, outcome) = req.recorder.outcome();
    let (core, owner, provider) = (req.core, req.owner, req.recorder.provider());
    match (req.files, status, outcome) {
        (NamedFiles::Unknown | NamedFiles::Known, 200..300, Outcome::Complete) if !req.recorder.is_translated() => {
            learn_from_answer(core, owner, provider, req.body());
        }
        (NamedFiles::Known, 400 | 404, _) => {
            let files = &core.shared.files;
            let has = |id: &&[u8]| files.find(files.hash_for(owner, id)).is_some_and(|has| has.provider == provider);
            ids(req.body()).filter(has).for_each(|id| remember(core, owner, id, NOBODY));
        }
        _ => {}
    }
}

/// Remembers that a provider has the files which are named in a request that it has served, in its
/// answer, or in a part of it.
pub fn learn_from_answer(core: &Core, owner: u64, provider: i64, json: &[u8]) {
    ids(json).for_each(|id| remember(core, owner, id, provider));
}

fn remember(core: &Core, owner: u64, id: &[u8], provider: i64) {
    let files = &core.shared.files;
    files.remember(files.hash_for(owner, id), Issued { provider, owner });
}

/// Returns the ids in the members `file_id` and `file_ids` of a JSON text. Looks at the places that
/// may be such members, since bodies are large: in a text the quotes are escaped.
fn ids(json: &[u8]) -> impl Iterator<Item = &[u8]> {
    let places = memchr::memmem::find_iter(json, b"\"file_id");
    let lists = places.filter_map(move |at| {
        let rest = &json[at + b"\"file_id".len()..];
        let (rest, is_list) = match rest.strip_prefix(b"s\"") {
            Some(rest) => (rest, true),
            None => (rest.strip_prefix(b"\"")?, false),
        };
        let value = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        match is_list {
            true => {
                let list = value.strip_prefix(b"[")?;
                Some((&list[..memchr::memchr(b']', list)?], MAX_FILES))
            }
            false => Some((value, 1)),
        }
    });
    lists.flat_map(|(list, most)| Strings(list).take(most)).filter(|id| is_id(id)).take(MAX_FILES)
}

fn is_id(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b':');
    id.len() <= MAX_ID && PREFIXES.iter().any(|prefix| id.starts_with(prefix)) && id.iter().all(is_plain)
}

/// The strings of a list without its brackets, as far as nothing else is in it.
struct Strings<'a>(&'a [u8]);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0.trim_ascii_start();
        let rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start().strip_prefix(b"\"")?;
        let end = memchr::memchr(b'"', rest)?;
        self.0 = &rest[end + 1..];
        Some(&rest[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_FILES, ids};

    #[test]
    fn files_of_each_format() {
        let rows: &[(&str, &[&str])] = &[
            (r#"{"type":"file","file":{"file_id":"file-abc"}}"#, &["file-abc"]),
            (r#"{"type":"input_file", "file_id" : "file-a_1"}"#, &["file-a_1"]),
            (r#"{"type":"document","source":{"type":"file","file_id":"file_01"}}"#, &["file_01"]),
            (
                r#"{"container":{"type":"auto","file_ids":["file-1", "file-2"]},"file_id":"file-3"}"#,
                &["file-1", "file-2", "file-3"],
            ),
            (r#"{"file_ids":[]}"#, &[]),
            (r#"{"file_id":null}"#, &[]),
            (r#"{"file_id":""}"#, &[]),
            (r#"{"file_id":"a b"}"#, &[]),
            (r#"{"file_id":"\u0061"}"#, &[]),
            (r#"{"file_ids":[1,"file-1"]}"#, &[]),
            (r#"{"type":"tool_use","input":{"file_id":"42"}}"#, &[]),
            (r#"{"metadata":{"file_id":"resp_1"}}"#, &[]),
            (r#"{"text":"\"file_id\":\"file-1\""}"#, &[]),
            (r#"{"file_idle":"file-1"}"#, &[]),
            (r#"{"file_id"#, &[]),
            (r#"{"file_ids":["file-1"#, &[]),
        ];
        for (body, expected) in rows {
            let found: Vec<_> = ids(body.as_bytes()).map(|id| std::str::from_utf8(id).unwrap()).collect();
            assert_eq!(&found, expected, "{body}");
        }
        let many = format!("{{\"file_ids\":[{}]}}", vec!["\"file-1\""; 99].join(","));
        assert_eq!(ids(many.as_bytes()).count(), MAX_FILES);
    }
}
