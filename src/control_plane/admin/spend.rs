//! `/spend`: sums over finished requests by credential, model, provider, day or hour, as JSON or CSV.

use std::fmt::Write;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::logs::{FROM, TO, answer, dollars, equal, period, tables, text};
use crate::control_plane::admin::parameter::{Kind, Parameter};
use crate::control_plane::admin::request::{AdminRequest, Outcome, json};
use crate::control_plane::store::logs::{RequestRow, Spend, SpendBy, Value};
use crate::rfc3339;
use crate::shared::admin::Response;

const DIMENSIONS: &[&str] = &["credential", "model", "provider", "day", "hour"];
const FORMATS: &[&str] = &["json", "csv"];

pub(super) const QUERY: &[Parameter] = &[
    Parameter {
        name: "by",
        help: "what sums are told apart by, credential by default",
        kind: Kind::Choice(DIMENSIONS),
    },
    FROM,
    TO,
    text("credential_name"),
    text("provider_name"),
    Parameter { name: "model", help: "the model as the client named it", kind: Kind::Text },
    Parameter { name: "format", help: "json by default", kind: Kind::Choice(FORMATS) },
];

/// Sums over finished requests, at most 1000: names with the highest cost first, times with the
/// newest first
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SpendList {
    by: &'static str,
    rows: Vec<SpendRow>,
}

/// Sums over the requests of a group
#[derive(Debug, Serialize, JsonSchema)]
struct SpendRow {
    /// A name, or the begin of a day or hour in UTC; null for requests without a name
    group: Option<String>,
    requests: i64,
    /// A status from 400 on, or an error category
    errors: i64,
    input_tokens: i64,
    output_tokens: i64,
    /// Dollars, of the requests whose prices are known
    cost: f64,
}

pub(super) async fn list(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let by = req.choice("by", DIMENSIONS)?.unwrap_or("credential");
    let is_csv = req.choice("format", FORMATS)? == Some("csv");
    let mut filter = period(&req)?;
    for name in ["credential_name", "provider_name"] {
        equal::<RequestRow>(&mut filter, name, req.query(name).map(Value::Text));
    }
    equal::<RequestRow>(&mut filter, "model_requested", req.query("model").map(Value::Text));
    let dimension = match by {
        "model" => SpendBy::Model,
        "provider" => SpendBy::Provider,
        "day" => SpendBy::Day,
        "hour" => SpendBy::Hour,
        _ => SpendBy::Credential,
    };
    let sums = answer(&context, tables(&context)?.spend(filter, dimension)).await?;
    let rows: Vec<_> = sums.into_iter().map(|sum| row(sum, dimension)).collect();
    match is_csv {
        true => Ok(csv(by, &rows)),
        false => json(200, &SpendList { by, rows }),
    }
}

fn row(sum: Spend, by: SpendBy) -> SpendRow {
    let is_time = matches!(by, SpendBy::Day | SpendBy::Hour);
    let group = sum.group.map(|group| match group.parse() {
        Ok(seconds) if is_time => rfc3339::format(seconds),
        _ => group,
    });
    SpendRow {
        group,
        requests: sum.requests,
        errors: sum.errors,
        input_tokens: sum.input_tokens,
        output_tokens: sum.output_tokens,
        cost: dollars(sum.cost),
    }
}

fn csv(by: &str, rows: &[SpendRow]) -> Response {
    let mut out = format!("{by},requests,errors,input_tokens,output_tokens,cost_usd\r\n");
    for row in rows {
        let group = cell(row.group.as_deref().unwrap_or_default());
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "{group},{},{},{},{},{:.9}\r\n",
            row.requests, row.errors, row.input_tokens, row.output_tokens, row.cost
        );
    }
    let disposition = format!("attachment; filename=\"spend-by-{by}.csv\"");
    Response {
        status: 200,
        fields: vec![("content-disposition", disposition), ("x-content-type-options", "nosniff".to_owned())],
        body: out.into_bytes(),
        content_type: Some("text/csv; charset=utf-8"),
    }
}

/// A cell of a CSV file (RFC 4180). Spreadsheets take a text that begins with one of these characters
/// for a formula, so it gets an apostrophe before it.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guard = if is_formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(cell("team, \"a\""), r#""team, ""a""""#);
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(cell(text), format!("\"'{text}\""));
        }
    }
}
