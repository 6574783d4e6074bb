//! TLS settings, made once per process and shared by all cores.
//!
//! One client configuration for the whole process means that a session ticket won by one core
//! resumes on the others. Its ticket store has a lock inside rustls, taken once per handshake and
//! never per request.

mod validity;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

/// How upstreams are verified.
#[derive(Debug, Clone, Default)]
pub struct Trust<'a> {
    /// Accept any certificate. For test set-ups only.
    pub insecure: bool,
    /// PEM file with roots to trust beside the system's.
    pub extra_roots: Option<&'a Path>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Settings for connections to upstreams. The warnings say which roots could not be read.
pub fn client_config(trust: &Trust<'_>) -> Result<(Arc<ClientConfig>, Vec<String>), String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls: {error}"))?;
    let mut warnings = Vec::new();
    let mut config = if trust.insecure {
        let verifier = Arc::new(AnyCertificate(provider()));
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
    } else {
        builder.with_root_certificates(roots(trust.extra_roots, &mut warnings)?).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), warnings))
}

fn roots(extra: Option<&Path>, warnings: &mut Vec<String>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
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

/// Settings for the listener, from a certificate chain and its key.
pub fn server_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates(cert)?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| format!("{}: not a PEM file with a private key: {error}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls: {error}"))?
        .with_no_client_auth()
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
