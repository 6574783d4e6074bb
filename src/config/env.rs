//! The environment, as code that compiles or reads a configuration sees it.

/// Reads a variable of the environment; for `api_key` of the form `env:NAME`.
pub type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;
