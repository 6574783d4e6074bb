//! Whether another provider goes on with a stream that breaks off behind its first content:
//! `RESCUE_STREAMS`, and `rescue` among the options of a virtual model.

use llm_wire::passthrough::continuation::ContinuationMethod;

/// How a stream that broke off is continued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rescue {
    /// The client gets an error event.
    #[default]
    Off,
    By(ContinuationMethod),
}

impl Rescue {
    /// Reads `off`, `prompt` or `prefill`. The error is what was expected.
    pub fn read(text: &str) -> Result<Rescue, String> {
        match text.to_ascii_lowercase().as_str() {
            "off" | "false" => Ok(Rescue::Off),
            "prompt" | "true" => Ok(Rescue::By(ContinuationMethod::Prompt)),
            "prefill" => Ok(Rescue::By(ContinuationMethod::Prefill)),
            _ => Err("off, prompt or prefill".to_owned()),
        }
    }
}
