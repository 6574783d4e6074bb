//! TLS settings, made once per process and shared by all cores.
//!
//! One client configuration for the whole process means that a session ticket won by one core
//! resumes on the others. Its ticket store has a lock inside rustls, taken once per handshake and
//! never per request.

mod validity;

use std::cell::RefCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

/// How upstreams are verified.
#[derive(Debug, Clone, Default)]
pub struct Trust<'a> {
    /// Accept any certificate. For test set-ups only.
    pub insecure: bool,
    /// PEM file with roots to trust beside the system's.
    pub extra_roots: Option<&'a Path>,
}

/// The settings of connections to a provider that has its own.
#[derive(Debug)]
pub struct ClientTls {
    key: ClientTlsKey,
    pub config: Arc<ClientConfig>,
}

/// What makes two settings the same: the files, as they were when they were read, and the switch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ClientTlsKey {
    files: Vec<(PathBuf, Option<FileStamp>)>,
    has_identity: bool,
    verify: bool,
}

/// What changes when a file is written or replaced.
pub type FileStamp = (SystemTime, u64, u64);

/// Returns the stamp of a file. `None` if it can't be seen.
pub fn file_stamp(path: &Path) -> Option<FileStamp> {
    let of = |file: std::fs::Metadata| Some((file.modified().ok()?, file.len(), file.ino()));
    std::fs::metadata(path).ok().and_then(of)
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &ClientTls) -> bool {
        self.key == other.key
    }
}

impl Eq for ClientTls {}

impl Hash for ClientTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

/// Settings that are kept: each compilation of the rows asks for them, and the system's authorities
/// take milliseconds to read.
const MAX_KEPT: usize = 64;

thread_local! {
    static KEPT: RefCell<Vec<Arc<ClientTls>>> = const { RefCell::new(Vec::new()) };
}

/// Settings for connections to a provider with files of its own: the authorities to trust instead
/// of the system's, and the certificate that it demands with its key.
pub fn provider_config(
    ca_file: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    verify: bool,
) -> Result<Arc<ClientTls>, String> {
    let has_identity = identity.is_some();
    let paths = ca_file.iter().chain(identity.iter().flat_map(|(cert, key)| [cert, key]));
    let files = paths.map(|path| (path.clone(), file_stamp(path))).collect();
    let key = ClientTlsKey { files, has_identity, verify };
    let kept = KEPT.with_borrow(|kept| kept.iter().find(|kept| kept.key == key).cloned());
    if let Some(kept) = kept {
        return Ok(kept);
    }
    let trust = Trust { insecure: !verify, extra_roots: ca_file.as_deref() };
    let identity = identity.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
    let (config, _) = client_config_with(&trust, ca_file.is_some(), identity)?;
    let made = Arc::new(ClientTls { key, config });
    KEPT.with_borrow_mut(|kept| {
        if kept.len() >= MAX_KEPT {
            kept.remove(0);
        }
        kept.push(made.clone());
    });
    Ok(made)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Settings for connections to upstreams. The warnings say which roots could not be read.
pub fn client_config(trust: &Trust<'_>) -> Result<(Arc<ClientConfig>, Vec<String>), String> {
    client_config_with(trust, false, None)
}

/// Returns the same with a certificate of this client's own. `extra_only` trusts no authority of
/// the system.
fn client_config_with(
    trust: &Trust<'_>,
    extra_only: bool,
    identity: Option<(&Path, &Path)>,
) -> Result<(Arc<ClientConfig>, Vec<String>), String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls: {error}"))?;
    let mut warnings = Vec::new();
    let config = if trust.insecure {
        let verifier = Arc::new(AnyCertificate(provider()));
        builder.dangerous().with_custom_certificate_verifier(verifier)
    } else {
        builder.with_root_certificates(roots(trust.extra_roots, extra_only, &mut warnings)?)
    };
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some((cert, key)) => config
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| format!("{}: certificate and key can't be used: {error}", cert.display()))?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), warnings))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| format!("{}: not a PEM file with a private key: {error}", path.display()))
}

fn roots(extra: Option<&Path>, extra_only: bool, warnings: &mut Vec<String>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let (Some(path), true) = (extra, extra_only) {
        let (added, _) = roots.add_parsable_certificates(certificates(path)?);
        return match added {
            0 => Err(format!("{}: holds no usable certificate", path.display())),
            _ => Ok(roots),
        };
    }
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = extra {
        let (added, _) = roots.add_parsable_certificates(certificates(path)?);
        if added == 0 {
            return Err(format!("SSL_CERT_FILE {}: holds no usable certificate", path.display()));
        }
    }
    if roots.is_empty() {
        warnings.push(format!(
            "no trusted root certificate was found, so every https upstream will be refused; install ca-certificates or set \
             SSL_CERT_FILE ({} errors while reading the system's)",
            system.errors.len()
        ));
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{}: not a PEM file of certificates: {error}", path.display()))
}

/// Settings for the listener, from a certificate chain and its key. With `client_ca` a client must
/// have a certificate of one of these authorities.
pub fn server_config(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates(cert)?;
    let key = private_key(key)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls: {error}"))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(roots(Some(path), true, &mut Vec::new())?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| format!("{}: {error}", path.display()))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("{}: certificate and key can't be used: {error}", cert.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if let Ok(ticketer) = rustls::crypto::ring::Ticketer::new() {
        config.ticketer = ticketer;
    }
    Ok(Arc::new(config))
}

/// When the first certificate of a chain expires, as RFC 3339 in UTC. `None` if that can't be read.
pub fn not_after(cert: &Path) -> Option<String> {
    let chain = certificates(cert).ok()?;
    validity::not_after(chain.first()?)
}

/// `VERIFY_SSL=false`: any certificate for any name, but signatures made with it must still be
/// right.
struct AnyCertificate(Arc<CryptoProvider>);

impl fmt::Debug for AnyCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyCertificate")
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
