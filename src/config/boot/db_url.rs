//! `DB_URL`: the address of the PostgreSQL database, and the user who connects.
//!
//! It is read more leniently than the standard demands, as llm-proxy v1 did: the last `@` ends the
//! password, which may hold any character as it is or percent-encoded, and the driver that
//! SQLAlchemy requires in the scheme (`postgresql+asyncpg`) is ignored. No error shows the
//! password.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::config::secret::Secret;

/// `sslmode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsMode {
    Disable,
    /// TLS with any certificate if the server offers it, else none. An attacker on the network can
    /// read and change what is sent.
    #[default]
    Prefer,
    /// TLS with any certificate.
    Require,
    /// TLS with a certificate of a trusted authority for the host's name.
    VerifyFull,
}

/// A database, and how to connect to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DbUrl {
    /// Hosts and ports, tried in order. A host that begins with `/` is the directory of a Unix
    /// socket.
    pub hosts: Vec<(String, u16)>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// `None` is the user's name.
    pub database: Option<String>,
    pub tls: TlsMode,
    /// Trusted authorities for `verify-full`, beside the system's.
    pub root_cert: Option<PathBuf>,
    /// Start-up options of the session, such as `-c search_path=gateway`.
    pub options: Option<String>,
    pub application_name: Option<String>,
    pub connect_timeout: Option<Duration>,
    /// Parameters of the URL that other clients obey and that change nothing here.
    pub ignored: Vec<String>,
}

const PORT: u16 = 5432;
/// Parameters of other clients that have no meaning here.
const IGNORED: &[&str] = &[
    "command_timeout",
    "connection_limit",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "max_size",
    "min_size",
    "pgbouncer",
    "pool_max_conns",
    "pool_size",
    "pool_timeout",
    "prepared_statement_cache_size",
    "prepared_statements",
    "sslcompression",
    "sslnegotiation",
    "sslsni",
    "statement_cache_size",
    "target_session_attrs",
    "tcp_user_timeout",
];
const FORM: &str = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE";

impl TlsMode {
    /// Reads `sslmode`, or `ssl`, which is asyncpg's name for it and may also be a boolean.
    fn parse(name: &str, value: &str) -> Result<TlsMode, String> {
        match value {
            "disable" => Ok(TlsMode::Disable),
            "prefer" | "allow" => Ok(TlsMode::Prefer),
            "require" => Ok(TlsMode::Require),
            "verify-full" => Ok(TlsMode::VerifyFull),
            "false" if name == "ssl" => Ok(TlsMode::Disable),
            "true" if name == "ssl" => Ok(TlsMode::Require),
            "verify-ca" => Err("DB_URL has sslmode=verify-ca, which is not supported; sslmode=verify-full also \
                                checks the host's name"
                .to_owned()),
            _ => Err("sslmode in DB_URL must be disable, prefer, require or verify-full".to_owned()),
        }
    }
}

impl DbUrl {
    /// Parses the value of DB_URL. The error is a whole sentence, and never shows the password.
    pub fn parse(text: &str) -> Result<DbUrl, String> {
        let form = || format!("DB_URL must be the address of a PostgreSQL database, {FORM}");
        let (scheme, rest) = text.trim().split_once("://").ok_or_else(form)?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.split('+').next(), Some("postgres" | "postgresql")) {
            return Err(form());
        }
        // A password may hold `/` and `?`, so that the user comes off first.
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        let mut url = DbUrl::default();
        if let Some(login) = login {
            let (user, password) = match login.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (login, None),
            };
            url.user = Some(decode(user)).filter(|user| !user.is_empty());
            url.password = password.map(|password| decode(password).into());
        }
        url.database = Some(decode(database)).filter(|name| !name.is_empty());
        url.hosts = hosts.split(',').filter(|host| !host.is_empty()).map(host).collect::<Result<_, _>>()?;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            url.set(name, decode(value))?;
        }
        if url.hosts.is_empty() {
            url.hosts.push(("localhost".to_owned(), PORT));
        }
        Ok(url)
    }

    /// Applies a parameter of the query. An unknown one is an error, since it may be a misspelt
    /// security option.
    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "sslmode" | "ssl" => self.tls = TlsMode::parse(name, &value)?,
            "sslrootcert" if value == "system" => self.root_cert = None,
            "sslrootcert" => self.root_cert = Some(value.into()),
            "host" => {
                let port = self.hosts.first().map_or(PORT, |(_, port)| *port);
                self.hosts = vec![(value, port)];
            }
            "port" => {
                let port = value.parse().map_err(|_| "port in DB_URL must be a number from 1 to 65535".to_owned())?;
                let host = self.hosts.first().map_or("localhost", |(host, _)| host).to_owned();
                self.hosts = vec![(host, port)];
            }
            "user" => self.user = Some(value),
            "password" => self.password = Some(value.into()),
            "dbname" => self.database = Some(value),
            "options" => self.options = Some(value),
            "application_name" => self.application_name = Some(value),
            "connect_timeout" => {
                let seconds = value
                    .parse()
                    .map_err(|_| "connect_timeout in DB_URL must be a number of whole seconds".to_owned())?;
                self.connect_timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            "channel_binding" if value != "require" => {}
            "channel_binding" => {
                return Err(
                    "DB_URL has channel_binding=require, which is not supported; sslmode=verify-full protects as well"
                        .to_owned(),
                );
            }
            "sslcert" | "sslkey" => {
                return Err(format!(
                    "DB_URL has {name}, but client certificates are not supported; log in by password"
                ));
            }
            _ if IGNORED.contains(&name) => self.ignored.push(name.to_owned()),
            _ => {
                let shown: String = name.chars().take(40).collect();
                return Err(format!(
                    "DB_URL has the unknown parameter `{shown}`; known are sslmode, sslrootcert, options, application_name, connect_timeout, host, port, user, password, dbname"
                ));
            }
        }
        Ok(())
    }

    /// Returns which database this is, for messages and comparisons: host, port and name, without
    /// user or password.
    pub fn place(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let database = self.database.as_deref().or(self.user.as_deref()).unwrap_or_default();
        format!("{}/{database}", hosts.join(","))
    }
}

fn host(text: &str) -> Result<(String, u16), String> {
    let bad = || format!("DB_URL must have a host and a port from 1 to 65535, {FORM}");
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?,
        None => PORT,
    };
    // A socket's directory is percent-encoded in the place of the host.
    let host = decode(host);
    if host.is_empty() || host.contains(char::is_whitespace) { Err(bad()) } else { Ok((host, port)) }
}

/// Decodes percent-encoding. A `%` that begins no escape stands for itself, and so does a text
/// whose escapes make no UTF-8.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns user, password, place and mode.
    fn check(text: &str) -> (String, String, String, TlsMode) {
        let url = DbUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let password = url.password.as_deref().unwrap_or_default().to_owned();
        (url.user.clone().unwrap_or_default(), password, url.place(), url.tls)
    }

    #[test]
    fn addresses() {
        use TlsMode::*;
        let rows = [
            ("postgresql://u:p@db:5433/gateway", ("u", "p", "db:5433/gateway", Prefer)),
            ("postgres://u@db/gateway?sslmode=disable", ("u", "", "db:5432/gateway", Disable)),
            ("postgresql+asyncpg://u:p@db/gateway?sslmode=require", ("u", "p", "db:5432/gateway", Require)),
            // The last `@` ends the password; it may hold anything.
            ("postgresql://u:p@ss:w/o?r%d@db/g?sslmode=verify-full", ("u", "p@ss:w/o?r%d", "db:5432/g", VerifyFull)),
            ("postgresql://u%40x:p%40%2F%25@db/g", ("u@x", "p@/%", "db:5432/g", Prefer)),
            ("postgresql://u:%ff@db/g", ("u", "%ff", "db:5432/g", Prefer)),
            ("postgresql://u:p@[::1]:5/g", ("u", "p", "::1:5/g", Prefer)),
            ("postgresql://u:p@a:1,b/g", ("u", "p", "a:1,b:5432/g", Prefer)),
            ("postgresql:///g?host=/run/pg&port=7", ("", "", "/run/pg:7/g", Prefer)),
            ("postgresql://u:p@%2Frun%2Fpg/g", ("u", "p", "/run/pg:5432/g", Prefer)),
            ("postgresql://u@db", ("u", "", "db:5432/u", Prefer)),
        ];
        for (text, (user, password, place, tls)) in rows {
            assert_eq!(check(text), (user.into(), password.into(), place.into(), tls), "{text}");
        }
        for (parameter, tls) in
            [("ssl=true", Require), ("ssl=require", Require), ("ssl=false", Disable), ("ssl=disable", Disable)]
        {
            assert_eq!(DbUrl::parse(&format!("postgres://h/d?{parameter}")).unwrap().tls, tls, "{parameter}");
        }
        let url = DbUrl::parse("postgres://h/d?keepalives=1&gssencmode=disable&keepalives_idle=30").unwrap();
        assert_eq!(url.ignored, ["keepalives", "gssencmode", "keepalives_idle"]);
        let url =
            DbUrl::parse("postgres://h/d?options=-c%20search_path%3Dgw&connect_timeout=3&sslrootcert=/ca.pem").unwrap();
        assert_eq!(url.options.as_deref(), Some("-c search_path=gw"));
        assert_eq!((url.connect_timeout, url.root_cert), (Some(Duration::from_secs(3)), Some("/ca.pem".into())));
    }

    #[test]
    fn invalid_urls_are_reported_without_the_password() {
        let rows = [
            ("", "DB_URL must be the address of a PostgreSQL database"),
            ("mysql://u:secret@db/g", "DB_URL must be the address of a PostgreSQL database"),
            ("/var/lib/x.db", "DB_URL must be the address of a PostgreSQL database"),
            ("postgres://u:secret@db:x/g", "DB_URL must have a host and a port"),
            ("postgres://u:secret@db:0/g", "DB_URL must have a host and a port"),
            (
                "postgres://u:secret@db/g?sslmode=verify",
                "sslmode in DB_URL must be disable, prefer, require or verify-full",
            ),
            ("postgres://u:secret@db/g?sslmode=verify-ca", "DB_URL has sslmode=verify-ca, which is not supported"),
            ("postgres://u:secret@db/g?sslcert=c.pem", "DB_URL has sslcert, but client certificates are not supported"),
            ("postgres://u:secret@db/g?ssl_mode=require", "DB_URL has the unknown parameter `ssl_mode`"),
            ("postgres://u:secret@db/g?colour=red", "DB_URL has the unknown parameter `colour`"),
            ("postgres://u:secret@db/g?channel_binding=require", "DB_URL has channel_binding=require"),
        ];
        for (text, begins) in rows {
            let error = DbUrl::parse(text).unwrap_err();
            assert!(error.starts_with(begins) && !error.contains("secret"), "{text}: {error}");
        }
        let shown = format!("{:?}", DbUrl::parse("postgres://u:secret@db/g?password=secret").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
