#!/usr/bin/env python3
"""Writes the dashboards beside it: the lists below are what they show. `make.py` writes, `make.py check` says whether they are current."""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GOOD, WARN, BAD = "green", "orange", "red"

# A panel: title, what it means, unit, [(query, legend)], and from which values on it is orange and red.
CALLS = [
    ("Calls", "Calls of tools by how they ended", "reqps", [("sum by (outcome) (rate(sluice_calls_total[$__rate_interval]))", "{{outcome}}")], ()),
    ("Answers", "Answers on the tenant port by HTTP status", "reqps", [("sum by (status) (rate(sluice_answers_total[$__rate_interval]))", "{{status}}")], ()),
    ("Time to answer", "From a request's head to its answer's, the upstream's time included", "s", [
        (f"histogram_quantile({q}, sum by (le) (rate(sluice_answer_seconds_bucket[$__rate_interval])))", f"p{label}") for q, label in ((0.5, "50"), (0.95, "95"), (0.99, "99"))], ()),
    ("Under way", "Requests and calls that have a place; SLUICE_CONCURRENCY is the most", "short", [("sluice_in_flight", "{{instance}}")], (800, 1000)),
]
DASHBOARDS = {
    "overview": ("Sluice: overview", [
        ("Failed through us", "Of all requests, in an hour; the promise is 0.05 %", "percentunit", [("sluice:failed_share:avg1h", "1 h")], (0.0005, 0.0072)),
        ("Refused for want of a record", "Of all requests, in an hour; the promise is 0.01 %", "percentunit", [("sluice:unrecorded_share:avg1h", "1 h")], (0.0001, 0.00144)),
        ("Records are behind", "Of the shard that is most; the promise is 10 s", "s", [("max(sluice_ingest_lag_seconds)", "behind")], (10, 300)),
        ("Oldest change not published", "", "s", [("max(sluice_outbox_oldest_seconds)", "waits")], (5, 30)),
        ("Nodes that answer", "", "short", [('count(up{job="sluice-node"} == 1) or vector(0)', "nodes")], ()),
        ("Parts not well", "Checks of /readyz that are yellow or red", "short", [("count(sluice_condition > 0) or vector(0)", "parts")], (1, 3)),
        ("Control planes that answer", "", "short", [('count(up{job="sluice-control-plane"} == 1) or vector(0)', "control planes")], ()),
    ], CALLS + [
        ("Refusals", "Requests of known callers that were refused, by reason", "reqps", [("sum by (reason) (rate(sluice_refusals_total[$__rate_interval]))", "{{reason}}")], ()),
        ("Console and API", "By status", "reqps", [("sum by (status) (rate(sluice_api_requests_total[$__rate_interval]))", "{{status}}")], ()),
    ]),
    "gateway": ("Sluice: gateway", [
        ("Blind nodes", "Out of touch with the configuration", "short", [("sum(sluice_blind)", "nodes")], (1, 2)),
        ("Age of the configuration", "Of the node that heard of a control plane last", "s", [("max(sluice_head_age_seconds)", "age")], (5, 30)),
        ("Not believed", "What nodes read from Redis and refused, in an hour", "short", [("sum(increase(sluice_refused_projections_total[1h])) or vector(0)", "refused")], (1, 1)),
        ("Tenants in memory", "", "short", [("max(sluice_tenants_loaded)", "tenants")], ()),
    ], CALLS + [
        ("Refusals by node", "", "reqps", [("sum by (instance, reason) (rate(sluice_refusals_total[$__rate_interval]))", "{{instance}} {{reason}}")], ()),
        ("Look-ups of callers", "Where tokens were found", "reqps", [("sum by (found) (rate(sluice_callers_total[$__rate_interval]))", "{{found}}")], ()),
        ("Configuration in memory", "SLUICE_TENANT_CACHE_BYTES is the most", "bytes", [("sluice_tenants_bytes", "{{instance}}")], ()),
        ("Last change and revocation applied", "Nodes whose lines part are behind", "short", [("sluice_head_change", "{{instance}} change"), ("sluice_revocation_applied", "{{instance}} revocation")], ()),
        ("Looks at upstream servers", "By what came of them", "short", [("sum by (outcome) (increase(sluice_server_checks_total[5m]))", "{{outcome}}"), ("sum(increase(sluice_probes_refused_total[5m]))", "asked for too often")], ()),
        ("Looks overdue", "", "s", [("max(sluice_server_checks_overdue_seconds)", "overdue")], (600, 3600)),
    ]),
    "audit": ("Sluice: audit", [
        ("Gaps", "Named in logs, in a day", "short", [("sum(increase(sluice_ingest_gaps_total[1d])) or vector(0)", "gaps")], (1, 1)),
        ("Frames put aside", "In a day", "short", [("sum(increase(sluice_ingest_quarantined_total[1d])) or vector(0)", "frames")], (1, 1)),
        ("Checkpoints refused", "In a day: Postgres was set back", "short", [("sum(increase(sluice_checkpoints_refused_total[1d])) or vector(0)", "refused")], (1, 1)),
        ("Fullest spool", "At 20 GiB calls are refused", "bytes", [("max(sluice_audit_spool_bytes)", "spool")], (1 << 30, 10 << 30)),
    ], [
        ("Records", "Formed by nodes, and added to logs", "reqps", [("sum(rate(sluice_audit_final_records_total[$__rate_interval]))", "final records formed"), ("sum(rate(sluice_ingest_records_total[$__rate_interval]))", "records added")], ()),
        ("Records are behind", "By shard", "s", [("max by (shard) (sluice_ingest_lag_seconds)", "shard {{shard}}")], (10, 300)),
        ("Not taken in yet", "Bytes in a node's memory", "bytes", [("sluice_audit_uncommitted_bytes", "{{instance}} uncommitted"), ("sluice_audit_waiting_bytes", "{{instance}} in no frame yet")], (64 << 20, 128 << 20)),
        ("Spools", "", "bytes", [("sluice_audit_spool_bytes", "{{instance}}")], (1 << 30, 10 << 30)),
        ("Frames", "", "reqps", [("sum(rate(sluice_audit_frames_total[$__rate_interval]))", "formed"), ("sum(rate(sluice_audit_frames_resent_total[$__rate_interval]))", "sent again"), ("sum(rate(sluice_audit_frames_spooled_total[$__rate_interval]))", "spooled"), ("sum(rate(sluice_ingest_frames_total[$__rate_interval]))", "read"), ("sum(rate(sluice_ingest_duplicates_total[$__rate_interval]))", "read twice")], ()),
        ("What fails", "", "reqps", [("sum(rate(sluice_audit_carrier_failures_total[$__rate_interval]))", "Redis"), ("sum(rate(sluice_audit_spool_failures_total[$__rate_interval]))", "disk"), ("sum(rate(sluice_ingest_failures_total[$__rate_interval]))", "Postgres"), ("sum(rate(sluice_audit_acks_refused_total[$__rate_interval]))", "acks refused")], ()),
        ("Refused for want of a record", "", "reqps", [("sum by (instance) (rate(sluice_audit_refused_calls_total[$__rate_interval]))", "{{instance}}")], ()),
        ("Rare things", "In an hour", "short", [("sum(increase(sluice_ingest_unknown_total[1h]))", "calls whose node is gone"), ("sum(increase(sluice_ingest_late_total[1h]))", "outcomes after unknown"), ("sum(increase(sluice_ingest_gaps_total[1h]))", "gaps"), ("sum(increase(sluice_ingest_lost_streams_total[1h]))", "streams lost"), ("sum(increase(sluice_log_epochs_total[1h]))", "logs in a new epoch")], ()),
        ("Destinations are behind", "For how long records have waited for the one furthest behind", "s", [("max by (kind) (sluice_sink_lag_seconds)", "{{kind}}")], (60, 300)),
        ("Records waiting for destinations", "", "short", [("sum by (kind) (sluice_sink_waiting_records)", "{{kind}}"), ("sum(sluice_sink_busy)", "destinations sent to")], ()),
        ("Sent to destinations", "Records", "reqps", [("sum by (kind) (rate(sluice_sink_sent_total[$__rate_interval]))", "{{kind}}")], ()),
        ("Sent, in bytes", "Before compression", "Bps", [("sum by (kind) (rate(sluice_sink_sent_bytes_total[$__rate_interval]))", "{{kind}}")], ()),
        ("Destinations: what fails", "", "reqps", [("sum by (kind, outcome) (rate(sluice_sink_errors_total[$__rate_interval]))", "{{kind}} {{outcome}}"), ("sum by (kind) (rate(sluice_sink_dead_letters_total[$__rate_interval]))", "{{kind}} put aside")], ()),
        ("Memory of what is sent", "What batches for destinations take; SLUICE_SINK_MEMORY_MB is the most, and whoever waits for it is behind", "bytes", [("sluice_sink_memory_bytes", "{{instance}}")], ()),
        ("Destinations that wait for memory", "For their next batch", "short", [("sluice_sink_memory_waiting", "{{instance}}")], (16, 64)),
        ("Connections of what is sent", "To Postgres; SLUICE_SINK_CONNECTIONS is the most", "short", [("sluice_sink_connections_used", "{{instance}} used"), ("sluice_sink_connections_max", "{{instance}} at most")], ()),
        ("Commits and checkpoints", "", "reqps", [("sum(rate(sluice_ingest_commits_total[$__rate_interval]))", "commits"), ("sum(rate(sluice_checkpoints_total[$__rate_interval]))", "checkpoints")], ()),
    ]),
    "publish": ("Sluice: control plane", [
        ("Changes waiting", "", "short", [("max(sluice_outbox_waiting)", "changes")], (10, 100)),
        ("Oldest waits", "", "s", [("max(sluice_outbox_oldest_seconds)", "oldest")], (5, 30)),
        ("Not publishable", "Configurations, in a day", "short", [("sum(increase(sluice_publish_refused_total[1d])) or vector(0)", "refused")], (1, 10)),
        ("Connections to Postgres", "Of those allowed, where most are used", "percentunit", [("max(sluice_database_connections_used / sluice_database_connections_max)", "used")], (0.7, 0.9)),
    ], [
        ("Time to publish", "From a change's commit to its being in Redis", "s", [(f"histogram_quantile({q}, sum by (le) (rate(sluice_publish_seconds_bucket[$__rate_interval])))", f"p{label}") for q, label in ((0.5, "50"), (0.99, "99"))], (1, 5)),
        ("Published", "Changes", "reqps", [("sum(rate(sluice_publish_seconds_count[$__rate_interval]))", "changes")], ()),
        ("Age of the configuration", "By node", "s", [("sluice_head_age_seconds", "{{instance}}")], (5, 30)),
        ("Connections to Postgres", "", "short", [("sluice_database_connections_open", "{{instance}} open"), ("sluice_database_connections_used", "{{instance}} used")], ()),
        ("Console and API: failures", "By route", "reqps", [('sum by (route) (rate(sluice_api_requests_total{status=~"5.."}[$__rate_interval]))', "{{route}}")], ()),
        ("Console and API: time to answer", "", "s", [(f"histogram_quantile({q}, sum by (le) (rate(sluice_api_request_seconds_bucket[$__rate_interval])))", f"p{label}") for q, label in ((0.5, "50"), (0.99, "99"))], (0.5, 2)),
    ]),
}


def panel(number, kind, place, shown):
    title, meaning, unit, queries, limits = shown
    steps = [{"color": GOOD, "value": None}] + [{"color": color, "value": value} for color, value in zip((WARN, BAD), limits)]
    defaults = {"unit": unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if kind == "timeseries" and limits:
        defaults["custom"] = {"thresholdsStyle": {"mode": "dashed"}}
    return {
        "id": number, "type": kind, "title": title, "description": meaning, "gridPos": place, "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [{"refId": chr(65 + i), "expr": query, "legendFormat": legend, "datasource": DATASOURCE} for i, (query, legend) in enumerate(queries)],
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}} if kind == "timeseries" else {"colorMode": "value", "reduceOptions": {"calcs": ["lastNotNull"]}},
    }


def dashboard(name, title, stats, series):
    panels, width = [], 24 // len(stats)
    for i, shown in enumerate(stats):
        panels.append(panel(i + 1, "stat", {"x": i * width, "y": 0, "w": width, "h": 4}, shown))
    for i, shown in enumerate(series):
        panels.append(panel(len(stats) + i + 1, "timeseries", {"x": i % 2 * 12, "y": 4 + i // 2 * 8, "w": 12, "h": 8}, shown))
    head = {
        "uid": f"sluice-{name}", "title": title, "tags": ["sluice"], "schemaVersion": 39, "version": 1, "editable": True,
        "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "timezone": "browser",
        "links": [{"type": "dashboards", "title": "Sluice", "tags": ["sluice"], "asDropdown": True}],
        "templating": {"list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]},
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    # A panel a line, so that a change of one is a change of one line.
    return "{\n" + "\n".join(lines) + '\n  "panels": [\n' + ",\n".join("    " + json.dumps(one) for one in panels) + "\n  ]\n}\n"


def main():
    stale = []
    for name, (title, stats, series) in DASHBOARDS.items():
        path, text = HERE / f"{name}.json", dashboard(name, title, stats, series)
        if sys.argv[1:] != ["check"]:
            path.write_text(text)
        elif path.read_text() != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"not what make.py writes: {', '.join(stale)}")


main()
