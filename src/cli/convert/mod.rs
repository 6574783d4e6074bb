//! `llm-proxy import-litellm` and `import-bifrost`: the configuration of another gateway as one of
//! this gateway. What has no counterpart is named with its line.

mod bifrost;
mod import;
mod litellm;
mod litellm_fallbacks;
mod litellm_keys;
mod tree;
mod vendors;

use std::path::{Path, PathBuf};

use import::Import;

use super::failure::Failure;
use super::store::StoreArgs;
use super::{print, transfer};
use crate::config::file::FileProblem;
use crate::config::file::yaml::{self, Node};

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
    print_notes(&args.file, &import.take_notes());
    if let Some(path) = &args.keys {
        let before = import.left.len();
        litellm_keys::read(&parse(path)?, &mut import);
        let of_keys = import.left.split_off(before);
        print_notes(path, &of_keys);
    }
    finish(import, &args.output)
}

pub(super) fn bifrost(args: &BifrostArgs) -> Result<(), Failure> {
    let mut import = Import::default();
    bifrost::read(&parse(&args.file)?, &mut import);
    print_notes(&args.file, &import.take_notes());
    finish(import, &args.output)
}

/// Returns the file as a tree with lines; JSON is YAML too. Neither gateway fills in `${NAME}`.
fn parse(path: &Path) -> Result<Node, Failure> {
    let place = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::failed(format!("{place} can't be read: {error}")))?;
    let text = text.replace("$$", "$$$$").replace("${", "$${");
    match yaml::parse(&text, &|_| None) {
        (Some(node), problems) if problems.is_empty() => Ok(node),
        (_, problems) => Err(Failure::Usage(problems.iter().map(|problem| format!("{place}: {problem}")).collect())),
    }
}

/// Prints the configuration file, or writes its rows into the store.
fn finish(import: Import, output: &Output) -> Result<(), Failure> {
    if import.providers.is_empty() && import.credentials.is_empty() {
        return Err(Failure::failed("the file has no provider and no key that this gateway could serve"));
    }
    let text = import.text();
    if !output.write {
        return print::line(text.trim_end());
    }
    transfer::import_text(&text, &output.store)
}

fn print_notes(path: &Path, left: &[FileProblem]) {
    for problem in left {
        print::note("note", &format!("{}: {problem}", path.display()));
    }
}
