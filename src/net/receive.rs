//! Receives at once what has arrived, where epoll has told that something has.
//!
//! The runtime would do the same behind an operation, which is made with a buffer, polled and
//! dropped, also where nothing has arrived yet. On io_uring the operation is what waits.

use std::io;
use std::os::fd::RawFd;

/// Appends what has arrived at the socket to `buf`, as far as that has room, without waiting.
/// Returns how many bytes that were: 0 is the end of the stream.
pub(super) fn receive_now(socket: RawFd, buf: &mut Vec<u8>) -> io::Result<usize> {
    const FLAGS: libc::c_int = libc::MSG_DONTWAIT;
    let room = buf.spare_capacity_mut();
    let (nobody, no_length) = (std::ptr::null_mut::<libc::sockaddr>(), std::ptr::null_mut::<libc::socklen_t>());
    // Not `libc::recv`, which is a point of cancellation, as `send_now` says.
    // SAFETY: these are the arguments of `recvfrom`, which writes at most `len` bytes to `room` and
    // no address. A descriptor that is closed or no socket makes the call fail.
    #[allow(unsafe_code)]
    let received = unsafe {
        let (to, len) = (room.as_mut_ptr(), room.len().min(i32::MAX as usize));
        libc::syscall(libc::SYS_recvfrom, socket, to, len, FLAGS, nobody, no_length)
    };
    let Ok(received) = usize::try_from(received) else { return Err(io::Error::last_os_error()) };
    // SAFETY: the kernel has written so many bytes behind what `buf` has, and no more than its
    // room.
    #[allow(unsafe_code)]
    unsafe {
        buf.set_len(buf.len() + received);
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn it_takes_what_is_there_and_never_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // A blocking socket.
        let (socket, _) = listener.accept().unwrap();
        let mut buf = Vec::with_capacity(8);
        let error = receive_now(socket.as_raw_fd(), &mut buf).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        peer.write_all(b"0123456789").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut next = || loop {
            match receive_now(socket.as_raw_fd(), &mut buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                received => break (received.unwrap(), buf.clone(), buf.capacity()),
            }
        };
        let (received, got, capacity) = next();
        assert_eq!((received, &*got, capacity), (8, &b"01234567"[..], 8));
        buf.clear();
        let mut next = || receive_now(socket.as_raw_fd(), &mut buf).unwrap();
        assert_eq!((next(), next()), (2, 0));
        assert_eq!(buf, b"89");
        drop(socket);
        assert!(receive_now(-1, &mut buf).is_err());
    }
}
