#!/usr/bin/env python3
"""Writes dashboards/llm-proxy.json: the dashboard as code. `--check` only tells whether the file is
what this would write.

A panel is a line below: title, kind, unit, and its queries with the legend of each. What a browser
adds to a dashboard (ids, places, colours) is made here. Nothing but Python's own library is needed.
"""

import json
import sys
from pathlib import Path

TARGET = Path(__file__).with_name("dashboards") / "llm-proxy.json"
# A variable, so that the dashboard can be imported wherever there is a Prometheus.
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# The choices at the top of the dashboard.
OF_PROVIDER = 'provider=~"$provider"'
OF_BOTH = 'model=~"$model",provider=~"$provider"'


def rate(metric, labels="", by="", window="5m"):
    selector = f"{metric}{{{labels}}}" if labels else metric
    return f"sum by ({by}) (rate({selector}[{window}]))" if by else f"sum(rate({selector}[{window}]))"


def increase(metric, labels, by, window="1h"):
    return f"sum by ({by}) (increase({metric}{{{labels}}}[{window}]))"


def quantiles(metric, labels="", by="", of=(0.5, 0.95, 0.99)):
    """A query for each quantile; `by` are labels that are kept apart."""
    legend = "".join(f" {{{{{label}}}}}" for label in by.split(", ") if label)
    buckets = rate(f"{metric}_bucket", labels, f"le, {by}" if by else "le")
    return [(f"histogram_quantile({q}, {buckets})", f"p{q * 100:g}{legend}") for q in of]


ROWS = [
    ("Traffic", [
        ("Request Rate", "timeseries", "reqps", [
            (rate("llm_proxy_requests_total", OF_BOTH, "endpoint"), "{{endpoint}}")]),
        ("Request Duration", "timeseries", "s", quantiles("llm_proxy_request_duration_seconds", OF_BOTH)),
        ("Error Ratio", "timeseries", "percentunit", [
            ("(" + rate("llm_proxy_requests_total", f'{OF_BOTH},status_code=~"5.."')
             + " or vector(0)) / " + rate("llm_proxy_requests_total", OF_BOTH), "5xx"),
            ("(" + rate("llm_proxy_requests_total", f'{OF_BOTH},status_code=~"4.."')
             + " or vector(0)) / " + rate("llm_proxy_requests_total", OF_BOTH), "4xx")]),
        ("Active Requests", "gauge", "short", [("sum(llm_proxy_active_requests)", "active")]),
        ("Status Code Distribution", "piechart", "short", [
            (increase("llm_proxy_requests_total", OF_BOTH, "status_code"), "{{status_code}}")]),
        ("Provider Distribution", "piechart", "short", [
            (increase("llm_proxy_requests_total", OF_BOTH, "provider"), "{{provider}}")]),
        ("Clients", "piechart", "short", [
            (increase("llm_proxy_requests_total", OF_BOTH, "client"), "{{client}}")]),
    ]),
    ("Was it the gateway, the provider or the client?", [
        ("Overhead of the Gateway", "timeseries", "s",
         quantiles("llm_proxy_overhead_seconds", by="way, phase", of=(0.5, 0.99))),
        ("Stage Breakdown", "stacked", "s", [
            (rate("llm_proxy_stage_seconds_sum", by="stage")
             + " / scalar(" + rate("llm_proxy_request_duration_seconds_count") + ")", "{{stage}}")]),
        ("Time to First Token", "timeseries", "s", quantiles("llm_proxy_ttft_seconds", OF_BOTH)),
        ("Tokens per Second of a Stream", "timeseries", "short",
         quantiles("llm_proxy_tokens_per_second", OF_BOTH, of=(0.05, 0.5))),
        ("Time between Tokens", "timeseries", "s", quantiles("llm_proxy_inter_token_seconds", OF_BOTH)),
        ("Longest Pause of a Stream", "timeseries", "s", quantiles("llm_proxy_stream_gap_max_seconds", OF_BOTH)),
        ("Who Ended Early", "timeseries", "reqps", [
            (rate("llm_proxy_client_disconnects_total", OF_BOTH, "provider"), "client left {{provider}}"),
            (rate("llm_proxy_clients_gone_total"), "client left, in all"),
            (rate("llm_proxy_answers_truncated_total"), "answer broke off")]),
        ("Refused", "timeseries", "reqps", [
            (rate("llm_proxy_auth_failures_total"), "no valid key"),
            (rate("llm_proxy_bad_requests_total"), "bad HTTP or JSON"),
            (rate("llm_proxy_rate_limited_total"), "over a limit"),
            (rate("llm_proxy_budget_exceeded_total"), "over a budget"),
            (rate("llm_proxy_body_memory_exhausted_total"), "no memory for the body")]),
    ]),
    ("Tokens, cost and limits by key", [
        ("Token Usage Rate", "timeseries", "short", [
            (rate("llm_proxy_tokens_total", f'{OF_BOTH},token_type="total"', "provider"), "{{provider}}")]),
        ("Token Usage by Model and Type", "timeseries", "short", [
            (rate("llm_proxy_tokens_total", f'{OF_BOTH},token_type!="total"', "model, token_type"),
             "{{model}} {{token_type}}")]),
        ("Tokens by Key", "bars", "short", [
            (increase("llm_proxy_tokens_total", f'{OF_BOTH},token_type="total"', "api_key_name"), "{{api_key_name}}")]),
        ("Cost by Key", "bars", "currencyUSD", [
            (increase("llm_proxy_cost_dollars_total", OF_BOTH, "api_key_name"), "{{api_key_name}}")]),
        ("Cost by Model", "timeseries", "currencyUSD", [
            (f"3600 * {rate('llm_proxy_cost_dollars_total', OF_BOTH, 'model')}", "{{model}} per hour")]),
        ("Who Counted the Tokens", "timeseries", "reqps", [
            (rate("llm_proxy_token_counts_total", OF_PROVIDER, "source"), "{{source}}")]),
        ("Cached and Reasoning Tokens", "timeseries", "short", [
            (rate("llm_proxy_token_details_total", OF_BOTH, "detail"), "{{detail}}")]),
        ("Refused by a Limit", "timeseries", "reqps", [
            (rate("llm_proxy_limit_rejections_total", by="limit, api_key_name"), "{{limit}} {{api_key_name}}")]),
        ("Too Little of a Budget", "timeseries", "reqps", [
            (rate("llm_proxy_budget_exceeded_total"), "refused"),
            (rate("llm_proxy_budget_downgraded_total"), "served by a cheaper model"),
            (rate("llm_proxy_budget_capped_total"), "with a shorter answer"),
            (rate("llm_proxy_budget_store_failures_total"), "sums not answered")]),
    ]),
    ("Providers", [
        ("Provider State", "timeline", "short", [
            (f'max by (provider) (llm_proxy_provider_circuit_state{{{OF_PROVIDER},state="closed"}})', "{{provider}}")]),
        ("Provider Health", "timeline", "short", [
            (f"min by (provider) (llm_proxy_provider_health{{{OF_PROVIDER}}})", "{{provider}}")]),
        ("Effective Weight", "timeseries", "short", [
            (f"max by (provider) (llm_proxy_provider_effective_weight{{{OF_PROVIDER}}})", "{{provider}}")]),
        ("Attempts by Outcome", "timeseries", "reqps", [
            (rate("llm_proxy_provider_attempts_total", OF_PROVIDER, "provider, outcome"), "{{provider}} {{outcome}}")]),
        ("Attempts per Request", "timeseries", "short", [
            (f"{rate('llm_proxy_attempts_total')} / ({rate('llm_proxy_attempts_total')}"
             f" - {rate('llm_proxy_attempts_failed_total')})", "attempts for one answer")]),
        ("Provider Latency p95", "timeseries", "s",
         quantiles("llm_proxy_provider_latency_seconds", OF_PROVIDER, "provider", (0.95,))),
        ("Time to Connect p95", "timeseries", "s",
         quantiles("llm_proxy_upstream_connect_seconds", OF_PROVIDER, "provider", (0.95,))),
        ("Virtual Models", "timeseries", "reqps", [
            (rate("llm_proxy_virtual_model_requests_total", OF_BOTH, "virtual_model, model"),
             "{{virtual_model}} by {{model}}")]),
        ("Running and Waiting", "timeseries", "short", [
            (f"sum by (provider) (llm_proxy_provider_running_requests{{{OF_PROVIDER}}})", "running at {{provider}}"),
            ("sum(llm_proxy_limited_requests)", "running in all"),
            ("sum(llm_proxy_queue_requests)", "waiting")]),
        ("Connections to Providers", "timeseries", "short", [
            ("sum by (state) (llm_proxy_upstream_connections)", "{{state}}"),
            (rate("llm_proxy_upstream_connects_total"), "opened per second")]),
    ]),
    ("Failover", [
        ("Retries", "timeseries", "reqps", [
            (rate("llm_proxy_upstream_retries_total"), "at the same provider"),
            (rate("llm_proxy_upstream_retries_denied_total"), "not made, over the budget"),
            (rate("llm_proxy_upstream_stale_retries_total"), "on a new connection"),
            (rate("llm_proxy_fallbacks_total"), "at another member of a virtual model")]),
        ("Hedging", "timeseries", "reqps", [
            (rate("llm_proxy_hedges_total"), "second attempts"),
            (rate("llm_proxy_hedges_won_total"), "won"),
            (rate("llm_proxy_hedges_denied_total"), "not made, over the share")]),
        ("Streams That Broke Off", "timeseries", "reqps", [
            (rate("llm_proxy_rescues_total"), "attempts to continue"),
            (rate("llm_proxy_rescues_failed_total"), "not continued")]),
        ("Answers Not Held", "timeseries", "reqps", [
            (rate("llm_proxy_answers_not_held_total"), "whole answers"),
            (rate("llm_proxy_held_overflow_total"), "streams")]),
        ("Conversations", "timeseries", "reqps", [
            (rate("llm_proxy_affinity_requests_total"), "to their provider"),
            (rate("llm_proxy_affinity_passed_over_total"), "passed over, too much there")]),
        ("Who Issued the Id", "timeseries", "reqps", [
            (rate("llm_proxy_issuer_known_requests_total"), "known"),
            (rate("llm_proxy_issuer_unknown_requests_total"), "not known"),
            (rate("llm_proxy_issuer_forbidden_requests_total"), "of another key")]),
        ("Limits of Providers", "timeseries", "reqps", [
            (rate("llm_proxy_provider_limits_reached_total"), "passed over"),
            (rate("llm_proxy_queued_requests_total"), "waited"),
            (rate("llm_proxy_queue_timeouts_total"), "waited in vain"),
            (rate("llm_proxy_queue_refused_total"), "could not wait")]),
        ("Shared with Other Gateways", "timeseries", "reqps", [
            (rate("llm_proxy_shared_cooldowns_total"), "cooldowns"),
            (rate("llm_proxy_limit_leases_total"), "leases of limits"),
            (rate("llm_proxy_limit_store_failures_total"), "no answer of the server of limits"),
            (rate("llm_proxy_budget_claims_total"), "claims to budgets"),
            (rate("llm_proxy_budget_store_failures_total"), "no answer of the store")]),
    ]),
    ("Translation", [
        ("As It Came or Translated", "timeseries", "reqps", [
            (rate("llm_proxy_bypass_requests_total", OF_PROVIDER, "client_protocol, provider_protocol"),
             "{{client_protocol}} as it came"),
            (rate("llm_proxy_cross_protocol_requests_total", OF_PROVIDER, "client_protocol, provider_protocol"),
             "{{client_protocol}} to {{provider_protocol}}"),
            (rate("llm_proxy_translated_requests_total"), "translated, in all")]),
        ("Losses by Field", "bars", "short", [
            ("topk(20, sum by (field, from, to) (increase(llm_proxy_translation_dropped_total[1h])))",
             "{{field}} {{from}} to {{to}}")]),
        ("Repairs", "bars", "short", [
            ("topk(20, sum by (repair, from, to) (increase(llm_proxy_translation_repaired_total[1h])))",
             "{{repair}} {{from}} to {{to}}")]),
        ("Oddities", "timeseries", "reqps", [
            (rate("llm_proxy_translation_oddities_total"), "could not be shown"),
            (rate("llm_proxy_mended_requests_total"), "asked once more"),
            (rate("llm_proxy_early_stops_total"), "ended at a stop sequence"),
            (rate("llm_proxy_budget_capped_total"), "capped by a budget"),
            (rate("llm_proxy_reasoning_restored_total"), "turns with reasoning restored"),
            (rate("llm_proxy_reasoning_mail_dropped_total"), "reasoning dropped between workers"),
            (rate("llm_proxy_tap_parse_errors_total"), "events not readable"),
            (rate("llm_proxy_answer_overflow_total"), "answers too large")]),
        ("Bytes of Streams as They Came", "timeseries", "Bps", [
            (rate("llm_proxy_bypass_streaming_bytes_total", OF_PROVIDER, "provider"), "{{provider}}")]),
    ]),
    ("Records and configuration", [
        ("Records by Sink", "timeseries", "reqps", [
            (rate("llm_proxy_sink_records_total", by="sink"), "{{sink}}")]),
        ("Records Lost", "timeseries", "reqps", [
            (rate("llm_proxy_sink_records_dropped_total", by="sink, reason"), "{{sink}} {{reason}}"),
            (rate("llm_proxy_records_dropped_total"), "ring full"),
            (rate("llm_proxy_record_details_dropped_total"), "without bodies")]),
        ("Age of the Configuration", "timeseries", "s", [
            ("max by (instance) (llm_proxy_snapshot_age_seconds)", "{{instance}}")]),
        ("Versions in Force", "timeseries", "short", [
            ("max by (instance) (llm_proxy_config_version)", "rows {{instance}}"),
            ("max by (instance) (llm_proxy_snapshot_generation)", "generation {{instance}}")]),
        ("Change to Force p99", "timeseries", "s", quantiles("llm_proxy_config_propagation_seconds", of=(0.99,))),
        ("Store", "timeline", "short", [
            ("min by (instance) (llm_proxy_store_up)", "up {{instance}}"),
            ("max by (instance) (llm_proxy_config_from_snapshot)", "from the copy on disk {{instance}}")]),
        ("Problems of the Configuration", "stat", "short", [("max(llm_proxy_config_problems)", "problems")]),
        ("Certificate Ends in", "stat", "s", [
            ("min(llm_proxy_certificate_expiry_timestamp_seconds) - time()", "left")]),
    ]),
    ("Process", [
        ("Processor", "timeseries", "percentunit", [
            (rate("llm_proxy_process_cpu_seconds_total", by="instance"), "{{instance}}")]),
        ("Memory", "timeseries", "bytes", [
            ("sum by (instance) (llm_proxy_process_resident_memory_bytes)", "{{instance}}")]),
        ("Memory of Bodies", "timeseries", "percentunit", [
            ("max by (instance) (llm_proxy_body_memory_bytes / llm_proxy_body_memory_limit_bytes)", "{{instance}}")]),
        ("File Descriptors", "timeseries", "percentunit", [
            ("max by (instance) (llm_proxy_process_open_fds / llm_proxy_process_max_fds)", "{{instance}}")]),
        ("Client Connections", "timeseries", "short", [
            (rate("llm_proxy_connections_accepted_total"), "accepted per second"),
            (rate("llm_proxy_http_requests_total"), "requests per second"),
            (rate("llm_proxy_connections_refused_total"), "refused per second"),
            (rate("llm_proxy_peer_connections_refused_total"), "refused, too many of one address, per second"),
            (rate("llm_proxy_proxy_headers_refused_total"), "refused, no PROXY header, per second"),
            (rate("llm_proxy_accept_pauses_total"), "pauses of accepting per second"),
            (rate("llm_proxy_connections_moved_total"), "moved per second"),
            (rate("llm_proxy_connections_unmoved_total"), "not moved, queue full, per second"),
            (rate("llm_proxy_connection_panics_total"), "panics per second")]),
        ("Connections of Workers", "timeseries", "short", [
            ("max by (instance) (llm_proxy_worker_connections)", "{{instance}}, most"),
            ("min by (instance) (llm_proxy_worker_connections)", "{{instance}}, fewest")]),
        ("Bytes", "timeseries", "Bps", [
            (rate("llm_proxy_request_body_bytes_total"), "in"), (rate("llm_proxy_response_bytes_total"), "out")]),
        ("Running", "table", "short", [
            ("sum by (instance, version, driver) (llm_proxy_app_info)", "{{instance}}"),
            ("sum by (instance, os, arch, profile) (llm_proxy_build_info)", "{{instance}}"),
            ("sum by (instance) (llm_proxy_workers)", "{{instance}}")]),
    ]),
]

# What Grafana calls the kinds, and the options that make them readable.
KINDS = {
    "timeseries": ("timeseries", {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}),
    "stacked": ("timeseries", {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}),
    "gauge": ("gauge", {"reduceOptions": {"calcs": ["lastNotNull"]}}),
    "stat": ("stat", {"reduceOptions": {"calcs": ["lastNotNull"]}}),
    "piechart": ("piechart", {"legend": {"displayMode": "table", "placement": "right", "values": ["percent"]},
                              "reduceOptions": {"calcs": ["lastNotNull"]}}),
    "bars": ("bargauge", {"orientation": "horizontal", "reduceOptions": {"calcs": ["lastNotNull"]}}),
    "timeline": ("state-timeline", {"legend": {"displayMode": "list", "placement": "bottom"}, "mergeValues": True}),
    "table": ("table", {}),
}
# These show one moment: the query is asked for it alone.
INSTANT = {"gauge", "stat", "piechart", "bars", "table"}
WIDTH, HEIGHT, ACROSS = 6, 8, 24


def panel(number, at, row):
    title, kind, unit, queries = row
    name, options = KINDS[kind]
    defaults = {"unit": unit, "min": 0, "custom": {}}
    if kind == "stacked":
        defaults["custom"] = {"stacking": {"mode": "normal"}, "fillOpacity": 40}
    if kind == "timeline":
        shown = {"0": {"text": "no", "color": "red"}, "1": {"text": "yes", "color": "green"}}
        defaults = {"mappings": [{"type": "value", "options": shown}]}
    targets = [
        {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": expr, "legendFormat": legend,
         "instant": kind in INSTANT, "range": kind not in INSTANT,
         **({"format": "table"} if kind == "table" else {})}
        for at, (expr, legend) in enumerate(queries)
    ]
    return {"id": number, "title": title, "type": name, "datasource": SOURCE, "gridPos": at, "options": options,
            "fieldConfig": {"defaults": defaults, "overrides": []}, "targets": targets}


def panels():
    number, y = 0, 0
    for title, rows in ROWS:
        number += 1
        yield {"id": number, "title": title, "type": "row", "collapsed": False, "panels": [],
               "gridPos": {"h": 1, "w": ACROSS, "x": 0, "y": y}}
        y += 1
        for at, row in enumerate(rows):
            number += 1
            x = at * WIDTH % ACROSS
            yield panel(number, {"h": HEIGHT, "w": WIDTH, "x": x, "y": y + at * WIDTH // ACROSS * HEIGHT}, row)
        y += -(-len(rows) * WIDTH // ACROSS) * HEIGHT


def variable(name, label):
    query = f"label_values(llm_proxy_requests_total, {name})"
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "definition": query,
            "query": {"query": query, "refId": name}, "refresh": 2, "includeAll": True, "multi": True, "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]}, "sort": 1}


def source_variable():
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1,
            "hide": 0, "includeAll": False, "multi": False, "options": [], "regex": "", "current": {}}


def dashboard():
    return {
        "title": "LLM API Proxy Dashboard", "uid": "llm-proxy", "tags": ["llm-proxy"], "schemaVersion": 39, "version": 1,
        "refresh": "10s", "time": {"from": "now-1h", "to": "now"}, "timezone": "browser", "editable": True,
        "graphTooltip": 1, "annotations": {"list": []}, "links": [],
        "templating": {"list": [source_variable(), variable("provider", "Provider"), variable("model", "Model")]},
        "panels": list(panels()),
    }


def main():
    text = json.dumps(dashboard(), indent=1) + "\n"
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text)
    elif not TARGET.exists() or TARGET.read_text() != text:
        sys.exit(f"{TARGET} is not what {sys.argv[0]} writes; run it")


if __name__ == "__main__":
    main()
