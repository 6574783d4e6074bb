//! `llm-proxy import-litellm` and `import-bifrost`: the configuration of another gateway as one of
//! this gateway. What has no counterpart is named with its line.

mod bifrost;
mod litellm;
mod litellm_keys;
mod vendors;

use std::path::{Path, PathBuf};

use super::store::StoreArgs;
use super::{Failure, print, transfer};
use crate::config::file::yaml::{self, Node, Value};
use crate::config::file::{self, Complaint};
use crate::config::rows::{CredentialRow, ProviderRow, Rows};

#[derive(Debug, clap::Args)]
pub(super) struct LiteLlmArgs {
    /// LiteLLM's config.yaml
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Keys of its database as JSON: rows of the table LiteLLM_VerificationToken, or the response of
    /// /key/list?return_full_object=true
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct BifrostArgs {
    /// Bifrost's config.json
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Where the result goes.
#[derive(Debug, clap::Args)]
struct Output {
    /// Write providers and keys into the store instead of printing a configuration file
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn litellm(args: &LiteLlmArgs) -> Result<(), Failure> {
    let mut import = Import::default();
    litellm::read(&parse(&args.file)?, &mut import);
    import.print_complaints(&args.file);
    if let Some(path) = &args.keys {
        let before = import.left.len();
        litellm_keys::read(&parse(path)?, &mut import);
        let of_keys = import.left.split_off(before);
        print_complaints(path, &of_keys);
    }
    import.finish(&args.output)
}

pub(super) fn bifrost(args: &BifrostArgs) -> Result<(), Failure> {
    let mut import = Import::default();
    bifrost::read(&parse(&args.file)?, &mut import);
    import.print_complaints(&args.file);
    import.finish(&args.output)
}

/// The file as a tree with lines; JSON is YAML too. Neither gateway fills in `${NAME}`.
fn parse(path: &Path) -> Result<Node, Failure> {
    let place = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::failed(format!("{place} can't be read: {error}")))?;
    let text = text.replace("$$", "$$$$").replace("${", "$${");
    match yaml::parse(&text, &|_| None) {
        (Some(node), complaints) if complaints.is_empty() => Ok(node),
        (_, complaints) => {
            Err(Failure::Usage(complaints.iter().map(|complaint| format!("{place}: {complaint}")).collect()))
        }
    }
}

/// What has been understood so far.
#[derive(Debug, Default)]
struct Import {
    providers: Vec<Draft>,
    credentials: Vec<CredentialRow>,
    /// Settings by their names in a configuration file, with values as YAML.
    settings: Vec<(&'static str, String)>,
    /// What is not carried over.
    left: Vec<Complaint>,
}

/// A provider while models are added to it.
#[derive(Debug, Clone, PartialEq)]
struct Draft {
    name: String,
    kind: &'static str,
    base: String,
    api_key: String,
    /// Names and values of headers.
    headers: Vec<(String, String)>,
    weight: i64,
    /// Model, upstream model, and what else is known of it as JSON members.
    models: Vec<DraftModel>,
}

/// A model's name, its name at the provider, and what else is known of it: JSON members.
type DraftModel = (String, String, Vec<(String, String)>);

impl Draft {
    /// Whether both are the same account at the same place with the same share.
    fn is_like(&self, other: &Draft) -> bool {
        let key = |draft: &Draft| {
            (draft.kind, draft.base.clone(), draft.api_key.clone(), draft.headers.clone(), draft.weight)
        };
        key(self) == key(other)
    }

    fn serves(&self, model: &str) -> bool {
        self.models.iter().any(|(known, ..)| known == model)
    }

    fn row(self) -> ProviderRow {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let entry = |(model, upstream, more): &(String, String, Vec<(String, String)>)| {
            let more: String = more.iter().map(|(name, value)| format!(",{}:{value}", text(name))).collect();
            match more.is_empty() {
                true => format!("{}:{}", text(model), text(upstream)),
                false => format!("{}:{{\"mapped_model\":{}{more}}}", text(model), text(upstream)),
            }
        };
        let models: Vec<_> = self.models.iter().map(entry).collect();
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| format!("{}:{}", text(name), text(value))).collect();
        let params = match headers.is_empty() {
            true => "{}".to_owned(),
            false => format!("{{\"custom_headers\":{{{}}}}}", headers.join(",")),
        };
        ProviderRow {
            provider_key: self.name,
            provider_type: self.kind.to_owned(),
            api_base: self.base,
            api_key: self.api_key.into(),
            model_mapping: format!("{{{}}}", models.join(",")),
            weight: self.weight,
            provider_params: params,
            is_enabled: true,
            ..ProviderRow::default()
        }
    }
}

impl Import {
    /// Names what is not carried over.
    fn leave(&mut self, line: usize, message: impl Into<String>) {
        self.left.push(Complaint { line, message: message.into() });
    }

    /// The same for a field that needs no explanation.
    fn leave_field(&mut self, line: usize, path: &str) {
        self.leave(line, format!("{path} has no counterpart and is not carried over"));
    }

    /// Adds a model to a provider like `draft` that does not serve it yet, or to a new one.
    fn add(&mut self, draft: Draft) {
        for model in draft.models.clone() {
            let like = self.providers.iter_mut().find(|known| known.is_like(&draft) && !known.serves(&model.0));
            match like {
                Some(known) => known.models.push(model),
                None => {
                    let name = self.free_name(&draft.name);
                    self.providers.push(Draft { name, models: vec![model], ..draft.clone() });
                }
            }
        }
    }

    fn free_name(&self, name: &str) -> String {
        let taken = |name: &str| self.providers.iter().any(|draft| draft.name == name);
        if !taken(name) {
            return name.to_owned();
        }
        (2..).map(|count| format!("{name}-{count}")).find(|name| !taken(name)).unwrap_or_default()
    }

    fn set(&mut self, name: &'static str, value: impl ToString) {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_string()));
    }

    fn print_complaints(&mut self, path: &Path) {
        self.left.sort_by_key(|complaint| complaint.line);
        let left = std::mem::take(&mut self.left);
        print_complaints(path, &left);
    }

    /// The configuration file.
    fn text(self) -> String {
        let mut text = String::new();
        if !self.settings.is_empty() {
            text.push_str("settings:\n");
            for (name, value) in &self.settings {
                text.push_str(&format!("  {name}: {value}\n"));
            }
        }
        let providers = self.providers.into_iter().map(Draft::row).collect();
        let rows = Rows { version: 0, providers, credentials: self.credentials, ..Rows::default() };
        text.push_str(&file::write(&rows, &|_| None));
        fill_in(&text)
    }

    fn finish(self, output: &Output) -> Result<(), Failure> {
        if self.providers.is_empty() && self.credentials.is_empty() {
            return Err(Failure::failed("there is nothing in it that this gateway could serve"));
        }
        let text = self.text();
        if !output.write {
            return print::line(text.trim_end());
        }
        transfer::import_text(&text, &output.store)
    }
}

fn print_complaints(path: &Path, left: &[Complaint]) {
    for complaint in left {
        print::note("note", &format!("{}: {complaint}", path.display()));
    }
}

/// A value that the environment will have: [`fill_in`] makes `${NAME}` of it. Rows hold it as text,
/// in which a dollar sign stands for itself.
fn variable(name: &str) -> String {
    format!("\u{1}{name}\u{2}")
}

/// Replaces the marks of [`variable`], which `file::write` has escaped; a hash that is one becomes a
/// key.
fn fill_in(text: &str) -> String {
    let text = text.replace("\\u0001", "${").replace("\\u0002", "}");
    text.replace("credential_key: \"${", "key: \"${")
}

// What both readers need of a tree.

fn pairs(node: &Node) -> &[(String, Node)] {
    match &node.value {
        Value::Map(pairs) => pairs,
        _ => &[],
    }
}

fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ => &[],
    }
}

fn member<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    pairs(node).iter().find(|(known, _)| known == name).map(|(_, node)| node)
}

/// Text, or a number as it is written.
fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) | Value::Number(text) => Some(text.trim()),
        _ => None,
    }
}

fn number(node: &Node) -> Option<f64> {
    text(node)?.parse().ok()
}

fn whole(node: &Node) -> Option<i64> {
    number(node).filter(|number| (0.0..1e15).contains(number)).map(|number| number.round() as i64)
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Null | Value::Bool(false) => true,
        Value::Text(text) => text.trim().is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(pairs) => pairs.is_empty(),
        _ => false,
    }
}

/// Requests per second of a limit per minute: at least one, since there is no smaller rate here.
fn per_second(per_minute: i64) -> i64 {
    if per_minute == 0 { 0 } else { (per_minute + 30).div_euclid(60).max(1) }
}

/// A weight as this gateway has them, from shares that may be fractions.
fn weight(share: f64) -> i64 {
    let scaled = if share.fract() == 0.0 { share } else { share * 100.0 };
    (scaled.round() as i64).clamp(0, 1_000_000)
}
