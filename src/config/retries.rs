//! Retries of one provider or of a model of it, which replace the settings of the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::ordered;
use super::pattern::Pattern;

/// The settings of retries of a provider, or of a model of it.
#[derive(Debug, Clone, Default)]
pub struct Retries {
    /// The most attempts that one request makes at this provider. The attempts at all providers
    /// together are bounded by MAX_ATTEMPTS.
    max_attempts: Option<u32>,
    /// The longest wait before the provider is tried again. Zero never tries it again.
    max_wait: Option<Duration>,
    /// By the provider's name of the model, or a pattern; the first that matches.
    models: Vec<(Name, Retries)>,
}

/// The name of a model, or a pattern of names.
#[derive(Debug, Clone)]
enum Name {
    Exact(String),
    Pattern(Arc<Pattern>),
}

/// The bounds on retries of one request at one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryLimits {
    /// At least 1.
    pub max_attempts: u32,
    pub max_wait: Duration,
}

impl RetryLimits {
    /// Returns whether a provider that has failed `attempts` times may be tried again.
    pub fn allows_after(&self, attempts: u32) -> bool {
        attempts < self.max_attempts && !self.max_wait.is_zero()
    }
}

/// `provider_params.retries`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    max_attempts: Option<u32>,
    max_wait: Option<f64>,
    #[serde(default)]
    models: BTreeMap<String, Written>,
}

impl Retries {
    /// Reads `provider_params.retries`.
    ///
    /// # Errors
    /// A sentence about the member that is wrong.
    pub fn parse(json: &str) -> Result<Retries, String> {
        let written = serde_json::from_str::<Written>(json).map_err(|error| ordered::wrong_value(&error))?;
        Retries::of(written)
    }

    fn of(written: Written) -> Result<Retries, String> {
        if written.max_attempts == Some(0) {
            return Err("max_attempts 0 would never ask the provider; 1 asks it once".to_owned());
        }
        let wait = |seconds: f64| {
            Duration::try_from_secs_f64(seconds).map_err(|_| format!("max_wait {seconds} is no number of seconds"))
        };
        let mut models = Vec::new();
        for (name, written) in written.models {
            let pattern = Pattern::parse(&name)?;
            models.push((
                pattern.map_or(Name::Exact(name), |pattern| Name::Pattern(Arc::new(pattern))),
                Retries::of(written)?,
            ));
        }
        Ok(Retries { max_attempts: written.max_attempts, max_wait: written.max_wait.map(wait).transpose()?, models })
    }

    /// Returns the limits for a model, by the provider's name of it: its own, else the provider's,
    /// else `of_process`.
    pub fn of_model(&self, model: &str, of_process: RetryLimits) -> RetryLimits {
        let is_for = |name: &Name| match name {
            Name::Exact(name) => name == model,
            Name::Pattern(pattern) => pattern.matches(model),
        };
        let own = self.models.iter().find(|(name, _)| is_for(name)).map(|(_, retries)| retries);
        RetryLimits {
            max_attempts: own.and_then(|own| own.max_attempts).or(self.max_attempts).unwrap_or(of_process.max_attempts),
            max_wait: own.and_then(|own| own.max_wait).or(self.max_wait).unwrap_or(of_process.max_wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_its_own() {
        let process = RetryLimits { max_attempts: 3, max_wait: Duration::from_secs(5) };
        assert_eq!(Retries::default().of_model("m", process), process);
        let json = r#"{"max_attempts":2,"models":{"slow-*":{"max_wait":20},"once":{"max_attempts":1}}}"#;
        let retries = Retries::parse(json).unwrap();
        let of = |model: &str| {
            let RetryLimits { max_attempts, max_wait } = retries.of_model(model, process);
            (max_attempts, max_wait.as_secs())
        };
        assert_eq!([of("m"), of("slow-1"), of("once")], [(2, 5), (2, 20), (1, 5)]);
        assert!(process.allows_after(2) && !process.allows_after(3));
        assert!(!RetryLimits { max_wait: Duration::ZERO, ..process }.allows_after(1));
        for wrong in [r#"{"max_attempts":0}"#, r#"{"max_wait":-1}"#, r#"{"max_weight":1}"#, "7"] {
            assert!(Retries::parse(wrong).is_err(), "{wrong}");
        }
    }
}
