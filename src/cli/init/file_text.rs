//! Rows that are added to a configuration file which somebody may have written by hand: the rest of
//! its text stays as it is.

use std::path::Path;

use crate::cli::failure::Failure;
use crate::config::env::Env;
use crate::config::file::{self, File};
use crate::config::rows::Rows;
use crate::control_plane::store::file_text;

/// Returns the text of the file at `path` with the providers and credentials of `rows` added.
/// `variable` is what the file has in place of the providers' keys.
///
/// # Errors
/// The file is written in a way in which a few more lines are not what they should be. The error
/// shows the lines.
pub(super) fn with(path: &Path, rows: &Rows, variable: Option<&str>, env: &Env<'_>) -> Result<String, Failure> {
    let unreadable = |why: String| Failure::failed(format!("{} {why}", path.display()));
    let text = file_text::read(path).map_err(unreadable)?;
    let lines = file::write(rows, &|_| variable.map(str::to_owned));
    let mut new = text.clone();
    let (providers, credentials) = lines.split_at(lines.find("\ncredentials:").map_or(lines.len(), |at| at + 1));
    for (section, part) in [("providers", providers), ("credentials", credentials)] {
        let items: Vec<&str> = part.lines().skip(1).collect();
        if !items.is_empty() {
            new = extended(&new, section, &items);
        }
    }
    if is_sum(&text, rows, &new, env) {
        return Ok(new);
    }
    Err(Failure::failed(format!(
        "nothing was written: {} is not written line by line as `llm-proxy export` does, and so nothing can be added \
         to it here; add this yourself:\n{}",
        path.display(),
        lines.trim_end()
    )))
}

/// Adds the items at the end of a section of the file, in the depth of those that are there. The
/// items are in a depth of two.
fn extended(text: &str, section: &str, items: &[&str]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_heading = |line: &&str| {
        let rest = line.strip_prefix(section).and_then(|rest| rest.strip_prefix(':')).map(str::trim);
        rest.is_some_and(|rest| rest.is_empty() || rest == "[]" || rest.starts_with('#'))
    };
    let Some(heading) = lines.iter().position(is_heading) else {
        return joined(&[&lines[..], &[&format!("{section}:")], items].concat());
    };
    let is_of_section =
        |line: &&&str| line.trim().is_empty() || line.starts_with([' ', '\t', '#']) || line.starts_with("- ");
    let end = heading + 1 + lines[heading + 1..].iter().take_while(is_of_section).count();
    // What stands between the last item and the next section belongs to the latter.
    let is_between = |line: &&&str| line.trim().is_empty() || line.starts_with('#');
    let end = end - lines[heading + 1..end].iter().rev().take_while(is_between).count();
    let first = lines[heading + 1..end].iter().find(|line| line.trim_start().starts_with("- "));
    let depth = first.map_or(2, |line| line.len() - line.trim_start().len());
    let items: Vec<String> =
        items.iter().map(|item| format!("{}{}", " ".repeat(depth), item.strip_prefix("  ").unwrap_or(item))).collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let heading_text = lines[heading].replace("[]", "");
    let heading_line = heading_text.trim_end();
    joined(&[&lines[..heading], &[heading_line], &lines[heading + 1..end], &items, &lines[end..]].concat())
}

fn joined(lines: &[&str]) -> String {
    lines.join("\n") + "\n"
}

/// Returns whether `new` reads as the rows of `old` and those of `more`, and nothing else.
fn is_sum(old: &str, more: &Rows, new: &str, env: &Env<'_>) -> bool {
    let (Ok(old), Ok(new)) = (file::read(old, env), file::read(new, env)) else { return false };
    let keys = more.providers.iter().map(|row| row.provider_key.as_str());
    let names = more.credentials.iter().map(|row| row.name.as_str());
    let (File { providers, credentials, groups, models, budgets, settings, .. }, then) = (old, new);
    let is_extended = then.providers.len() == providers.len() + more.providers.len()
        && then.credentials.len() == credentials.len() + more.credentials.len()
        && then.providers.starts_with(&providers)
        && then.credentials.starts_with(&credentials);
    let values = |settings: &[crate::config::boot::FileSetting]| {
        settings.iter().map(|setting| (setting.name.clone(), setting.value.to_string())).collect::<Vec<_>>()
    };
    is_extended
        && then.providers[providers.len()..].iter().map(|row| row.provider_key.as_str()).eq(keys)
        && then.credentials[credentials.len()..].iter().map(|row| row.name.as_str()).eq(names)
        && (then.groups, then.models, then.budgets) == (groups, models, budgets)
        && values(&then.settings) == values(&settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_go_to_the_end_of_their_section() {
        let items = ["  - provider_key: b", "    api_base: https://b"];
        for (text, expected) in [
            ("providers:\n  - a: 1\n", "providers:\n  - a: 1\n  - provider_key: b\n    api_base: https://b\n"),
            // In the depth that is there, before what belongs to the next section.
            (
                "# mine\nproviders: # two\n- a: 1\n  b: 2\n\n# keys\ncredentials: []\n",
                "# mine\nproviders: # two\n- a: 1\n  b: 2\n- provider_key: b\n  api_base: https://b\n\n# keys\ncredentials: []\n",
            ),
            ("providers: []\nx: 1\n", "providers:\n  - provider_key: b\n    api_base: https://b\nx: 1\n"),
            ("x: 1", "x: 1\nproviders:\n  - provider_key: b\n    api_base: https://b\n"),
        ] {
            assert_eq!(extended(text, "providers", &items), expected);
        }
    }
}
