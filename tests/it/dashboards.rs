//! The dashboard, the rules and what is around them speak of metrics and labels that exist. That
//! their queries also return something is shown by `tests/run monitoring`, against a Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use llm_proxy::metrics::names::{Counter, Family, Grid, Shape};
use serde_json::Value;

/// Metric names with their labels.
type Known = BTreeMap<String, BTreeSet<String>>;

/// Set by Prometheus on everything that it scrapes.
const OF_SCRAPE: [&str; 2] = ["job", "instance"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &str, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root().join(dir)).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|of| of == extension));
    found.sort();
    assert!(!found.is_empty(), "no {extension} in {dir}");
    found
}

/// What a scrape may bring.
fn scraped() -> Known {
    let mut known = Known::new();
    let mut add = |name: String, labels: &[&str]| {
        let labels = labels.iter().chain(&OF_SCRAPE).map(|label| (*label).to_owned()).collect();
        assert!(known.insert(name, labels).is_none());
    };
    add("up".to_owned(), &[]);
    Counter::ALL.iter().for_each(|counter| add(counter.describe().0.to_owned(), &[]));
    for grid in Grid::ALL {
        let (name, label, _) = grid.describe();
        add(name.to_owned(), &[label, "from", "to"]);
    }
    for row in Family::ALL.iter().map(|family| family.row()) {
        match row.shape {
            Shape::Counter | Shape::Gauge => add(row.name.to_owned(), row.labels),
            Shape::Histogram(_) => {
                ["sum", "count"].iter().for_each(|part| add(format!("{}_{part}", row.name), row.labels));
                let labels: Vec<&str> = row.labels.iter().copied().chain(["le"]).collect();
                add(format!("{}_bucket", row.name), &labels);
            }
        }
    }
    known
}

/// The values of a key of a YAML file whose values stand on the key's line.
fn values(path: &Path, key: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines =
        text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key)?.strip_prefix(": "));
    lines.map(str::to_owned).collect()
}

/// Every expression of the dashboards, with where it stands.
fn panels() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in files("grafana/dashboards", "json") {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{panel}");
            for target in targets {
                // The one that is chosen where the dashboard was imported.
                assert_eq!(target["datasource"]["uid"], "${datasource}");
                let place = format!("panel `{}`", panel["title"].as_str().unwrap());
                found.push((place, target["expr"].as_str().unwrap().to_owned()));
            }
        }
    }
    found
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')
}

/// The label names of `a="x",b=~"y"`.
fn matched(selector: &str) -> Vec<&str> {
    let outside = selector.split('"').step_by(2);
    outside
        .filter_map(|part| part.trim_matches([',', ' ']).split(['=', '!']).next())
        .filter(|name| !name.is_empty())
        .collect()
}

/// What is wrong with an expression; nothing, if nothing is.
///
/// Every name before a brace or with our prefix is a metric, and what stands in its braces are
/// labels of it. What is behind `by` is a label of some metric of the expression.
fn complaints(expr: &str, known: &Known) -> Vec<String> {
    let (mut wrong, mut metrics, mut grouped) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = expr;
    while let Some(at) = rest.bytes().position(|byte| is_name(byte) && !byte.is_ascii_digit()) {
        rest = &rest[at..];
        let end = rest.bytes().position(|byte| !is_name(byte)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        if name == "by" {
            let (labels, after) = after.split_once(')').unwrap();
            grouped.extend(labels.trim_matches([' ', '(']).split(", "));
            rest = after;
        } else if name.starts_with("llm_proxy") || after.starts_with('{') {
            let selector = after.strip_prefix('{').and_then(|after| after.split_once('}'));
            rest = selector.map_or(after, |(_, after)| after);
            let Some(labels) = known.get(name) else {
                wrong.push(format!("no metric `{name}`"));
                continue;
            };
            metrics.push(labels);
            let unknown =
                matched(selector.map_or("", |(inside, _)| inside)).into_iter().filter(|l| !labels.contains(*l));
            wrong.extend(unknown.map(|label| format!("`{name}` has no label `{label}`")));
        }
        // A window, such as `[5m]`.
        if let Some((_, after)) = rest.strip_prefix('[').and_then(|range| range.split_once(']')) {
            rest = after;
        }
    }
    if metrics.is_empty() {
        wrong.push("no metric at all".to_owned());
    }
    let unknown = grouped.into_iter().filter(|label| !metrics.iter().any(|labels| labels.contains(*label)));
    wrong.extend(unknown.map(|label| format!("nothing has the label `{label}`")));
    wrong
}

/// The labels that a recorded expression keeps.
fn kept(expr: &str) -> BTreeSet<String> {
    let by = expr.split_once(" by (").unwrap().1.split_once(')').unwrap().0;
    by.split(", ").filter(|label| *label != "le").map(str::to_owned).collect()
}

#[test]
fn every_expression_speaks_of_metrics_that_exist() {
    let recording = root().join("prometheus/rules/recording.yml");
    let mut known = scraped();
    let recorded = values(&recording, "expr");
    let names = values(&recording, "record");
    assert_eq!(names.len(), recorded.len());
    let mut found: Vec<_> = recorded.iter().map(|expr| ("recording.yml".to_owned(), expr.clone())).collect();
    let mut report = Vec::new();
    let mut check = |found: &[(String, String)], known: &Known| {
        for (place, expr) in found {
            report.extend(complaints(expr, known).iter().map(|wrong| format!("{place}: {wrong} in {expr}")));
        }
    };
    check(&found, &known);
    known.extend(names.into_iter().zip(recorded.iter().map(|expr| kept(expr))));
    found = values(&root().join("prometheus/rules/alerts.yml"), "expr")
        .into_iter()
        .map(|e| ("alerts.yml".into(), e))
        .collect();
    assert!(found.len() >= 10);
    found.extend(panels());
    check(&found, &known);
    assert!(report.is_empty(), "{}", report.join("\n"));
}

/// The names that dashboards of llm-proxy v1 are bookmarked by, and its panels.
#[test]
fn dashboard_keeps_the_panels_of_v1() {
    let path = root().join("grafana/dashboards/llm-proxy.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(dashboard["title"], "LLM API Proxy Dashboard");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!((&variables[0]["name"], &variables[0]["type"]), (&"datasource".into(), &"datasource".into()));
    assert!(variables[1..].iter().all(|variable| variable["datasource"]["uid"] == "${datasource}"), "{variables:?}");
    assert_eq!((&dashboard["uid"], &dashboard["refresh"]), (&"llm-proxy".into(), &"10s".into()));
    let panels = dashboard["panels"].as_array().unwrap();
    for title in [
        "Request Rate",
        "Request Duration",
        "Token Usage Rate",
        "Active Requests",
        "Status Code Distribution",
        "Provider Distribution",
        "Token Usage by Model and Type",
    ] {
        assert!(panels.iter().any(|panel| panel["title"] == title), "{title}");
    }
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
}

/// What a metric is for shows somewhere: each is drawn or stands in a rule.
#[test]
fn every_metric_is_shown() {
    let mut expressions: Vec<String> = panels().into_iter().map(|(_, expr)| expr).collect();
    for path in files("prometheus/rules", "yml") {
        expressions.extend(values(&path, "expr"));
    }
    let all = expressions.join(" ");
    let shown: BTreeSet<&str> = all.split(|c: char| !c.is_ascii() || !is_name(c as u8)).collect();
    let base = |name: &str| {
        ["", "_bucket", "_sum", "_count"].iter().any(|suffix| shown.contains(format!("{name}{suffix}").as_str()))
    };
    let families = Family::ALL.iter().map(|family| family.row().name);
    let counters = Counter::ALL.iter().map(|counter| counter.describe().0);
    let missing: Vec<&str> = families.chain(counters).filter(|name| !base(name) && !UNSEEN.contains(name)).collect();
    assert!(missing.is_empty(), "no panel and no rule for {missing:?}");
}

/// Of interest to those who look for one thing.
const UNSEEN: [&str; 2] = ["llm_proxy_process_threads", "llm_proxy_process_start_time_seconds"];

#[test]
fn what_is_wrong_is_found() {
    let known = scraped();
    let rows = [
        ("sum by (provider) (rate(llm_proxy_requests_total{status_code=~\"5..\"}[5m]))", ""),
        ("rate(llm_proxy_requests[5m])", "no metric `llm_proxy_requests`"),
        ("llm_proxy_ttft_seconds", "no metric `llm_proxy_ttft_seconds`"),
        ("llm_proxy_requests_total{path=\"/v1\",model=\"{x}\"}", "`llm_proxy_requests_total` has no label `path`"),
        ("sum by (path) (llm_proxy_active_requests)", "nothing has the label `path`"),
        ("other{a=\"b\"}", "no metric `other`"),
        ("time()", "no metric at all"),
    ];
    for (expr, wrong) in rows {
        let found = complaints(expr, &known);
        assert_eq!(found.first().map_or("", String::as_str), wrong, "{expr}: {found:?}");
    }
}
