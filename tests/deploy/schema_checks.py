# SPDX-License-Identifier: Apache-2.0
"""Every object against its schema: Kubernetes' own of several versions, and for custom resources what their upstream
definitions require and know of the fields that we use."""

from __future__ import annotations

import jsonschema
import kubernetes_validate

from tests.deploy.inference_checks import picker_configs
from tests.deploy.rendering import named

# The oldest that is supported, some between, and the newest that the package has. A volume of an image is newer.
VERSIONS = ("1.29", "1.31", "1.33", "1.35", "1.37")
VERSIONS_OF_IMAGE_VOLUMES = ("1.33", "1.35", "1.37")


def _object(required: str = "", other: bool = False, **properties) -> dict:
    """A schema: these fields and, unless `other`, no more."""
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": other}


def _list(items: dict) -> dict:
    return {"type": "array", "items": items, "minItems": 1}


TEXT, NUMBER, MAP = {"type": "string"}, {"type": "integer"}, {"type": "object", "additionalProperties": {"type": "string"}}
DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w|y))+$"}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_PARENTS = _list(_object("name", name=TEXT, namespace=TEXT, sectionName=TEXT))
_CONTAINER = {"type": "object", "required": ["name", "image"]}  # Kubernetes' own
_SCALING = _object(stabilizationWindowSeconds=NUMBER, selectPolicy=TEXT, policies=_list(
    _object("type value periodSeconds", type={"enum": ["Pods", "Percent"]}, value=NUMBER, periodSeconds=NUMBER)))

# kind: its apiVersion, and the schema of its spec. Names, types and requirements are those of the named definitions, read
# in August 2026; fields that we do not use are left out, so that a misspelt one is found.
CUSTOM = {
    # prometheus-operator 0.93.0, monitoring.coreos.com_podmonitors.yaml
    "PodMonitor": ("monitoring.coreos.com/v1", _object(
        "selector podMetricsEndpoints", jobLabel=TEXT, selector=_object(matchLabels=MAP),
        podMetricsEndpoints=_list(_object("port", port=TEXT, path=TEXT, interval=DURATION, scrapeTimeout=DURATION)))),
    # prometheus-operator 0.93.0, monitoring.coreos.com_prometheusrules.yaml
    "PrometheusRule": ("monitoring.coreos.com/v1", _object("groups", groups=_list(_object(
        "name rules", name=TEXT, interval=DURATION, rules=_list({
            "type": "object", "required": ["expr"],
            "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
            "properties": {"alert": TEXT, "record": TEXT, "expr": TEXT, "for": DURATION, "labels": MAP, "annotations": MAP},
            "additionalProperties": False}))))),
    # KEDA 2.20.2, keda.sh_scaledobjects.yaml; of a prometheus trigger what its scaler reads
    "ScaledObject": ("keda.sh/v1alpha1", _object(
        "scaleTargetRef triggers", scaleTargetRef=_object("name", apiVersion=TEXT, kind=TEXT, name=TEXT),
        minReplicaCount=NUMBER, maxReplicaCount=NUMBER, pollingInterval=NUMBER, cooldownPeriod=NUMBER,
        fallback=_object("failureThreshold replicas", failureThreshold=NUMBER, replicas=NUMBER),
        triggers=_list(_object(
            "type metadata", type={"const": "prometheus"}, name=TEXT, metricType={"enum": ["AverageValue", "Value"]},
            metadata=_object("serverAddress query threshold", serverAddress=TEXT, query=TEXT, threshold=TEXT))),
        advanced=_object(horizontalPodAutoscalerConfig=_object(
            behavior=_object(scaleUp=_SCALING, scaleDown=_SCALING))))),
    # Gateway API 1.1 and later, gateway.networking.k8s.io_grpcroutes.yaml; a Service needs a port, a pool has its own
    "GRPCRoute": ("gateway.networking.k8s.io/v1", _object(
        "parentRefs rules", parentRefs=_PARENTS,
        hostnames=_list(TEXT), rules=_list(_object(
            "backendRefs", matches=_list(_object(method=_object(service=TEXT, method=TEXT, type={"enum": ["Exact", "RegularExpression"]}))),
            backendRefs=_list({"oneOf": [
                _object("name port", name=TEXT, port=PORT, weight=NUMBER),
                _object("group kind name", group={"const": "inference.networking.k8s.io"}, kind={"const": "InferencePool"},
                        name=TEXT, weight=NUMBER)]}))))),
    # Gateway API 1.2 and later, gateway.networking.k8s.io_httproutes.yaml
    "HTTPRoute": ("gateway.networking.k8s.io/v1", _object(
        "parentRefs rules", parentRefs=_PARENTS, hostnames=_list(TEXT), rules=_list(_object(
            "backendRefs", matches=_list(_object(path=_object(
                "type value", type={"enum": ["Exact", "PathPrefix", "RegularExpression"]}, value={"type": "string", "pattern": "^/"}))),
            timeouts=_object(request={"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"}),
            backendRefs=_list(_object("name port", name=TEXT, port=PORT, weight=NUMBER)))))),
    # Gateway API inference extension 1.6.0, inference.networking.k8s.io_inferencepools.yaml; appProtocol is of 1.5 and later.
    # The port of a Service must be said.
    "InferencePool": ("inference.networking.k8s.io/v1", _object(
        "selector targetPorts", selector=_object("matchLabels", matchLabels=MAP),
        targetPorts={**_list(_object("number", number=PORT)), "maxItems": 8}, appProtocol={"enum": ["http", "kubernetes.io/h2c"]},
        endpointPickerRef=_object("name port", name=TEXT, port=_object("number", number=PORT),
                                  failureMode={"enum": ["FailOpen", "FailClose"]}))),
    # KServe, main in August 2026 (after 0.17), serving.kserve.io_servingruntimes.yaml
    "ServingRuntime": ("serving.kserve.io/v1alpha1", _object(
        "containers", annotations=MAP, containers=_list(_CONTAINER), protocolVersions=_list({"enum": ["v1", "v2", "grpc-v1", "grpc-v2"]}),
        supportedModelFormats=_list(_object("name", name=TEXT, version=TEXT, autoSelect={"type": "boolean"},
                                            priority={"type": "integer", "minimum": 1})))),
    # the same, serving.kserve.io_inferenceservices.yaml
    "InferenceService": ("serving.kserve.io/v1beta1", _object(
        "predictor", predictor=_object(
            "model", minReplicas=NUMBER, maxReplicas=NUMBER, terminationGracePeriodSeconds=NUMBER,
            automountServiceAccountToken={"type": "boolean"}, securityContext={"type": "object"},
            model=_object("modelFormat", runtime=TEXT, modelFormat=_object("name", name=TEXT, version=TEXT), protocolVersion=TEXT,
                          storageUri={"type": "string", "pattern": "^[a-z0-9]+://"})))),
}


def _custom(thing: dict) -> list[str]:
    api, spec = CUSTOM[thing["kind"]]
    if thing["apiVersion"] != api:
        return [f"{named(thing)}: apiVersion is {thing['apiVersion']}, expected {api}"]
    schema = _object("apiVersion kind metadata spec", apiVersion=TEXT, kind=TEXT, metadata={"type": "object"}, spec=spec)
    return [f"{named(thing)}: {'/'.join(map(str, error.absolute_path))}: {error.message}"
            for error in jsonschema.Draft202012Validator(schema).iter_errors(thing)]


_REFERENCE = _object("pluginRef", pluginRef=TEXT)
# llm-d-router, main in August 2026 (after 0.9.0), apix/config/v1alpha1; of parameters what the plugins read
PICKER = _object(
    "apiVersion kind plugins schedulingProfiles", apiVersion={"const": "llm-d.ai/v1alpha1"}, kind=TEXT,
    plugins=_list(_object("type", name=TEXT, type=TEXT, parameters=_object(
        scheme={"enum": ["http", "https"]}, path=TEXT, port=PORT, interval=DURATION,
        defaultEngine=TEXT, engineConfigs=_list(_object(
            "name", name=TEXT, queuedRequestsSpec=TEXT, runningRequestsSpec=TEXT, kvUsageSpec=TEXT)),
        autoTune={"type": "boolean"}, blockSizeTokens=NUMBER))),
    dataLayer=_object("sources", sources=_list(_object("pluginRef extractors", pluginRef=TEXT, extractors=_list(_REFERENCE)))),
    requestHandler=_object("parsers", parsers=_list(_REFERENCE)),
    schedulingProfiles=_list(_object("name plugins", name=TEXT, plugins=_list(
        _object("pluginRef", pluginRef=TEXT, weight={"type": "number", "minimum": 0})))))


def picker_schema(objects: list[dict]) -> list[str]:
    """Of the file that an endpoint picker reads."""
    return [f"{named(thing)}: {'/'.join(map(str, error.absolute_path))}: {error.message}"
            for thing, config in picker_configs(objects)
            for error in jsonschema.Draft202012Validator(PICKER).iter_errors(config)]


def _has_image_volume(thing: dict) -> bool:
    volumes = thing.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", [])
    return any("image" in volume for volume in volumes)


def schemas(objects: list[dict]) -> list[str]:
    findings = []
    for thing in objects:
        if thing["kind"] in CUSTOM:
            findings += _custom(thing)
            continue
        for version in VERSIONS_OF_IMAGE_VOLUMES if _has_image_volume(thing) else VERSIONS:
            try:
                kubernetes_validate.validate(thing, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                path = "/".join(str(part) for part in error.absolute_path)
                findings.append(f"{named(thing)}: Kubernetes {version}: {path}: {error.message}")
    return findings


CHECKS = (schemas, picker_schema)
