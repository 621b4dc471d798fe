# SPDX-License-Identifier: Apache-2.0
"""Pools whose endpoints a picker chooses, and what KServe makes of its own objects. Each check returns its findings."""

from __future__ import annotations

import copy

import yaml

from tests.deploy import flag_checks, pod_checks
from tests.deploy.metric_checks import Live
from tests.deploy.rendering import find, named, pods, selects, servers

# Of a picker's scorer: how a metric that it goes by is called in core-metrics-extractor.
SPECS = {"queue-scorer": "queuedRequestsSpec", "kv-cache-utilization-scorer": "kvUsageSpec",
         "running-requests-size-scorer": "runningRequestsSpec"}
SERVICES = {"vllm.grpc.engine.VllmEngine", "recurve.v1.GenerationService", "inference.GRPCInferenceService"}


def picker_configs(objects: list[dict]):
    """(the ConfigMap, its EndpointPickerConfig)."""
    for thing in find(objects, "ConfigMap"):
        for text in thing["data"].values():
            if "kind: EndpointPickerConfig" in text:
                yield thing, yaml.safe_load(text)


def pools(objects: list[dict]) -> list[str]:
    """A pool's pods, ports and picker exist, and speak what it says."""
    findings = []
    for pool in find(objects, "InferencePool"):
        spec = pool["spec"]
        chosen = [(deployment, container) for deployment, _, container in pods(objects)
                  if selects(spec["selector"]["matchLabels"], deployment)]
        if [container["name"] for _, container in chosen] != ["server"]:
            findings.append(f"{named(pool)}: selects {[named(deployment) for deployment, _ in chosen]}, not the servers alone")
        for _, container in chosen:
            grpc = [port["containerPort"] for port in container["ports"] if port["name"] == "grpc"]
            if [port["number"] for port in spec["targetPorts"]] != grpc:
                findings.append(f"{named(pool)}: targetPorts are {spec['targetPorts']}, the servers' port is {grpc}")
            if any(argument.startswith("--tls_cert=") for argument in container["args"]):
                findings.append(f"{named(pool)}: the servers speak TLS; a pool knows plaintext alone")
        if spec.get("appProtocol") != "kubernetes.io/h2c":
            findings.append(f"{named(pool)}: appProtocol is {spec.get('appProtocol')}, expected kubernetes.io/h2c")
        picker = spec["endpointPickerRef"]
        found = find(objects, "Service", picker["name"])
        if not found or picker["port"]["number"] not in [port["port"] for port in found[0]["spec"]["ports"]]:
            findings.append(f"{named(pool)}: there is no Service {picker['name']} with port {picker['port']['number']}")
        for deployment, _, container in pods(objects, "picker"):
            if f"--pool-name={pool['metadata']['name']}" not in container["args"]:
                findings.append(f"{named(deployment)}: is not of the pool {pool['metadata']['name']}")
    return findings


def pickers(objects: list[dict]) -> list[str]:
    """What a picker's configuration names is there, and it asks the port of the servers' metrics."""
    findings = []
    for thing, config in picker_configs(objects):
        plugins = {plugin.get("name", plugin["type"]): plugin for plugin in config["plugins"]}
        sources = config["dataLayer"]["sources"]
        told = [*config["requestHandler"]["parsers"], *sources, *(one for source in sources for one in source["extractors"]),
                *(one for profile in config["schedulingProfiles"] for one in profile["plugins"])]
        findings += [f"{named(thing)}: there is no plugin {one['pluginRef']}" for one in told if one["pluginRef"] not in plugins]
        unused = set(plugins) - {one["pluginRef"] for one in told}
        # What produces what a scorer reads is found by itself.
        findings += [f"{named(thing)}: {name} is used by nobody" for name in sorted(unused) if not name.endswith("-producer")]
        port = plugins.get("metrics-data-source", {}).get("parameters", {}).get("port")
        for _, _, container in servers(objects):
            if port not in [one["containerPort"] for one in container["ports"] if one["name"] == "metrics"]:
                findings.append(f"{named(thing)}: metrics-data-source asks port {port}, which is not the port metrics")
        parameters = plugins.get("core-metrics-extractor", {}).get("parameters", {})
        engine = {one["name"]: one for one in parameters.get("engineConfigs", [])}.get(parameters.get("defaultEngine"))
        if engine is None:
            findings.append(f"{named(thing)}: defaultEngine is {parameters.get('defaultEngine')}, which engineConfigs has not")
            continue
        findings += [f"{named(thing)}: {scorer} has no {spec}" for scorer, spec in SPECS.items()
                     if scorer in plugins and not engine.get(spec)]
    return findings


def picker_metrics(objects: list[dict], live: Live) -> list[str]:
    """The metrics that a picker is to read are gauges of ours without labels."""
    findings = []
    for thing, config in picker_configs(objects):
        for plugin in config["plugins"]:
            for engine in plugin.get("parameters", {}).get("engineConfigs", []):
                for field, name in engine.items():
                    if field != "name" and live.labels.get(name) != {}:
                        findings.append(f"{named(thing)}: {field} is {name}, which is no metric without labels here")
    return findings


def routed_services(objects: list[dict]) -> list[str]:
    """Routes lead services of ours to what can answer them, and each by one route alone."""
    findings, seen = [], {}
    for route in find(objects, "GRPCRoute"):
        for rule in route["spec"]["rules"]:
            for match in rule["matches"]:
                service = match["method"]["service"]
                if service not in SERVICES | {"grpc.health.v1.Health"}:
                    findings.append(f"{named(route)}: the servers have no service {service}")
                if service in seen:
                    findings.append(f"{named(route)}: {service} is of {seen[service]} too")
                seen[service] = named(route)
    return findings


def as_deployment(service: dict, runtime: dict) -> dict:
    """What KServe makes of the two, as far as checks of pods read it."""
    predictor = service["spec"]["predictor"]
    container = copy.deepcopy(runtime["spec"]["containers"][0])
    container["name"] = "server"
    container["args"] = [argument.replace("{{.Name}}", service["metadata"]["name"]) for argument in container["args"]]
    container["ports"].append({
        "name": "metrics", "containerPort": int(runtime["spec"]["annotations"]["prometheus.kserve.io/port"])})
    own = {field: value for field, value in container["securityContext"].items() if field.startswith("run") or field == "seccompProfile"}
    container["securityContext"] = {k: v for k, v in container["securityContext"].items() if k not in own}
    pod = {"containers": [container], **{field: predictor[field] for field in (
        "terminationGracePeriodSeconds", "automountServiceAccountToken") if field in predictor},
        "securityContext": {**predictor.get("securityContext", {}), **own}}
    return {"kind": "Deployment", "metadata": {"name": f"{service['metadata']['name']}-predictor"},
            "spec": {"replicas": predictor["minReplicas"], "progressDeadlineSeconds": 900, "template": {"spec": pod}}}


def kserve(objects: list[dict]) -> list[str]:
    """A service's runtime is there, takes its model and protocol, and runs the server as a Deployment of ours would."""
    findings = []
    for service in find(objects, "InferenceService"):
        predictor = service["spec"]["predictor"]
        model = predictor["model"]
        found = find(objects, "ServingRuntime", model["runtime"])
        if not found:
            findings.append(f"{named(service)}: there is no ServingRuntime {model['runtime']}")
            continue
        runtime = found[0]["spec"]
        formats = [{field: one.get(field) for field in ("name", "version")} for one in runtime["supportedModelFormats"]]
        if model["modelFormat"] not in formats:
            findings.append(f"{named(service)}: modelFormat is {model['modelFormat']}, the runtime takes {formats}")
        if model["protocolVersion"] not in runtime["protocolVersions"]:
            findings.append(f"{named(service)}: protocolVersion is {model['protocolVersion']}, "
                            f"the runtime speaks {runtime['protocolVersions']}")
        if [container["name"] for container in runtime["containers"]] != ["kserve-container"]:
            findings.append(f"{named(found[0])}: KServe looks for the one container kserve-container")
            continue
        if [port["name"] for port in runtime["containers"][0]["ports"]] != ["grpc"]:
            findings.append(f"{named(found[0])}: KServe takes a port for gRPC by its name alone")
            continue
        if predictor.get("minReplicas", 1) < 2:
            findings.append(f"{named(service)}: minReplicas is {predictor.get('minReplicas')}; one alone cannot be replaced")
        if "--model=/mnt/models" not in runtime["containers"][0]["args"]:
            findings.append(f"{named(found[0])}: KServe puts models into /mnt/models")
        made = [as_deployment(service, found[0])]
        for check in (pod_checks.probes, pod_checks.startup, pod_checks.drain, pod_checks.security, pod_checks.resources,
                      pod_checks.image_ports, flag_checks.flags):
            findings += check(made)
    return findings


CHECKS = (pools, pickers, routed_services, kserve)
