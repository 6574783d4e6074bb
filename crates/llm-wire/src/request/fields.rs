//! Every top-level request field of the three formats and where it goes, as data.
//!
//! A field either has a home in the canonical [`Request`](crate::canonical::request::Request) or is
//! kept raw in [`Ext`], with a rule for the way to another format.
//! [`settle`](crate::request::params) applies the rules; a test holds the table against the
//! vendors' parameter types, so that a new field cannot be lost by being forgotten.

use std::borrow::Cow;

use crate::canonical::ext::Ext;
use crate::canonical::loss::{Ledger, Loss};
use crate::canonical::request::Request;
use crate::canonical::text::Text;
use crate::error::{Error, Kind};
use crate::format::Format;
use crate::json::{RawValue, write};
use crate::request::reader;
use crate::request::reader::Path;

/// What happens to a field on the way to another format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The decoder puts it into this member of the canonical request.
    Home(&'static str),
    /// Kept in [`Ext`]; removed with an entry in the ledger.
    Drop(Loss),
    /// Kept in [`Ext`]; removed without an entry in the ledger: it asks for nothing that the answer
    /// could lack.
    Silent,
    /// Kept in [`Ext`]; refused with 400 unless it is `null`, `false` or empty: dropping it would
    /// change the meaning.
    Refuse,
    /// C `modalities`: text alone is silent, anything else is refused.
    Modalities,
    /// `moderation`: kept between C and R; else dropped, or refused if a policy blocks.
    Moderation,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub format: Format,
    pub name: &'static str,
    pub rule: Rule,
}

macro_rules! fields {
    ($( $format:ident { $( $name:literal $rule:expr; )* } )*) => {
        /// The table. Parameter types read: openai-python and anthropic-sdk-python of August 2026,
        /// beta parameters included.
        pub(crate) const FIELDS: &[Field] = &[ $( $( Field { format: Format::$format, name: $name, rule: $rule }, )* )* ];
    };
}

use Rule::{Drop, Home, Modalities, Moderation, Refuse, Silent};

fields! {
    Chat {
        "model" Home("model");
        "messages" Home("system, items");
        "audio" Refuse;
        "frequency_penalty" Home("sampling.frequency_penalty");
        "function_call" Home("tool_choice");
        "functions" Home("tools");
        "logit_bias" Home("sampling.logit_bias");
        "logprobs" Home("sampling.logprobs");
        "max_completion_tokens" Home("max_tokens");
        "max_tokens" Home("max_tokens");
        "metadata" Home("identity.metadata");
        "modalities" Modalities;
        "moderation" Moderation;
        "n" Home("sampling.n");
        "parallel_tool_calls" Home("parallel");
        "prediction" Drop(Loss::Prediction);
        "presence_penalty" Home("sampling.presence_penalty");
        "prompt_cache_key" Home("cache.key");
        "prompt_cache_options" Home("cache.options");
        "prompt_cache_retention" Home("cache.retention");
        "reasoning_effort" Home("reasoning");
        "response_format" Home("format");
        "safety_identifier" Home("identity.safety");
        "seed" Home("sampling.seed");
        "service_tier" Home("tier");
        "stop" Home("sampling.stop");
        "store" Home("state.store");
        "stream" Home("stream");
        "stream_options" Home("include_usage");
        "temperature" Home("sampling.temperature");
        "tool_choice" Home("tool_choice");
        "tools" Home("tools");
        "top_logprobs" Home("sampling.top_logprobs");
        "top_p" Home("sampling.top_p");
        "user" Home("identity.user");
        "verbosity" Home("verbosity");
        "web_search_options" Home("tools");
        // Extensions of hosts that imitate the format.
        "top_k" Home("sampling.top_k");
        "reasoning" Home("reasoning");
        "thinking" Home("reasoning");
        "enable_thinking" Home("reasoning");
        "thinking_budget" Home("reasoning");
        "chat_template_kwargs" Drop(Loss::ReasoningExtra);
        "include_reasoning" Drop(Loss::ReasoningExtra);
        "reasoning_format" Drop(Loss::ReasoningExtra);
        "min_p" Drop(Loss::Sampling);
        "repetition_penalty" Drop(Loss::Sampling);
        "extra_body" Drop(Loss::Unknown);
    }
    Messages {
        "model" Home("model");
        "messages" Home("items");
        "system" Home("system");
        "max_tokens" Home("max_tokens");
        "cache_control" Home("cache.whole");
        "container" Refuse;
        "context_management" Drop(Loss::ContextManagement);
        "diagnostics" Drop(Loss::Diagnostics);
        "fallback_credit_token" Drop(Loss::FallbackCredit);
        "fallbacks" Drop(Loss::Fallbacks);
        "inference_geo" Drop(Loss::InferenceGeo);
        "mcp_servers" Home("tools");
        "metadata" Home("identity.safety");
        "output_config" Home("reasoning, format");
        "output_config.task_budget" Drop(Loss::TaskBudget);
        "output_format" Home("format");
        "service_tier" Home("tier");
        "speed" Drop(Loss::Speed);
        "stop_sequences" Home("sampling.stop");
        "stream" Home("stream");
        "temperature" Home("sampling.temperature");
        "thinking" Home("reasoning");
        "tool_choice" Home("tool_choice, parallel");
        "tools" Home("tools");
        "top_k" Home("sampling.top_k");
        "top_p" Home("sampling.top_p");
        "user_profile_id" Drop(Loss::UserProfile);
        // What Bedrock and Vertex carry in the body instead of in headers.
        "anthropic_version" Silent;
        "anthropic_beta" Silent;
        "betas" Silent;
    }
    Responses {
        "model" Home("model");
        "input" Home("items, tools");
        "instructions" Home("system");
        "background" Home("state.background");
        "context_management" Drop(Loss::ContextManagement);
        "conversation" Home("state.conversation");
        "include" Home("state.include, sampling.logprobs");
        "max_output_tokens" Home("max_tokens");
        "max_tool_calls" Home("max_tool_calls");
        "metadata" Home("identity.metadata");
        "moderation" Moderation;
        "parallel_tool_calls" Home("parallel");
        "previous_response_id" Home("state.previous");
        "prompt" Home("state.prompt");
        "prompt_cache_key" Home("cache.key");
        "prompt_cache_options" Home("cache.options");
        "prompt_cache_retention" Home("cache.retention");
        "reasoning" Home("reasoning");
        "reasoning.context" Drop(Loss::ReasoningContext);
        "reasoning.mode" Drop(Loss::ReasoningMode);
        "safety_identifier" Home("identity.safety");
        "service_tier" Home("tier");
        "store" Home("state.store");
        "stream" Home("stream");
        "stream_options" Silent;
        "temperature" Home("sampling.temperature");
        "text" Home("format, verbosity");
        "tool_choice" Home("tool_choice");
        "tools" Home("tools");
        "top_logprobs" Home("sampling.top_logprobs");
        "top_p" Home("sampling.top_p");
        "truncation" Home("state.truncation");
        "user" Home("identity.user");
        // Telemetry of Codex.
        "client_metadata" Silent;
    }
}

/// Returns the row of a field. Nested fields with a rule of their own are named with their path.
pub(crate) fn rule(format: Format, name: &str) -> Option<Rule> {
    FIELDS.iter().find(|f| f.format == format && f.name == name).map(|f| f.rule)
}

/// Writes the members of [`Ext`] under `parent` for a target of the client's own format: nobody
/// here needs to understand it. The caller has checked the format, and writes no such member
/// itself.
pub(crate) fn write_ext(request: &Request<'_>, parent: &str, native: bool, o: &mut write::Object<'_>) {
    for extra in request.ext.fields.iter().filter(|extra| extra.parent == parent && !extra.raw.is_null()) {
        let keeps = match rule(request.from, &extra.path()) {
            // The transport's, or of no use to anybody; and values that could not be read.
            Some(Rule::Silent | Rule::Home(_)) => false,
            // Vendors get it from `settle`.
            Some(Rule::Moderation) => !native,
            _ => true,
        };
        if keeps {
            o.value(&extra.name.unescape(), extra.raw);
        }
    }
}

/// Returns whether [`write_ext`] has something to write under `parent`.
pub(crate) fn has_ext(request: &Request<'_>, parent: &str, to: Format) -> bool {
    request.from == to && request.ext.fields.iter().any(|extra| extra.parent == parent && !extra.raw.is_null())
}

/// The top-level fields of a body that have a home; of duplicates the last.
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, RawValue<'a>)>);

impl<'a> Fields<'a> {
    /// Sorts the members of the body: those without a home go to `ext`. There are as many homes as
    /// rows of the table, whatever the client sends.
    pub(crate) fn of(format: Format, body: RawValue<'a>, ext: &mut Ext<'a>) -> Fields<'a> {
        let mut homes: Vec<(Cow<'a, str>, RawValue<'a>)> = Vec::new();
        for (key, value, _) in body.members() {
            let name = key.unescape();
            if !matches!(rule(format, &name), Some(Rule::Home(_))) {
                ext.push(key, value);
                continue;
            }
            match homes.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => homes.push((name, value)),
            }
        }
        Fields(homes)
    }

    /// Returns a field. `None` if it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<RawValue<'a>> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        reader::some(*value)
    }

    /// Returns a field that must be there.
    pub(crate) fn need(&self, name: &str) -> Result<RawValue<'a>, Error> {
        self.get(name).ok_or_else(|| Error::client(Kind::InvalidRequest, format!("`{name}` is required")).param(name))
    }

    /// Returns a field read by one of the helpers of [`reader`].
    pub(crate) fn with<T>(
        &self,
        name: &str,
        read: impl FnOnce(RawValue<'a>, &Path<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.get(name).map(|value| read(value, &Path::root(name))).transpose()
    }

    /// Returns a field that must be a string, if it is there.
    pub(crate) fn text(&self, name: &str) -> Result<Option<Text<'a>>, Error> {
        Ok(self.with(name, reader::string)?.map(Text::from))
    }
}

/// Applies the rules of the table to the members of [`Ext`], on the way to `to`. To the client's
/// own format everything goes as it is ([`write_ext`]).
pub(crate) fn settle_ext(request: &Request<'_>, to: Format, ledger: &mut Ledger) -> Result<(), Error> {
    if request.from == to {
        return Ok(());
    }
    for extra in request.ext.fields.iter().filter(|extra| !extra.raw.is_null()) {
        let (name, raw) = (extra.path(), extra.raw);
        match rule(request.from, &name) {
            None | Some(Rule::Drop(Loss::Unknown)) => ledger.unknown(&name)?,
            Some(Rule::Drop(loss)) => ledger.drop(loss)?,
            // A home in the table and yet here: a value that the decoder could not use.
            Some(Rule::Silent | Rule::Home(_)) => {}
            Some(Rule::Refuse) if is_nothing(raw) => {}
            Some(Rule::Refuse) => {
                let why = format!(
                    "it exists in the format {} only; leave it out, or use a provider of that format",
                    request.from.title()
                );
                return Err(reader::unsupported_parameter(&name, &format!("`{name}`"), &why));
            }
            Some(Rule::Modalities) => {
                if raw.elements().any(|(kind, _)| kind.as_str().is_none_or(|kind| !kind.eq_str("text"))) {
                    let why =
                        "its format has text alone; leave the other kinds out, or use a provider of Chat Completions";
                    return Err(reader::unsupported_parameter(&name, "an output other than text", why));
                }
            }
            Some(Rule::Moderation) => moderation(raw, to, ledger)?,
        }
    }
    Ok(())
}

fn moderation(raw: RawValue<'_>, to: Format, ledger: &mut Ledger) -> Result<(), Error> {
    if to.profile().request.has_moderation {
        return Ok(());
    }
    let blocks = raw.find("policy").is_some_and(|policy| {
        let is_block = |value: RawValue<'_>| {
            value.find("mode").is_some_and(|mode| mode.as_str().is_some_and(|mode| mode.eq_str("block")))
        };
        is_block(policy) || policy.members().any(|(_, value, _)| is_block(value))
    });
    if blocks {
        let why = "Messages has no moderation; check the input with `/v1/moderations` before";
        return Err(reader::unsupported_parameter(&"moderation.policy", "a moderation policy that blocks", why));
    }
    ledger.drop(Loss::Moderation)
}

fn is_nothing(raw: RawValue<'_>) -> bool {
    matches!(raw.bytes(), b"false" | b"null" | b"{}" | b"[]" | b"\"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the vendors' parameter types, typed here from their SDKs and not from the table
    /// above.
    #[test]
    fn every_parameter_has_a_rule() {
        let chat = "messages model audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens \
            max_tokens metadata modalities moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key \
            prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier \
            stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options";
        let messages = "max_tokens messages model cache_control container inference_geo metadata output_config service_tier \
            stop_sequences stream system temperature thinking tool_choice tools top_k top_p context_management mcp_servers \
            output_format speed fallbacks user_profile_id diagnostics fallback_credit_token betas";
        let responses = "background context_management conversation include input instructions max_output_tokens \
            max_tool_calls metadata model moderation parallel_tool_calls previous_response_id prompt prompt_cache_key \
            prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options \
            temperature text tool_choice tools top_logprobs top_p truncation user";
        for (format, names) in [(Format::Chat, chat), (Format::Messages, messages), (Format::Responses, responses)] {
            for name in names.split_whitespace() {
                assert!(rule(format, name).is_some(), "{format} `{name}` has no rule");
            }
        }
        let mut seen = std::collections::HashSet::new();
        for field in FIELDS {
            assert!(seen.insert((field.format, field.name)), "{} `{}` appears twice", field.format, field.name);
        }
    }

    fn settled(from: Format, to: Format, body: &str) -> Result<Option<String>, Error> {
        let mut request = Request::new(from);
        RawValue::new(body.as_bytes()).members().for_each(|(key, raw, _)| request.ext.push(key, raw));
        let mut ledger = Ledger::new(false);
        settle_ext(&request, to, &mut ledger)?;
        Ok(ledger.dropped_header())
    }

    #[test]
    fn rules() {
        use Format::{Chat, Messages, Responses};
        let rows = [
            (Chat, Messages, r#"{"prediction":{},"novel":1}"#, Some("prediction;dropped, unknown:novel;dropped")),
            (Chat, Messages, r#"{"modalities":["text"],"audio":null}"#, None),
            (Chat, Messages, r#"{"moderation":{"model":"m"}}"#, Some("moderation;dropped")),
            (Chat, Responses, r#"{"moderation":{"policy":{"input":{"mode":"block"}}}}"#, None),
            (Messages, Chat, r#"{"speed":"fast","container":null}"#, Some("speed;dropped")),
        ];
        for (from, to, body, header) in rows {
            assert_eq!(settled(from, to, body).unwrap().as_deref(), header, "{body}");
        }
        let refused = [
            (Chat, Messages, r#"{"modalities":["text","audio"]}"#, "modalities"),
            (Chat, Responses, r#"{"audio":{"voice":"x"}}"#, "audio"),
            (Chat, Messages, r#"{"moderation":{"policy":{"input":{"mode":"block"}}}}"#, "moderation.policy"),
            (Messages, Chat, r#"{"container":{"id":"c"}}"#, "container"),
        ];
        for (from, to, body, param) in refused {
            assert_eq!(settled(from, to, body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
