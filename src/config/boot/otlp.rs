//! Settings of traces, under the names that OpenTelemetry gives them.

use std::borrow::Cow;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::config::secret::Secret;

/// The collector that spans are sent to by OTLP over HTTP, and the requests that have spans.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    pub disabled: bool,
    /// Base of a collector; the path of traces is added.
    pub endpoint: Option<String>,
    /// The whole address for traces, which goes before `endpoint`.
    pub traces_endpoint: Option<String>,
    pub protocol: Protocol,
    /// Sent with each batch.
    pub headers: Vec<(String, Secret)>,
    /// The longest time for one batch, from the connect to the response.
    pub timeout: Duration,
    /// How long a span waits for others of its batch.
    pub delay: Duration,
    pub service_name: Option<String>,
    /// Other attributes of this process.
    pub resource: Vec<(String, String)>,
    pub sampler: Sampler,
    /// Share of the requests, for samplers that take one.
    pub sampler_arg: f64,
}

impl Default for Otlp {
    fn default() -> Otlp {
        Otlp {
            disabled: false,
            endpoint: None,
            traces_endpoint: None,
            protocol: Protocol,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            delay: Duration::from_secs(5),
            service_name: None,
            resource: Vec::new(),
            sampler: Sampler { parent_based: true, root: Root::On },
            sampler_arg: 1.0,
        }
    }
}

impl Otlp {
    /// Spans are made at all.
    pub fn is_on(&self) -> bool {
        !self.disabled && (self.endpoint.is_some() || self.traces_endpoint.is_some())
    }

    /// Returns the address that batches are sent to; `None` if none is set.
    pub fn url(&self) -> Option<String> {
        let whole = self.traces_endpoint.clone();
        let url = whole.or_else(|| self.endpoint.as_ref().map(|base| format!("{base}/v1/traces")));
        url.filter(|_| !self.disabled)
    }

    /// Returns whether a request of this trace is recorded. `parent` is the client's decision:
    /// `None` without a client that traces.
    pub fn samples(&self, trace: u128, parent: Option<bool>) -> bool {
        if let (true, Some(sampled)) = (self.sampler.parent_based, parent) {
            return sampled;
        }
        match self.sampler.root {
            Root::On => true,
            Root::Off => false,
            // Every OpenTelemetry SDK decides so, and all services of a trace must agree.
            Root::Ratio => trace as u64 >> 1 < (self.sampler_arg * (1_u64 << 63) as f64) as u64,
        }
    }
}

/// Protobuf over HTTP, the one that this version speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol;

/// Which traces are exported, as `OTEL_TRACES_SAMPLER` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    /// The client's decision goes before `root`.
    pub parent_based: bool,
    pub root: Root,
}

/// The decision for a trace that begins here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    On,
    Off,
    /// A share of the traces.
    Ratio,
}

pub(super) fn sampler(text: &str) -> Result<Sampler, String> {
    let (parent_based, root) = match text.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, text),
    };
    let root = match root {
        "always_on" => Root::On,
        "always_off" => Root::Off,
        "traceidratio" => Root::Ratio,
        _ => return Err("always_on, always_off or traceidratio, or one of them behind `parentbased_`".to_owned()),
    };
    Ok(Sampler { parent_based, root })
}

pub(super) fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "http/protobuf" => Ok(Protocol),
        _ => Err("http/protobuf, which collectors take on port 4318; no other is spoken".to_owned()),
    }
}

/// Reads milliseconds.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let ms = text.parse().ok().filter(|ms| (1..=3_600_000).contains(ms));
    ms.map(Duration::from_millis).ok_or_else(|| "milliseconds from 1 to 3600000".to_owned())
}

/// `key=value,key=value`, where values may hold `%20` and similar escapes.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let wanted = || "key=value pairs with commas between".to_owned();
    let pair = |item: &str| {
        let (key, value) = item.split_once('=').ok_or_else(wanted)?;
        let (key, value) = (unescape(key.trim()).ok_or_else(wanted)?, unescape(value.trim()).ok_or_else(wanted)?);
        if key.is_empty() { Err(wanted()) } else { Ok((key, value)) }
    };
    text.split(',').filter(|item| !item.trim().is_empty()).map(pair).collect()
}

pub(super) fn headers(text: &str) -> Result<Vec<(String, Secret)>, String> {
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let is_value = |value: &str| value.bytes().all(|b| (b' '..=b'~').contains(&b));
    let pairs = pairs(text)?;
    if !pairs.iter().all(|(name, value)| is_name(name) && is_value(value)) {
        return Err("name=value pairs with commas between, each of which makes a header".to_owned());
    }
    Ok(pairs.into_iter().map(|(name, value)| (name, value.into())).collect())
}

/// Decodes percent-encoding; `None` if a `%` begins no escape or the bytes are no UTF-8.
fn unescape(text: &str) -> Option<String> {
    let is_escape = |rest: &str| rest.as_bytes().get(..2).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
    let is_valid = text.split('%').skip(1).all(is_escape);
    is_valid.then(|| percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let base = Otlp { endpoint: Some("http://a:4318".to_owned()), ..Otlp::default() };
        assert_eq!(base.url().as_deref(), Some("http://a:4318/v1/traces"));
        let whole = Otlp { traces_endpoint: Some("http://b/in".to_owned()), ..base.clone() };
        assert_eq!(whole.url().as_deref(), Some("http://b/in"));
        let off = Otlp { disabled: true, ..base };
        assert!(off.url().is_none() && !off.is_on());
        assert!(Otlp::default().url().is_none());
    }

    #[test]
    fn samplers() {
        let otlp = |name: &str, arg| Otlp { sampler: sampler(name).unwrap(), sampler_arg: arg, ..Otlp::default() };
        let low = 5_u128;
        let high = u128::from(u64::MAX);
        let rows = [
            ("always_on", 1.0, high, Some(false), true),
            ("always_off", 1.0, low, Some(true), false),
            ("parentbased_always_on", 1.0, low, Some(false), false),
            ("parentbased_always_on", 1.0, low, None, true),
            ("parentbased_always_off", 1.0, low, Some(true), true),
            ("parentbased_always_off", 1.0, low, None, false),
            ("traceidratio", 0.5, low, Some(false), true),
            ("traceidratio", 0.5, high, Some(true), false),
            ("traceidratio", 0.0, low, None, false),
            ("traceidratio", 0.0, 0, None, false),
            ("traceidratio", 1.0, high - 1, None, true),
            ("parentbased_traceidratio", 0.5, high, Some(true), true),
            ("parentbased_traceidratio", 0.5, high, None, false),
        ];
        for (name, arg, trace, parent, expected) in rows {
            assert_eq!(otlp(name, arg).samples(trace, parent), expected, "{name} {arg} {trace} {parent:?}");
        }
        assert!(sampler("jaeger_remote").is_err());
    }

    #[test]
    fn pairs_of_a_variable() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs("a=b, c=d%20e%2C,").unwrap(), [pair("a", "b"), pair("c", "d e,")]);
        assert_eq!(pairs("").unwrap(), []);
        assert_eq!(pairs("a=b=c").unwrap(), [pair("a", "b=c")]);
        for bad in ["a", "=b", "a=%", "a=%zz", "a=%ff"] {
            assert!(pairs(bad).is_err(), "{bad}");
        }
        assert!(headers("authorization=Basic%20eDp5").is_ok());
        assert!(headers("a b=c").is_err() && headers("a=b%0d%0ac").is_err());
    }
}
