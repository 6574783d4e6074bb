//! What the kernel knows of a connection: whether the peer has closed it, and what the peer has
//! acknowledged, which distinguishes a request that nobody saw from one that a provider may have
//! worked on.

use std::os::fd::RawFd;

/// The offset of `tcpi_bytes_acked` in `struct tcp_info` (linux/tcp.h, since Linux 4.2): behind 8
/// bytes, 24 words of 4 and 2 of 8.
const BYTES_ACKED: std::ops::Range<usize> = 120..128;

/// The offset of `tcpi_state`, one byte, and its value while neither side has closed
/// (TCP_ESTABLISHED of net/tcp_states.h).
const STATE: usize = 0;
const ESTABLISHED: u8 = 1;

/// Returns how many bytes the peer has acknowledged since the connection was opened. `None` if the
/// kernel does not tell.
pub(super) fn bytes_acked(socket: RawFd) -> Option<u64> {
    let (info, length) = tcp_info(socket)?;
    let bytes = info.get(BYTES_ACKED).filter(|_| length >= BYTES_ACKED.end)?;
    bytes.try_into().ok().map(u64::from_ne_bytes)
}

/// Returns whether the connection is known to be closed by either side. False if the kernel does
/// not tell.
pub(super) fn is_closed(socket: RawFd) -> bool {
    tcp_info(socket).is_some_and(|(info, length)| length > STATE && info[STATE] != ESTABLISHED)
}

/// Returns the beginning of the kernel's `struct tcp_info`, and how many bytes of it are known.
fn tcp_info(socket: RawFd) -> Option<([u8; 256], usize)> {
    let mut info = [0u8; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `info`, and sets `length` to their
    // number. A descriptor that is closed or no socket makes the call fail.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut length)
    };
    (result == 0).then_some((info, length as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn what_the_peer_has_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        // A kernel that does not tell has nothing to test.
        let Some(before) = bytes_acked(client.as_raw_fd()) else { return };
        assert!(before <= 1, "{before}");
        client.write_all(b"0123456789").unwrap();
        while bytes_acked(client.as_raw_fd()).unwrap() < 10 {
            std::thread::yield_now();
        }
        assert!(!is_closed(client.as_raw_fd()));
        drop(peer);
        while !is_closed(client.as_raw_fd()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_plain_file_reports_nothing() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!((bytes_acked(file.as_raw_fd()), is_closed(file.as_raw_fd())), (None, false));
    }
}
