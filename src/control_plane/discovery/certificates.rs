//! Watches the files of the listener's certificate, so that a renewed one is used without a
//! restart. Open connections keep the old one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::rfc3339;
use crate::shared::ProcessState;
use crate::tls::{self, FileStamp};

/// Follows the files of the listener's certificate.
pub(crate) struct Watch {
    shared: Arc<ProcessState>,
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    /// The stamps of the files when they were read. `None` for a file that can't be seen.
    seen: Vec<Option<FileStamp>>,
}

impl Watch {
    /// Starts to watch. `None` for a plain listener. Loads the certificate if that was not done;
    /// one that can't be used is an error.
    pub(crate) fn start(shared: Arc<ProcessState>) -> Result<Option<Watch>, String> {
        let (Some(cert), Some(key)) = (shared.boot.tls_cert.clone(), shared.boot.tls_key.clone()) else {
            return Ok(None);
        };
        // Taken before the files are read, so that a change in between is noticed later.
        let client_ca = shared.boot.tls_client_ca.clone();
        let seen = stamps(&cert, &key, client_ca.as_deref());
        if shared.tls.load().is_none() {
            let config = tls::server_config(&cert, &key, client_ca.as_deref())?;
            shared.tls.store(Some(config));
        }
        shared.certificate_ends.store(expiry(&cert), Ordering::Relaxed);
        Ok(Some(Watch { shared, cert, key, client_ca, seen }))
    }

    /// Checks the files once. The two can't be replaced atomically, so a pair that does not match
    /// is expected at times.
    pub(crate) fn check(&mut self) {
        let now = stamps(&self.cert, &self.key, self.client_ca.as_deref());
        if now == self.seen {
            return;
        }
        self.seen = now;
        match tls::server_config(&self.cert, &self.key, self.client_ca.as_deref()) {
            Ok(config) => {
                self.shared.tls.store(Some(config));
                self.shared.certificate_ends.store(expiry(&self.cert), Ordering::Relaxed);
                tracing::info!("gateway: the certificate in TLS_CERT has changed and is in use");
            }
            Err(reason) => {
                tracing::warn!("gateway: TLS_CERT or TLS_KEY has changed, the old certificate stays in use: {reason}")
            }
        }
    }
}

/// Returns when the certificate expires, in seconds since 1970; 0 if it can't be read.
fn expiry(cert: &Path) -> i64 {
    tls::not_after(cert).and_then(|end| rfc3339::parse(&end)).unwrap_or(0)
}

fn stamps(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Vec<Option<FileStamp>> {
    [cert, key].into_iter().chain(client_ca).map(tls::file_stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::boot::Boot;
    use crate::shared::Hints;

    fn write(path: &Path, text: &str) {
        // The usual way to replace a file: a new one, then a rename.
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_good_pair_replaces_and_a_bad_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let boot = Boot { tls_cert: Some(cert.clone()), tls_key: Some(key.clone()), ..Boot::default() };
        let hints = Hints { no_credentials: String::new(), no_providers: String::new() };
        let shared = Arc::new(ProcessState::new(boot, 1, hints));
        let current = || shared.tls.load_full().unwrap();
        assert!(Watch::start(shared.clone()).err().unwrap().contains("cert.pem"));

        let (first, second) = (pair(), pair());
        write(&cert, &first.0);
        write(&key, &first.1);
        let mut watch = Watch::start(shared.clone()).unwrap().unwrap();
        let before = current();
        // The year 4096, as rcgen makes them.
        assert_eq!(shared.certificate_ends.load(Ordering::Relaxed), 67_090_118_400);
        watch.check();
        assert!(Arc::ptr_eq(&before, &current()));

        write(&cert, &second.0);
        watch.check();
        assert!(Arc::ptr_eq(&before, &current()), "certificate and key do not fit");
        write(&key, &second.1);
        watch.check();
        let after = current();
        assert!(!Arc::ptr_eq(&before, &after));

        std::fs::remove_file(&key).unwrap();
        watch.check();
        write(&cert, "no certificate");
        watch.check();
        assert!(Arc::ptr_eq(&after, &current()));
    }

    #[test]
    fn a_plain_listener_has_nothing_to_watch() {
        let hints = Hints { no_credentials: String::new(), no_providers: String::new() };
        assert!(Watch::start(Arc::new(ProcessState::new(Boot::default(), 1, hints))).unwrap().is_none());
    }
}
