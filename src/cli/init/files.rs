//! The files that `llm-proxy init` writes. Keys may be in all of them: only their owner can read
//! them.

use std::fs::{OpenOptions, Permissions, set_permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::file_text;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::config::boot::Environment;
use crate::config::file;
use crate::config::rows::{CredentialRow, ProviderRow, Rows};

/// The file that every command reads in its directory.
const DOTENV: &str = ".env";
const OWN: u32 = 0o600;

/// Fails if the variable `name` has a value that is not accepted. An empty value is none.
pub(super) fn refuse_another(
    name: &str,
    environment: &Environment,
    is_accepted: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    let Some(known) = environment.get(name).filter(|known| !is_accepted(known)) else { return Ok(()) };
    let store = match name {
        "DB_URL" => "that database",
        _ => known,
    };
    Err(Failure::failed(format!(
        "{name} is set (perhaps in .env), and so `llm-proxy serve` would take {store}; unset it, or add the provider \
         there with --store {}",
        if name == "DB_URL" { "and the database's address" } else { known }
    )))
}

/// Returns whether the provider's key was given outright, and is written to `.env`.
pub(super) fn is_secret(row: &ProviderRow) -> bool {
    !row.api_key.is_empty() && !row.api_key.trim().starts_with("env:")
}

/// Writes the rows into a configuration file, which is made if it is missing. A key that was given
/// outright goes into `.env`, under the name that the file has for it, beside CONFIG_FILE and the
/// other `settings`.
pub(super) fn write(
    path: &Path,
    row: ProviderRow,
    credential: Option<CredentialRow>,
    settings: Vec<(String, String)>,
    environment: &Environment,
) -> Result<(), Failure> {
    let variable = is_secret(&row).then(|| variable(&row.provider_key));
    let key = row.api_key.to_string();
    let rows =
        Rows { version: 0, providers: vec![row], credentials: credential.into_iter().collect(), ..Rows::default() };
    let mut variables = vec![("CONFIG_FILE".to_owned(), path.display().to_string())];
    if let Some(name) = &variable {
        if environment.get(name).is_some_and(|known| known != key) {
            return Err(Failure::failed(format!(
                "nothing was written: {name}, the variable for this key, has another value already; give --api-key \
                 env:{name} to use that one, or choose another --name"
            )));
        }
        variables.push((name.clone(), key.clone()));
    }
    variables.extend(settings);
    let env = |name: &str| match &variable {
        Some(own) if own == name => Some(key.clone()),
        _ => environment.get(name).map(str::to_owned),
    };
    let is_new = !path.exists();
    if is_new {
        create(path, &file::write(&rows, &|_| variable.clone()))?;
        add_to_dotenv(&variables)?;
    } else {
        // The gateway may follow the file: what it names must be there first.
        let text = file_text::with(path, &rows, variable.as_deref(), &env)?;
        add_to_dotenv(&variables)?;
        replace(path, &text)?;
    }
    let what = if is_new { "written" } else { "added to" };
    print::note("note", &format!("{what}: {} and {DOTENV}, which `llm-proxy serve` reads here", path.display()));
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

/// Adds lines to `.env`, and returns whether any were missing. Those that are there stay; of two
/// with one name the last one counts.
pub(super) fn add_to_dotenv(variables: &[(String, String)]) -> Result<bool, Failure> {
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
    let mut is_changed = false;
    for (name, value) in variables {
        let line = format!("{name}={}\n", quoted(value));
        let begin = format!("{name}=");
        let last = before.lines().rfind(|known| known.starts_with(&begin));
        if last.is_none_or(|known| known != line.trim_end()) {
            more.push_str(&line);
            is_changed = true;
        }
    }
    if !is_changed {
        return Ok(false);
    }
    let failed = |error: io::Error| Failure::failed(format!("{DOTENV} can't be written: {error}"));
    let mut file = OpenOptions::new().create(true).append(true).mode(OWN).open(path).map_err(failed)?;
    set_permissions(path, Permissions::from_mode(OWN)).map_err(failed)?;
    file.write_all(more.as_bytes()).map_err(failed)?;
    Ok(true)
}

/// Quotes a value that is no plain word, as `.env` needs it.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@=+,%".contains(&byte);
    if value.bytes().all(plain) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"))
}

/// Makes the file that the person named.
fn create(path: &Path, text: &str) -> Result<(), Failure> {
    write_new(path, text).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "; make its directory first",
            io::ErrorKind::PermissionDenied => "; choose a file that this user may write to",
            _ => "",
        };
        Failure::failed(format!("{} can't be written: {error}{advice}", path.display()))
    })
}

/// Makes a file that its owner alone can read.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(OWN).open(path)?.write_all(text.as_bytes())
}

/// Replaces a file by another text at once, so that a gateway that follows it sees no half of it.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("{} can't be written: {error}", path.display()));
    let real = path.canonicalize().map_err(failed)?;
    let mode = std::fs::metadata(&real).map_err(failed)?.permissions();
    let mut new = real.clone().into_os_string();
    new.push(".new");
    let new = Path::new(&new);
    // One that a command left which was ended between the two steps.
    let _ = std::fs::remove_file(new);
    let replaced =
        write_new(new, text).and_then(|()| set_permissions(new, mode)).and_then(|()| std::fs::rename(new, &real));
    replaced.map_err(|error| {
        let _ = std::fs::remove_file(new);
        let dir = real.parent().unwrap_or(&real).display();
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => format!("; let this user make files in {dir}"),
            io::ErrorKind::StorageFull => "; free some space on its disk".to_owned(),
            _ => String::new(),
        };
        Failure::failed(format!(
            "{} can't be replaced: its new text, which is first written beside it, can't be kept: {error}{advice}",
            path.display()
        ))
    })
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
