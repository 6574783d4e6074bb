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

/// The socket that a worker is woken by.
pub struct Bell {
    socket: UnixStream,
    buf: Vec<u8>,
}

/// Bytes of a read, each of which is one ring.
const RINGS: usize = 64;

impl Bell {
    pub fn new(socket: StdUnixStream) -> io::Result<Bell> {
        socket.set_nonblocking(is_legacy())?;
        Ok(Bell { socket: UnixStream::from_std(socket)?, buf: vec![0; RINGS] })
    }

    /// Waits until the bell has rung. The error is that nobody can ring it any more.
    pub async fn wait(&mut self) -> io::Result<()> {
        let (read, buf) = self.socket.read(std::mem::take(&mut self.buf)).await;
        self.buf = buf;
        match read? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
