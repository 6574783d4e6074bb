//! `llm-proxy connect`: the settings of a client for this gateway, ready to paste.

use clap::builder::PossibleValuesParser;

use super::failure::Failure;
use super::{port_owner, print, store};
use crate::config::boot::Environment;
pub use crate::config::clients::{CLIENTS, Client, TestStatus};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The client; without it, all that are known are listed
    #[arg(value_name = "CLIENT", value_parser = PossibleValuesParser::new(CLIENTS.iter().map(|client| client.name)))]
    client: Option<String>,
    /// Address of the gateway [default: that of a gateway here, by HOST and PORT]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The key to write into the settings, as `key create` has printed it
    #[arg(long, value_name = "KEY", default_value = KEY)]
    key: String,
    /// The model to write into the settings
    #[arg(long, value_name = "MODEL", default_value = MODEL)]
    model: String,
}

/// The placeholder of the key where none is given.
pub const KEY: &str = "YOUR_KEY";
/// The model where none is given.
pub const MODEL: &str = "gpt-4o-mini";

/// Runs `llm-proxy connect`.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Some(name) = &args.client else { return list() };
    let Some(client) = CLIENTS.iter().find(|client| client.name == name.as_str()) else { return list() };
    let url = match &args.url {
        Some(url) => url.trim().trim_end_matches('/').trim_end_matches("/v1").to_owned(),
        None => {
            let (environment, _) = Environment::of_process();
            port_owner::url(&store::listener(&environment)?)
        }
    };
    if !url.starts_with("http://") && !url.starts_with("https://") {
        let message = format!("`{url}` is no address of a gateway; write it as http://host:18000");
        return Err(Failure::Usage(vec![message]));
    }
    print::note("note", &format!("{}: {}", client.title, client.place));
    if let TestStatus::Untested(why) = client.tried {
        print::note("note", &format!("these settings are from its documentation, and untried: {why}"));
    }
    print::line(&client.settings(&url, &args.key, &args.model))
}

fn list() -> Result<(), Failure> {
    let row = |client: &Client| [client.name.to_owned(), client.title.to_owned(), client.speaks.to_owned()];
    let rows: Vec<_> = CLIENTS.iter().map(row).collect();
    print::table(["CLIENT", "", "SPEAKS"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_no_gaps() {
        for client in CLIENTS {
            let text = client.settings("http://gateway:1", "sk-k", "m-1");
            assert!(text.contains("http://gateway:1"), "{}", client.name);
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{}", client.name);
            for gap in ["{root}", "{v1}", "{key}", "{model}"] {
                assert!(!text.contains(gap), "{}: {gap}", client.name);
            }
        }
        let mut names: Vec<_> = CLIENTS.iter().map(|client| client.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CLIENTS.len());
    }
}
