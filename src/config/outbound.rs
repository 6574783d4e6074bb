//! How a provider is reached: through which proxy, and with which certificates.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::base_url::BaseUrl;
use super::env::Env;
use super::link_local;
use super::networks::Networks;
use super::ordered;
use super::setting_value;
use super::tunnel::Proxy;
use crate::tls::{self, ClientTls};

/// How a provider is reached. The default is directly, with the trusted certificates of the
/// process.
#[derive(Debug, Clone, Default)]
pub struct Outbound {
    pub proxy: Option<Arc<Proxy>>,
    pub tls: Option<Arc<ClientTls>>,
}

impl Outbound {
    /// Returns the hosts whose addresses are needed: that of the proxy, if there is one, and that
    /// of the provider unless the proxy resolves it.
    pub fn hosts<'a>(&'a self, base: &'a BaseUrl) -> impl Iterator<Item = &'a str> {
        let provider = self.proxy.as_ref().is_none_or(|proxy| !proxy.resolves_names()).then_some(&*base.host);
        self.proxy.as_ref().map(|proxy| &*proxy.host).into_iter().chain(provider)
    }
}

/// Returns the proxy of a provider: what `written` (`provider_params.proxy`) says, else what the
/// variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say of its address.
pub fn proxy(written: Option<&str>, base: &BaseUrl, env: &Env<'_>) -> Result<Option<Arc<Proxy>>, String> {
    let of_provider = |text: &str| parse(text, env).map_err(|why| format!("provider_params: proxy {why}"));
    let proxy = match written.map(str::trim) {
        Some("direct") => return Ok(None),
        Some(text) => of_provider(text)?,
        None => match of_environment(base, env)? {
            Some(proxy) => proxy,
            None => return Ok(None),
        },
    };
    if proxy.host.parse().is_ok_and(link_local::is_link_local) && !link_local::is_allowed(env) {
        return Err(format!("proxy: the address {} {}", proxy.host, link_local::REFUSAL));
    }
    Ok(Some(Arc::new(proxy)))
}

/// Reads `provider_params.proxy`, which names a variable where it needs a password.
fn parse(text: &str, env: &Env<'_>) -> Result<Proxy, String> {
    match text.strip_prefix("env:").map(str::trim) {
        Some(name) if !name.ends_with("_PROXY") => {
            Err(format!("names the variable `{name}`; names of proxies' variables end in _PROXY"))
        }
        Some(name) => match env(name).filter(|value| !value.trim().is_empty()) {
            Some(value) => Proxy::parse(&value).map_err(|why| format!("`env:{name}` {why}")),
            None => Err(format!("is in the environment variable `{name}`, which is not set")),
        },
        None if text.contains('@') => {
            Err("holds a user name or password; write env:NAME_PROXY to have it read from the environment".to_owned())
        }
        None => Proxy::parse(text),
    }
}

fn of_environment(base: &BaseUrl, env: &Env<'_>) -> Result<Option<Proxy>, String> {
    let names = [if base.tls { "HTTPS_PROXY" } else { "HTTP_PROXY" }, "ALL_PROXY"];
    let get = |name: &str| {
        let value = env(name).or_else(|| env(&name.to_ascii_lowercase()));
        value.filter(|value| !value.trim().is_empty())
    };
    let Some((name, value)) = names.into_iter().find_map(|name| Some((name, get(name)?))) else { return Ok(None) };
    if is_local(&base.host) || get("NO_PROXY").is_some_and(|list| is_excluded(&list, base)) {
        return Ok(None);
    }
    Proxy::parse(&value).map(Some).map_err(|why| format!("{name} {why}"))
}

/// Returns whether a host is this machine, which is never reached through a proxy of the
/// environment.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Returns whether NO_PROXY excludes a host: by `*`, its name, a domain that it is in (with or
/// without a leading dot), its address, or a network of it; each may have a port.
fn is_excluded(list: &str, base: &BaseUrl) -> bool {
    let address = base.host.parse::<IpAddr>().ok();
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Some(address), Ok(networks)) = (address, Networks::parse(entry)) {
            return networks.contains(address);
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() && !name.contains(':') => (name, port.parse().ok()),
            _ => (entry, None),
        };
        let name = name.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
        let is_in = base.host == name || base.host.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.'));
        is_in && port.is_none_or(|port: u16| port == base.port)
    })
}

/// `provider_params.tls`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTls {
    /// A PEM file with the authorities to trust, instead of the system's.
    ca_file: Option<PathBuf>,
    /// PEM files with the certificate that the provider demands, and its key.
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    verify: Option<bool>,
}

/// Reads `provider_params.tls` and the files that it names.
pub fn tls(json: &str, env: &Env<'_>) -> Result<Arc<ClientTls>, String> {
    let written: WrittenTls = serde_json::from_str(json)
        .map_err(|error| format!("provider_params: tls: {}", ordered::wrong_value(&error)))?;
    let identity = match (written.client_cert, written.client_key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return Err("provider_params: tls: client_cert and client_key are set both or not at all".to_owned()),
    };
    let of_process = || env("VERIFY_SSL").is_none_or(|value| setting_value::switch(&value) != Ok(false));
    let ca_file = written.ca_file.or_else(|| env("SSL_CERT_FILE").map(PathBuf::from));
    let verify = written.verify.unwrap_or_else(of_process);
    tls::provider_config(ca_file, identity, verify).map_err(|why| format!("provider_params: tls: {why}"))
}

/// Returns the files that a row's parameters name, so that they can be followed.
pub fn files(json: &str) -> Vec<PathBuf> {
    #[derive(Deserialize)]
    struct Params {
        #[serde(default)]
        tls: WrittenTls,
    }
    let Ok(Params { tls }) = serde_json::from_str::<Params>(json) else { return Vec::new() };
    [tls.ca_file, tls.client_cert, tls.client_key].into_iter().flatten().collect()
}

/// The directories that `file:` may read secrets from by default: those of containers and systemd.
pub const SECRET_FILE_DIRS: &str = "/run/secrets,/run/credentials,/etc/llm-proxy";
/// The largest file that holds a secret.
const MAX_SECRET: u64 = 64 << 10;

/// Reads a secret from a file that the operator allows. The error does not show what is in it.
pub fn secret_file(path: &str, env: &Env<'_>) -> Result<String, String> {
    let path = Path::new(path.trim());
    let shown = path.display();
    let dirs = env("SECRET_FILE_DIRS").unwrap_or_else(|| SECRET_FILE_DIRS.to_owned());
    let real = path.canonicalize().map_err(|error| format!("the file {shown} cannot be read: {error}"))?;
    let is_allowed = dirs.split(',').map(str::trim).filter(|dir| !dir.is_empty()).any(|dir| {
        let real_dir = Path::new(dir).canonicalize();
        path.is_absolute() && real_dir.is_ok_and(|dir| real.starts_with(dir))
    });
    if !is_allowed {
        return Err(format!("the file {shown} is not below one of SECRET_FILE_DIRS ({dirs})"));
    }
    let metadata = std::fs::metadata(&real).map_err(|error| format!("the file {shown} cannot be read: {error}"))?;
    if !metadata.is_file() || metadata.len() > MAX_SECRET {
        return Err(format!("the file {shown} is not a regular file of at most {} KiB", MAX_SECRET >> 10));
    }
    let text = std::fs::read_to_string(&real).map_err(|error| format!("the file {shown} cannot be read: {error}"))?;
    match text.trim() {
        "" => Err(format!("the file {shown} is empty")),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> BaseUrl {
        BaseUrl::parse(text).unwrap()
    }

    #[test]
    fn the_environment_names_proxies() {
        let env = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://proxy:1".to_owned()),
            "all_proxy" => Some("socks5h://all:1".to_owned()),
            "no_proxy" => Some("internal.example,.corp:8443, 10.0.0.0/8".to_owned()),
            "TEAM_PROXY" => Some("http://u:p@team:2".to_owned()),
            _ => None,
        };
        let host = |written: Option<&str>, url: &str| {
            let found = proxy(written, &base(url), &env);
            found.map(|proxy| proxy.map(|proxy| proxy.host.clone()))
        };
        let through = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(host(None, "https://api.example/v1"), through("proxy"));
        assert_eq!(host(None, "http://api.example/v1"), through("all"));
        for direct in [
            "https://localhost",
            "https://127.0.0.1",
            "https://internal.example",
            "https://a.internal.example",
            "https://x.corp:8443",
            "https://10.1.2.3",
        ] {
            assert_eq!(host(None, direct), Ok(None), "{direct}");
        }
        assert_eq!(host(None, "https://x.corp"), through("proxy"));
        assert_eq!(host(None, "https://notinternal.example"), through("proxy"));
        assert_eq!(host(Some("http://own:9"), "http://localhost"), through("own"));
        assert_eq!(host(Some("direct"), "https://api.example"), Ok(None));
        assert_eq!(host(Some("env:TEAM_PROXY"), "https://api.example"), through("team"));
        for wrong in ["env:ADMIN_KEY", "env:OTHER_PROXY", "http://u:secret@own:9", "http://169.254.169.254:80"] {
            let error = host(Some(wrong), "https://api.example").unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn secrets_in_files() {
        let dir = tempfile::tempdir().unwrap();
        let allowed = dir.path().join("allowed");
        std::fs::create_dir(&allowed).unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let dirs = allowed.display().to_string();
        let env = |name: &str| (name == "SECRET_FILE_DIRS").then(|| dirs.clone());
        assert_eq!(secret_file(&write("allowed/key", "sk-1\n"), &env).as_deref(), Ok("sk-1"));
        let outside = write("outside", "sk-2");
        assert!(secret_file(&outside, &env).unwrap_err().contains("SECRET_FILE_DIRS"));
        std::os::unix::fs::symlink(&outside, allowed.join("link")).unwrap();
        let link = allowed.join("link").display().to_string();
        assert!(secret_file(&link, &env).unwrap_err().contains("SECRET_FILE_DIRS"));
        assert!(secret_file(&format!("{dirs}/../outside"), &env).unwrap_err().contains("SECRET_FILE_DIRS"));
        for path in [write("allowed/empty", " \n"), dirs.clone(), format!("{dirs}/none")] {
            assert!(secret_file(&path, &env).is_err(), "{path}");
        }
    }
}
