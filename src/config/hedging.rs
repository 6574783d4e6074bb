//! Which requests may have a second attempt beside a slow first one: `hedge` among the options of a
//! virtual model, or in the `metadata` of a credential.

use std::time::Duration;

use serde_json::Value;

/// How requests are hedged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hedging {
    /// The most requests that are hedged, in hundredths of a percent.
    pub share: u32,
    /// When the second attempt at a stream begins. `None` is the 95th percentile of the times to
    /// first content.
    pub after: Option<Duration>,
    /// When the second attempt at a whole answer begins. `None` is the 95th percentile of its
    /// times.
    pub whole_after: Option<Duration>,
}

impl Default for Hedging {
    fn default() -> Hedging {
        Hedging { share: 200, after: None, whole_after: None }
    }
}

impl Hedging {
    /// Reads `true`, `false` or an object. `None` is no hedging.
    pub fn read(value: &Value) -> Result<Option<Hedging>, String> {
        let mut hedging = Hedging::default();
        match value {
            Value::Bool(is_on) => Ok(is_on.then_some(hedging)),
            Value::Object(members) => {
                for (name, value) in members {
                    match &**name {
                        "percent" => hedging.share = share(value)?,
                        "after_ms" => hedging.after = Some(after(name, value)?),
                        "whole_after_ms" => hedging.whole_after = Some(after(name, value)?),
                        _ => {
                            let shown: String = name.chars().take(60).collect();
                            return Err(format!(
                                "hedge.{shown} is not known; known are percent, after_ms and whole_after_ms"
                            ));
                        }
                    }
                }
                Ok(Some(hedging))
            }
            _ => Err("hedge is neither true, false nor an object with percent, after_ms and whole_after_ms".to_owned()),
        }
    }
}

fn share(value: &Value) -> Result<u32, String> {
    let percent = value.as_f64().filter(|percent| (0.01..=100.0).contains(percent));
    let percent = percent.ok_or("hedge.percent is no number from 0.01 to 100")?;
    Ok((percent * 100.0).round() as u32)
}

fn after(name: &str, value: &Value) -> Result<Duration, String> {
    let ms = value.as_u64().filter(|ms| (1..=600_000).contains(ms));
    ms.map(Duration::from_millis).ok_or_else(|| format!("hedge.{name} is no whole number from 1 to 600000"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forms() {
        let on = |share, after: Option<u64>| {
            Ok(Some(Hedging { share, after: after.map(Duration::from_millis), whole_after: None }))
        };
        let whole = Hedging { whole_after: Some(Duration::from_secs(9)), ..Hedging::default() };
        let rows = [
            (json!(true), on(200, None)),
            (json!(false), Ok(None)),
            (json!({}), on(200, None)),
            (json!({ "percent": 0.5, "after_ms": 300 }), on(50, Some(300))),
            (json!({ "whole_after_ms": 9000 }), Ok(Some(whole))),
            (json!({ "percent": 0 }), Err("hedge.percent is no number from 0.01 to 100")),
            (json!({ "after_ms": 1.5 }), Err("hedge.after_ms is no whole number from 1 to 600000")),
            (json!({ "p95": 1 }), Err("hedge.p95 is not known; known are percent, after_ms and whole_after_ms")),
            (json!(2), Err("hedge is neither true, false nor an object with percent, after_ms and whole_after_ms")),
        ];
        for (json, expected) in rows {
            assert_eq!(Hedging::read(&json), expected.map_err(str::to_owned), "{json}");
        }
    }
}
