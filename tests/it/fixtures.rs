//! Translations that were read: the files under `tests/fixtures/<client>-<provider>/`, one case
//! each. `docs/internals/translation/examples.md` lists them.
//!
//! A file has a head of `name: value` lines and sections that begin with `--- name`. JSON may be
//! laid out over several lines, with the white space outside of strings taken away before it is
//! compared; order of keys, digits of numbers and escapes are compared as they are. Streams are
//! compared to the byte.
//!
//! | name | what it holds |
//! |---|---|
//! | `why` | what the case shows |
//! | `target` | host and model at the provider |
//! | `dropped`, `repaired` | the headers of the answer; none if absent |
//! | `betas` | what `anthropic-beta` gets |
//! | `--- request` | what the client sends |
//! | `--- sent` | what the provider gets; or `--- refused`: status, field, and the note |
//! | `--- answer`, `--- shown` | a whole answer of the provider, and the client's |
//! | `--- stream`, `--- streamed` | a stream of the provider, and the client's |
//! | `--- failed` | the kind of failure that the client is told inside its stream |

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use llm_wire::Format;
use llm_wire::sse::Framer;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Plan, Reply, SequentialIds, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate::{self, Translator};

struct Case {
    name: String,
    client: Format,
    provider: Format,
    head: BTreeMap<String, String>,
    sections: BTreeMap<String, String>,
}

const HEADS: [&str; 5] = ["why", "target", "dropped", "repaired", "betas"];
const SECTIONS: [&str; 8] = ["request", "sent", "refused", "answer", "shown", "stream", "streamed", "failed"];

impl Case {
    fn read(client: Format, provider: Format, path: &Path) -> Case {
        let text = fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        let mut parts = text.split("\n--- ");
        let lines = parts.next().unwrap().lines();
        let head = lines.map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{name}: `{line}`")));
        let head: BTreeMap<String, String> = head.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let sections = parts.map(|part| part.split_once('\n').unwrap_or_else(|| panic!("{name}: `{part}`")));
        let sections: BTreeMap<String, String> = sections.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        assert!(head.keys().all(|key| HEADS.contains(&key.as_str())), "{name}: {:?}", head.keys());
        assert!(sections.keys().all(|key| SECTIONS.contains(&key.as_str())), "{name}: {:?}", sections.keys());
        Case { name, client, provider, head, sections }
    }

    fn head(&self, name: &str) -> &str {
        self.head.get(name).map_or("", String::as_str)
    }

    fn section(&self, name: &str) -> &str {
        self.sections.get(name).unwrap_or_else(|| panic!("{}: no section `{name}`", self.name))
    }

    fn agree(&self, what: &str, got: &str) {
        let expected = self.section(what);
        let (expected, got) = match what {
            "sent" | "shown" => (compact(expected), compact(got)),
            _ => (expected.trim_end().to_owned(), got.trim_end().to_owned()),
        };
        let at = expected.bytes().zip(got.bytes()).take_while(|(a, b)| a == b).count();
        let near = |text: &str| {
            String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(60)..text.len().min(at + 200)]).into_owned()
        };
        assert!(
            expected == got,
            "{}, {what}, at byte {at}:\nexpected …{}\ngot      …{}\nall of it:\n{got}",
            self.name,
            near(&expected),
            near(&got)
        );
    }

    /// Everything that the file says.
    fn check(&self) {
        assert!(!self.head("why").is_empty(), "{}: say why", self.name);
        let (host, model) = self.head("target").split_once(' ').unwrap_or_else(|| panic!("{}: target", self.name));
        let host = Host::named(host).unwrap_or_else(|| panic!("{}: {host}", self.name));
        let target = Target::new(self.provider, host, model, "p", &Overrides::default());
        let cx = Context::new(target, "asked");
        let request = compact(self.section("request"));
        let encoded = match translate::request(self.client, request.as_bytes(), &cx) {
            Ok(encoded) => encoded,
            Err(error) => {
                let row = error.kind.row();
                let status = if self.client == Format::Messages { row.messages_status } else { row.status };
                return self
                    .agree("refused", &format!("{status} {}: {}", error.param.as_deref().unwrap_or("-"), error.note));
            }
        };
        if self.sections.contains_key("sent") {
            self.agree("sent", std::str::from_utf8(&encoded.body).unwrap());
            assert_eq!(encoded.ledger.dropped_header().unwrap_or_default(), self.head("dropped"), "{}", self.name);
            assert_eq!(encoded.ledger.repaired_header().unwrap_or_default(), self.head("repaired"), "{}", self.name);
            assert_eq!(encoded.plan.betas.join(", "), self.head("betas"), "{}", self.name);
        }
        if self.sections.contains_key("answer") {
            self.agree("shown", &self.whole(encoded.plan.clone()));
        }
        if self.sections.contains_key("stream") {
            let (streamed, failed) = self.streamed(encoded.plan);
            self.agree("streamed", &streamed);
            let expected = self.sections.get("failed").map(|kind| kind.trim_end());
            assert_eq!(failed, expected, "{}", self.name);
        }
    }

    fn translator(plan: Plan) -> Translator {
        let mut reply = Reply::new(plan, Box::new(SequentialIds::default()), "req_1");
        reply.input_estimate = Some(25);
        Translator::new(reply)
    }

    fn whole(&self, plan: Plan) -> String {
        let (mut translator, mut out) = (Case::translator(Plan { stream: false, ..plan }), Vec::new());
        translator.body(compact(self.section("answer")).as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn streamed(&self, plan: Plan) -> (String, Option<&'static str>) {
        let mut translator = Case::translator(Plan { stream: true, ..plan });
        let (mut framer, mut out, mut rest) = (Framer::default(), Vec::new(), self.section("stream").as_bytes());
        while let Some(block) = framer.next(&mut rest).unwrap() {
            if let Some(frame) = block.frame {
                translator.frame(frame, &mut out).unwrap();
            }
        }
        if let Some(frame) = framer.finish().and_then(|block| block.frame) {
            translator.frame(frame, &mut out).unwrap();
        }
        translator.end(&mut out).unwrap();
        (String::from_utf8(out).unwrap(), translator.failure().map(|error| error.kind.row().label))
    }
}

/// JSON without the white space outside of its strings.
fn compact(json: &str) -> String {
    let (mut out, mut inside, mut escaped) = (String::with_capacity(json.len()), false, false);
    for c in json.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            c if !inside && c.is_ascii_whitespace() => continue,
            _ => {}
        }
        out.push(c);
    }
    out
}

/// The cases of one direction.
fn cases(client: Format, provider: Format) -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{client}-{provider}"));
    let mut paths: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Case::read(client, provider, path)).collect()
}

/// Every direction: the client's format, the provider's.
pub fn directions() -> impl Iterator<Item = (Format, Format)> {
    let pairs = Format::ALL.into_iter().flat_map(|a| Format::ALL.into_iter().map(move |b| (a, b)));
    pairs.filter(|(client, provider)| client != provider)
}

/// The streams of providers among the cases of one direction, with their names.
pub fn streams(client: Format, provider: Format) -> Vec<(String, String)> {
    let cases = cases(client, provider).into_iter();
    cases.filter_map(|mut case| Some((case.name, case.sections.remove("stream")?))).collect()
}

#[test]
fn translations_are_as_written() {
    for (client, provider) in directions() {
        let cases = cases(client, provider);
        for section in ["sent", "shown", "streamed"] {
            assert!(cases.iter().any(|case| case.sections.contains_key(section)), "{client}-{provider}: {section}");
        }
        cases.iter().for_each(Case::check);
    }
}
