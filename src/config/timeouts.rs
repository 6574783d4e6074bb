//! Deadlines of attempts: those of the process, and those of a provider or a model of it, which
//! replace them.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::ordered;
use super::pattern::Pattern;

/// The time to the first content of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FirstContent {
    /// By the model and the size of the prompt.
    #[default]
    Auto,
    Off,
    Fixed(Duration),
}

/// Of models that do not reason, for a short prompt.
const BASE: Duration = Duration::from_secs(60);
/// Of models that may reason before they write.
const REASONING: Duration = Duration::from_secs(180);
/// For each thousand tokens of the prompt.
const PER_THOUSAND: Duration = Duration::from_secs(1);

impl FirstContent {
    /// Returns the limit for a prompt of about `tokens`. `None` is no limit.
    pub fn limit(self, tokens: u64, reasons: bool) -> Option<Duration> {
        match self {
            FirstContent::Off => None,
            FirstContent::Fixed(limit) => Some(limit),
            FirstContent::Auto => {
                let base = if reasons { REASONING } else { BASE };
                let thousands = u32::try_from(tokens / 1000).unwrap_or(u32::MAX);
                Some(base.saturating_add(PER_THOUSAND.saturating_mul(thousands)))
            }
        }
    }
}

/// The deadlines of a provider, or of a model of it.
#[derive(Debug, Clone, Default)]
pub struct Timeouts {
    pub connect: Option<Duration>,
    pub first_content: Option<FirstContent>,
    /// What each thousand tokens of the prompt add to a fixed `first_content`.
    pub first_content_per_1k: Option<Duration>,
    pub silence: Option<Duration>,
    pub total: Option<Duration>,
    /// By the provider's name of the model, or a pattern; the first that matches.
    models: Vec<(String, Option<Arc<Pattern>>, Timeouts)>,
}

/// `provider_params.timeouts`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    connect: Option<f64>,
    first_content: Option<f64>,
    first_content_per_1k: Option<f64>,
    silence: Option<f64>,
    total: Option<f64>,
    #[serde(default)]
    models: std::collections::BTreeMap<String, Written>,
}

impl Timeouts {
    /// Reads `provider_params.timeouts`.
    pub fn parse(json: &str) -> Result<Timeouts, String> {
        let written = serde_json::from_str::<Written>(json).map_err(|error| ordered::wrong_value(&error))?;
        Timeouts::of(written)
    }

    fn of(written: Written) -> Result<Timeouts, String> {
        let seconds = |name: &str, value: Option<f64>| {
            let valid = |value: f64| Duration::try_from_secs_f64(value).ok().filter(|value| !value.is_zero());
            match value {
                None => Ok(None),
                Some(value) => valid(value).map(Some).ok_or_else(|| format!("{name} {value} is no number of seconds")),
            }
        };
        let first_content = match written.first_content {
            Some(0.0) => Some(FirstContent::Off),
            value => seconds("first_content", value)?.map(FirstContent::Fixed),
        };
        let mut models = Vec::new();
        for (name, written) in written.models {
            let pattern = Pattern::parse(&name)?.map(Arc::new);
            models.push((name, pattern, Timeouts::of(written)?));
        }
        Ok(Timeouts {
            connect: seconds("connect", written.connect)?,
            first_content,
            first_content_per_1k: seconds("first_content_per_1k", written.first_content_per_1k)?,
            silence: seconds("silence", written.silence)?,
            total: seconds("total", written.total)?,
            models,
        })
    }

    /// Returns whether nothing is set.
    pub fn is_empty(&self) -> bool {
        let own = [self.connect, self.first_content_per_1k, self.silence, self.total];
        own.iter().all(Option::is_none) && self.first_content.is_none() && self.models.is_empty()
    }

    /// Returns the deadlines of a model: its own, else the provider's.
    pub fn of_model(&self, model: &str) -> Timeouts {
        let is_for = |name: &str, pattern: &Option<Arc<Pattern>>| match pattern {
            Some(pattern) => pattern.matches(model),
            None => name == model,
        };
        let own = self.models.iter().find(|(name, pattern, _)| is_for(name, pattern)).map(|(.., timeouts)| timeouts);
        let Some(own) = own else { return Timeouts { models: Vec::new(), ..self.clone() } };
        Timeouts {
            connect: own.connect.or(self.connect),
            first_content: own.first_content.or(self.first_content),
            first_content_per_1k: own.first_content_per_1k.or(self.first_content_per_1k),
            silence: own.silence.or(self.silence),
            total: own.total.or(self.total),
            models: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_content_grows_with_the_prompt() {
        let seconds = |tokens, reasons| FirstContent::Auto.limit(tokens, reasons).unwrap().as_secs();
        assert_eq!([seconds(10, false), seconds(5000, false), seconds(2500, true)], [60, 65, 182]);
        assert_eq!(FirstContent::Off.limit(1, true), None);
        assert_eq!(FirstContent::Fixed(BASE).limit(9_000, true), Some(BASE));
    }

    #[test]
    fn a_model_has_its_own() {
        let timeouts =
            Timeouts::parse(r#"{"silence":20,"models":{"slow-*":{"silence":90,"first_content":0}}}"#).unwrap();
        assert_eq!(timeouts.of_model("m").silence, Some(Duration::from_secs(20)));
        let slow = timeouts.of_model("slow-1");
        assert_eq!((slow.silence, slow.first_content), (Some(Duration::from_secs(90)), Some(FirstContent::Off)));
        for wrong in [r#"{"silence":-1}"#, r#"{"silnce":1}"#, r#"{"connect":0}"#] {
            assert!(Timeouts::parse(wrong).is_err(), "{wrong}");
        }
    }
}
