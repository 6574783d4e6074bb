//! The terminal, if there is one: its width, questions, and answers that are not echoed.

use std::io::{self, BufRead, IsTerminal, Write};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use super::failure::Failure;
use super::signals::Signals;

/// Columns where no terminal reports its own.
const DEFAULT_WIDTH: usize = 80;
/// The narrowest text.
const MIN_WIDTH: usize = 20;

/// Columns of the terminal that stdout is; `None` if it is none, such as a pipe, where lines may be
/// as long as they like.
pub(super) fn width() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let columns = termios::tcgetwinsize(&out).map_or(0, |size| usize::from(size.ws_col));
    Some(if columns == 0 { DEFAULT_WIDTH } else { columns.max(MIN_WIDTH) })
}

/// `text` in lines of at most `width` columns, broken between words; what continues a line is set
/// in under the text behind its first column, which two spaces or more end.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let lead = line.len() - line.trim_start().len();
        let hang = line.trim_start().find("  ").map_or(lead, |at| {
            let gap = line[lead + at..].len() - line[lead + at..].trim_start().len();
            lead + at + gap
        });
        let hang = if hang * 2 > width { lead + 2 } else { hang };
        let mut column = 0;
        for (at, word) in words(line).enumerate() {
            let length = word.trim_end().chars().count();
            if at > 0 && column + length > width {
                out.truncate(out.trim_end_matches(' ').len());
                out.push('\n');
                out.push_str(&" ".repeat(hang));
                column = hang;
            }
            out.push_str(word);
            column += word.chars().count();
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

/// Words with the spaces behind them; those before the first word belong to it.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let start = rest.find(|c| c != ' ').unwrap_or(rest.len());
        let end = rest[start..].find(' ').map_or(rest.len(), |at| start + at);
        let next = rest[end..].find(|c| c != ' ').map_or(rest.len(), |at| end + at);
        let (word, after) = rest.split_at(next);
        rest = after;
        Some(word)
    })
}

/// Asks on stderr, and reads a line of stdin. An empty one is `default`. `flag` is what would have
/// answered.
pub(super) fn prompt(question: &str, default: Option<&str>, flag: &str) -> Result<String, Failure> {
    let shown = default.map(|default| format!(" [{default}]")).unwrap_or_default();
    write_prompt(&format!("{question}{shown}: "));
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    let read = read.map_err(|error| Failure::failed(format!("stdin cannot be read: {error}")))?;
    match (line.trim(), default) {
        ("", _) if read == 0 => {
            write_prompt("\n");
            Err(Failure::failed(format!("there is no answer on stdin; give {flag}")))
        }
        ("", Some(default)) => Ok(default.to_owned()),
        (answer, _) => Ok(answer.to_owned()),
    }
}

/// Prompts until `read` accepts the answer. Where nobody sits at a terminal it is asked for once.
pub(super) fn prompt_until<T>(
    question: &str,
    default: Option<&str>,
    flag: &str,
    read: impl Fn(&str) -> Result<T, Failure>,
) -> Result<T, Failure> {
    loop {
        match read(&prompt(question, default, flag)?) {
            Err(Failure::Usage(lines)) if io::stdin().is_terminal() => {
                lines.iter().for_each(|line| write_prompt(&format!("error: {line}\n")));
            }
            done => return done,
        }
    }
}

/// Asks like [`prompt`] for a secret: on a terminal it does not appear.
pub(super) fn prompt_hidden(question: &str, flag: &str) -> Result<String, Failure> {
    let stdin = io::stdin();
    let before = stdin.is_terminal().then(|| termios::tcgetattr(&stdin)).and_then(Result::ok);
    if let Some(before) = &before {
        restore_at_a_signal(before.clone())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // If that fails the answer appears, which is no reason not to take it.
        let _ = termios::tcsetattr(&stdin, OptionalActions::Now, &hidden);
    }
    let answer = prompt(question, None, flag);
    if let Some(before) = &before {
        let _ = termios::tcsetattr(&stdin, OptionalActions::Now, before);
        write_prompt("\n");
    }
    answer
}

/// Ends the process at a signal to stop, with the status of that signal and the terminal as it was:
/// a shell need not repair one that shows nothing of what is typed.
fn restore_at_a_signal(before: Termios) -> Result<(), Failure> {
    let mut signals = Signals::watch()?;
    let wait = move || {
        let status = signals.wait_for_stop();
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &before);
        write_prompt("\n");
        std::process::exit(status);
    };
    let spawned = std::thread::Builder::new().name("signals".to_owned()).spawn(wait);
    spawned.map(drop).map_err(|error| Failure::failed(format!("the system gives no thread: {error}")))
}

fn write_prompt(text: &str) {
    let mut err = io::stderr();
    // There is nowhere left to say that this failed.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        let rows = [
            ("one two three", 80, "one two three\n"),
            ("one two three", 7, "one two\nthree\n"),
            ("  serve   starts it at once", 24, "  serve   starts it at\n          once\n"),
            // A column that leaves no room is given up.
            ("  llm-proxy demo    starts it", 20, "  llm-proxy demo\n    starts it\n"),
            ("abcdefghij", 4, "abcdefghij\n"),
            ("a\n\nb", 4, "a\n\nb\n"),
        ];
        for (text, width, expected) in rows {
            assert_eq!(wrapped(text, width), expected, "{text} {width}");
        }
    }
}
