//! Bytes between a TLS session and the buffers of its connection.

use std::cell::RefCell;
use std::io::{self, BufRead};
use std::rc::Rc;

/// A TLS session shared by the two halves. Borrowed for the length of a call, never across an
/// await.
pub(super) type Session = Rc<RefCell<rustls::Connection>>;

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
        let decrypted = decrypt(&mut session.borrow_mut());
        // What good records have brought comes before the error of a later one. The end of the
        // stream will be reported again.
        let _ = drain_plaintext(session, plain);
        decrypted?;
        // After a close_notify the session takes nothing more, and what comes behind it is ignored.
        if cipher.is_empty() || taken == 0 {
            return Ok(());
        }
    }
}

pub(super) fn decrypt(session: &mut rustls::Connection) -> io::Result<()> {
    match session.process_new_packets() {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}
