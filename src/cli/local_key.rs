//! The admin key of a gateway that was given none: made on the first start on a terminal, kept in
//! the data directory, and valid for clients on this machine alone.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::print;
use crate::config::boot::Boot;
use crate::control_plane::admin::credentials;

/// The file in `DATA_DIR`.
pub(super) const FILE: &str = "admin.key";
/// Bytes of the file at most; a key has 51.
const LONGEST: u64 = 200;

/// Gives a gateway without `ADMIN_KEY` the key of its data directory, which a start on a terminal
/// makes. There is none for a gateway with a database or a configuration file, where the data
/// directory is not what the operator looks after, and for one whose admin interface cannot be
/// reached from this machine by 127.0.0.1.
///
/// # Errors
/// The file cannot be read, or it holds no key.
pub(super) fn give(boot: &mut Boot) -> Result<(), Failure> {
    let listener = boot.admin_addr.map_or(boot.host, |addr| addr.ip());
    let is_near = listener.is_loopback() || listener.is_unspecified();
    if boot.admin_key.is_some() || boot.db_url.is_some() || boot.config_file.is_some() || !is_near {
        return Ok(());
    }
    let path = path(&boot.data_dir);
    let found = match read(&path)? {
        Some(key) => Some(key),
        None if is_on_a_terminal() => make(&boot.data_dir, &path)?,
        None => None,
    };
    if let Some(key) = found {
        boot.admin_key = Some(key.into());
        boot.is_admin_key_local = true;
    }
    Ok(())
}

/// Returns where the key of a gateway with this data directory is, if it has one.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// Returns whether somebody looks at what a server writes, and at nobody's log.
fn is_on_a_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    let refuse = |why: &str| Failure::failed(format!("the admin key of this machine, {}, {why}", path.display()));
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| refuse(&format!("cannot be read: {error}")))?,
    };
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(|error| refuse(&format!("cannot be read: {error}")))?;
    match text.trim() {
        "" => Err(refuse("is empty; remove it, or set ADMIN_KEY")),
        key => Ok(Some(key.to_owned())),
    }
}

/// Makes the file. `None` if the directory cannot be written to: the gateway does without.
fn make(directory: &Path, path: &Path) -> Result<Option<String>, Failure> {
    let key = credentials::generate().map_err(Failure::failed)?;
    // Written under another name first, so that it is whole as soon as it is there.
    let new: PathBuf = directory.join(format!("{FILE}.new"));
    let write = || -> std::io::Result<()> {
        let _ = std::fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(format!("{key}\n").as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    match write() {
        Ok(()) => Ok(Some(key)),
        Err(error) => {
            tracing::warn!("no admin key was made, since {} cannot be written: {error}", path.display());
            Ok(None)
        }
    }
}

/// Tells whoever has started the server on a terminal where the page is. The key is behind `#`,
/// which browsers send to nobody.
pub(super) fn introduce(boot: &Boot, page: &str) {
    if let Some(key) = boot.admin_key.as_ref().filter(|_| boot.is_admin_key_local && is_on_a_terminal()) {
        let _ = print::line(&format!("\nSign in on this machine: {page}/ui/sign-in#{}\n", &**key));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        assert_eq!(read(&path).unwrap(), None);
        let key = make(directory.path(), &path).unwrap().unwrap();
        assert_eq!(read(&path).unwrap(), Some(key));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, " \n").unwrap();
        assert!(read(&path).is_err());
        assert_eq!(make(Path::new("/nowhere"), Path::new("/nowhere/admin.key")).unwrap(), None);
    }

    #[test]
    fn no_key_is_taken_where_another_one_or_another_store_is() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "sk-local\n").unwrap();
        let boot =
            |host: &str| Boot { data_dir: directory.path().to_owned(), host: host.parse().unwrap(), ..Boot::default() };
        let given = |mut boot: Boot| {
            give(&mut boot).unwrap();
            boot.admin_key.map(|key| (key.to_string(), boot.is_admin_key_local))
        };
        assert_eq!(given(boot("0.0.0.0")), Some(("sk-local".to_owned(), true)));
        assert_eq!(given(boot("::1")), Some(("sk-local".to_owned(), true)));
        assert_eq!(given(boot("192.0.2.1")), None);
        assert_eq!(
            given(Boot { admin_key: Some("own".to_owned().into()), ..boot("::1") }),
            Some(("own".to_owned(), false))
        );
        assert_eq!(given(Boot { config_file: Some("a.yaml".into()), ..boot("::1") }), None);
    }
}
