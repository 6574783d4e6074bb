//! The quick starts, followed word by word: blocks under `<!-- test: quick-start -->` are run, with
//! a server in the place of each vendor that has this vendor's models and no others. Each request
//! is made as often as providers could take turns. Blocks under `<!-- test: without-a-key -->` have
//! a mock in the place of the vendors.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::{blocks, text};
use crate::support::fake::{Fake, Request};
use crate::support::http::{Client, post};
use crate::support::{answer, sample};

const QUICK_START: &str = "<!-- test: quick-start -->";
const WITHOUT_A_KEY: &str = "<!-- test: without-a-key -->";
const MOCK: &str = "llm-proxy mock --port ";
/// A vendor's base URL, the path of the base at the server in its place, how the names of its
/// models begin, and its answer.
const VENDORS: [(&str, &str, &str, &str); 2] = [
    ("https://api.openai.com/v1", "/v1", "gpt-", sample::CHAT.answer),
    ("https://api.anthropic.com", "", "claude-", sample::MESSAGES.answer),
];
/// Requests for each that the document has.
const TURNS: usize = 4;
const GATEWAY: &str = "http://127.0.0.1:18000";

/// The words of a command as a shell reads them: quotes, backslashes at the end of lines, `$NAME`.
pub(super) fn words(command: &str, variable: &dyn Fn(&str) -> String) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = command.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            ('$', None | Some('"')) => {
                let mut name = String::new();
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                word.get_or_insert_default().push_str(&variable(&name));
            }
            ('\\', None) if rest.peek() == Some(&'\n') => {
                rest.next();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "a quote does not end: {command}");
    words.extend(word);
    words
}

/// A child process that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The address behind `listening: http://` in what the process writes. The rest is read as well, or
/// the process could not write it.
fn address(output: impl std::io::Read + Send + 'static) -> SocketAddr {
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("listening: http://"));
    let line = line.expect("the process ended before it listened");
    std::thread::spawn(move || lines.for_each(drop));
    let (_, rest) = line.split_once("listening: http://").unwrap();
    let end = rest.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().unwrap()
}

/// What a reader of the document has: a directory, an environment, and a gateway once it is
/// started.
struct Reader {
    dir: tempfile::TempDir,
    vendors: Vec<Fake>,
    variables: Vec<(String, String)>,
    gateway: Option<(Running, SocketAddr)>,
    /// With the address that the document has for it.
    mock: Option<(Running, SocketAddr, String)>,
    answers: usize,
}

impl Reader {
    fn program(&self, words: &[String]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
        command.env_clear().current_dir(self.dir.path()).stdin(Stdio::null());
        // A gateway that runs on this machine, at the usual port, is not the reader's.
        command.env("PORT", "1");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(words);
        command
    }

    fn words(&self, command: &str) -> Vec<String> {
        let variable = |name: &str| {
            let found = self.variables.iter().rfind(|(known, _)| known == name);
            found.unwrap_or_else(|| panic!("${name} is not set: {command}")).1.clone()
        };
        let place = |command: String, ((base, path, ..), fake): (&(&str, &str, &str, &str), &Fake)| {
            command.replace(base, &fake.url(path))
        };
        let mut command = VENDORS.iter().zip(&self.vendors).fold(command.to_owned(), place);
        if let Some((_, address, written)) = &self.mock {
            command = command.replace(written, &address.to_string());
        }
        words(&command, &variable)
    }

    fn run(&self, command: &str) -> String {
        let output = self.program(&self.words(command)[1..]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn follow(&mut self, command: &str) {
        if let Some(assignment) = command.strip_prefix("export ") {
            let (name, value) = assignment.split_once('=').unwrap();
            self.variables.push((name.to_owned(), value.to_owned()));
        } else if let Some((name, inner)) = command.split_once("=$(") {
            let value = self.run(inner.strip_suffix(')').unwrap()).trim_end().to_owned();
            self.variables.push((name.to_owned(), value));
        } else if command == "llm-proxy serve" {
            let words = ["serve", "--host", "127.0.0.1", "--port", "0", "--workers", "1"].map(str::to_owned);
            let mut child = self.program(&words).stderr(Stdio::piped()).spawn().unwrap();
            let output = child.stderr.take().unwrap();
            let running = Running(child);
            self.gateway = Some((running, address(output)));
        } else if let Some(port) = command.strip_prefix(MOCK) {
            let words = ["mock", "--port", "0"].map(str::to_owned);
            let mut child = self.program(&words).stdout(Stdio::piped()).spawn().unwrap();
            let output = child.stdout.take().unwrap();
            let running = Running(child);
            self.mock = Some((running, address(output), format!("127.0.0.1:{port}")));
        } else if command == "echo $KEY" {
            assert_eq!(self.words(command).len(), 2);
        } else if command.starts_with("llm-proxy ") {
            self.run(command);
        } else {
            self.ask(command);
        }
    }

    fn ask(&mut self, command: &str) {
        let words = self.words(command);
        assert!(words[0] == "curl", "no such command here: {command}");
        let mut words = words.iter().skip(1);
        let (mut path, mut headers, mut body) = (None, Vec::new(), "");
        while let Some(word) = words.next() {
            match word.as_str() {
                "-s" | "-sN" => {}
                "-H" => headers.push(words.next().unwrap().split_once(": ").unwrap()),
                "-d" => body = words.next().unwrap(),
                url => path = Some(url.strip_prefix(GATEWAY).unwrap_or_else(|| panic!("{command}"))),
            }
        }
        let address = self.gateway.as_ref().expect("a gateway that serves").1;
        let mut client = Client::connect(address);
        let request = post(path.unwrap());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value)).body(body);
        for turn in 0..TURNS {
            client.ask(&request);
            let response = client.response();
            assert_eq!(response.status, 200, "{command}, turn {turn}: {}", response.text());
            let provider = response.header("x-llm-proxy-provider");
            let expected = if body.contains("claude-") { "claude" } else { "openai" };
            assert_eq!(provider, Some(expected), "{command}, turn {turn}");
        }
        self.answers += 1;
    }
}

/// What the server in the place of a vendor answers.
fn vendor(names: &str, whole: &str, request: &Request) -> Vec<u8> {
    if request.method == "GET" {
        return answer::json(404, "{}");
    }
    match request.json()["model"].as_str().is_some_and(|model| model.starts_with(names)) {
        true => answer::json(200, whole),
        false => answer::json(404, r#"{"error":{"message":"no such model","type":"not_found_error"}}"#),
    }
}

fn follow(file: &str, mark: &str) {
    let fake = |(_, _, names, whole)| Fake::answering(move |request| vendor(names, whole, request));
    let mut reader = Reader {
        dir: tempfile::tempdir().unwrap(),
        vendors: VENDORS.into_iter().map(fake).collect(),
        variables: Vec::new(),
        gateway: None,
        mock: None,
        answers: 0,
    };
    let text = text(file);
    for (_, block) in blocks(&text, "sh").iter().filter(|(before, _)| *before == mark) {
        let block = block.replace("\\\n", " ");
        for line in block.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            reader.follow(line);
        }
    }
    assert!(reader.answers > 0, "{file} asks for nothing under {mark}");
}

#[test]
fn of_the_readme() {
    follow("README.md", QUICK_START);
}

#[test]
fn of_getting_started() {
    follow("docs/getting-started.md", QUICK_START);
}

#[test]
fn of_getting_started_without_a_key() {
    follow("docs/getting-started.md", WITHOUT_A_KEY);
}
