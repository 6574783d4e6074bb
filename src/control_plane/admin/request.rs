//! A request as a handler sees it, and its response.

use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::control_plane::admin::body::{Body, Fields};
pub(crate) use crate::control_plane::admin::refusal::Refusal;
use crate::control_plane::store::IdempotencyKey;
use crate::rfc3339;
use crate::shared::admin::{Request, Response};
use sha2::{Digest, Sha256};

/// A request with a known route.
pub(crate) struct AdminRequest {
    pub(crate) request: Request,
    /// The number in the path, or 0 without one.
    pub(crate) id: i64,
}

/// The result of a handler.
pub(crate) type Outcome = Result<Response, Refusal>;

impl AdminRequest {
    /// Reads the body. The refusal names all of its fields that are not valid.
    pub(crate) fn body<B: Body>(&self) -> Result<B, Refusal> {
        let mut fields = Fields::parse(&self.request.body)?;
        let body = B::read(&mut fields);
        fields.finish(body)
    }

    /// Returns the versions that `If-Match` allows. `None` is any.
    pub(crate) fn if_match(&self) -> Result<Option<Vec<i64>>, Refusal> {
        let Some(text) = self.request.if_match.as_deref().map(str::trim).filter(|text| *text != "*") else {
            return Ok(None);
        };
        let version = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').parse::<i64>().ok();
        // A tag in another form matches nothing.
        Ok(Some(text.split(',').filter_map(version).collect()))
    }

    /// Refuses the request if `If-Match` does not allow the row's version.
    pub(crate) fn check_version(&self, what: &str, version: i64) -> Result<(), Refusal> {
        match self.if_match()? {
            Some(allowed) if !allowed.contains(&version) => {
                let message = format!(
                    "{what} {} has version {version}, which is not the one in If-Match; read it again and repeat the change",
                    self.id
                );
                Err(Refusal::new(412, "precondition_failed", message))
            }
            _ => Ok(()),
        }
    }

    /// Returns the idempotency key of a change that must not happen twice. It is kept as a hash,
    /// together with what it was used for.
    pub(crate) fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Refusal> {
        let Some(key) = &self.request.idempotency_key else { return Ok(None) };
        if key.is_empty() || key.len() > 255 {
            let message = "Idempotency-Key must have 1 to 255 characters";
            return Err(Refusal::invalid(message, Some("Idempotency-Key".to_owned())));
        }
        let hash = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
        let place = format!("{} {} ", self.request.method, self.request.path);
        Ok(Some(IdempotencyKey { key: hash((place + key).as_bytes()), fingerprint: hash(&self.request.body) }))
    }

    /// Returns the value of a query parameter. An empty one counts as none.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let pairs = self.request.query.split('&').filter_map(|part| part.split_once('='));
        pairs.into_iter().find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| decode(value))
    }

    /// Returns a number of the query. A refusal says that it must be from `least` to `most`.
    pub(crate) fn number(&self, name: &'static str, least: i64, most: i64) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.query(name) else { return Ok(None) };
        let refusal =
            || Refusal::invalid(format!("{name} must be a whole number from {least} to {most}"), Some(name.into()));
        text.parse().ok().filter(|n| (least..=most).contains(n)).map(Some).ok_or_else(refusal)
    }

    /// Returns a boolean of the query.
    pub(crate) fn flag(&self, name: &'static str) -> Result<Option<bool>, Refusal> {
        match self.query(name).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(Refusal::invalid(format!("{name} must be true or false"), Some(name.into()))),
        }
    }

    /// Returns a word of the query, which must be one of `choices`.
    pub(crate) fn choice(
        &self,
        name: &'static str,
        choices: &'static [&'static str],
    ) -> Result<Option<&'static str>, Refusal> {
        let Some(text) = self.query(name) else { return Ok(None) };
        let refusal = || Refusal::invalid(format!("{name} must be one of {}", choices.join(", ")), Some(name.into()));
        choices.iter().find(|choice| **choice == text).map(|choice| Some(*choice)).ok_or_else(refusal)
    }

    /// Returns a time in seconds since 1970. Without a zone it is UTC. Without seconds, as a
    /// field of a browser sends it, it is the whole minute.
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.query(name) else { return Ok(None) };
        // A `+` that was not escaped arrives as a space.
        let zone = text.get(11..).map(|rest| format!("{}{}", &text[..11], rest.replace(' ', "+")));
        let found = rfc3339::parse(&text).or_else(|| rfc3339::parse(&format!("{text}Z")));
        let found = found.or_else(|| rfc3339::parse(&zone?)).or_else(|| rfc3339::parse(&format!("{text}:00Z")));
        let refusal = || Refusal::invalid(format!("{name} must be a time, as 2030-01-31T00:00:00Z"), Some(name.into()));
        found.map(Some).ok_or_else(refusal)
    }
}

/// Decodes percent-encoding and `+` for a space. A `%` that begins no escape stays, and invalid
/// UTF-8 becomes U+FFFD.
fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Returns a response with a JSON body.
pub(crate) fn json(status: u16, body: &impl Serialize) -> Outcome {
    match serde_json::to_vec(body) {
        Ok(body) => Ok(Response { status, body, ..Response::default() }),
        Err(error) => Err(Refusal::new(500, "internal_error", format!("the answer can't be written: {error}"))),
    }
}

/// Returns a response without a body: 204.
pub(crate) fn empty() -> Outcome {
    Ok(Response { status: 204, ..Response::default() })
}

/// Adds the version of the row to a response.
pub(crate) fn tagged(mut answer: Response, version: i64) -> Response {
    answer.fields.push(("etag", format!("\"{version}\"")));
    answer
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::IpAddr;

    use super::*;

    pub(crate) fn test_request(query: &str, if_match: Option<&str>) -> AdminRequest {
        let request = Request {
            area: crate::shared::admin::Area::Api,
            role: crate::shared::admin::Role::Operator,
            session: None,
            host: None,
            method: "GET",
            path: "/x".into(),
            query: query.into(),
            accept: None,
            if_match: if_match.map(str::to_owned),
            idempotency_key: None,
            body: Vec::new(),
            peer: IpAddr::from([127, 0, 0, 1]),
            request_id: "r".into(),
        };
        AdminRequest { request, id: 1 }
    }

    #[test]
    fn preconditions() {
        let rows = [
            (None, true),
            (Some("*"), true),
            (Some("\"7\""), true),
            (Some("W/\"7\""), true),
            (Some("7"), true),
            (Some("\"6\", \"7\""), true),
            (Some("\"6\""), false),
            (Some("nonsense"), false),
            (Some(""), false),
        ];
        for (text, allowed) in rows {
            assert_eq!(test_request("", text).check_version("provider", 7).is_ok(), allowed, "{text:?}");
        }
    }

    #[test]
    fn queries() {
        let req = test_request("a=1+2%2B&b=&n=5&m=x%ff", None);
        assert_eq!((req.query("a"), req.query("b"), req.query("c")), (Some("1 2+".to_owned()), None, None));
        assert_eq!(req.number("n", 1, 9).unwrap(), Some(5));
        assert!(req.number("n", 6, 9).is_err() && req.number("m", 1, 9).is_err());
        assert_eq!(req.number("b", 1, 9).unwrap(), None);
    }

    #[test]
    fn flags_choices_and_moments() {
        let req = test_request(
            "f=true&c=asc&t=1970-01-01T00:01:00&u=1970-01-01T01:00:00.5+01:00&v=1970-01-01T01:00:00%2B01:00&d=1970-01-02&m=1970-01-01T00:02",
            None,
        );
        assert_eq!((req.flag("f").unwrap(), req.flag("none").unwrap()), (Some(true), None));
        assert!(req.flag("c").is_err() && req.choice("f", &["asc"]).is_err() && req.time("c").is_err());
        assert_eq!(req.choice("c", &["desc", "asc"]).unwrap(), Some("asc"));
        let moments = ["t", "u", "v", "d", "m"].map(|name| req.time(name).unwrap());
        assert_eq!(moments, [Some(60), Some(0), Some(0), Some(86_400), Some(120)]);
    }
}
