//! What is sent: an event as JSON, or as a message of Slack.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::config::budget::{show, words};
use crate::limit::budget::Unit;
use crate::rfc3339;

/// Something that needs a person.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// So many per cent of a budget are used.
    BudgetThreshold {
        budget: String,
        scope: &'static str,
        subject: String,
        percent: u8,
        unit: Unit,
        amount: i64,
        spent: i64,
        /// The window, in seconds since 1970.
        since: i64,
        /// `None` for a total.
        renews_at: Option<i64>,
    },
    /// A provider, or this model at it, gets no requests.
    ProviderDown { provider: String, model: Option<String>, reason: &'static str, at: i64 },
    /// It gets requests again.
    ProviderUp { provider: String, model: Option<String>, at: i64 },
    /// A key expires within so many days.
    KeyExpires { credential: String, expires_at: i64, days: i64 },
}

impl Event {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Event::BudgetThreshold { .. } => "budget.threshold",
            Event::ProviderDown { .. } => "provider.down",
            Event::ProviderUp { .. } => "provider.up",
            Event::KeyExpires { .. } => "key.expires",
        }
    }

    /// Returns an id that is the same for the same event of several gateways, so that a receiver
    /// can leave out what it has seen.
    pub(super) fn id(&self) -> String {
        let parts = match self {
            Event::BudgetThreshold { budget, percent, since, .. } => json!([budget, percent, since]),
            Event::ProviderDown { provider, model, at, .. } | Event::ProviderUp { provider, model, at } => {
                json!([provider, model, at])
            }
            Event::KeyExpires { credential, expires_at, days } => json!([credential, expires_at, days]),
        };
        let digits = hex::encode(Sha256::digest(format!("{} {parts}", self.kind())));
        format!("evt_{}", &digits[..32])
    }

    /// Returns a sentence for people.
    fn text(&self) -> String {
        match self {
            Event::BudgetThreshold { budget, scope, subject, percent, unit, amount, spent, renews_at, .. } => {
                let renewal = renews_at.map(|at| format!("; it renews at {}", rfc3339::format(at))).unwrap_or_default();
                let (spent, amount) = (words(*unit, *spent), words(*unit, *amount));
                format!("{percent} % of budget {budget} of {scope} {subject} is used: {spent} of {amount}{renewal}")
            }
            Event::ProviderDown { provider, model: None, reason, .. } => {
                format!("Provider {provider} is out of service ({reason}); others get its requests")
            }
            Event::ProviderDown { provider, model: Some(model), reason, .. } => {
                format!("Model {model} at provider {provider} is out of service ({reason}); others get its requests")
            }
            Event::ProviderUp { provider, model: None, .. } => format!("Provider {provider} is in service again"),
            Event::ProviderUp { provider, model: Some(model), .. } => {
                format!("Model {model} at provider {provider} is in service again")
            }
            Event::KeyExpires { credential, expires_at, .. } => {
                format!("The key of {credential} expires at {}", rfc3339::format(*expires_at))
            }
        }
    }

    fn data(&self) -> Value {
        let number = |unit: &Unit, amount: &i64| show(*unit, *amount).parse::<f64>().unwrap_or_default();
        match self {
            Event::BudgetThreshold { budget, scope, subject, percent, unit, amount, spent, since, renews_at } => {
                json!({
                    "budget": budget, "scope": scope, "subject": subject, "percent": percent, "unit": unit.name(),
                    "amount": number(unit, amount), "spent": number(unit, spent),
                    "since": renews_at.map(|_| rfc3339::format(*since)), "renews_at": renews_at.map(rfc3339::format),
                })
            }
            Event::ProviderDown { provider, model, reason, .. } => {
                json!({ "provider": provider, "model": model, "reason": reason })
            }
            Event::ProviderUp { provider, model, .. } => json!({ "provider": provider, "model": model }),
            Event::KeyExpires { credential, expires_at, days } => json!({
                "credential": credential, "expires_at": rfc3339::format(*expires_at), "days": days,
            }),
        }
    }

    /// Returns the body in the generic form. `now` is in seconds since 1970.
    pub(super) fn json(&self, now: i64) -> Vec<u8> {
        let body = json!({
            "id": self.id(), "type": self.kind(), "timestamp": rfc3339::format(now), "text": self.text(), "data": self.data(),
        });
        body.to_string().into_bytes()
    }

    /// Returns the body of Slack's incoming webhooks (docs.slack.dev, "Sending messages using
    /// incoming webhooks" and "Formatting message text", 2026-11): `&`, `<` and `>` are written as
    /// entities.
    pub(super) fn slack(&self) -> Vec<u8> {
        let text = self.text().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        json!({ "text": text }).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold() -> Event {
        Event::BudgetThreshold {
            budget: "b".into(),
            scope: "group",
            subject: "<team> & co".into(),
            percent: 80,
            unit: Unit::Dollars,
            amount: 10_000_000_000,
            spent: 8_500_000_000,
            since: 0,
            renews_at: Some(86_400),
        }
    }

    #[test]
    fn bodies() {
        let body: Value = serde_json::from_slice(&threshold().json(60)).unwrap();
        assert_eq!((&body["type"], &body["timestamp"]), (&json!("budget.threshold"), &json!("1970-01-01T00:01:00Z")));
        assert_eq!((&body["data"]["amount"], &body["data"]["spent"]), (&json!(10.0), &json!(8.5)));
        assert_eq!(body["data"]["renews_at"], json!("1970-01-02T00:00:00Z"));
        let slack: Value = serde_json::from_slice(&threshold().slack()).unwrap();
        let text = "80 % of budget b of group &lt;team&gt; &amp; co is used: 8.50 dollars of 10.00 dollars; it renews at \
                    1970-01-02T00:00:00Z";
        assert_eq!(slack, json!({ "text": text }));
    }

    #[test]
    fn ids_are_those_of_what_has_happened() {
        let down = |at| Event::ProviderDown { provider: "p".into(), model: None, reason: "5xx", at };
        assert_eq!(down(1).id(), down(1).id());
        assert_ne!(down(1).id(), down(2).id());
        assert_ne!(down(1).id(), Event::ProviderUp { provider: "p".into(), model: None, at: 1 }.id());
        assert_eq!(threshold().id().len(), 36);
    }
}
