//! Faults of TLS: what a client of an `https` address meets before it can send anything.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::faults::Fault;

/// A certificate for `localhost` and `127.0.0.1` that was valid in 2020, and its key, which has no
/// other use.
const CERTIFICATE: &[u8] = include_bytes!("expired/cert.der");
const KEY: &[u8] = include_bytes!("expired/key.der");

/// A fatal alert, `handshake_failure` (RFC 8446, 6).
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 40];

/// Bytes taken from the socket at once.
const READ: usize = 16 * 1024;

/// Reads of what a client sends behind its refusal, and how long they are awaited.
const MOST_READS: usize = 64;
const LINGER: Duration = Duration::from_secs(1);

/// How connections are ended before any request.
#[derive(Debug, Clone)]
pub(crate) enum TlsFault {
    /// The handshake is refused with an alert.
    Refusal,
    /// The certificate has expired.
    Expired(Arc<ServerConfig>),
}

impl TlsFault {
    /// Returns how `fault` ends connections. `None` if it is not one of TLS.
    pub(crate) fn of(fault: Fault) -> io::Result<Option<TlsFault>> {
        match fault {
            Fault::TlsFailure => Ok(Some(TlsFault::Refusal)),
            Fault::ExpiredCertificate => {
                let config = expired().map_err(|error| io::Error::other(error.to_string()))?;
                Ok(Some(TlsFault::Expired(Arc::new(config))))
            }
            _ => Ok(None),
        }
    }

    /// Ends a connection. A client that does not verify certificates finds it closed behind
    /// the handshake.
    pub(crate) async fn end(&self, mut stream: TcpStream) {
        // The other side may be gone, since these faults are to make it leave.
        let _ = match self {
            TlsFault::Refusal => refuse(&mut stream).await,
            TlsFault::Expired(config) => shake_hands(&mut stream, config.clone()).await,
        };
    }
}

fn expired() -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(KEY));
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
}

async fn refuse(stream: &mut TcpStream) -> io::Result<()> {
    stream.read(Vec::with_capacity(READ)).await.0?;
    stream.write_all(ALERT).await.0?;
    stream.shutdown().await?;
    // A close with bytes unread would be a reset, which may overtake the alert.
    let rest = async {
        for _ in 0..MOST_READS {
            if !stream.read(Vec::with_capacity(READ)).await.0.is_ok_and(|n| n > 0) {
                break;
            }
        }
    };
    // A client that neither sends nor closes is left.
    let _ = monoio::time::timeout(LINGER, rest).await;
    Ok(())
}

async fn shake_hands(stream: &mut TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    while session.is_handshaking() {
        let (read, bytes) = stream.read(Vec::with_capacity(READ)).await;
        if read? == 0 {
            return Ok(());
        }
        session.read_tls(&mut bytes.as_slice())?;
        let result = session.process_new_packets();
        let mut out = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut out)?;
        }
        stream.write_all(out).await.0?;
        // An alert of the client is the end that it should be.
        result.map_err(io::Error::other)?;
    }
    Ok(())
}
