# SPDX-License-Identifier: Apache-2.0
"""What objects say of each other. Each check returns its findings, one sentence each."""

from __future__ import annotations

import functools

import yaml

from tests.deploy.rendering import MANIFESTS, find, named, pods, selects


def _port_names(deployment: dict) -> set[str]:
    return {port["name"] for container in deployment["spec"]["template"]["spec"]["containers"] for port in container["ports"]}


def _selections(thing: dict):
    """(labels of pods, ports of theirs by name) that an object speaks of."""
    spec = thing.get("spec", {})
    if thing["kind"] == "Service":
        yield spec.get("selector", {}), [port["targetPort"] for port in spec["ports"]]
    elif thing["kind"] in ("PodDisruptionBudget", "InferencePool"):
        yield spec["selector"]["matchLabels"], []
    elif thing["kind"] == "PodMonitor":
        yield spec["selector"]["matchLabels"], [endpoint["port"] for endpoint in spec["podMetricsEndpoints"]]
    elif thing["kind"] == "Deployment":
        for spread in spec["template"]["spec"]["topologySpreadConstraints"]:
            yield spread["labelSelector"]["matchLabels"], []
    elif thing["kind"] == "NetworkPolicy":
        yield spec["podSelector"]["matchLabels"], [port["port"] for rule in spec["ingress"] for port in rule["ports"]]
        for rule in spec["egress"]:
            for peer in rule.get("to", []):
                yield peer["podSelector"]["matchLabels"], [port["port"] for port in rule["ports"]]


@functools.cache
def every_deployment() -> list[dict]:
    """Of all components, as they are written."""
    files = MANIFESTS.glob("components/*/deployment.yaml")
    return [thing for path in files for thing in yaml.safe_load_all(path.read_text()) if thing["kind"] == "Deployment"]


def selectors(objects: list[dict]) -> list[str]:
    """Who selects pods selects ours, and a Deployment its own alone."""
    findings, deployments = [], find(objects, "Deployment")
    for thing in objects:
        # Pods that a component brings are scraped where it is there.
        candidates = [*deployments, *every_deployment()] if thing["kind"] == "PodMonitor" else deployments
        for selector, _ in _selections(thing):
            if not any(selects(selector, deployment) for deployment in candidates):
                findings.append(f"{named(thing)}: selects {selector}, which no pods have")
    for thing in deployments:
        chosen = [named(other) for other in deployments if selects(thing["spec"]["selector"]["matchLabels"], other)]
        if chosen != [named(thing)]:
            findings.append(f"{named(thing)}: its selector chooses the pods of {chosen}")
    return findings


def ports(objects: list[dict]) -> list[str]:
    """Ports that are named exist."""
    findings = []
    for thing in objects:
        for selector, names in _selections(thing):
            for deployment in find(objects, "Deployment"):
                if selects(selector, deployment):
                    findings += [f"{named(thing)}: pods of {named(deployment)} have no port {name}"
                                 for name in names if name not in _port_names(deployment)]
    return findings


def services(objects: list[dict]) -> list[str]:
    """One Service of the servers for clients that balance, one for proxies; what they say of the protocol is true."""
    findings = []
    plaintext = {"server": "kubernetes.io/h2c", "gateway": "http", "picker": "kubernetes.io/h2c"}
    for deployment, _, container in pods(objects):
        has_tls = any(argument.startswith("--tls_cert=") for argument in container["args"])
        protocol = "https" if has_tls else plaintext.get(container["name"], "https")
        for service in find(objects, "Service"):
            if selects(service["spec"].get("selector", {}), deployment):
                findings += [f"{named(service)}: appProtocol is {port.get('appProtocol')}, expected {protocol}"
                             for port in service["spec"]["ports"] if port.get("appProtocol") != protocol]
    for service in find(objects, "Service"):
        headless = service["spec"].get("clusterIP") == "None"
        if headless != service["metadata"]["name"].endswith("-headless"):
            findings.append(f"{named(service)}: clusterIP is {service['spec'].get('clusterIP')}")
    return findings


def targets(objects: list[dict]) -> list[str]:
    """What scales, protects or routes to something names something that is there."""
    findings = []
    scalers = find(objects, "HorizontalPodAutoscaler") + find(objects, "ScaledObject")
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        if not find(objects, target["kind"], target["name"]):
            findings.append(f"{named(scaler)}: there is no {target['kind']} {target['name']}")
        least = scaler["spec"].get("minReplicas", scaler["spec"].get("minReplicaCount", 0))
        most = scaler["spec"].get("maxReplicas", scaler["spec"].get("maxReplicaCount", 0))
        if not 2 <= least <= most:
            findings.append(f"{named(scaler)}: {least} to {most} replicas; one alone cannot be replaced without a gap")
    if len(scalers) > 1:
        findings.append(f"{', '.join(map(named, scalers))}: two scalers of one Deployment")
    scaled = {(scaler["spec"]["scaleTargetRef"]["kind"], scaler["spec"]["scaleTargetRef"]["name"]) for scaler in scalers}
    for deployment in find(objects, "Deployment"):
        replicas = deployment["spec"].get("replicas")
        has_scaler = (deployment["kind"], deployment["metadata"]["name"]) in scaled
        if has_scaler and replicas is not None:
            findings.append(f"{named(deployment)}: replicas is {replicas}, and each `apply` would undo what a scaler did")
        if not has_scaler and (replicas or 1) < 2:
            findings.append(f"{named(deployment)}: replicas is {replicas}; one alone cannot be replaced without a gap")
        account = deployment["spec"]["template"]["spec"].get("serviceAccountName", "")
        if not find(objects, "ServiceAccount", account):
            findings.append(f"{named(deployment)}: there is no ServiceAccount {account}")
    for budget in find(objects, "PodDisruptionBudget"):
        if budget["spec"].get("maxUnavailable") != 1:
            findings.append(f"{named(budget)}: maxUnavailable is {budget['spec'].get('maxUnavailable')}, expected 1")
    return findings


def routes(objects: list[dict]) -> list[str]:
    findings = []
    for route in find(objects, "GRPCRoute") + find(objects, "HTTPRoute"):
        for backend in (b for rule in route["spec"]["rules"] for b in rule["backendRefs"]):
            if backend.get("kind") == "InferencePool":
                if not find(objects, "InferencePool", backend["name"]):
                    findings.append(f"{named(route)}: there is no InferencePool {backend['name']}")
                continue
            found = find(objects, "Service", backend["name"])
            if not found or backend["port"] not in [port["port"] for port in found[0]["spec"]["ports"]]:
                findings.append(f"{named(route)}: there is no Service {backend['name']} with port {backend['port']}")
    return findings


def namespaces(objects: list[dict]) -> list[str]:
    """An overlay's objects are all in the namespace that it makes."""
    made = {thing["metadata"]["name"] for thing in find(objects, "Namespace")}
    return [f"{named(thing)}: is in the namespace {thing['metadata'].get('namespace')}, expected {sorted(made)}"
            for thing in objects
            if made and thing["kind"] != "Namespace" and thing["metadata"].get("namespace") not in made]


CHECKS = (selectors, ports, services, targets, routes, namespaces)
