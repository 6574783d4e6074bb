//! `SANDBOX`: the process restricts itself with Landlock (landlock(7)) to the files that its
//! settings name and to what the system's libraries read, runs no program and listens on no other
//! port.
//!
//! Nothing can lift that again, also not for what the process starts; so [`Launcher`] is made
//! before. Rules hold for what is below a directory whenever it is looked up: files that are
//! replaced are read again as they are without a sandbox.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::failure::Failure;
use super::launcher::Launcher;
use crate::config::boot::Boot;
use crate::config::outbound::SECRET_FILE_DIRS;

/// The version of Landlock whose restrictions are used as far as the kernel has them: those of
/// ports came with version 4, those of signals with version 6 (Linux 6.12).
const VERSION: ABI = ABI::V6;

/// What libraries of the system read: settings of names and addresses and the modules that resolve
/// them, certificate authorities, times, and what the kernel says of this process. Files of other
/// processes in /proc that hold secrets are kept from a process with a sandbox.
const SYSTEM: [&str; 10] = [
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share",
    "/usr/local/share",
    "/nix/store",
    "/proc",
    "/sys/fs/cgroup",
];

/// What a process may do.
#[derive(Debug, Default, PartialEq, Eq)]
struct Policy {
    /// Files and directories that may be read, with all below them.
    reads: BTreeSet<PathBuf>,
    /// Directories below which files may be written, made, renamed and removed.
    writes: BTreeSet<PathBuf>,
    /// Ports that may be listened on; none is all, since a port that the system chooses is not
    /// known before.
    ports: Vec<u16>,
    /// Whether a service manager listens on an abstract socket, which could not be reached.
    needs_abstract_sockets: bool,
}

/// Restricts this process, and returns who starts its successors. The log says what is in force.
/// Call it before another thread runs. The error names a setting whose file can't be opened up
/// alone.
pub(super) fn enter(boot: &Boot, program: Option<&PathBuf>) -> Result<Option<Launcher>, Failure> {
    make_directories(boot);
    let policy = Policy::new(boot, |name| std::env::var(name).ok()).map_err(|why| Failure::Usage(vec![why]))?;
    let launcher = program.map(Launcher::start).transpose();
    let launcher = launcher.unwrap_or_else(|error| {
        tracing::warn!("SANDBOX: an upgrade will not be possible, since its launcher does not start: {error}");
        None
    });
    let status = policy.restrict().map_err(|error| Failure::failed(format!("SANDBOX: {error}")))?;
    report(&policy, &status);
    Ok(launcher)
}

/// Rules are for what exists. What can't be made is reported by those who need it.
fn make_directories(boot: &Boot) {
    let jsonl = &boot.observe.jsonl;
    let log = jsonl.enabled.then(|| jsonl.path.parent()).flatten().filter(|dir| !dir.as_os_str().is_empty());
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(&boot.data_dir);
    let _ = log.map(|dir| DirBuilder::new().recursive(true).create(dir));
}

impl Policy {
    /// `env` has the variables that libraries read.
    fn new(boot: &Boot, env: impl Fn(&str) -> Option<String>) -> Result<Policy, String> {
        let mut policy = Policy::default();
        policy.reads.extend(SYSTEM.map(PathBuf::from));
        // Names are resolved by what this link leads to, which others replace.
        policy.reads.extend(directories(Path::new("/etc/resolv.conf")));
        policy.reads.extend(boot.sandbox_read_paths.iter().cloned());
        let dirs = boot.secret_file_dirs.as_deref().unwrap_or(SECRET_FILE_DIRS);
        policy.reads.extend(dirs.split(',').map(str::trim).filter(|dir| !dir.is_empty()).map(PathBuf::from));
        policy.reads.extend(env("SSL_CERT_DIR").map(PathBuf::from));
        let read = [
            ("CONFIG_FILE", &boot.config_file),
            ("MODELS_FILE", &boot.models_file),
            ("SSL_CERT_FILE", &boot.ssl_cert_file),
            ("TLS_CERT", &boot.tls_cert),
            ("TLS_KEY", &boot.tls_key),
            ("TLS_CLIENT_CA", &boot.tls_client_ca),
        ];
        for (name, path) in read {
            if let Some(path) = path {
                policy.reads.extend(below_root(name, directories(path))?);
            }
        }
        let jsonl = &boot.observe.jsonl;
        let written = [
            ("AUDIT_LOG_PATH", boot.audit_log_path.as_ref()),
            ("JSONL_LOG_PATH", Some(&jsonl.path).filter(|_| jsonl.enabled)),
        ];
        for (name, path) in written {
            if let Some(path) = path {
                policy.writes.extend(below_root(name, directories(path))?);
            }
        }
        policy.writes.extend(below_root("DATA_DIR", vec![boot.data_dir.clone()])?);
        policy.ports = std::iter::once(boot.port).chain(boot.admin_addr.map(|addr| addr.port())).collect();
        if policy.ports.contains(&0) {
            policy.ports.clear();
        }
        policy.needs_abstract_sockets = env("NOTIFY_SOCKET").is_some_and(|name| name.starts_with('@'));
        Ok(policy)
    }

    fn restrict(&self) -> Result<RestrictionStatus, RulesetError> {
        let reads = AccessFs::ReadFile | AccessFs::ReadDir;
        let writes: BitFlags<AccessFs> = reads
            | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::MakeReg
            | AccessFs::MakeDir
            | AccessFs::RemoveFile
            | AccessFs::Refer;
        let scope = if self.needs_abstract_sockets { Scope::Signal.into() } else { Scope::from_all(VERSION) };
        let ruleset = Ruleset::default().handle_access(AccessFs::from_all(VERSION))?.scope(scope)?;
        let ruleset = if self.ports.is_empty() { ruleset } else { ruleset.handle_access(AccessNet::BindTcp)? };
        let ruleset = ruleset.create()?;
        // What does not exist can't be read.
        let ruleset = ruleset.add_rules(path_beneath_rules(&self.reads, reads))?;
        let ruleset = self
            .writes
            .iter()
            .filter_map(|dir| PathFd::new(dir).ok())
            .try_fold(ruleset, |ruleset, dir| ruleset.add_rule(PathBeneath::new(dir, writes)))?;
        let mut ports = self.ports.iter().map(|port| NetPort::new(*port, AccessNet::BindTcp));
        ports.try_fold(ruleset, |ruleset, port| ruleset.add_rule(port))?.restrict_self()
    }
}

/// Returns the directory of a file, and that of what a link leads to: files are replaced by
/// renaming.
fn directories(path: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new(".").to_owned(),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    };
    let real = path.canonicalize().ok();
    std::iter::once(parent(path)).chain(real.as_deref().map(parent)).collect()
}

/// Refuses the root of the file system, below which is everything.
fn below_root(name: &str, dirs: Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
    match dirs.iter().any(|dir| dir.canonicalize().is_ok_and(|dir| dir == Path::new("/"))) {
        false => Ok(dirs),
        true => Err(format!(
            "SANDBOX: {name} is at the root of the file system, so that the sandbox would have to open all of it; \
             let {name} be in a directory of its own"
        )),
    }
}

/// Writes to the log what is in force, as far as the kernel tells.
fn report(policy: &Policy, status: &RestrictionStatus) {
    let version = match status.landlock {
        LandlockStatus::NotImplemented => {
            return tracing::warn!(
                "SANDBOX is set, but this process is not restricted: this kernel has no Landlock, or its use is \
                 forbidden here"
            );
        }
        LandlockStatus::NotEnabled => {
            return tracing::warn!(
                "SANDBOX is set, but this process is not restricted: Landlock is not enabled on this kernel (add \
                 `landlock` to its parameter `lsm`)"
            );
        }
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
    };
    let facts = format!("files are read below {}, written below {}", list(&policy.reads), list(&policy.writes));
    let ports: Vec<_> = policy.ports.iter().map(u16::to_string).collect();
    let ports = match ports.as_slice() {
        [] => "any port is listened on, since the system chooses it".to_owned(),
        ports => format!("no port but {} is listened on", ports.join(" and ")),
    };
    match status.ruleset {
        RulesetStatus::FullyEnforced => {
            tracing::info!("sandbox: {facts}; no program is run; {ports} (Landlock {version})");
        }
        _ => tracing::warn!(
            "sandbox: {facts}; no program is run; this kernel's Landlock has version {version}, and what came with \
             later ones up to {VERSION} (3 truncation, 4 ports, 6 signals) is not restricted"
        ),
    }
}

fn list(paths: &BTreeSet<PathBuf>) -> String {
    let mut text = String::new();
    for path in paths.iter().filter(|path| path.exists()) {
        let _ = write!(text, "{}{}", if text.is_empty() { "" } else { ", " }, path.display());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpListener;
    use std::process::Command;

    use super::*;

    /// Does something in a thread that is restricted, and in no other.
    fn inside<T: Send>(policy: &Policy, act: impl FnOnce(&RestrictionStatus) -> T + Send) -> T {
        std::thread::scope(|scope| {
            let restricted = || {
                let status = policy.restrict().unwrap();
                act(&status)
            };
            scope.spawn(restricted).join().unwrap()
        })
    }

    #[test]
    fn what_is_allowed_and_what_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["data", "logs", "certs", "elsewhere"] {
            std::fs::create_dir(at(name)).unwrap();
            std::fs::write(at(name).join("file"), name).unwrap();
        }
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port, other) = (free(), free());
        let mut boot = Boot { data_dir: at("data"), tls_cert: Some(at("certs/file")), port, ..Boot::default() };
        boot.observe.jsonl.enabled = true;
        boot.observe.jsonl.path = at("logs/requests.jsonl");
        let policy = Policy::new(&boot, |_| None).unwrap();
        inside(&policy, |status| {
            let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
                // A kernel without it restricts nothing.
                assert_eq!(std::fs::read_to_string(at("elsewhere/file")).unwrap(), "elsewhere");
                return;
            };
            let denied =
                |result: std::io::Result<()>| result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
            assert_eq!(std::fs::read_to_string(at("certs/file")).unwrap(), "certs");
            assert!(denied(std::fs::write(at("certs/file"), "other")));
            assert!(denied(std::fs::read(at("elsewhere/file")).map(drop)));
            assert!(denied(std::fs::write(at("elsewhere/new"), "other")));
            for name in ["data", "logs"] {
                let (file, new) = (at(name).join("file"), at(name).join("new"));
                std::fs::write(&new, "new").unwrap();
                std::fs::rename(&new, &file).unwrap();
                assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
                std::fs::remove_file(&file).unwrap();
                assert!(denied(std::os::unix::fs::symlink("/etc/passwd", at(name).join("link"))));
            }
            // A certificate that is replaced is read again, and names are resolved.
            assert!(std::fs::read("/etc/hosts").is_ok());
            for program in ["/bin/true", "/proc/self/exe"] {
                assert!(denied(Command::new(program).spawn().map(drop)), "{program}");
            }
            if effective_abi >= ABI::V4 {
                TcpListener::bind(("127.0.0.1", port)).unwrap();
                assert!(denied(TcpListener::bind(("127.0.0.1", other)).map(drop)));
            }
        });
        // Others are not restricted.
        assert_eq!(std::fs::read_to_string(at("elsewhere/file")).unwrap(), "elsewhere");
    }

    #[test]
    fn the_root_is_never_opened() {
        for path in ["/gateway.yaml", "/../gateway.yaml"] {
            let boot = Boot { config_file: Some(path.into()), ..Boot::default() };
            let why = Policy::new(&boot, |_| None).unwrap_err();
            assert!(why.contains("CONFIG_FILE is at the root"), "{why}");
        }
        let boot = Boot { data_dir: "/".into(), ..Boot::default() };
        assert!(Policy::new(&boot, |_| None).unwrap_err().contains("DATA_DIR"));
    }

    /// A file is opened up with its directory, and with that of what it links to.
    #[test]
    fn links_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        for name in ["live", "archive"] {
            std::fs::create_dir(dir.join(name)).unwrap();
        }
        std::fs::write(dir.join("archive/cert1.pem"), "").unwrap();
        std::os::unix::fs::symlink("../archive/cert1.pem", dir.join("live/cert.pem")).unwrap();
        assert_eq!(directories(&dir.join("live/cert.pem")), [dir.join("live"), dir.join("archive")]);
        assert_eq!(directories(Path::new("none.yaml")), [PathBuf::from(".")]);
    }
}
