//! `llm-proxy import-litellm` and `import-bifrost`: the configuration of another gateway as one of
//! this gateway. What has no counterpart is named with its line.

mod bifrost;
mod bifrost_governance;
mod bifrost_values;
mod import;
mod litellm;
mod litellm_deployment;
mod litellm_fallbacks;
mod litellm_keys;
mod litellm_settings;
mod litellm_values;
mod tree;
mod vendors;

use std::path::{Path, PathBuf};

use import::{Draft, Import};

use super::failure::Failure;
use super::store::StoreArgs;
use super::{print, transfer};
use crate::config::file::FileProblem;
use crate::config::file::yaml::{self, Node};
use crate::control_plane::store::file_text;

#[derive(Debug, clap::Args)]
pub(super) struct LiteLlmArgs {
    /// LiteLLM's config.yaml
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Keys of its database as JSON: rows of the table LiteLLM_VerificationToken, or the
    /// response of /key/list?return_full_object=true
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
    litellm::read(&parse_python(&args.file, &mut import)?, &mut import);
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

/// Returns a file of JSON, which is YAML too, as a tree with lines. `${NAME}` stands for itself.
fn parse(path: &Path) -> Result<Node, Failure> {
    let text = read(path)?.replace("$$", "$$$$").replace("${", "$${");
    match yaml::parse(&text, &|_| None) {
        (Some(node), problems) if problems.is_empty() => Ok(node),
        (_, problems) => Err(refused(path, &problems)),
    }
}

/// Returns a file of YAML as Python reads it. Of a key that appears twice the last one counts.
fn parse_python(path: &Path, import: &mut Import) -> Result<Node, Failure> {
    let (node, problems) = yaml::parse_1_1(&read(path)?);
    let node = node.ok_or_else(|| refused(path, &problems))?;
    for FileProblem { line, message } in problems {
        import.leave(line, format!("{message}; the last one counts"));
    }
    Ok(node)
}

fn read(path: &Path) -> Result<String, Failure> {
    file_text::read(path).map_err(|why| Failure::failed(format!("{} {why}", path.display())))
}

fn refused(path: &Path, problems: &[FileProblem]) -> Failure {
    Failure::Usage(problems.iter().map(|problem| format!("{}: {problem}", path.display())).collect())
}

/// Prints the configuration file, or writes its rows into the store.
fn finish(import: Import, output: &Output) -> Result<(), Failure> {
    if import.providers.is_empty() && import.credentials.is_empty() {
        return Err(Failure::failed("the file has no provider and no key that this gateway could serve"));
    }
    let has_key = |draft: &Draft| !draft.api_key.is_empty() && !draft.api_key.starts_with("env:");
    let has_secrets = import.has_password || import.providers.iter().any(has_key);
    let text = import.text();
    if !output.write {
        print::line(text.trim_end())?;
        if has_secrets {
            let message = "the file that was printed has secrets in it; keep it readable by its owner alone, or write \
                           `env:NAME` in the places of providers' keys and `${NAME}` in those of passwords";
            print::note("note", message);
        }
        return Ok(());
    }
    transfer::import_text(&text, &output.store)
}

fn print_notes(path: &Path, left: &[FileProblem]) {
    for problem in left {
        print::note("note", &format!("{}: {problem}", path.display()));
    }
}
