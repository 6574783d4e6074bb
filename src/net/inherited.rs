//! Descriptors that this process got from the one that started it: listening sockets of systemd
//! (`LISTEN_FDS`, sd_listen_fds(3)), or all that a gateway hands to its successor at an upgrade.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// The variable in which a gateway tells its successor what it hands over, such as
/// `public=5,public=6,lock=7,ready=8`.
pub const VARIABLE: &str = "LLM_PROXY_HANDOVER";
/// The first descriptor that systemd passes.
const FIRST_FD: RawFd = 3;
/// More sockets than anybody passes.
const MAX_FDS: i32 = 4096;

/// What was inherited.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Sockets of the public listener.
    pub public: Vec<TcpListener>,
    /// The socket of the admin interface.
    pub admin: Option<TcpListener>,
    /// The open file that locks the embedded store.
    pub lock: Option<File>,
    /// Where the predecessor waits to read that this process serves.
    pub ready: Option<File>,
}

impl Inherited {
    /// Takes what the environment names. Only the first call of a process gets anything: the
    /// descriptors have one owner. The error says what can't be used.
    pub fn take() -> Result<Inherited, String> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Ok(Inherited::default());
        }
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let named = match get(VARIABLE) {
            Some(list) => of_predecessor(&list).ok_or_else(|| format!("{VARIABLE} is malformed"))?,
            None => match (get("LISTEN_PID"), get("LISTEN_FDS")) {
                (Some(pid), Some(count)) if pid.trim() == std::process::id().to_string() => {
                    of_systemd(&count, &get("LISTEN_FDNAMES").unwrap_or_default())
                        .ok_or_else(|| format!("LISTEN_FDS is `{count}`, which is no number of sockets"))?
                }
                _ => return Ok(Inherited::default()),
            },
        };
        let mut inherited = Inherited::default();
        for (name, fd) in named {
            let fd = own(fd).map_err(|error| format!("the inherited descriptor {fd} can't be used: {error}"))?;
            match name {
                Name::Public => inherited.public.push(listener(fd)?),
                Name::Admin => inherited.admin = Some(listener(fd)?),
                Name::Lock => inherited.lock = Some(File::from(fd)),
                Name::Ready => inherited.ready = Some(File::from(fd)),
            }
        }
        Ok(inherited)
    }
}

/// What a descriptor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Public,
    Admin,
    Lock,
    Ready,
}

impl Name {
    const ALL: [(&'static str, Name); 4] =
        [("public", Name::Public), ("admin", Name::Admin), ("lock", Name::Lock), ("ready", Name::Ready)];

    /// Returns its name, which is never empty.
    pub fn text(self) -> &'static str {
        Name::ALL.iter().find(|(_, name)| *name == self).map_or("", |(text, _)| text)
    }

    /// Returns the one of this name.
    pub fn of(text: &str) -> Option<Name> {
        Name::ALL.into_iter().find(|(known, _)| *known == text).map(|(_, name)| name)
    }
}

fn of_predecessor(list: &str) -> Option<Vec<(Name, RawFd)>> {
    let entry = |entry: &str| {
        let (name, fd) = entry.split_once('=')?;
        Some((Name::of(name)?, fd.parse().ok().filter(|fd| *fd >= FIRST_FD)?))
    };
    list.split(',').map(entry).collect()
}

/// Sockets with the name `admin` (`FileDescriptorName=`) are the admin interface's.
fn of_systemd(count: &str, names: &str) -> Option<Vec<(Name, RawFd)>> {
    let count = count.trim().parse::<i32>().ok().filter(|count| (1..=MAX_FDS).contains(count))?;
    let mut names = names.split(':');
    let name = |text: Option<&str>| if text == Some("admin") { Name::Admin } else { Name::Public };
    Some((FIRST_FD..FIRST_FD + count).map(|fd| (name(names.next()), fd)).collect())
}

/// Takes a descriptor, which children of this process don't get.
#[allow(unsafe_code)]
fn own(fd: RawFd) -> rustix::io::Result<OwnedFd> {
    // SAFETY: whoever started this process has opened this descriptor for it and says so in its
    // environment, which is read once: nothing else in this process knows it. Whether it is open is
    // asked before it is used.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    match fcntl_getfd(&owned).and_then(|flags| fcntl_setfd(&owned, flags | FdFlags::CLOEXEC)) {
        Ok(()) => Ok(owned),
        Err(error) => {
            // It is not open, so there is nothing to close.
            std::mem::forget(owned);
            Err(error)
        }
    }
}

fn listener(fd: OwnedFd) -> Result<TcpListener, String> {
    let listener = TcpListener::from(fd);
    match listener.local_addr() {
        Ok(_) => Ok(listener),
        Err(error) => Err(format!("an inherited descriptor is no TCP socket that listens: {error}")),
    }
}

/// Descriptors for a successor: copies that it inherits, which are closed here when this is
/// dropped.
#[derive(Debug, Default)]
pub struct Bequest {
    fds: Vec<OwnedFd>,
    list: Vec<String>,
}

impl Bequest {
    /// Adds a copy of `fd`.
    pub fn add(&mut self, name: Name, fd: BorrowedFd<'_>) -> std::io::Result<()> {
        use std::os::fd::AsRawFd;
        let copy = fd.as_fd().try_clone_to_owned()?;
        fcntl_setfd(&copy, FdFlags::empty())?;
        self.list.push(format!("{}={}", name.text(), copy.as_raw_fd()));
        self.fds.push(copy);
        Ok(())
    }

    /// Returns the value of [`VARIABLE`].
    pub fn value(&self) -> String {
        self.list.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_descriptors() {
        assert_eq!(of_systemd("2", "http:admin"), Some(vec![(Name::Public, 3), (Name::Admin, 4)]));
        assert_eq!(of_systemd("1", ""), Some(vec![(Name::Public, 3)]));
        assert_eq!([of_systemd("0", ""), of_systemd("x", ""), of_systemd("9999999", "")], [None, None, None]);
        let expected = vec![(Name::Public, 5), (Name::Lock, 7), (Name::Ready, 8)];
        assert_eq!(of_predecessor("public=5,lock=7,ready=8"), Some(expected));
        assert_eq!([of_predecessor("other=5"), of_predecessor("public=1"), of_predecessor("")], [None, None, None]);
    }
}
