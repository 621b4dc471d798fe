#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the Grafana dashboards of deploy/kubernetes/components/grafana: `deploy/grafana/dashboards.py`.

A dashboard is a list of rows, a row a title and panels side by side. Everything else is the same for all of them.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib

OUT = pathlib.Path(__file__).resolve().parents[1] / "kubernetes" / "components" / "grafana"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
HEIGHT = 8

# Whose series, by what their names begin with.
JOBS = {"recurve_gateway_": "recurve-openai", "envoy_": "recurve-envoy", "recurve_": "recurve"}


@dataclasses.dataclass
class Panel:
    title: str
    unit: str  # Grafana's name of it
    series: dict[str, str]  # expression by legend
    says: str = ""  # what one should know to read it
    stacked: bool = False
    top: float | None = None  # of the axis


def rate(metric: str, by: str = "", **labels: str) -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({select(metric, **labels)}[$__rate_interval]))"


def select(metric: str, **labels: str) -> str:
    """Of the pods that the variables choose."""
    job = next(job for prefix, job in JOBS.items() if metric.startswith(prefix))
    chosen = [f'job="{job}"', 'namespace=~"$namespace"', 'pod=~"$pod"']
    return metric + "{" + ",".join(chosen + [f'{name}="{value}"' for name, value in labels.items()]) + "}"


def of_envoy(kind: str, metric: str, **labels: str) -> str:
    """Of what clients of the calls' port do; the metrics' port has the same names."""
    return {"total": total, "rate": rate}[kind](metric, envoy_http_conn_manager_prefix="recurve", **labels)


def total(metric: str, by: str = "", **labels: str) -> str:
    return f"sum{f' by ({by})' if by else ''} ({select(metric, **labels)})"


def quantiles(metric: str) -> dict[str, str]:
    """Of a histogram, over all chosen pods."""
    return {f"p{q}": f"histogram_quantile({q / 100:g}, {rate(metric + '_bucket', 'le')})" for q in (50, 90, 99)}


def mean(metric: str) -> str:
    return f"{rate(metric + '_sum')} / {rate(metric + '_count')}"


SERVING = [
    ("Is it well", [
        Panel("Replicas", "short", {
            "ready": total("recurve_ready"), "live": total("recurve_live"),
            "draining": total("recurve_draining")}, "Ready: loaded, live, and not about to stop."),
        Panel("Calls by status", "reqps", {"{{code}}": rate("recurve_requests_total", "code")}, stacked=True),
        Panel("Refused", "reqps", {"{{reason}}": rate("recurve_admission_rejections_total", "reason")},
              "queue_full is overload; invalid is the clients' own doing."),
    ]),
    ("Latency", [
        Panel("To the first token", "s", quantiles("recurve_time_to_first_token_seconds"),
              "From a request's arrival. The alert's goal is 2.5 s for 99 of 100."),
        Panel("Between two tokens", "s", quantiles("recurve_inter_token_latency_seconds")),
        Panel("Whole request", "s", quantiles("recurve_e2e_request_latency_seconds")),
    ]),
    ("Where the time of a request goes", [
        Panel("In the queue", "s", quantiles("recurve_request_queue_time_seconds"), "Arrival to the slot."),
        Panel("On the prompt", "s", quantiles("recurve_request_prefill_time_seconds"), "The slot to the first token."),
        Panel("On its way to the network", "s", quantiles("recurve_egress_delay_seconds"),
              "A token is there, to the start of its write."),
    ]),
    ("Throughput", [
        Panel("Tokens", "short", {
            "generated": rate("recurve_generation_tokens_total"), "of prompts": rate("recurve_prompt_tokens_total"),
            "of prompts, from the cache": rate("recurve_prefix_cache_hits_total"),
            "computed again": rate("recurve_recomputed_tokens_total")}, "Tokens a second."),
        Panel("Requests that ended", "reqps", {"{{reason}}": rate("recurve_request_finished_total", "reason")}, stacked=True),
        Panel("Steps", "s", {
            "mean step": mean("recurve_step_duration_seconds"),
            "p99": quantiles("recurve_step_duration_seconds")["p99"]},
              "All running streams wait for a step: it is the least time between two tokens."),
    ]),
    ("Queue", [
        Panel("Running and waiting", "short", {
            "running": total("recurve_requests_running"), "waiting": total("recurve_requests_waiting"),
            "slots": total("recurve_limit", limit="slots"),
            "most that may wait": total("recurve_limit", limit="max_queued_requests")}),
        Panel("Prompt tokens that wait", "short", {"{{pod}}": total("recurve_waiting_tokens", "pod")},
              "Over the prompt tokens a second this is the wait for a first token. Scalers go by it."),
        Panel("Texts that wait to be tokenized", "short", {"{{kind}}": total("recurve_texts_waiting", "kind")}),
    ]),
]

RECURSION = [
    ("Depth", [
        Panel("Mean depth", "short", {
            "{{kind}}": f"avg by (kind) ({select('recurve_mean_depth')})"}, "Recursions a token, since the start."),
        Panel("Tokens by depth", "short", {
            "{{depth}} recursions": rate("recurve_recursion_tokens_total", "depth", kind="generated")},
              "Generated tokens a second.", stacked=True),
        Panel("Early exits", "percentunit", {
            "generated": f"{rate('recurve_early_exits_total', kind='generated')} / "
                         f"{rate('recurve_recursion_tokens_total', kind='generated')}"},
              "Share of the tokens that ran fewer recursions than there are.", top=1),
    ]),
    ("Depth under load (--adaptive_depth)", [
        Panel("Cap", "short", {"{{pod}}": f"min by (pod) ({select('recurve_depth_cap')})"},
              "Most recursions of new tokens whose requests allow it."),
        Panel("Tokens under a lowered cap", "short", {"tokens": rate("recurve_depth_lowered_tokens_total")}, "A second."),
        Panel("Recursions given up", "short", {"recursions": rate("recurve_depth_given_up_recursions_total")},
              "A second, at most."),
    ]),
    ("Cache by recursion", [
        Panel("Pages in use", "percentunit", {"{{pod}}": f"max by (pod) ({select('recurve_kv_cache_usage_ratio')})"},
              "Near 1 with preemptions is too little memory; near 1 without is well used memory.", top=1),
        Panel("Bytes by group", "bytes", {"{{group}}": total("recurve_kv_bytes", "group")},
              "entry, each recursion, exit. Deeper recursions hold fewer entries.", stacked=True),
        Panel("Entries by group", "short", {"{{group}}": total("recurve_kv_entries", "group")}, stacked=True),
    ]),
    ("Cache under pressure", [
        Panel("Put back", "short", {"for {{reason}}": rate("recurve_preemptions_total", "reason")},
              "Sequences a second that must be computed again."),
        Panel("Forgotten entries", "short", {
            "{{group}}, {{policy}}": rate("recurve_kv_evicted_entries_total", "group, policy")},
              "Entries a second, dropped for a budget."),
        Panel("Prefix cache", "percentunit", {
            "found": f"{rate('recurve_prefix_cache_hits_total')} / {rate('recurve_prefix_cache_queries_total')}"},
              "Share of the prompt tokens that were looked up.", top=1),
    ]),
    ("Steps", [
        Panel("Time by stage", "s", {
            "{{stage}}": rate("recurve_stage_duration_seconds_sum", "stage")}, "Seconds of a second, all pods.", stacked=True),
        Panel("Rows by stage", "short", {"{{stage}}": rate("recurve_step_rows_total", "stage")}, "A second."),
        Panel("Batch", "short", {
            "tokens, mean": mean("recurve_batch_tokens"), "sequences, mean": mean("recurve_batch_sequences")},
              "That a step takes through the shared block."),
    ]),
]

CONNECTIONS = [
    ("Connections", [
        Panel("Open", "short", {
            "connections": total("recurve_connections_open"), "streams": total("recurve_streams_open"),
            "most connections": total("recurve_limit", limit="max_connections")}),
        Panel("Refused", "short", {"{{reason}}": rate("recurve_connections_refused_total", "reason")}, "Connections a second."),
        Panel("Self check", "short", {"failed": rate("recurve_self_check_failures_total")},
              "Of the server's calls to its own port, a second."),
    ]),
    ("Slow clients", [
        Panel("Streams reset", "short", {"{{cause}}": rate("recurve_egress_stalls_total", "cause")}, "A second."),
        Panel("Tokens not yet sent", "short", {"{{pod}}": total("recurve_egress_backlog_tokens", "pod")}),
        Panel("Texts tokenized", "Bps", {"bytes": rate("recurve_tokenized_bytes_total")}),
    ]),
    ("Security, and the metrics port", [
        Panel("Certificate good for", "s", {
            "{{pod}}": f"min by (pod) ({select('recurve_tls_certificate_not_after_timestamp_seconds')} > 0) - time()"},
              "Nothing without --tls_cert."),
        Panel("Calls without valid credentials", "reqps", {"{{reason}}": rate("recurve_unauthenticated_total", "reason")}),
        Panel("Scrapes", "reqps", {
            "{{code}}": rate("recurve_metrics_answers_total", "code"),
            "cut off, {{reason}}": rate("recurve_metrics_connections_closed_total", "reason")}),
    ]),
]

# In front of the servers: the components openai and envoy.
FRONTS = [
    ("OpenAI's API", [
        Panel("Gateways", "short", {"ready": total("recurve_gateway_ready")}, "Ready: a server takes calls."),
        Panel("Calls by status", "reqps", {"{{status}}": rate("recurve_gateway_calls_total", "status")},
              "499: the client went first.", stacked=True),
        Panel("Time of a call", "s", quantiles("recurve_gateway_call_seconds"), "From its arrival to its end."),
    ]),
    ("OpenAI's API: load", [
        Panel("Tokens", "short", {
            "generated": rate("recurve_gateway_generated_tokens_total"),
            "of prompts": rate("recurve_gateway_prompt_tokens_total")}, "A second, of calls that ended."),
        Panel("Open", "short", {
            "calls": total("recurve_gateway_calls_open"), "connections": total("recurve_gateway_connections_open")}),
        Panel("Connections closed", "short", {"{{reason}}": rate("recurve_gateway_connections_closed_total", "reason")},
              "By the gateway, a second."),
    ]),
    ("Envoy", [
        Panel("Servers that take calls", "short", {
            "{{pod}}": total("envoy_cluster_membership_healthy", "pod", envoy_cluster_name="recurve")},
              "As each Envoy sees it."),
        Panel("Tried again", "reqps", {
            "all": rate("envoy_cluster_upstream_rq_retry"), "with success": rate("envoy_cluster_upstream_rq_retry_success")}),
        Panel("Open", "short", {
            "calls": of_envoy("total", "envoy_http_downstream_rq_active"),
            "connections": of_envoy("total", "envoy_http_downstream_cx_active")}),
    ]),
    ("Envoy: what it keeps from the servers", [
        Panel("Connections", "short", {
            "beyond the most": rate("envoy_listener_downstream_global_cx_overflow"),
            "of rapid resets": of_envoy("rate", "envoy_http_downstream_rq_too_many_premature_resets"),
            "of malformed frames": of_envoy("rate", "envoy_http_downstream_cx_protocol_error")}, "A second."),
        Panel("Calls", "reqps", {
            "beyond a rate": rate("envoy_http_local_rate_limit_rate_limited"),
            "for want of memory": of_envoy("rate", "envoy_http_downstream_rq_overload_close"),
            "silent for too long": of_envoy("rate", "envoy_http_downstream_rq_idle_timeout")}),
        Panel("Certificate good for", "d", {
            "{{pod}}": f"min by (pod) ({select('envoy_server_days_until_first_cert_expiring')})"}),
    ]),
]


def panel_json(panel: Panel, number: int, place: dict) -> dict:
    custom = {"fillOpacity": 20 if panel.stacked else 0, "stacking": {"mode": "normal" if panel.stacked else "none"}}
    defaults = {"unit": panel.unit, "min": 0, "custom": custom}
    if panel.top is not None:
        defaults["max"] = panel.top
    targets = [{"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
               for i, (legend, expression) in enumerate(panel.series.items())]
    return {"id": number, "type": "timeseries", "title": panel.title, "description": panel.says, "datasource": SOURCE,
            "gridPos": place, "fieldConfig": {"defaults": defaults, "overrides": []}, "targets": targets,
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}}


def variable(name: str, query: str) -> dict:
    return {"name": name, "type": "query", "datasource": SOURCE, "query": query, "definition": query, "refresh": 2,
            "includeAll": True, "multi": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}


def dashboard(uid: str, title: str, rows: list, pods: str = 'recurve_ready{job="recurve"') -> dict:
    """`pods`: a selector without its end, of the pods that can be chosen."""
    panels, y = [], 0
    for heading, row in rows:
        panels.append({"id": len(panels) + 1, "type": "row", "title": heading, "collapsed": False,
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []})
        width = 24 // len(row)
        for i, panel in enumerate(row):
            place = {"x": i * width, "y": y + 1, "w": width, "h": HEIGHT}
            panels.append(panel_json(panel, len(panels) + 1, place))
        y += 1 + HEIGHT
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    return {"uid": uid, "title": title, "tags": ["recurve"], "schemaVersion": 39, "version": 1, "editable": True,
            "time": {"from": "now-1h", "to": "now"}, "refresh": "30s",
            "templating": {"list": [
                source, variable("namespace", f"label_values({pods}}}, namespace)"),
                variable("pod", f'label_values({pods},namespace=~"$namespace"}}, pod)')]},
            "panels": panels}


def all_dashboards() -> dict[str, str]:
    """File name to text."""
    boards = {
        "recurve-serving.json": dashboard("recurve-serving", "Recurve: serving", SERVING),
        "recurve-recursion.json": dashboard("recurve-recursion", "Recurve: depth, cache and steps", RECURSION),
        "recurve-connections.json": dashboard("recurve-connections", "Recurve: connections and clients", CONNECTIONS),
        "recurve-fronts.json": dashboard("recurve-fronts", "Recurve: OpenAI's API and Envoy", FRONTS, 'up{job=~"recurve-.*"'),
    }
    return {name: json.dumps(board, indent=1) + "\n" for name, board in boards.items()}


if __name__ == "__main__":
    for file_name, text in all_dashboards().items():
        (OUT / file_name).write_text(text)
