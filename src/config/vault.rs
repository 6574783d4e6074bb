//! Providers' keys at rest: AES-256-GCM under a key made of `SECRET_KEY`.
//!
//! A sealed value is `enc:v1:KEYID:BASE64`, the bytes being a random nonce, then the ciphertext
//! with its tag. The id names the key that sealed it, so that two may be in use while one
//! replaces the other: `SECRET_KEY` seals, `SECRET_KEY_PREVIOUS` still opens. Values without that
//! beginning are plain, and are used as they are.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};

/// How a sealed value begins.
const MARK: &str = "enc:v1:";
/// Fewer characters than this can't hold a secret of 128 bits.
pub const SHORTEST: usize = 32;

/// The variables, in the order in which they are looked at.
const VARIABLES: [&str; 2] = ["SECRET_KEY", "SECRET_KEY_PREVIOUS"];

/// Reads a variable of the environment.
type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A key made of a variable's text, and the id that distinguishes it from others.
struct Key {
    key: LessSafeKey,
    id: String,
}

impl Key {
    fn of(secret: &str) -> Option<Key> {
        let secret = secret.trim();
        if secret.len() < SHORTEST {
            return None;
        }
        let part = |purpose: &str| Sha256::new().chain_update(purpose).chain_update(secret).finalize();
        let key = UnboundKey::new(&AES_256_GCM, &part("llm-proxy provider keys 1:")).ok()?;
        Some(Key { key: LessSafeKey::new(key), id: hex::encode(&part("llm-proxy key id 1:")[..4]) })
    }
}

/// Returns whether a stored key is encrypted.
pub fn is_sealed(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Returns whether `text` should be encrypted again: it is plain or under an older key, and there
/// is a `SECRET_KEY`.
pub fn is_due(text: &str, env: &Env<'_>) -> bool {
    let Some(key) = env(VARIABLES[0]).and_then(|secret| Key::of(&secret)) else { return false };
    !is_open(text) && !text.strip_prefix(MARK).is_some_and(|rest| rest.starts_with(&format!("{}:", key.id)))
}

/// What is no secret: nothing, and the name of a variable or of a file.
fn is_open(text: &str) -> bool {
    text.trim().is_empty() || ["env:", "file:"].iter().any(|form| text.trim().starts_with(form))
}

/// Seals `text` if there is a `SECRET_KEY` and it holds a secret; else gives it as it is.
pub fn seal(text: &str, env: &Env<'_>) -> Result<String, String> {
    let Some(secret) = env(VARIABLES[0]).filter(|_| !is_open(text) && !is_sealed(text)) else {
        return Ok(text.to_owned());
    };
    let Some(key) = Key::of(&secret) else {
        return Err(format!("SECRET_KEY has fewer than {SHORTEST} characters; make one with `openssl rand -hex 32`"));
    };
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|error| format!("the random source of the system can't be read: {error}"))?;
    let mut bytes = text.trim().as_bytes().to_vec();
    let sealed = key.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes);
    sealed.map_err(|_| "the provider's key can't be encrypted".to_owned())?;
    Ok(format!("{MARK}{}:{}", key.id, BASE64_STANDARD_NO_PAD.encode([&nonce[..], &bytes].concat())))
}

/// Returns the plain text of `text`, which may be encrypted or not. The error states the fault of
/// `name`, the column or file that `text` is from.
pub fn open(name: &str, text: &str, env: &Env<'_>) -> Result<String, String> {
    let Some(rest) = text.trim().strip_prefix(MARK) else { return Ok(text.to_owned()) };
    let damaged = || format!("{name} is encrypted, and damaged; set it again");
    let (id, bytes) = rest.split_once(':').ok_or_else(damaged)?;
    let mut bytes = BASE64_STANDARD_NO_PAD.decode(bytes).map_err(|_| damaged())?;
    let keys = VARIABLES.iter().filter_map(|name| env(name)).filter_map(|secret| Key::of(&secret));
    let Some(key) = keys.into_iter().find(|key| key.id == id) else {
        return Err(format!(
            "{name} is encrypted with the key {id}, which is neither SECRET_KEY nor SECRET_KEY_PREVIOUS here; set that key, or set {name} again"
        ));
    };
    let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).ok_or_else(damaged)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
    let plain = key.key.open_in_place(nonce, Aad::empty(), sealed).map_err(|_| damaged())?;
    String::from_utf8(plain.to_vec()).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef0123456789abcdef";
    const TWO: &str = "another-key-of-thirty-two-letters";

    fn env(now: &'static str, before: &'static str) -> impl Fn(&str) -> Option<String> {
        move |name| match name {
            "SECRET_KEY" => Some(now).filter(|key| !key.is_empty()).map(str::to_owned),
            "SECRET_KEY_PREVIOUS" => Some(before).filter(|key| !key.is_empty()).map(str::to_owned),
            _ => None,
        }
    }

    #[test]
    fn sealed_and_opened() {
        let sealed = seal(" sk-secret ", &env(ONE, "")).unwrap();
        assert!(is_sealed(&sealed) && !sealed.contains("secret"), "{sealed}");
        assert_ne!(seal("sk-secret", &env(ONE, "")).unwrap(), sealed, "a nonce of its own");
        assert_eq!(open("api_key", &sealed, &env(ONE, "")).unwrap(), "sk-secret");
        assert_eq!(open("api_key", &sealed, &env(TWO, ONE)).unwrap(), "sk-secret");
        assert!(
            open("api_key", &sealed, &env(TWO, "")).unwrap_err().contains("neither SECRET_KEY nor SECRET_KEY_PREVIOUS")
        );
        assert!(is_due(&sealed, &env(TWO, ONE)) && !is_due(&sealed, &env(ONE, TWO)) && !is_due(&sealed, &env("", "")));
        assert!(is_due("sk-plain", &env(ONE, "")));
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        for (text, key) in [("env:NAME", ONE), ("", ONE), ("sk-plain", "")] {
            assert_eq!(seal(text, &env(key, "")).unwrap(), text);
            assert_eq!(open("api_key", text, &env(key, "")).unwrap(), text);
            assert!(!is_due(text, &env(key, "")));
        }
        assert!(seal("sk", &env("short", "")).unwrap_err().contains("fewer than 32 characters"));
    }

    #[test]
    fn no_changed_byte_passes() {
        let sealed = seal("sk-secret", &env(ONE, "")).unwrap();
        let start = sealed.rfind(':').unwrap() + 1;
        for at in start..sealed.len() - 1 {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(open("api_key", &String::from_utf8(bytes).unwrap(), &env(ONE, "")).is_err(), "byte {at}");
        }
        for text in ["enc:v1:", "enc:v1:00:", &sealed[..start], &sealed[..start + 8], "enc:v1:00:%%"] {
            assert!(open("api_key", text, &env(ONE, "")).is_err(), "{text}");
        }
    }
}
