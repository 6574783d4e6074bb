//! Faults of providers and of clients: which provider is tried next, what the client gets, and what
//! must never happen.

mod barrier;
mod broken;
mod disconnects;
mod limits;
mod malformed;
mod pool;
mod statuses;
mod stop;

use llm_proxy::config::rows::ProviderRow;
use llm_wire::Format;
use llm_wire::formats::errors;

use super::support::sample::Sample;
use super::support::*;

/// The formats that stream, one sample of each.
const FORMATS: [&Sample; 3] = [&sample::CHAT, &sample::MESSAGES, &sample::RESPONSES];

fn alone(sample: &Sample) -> (Fake, Setup) {
    let provider = Fake::start();
    let setup = Setup::new().provider(sample.provider("first", &provider));
    (provider, setup)
}

/// A provider that is always asked first, and a standby.
fn pair(sample: &Sample) -> (Fake, Fake, Setup) {
    let (first, setup) = alone(sample);
    let second = Fake::start();
    let standby = ProviderRow { weight: 0, ..sample.provider("second", &second) };
    (first, second, setup.provider(standby))
}

fn ask_stream(gateway: &Gateway, sample: &Sample) -> Client {
    let mut client = gateway.client();
    client.ask(&post(sample.path).body(sample.ask_stream));
    client
}

/// Accepts a connection, reads its request and begins a stream with the events that hold no
/// content.
fn opened(provider: &Fake, sample: &Sample) -> Conn {
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::SSE);
    sample.opening.iter().for_each(|event| conn.send(answer::chunk(event)));
    conn
}

/// Accepts a connection, and answers the request with the sample's whole stream.
fn serves_stream(provider: &Fake, sample: &Sample) -> Conn {
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::sse(&sample.events()));
    conn
}

/// A listener whose queue is full: it drops what comes then, and nobody gets a connection.
struct Full {
    socket: socket2::Socket,
    _fillers: Vec<socket2::Socket>,
}

impl Full {
    fn new() -> Full {
        let new = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let socket = new();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let addr = socket.local_addr().unwrap();
        let filler = |_| {
            let filler = new();
            filler.set_nonblocking(true).unwrap();
            // Under way is as good as made.
            let _ = filler.connect(&addr);
            filler
        };
        let fillers = (0..4).map(filler).collect();
        Full { socket, _fillers: fillers }
    }

    fn base(&self) -> String {
        format!("http://{}/v1", self.socket.local_addr().unwrap().as_socket().unwrap())
    }
}

fn format_of(sample: &Sample) -> Format {
    match sample.kind {
        "anthropic" => Format::Messages,
        "responses" => Format::Responses,
        _ => Format::Chat,
    }
}

/// Message, type and code of an error in a format; empty where it has none.
fn error_of(sample: &Sample, data: &str) -> [String; 3] {
    let read = errors::read(format_of(sample), data.as_bytes()).unwrap_or_else(|| panic!("no error: {data}"));
    let text = |raw: Option<llm_wire::json::RawStr<'_>>| raw.map(|raw| raw.unescape().into_owned()).unwrap_or_default();
    [read.message.unescape().into_owned(), text(read.r#type), text(read.code)]
}

/// The one event that `text` is.
fn error_event(sample: &Sample, text: &str) -> [String; 3] {
    let event = text.strip_suffix("\n\n").unwrap_or_else(|| panic!("no whole event: {text:.500}"));
    assert!(!event.contains("\n\n"), "more than one event: {text:.500}");
    let named = format_of(sample) != Format::Chat;
    assert_eq!(event.starts_with("event: error\n"), named, "{event:?}");
    error_of(sample, event.split_once("data: ").unwrap().1)
}
