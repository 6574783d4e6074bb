//! The `.env` file: `NAME=value` lines, `#` comments, optional `export`, single or double quotes.
//! Nothing is expanded.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use super::messages::Warning;
use crate::config::secret::Secret;

/// The largest file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads `path`; a file that is not there is empty. What cannot be read is a warning, never with
/// the text of the line.
pub fn read(path: &Path) -> (BTreeMap<String, Secret>, Vec<Warning>) {
    let shown = path.display();
    let trouble = |message: String| (BTreeMap::new(), vec![Warning(message)]);
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() && file.len() <= MAX_FILE => {}
        Ok(_) => return trouble(format!("{shown} is ignored: it is no file, or larger than {MAX_FILE} bytes")),
        Err(error) if error.kind() == ErrorKind::NotFound => return (BTreeMap::new(), Vec::new()),
        Err(error) => return trouble(format!("{shown} cannot be read: {error}")),
    }
    match std::fs::read(path) {
        Ok(bytes) => parse(&String::from_utf8_lossy(&bytes), &shown.to_string()),
        Err(error) => trouble(format!("{shown} cannot be read: {error}")),
    }
}

/// Returns the value of a name. Its last line counts.
fn parse(text: &str, file: &str) -> (BTreeMap<String, Secret>, Vec<Warning>) {
    let mut values = BTreeMap::new();
    let mut warnings = Vec::new();
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match pair(line) {
            Some((name, value)) => {
                values.insert(name.to_owned(), value.into());
            }
            None => warnings.push(Warning(format!("{file} line {number} is ignored: it is not NAME=value"))),
        }
    }
    (values, warnings)
}

fn pair(line: &str) -> Option<(&str, String)> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    Some((name, value_of(value.trim())?))
}

fn value_of(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('\'') {
        let (value, rest) = inner.split_once('\'')?;
        return is_comment(rest).then(|| value.to_owned());
    }
    if let Some(inner) = text.strip_prefix('"') {
        return double_quoted(inner);
    }
    // A `#` begins a comment only after a space: keys may hold one.
    let end = text.find(" #").or_else(|| text.find("\t#")).unwrap_or(text.len());
    let value = if text.starts_with('#') { "" } else { &text[..end] };
    Some(value.trim_end().to_owned())
}

/// Reads the inside of double quotes: `\n`, `\t`, `\"`, `\\` and `\$` are escapes, and other
/// backslashes stand for themselves.
fn double_quoted(inner: &str) -> Option<String> {
    let mut value = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return is_comment(chars.as_str()).then_some(value),
            '\\' => match chars.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                c @ ('"' | '\\' | '$') => value.push(c),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
    None
}

fn is_comment(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.is_empty() || rest.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let rows = [
            ("A=b", Some("b")),
            (" export A = b ", Some("b")),
            ("A=", Some("")),
            ("A=b # why", Some("b")),
            ("A=b#c", Some("b#c")),
            ("A=#c", Some("")),
            ("A=postgres://u:p@h/d?x=1", Some("postgres://u:p@h/d?x=1")),
            ("A='b # c' # d", Some("b # c")),
            (r#"A="b\n\"c\" \x" "#, Some("b\n\"c\" \\x")),
            ("A='b", None),
            (r#"A="b"#, None),
            (r#"A="b" c"#, None),
            ("A b", None),
            ("A-B=c", None),
            ("=c", None),
            ("# A=b", None),
        ];
        for (line, value) in rows {
            let (values, _) = parse(line, ".env");
            assert_eq!(values.get("A").map(|value| &**value), value, "{line}");
        }
    }

    #[test]
    fn last_assignment_wins_and_bad_lines_are_reported_without_text() {
        let (values, warnings) = parse("\u{feff}A=1\r\nsk-secret\n\nA=2\n", ".env");
        assert_eq!(&*values["A"], "2");
        assert_eq!(warnings, [Warning(".env line 2 is ignored: it is not NAME=value".to_owned())]);
    }

    #[test]
    fn no_file_is_no_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let (values, warnings) = read(&dir.path().join(".env"));
        assert!(values.is_empty() && warnings.is_empty());
        assert_eq!(read(dir.path()).1.len(), 1);
    }
}
