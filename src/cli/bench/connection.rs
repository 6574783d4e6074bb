//! One connection to a target: a request, and its response to the last byte.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use llm_http::{BodyDecoder, HeadScan, Limits, Method, Step, next_final_response};
use llm_mock::stamp;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::events::{Echo, Nonce, Search, Stamps};

/// Bytes read at once.
const READ_SIZE: usize = 64 * 1024;

/// A response that belongs to another request.
const WRONG_ANSWER: &str = "response with the number of another request";

/// What the connections of a target have in common.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) addr: SocketAddr,
    /// The name that the target's certificate must have.
    pub(super) tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
    /// Head and body of the request. If [`Nonce::TEXT`] stands in it and `verify` is set, each
    /// request has a number of its own there.
    pub(super) request: Vec<u8>,
    /// Each response must repeat the number of its request.
    pub(super) verify: bool,
    /// What the last event of a stream holds; `None` where no stream is requested.
    pub(super) end_mark: Option<&'static str>,
}

/// When a response came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// The first byte of the body.
    pub(super) first: Instant,
    /// The last one.
    pub(super) end: Instant,
}

/// Why a request got no good response.
#[derive(Debug)]
pub(super) enum Failure {
    Connect(io::Error),
    /// The connection broke, or was closed before the end.
    Broken(io::Error),
    Closed,
    /// Not HTTP.
    Malformed(&'static str),
    Status(u16),
    /// A stream without its last event.
    Unfinished,
    /// It repeats the number of another request.
    Foreign,
    /// It does not repeat the number of its request.
    Unrepeated,
    Timeout,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect(error) => write!(out, "no connection ({})", error.kind()),
            Failure::Broken(error) => write!(out, "connection broken ({})", error.kind()),
            Failure::Closed => out.write_str("closed before the end of the response"),
            Failure::Malformed(why) => out.write_str(why),
            Failure::Status(status) => write!(out, "status {status}"),
            Failure::Unfinished => out.write_str("stream without its last event"),
            Failure::Foreign => out.write_str(WRONG_ANSWER),
            Failure::Unrepeated => out.write_str("response without its request's number"),
            Failure::Timeout => out.write_str("timeout"),
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// A connection, opened when it is first used and again when its peer has closed it.
pub(super) struct Connection<'e> {
    endpoint: &'e Endpoint,
    stream: Option<Box<dyn Duplex>>,
    input: Vec<u8>,
    end: Option<Search>,
    /// The number of the request under way, and the request that it stands in.
    verified: Option<(Nonce, Vec<u8>)>,
}

impl<'e> Connection<'e> {
    pub(super) fn new(endpoint: &'e Endpoint) -> Connection<'e> {
        let end = endpoint.end_mark.map(Search::new);
        let nonce = endpoint.verify.then(|| Nonce::find(&endpoint.request)).flatten();
        let verified = nonce.map(|nonce| (nonce, endpoint.request.clone()));
        Connection { endpoint, stream: None, input: Vec::new(), end, verified }
    }

    /// Opens the connection, unless it is open.
    pub(super) async fn open(&mut self) -> Result<(), Failure> {
        if self.stream.is_none() {
            self.stream = Some(connect(self.endpoint).await.map_err(Failure::Connect)?);
        }
        Ok(())
    }

    /// Sends the request and reads its response. `on_event` gets the time that each stamped event
    /// of a stream was under way.
    ///
    /// A connection that failed, or was dropped in the middle, is closed.
    pub(super) async fn exchange(&mut self, on_event: impl FnMut(Duration)) -> Result<Times, Failure> {
        self.open().await?;
        let Some(mut stream) = self.stream.take() else { return Err(Failure::Closed) };
        let request = match &mut self.verified {
            None => &self.endpoint.request,
            Some((nonce, request)) => {
                nonce.renew(request);
                request
            }
        };
        stream.write_all(request).await.map_err(Failure::Broken)?;
        let response = self.response(&mut *stream, on_event).await;
        let echo = self.verified.as_ref().map(|(nonce, _)| nonce.echo());
        if echo == Some(Echo::Foreign) {
            return Err(Failure::Foreign);
        }
        let (times, keep) = response?;
        if keep {
            self.stream = Some(stream);
        }
        if self.end.as_ref().is_some_and(|end| !end.is_found()) {
            return Err(Failure::Unfinished);
        }
        if echo == Some(Echo::Nothing) {
            return Err(Failure::Unrepeated);
        }
        Ok(times)
    }

    async fn response(
        &mut self,
        stream: &mut dyn Duplex,
        mut on_event: impl FnMut(Duration),
    ) -> Result<(Times, bool), Failure> {
        self.input.clear();
        self.end.as_mut().into_iter().for_each(Search::reset);
        let mut scan = HeadScan::default();
        let head = loop {
            if self.read(stream).await? == 0 {
                return Err(Failure::Closed);
            }
            let head = next_final_response(&self.input, &mut scan, &Limits::default(), Method::Post);
            if let Some(head) = head.map_err(|refused| Failure::Malformed(refused.reason))? {
                break head;
            }
        };
        let mut body = BodyDecoder::new(head.framing);
        let (mut pos, mut first, mut stamps) = (head.len, None, Stamps::default());
        loop {
            let (now, wall) = (Instant::now(), self.end.is_some().then(stamp::now));
            loop {
                match body.next(&self.input, &mut pos).map_err(|_| Failure::Malformed("badly framed body"))? {
                    Step::Data(range) => {
                        first.get_or_insert(now);
                        let piece = &self.input[range];
                        if let Some((nonce, _)) = &mut self.verified {
                            nonce.scan(piece);
                        }
                        if let (Some(end), Some(wall)) = (&mut self.end, wall) {
                            end.scan(piece);
                            if self.verified.is_none() {
                                stamps.scan(piece, |sent| on_event(Duration::from_micros(wall.saturating_sub(sent))));
                            }
                        }
                    }
                    Step::More => break,
                    Step::End => {
                        return self.ended(
                            head.status,
                            first.unwrap_or(now),
                            now,
                            head.keep_alive && body.ended_alone(),
                        );
                    }
                }
            }
            (pos, _) = (0, self.input.clear());
            if self.read(stream).await? == 0 {
                body.eof().map_err(|_| Failure::Closed)?;
                let now = Instant::now();
                return self.ended(head.status, first.unwrap_or(now), now, false);
            }
        }
    }

    fn ended(&self, status: u16, first: Instant, end: Instant, keep: bool) -> Result<(Times, bool), Failure> {
        if status == 200 { Ok((Times { first, end }, keep)) } else { Err(Failure::Status(status)) }
    }

    async fn read(&mut self, stream: &mut dyn Duplex) -> Result<usize, Failure> {
        if self.input.capacity() - self.input.len() < READ_SIZE / 4 {
            self.input.reserve(READ_SIZE);
        }
        stream.read_buf(&mut self.input).await.map_err(Failure::Broken)
    }
}

async fn connect(endpoint: &Endpoint) -> io::Result<Box<dyn Duplex>> {
    let stream = TcpStream::connect(endpoint.addr).await?;
    stream.set_nodelay(true)?;
    Ok(match &endpoint.tls {
        None => Box::new(stream),
        Some((name, config)) => Box::new(TlsConnector::from(config.clone()).connect(name.clone(), stream).await?),
    })
}
