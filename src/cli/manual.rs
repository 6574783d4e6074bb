//! `llm-proxy completions SHELL`, and `llm-proxy manual DIR`, which writes what the packages carry.

use std::fs;
use std::path::PathBuf;

use clap_complete::Shell;

use super::failure::Failure;
use super::print;

const NAME: &str = "llm-proxy";
/// The shells whose completions the packages carry.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell that reads them
    pub shell: Shell,
}

#[derive(Debug, clap::Args)]
pub struct ManualArgs {
    /// Directory for man/ and completions/
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Prints the completions of `command`, with all of its sub-commands, for one shell.
pub fn completions(args: &CompletionsArgs, mut command: clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, NAME, &mut script);
    print::line(String::from_utf8_lossy(&script).trim_end())
}

/// Writes a man page for each command, and completions for each of [`SHELLS`].
pub fn run(args: &ManualArgs, command: &clap::Command) -> Result<(), Failure> {
    let (pages, scripts) = (args.dir.join("man"), args.dir.join("completions"));
    for dir in [&pages, &scripts] {
        fs::create_dir_all(dir)
            .map_err(|error| Failure::failed(format!("{}: can't be made: {error}", dir.display())))?;
    }
    let written = SHELLS
        .into_iter()
        .try_for_each(|shell| clap_complete::generate_to(shell, &mut command.clone(), NAME, &scripts).map(drop))
        .and_then(|()| clap_mangen::generate_to(command.clone(), &pages));
    written.map_err(|error| Failure::failed(format!("{}: can't be written to: {error}", args.dir.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_pages_and_completions() {
        let dir = tempfile::tempdir().unwrap();
        run(&ManualArgs { dir: dir.path().to_owned() }, &crate::cli::command()).unwrap();
        let page = fs::read_to_string(dir.path().join("man/llm-proxy.1")).unwrap();
        assert!(page.contains(".TH") && page.contains("serve"), "{page}");
        assert!(dir.path().join("man/llm-proxy-key-create.1").exists());
        assert!(!dir.path().join("man/llm-proxy-manual.1").exists(), "a hidden command has no page");
        for file in ["llm-proxy.bash", "_llm-proxy", "llm-proxy.fish"] {
            let script = fs::read_to_string(dir.path().join("completions").join(file)).unwrap();
            assert!(script.contains("check-config"), "{file}");
        }
    }
}
