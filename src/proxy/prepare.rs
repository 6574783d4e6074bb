//! The request as one provider gets it: where it goes, its head, its body.

use std::rc::Rc;

use super::core::View;
use super::endpoint::Relay;
use super::headers;
use super::request::Exchange;
use crate::config::snapshot::{BaseUrl, Provider};
use crate::error::{Error, Kind};
use crate::net::http::write;
use crate::route::pick::Candidate;
use crate::wire::Format;
use crate::wire::splice::{self, Splice};

/// Bodies up to this size travel in one write with the head; larger ones are not copied for it.
const JOINED_BODY: usize = 16 << 10;

/// A request ready to be written.
pub struct Prepared {
    /// The head, and the body if it is small.
    pub first: Rc<Vec<u8>>,
    /// The body, if it is not in `first`.
    pub rest: Option<Rc<Vec<u8>>>,
    /// The model name sent, if it differs from the name asked for: the answer's name must be put back then.
    pub renamed: bool,
}

/// Makes the request for `candidate` out of the client's, byte for byte save the model name.
pub fn bypass(x: &Exchange<'_>, view: &View, candidate: &Candidate) -> Result<Prepared, Error> {
    let provider = view.provider(candidate.provider);
    let upstream_model = candidate.upstream_model.as_deref().unwrap_or(&x.model.stripped);
    let renamed = upstream_model != x.model.asked;
    let body = if renamed {
        let mut edited = Vec::new();
        let mut splice = Splice::new();
        splice.replace(x.model.value.clone(), splice::quoted(upstream_model));
        splice.apply(x.body(), &mut edited);
        Some(edited)
    } else {
        None
    };
    let length = body.as_ref().map_or(x.body().len(), Vec::len);
    let mut first = Vec::with_capacity(1024 + if length <= JOINED_BODY { length } else { 0 });
    head(&mut first, x, provider, candidate.format, length)?;
    let rest = match body {
        _ if length <= JOINED_BODY => {
            first.extend_from_slice(body.as_deref().unwrap_or(x.body()));
            None
        }
        Some(edited) => Some(Rc::new(edited)),
        None => Some(x.shared_body()),
    };
    Ok(Prepared { first: Rc::new(first), rest, renamed })
}

fn head(out: &mut Vec<u8>, x: &Exchange<'_>, provider: &Provider, format: Format, length: usize) -> Result<(), Error> {
    let mut target = Vec::with_capacity(128);
    join(&mut target, &provider.base, &x.relay, x.query());
    let bad = |_| {
        let note = format!("provider `{}`: its api_base makes a URL that can't be sent", provider.key);
        Error::gateway(Kind::Internal, note)
    };
    write::request_line(out, "POST", &target).map_err(bad)?;
    write::header(out, "host", provider.base.authority.as_bytes()).map_err(bad)?;
    let at = provider.formats.iter().position(|f| *f == format).unwrap_or(0);
    if let Some(lines) = provider.auth.get(at) {
        out.extend_from_slice(lines);
    }
    let own = |name: &[u8]| provider.own_header_names.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
    let mut seen = Seen::default();
    for (name, value) in x.head.fields(x.bytes()) {
        if headers::to_upstream(name) && !own(name) {
            seen.note(name);
            // Name and value passed the parser, which refuses what these writers would refuse.
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
    if !seen.content_type && !own(b"content-type") {
        write::static_header(out, "content-type", "application/json");
    }
    if !seen.user_agent && !own(b"user-agent") {
        write::static_header(out, "user-agent", concat!("llm-proxy/", env!("CARGO_PKG_VERSION")));
    }
    if format == Format::Messages && !seen.anthropic_version && !own(b"anthropic-version") {
        write::static_header(out, "anthropic-version", "2023-06-01");
    }
    write::static_header(out, "accept-encoding", "identity");
    let _ = write::header(out, "x-request-id", x.ticket.request_id().as_bytes());
    write::content_length(out, length as u64);
    out.extend_from_slice(&provider.extra_headers);
    write::end_head(out);
    Ok(())
}

#[derive(Default)]
struct Seen {
    content_type: bool,
    user_agent: bool,
    anthropic_version: bool,
}

impl Seen {
    fn note(&mut self, name: &[u8]) {
        self.content_type |= name.eq_ignore_ascii_case(b"content-type");
        self.user_agent |= name.eq_ignore_ascii_case(b"user-agent");
        self.anthropic_version |= name.eq_ignore_ascii_case(b"anthropic-version");
    }
}

/// The request target at a provider: the base's path, a version segment where Anthropic's bases leave it out, the endpoint, the query.
fn join(out: &mut Vec<u8>, base: &BaseUrl, relay: &Relay, query: Option<&[u8]>) {
    out.extend_from_slice(base.path.as_bytes());
    if relay.format == Format::Messages && !ends_in_version(&base.path) {
        out.extend_from_slice(b"/v1");
    }
    out.extend_from_slice(relay.upstream.as_bytes());
    let parts = [base.query.as_bytes(), query.unwrap_or_default()];
    for (mark, part) in [b'?', b'&'].into_iter().zip(parts.into_iter().filter(|part| !part.is_empty())) {
        out.push(mark);
        out.extend_from_slice(part);
    }
}

/// Whether the last segment is `v1`, `v2`, `v1beta`...
fn ends_in_version(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    let mut letters = last.bytes();
    letters.next() == Some(b'v')
        && letters.next().is_some_and(|b| b.is_ascii_digit())
        && letters.all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::endpoint::{self, Endpoint};

    fn joined(path: &str, base_query: &str, endpoint: &str, query: Option<&str>) -> String {
        let base = BaseUrl {
            tls: true,
            host: "h".into(),
            port: 443,
            authority: "h".into(),
            path: path.into(),
            query: base_query.into(),
        };
        let Endpoint::Relay(relay) = endpoint::find(endpoint) else { panic!("{endpoint}") };
        let mut out = Vec::new();
        join(&mut out, &base, &relay, query.map(str::as_bytes));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn joins() {
        // (path of api_base without trailing slashes, client's path, target)
        let rows = [
            ("/v1", "/v1/chat/completions", "/v1/chat/completions"),
            ("/v1", "/v2/chat/completions", "/v1/chat/completions"),
            ("", "/v1/chat/completions", "/chat/completions"),
            ("/api/v1", "/v1/embeddings", "/api/v1/embeddings"),
            ("/v1beta/openai", "/chat/completions", "/v1beta/openai/chat/completions"),
            ("/v1", "/v1/completions", "/v1/completions"),
            ("/v1", "/v1/responses", "/v1/responses"),
            ("", "/v1/messages", "/v1/messages"),
            ("/v1", "/v1/messages", "/v1/messages"),
            ("/v2", "/v1/messages", "/v2/messages"),
            ("/anthropic", "/v2/v1/messages", "/anthropic/v1/messages"),
            ("/anthropic/v1beta2", "/messages", "/anthropic/v1beta2/messages"),
            ("/vault", "/v1/messages", "/vault/v1/messages"),
            ("", "/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ];
        for (base, client, target) in rows {
            assert_eq!(joined(base, "", client, None), target, "{base} {client}");
        }
        assert_eq!(joined("", "", "/v1/messages", Some("beta=true")), "/v1/messages?beta=true");
        assert_eq!(joined("/v1", "api-version=1", "/v1/responses", None), "/v1/responses?api-version=1");
        assert_eq!(joined("/v1", "a=1", "/v1/responses", Some("b=2")), "/v1/responses?a=1&b=2");
    }
}
