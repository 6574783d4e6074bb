//! Any stream, cut anywhere, is read as if it had come whole; and what we accept, hyper reads
//! alike.
//!
//! Streams are generated valid, with what they mean beside them, and then damaged: bytes taken out,
//! and pieces put in that matter to a parser of HTTP.

use llm_http::transcript::{self, End, Transcript};
use llm_http::{Limits, Method, write};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::hyper_oracle;

proptest! {
    // What is found becomes a row of a table, not a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_requests_are_read_back(messages in vec(message(), 1..4), cuts in vec(any::<Index>(), 0..12)) {
        let stream: Vec<u8> = messages.iter().flat_map(Generated::request).collect();
        let found = transcript::requests(&cut(&stream, &cuts), &Limits::default());
        prop_assert_eq!(&found.end, &End::Idle);
        prop_assert_eq!(found.messages.len(), messages.len());
        for (message, found) in messages.iter().zip(&found.messages) {
            prop_assert_eq!(&found.line, &format!("{} {}", message.method, message.target));
            prop_assert_eq!(&found.body, &message.body());
            prop_assert_eq!(&found.fields[1..=message.fields.len()], &message.trimmed_fields()[..]);
        }
    }

    #[test]
    fn generated_responses_are_read_back(messages in vec(message(), 1..4), cuts in vec(any::<Index>(), 0..12)) {
        let stream: Vec<u8> = messages.iter().flat_map(Generated::response).collect();
        let methods = vec![Method::Get; messages.len()];
        let found = transcript::responses(&cut(&stream, &cuts), &methods, &Limits::default());
        prop_assert_eq!(&found.end, &End::Idle);
        for (message, found) in messages.iter().zip(&found.messages) {
            prop_assert_eq!(&found.line, &message.status.to_string());
            prop_assert_eq!(&found.body, &message.body());
        }
    }

    #[test]
    fn damaged_requests_are_read_alike_however_cut(
        messages in vec(message(), 1..4), damage in vec(damage(), 1..4), cuts in vec(any::<Index>(), 0..12)
    ) {
        let stream = damaged(messages.iter().flat_map(Generated::request).collect(), &damage);
        let limits = Limits { head_bytes: 512 };
        let whole = transcript::requests(&[&stream], &limits);
        prop_assert_eq!(&whole, &transcript::requests(&cut(&stream, &cuts), &limits));
        prop_assert_eq!(&whole, &transcript::requests(&stream.chunks(1).collect::<Vec<_>>(), &limits));
    }

    #[test]
    fn damaged_responses_are_read_alike_however_cut(
        messages in vec(message(), 1..4), damage in vec(damage(), 1..4), cuts in vec(any::<Index>(), 0..12)
    ) {
        let stream = damaged(messages.iter().flat_map(Generated::response).collect(), &damage);
        let limits = Limits { head_bytes: 512 };
        let methods = [Method::Get, Method::Head, Method::Post];
        let whole = transcript::responses(&[&stream], &methods, &limits);
        prop_assert_eq!(&whole, &transcript::responses(&cut(&stream, &cuts), &methods, &limits));
        prop_assert_eq!(&whole, &transcript::responses(&stream.chunks(1).collect::<Vec<_>>(), &methods, &limits));
    }

    /// The other half of refusing more than hyper does: never to read something else than it does.
    #[test]
    fn damaged_requests_that_we_accept_hyper_reads_alike(messages in vec(message(), 1..4), damage in vec(damage(), 0..3)) {
        let stream = damaged(messages.iter().flat_map(Generated::request).collect(), &damage);
        let ours = transcript::requests(&[&stream], &Limits::default());
        agree(&stream, &ours, &hyper_oracle::server(&stream))?;
    }

    #[test]
    fn damaged_responses_that_we_accept_hyper_reads_alike(message in message(), damage in vec(damage(), 0..3)) {
        let stream = damaged(message.response(), &damage);
        let ours = transcript::responses(&[&stream], &[Method::Get], &Limits::default());
        agree(&stream, &ours, &hyper_oracle::client(&[(Method::Get, &stream)], true))?;
    }

    #[test]
    fn the_properties_of_the_fuzz_targets_hold(
        messages in vec(message(), 1..3), damage in vec(damage(), 0..4), sizes in any::<[u8; 4]>(), noise in vec(any::<u8>(), 0..64)
    ) {
        let with_sizes = |stream: Vec<u8>| [sizes.to_vec(), damaged(stream, &damage)].concat();
        transcript::check_heads(&with_sizes(messages.iter().flat_map(Generated::request).collect()));
        transcript::check_heads(&with_sizes(messages.iter().flat_map(Generated::response).collect()));
        transcript::check_bodies(&with_sizes(messages[0].chunked()));
        transcript::check_heads(&noise);
        transcript::check_bodies(&noise);
    }
}

/// Our messages must be hyper's first ones; all of them, if we found no fault.
fn agree(stream: &[u8], ours: &Transcript, hyper: &str) -> Result<(), TestCaseError> {
    let (theirs, _) = hyper.rsplit_once("; ").map_or(("", hyper), |(messages, end)| (messages, end));
    let text = ours.to_string();
    let (messages, _) = text.rsplit_once("; ").unwrap_or(("", ""));
    match ours.end {
        End::Idle | End::Close => prop_assert_eq!(messages, theirs, "{}", stream.escape_ascii()),
        End::Cut | End::Refused(_) => {
            prop_assert!(theirs.starts_with(messages), "{} {} {}", text, hyper, stream.escape_ascii())
        }
        // The faulty body itself may have come further with one than with the other.
        End::Body(_) => {
            let whole = messages.rsplit_once("; ").map_or("", |(before, _)| before);
            prop_assert!(theirs.starts_with(whole), "{} {} {}", text, hyper, stream.escape_ascii());
        }
    }
    Ok(())
}

/// A message and what it means.
#[derive(Debug, Clone)]
struct Generated {
    method: String,
    target: String,
    status: u16,
    fields: Vec<(String, String)>,
    framing: Framing,
}

#[derive(Debug, Clone)]
enum Framing {
    None,
    Length(Vec<u8>),
    Chunked { chunks: Vec<(Vec<u8>, String)>, trailers: Vec<(String, String)> },
}

impl Generated {
    fn request(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\nhost: a\r\n", self.method, self.target).into_bytes();
        self.finish(&mut out);
        out
    }

    fn response(&self) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} \r\n", self.status).into_bytes();
        self.finish(&mut out);
        out
    }

    fn finish(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.fields {
            out.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
        }
        match &self.framing {
            // Without a length a response would end with the connection.
            Framing::None => write::content_length(out, 0),
            Framing::Length(body) => write::content_length(out, body.len() as u64),
            Framing::Chunked { .. } => write::transfer_chunked(out),
        }
        write::end_head(out);
        match &self.framing {
            Framing::None => {}
            Framing::Length(body) => out.extend_from_slice(body),
            Framing::Chunked { .. } => out.extend_from_slice(&self.chunked()),
        }
    }

    fn chunked(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Framing::Chunked { chunks, trailers } = &self.framing {
            for (data, extension) in chunks {
                out.extend_from_slice(format!("{:X}{extension}\r\n", data.len()).as_bytes());
                out.extend_from_slice(data);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n");
            for (name, value) in trailers {
                out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    fn body(&self) -> Vec<u8> {
        match &self.framing {
            Framing::None => Vec::new(),
            Framing::Length(body) => body.clone(),
            Framing::Chunked { chunks, .. } => chunks.iter().flat_map(|(data, _)| data.clone()).collect(),
        }
    }

    fn trimmed_fields(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let bytes = |text: &String| text.trim().as_bytes().to_vec();
        self.fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect()
    }
}

fn message() -> impl Strategy<Value = Generated> {
    let line =
        ("(GET|POST|DELETE|X-[A-Z]{1,5})", "/[a-z0-9/._~%:@!$&'()*+,;=-]{0,12}(\\?[a-z0-9=&%/?]{0,8})?", 200..204u16);
    let field = || ("x-[A-Za-z0-9-]{1,8}", "[ -~\t]{0,16}");
    (line, vec(field(), 0..4), framing(field)).prop_map(|((method, target, status), fields, framing)| Generated {
        method,
        target,
        status,
        fields,
        framing,
    })
}

fn framing<F: Strategy<Value = (String, String)> + 'static>(field: impl Fn() -> F) -> impl Strategy<Value = Framing> {
    let chunk = (vec(any::<u8>(), 1..40), "( ?;[a-z]{1,4}(=[a-z0-9]{1,4})?)?");
    prop_oneof![
        Just(Framing::None),
        vec(any::<u8>(), 0..60).prop_map(Framing::Length),
        (vec(chunk, 0..6), vec(field(), 0..3)).prop_map(|(chunks, trailers)| Framing::Chunked { chunks, trailers }),
    ]
}

#[derive(Debug, Clone)]
struct Damage {
    at: Index,
    removed: usize,
    inserted: Vec<u8>,
}

fn damage() -> impl Strategy<Value = Damage> {
    let pieces = prop::sample::select(vec![
        "",
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        "\0",
        "\x7f",
        ":",
        ";",
        ",",
        "0",
        "5",
        "f",
        "-",
        "+",
        "#",
        "?",
        "/",
        "*",
        "\r\n ",
        "\r\n\r\n",
        "content-length: 1\r\n",
        "content-length: 5\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: identity\r\n",
        "connection: close\r\n",
        "connection: keep-alive\r\n",
        "host: b\r\n",
        "0\r\n\r\n",
        "1\r\nx\r\n",
        "GET / HTTP/1.1\r\n",
        "HTTP/1.0",
        "HTTP/1.1 100 \r\n\r\n",
        "http://b",
    ]);
    let inserted = prop_oneof![
        4 => pieces.prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..3),
    ];
    (any::<Index>(), 0..4usize, inserted).prop_map(|(at, removed, inserted)| Damage { at, removed, inserted })
}

fn damaged(mut stream: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for damage in damage {
        // Half of it at the start of a line, where a head is most easily changed into another.
        let at = damage.at.index(stream.len() + 1);
        let line = stream[..at].iter().rposition(|&byte| byte == b'\n').map_or(at, |lf| lf + 1);
        let at = if damage.inserted.ends_with(b"\r\n") { line } else { at };
        let end = (at + damage.removed).min(stream.len());
        stream.splice(at..end, damage.inserted.iter().copied());
    }
    stream
}

fn cut<'s>(stream: &'s [u8], cuts: &[Index]) -> Vec<&'s [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}
