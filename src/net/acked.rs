//! What the peer's kernel has acknowledged of a connection, which distinguishes a request that
//! nobody saw from one that a provider may have worked on.

use std::os::fd::RawFd;

/// The offset of `tcpi_bytes_acked` in `struct tcp_info` (linux/tcp.h, since Linux 4.2): behind 8
/// bytes, 24 words of 4 and 2 of 8.
const BYTES_ACKED: std::ops::Range<usize> = 120..128;

/// Returns how many bytes the peer has acknowledged since the connection was opened. `None` if the
/// kernel does not tell.
#[cfg(target_os = "linux")]
pub fn bytes_acked(socket: RawFd) -> Option<u64> {
    let mut info = [0u8; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `info`, and sets `length` to their number.
    // A descriptor that is closed or no socket makes the call fail.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 || (length as usize) < BYTES_ACKED.end {
        return None;
    }
    info.get(BYTES_ACKED)?.try_into().ok().map(u64::from_ne_bytes)
}

#[cfg(not(target_os = "linux"))]
pub fn bytes_acked(_: RawFd) -> Option<u64> {
    None
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
        drop(peer);
    }

    #[test]
    fn a_plain_file_reports_nothing() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(bytes_acked(file.as_raw_fd()), None);
    }
}
