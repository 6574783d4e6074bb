//! Members of nested parameters that no format knows, named by their path.
//!
//! Decoders read what they know of a parameter and enter unknown members of what they walk through:
//! messages, parts and tools. Parameters that are objects by themselves are compared with this
//! table, so that nothing of them is lost without a name.

use crate::canonical::loss::Ledger;
use crate::error::Error;
use crate::format::Format;
use crate::json::RawValue;

/// For each format, where the object is and what it may hold. Sources: the API references of OpenAI
/// and Anthropic (2026), and the hosts in `docs/internals/translation/hosts.md`.
const KNOWN: &[(Format, &[&str], &[&str])] = &[
    (Format::Chat, &["stream_options"], &["include_usage", "include_obfuscation"]),
    (Format::Chat, &["response_format"], &["type", "json_schema"]),
    (Format::Chat, &["response_format", "json_schema"], &["name", "description", "schema", "strict"]),
    (Format::Chat, &["tool_choice"], &["type", "function", "custom", "allowed_tools", "mode", "tools", "name"]),
    (Format::Chat, &["tool_choice", "function"], &["name"]),
    (Format::Chat, &["tool_choice", "custom"], &["name"]),
    (Format::Chat, &["tool_choice", "allowed_tools"], &["mode", "tools"]),
    (Format::Chat, &["function_call"], &["name"]),
    (Format::Chat, &["reasoning"], &["effort", "max_tokens", "enabled", "exclude", "summary"]),
    (Format::Chat, &["thinking"], &["type", "budget_tokens"]),
    (Format::Messages, &["thinking"], &["type", "budget_tokens", "display", "block_binding"]),
    (Format::Messages, &["tool_choice"], &["type", "name", "disable_parallel_tool_use"]),
    (Format::Messages, &["output_config", "format"], &["type", "schema", "name"]),
    (Format::Messages, &["output_format"], &["type", "schema", "name"]),
    (Format::Messages, &["cache_control"], &["type", "ttl", "scope"]),
    (Format::Responses, &["stream_options"], &["include_obfuscation"]),
    (Format::Responses, &["text", "format"], &["type", "name", "description", "schema", "strict"]),
    (Format::Responses, &["tool_choice"], &["type", "name", "mode", "tools", "server_label", "namespace"]),
];

/// Types whose objects are another vendor's, or a grammar's, and are refused or passed on as they
/// are.
pub(crate) const OPEN: &[&str] = &["grammar", "lark_grammar", "regex", "structural_tag", "python"];

/// Enters every member of the table's objects that is in the body of format `from` and is not
/// known. `null` counts as absent.
///
/// # Errors
///
/// Fails in strict mode, at the first one.
pub(crate) fn name_unknown(from: Format, body: RawValue<'_>, ledger: &mut Ledger) -> Result<(), Error> {
    // Most requests have none of these objects.
    if !body.members().any(|(_, value, _)| value.is_object()) {
        return Ok(());
    }
    for (_, path, known) in KNOWN.iter().filter(|(format, ..)| *format == from) {
        let Some(object) = body.path(path).filter(|object| object.is_object()) else { continue };
        let kind = object.find("type");
        if kind.is_some_and(|kind| OPEN.iter().any(|open| kind.eq_str(open))) {
            continue;
        }
        for (key, value, _) in object.members() {
            if !value.is_null() && !known.iter().any(|name| key.eq_str(name)) {
                ledger.unknown(&format!("{}.{}", path.join("."), key.unescape()))?;
            }
        }
    }
    Ok(())
}
