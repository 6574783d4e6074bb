//! `/spend`: what was spent by credential, group, tag, model, provider or day, as JSON or CSV. It
//! comes from the sums of days in the store; hours come from the request log.

use std::fmt::Write;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::field_values::Moment;
use crate::control_plane::admin::logs::{FROM, TO, answer, dollars, equal, period, tables, text};
use crate::control_plane::admin::parameter::{Kind, Parameter};
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, json};
use crate::control_plane::store::logs::spend::DAY;
use crate::control_plane::store::logs::{Hour, RequestRow, Spend, SpendBy, SpendQuery, SpendSums, Value};
use crate::control_plane::store::now;
use crate::rfc3339;
use crate::shared::admin::Response;

const DIMENSIONS: &[&str] = &["credential", "group", "tag", "model", "provider", "day", "hour"];
const FORMATS: &[&str] = &["json", "csv"];
const PER: &[&str] = &["day"];

pub(super) const QUERY: &[Parameter] = &[
    Parameter {
        name: "by",
        help: "what sums are grouped by, credential by default; hours come from the request log",
        kind: Kind::Choice(DIMENSIONS),
    },
    Parameter { name: "per", help: "day also groups the sums by day", kind: Kind::Choice(PER) },
    Parameter { help: "the first day, in UTC; of a time its day", ..FROM },
    Parameter { help: "the last day, in UTC; of a time its day", ..TO },
    text("credential_name"),
    Parameter { name: "group_name", help: "only requests of this group and of the groups in it", kind: Kind::Text },
    Parameter { name: "tag", help: "only requests with this tag", kind: Kind::Text },
    text("provider_name"),
    Parameter { name: "model", help: "the model as the client named it", kind: Kind::Text },
    Parameter { name: "format", help: "json by default", kind: Kind::Choice(FORMATS) },
];

/// Sums over finished requests, at most 1000, or 10,000 with `per`: the highest cost first, of days
/// and hours the newest
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SpendList {
    by: &'static str,
    /// Begin of the first day that was asked for
    from: Option<Moment>,
    /// Begin of the last day
    to: Option<Moment>,
    rows: Vec<SpendRow>,
}

/// Sums over the requests of a group
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct SpendRow {
    /// A name, or the begin of a day or hour in UTC; null for requests without a name
    group: Option<String>,
    /// With `per`: the begin of the day in UTC
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<Moment>,
    requests: i64,
    /// A status from 400 on, or an error category
    errors: i64,
    /// Requests with tokens whose price is not known
    unpriced: i64,
    input_tokens: i64,
    output_tokens: i64,
    /// Of the input: read from a cache
    cache_read_tokens: i64,
    /// Of the input: written to a cache
    cache_write_tokens: i64,
    /// Of the output
    reasoning_tokens: i64,
    /// Dollars, of the requests whose prices are known
    cost: f64,
}

pub(super) async fn list(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let by = req.choice("by", DIMENSIONS)?.unwrap_or("credential");
    let is_csv = req.choice("format", FORMATS)? == Some("csv");
    let dimension = match by {
        "group" => SpendBy::Group,
        "tag" => SpendBy::Tag,
        "model" => SpendBy::Model,
        "provider" => SpendBy::Provider,
        "day" => SpendBy::Day,
        "hour" => {
            let rows: Vec<_> = hours(&context, &req).await?.into_iter().map(of_hour).collect();
            return answer_of(is_csv, SpendList { by, from: None, to: None, rows });
        }
        _ => SpendBy::Credential,
    };
    let start = |seconds: i64| seconds.div_euclid(DAY) * DAY;
    let (from, to) = (req.time("start_time")?.map(start), req.time("end_time")?.map(start));
    let per_day = req.choice("per", PER)?.is_some() && dimension != SpendBy::Day;
    let query =
        SpendQuery { by: dimension, per_day, from: from.unwrap_or(0), to: to.unwrap_or(now()), only: only(&req) };
    let sums = answer(&context, tables(&context)?.spend(query)).await?;
    let rows = sums.into_iter().map(|sum| SpendRow::new(sum, dimension)).collect();
    answer_of(is_csv, SpendList { by, from: from.map(Moment), to: to.map(Moment), rows })
}

/// Returns the parameters that choose requests.
fn only(req: &AdminRequest) -> Vec<(SpendBy, String)> {
    let parameters = [
        ("credential_name", SpendBy::Credential),
        ("group_name", SpendBy::Group),
        ("tag", SpendBy::Tag),
        ("provider_name", SpendBy::Provider),
        ("model", SpendBy::Model),
    ];
    parameters.into_iter().filter_map(|(name, by)| Some((by, req.query(name)?))).collect()
}

async fn hours(context: &Context, req: &AdminRequest) -> Result<Vec<Hour>, Refusal> {
    for name in ["group_name", "tag", "per"] {
        if req.query(name).is_some() {
            let message = format!("{name} is not known by hour, since hours come from the request log; group by day");
            return Err(Refusal::invalid(message, Some(name.to_owned())));
        }
    }
    let mut filter = period(req)?;
    for name in ["credential_name", "provider_name"] {
        equal::<RequestRow>(&mut filter, name, req.query(name).map(Value::Text));
    }
    equal::<RequestRow>(&mut filter, "model_requested", req.query("model").map(Value::Text));
    answer(context, tables(context)?.hours(filter)).await
}

fn of_hour(hour: Hour) -> SpendRow {
    SpendRow {
        group: Some(rfc3339::format(hour.begin)),
        requests: hour.requests,
        errors: hour.errors,
        input_tokens: hour.input_tokens,
        output_tokens: hour.output_tokens,
        cost: dollars(hour.cost),
        ..SpendRow::default()
    }
}

impl SpendRow {
    pub(super) fn new(Spend { group, day, sums }: Spend, by: SpendBy) -> SpendRow {
        let (group, day) = match by {
            SpendBy::Day => (day.map(rfc3339::format), None),
            _ => (group, day.map(Moment)),
        };
        SpendRow { group, day, ..SpendRow::of(&sums) }
    }

    pub(super) fn of(sums: &SpendSums) -> SpendRow {
        SpendRow {
            group: None,
            day: None,
            requests: sums.requests,
            errors: sums.errors,
            unpriced: sums.unpriced,
            input_tokens: sums.input_tokens,
            output_tokens: sums.output_tokens,
            cache_read_tokens: sums.cache_read_tokens,
            cache_write_tokens: sums.cache_write_5m_tokens.saturating_add(sums.cache_write_1h_tokens),
            reasoning_tokens: sums.reasoning_tokens,
            cost: dollars(sums.cost),
        }
    }
}

fn answer_of(is_csv: bool, list: SpendList) -> Outcome {
    if is_csv { Ok(csv(list.by, &list.rows)) } else { json(200, &list) }
}

fn csv(by: &str, rows: &[SpendRow]) -> Response {
    let has_day = rows.iter().any(|row| row.day.is_some());
    let day = if has_day { "day," } else { "" };
    let mut out = format!("{day}{by},requests,errors,input_tokens,output_tokens,cost_usd,");
    out.push_str("unpriced,cache_read_tokens,cache_write_tokens,reasoning_tokens\r\n");
    for row in rows {
        if has_day {
            out.push_str(&cell(&row.day.map(|day| rfc3339::format(day.0)).unwrap_or_default()));
            out.push(',');
        }
        let group = cell(row.group.as_deref().unwrap_or_default());
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "{group},{},{},{},{},{:.9},{},{},{},{}\r\n",
            row.requests,
            row.errors,
            row.input_tokens,
            row.output_tokens,
            row.cost,
            row.unpriced,
            row.cache_read_tokens,
            row.cache_write_tokens,
            row.reasoning_tokens
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

/// Returns a cell of a CSV file (RFC 4180). Spreadsheets take a text that begins with one of these
/// characters for a formula, so it gets an apostrophe before it.
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
