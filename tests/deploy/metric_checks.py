# SPDX-License-Identifier: Apache-2.0
"""Metrics that alerts, scalers and dashboards ask for, against those of a live server."""

from __future__ import annotations

import json
import re

import yaml

from tests.deploy.rendering import MANIFESTS, ROOT, find, named

# Of Prometheus itself.
OF_PROMETHEUS = {"up", "ALERTS"}
# Labels that Prometheus adds to what it scrapes.
OF_TARGETS = {"job", "namespace", "pod", "instance"}

NAME = re.compile(r"\b((?:pod|job):)?((?:recurve|envoy)_[a-z0-9_]+(?::[a-z0-9_]+)*|up\b)(?:\{([^}]*)\})?")
# Labels whose values are all there from the beginning.
EXACT = ("le", "limit", "envoy_cluster_name", "envoy_http_conn_manager_prefix")
GROUPED = re.compile(r"\bby \(([^)]*)\)")
MATCHER = re.compile(r'([a-z_]+)(=~|!~|!=|=)"([^"]*)"')


class Live:
    """The series of a server, and of what stands in front of it, from the text of their metrics."""

    def __init__(self, text: str):
        self.labels: dict[str, dict[str, set[str]]] = {}  # of a name: values by label
        for line in text.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            sample, _, _ = line.rpartition(" ")
            name, _, inner = sample.partition("{")
            values = self.labels.setdefault(name, {})
            for label, value in re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', inner):
                values.setdefault(label, set()).add(value)


def recorded(objects: list[dict]) -> set[str]:
    """Names that recording rules make; those of the component where the objects have none."""
    rules = find(objects, "PrometheusRule")
    if not rules:
        path = MANIFESTS / "components" / "prometheusrule" / "prometheus_rule.yaml"
        rules = [yaml.safe_load(path.read_text())]
    return {rule["record"] for thing in rules for group in thing["spec"]["groups"] for rule in group["rules"]
            if "record" in rule}


def wrong_names(expression: str, live: Live, records: set[str]) -> list[str]:
    """What an expression asks for and nobody has: a name, a label, a value of a label."""
    wrong, labels = [], set(OF_TARGETS)
    for prefix, rest, matchers in NAME.findall(expression):
        name = prefix + rest
        labels |= set(live.labels.get(name, {}))
        if name in records | OF_PROMETHEUS:
            continue
        if name not in live.labels:
            wrong.append(f"no metric {name}")
            continue
        for label, operator, value in MATCHER.findall(matchers):
            if label in OF_TARGETS or value.startswith("$"):
                continue
            have = live.labels[name].get(label)
            if have is None:
                wrong.append(f"{name} has no label {label}")
            # Of counters by reason those alone are there that have counted.
            elif operator == "=" and label in EXACT and value not in have:
                wrong.append(f'{name} has no {label}="{value}"')
    grouped = {label.strip() for inner in GROUPED.findall(expression) for label in inner.split(",")}
    return wrong + [f"nothing here has the label {label} to group by" for label in sorted(grouped - labels)]


def expressions(objects: list[dict]) -> list[tuple[str, str]]:
    """(where it stands, the expression) of all objects."""
    found = []
    for rule in find(objects, "PrometheusRule"):
        for group in rule["spec"]["groups"]:
            found += [(f"{named(rule)}: {entry.get('alert', entry.get('record'))}", entry["expr"])
                      for entry in group["rules"]]
    for scaler in find(objects, "ScaledObject"):
        found += [(f"{named(scaler)}: {trigger['name']}", trigger["metadata"]["query"])
                  for trigger in scaler["spec"]["triggers"]]
    for scaler in find(objects, "HorizontalPodAutoscaler"):
        adapter = yaml.safe_load((MANIFESTS / "components" / "hpa" / "adapter_rules.yaml").read_text())
        series = {rule["name"]["as"]: rule["seriesQuery"] for rule in adapter["rules"]}
        for metric in scaler["spec"]["metrics"]:
            name = metric["pods"]["metric"]["name"]
            found.append((f"{named(scaler)}: {name}", series.get(name, f"recurve_unknown_to_the_adapter_{name}")))
    for name, dashboard in dashboards(objects).items():
        found += [(f"{name}: {panel['title']}", target["expr"]) for panel in panels(dashboard)
                  for target in panel["targets"]]
    return found


def dashboards(objects: list[dict]) -> dict[str, dict]:
    """Dashboards of ConfigMaps, by file name."""
    return {name: json.loads(text) for thing in find(objects, "ConfigMap") for name, text in thing["data"].items()
            if name.endswith(".json")}


def panels(dashboard: dict) -> list[dict]:
    """Those that show something; rows only divide."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def metric_names(objects: list[dict], live: Live) -> list[str]:
    records = recorded(objects)
    return [f"{where}: {wrong}" for where, expression in expressions(objects)
            for wrong in wrong_names(expression, live, records)]


def runbooks(objects: list[dict]) -> list[str]:
    """Each alert has a severity, and a heading in docs/operations.md that its runbook_url names."""
    text = (ROOT / "docs" / "operations.md").read_text()
    headings = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}
    findings = []
    for rule in find(objects, "PrometheusRule"):
        for entry in (e for group in rule["spec"]["groups"] for e in group["rules"] if "alert" in e):
            where = f"{named(rule)}: {entry['alert']}"
            path, _, anchor = entry.get("annotations", {}).get("runbook_url", "").partition("#")
            if path != "docs/operations.md" or anchor not in headings or anchor != entry["alert"].lower():
                findings.append(f"{where}: runbook_url is {path}#{anchor}, which is no heading of its own there")
            if entry.get("labels", {}).get("severity") not in ("page", "ticket"):
                findings.append(f"{where}: severity is {entry.get('labels', {}).get('severity')}, expected page or ticket")
    return findings


def dashboard_forms(objects: list[dict]) -> list[str]:
    """Ids are unique, panels do not lie on each other, and the data source is the variable's."""
    findings, uids = [], []
    for name, dashboard in dashboards(objects).items():
        uids.append(dashboard["uid"])
        ids = [panel["id"] for panel in dashboard["panels"]]
        if len(set(ids)) != len(ids):
            findings.append(f"{name}: ids of panels are not unique: {ids}")
        variables = {v["name"]: v for v in dashboard["templating"]["list"]}
        if variables.get("datasource", {}).get("type") != "datasource":
            findings.append(f"{name}: has no variable `datasource`")
        used = set()
        for panel in panels(dashboard):
            for source in [panel.get("datasource"), *(target.get("datasource") for target in panel["targets"])]:
                if source != {"type": "prometheus", "uid": "${datasource}"}:
                    findings.append(f"{name}: {panel['title']}: its data source is {source}")
            refs = [target["refId"] for target in panel["targets"]]
            if len(set(refs)) != len(refs):
                findings.append(f"{name}: {panel['title']}: refIds are not unique: {refs}")
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            if cells & used or place["x"] + place["w"] > 24:
                findings.append(f"{name}: {panel['title']}: lies on another panel, or beside the grid")
            used |= cells
    if len(set(uids)) != len(uids):
        findings.append(f"uids of dashboards are not unique: {uids}")
    return findings


CHECKS = (runbooks, dashboard_forms)
