//! One client connection: read a head, serve the request, keep alive or close.

use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;

use super::client::{Client, ListenerKind, WaitError};
use super::core::Core;
use super::endpoint;
use super::pinned::pinned;
use super::reply::{self, Cors, ResponseMeta};
use super::request;
use super::request_context::{Next, new_request_id};
use crate::metrics::names::Counter;
use crate::net::TcpStream;
use crate::net::stream::{self, SMALL_READ};
use crate::net::timer::Timers;
use crate::shared::peers::Place;
use crate::shared::placement::Share;
use llm_http::{HeadScan, Limits, Refusal, RequestHead, Version};
use llm_wire::error::{Error, Kind};

/// How long a connection is kept in the drain whose last response has promised that it carries
/// another request: the head of a long stream was sent before anybody knew of the drain.
const PROMISED: Duration = Duration::from_secs(1);

/// Serves a connection to its end. Never panics: a panic of its task ends this connection alone.
///
/// A connection mostly waits for its next request, and there may be tens of thousands of them. So
/// the futures of this function and of [`serve_requests`] are small: what is rare or short is
/// boxed, and both are functions that return a block, since an `async fn` keeps its arguments
/// beside the variables that they are moved to.
pub fn serve(
    core: Rc<Core>,
    stream: TcpStream,
    peer: SocketAddr,
    open: Open,
    listener: ListenerKind,
) -> impl Future<Output = ()> {
    let tls = core.shared.tls.load_full();
    let timers = core.timers.clone();
    let _ = stream.set_nodelay(true);
    let connection: Pin<Box<dyn Future<Output = ()>>> = match tls {
        None => Box::pin(serve_requests(Client::new(&core, stream::split(stream, None), peer, listener), core)),
        Some(config) => Box::pin(serve_tls(core, stream, peer, listener, config)),
    };
    let guarded = Guarded { connection, timers };
    async move {
        if guarded.await.is_err() {
            open.core.metrics.inc(Counter::ConnectionPanics);
            tracing::error!(%peer, "gateway: a panic ended a connection; the others go on");
        }
    }
}

/// Counts a connection while it is open.
pub struct Open {
    core: Rc<Core>,
    /// Where it is counted among those of its address.
    place: Place,
    /// Counts it among those of its worker.
    _share: Option<Share>,
}

impl Open {
    /// Counts a connection until the result is dropped.
    pub fn count(core: &Rc<Core>, place: Place, share: Option<Share>) -> Open {
        core.connections.set(core.connections.get() + 1);
        Open { core: core.clone(), place, _share: share }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.core.connections.set(self.core.connections.get() - 1);
        self.core.shared.peers.leave(self.place);
    }
}

/// A future whose panic becomes an error. An unwinding task would take the worker's whole runtime
/// with it. Each poll reads the clock once, for all that the task does until it waits.
struct Guarded {
    timers: Rc<Timers>,
    connection: Pin<Box<dyn Future<Output = ()>>>,
}

impl Future for Guarded {
    type Output = Result<(), ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.timers.read();
        // Unwind safety: after a panic the future is dropped, and nothing else has access to it.
        match catch_unwind(AssertUnwindSafe(|| self.connection.as_mut().poll(cx))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Err(())),
        }
    }
}

/// Serves a connection with TLS: the handshake, and then the same as without.
async fn serve_tls(
    core: Rc<Core>,
    stream: TcpStream,
    peer: SocketAddr,
    listener: ListenerKind,
    config: Arc<ServerConfig>,
) {
    let Ok(session) = rustls::ServerConnection::new(config) else { return };
    let deadline = core.timers.deadline();
    deadline.set(core.boot().header_read_timeout);
    let halves = match Box::pin(deadline.limit(stream::handshake(stream, session.into()))).await {
        Some(Ok(halves)) => halves,
        Some(Err(error)) => return tracing::debug!(%peer, "client: the TLS handshake failed: {error}"),
        None => return tracing::debug!(%peer, "client: the TLS handshake exceeded HEADER_READ_TIMEOUT_SECS"),
    };
    drop(deadline);
    Box::pin(serve_requests(Client::new(&core, halves, peer, listener), core)).await
}

/// Serves one request after the other.
// See `serve` for why it is no `async fn`.
#[allow(clippy::manual_async_fn)]
fn serve_requests(mut client: Client, core: Rc<Core>) -> impl Future<Output = ()> {
    async move {
        let mut first = true;
        loop {
            let head = match read_head(&core, &mut client, first).await {
                Ok(Some(head)) => head,
                Ok(None) => return,
                Err(refusal) => return Box::pin(refuse(&core, &mut client, refusal)).await,
            };
            first = false;
            match pinned(|| request::serve(&core, &mut client, head)).await {
                // What the client had sent ahead was too much to keep.
                Next::KeepAlive if client.reader.has_discarded() => {
                    return Box::pin(client.close_gracefully()).await;
                }
                Next::KeepAlive => {}
                Next::Close => return Box::pin(client.close_gracefully()).await,
                Next::Abort => return,
            }
        }
    }
}

/// Reads the next head on the connection, to the front of `client.buf`. `None` when the client has
/// closed the connection, or was silent for too long.
async fn read_head(core: &Core, client: &mut Client, first: bool) -> Result<Option<RequestHead>, Refusal> {
    let limits = Limits { head_bytes: u32::try_from(core.boot().max_head_bytes).unwrap_or(u32::MAX) };
    let mut scan = HeadScan::default();
    let boot = core.boot();
    // Whether the deadline of the head is set. A head that arrives in one read needs none.
    let mut timed = false;
    if first {
        client.deadline.set(boot.header_read_timeout);
    } else if client.buf.is_empty() {
        match core.shared.is_draining() {
            true => client.deadline.set(PROMISED),
            false => client.deadline.set_idle(boot.keepalive_timeout),
        }
        let spare = std::mem::take(&mut client.buf);
        client.reader.recycle(spare);
    }
    client.reader.read_size(SMALL_READ);
    client.head_began = (!client.buf.is_empty()).then(|| core.timers.recent());
    loop {
        if !client.buf.is_empty()
            && let Some(head) = client.heads.parse(&client.buf, &mut scan, &limits)?
        {
            return Ok(Some(head));
        }
        let waiting = client.buf.is_empty();
        if !waiting && !std::mem::replace(&mut timed, true) {
            client.deadline.set(boot.header_read_timeout);
        }
        let mut buf = std::mem::take(&mut client.buf);
        let read = client.read_into(&mut buf).await;
        client.buf = buf;
        match read {
            Ok(_) if waiting => client.head_began = Some(core.timers.recent()),
            Ok(_) => {}
            Err(WaitError::ClientDisconnected) => return Ok(None),
            Err(WaitError::DeadlineExpired) if waiting || core.stopping() => return Ok(None),
            Err(WaitError::DeadlineExpired) => return Err(slow_head()),
        }
    }
}

fn slow_head() -> Refusal {
    Refusal { status: 408, reason: "the request head did not arrive within HEADER_READ_TIMEOUT_SECS" }
}

/// Responds to bytes that are no request, in the format of the path if there is one.
async fn refuse(core: &Rc<Core>, client: &mut Client, refusal: Refusal) {
    core.metrics.inc(Counter::BadRequests);
    let kind = match refusal.status {
        408 => Kind::RequestTimeout,
        431 => Kind::HeadTooLarge,
        501 => Kind::NotImplemented,
        505 => Kind::HttpVersion,
        _ => Kind::InvalidRequest,
    };
    let meta = ResponseMeta {
        format: endpoint::error_format(path_of_malformed(&client.buf), false),
        version: Version::Http11,
        keep_alive: false,
        head_only: false,
        cors: Cors::NoPage,
        budget: None,
        spending: None,
        upstream: None,
    };
    let mut out = Vec::with_capacity(512);
    reply::error(&mut out, &meta, new_request_id(core).as_str(), &Error::client(kind, refusal.reason));
    if client.send(out).await.is_ok() {
        client.close_gracefully().await;
    }
}

/// Returns the path in the first line of a malformed head, or `/`. It decides the format of the
/// error, and nothing else.
fn path_of_malformed(buf: &[u8]) -> &str {
    let buf = buf.trim_ascii_start();
    let Some(end) = memchr::memchr2(b'\r', b'\n', buf) else { return "/" };
    let target = buf[..end].split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    std::str::from_utf8(path).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::panic::resume_unwind;
    use std::task::Waker;
    use std::time::Instant;

    /// The futures of a connection that waits for a request, on a 64-bit machine: the task, and the
    /// box in it, for which the allocator has 768 bytes.
    #[test]
    fn the_futures_of_an_idle_connection_are_small() {
        fn of_task<A, B, C, D, E, R>(_: impl Fn(A, B, C, D, E) -> R) -> usize {
            size_of::<R>()
        }
        fn of_box<A, B, R>(_: impl Fn(A, B) -> R) -> usize {
            size_of::<R>()
        }
        let sizes = [of_task(serve), of_box(serve_requests)];
        assert!(sizes[0] <= 128 && sizes[1] <= 768, "{sizes:?}");
    }

    const fn align<A, B, C, R>(_: &impl Fn(A, B, C) -> R) -> usize {
        align_of::<R>()
    }

    /// The allocator has a longer way for what is aligned beyond a word, and each request makes one
    /// of these futures.
    const _: () = assert!(align(&request::serve) == align_of::<usize>());

    const fn size<A, B, C, R>(_: &impl Fn(A, B, C) -> R) -> usize {
        size_of::<R>()
    }

    /// The future of a request is there for as long as its stream. The allocator has 4,096 bytes for
    /// it; the next class is 5,120.
    const _: () = assert!(size(&request::serve) <= 4096);

    /// Pends `pends` times, then panics or ends; `held` is what the task owns meanwhile.
    async fn task(pends: u32, panics: bool, held: Rc<()>) {
        let mut left = pends;
        poll_fn(|_| match left.checked_sub(1) {
            Some(less) => {
                left = less;
                Poll::Pending
            }
            // As a panic, but without its message in the output of the tests.
            None if panics => resume_unwind(Box::new(())),
            None => Poll::Ready(()),
        })
        .await;
        drop(held);
    }

    #[test]
    fn a_panic_becomes_an_error_and_frees_the_task() {
        let mut cx = Context::from_waker(Waker::noop());
        for (pends, panics, expected) in
            [(0, false, Ok(())), (2, false, Ok(())), (0, true, Err(())), (2, true, Err(()))]
        {
            let held = Rc::new(());
            let timers = Timers::new(Instant::now());
            let mut guarded = Guarded { connection: Box::pin(task(pends, panics, held.clone())), timers };
            for _ in 0..pends {
                assert!(Pin::new(&mut guarded).poll(&mut cx).is_pending());
            }
            assert_eq!(Pin::new(&mut guarded).poll(&mut cx), Poll::Ready(expected));
            drop(guarded);
            assert_eq!(Rc::strong_count(&held), 1);
        }
    }

    #[test]
    fn malformed_heads_have_a_path() {
        let rows: &[(&[u8], &str)] = &[
            (b"POST /v1/messages HTTP/1.1\r\nhost :", "/v1/messages"),
            (b"\r\nPOST /v1/messages?beta=true HTTP/9\n", "/v1/messages"),
            (b"POST /v1/messages\r\n", "/v1/messages"),
            (b"POST /v1/mess", "/"),
            (b"POST /\xff HTTP/1.1\r\n", "/"),
            (b"POST\r\n/v1/messages", ""),
            (b"", "/"),
        ];
        for (head, path) in rows {
            assert_eq!(path_of_malformed(head), *path, "{}", String::from_utf8_lossy(head));
        }
    }
}
