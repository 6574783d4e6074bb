//! The steps of a TLS session: its handshake, and bytes between what is encrypted and what is not.

use std::io::{self, BufRead};

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;

use super::{LARGE_READ, Reader, Session, Writer, split};

/// Performs a handshake on a stream of which nothing was read.
pub async fn handshake(mut stream: TcpStream, mut session: rustls::Connection) -> io::Result<(Reader, Writer)> {
    session.set_buffer_limit(None);
    let mut incoming = Vec::with_capacity(LARGE_READ);
    let mut sent = 0;
    while session.is_handshaking() || session.wants_write() {
        if session.wants_write() {
            let mut cipher = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut cipher)?;
            }
            sent += cipher.len() as u64;
            stream.write_all(cipher).await.0?;
            continue;
        }
        let (result, buf) = stream.read(incoming).await;
        incoming = buf;
        let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "closed during the TLS handshake");
        if result? == 0 {
            return Err(closed());
        }
        let mut rest = &incoming[..];
        while !rest.is_empty() {
            // After a close_notify the session takes nothing more.
            if session.read_tls(&mut rest)? == 0 {
                return Err(closed());
            }
            if let Err(error) = decrypt(&mut session) {
                send_alert(&mut stream, &mut session).await;
                return Err(error);
            }
        }
        incoming.clear();
    }
    let (reader, writer) = split(stream, Some(session));
    Ok((reader, Writer { sent, ..writer }))
}

/// Sends the alert that reports why the handshake failed.
async fn send_alert(stream: &mut TcpStream, session: &mut rustls::Connection) {
    let mut cipher = Vec::new();
    while session.wants_write() && session.write_tls(&mut cipher).is_ok() {}
    let _ = stream.write_all(cipher).await;
}

/// Moves decrypted bytes to `buf`. Returns `WouldBlock` when more ciphertext is needed, `Ok(0)`
/// after the peer's close_notify.
pub(super) fn drain_plaintext(session: &Session, buf: &mut Vec<u8>) -> io::Result<usize> {
    let mut session = session.borrow_mut();
    let mut reader = session.reader();
    let start = buf.len();
    loop {
        match reader.fill_buf() {
            Ok([]) => return Ok(buf.len() - start),
            Ok(plain) => {
                let n = plain.len();
                buf.extend_from_slice(plain);
                reader.consume(n);
            }
            Err(_) if buf.len() > start => return Ok(buf.len() - start),
            Err(error) => return Err(error),
        }
    }
}

/// Feeds ciphertext to the session, and moves decrypted bytes to `plain` in between: a session that
/// holds 16 KiB takes no more. Empty ciphertext is the end of the stream.
pub(super) fn feed(session: &Session, mut cipher: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let taken = session.borrow_mut().read_tls(&mut cipher)?;
        decrypt(&mut session.borrow_mut())?;
        // The end of the stream will be reported again.
        let _ = drain_plaintext(session, plain);
        // After a close_notify the session takes nothing more, and what comes behind it is ignored.
        if cipher.is_empty() || taken == 0 {
            return Ok(());
        }
    }
}

fn decrypt(session: &mut rustls::Connection) -> io::Result<()> {
    match session.process_new_packets() {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}
