//! A channel between two processes of this machine that carries short texts, each with at most one
//! open descriptor (unix(7), SCM_RIGHTS).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use socket2::{Domain, MaybeUninitSlice, MsgHdr, MsgHdrMut, Socket, Type};

/// Bytes of the longest text; more is cut.
const MAX_TEXT: usize = 4096;
/// Bytes of the header of a control message: its length, its level and its type (cmsg(3)).
const HEADER: usize = size_of::<usize>() + 2 * size_of::<i32>();
/// Bytes of a control message with one descriptor, and of the room that it takes.
const LENGTH: usize = HEADER + size_of::<RawFd>();
const SPACE: usize = LENGTH.next_multiple_of(size_of::<usize>());

/// One end of the channel.
#[derive(Debug)]
pub struct FdChannel(Socket);

impl From<OwnedFd> for FdChannel {
    fn from(fd: OwnedFd) -> FdChannel {
        FdChannel(Socket::from(fd))
    }
}

impl From<FdChannel> for OwnedFd {
    fn from(channel: FdChannel) -> OwnedFd {
        channel.0.into()
    }
}

impl FdChannel {
    /// Makes both ends.
    pub fn pair() -> io::Result<(FdChannel, FdChannel)> {
        let (one, other) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        Ok((FdChannel(one), FdChannel(other)))
    }

    /// Sends a text that is not empty, and a copy of `fd` with it. Waits while the other end has
    /// not received enough of what was sent before.
    pub fn send(&self, text: &str, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let text = [IoSlice::new(&text.as_bytes()[..text.len().min(MAX_TEXT)])];
        let control = fd.map(|fd| control(fd.as_raw_fd()));
        let message = MsgHdr::new().with_buffers(&text);
        let message = match &control {
            Some(control) => message.with_control(control),
            None => message,
        };
        self.0.sendmsg(&message, libc::MSG_NOSIGNAL).map(drop)
    }

    /// Waits for the next text and its descriptor, which children of this process don't get. `None`
    /// once the other end is closed.
    pub fn receive(&self) -> io::Result<Option<(String, Option<OwnedFd>)>> {
        let mut text = [MaybeUninit::uninit(); MAX_TEXT];
        let mut control = [MaybeUninit::new(0_u8); SPACE];
        let mut buffers = [MaybeUninitSlice::new(&mut text)];
        let mut message = MsgHdrMut::new().with_buffers(&mut buffers).with_control(&mut control);
        let length = self.0.recvmsg(&mut message, libc::MSG_CMSG_CLOEXEC)?;
        let control_length = message.control_len();
        let fd = if control_length >= LENGTH { received(&control) } else { None };
        if length == 0 {
            return Ok(None);
        }
        Ok(Some((String::from_utf8_lossy(initialised(&text[..length])).into_owned(), fd)))
    }

    /// Returns the descriptor of the channel's socket.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Writes the control message that carries `fd`.
fn control(fd: RawFd) -> [u8; SPACE] {
    let mut bytes = [0; SPACE];
    bytes[..size_of::<usize>()].copy_from_slice(&LENGTH.to_ne_bytes());
    let fields = [libc::SOL_SOCKET, libc::SCM_RIGHTS, fd];
    for (field, place) in fields.iter().zip(bytes[size_of::<usize>()..].chunks_exact_mut(size_of::<i32>())) {
        place.copy_from_slice(&field.to_ne_bytes());
    }
    bytes
}

/// Reads the control message that the kernel has written, and takes its descriptor.
#[allow(unsafe_code)]
fn received(control: &[MaybeUninit<u8>; SPACE]) -> Option<OwnedFd> {
    let field = |n: usize| {
        let at = size_of::<usize>() + n * size_of::<i32>();
        let bytes = initialised(&control[at..at + size_of::<i32>()]);
        bytes.try_into().map(i32::from_ne_bytes).ok()
    };
    if (field(0), field(1)) != (Some(libc::SOL_SOCKET), Some(libc::SCM_RIGHTS)) {
        return None;
    }
    let fd = field(2).filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just opened this descriptor for this process, as the control message
    // says, and nothing else knows its number.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[allow(unsafe_code)]
fn initialised(bytes: &[MaybeUninit<u8>]) -> &[u8] {
    // SAFETY: of a text the kernel has written as many bytes as its callers show here; a control
    // message was filled with zeros before. Both types have the same layout.
    unsafe { &*(std::ptr::from_ref(bytes) as *const [u8]) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn texts_and_descriptors() {
        let (one, other) = FdChannel::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        one.send("plain", None).unwrap();
        one.send("with a pipe", Some(writer.as_fd())).unwrap();
        drop(writer);
        let (text, fd) = other.receive().unwrap().unwrap();
        assert_eq!((text.as_str(), fd.is_none()), ("plain", true));
        let (text, fd) = other.receive().unwrap().unwrap();
        assert_eq!(text, "with a pipe");
        let mut writer = File::from(fd.unwrap());
        writer.write_all(b"through it").unwrap();
        drop(writer);
        let mut seen = String::new();
        reader.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "through it");
        one.send(&"x".repeat(2 * MAX_TEXT), None).unwrap();
        assert_eq!(other.receive().unwrap().unwrap().0.len(), MAX_TEXT);
        drop(one);
        assert!(other.receive().unwrap().is_none());
        assert!(other.send("nobody", None).is_err());
    }
}
