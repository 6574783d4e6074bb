//! What hyper reads from a byte stream, in the words of
//! [`Transcript`](llm_http::transcript::Transcript), and the comparison with what our codec reads.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use llm_http::{Limits, Method, transcript};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// One stream, what we read from it, and what hyper does where that is something else.
pub struct Row {
    pub stream: Vec<u8>,
    pub ours: &'static str,
    pub hyper: Hyper,
}

pub enum Hyper {
    Agrees,
    Differs { expected: &'static str, why: &'static str },
}

pub fn agrees(stream: impl Into<Vec<u8>>, ours: &'static str) -> Row {
    Row { stream: stream.into(), ours, hyper: Hyper::Agrees }
}

pub fn differs(stream: impl Into<Vec<u8>>, ours: &'static str, expected: &'static str, why: &'static str) -> Row {
    Row { stream: stream.into(), ours, hyper: Hyper::Differs { expected, why } }
}

/// Checks every row and reports all that are wrong at once.
pub fn check(rows: &[Row], ours: impl Fn(&[u8]) -> String, hyper: impl Fn(&[u8]) -> String) {
    let mut wrong = String::new();
    for row in rows {
        let mut expect = |who: &str, expected: &str, found: String| {
            if found != expected {
                let shown = row.stream[..row.stream.len().min(300)].escape_ascii();
                wrong.push_str(&format!("{shown}\n  {who}\n    expected {expected}\n    found    {found}\n"));
            }
        };
        expect("ours", row.ours, ours(&row.stream));
        match row.hyper {
            Hyper::Agrees => expect("hyper", row.ours, hyper(&row.stream)),
            Hyper::Differs { expected, why } => {
                expect("hyper, listed as different", expected, hyper(&row.stream));
                assert!(expected != row.ours && why.len() > 10, "a difference needs a reason: {why:?}");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

pub fn our_server(stream: &[u8]) -> String {
    transcript::requests(&[stream], &Limits::default()).to_string()
}

pub fn our_client(stream: &[u8], methods: &[Method]) -> String {
    transcript::responses(&[stream], methods, &Limits::default()).to_string()
}

/// What a hyper server makes of a client that sends `stream` and closes its side.
pub fn server(stream: &[u8]) -> String {
    run(async {
        let (client, server) = tokio::io::duplex(1 << 16);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let log = Arc::clone(&seen);
        let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let log = Arc::clone(&log);
            async move {
                let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
                let line = format!("{} {}{query}", request.method(), request.uri().path());
                let (body, fault) = read_body(request.into_body()).await;
                log.lock().unwrap().push(line, body, fault);
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service);
        let (result, answer) = tokio::join!(connection, talk(client, stream));
        let mut seen = seen.lock().unwrap();
        let end = match (seen.fault, result) {
            (Some(fault), _) => fault.to_owned(),
            (None, Err(error)) if error.is_incomplete_message() => "cut".to_owned(),
            (None, Err(_)) => match last_status(&answer) {
                Some(status) if status != "200" => format!("refused {status}"),
                _ => "refused without an answer".to_owned(),
            },
            (None, Ok(())) if closes(&answer) => "close".to_owned(),
            (None, Ok(())) => "idle".to_owned(),
        };
        seen.text.push_str(&end);
        seen.text.clone()
    })
}

/// What a hyper client makes of an upstream that answers one request of each method with
/// `responses`, in turn. After the last it closes if `closes`, else it waits for another request,
/// which shows whether the connection is kept.
pub fn client(responses: &[(Method, &[u8])], closes: bool) -> String {
    run(async {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        let upstream = async move {
            for (_, response) in responses {
                if !next_request(&mut far).await {
                    return "close";
                }
                far.write_all(response).await.ok();
            }
            if closes {
                far.shutdown().await.unwrap();
            }
            if next_request(&mut far).await { "idle" } else { "close" }
        };
        let requests = async {
            let mut seen = Seen::default();
            let methods = responses.iter().map(|(method, _)| *method);
            for method in methods.chain([Method::Get]) {
                let name = if method == Method::Head { "HEAD" } else { "GET" };
                let request = Request::builder().method(name).uri("/").body(Empty::<Bytes>::new()).unwrap();
                let response = match sender.ready().await {
                    Ok(()) => sender.send_request(request).await,
                    Err(error) => Err(error),
                };
                match response {
                    Ok(response) => {
                        let line = response.status().as_u16().to_string();
                        let (body, fault) = read_body(response.into_body()).await;
                        seen.push(line, body, fault);
                    }
                    // Which of these it is, the upstream's end knows better.
                    Err(error) if error.is_canceled() || error.is_closed() => break,
                    Err(error) if error.is_incomplete_message() => {
                        seen.fault.get_or_insert("cut");
                    }
                    Err(_) => {
                        seen.fault.get_or_insert("refused 502");
                    }
                }
                if seen.fault.is_some() {
                    break;
                }
            }
            drop(sender);
            seen
        };
        let (seen, _, kept) = tokio::join!(requests, connection, upstream);
        let end = if seen.answered(responses.len()) { kept } else { seen.fault.unwrap_or("close") };
        format!("{}{end}", seen.text)
    })
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), future).await.expect("hyper waits for ever") })
}

#[derive(Default)]
struct Seen {
    text: String,
    messages: usize,
    fault: Option<&'static str>,
}

impl Seen {
    fn push(&mut self, line: String, body: Vec<u8>, fault: Option<&'static str>) {
        self.text.push_str(&format!("{line} [{}]; ", body.escape_ascii()));
        self.messages += 1;
        self.fault = fault;
    }

    /// All messages came, and came whole.
    fn answered(&self, messages: usize) -> bool {
        self.messages == messages && !matches!(self.fault, Some("body cut" | "body faulty"))
    }
}

async fn read_body<B: Body<Data = Bytes, Error = hyper::Error> + Unpin>(
    mut body: B,
) -> (Vec<u8>, Option<&'static str>) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Err(error) => return (bytes, Some(if is_eof(&error) { "body cut" } else { "body faulty" })),
        }
    }
    (bytes, None)
}

fn is_eof(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    error.is_incomplete_message() || cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::UnexpectedEof)
}

async fn talk(client: DuplexStream, stream: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(client);
    let mut answer = Vec::new();
    let send = async {
        // A server that refuses stops reading.
        write.write_all(stream).await.ok();
        write.shutdown().await.ok();
    };
    let receive = async { read.read_to_end(&mut answer).await };
    let (_, received) = tokio::join!(send, receive);
    received.unwrap();
    answer
}

/// Reads one request without a body; false at the end of the stream.
async fn next_request(stream: &mut DuplexStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

fn last_head(answer: &[u8]) -> &str {
    let answer = std::str::from_utf8(answer).unwrap();
    answer.rfind("HTTP/1.").map_or("", |start| &answer[start..])
}

fn last_status(answer: &[u8]) -> Option<&str> {
    last_head(answer).split(' ').nth(1)
}

fn closes(answer: &[u8]) -> bool {
    let head = last_head(answer);
    head.contains("connection: close") || (head.starts_with("HTTP/1.0") && !head.contains("connection: keep-alive"))
}
