//! Classifies clients by their `User-Agent`. The names are a fixed list, so that no client can make
//! a metric series of its own.

use std::fmt;

/// Texts that a `User-Agent` may contain, in lower case, and the program's name. The first match
/// counts.
const PROGRAMS: &[(&str, &str)] = &[
    ("claude-cli", "claude-code"),
    ("claude-code", "claude-code"),
    ("claude-proxy", "claude-proxy"),
    ("kilo-code", "kilo-code"),
    ("codex_cli_rs", "codex-cli"),
    ("codex_exec", "codex-cli"),
    ("codex_vscode", "codex-vscode"),
    ("codex", "codex"),
    ("opencode", "opencode"),
    ("ai-sdk/openai-compatible", "ai-sdk-openai"),
    ("ai-sdk/anthropic", "ai-sdk-anthropic"),
    ("ai-sdk", "ai-sdk"),
    ("openai/js", "openai-js"),
    ("openai/python", "openai-python"),
    ("openai-python", "openai-python"),
    ("openai-node", "openai-node"),
    ("openai/", "openai-sdk"),
    ("anthropic-sdk", "anthropic-sdk"),
    ("anthropic", "anthropic-sdk"),
    ("cursor", "cursor"),
    ("copilot", "copilot"),
    ("continue", "continue"),
    ("aider", "aider"),
    ("cline", "cline"),
    ("apifox", "apifox"),
    ("postmanruntime", "postman"),
    ("insomnia", "insomnia"),
    ("python-httpx", "python-httpx"),
    ("python-requests", "python-requests"),
    ("httpx", "httpx"),
    ("axios", "axios"),
    ("node-fetch", "node-fetch"),
    ("curl", "curl"),
    ("wget", "wget"),
    ("iterm2", "iterm2"),
    ("langchain", "langchain"),
    ("llama-index", "llama-index"),
    ("llama_index", "llama-index"),
    ("mozilla", "browser"),
];

/// Bytes of a `User-Agent` that are searched.
const SEARCHED: usize = 160;

/// A client's program: one of [`PROGRAMS`], `unknown` (without the field) or `other`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserAgent(u8);

impl UserAgent {
    /// The request had no `User-Agent`.
    pub const UNKNOWN: UserAgent = UserAgent(u8::MAX);
    const OTHER: UserAgent = UserAgent(u8::MAX - 1);

    /// Returns the program that a `User-Agent` names.
    pub fn of(user_agent: &[u8]) -> UserAgent {
        const { assert!(PROGRAMS.len() < u8::MAX as usize - 1) }
        if user_agent.is_empty() {
            return UserAgent::UNKNOWN;
        }
        let mut text = [0; SEARCHED];
        let text = &mut text[..user_agent.len().min(SEARCHED)];
        text.copy_from_slice(&user_agent[..text.len()]);
        text.make_ascii_lowercase();
        // Vercel's AI SDK. Elsewhere in the text `ai/` is a part of another name.
        let found = match text.starts_with(b"ai/") {
            true => PROGRAMS.iter().position(|(_, name)| *name == "ai-sdk"),
            false => PROGRAMS.iter().position(|(part, _)| memchr::memmem::find(text, part.as_bytes()).is_some()),
        };
        found.map_or(UserAgent::OTHER, |at| UserAgent(at as u8))
    }

    /// Returns the label that metrics show.
    pub fn name(self) -> &'static str {
        match self {
            UserAgent::UNKNOWN => "unknown",
            UserAgent(at) => PROGRAMS.get(usize::from(at)).map_or("other", |(_, name)| name),
        }
    }
}

impl fmt::Debug for UserAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs() {
        let rows = [
            ("", "unknown"),
            ("claude-cli/2.0.1 (external, cli)", "claude-code"),
            ("codex_cli_rs/0.50.0 (Debian 12; x86_64)", "codex-cli"),
            ("codex_vscode/1", "codex-vscode"),
            ("OpenAI/JS 6.1.0", "openai-js"),
            ("AsyncOpenAI/Python 2.3.0", "openai-python"),
            ("OpenAI/Go 1.2", "openai-sdk"),
            ("Anthropic/JS 0.70.0", "anthropic-sdk"),
            ("ai/5.0.1 ai-sdk/openai-compatible/1.0 runtime/node.js/22", "ai-sdk"),
            ("ai-sdk/openai-compatible/1.0", "ai-sdk-openai"),
            ("ai-sdk/anthropic/2.0", "ai-sdk-anthropic"),
            ("python-httpx/0.28.1", "python-httpx"),
            ("curl/8.5.0", "curl"),
            ("Mozilla/5.0 (X11) Cursor/1.0", "cursor"),
            ("Mozilla/5.0 (X11; Linux x86_64)", "browser"),
            ("my-own-thing/1.0", "other"),
            ("\u{e9}", "other"),
        ];
        for (user_agent, name) in rows {
            assert_eq!(UserAgent::of(user_agent.as_bytes()).name(), name, "{user_agent}");
        }
        assert_eq!(UserAgent::of(&[b'x'; 100_000]).name(), "other");
    }
}
