//! Values of the command line that describe a provider.

use std::io::{self, Read};

use crate::cli::failure::Failure;
use crate::cli::print;

/// Reads `MODEL=UPSTREAM_MODEL`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((model, upstream)) if !model.is_empty() && !upstream.is_empty() => {
            Ok((model.to_owned(), upstream.to_owned()))
        }
        _ => Err("write it as MODEL=UPSTREAM_MODEL".to_owned()),
    }
}

/// Returns the key as it was given; for `-` it is read from stdin. An empty one is warned of: a
/// shell makes it of a variable that is not set.
pub fn given_key(text: String) -> Result<String, Failure> {
    /// The most bytes that are read for a key.
    const MAX_KEY: u64 = 64 << 10;
    if text.trim().is_empty() {
        let message = "the API key is empty, and so none is sent; if a variable was meant, it is not set in this shell";
        print::note("warning", message);
    }
    if text != "-" {
        return Ok(text);
    }
    let mut text = String::new();
    match io::stdin().take(MAX_KEY).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => Err(Failure::failed("there is no key on stdin")),
        Err(error) => Err(Failure::failed(format!("the key cannot be read from stdin: {error}"))),
    }
}

/// Writes a mapping as JSON in the order of `pairs`, in which its patterns are tried.
pub(super) fn mapping_json<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let pairs: Vec<_> = pairs.map(|(model, upstream)| json(model) + ":" + &json(upstream)).collect();
    format!("{{{}}}", pairs.join(","))
}
