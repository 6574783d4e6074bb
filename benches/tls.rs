//! TLS over owned buffers (`net::stream`) against monoio-rustls: a round trip of 1 KiB, and 4 MiB
//! received, on one thread over loopback.
//!
//! Figures are not what decided: monoio-rustls panics when a read that was dropped is followed by
//! another, and a relay that watches two sockets at once must be able to stop polling a read. This
//! bench shows that the choice costs nothing.

#![allow(clippy::expect_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use llm_proxy::net::runtime::{Choice, Worker};
use llm_proxy::net::stream;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

const LARGE: usize = 4 << 20;

/// Answers each 1 KiB with 1 KiB; a message that begins with `L` with [`LARGE`] bytes.
fn server() -> (SocketAddr, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a server configuration");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let config = config.clone();
            std::thread::spawn(move || {
                let _ = tcp.set_nodelay(true);
                let session = rustls::ServerConnection::new(config).expect("a session");
                let mut tls = rustls::StreamOwned::new(session, tcp);
                let mut message = [0; 1024];
                while tls.read_exact(&mut message).is_ok() {
                    let answer = if message[0] == b'L' { LARGE } else { 1024 };
                    if tls.write_all(&vec![b'x'; answer]).and_then(|()| tls.flush()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (addr, Arc::new(client))
}

fn message(first: u8) -> Vec<u8> {
    let mut message = vec![b'm'; 1024];
    message[0] = first;
    message
}

async fn ours(addr: SocketAddr, config: Arc<ClientConfig>, rounds: u64, first: u8, answer: usize) -> Duration {
    let tcp = TcpStream::connect_addr(addr).await.expect("a connection");
    let _ = tcp.set_nodelay(true);
    let name = ServerName::try_from("localhost").expect("a name");
    let session = rustls::ClientConnection::new(config, name).expect("a session");
    let (mut reader, mut writer) = stream::handshake(tcp, session.into()).await.expect("a handshake");
    reader.read_size(stream::LARGE_READ);
    let started = Instant::now();
    let mut buf = Vec::new();
    for _ in 0..rounds {
        writer.write_all(message(first)).await.0.expect("a write");
        let mut left = answer;
        while left > 0 {
            buf.clear();
            left -= reader.read(&mut buf).await.expect("a read");
        }
    }
    started.elapsed()
}

async fn theirs(addr: SocketAddr, config: Arc<ClientConfig>, rounds: u64, first: u8, answer: usize) -> Duration {
    let tcp = TcpStream::connect_addr(addr).await.expect("a connection");
    let _ = tcp.set_nodelay(true);
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = monoio_rustls::TlsConnector::from(config).connect(name, tcp).await.expect("a handshake");
    let started = Instant::now();
    let mut buf = vec![0; stream::LARGE_READ];
    for _ in 0..rounds {
        tls.write_all(message(first)).await.0.expect("a write");
        monoio::io::AsyncWriteRent::flush(&mut tls).await.expect("a flush");
        let mut left = answer;
        while left > 0 {
            let (read, back) = tls.read(buf).await;
            buf = back;
            left -= read.expect("a read");
        }
    }
    started.elapsed()
}

fn tls(c: &mut Criterion) {
    let (addr, config) = server();
    for (name, first, answer) in [("round_trip_1k", b'm', 1024), ("receive_4m", b'L', LARGE)] {
        let mut group = c.benchmark_group(format!("tls/{name}"));
        group.sample_size(10);
        group.bench_function("ours", |b| {
            b.iter_custom(|rounds| {
                let mut runtime = Worker::build(Choice::Auto).expect("a runtime");
                runtime.block_on(ours(addr, config.clone(), rounds, first, answer))
            });
        });
        group.bench_function("monoio_rustls", |b| {
            b.iter_custom(|rounds| {
                let mut runtime = Worker::build(Choice::Auto).expect("a runtime");
                runtime.block_on(theirs(addr, config.clone(), rounds, first, answer))
            });
        });
        group.finish();
    }
}

criterion_group!(benches, tls);
criterion_main!(benches);
