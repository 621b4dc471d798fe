# SPDX-License-Identifier: Apache-2.0
"""What objects say of each other. Each check returns its findings, one sentence each."""

from __future__ import annotations

from tests.deploy.rendering import find, named


def _pod_labels(objects: list[dict]) -> dict:
    return find(objects, "Deployment")[0]["spec"]["template"]["metadata"]["labels"]


def _ports(objects: list[dict]) -> set[str]:
    return {port["name"] for deployment in find(objects, "Deployment")
            for container in deployment["spec"]["template"]["spec"]["containers"] for port in container["ports"]}


def selectors(objects: list[dict]) -> list[str]:
    """Who selects pods selects ours."""
    labels, chosen = _pod_labels(objects), []
    for thing in objects:
        spec = thing.get("spec", {})
        if thing["kind"] == "Service":
            chosen.append((thing, spec.get("selector", {})))
        if thing["kind"] in ("Deployment", "PodDisruptionBudget", "PodMonitor"):
            chosen.append((thing, spec.get("selector", {}).get("matchLabels", {})))
        if thing["kind"] == "NetworkPolicy":
            chosen.append((thing, spec.get("podSelector", {}).get("matchLabels", {})))
        if thing["kind"] == "Deployment":
            chosen += [(thing, spread["labelSelector"]["matchLabels"])
                       for spread in spec["template"]["spec"]["topologySpreadConstraints"]]
    return [f"{named(thing)}: selects {selector}, pods have {labels}" for thing, selector in chosen
            if not selector or not selector.items() <= labels.items()]


def ports(objects: list[dict]) -> list[str]:
    """Ports that are named exist."""
    known, used = _ports(objects), []
    for thing in objects:
        spec = thing.get("spec", {})
        if thing["kind"] == "Service":
            used += [(thing, port["targetPort"]) for port in spec["ports"]]
        if thing["kind"] == "PodMonitor":
            used += [(thing, endpoint["port"]) for endpoint in spec["podMetricsEndpoints"]]
        if thing["kind"] == "NetworkPolicy":
            used += [(thing, port["port"]) for rule in spec["ingress"] for port in rule["ports"]]
    return [f"{named(thing)}: pods have no port {port}, only {sorted(known)}" for thing, port in used if port not in known]


def services(objects: list[dict]) -> list[str]:
    """One Service for clients that balance, one for proxies; what they say of the protocol is true."""
    findings = []
    arguments = find(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"]
    protocol = "https" if any(argument.startswith("--tls_cert=") for argument in arguments) else "kubernetes.io/h2c"
    for service in find(objects, "Service"):
        headless = service["spec"].get("clusterIP") == "None"
        if headless != service["metadata"]["name"].endswith("-headless"):
            findings.append(f"{named(service)}: clusterIP is {service['spec'].get('clusterIP')}")
        findings += [f"{named(service)}: appProtocol is {port.get('appProtocol')}, expected {protocol}"
                     for port in service["spec"]["ports"] if port.get("appProtocol") != protocol]
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
    for deployment in find(objects, "Deployment"):
        replicas = deployment["spec"].get("replicas")
        if scalers and replicas is not None:
            findings.append(f"{named(deployment)}: replicas is {replicas}, and each `apply` would undo what a scaler did")
        if not scalers and (replicas or 1) < 2:
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
    for route in find(objects, "GRPCRoute"):
        for backend in (b for rule in route["spec"]["rules"] for b in rule["backendRefs"]):
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
