//! Connections that change their worker: a socket leaves one thread's runtime and joins another's.

use std::io;
use std::net::TcpStream as StdStream;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use monoio::io::AsyncReadRent;
use monoio::net::{TcpStream, UnixStream};
use monoio::utils::is_legacy;

/// Takes a stream, of which nothing was read or written, out of this thread's runtime.
#[allow(unsafe_code)]
pub fn detach(stream: TcpStream) -> StdStream {
    // SAFETY: the descriptor is open, and the stream gives up its ownership of it.
    unsafe { StdStream::from_raw_fd(stream.into_raw_fd()) }
}

/// Gives a stream to this thread's runtime.
pub fn attach(stream: StdStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(is_legacy())?;
    TcpStream::from_std(stream)
}

/// The socket whose bytes wake a worker, to take the connections that others have passed to it.
pub struct WakeSocket {
    socket: UnixStream,
    buf: Vec<u8>,
}

/// Most bytes that one read takes, each of which is one call to wake.
const READ_SIZE: usize = 64;

impl WakeSocket {
    /// Takes one end of a pair of sockets, which it makes non-blocking.
    pub fn new(socket: StdUnixStream) -> io::Result<WakeSocket> {
        socket.set_nonblocking(is_legacy())?;
        Ok(WakeSocket { socket: UnixStream::from_std(socket)?, buf: vec![0; READ_SIZE] })
    }

    /// Waits for bytes. The error says that no one can write any more.
    pub async fn wait(&mut self) -> io::Result<()> {
        let (read, buf) = self.socket.read(std::mem::take(&mut self.buf)).await;
        self.buf = buf;
        match read? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
