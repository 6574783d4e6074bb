//! Opens TCP connections: to the first of several addresses that answers (RFC 8305, "Happy
//! Eyeballs"), and through a proxy.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;

use crate::config::tunnel::{Dialogue, Proxy, Refusal, Step};

/// How long an address has before the next one is tried beside it (RFC 8305, 5).
const STAGGER: Duration = Duration::from_millis(250);

/// An attempt that runs, with its address.
type Attempt = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)>>>;

/// Connects to one of these addresses. The next one is tried when one has failed, or has not
/// answered for a while; the first that answers counts. The error is that of the last that failed.
pub(super) async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream, (Option<SocketAddr>, io::Error)> {
    let mut waiting = interleave(addresses).into_iter().peekable();
    let mut running: Vec<Attempt> = Vec::new();
    let mut failure = (None, io::Error::from(io::ErrorKind::AddrNotAvailable));
    loop {
        match waiting.next() {
            Some(address) => running.push(Box::pin(async move { (address, open(address).await) })),
            None if running.is_empty() => return Err(failure),
            None => {}
        }
        let mut pause: Option<Pin<Box<dyn Future<Output = ()>>>> = match waiting.peek() {
            Some(_) => Some(Box::pin(monoio::time::sleep(STAGGER))),
            None => None,
        };
        let outcome = poll_fn(|cx| {
            for at in 0..running.len() {
                if let Poll::Ready(outcome) = running[at].as_mut().poll(cx) {
                    drop(running.swap_remove(at));
                    return Poll::Ready(Some(outcome));
                }
            }
            match &mut pause {
                Some(pause) => pause.as_mut().poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        });
        match outcome.await {
            Some((_, Ok(stream))) => return Ok(stream),
            Some((address, Err(error))) => failure = (Some(address), error),
            None => {}
        }
    }
}

/// Returns the addresses with both families in turn, in the order in which each has them; the
/// family of the first one begins.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let mut mixed = Vec::with_capacity(one.len() + other.len());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    loop {
        let (a, b) = (one.next(), other.next());
        if a.is_none() && b.is_none() {
            return mixed;
        }
        mixed.extend(a.into_iter().chain(b));
    }
}

/// Opens a tunnel to `host` on a connection to `proxy`. The error is for the log.
pub(super) async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, host: &str, port: u16) -> Result<(), Refusal> {
    let broken = |error: io::Error| Refusal::OfProxy(format!("the connection to the proxy broke: {error}"));
    let (mut dialogue, first) = Dialogue::begin(proxy, host, port)?;
    let mut step = Step::Send(first);
    loop {
        match step {
            Step::Open => return Ok(()),
            Step::Send(bytes) => drop(stream.write_all(bytes).await.0.map_err(broken)?),
            Step::Receive => {}
        }
        let (read, buf) = stream.read(Vec::with_capacity(1024)).await;
        if read.map_err(broken)? == 0 {
            return Err(Refusal::OfProxy("the proxy closed the connection".to_owned()));
        }
        step = dialogue.receive(&buf)?;
    }
}

/// Connects in a task of its own. In this version of monoio a connect that is dropped leaks its
/// descriptor if the kernel has completed it. So the task runs to its end, and closes the stream if
/// nobody waits for it any more.
async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let slot = Rc::new(Slot::default());
    let task = slot.clone();
    monoio::spawn(async move {
        let result = TcpStream::connect_addr(address).await;
        if let Ok(stream) = &result {
            let _ = stream.set_nodelay(true);
        }
        *task.result.borrow_mut() = Some(result);
        if let Some(waker) = task.waker.borrow_mut().take() {
            waker.wake();
        }
    });
    poll_fn(|cx| match slot.result.borrow_mut().take() {
        Some(result) => Poll::Ready(result),
        None => {
            *slot.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        }
    })
    .await
}

#[derive(Default)]
struct Slot {
    result: RefCell<Option<io::Result<TcpStream>>>,
    waker: RefCell<Option<Waker>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mixed = interleave(addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"]));
        assert_eq!(mixed, addresses(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"]));
        assert_eq!(interleave(Vec::new()), []);
    }

    /// An address that does not answer holds nobody up.
    #[test]
    fn the_first_that_answers_counts() {
        let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        silent.listen(0).unwrap();
        let silent = silent.local_addr().unwrap().as_socket().unwrap();
        // Its queue is full, so that the kernel answers no more.
        let queued: Vec<_> =
            (0..8).map(|_| std::net::TcpStream::connect_timeout(&silent, Duration::from_millis(100))).collect();
        assert!(queued.iter().any(|connected| connected.is_err()), "the queue is not full");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let refused = SocketAddr::from(([127, 0, 0, 1], 1));
        let connect = |addresses: &[SocketAddr]| {
            let builder = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new();
            let mut runtime = builder.enable_timer().build().unwrap();
            let addresses = addresses.to_vec();
            runtime.block_on(async { connect(addresses).await.map(|stream| stream.peer_addr().unwrap()) })
        };
        assert_eq!(connect(&[silent, refused, good]).unwrap(), good);
        let (address, error) = connect(&[refused]).err().unwrap();
        assert_eq!((address, error.kind()), (Some(refused), io::ErrorKind::ConnectionRefused));
        assert!(connect(&[]).is_err());
    }
}
