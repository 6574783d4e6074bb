//! The output of `llm-proxy` on a terminal before anything is configured.

use super::failure::Failure;
use super::store::is_missing;
use super::{print, serve, terminal};
use crate::config::boot::{Boot, Environment};
use crate::control_plane::store::blocking::Blocking;

/// Eight lines of at most 80 columns. The lines of a paragraph are one text on a narrower terminal.
const WELCOME: &str = "\
llm-proxy is a gateway between applications and LLM providers: clients speak
OpenAI Chat, Anthropic Messages or OpenAI Responses to it, whoever answers.
Nothing is configured here yet, so there is nothing to serve. To begin:
  llm-proxy demo      try it now: a mock provider, a key, and commands to copy
  llm-proxy init      set it up: asks for vendor, key and store, and checks them
  llm-proxy serve     serve all the same; providers may be added while it runs
  llm-proxy --help    all commands; `llm-proxy serve --help` lists all settings
A configuration is found by DATA_DIR, DB_URL or CONFIG_FILE, or in ./data.";

/// The columns for which the welcome is set.
const COLUMNS: usize = 80;

/// Prints the welcome and returns true if stdout is a terminal and nothing is configured: no
/// database, no file, no key of a vendor, and no provider in the embedded store. Creates nothing.
pub(super) fn show() -> Result<bool, Failure> {
    let Some(width) = terminal::width() else { return Ok(false) };
    let (environment, _) = Environment::of_process();
    if is_configured(&environment)? {
        return Ok(false);
    }
    print::line(&text(width))?;
    Ok(true)
}

/// Returns the welcome for a terminal of this many columns.
fn text(width: usize) -> String {
    let mut paragraphs: Vec<String> = Vec::new();
    for line in WELCOME.lines() {
        match paragraphs.last_mut() {
            Some(last) if !line.starts_with(' ') && !last.starts_with(' ') => {
                last.push(' ');
                last.push_str(line);
            }
            _ => paragraphs.push(line.to_owned()),
        }
    }
    terminal::wrapped(&paragraphs.join("\n"), width.min(COLUMNS)).trim_end().to_owned()
}

fn is_configured(environment: &Environment) -> Result<bool, Failure> {
    let named = ["DB_URL", "CONFIG_FILE"].into_iter().chain(serve::vendor_variables());
    if named.into_iter().any(|name| environment.get(name).is_some()) {
        return Ok(true);
    }
    // `serve` reports invalid settings.
    let Ok((boot, _)) = Boot::from(&[], environment) else { return Ok(true) };
    if is_missing(&boot) {
        return Ok(false);
    }
    Ok(!Blocking::embedded(&boot.data_dir)?.load()?.providers.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_lines_of_eighty_columns() {
        assert_eq!(WELCOME.lines().count(), 8);
        assert_eq!(text(COLUMNS), WELCOME);
        assert_eq!(text(2 * COLUMNS), WELCOME);
        // Of a narrow text no line but the last of a paragraph is short.
        assert!(text(40).starts_with("llm-proxy is a gateway between\napplications and LLM providers: clients\nspeak OpenAI Chat, Anthropic Messages or\n"));
    }
}
