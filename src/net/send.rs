//! Sends at once what the kernel takes at once.
//!
//! The buffer of a socket nearly always has room for a message. On epoll the runtime would do the
//! same behind an operation, which is made, polled and dropped. On io_uring it is better to leave a
//! send to the ring: one call then sends for many connections, and a system call for each costs
//! more than the completion that wakes the task.

use std::io;
use std::os::fd::RawFd;

/// Returns how many of `bytes` the socket took without waiting.
pub(super) fn send_now(socket: RawFd, bytes: &[u8]) -> io::Result<usize> {
    const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let nobody: *const libc::sockaddr = std::ptr::null();
    // Not `libc::send`, which is a point of cancellation: it would be told to the thread and taken
    // back, and no thread here is cancelled.
    // SAFETY: these are the arguments of `sendto`, of which the kernel reads at most `len` bytes of
    // `bytes` and no address. A descriptor that is closed or no socket makes the call fail.
    #[allow(unsafe_code)]
    let sent = unsafe { libc::syscall(libc::SYS_sendto, socket, bytes.as_ptr(), bytes.len(), FLAGS, nobody, 0) };
    match usize::try_from(sent) {
        Ok(sent) => Ok(sent),
        Err(_) => match io::Error::last_os_error() {
            error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn it_takes_what_fits_and_never_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // A blocking socket, as those of the ring are.
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(send_now(client.as_raw_fd(), b"0123456789").unwrap(), 10);
        let mut got = [0; 10];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"0123456789");
        let large = vec![b'x'; 1 << 20];
        let mut sent = 0;
        // The peer reads nothing.
        loop {
            match send_now(client.as_raw_fd(), &large).unwrap() {
                0 => break,
                n => sent += n,
            }
        }
        assert!(sent > 0);
        drop(peer);
        let error = loop {
            match send_now(client.as_raw_fd(), b"x") {
                Ok(_) => std::thread::yield_now(),
                Err(error) => break error.kind(),
            }
        };
        assert!(matches!(error, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{error}");
    }
}
