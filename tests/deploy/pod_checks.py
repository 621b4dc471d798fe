# SPDX-License-Identifier: Apache-2.0
"""What the fields of a Deployment's pods must have in common. Each check returns its findings, one sentence each."""

from __future__ import annotations

import re

from tests.deploy.flag_checks import Settings, seconds
from tests.deploy.rendering import ROOT, find, named, pods, servers

# Beyond what the server adds up, for the kubelet and a busy node.
SLACK_SECONDS = 3
SHUTDOWN_SECONDS = 1  # kShutdownBudget of server/lifecycle.cc


def probes(objects: list[dict]) -> list[str]:
    findings = []
    services = {"startupProbe": "", "readinessProbe": "", "livenessProbe": "liveness"}
    for deployment, _, container in servers(objects):
        ports = {port["containerPort"]: port["name"] for port in container["ports"]}
        plain = "health" if "health" in ports.values() else "grpc"
        for kind, service in services.items():
            probe = container.get(kind, {}).get("grpc", {})
            if ports.get(probe.get("port")) != plain:
                findings.append(f"{named(deployment)}: {kind} asks port {probe.get('port')}, which is not the port {plain}")
            if probe.get("service", "") != service:
                findings.append(f"{named(deployment)}: {kind} asks for '{probe.get('service', '')}', expected '{service}'")
    return findings


def startup(objects: list[dict]) -> list[str]:
    """A model may take ten minutes to load; a rollout must wait longer than that."""
    findings = []
    for deployment, _, container in servers(objects):
        probe = container["startupProbe"]
        budget = probe["failureThreshold"] * probe["periodSeconds"]
        if budget < 600:
            findings.append(f"{named(deployment)}: startupProbe gives up after {budget} s; expected 600 s or more")
        progress = deployment["spec"].get("progressDeadlineSeconds", 600)
        if progress <= budget:
            findings.append(f"{named(deployment)}: progressDeadlineSeconds is {progress}, and startup may take {budget} s")
    return findings


def drain(objects: list[dict]) -> list[str]:
    """SIGTERM to exit: the sum of what the server may take must fit the pod's grace period."""
    findings = []
    for deployment, pod, container in servers(objects):
        flags = Settings(objects, pod, container).flags
        pre_stop = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        parts = {"preStop": float(pre_stop), "shutdown": SHUTDOWN_SECONDS, "slack": SLACK_SECONDS}
        for flag in ("drain_grace", "drain_budget", "drain_flush", "step_timeout"):
            if flag not in flags:
                findings.append(f"{named(deployment)}: {flag} is not set, so the drain cannot be added up")
                continue
            parts[flag] = seconds(flags[flag])
        total = sum(parts.values())
        allowed = pod.get("terminationGracePeriodSeconds", 30)
        if allowed < total:
            findings.append(f"{named(deployment)}: terminationGracePeriodSeconds is {allowed}, the drain may take "
                            f"{total:g} s: {parts}")
        if parts["preStop"] + parts.get("drain_grace", 0) < 5:
            findings.append(f"{named(deployment)}: drain_grace leaves Services less than 5 s to forget the pod")
    return findings


def security(objects: list[dict]) -> list[str]:
    """Of all pods; the user is our image's."""
    findings = []
    # Who is given rights asks the cluster's API for something.
    talking = {subject["name"] for binding in find(objects, "RoleBinding") for subject in binding["subjects"]}
    user = re.search(r"^USER (\d+):(\d+)", (ROOT / "Dockerfile").read_text(), re.M)
    for deployment, pod, container in pods(objects):
        context, own = pod.get("securityContext", {}), container.get("securityContext", {})
        expected = [
            ("runAsNonRoot", context.get("runAsNonRoot"), True),
            ("runAsUser", context.get("runAsUser"), int(user[1])),
            ("runAsGroup", context.get("runAsGroup"), int(user[2])),
            ("fsGroup", context.get("fsGroup"), int(user[2])),
            ("seccompProfile", context.get("seccompProfile"), {"type": "RuntimeDefault"}),
            ("allowPrivilegeEscalation", own.get("allowPrivilegeEscalation"), False),
            ("readOnlyRootFilesystem", own.get("readOnlyRootFilesystem"), True),
            ("capabilities", own.get("capabilities"), {"drop": ["ALL"]}),
            ("privileged", own.get("privileged", False), False),
            ("automountServiceAccountToken", pod.get("automountServiceAccountToken"),
             pod.get("serviceAccountName") in talking),
            ("hostNetwork", pod.get("hostNetwork", False), False),
        ]
        findings += [f"{named(deployment)}: {field} is {value}, expected {right}"
                     for field, value, right in expected if value != right]
    return findings


def rollout(objects: list[dict]) -> list[str]:
    findings = []
    for deployment, _, _ in pods(objects):
        strategy = deployment["spec"].get("strategy", {})
        rolling = strategy.get("rollingUpdate", {})
        if strategy.get("type") != "RollingUpdate" or rolling.get("maxUnavailable") != 0 or not rolling.get("maxSurge"):
            findings.append(f"{named(deployment)}: a rollout takes pods away before new ones are ready: {strategy}")
    return findings


def resources(objects: list[dict]) -> list[str]:
    """As much as is asked for: threads and cache are sized by the limits."""
    findings = []
    for deployment, _, container in servers(objects):
        given = container.get("resources", {})
        requests, limits = given.get("requests", {}), given.get("limits", {})
        if not {"cpu", "memory"} <= requests.keys() or requests != limits:
            findings.append(f"{named(deployment)}: requests {requests} and limits {limits} differ, or lack cpu or memory")
        cuda = "--backend=cuda" in container["args"]
        if cuda != ("nvidia.com/gpu" in limits) or cuda != container["image"].endswith("-cuda"):
            findings.append(f"{named(deployment)}: card, --backend=cuda and the image {container['image']} go together")
    return findings


def exposed_ports() -> set[int]:
    """Of all images."""
    exposed = re.findall(r"^EXPOSE (.*)$", (ROOT / "Dockerfile").read_text(), re.M)
    return {int(port) for ports in exposed for port in ports.split()}


def image_ports(objects: list[dict]) -> list[str]:
    """Ports of the container, of the image and of the flags that listen are the same."""
    findings = []
    listening = {"grpc": "listen", "metrics": "metrics_listen", "health": "health_listen"}
    for deployment, pod, container in servers(objects):
        flags = Settings(objects, pod, container).flags
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for name, port in ports.items():
            if port not in exposed_ports():
                findings.append(f"{named(deployment)}: the image does not EXPOSE {port}, the port {name}")
        for name, flag in listening.items():
            address = flags.get(flag)
            if (address is None) != (name not in ports):
                findings.append(f"{named(deployment)}: {flag} and a port {name} go together")
            elif address is not None and address != f"[::]:{ports[name]}":
                findings.append(f"{named(deployment)}: {flag} is {address}, expected [::]:{ports[name]}")
    return findings


CHECKS = (probes, startup, drain, security, rollout, resources, image_ports)
