//! The files that `llm-proxy init` writes. Keys may be in all of them: only their owner can read
//! them.

use std::fs::{OpenOptions, Permissions, set_permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::cli::failure::Failure;
use crate::cli::print;
use crate::config::boot::Environment;
use crate::config::file;
use crate::config::rows::{CredentialRow, ProviderRow, Rows};

/// The file that every command reads in its directory.
const DOTENV: &str = ".env";
const OWN: u32 = 0o600;

/// Fails if one of these variables has another value already. An empty value is any.
pub(super) fn refuse_another(variables: &[(&str, &str)], environment: &Environment) -> Result<(), Failure> {
    for (name, value) in variables {
        if let Some(known) = environment.get(name).filter(|known| known != value) {
            let shown = if *name == "DB_URL" { "another value" } else { known };
            return Err(Failure::failed(format!(
                "{name} is set already, to {shown}; unset it (it may be set in .env), or choose the store that it names"
            )));
        }
    }
    Ok(())
}

/// Writes the rows as a configuration file. A key that was given outright goes into `.env`, under
/// the name that the file has for it, beside CONFIG_FILE.
pub(super) fn write(path: &Path, row: ProviderRow, credential: CredentialRow) -> Result<(), Failure> {
    let is_given = !row.api_key.is_empty() && !row.api_key.trim().starts_with("env:");
    let variable = is_given.then(|| variable(&row.provider_key));
    let key = row.api_key.clone();
    let rows = Rows { version: 0, providers: vec![row], credentials: vec![credential], ..Rows::default() };
    let text = file::write(&rows, &|_| variable.clone());
    let mut variables = vec![("CONFIG_FILE".to_owned(), path.display().to_string())];
    variables.extend(variable.map(|name| (name, key.to_string())));
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    create(path, &text)?;
    add_to_dotenv(&variables)?;
    print::note("note", &format!("written: {} and {DOTENV}, which `llm-proxy serve` reads here", path.display()));
    Ok(())
}

/// Returns the variable for a name: `open router` becomes `OPEN_ROUTER_API_KEY`.
fn variable(name: &str) -> String {
    let mut variable: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    if !variable.starts_with(|c: char| c.is_ascii_alphabetic()) {
        variable.insert_str(0, "PROVIDER_");
    }
    variable + "_API_KEY"
}

/// Adds lines to `.env`. Those that are there stay.
pub(super) fn add_to_dotenv(variables: &[(&str, &str)]) -> Result<(), Failure> {
    let path = Path::new(DOTENV);
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::failed(format!("{DOTENV} can't be read: {error}"))),
    };
    let mut more = String::new();
    if !before.is_empty() && !before.ends_with('\n') {
        more.push('\n');
    }
    for (name, value) in variables {
        let line = format!("{name}={}\n", quoted(value));
        if !before.lines().any(|known| known == line.trim_end()) {
            more.push_str(&line);
        }
    }
    let failed = |error: io::Error| Failure::failed(format!("{DOTENV} can't be written: {error}"));
    let mut file = OpenOptions::new().create(true).append(true).mode(OWN).open(path).map_err(failed)?;
    set_permissions(path, Permissions::from_mode(OWN)).map_err(failed)?;
    file.write_all(more.as_bytes()).map_err(failed)
}

/// Quotes a value that is no plain word, as `.env` needs it.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@=+,%".contains(&byte);
    if value.bytes().all(plain) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"))
}

fn create(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("{} can't be written: {error}", path.display()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWN).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        for (name, expected) in
            [("openai", "OPENAI_API_KEY"), ("open router", "OPEN_ROUTER_API_KEY"), ("1", "PROVIDER_1_API_KEY")]
        {
            assert_eq!(variable(name), expected);
        }
    }
}
