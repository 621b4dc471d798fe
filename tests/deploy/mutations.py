# SPDX-License-Identifier: Apache-2.0
"""Broken copies of the manifests: one field changed, and the check that must notice. manifests_test.py applies each."""

from __future__ import annotations

import copy
import re

DROP = object()  # the field goes


class Edit:
    """A piece of the field's text is another."""

    def __init__(self, old: str, new: str):
        self.old, self.new = old, new

    def __repr__(self) -> str:
        return f"{self.old} -> {self.new}"

    def __call__(self, text: str) -> str:
        assert self.old in text, f"there is no {self.old}"
        return text.replace(self.old, self.new)



POD = "spec.template.spec"
SERVER = f"{POD}.containers.0"
ENVOY_YAML = "data.envoy/yaml"
PICKER_YAML = "data.picker/yaml"


# (check, variant, object, field, new value). A field is a path of names and indices, with slashes for the dots that a
# name has itself; or NAME=VALUE, which finds the one that is so.
MUTATIONS = [
    ("probes", "production", "Deployment/recurve", f"{SERVER}.readinessProbe.grpc.port", 50051),
    ("probes", "production", "Deployment/recurve", f"{SERVER}.livenessProbe.grpc.port", 9999),
    ("probes", "cpu", "Deployment/recurve", f"{SERVER}.livenessProbe.grpc.service", DROP),
    ("probes", "cpu", "Deployment/recurve", f"{SERVER}.startupProbe.grpc.service", "liveness"),
    ("probes", "cpu", "Deployment/recurve", f"{SERVER}.readinessProbe", DROP),
    ("startup", "cpu", "Deployment/recurve", f"{SERVER}.startupProbe.failureThreshold", 30),
    ("startup", "cpu", "Deployment/recurve", "spec.progressDeadlineSeconds", 600),
    ("drain", "cpu", "Deployment/recurve", f"{POD}.terminationGracePeriodSeconds", 100),
    ("drain", "cpu", "Deployment/recurve", f"{POD}.terminationGracePeriodSeconds", DROP),
    ("drain", "cpu", "Deployment/recurve", f"{SERVER}.lifecycle", {"preStop": {"sleep": {"seconds": 15}}}),
    ("drain", "cpu", "Deployment/recurve", f"{SERVER}.args.1", "--drain_budget=2m"),
    ("drain", "cpu", "Deployment/recurve", f"{SERVER}.args.1", "--drain_grace=1s"),
    ("security", "cpu", "Deployment/recurve", f"{POD}.securityContext.runAsNonRoot", False),
    ("security", "cpu", "Deployment/recurve", f"{POD}.securityContext.runAsUser", 0),
    ("security", "cpu", "Deployment/recurve", f"{POD}.securityContext.fsGroup", DROP),
    ("security", "cpu", "Deployment/recurve", f"{POD}.securityContext.seccompProfile", DROP),
    ("security", "cpu", "Deployment/recurve", f"{POD}.automountServiceAccountToken", True),
    ("security", "cpu", "Deployment/recurve", f"{SERVER}.securityContext.readOnlyRootFilesystem", False),
    ("security", "cpu", "Deployment/recurve", f"{SERVER}.securityContext.capabilities.drop", ["NET_RAW"]),
    ("security", "cpu", "Deployment/recurve", f"{SERVER}.securityContext.allowPrivilegeEscalation", True),
    ("rollout", "cpu", "Deployment/recurve", "spec.strategy.rollingUpdate.maxUnavailable", 1),
    ("rollout", "cpu", "Deployment/recurve", "spec.strategy.type", "Recreate"),
    ("resources", "cpu", "Deployment/recurve", f"{SERVER}.resources.limits.memory", DROP),
    ("resources", "gpu", "Deployment/recurve", f"{SERVER}.resources.requests.nvidia/com/gpu", 2),
    ("resources", "gpu", "Deployment/recurve", f"{SERVER}.image", "recurve:0.1.0"),
    ("image_ports", "cpu", "Deployment/recurve", f"{SERVER}.ports.0.containerPort", 50055),
    ("image_ports", "cpu", "Deployment/recurve", f"{SERVER}.args.1", "--metrics_listen=[::]:9091"),
    ("image_ports", "production", "Deployment/recurve", f"{SERVER}.ports.2.name", "healthy"),
    ("mounts", "cpu", "Deployment/recurve", f"{POD}.volumes.0.configMap.name", "recurve-configuration"),
    ("mounts", "production", "Deployment/recurve", f"{SERVER}.volumeMounts.0.name", "recurve-config"),
    ("mounts", "gpu", "PersistentVolumeClaim/recurve-model", "metadata.name", "model"),
    ("mounts", "production", "Deployment/recurve", "secretName=recurve-tls", "recurve-certificate"),
    ("mounts", "production", "Deployment/recurve", "key=tls.key", "tls.pem"),
    ("paths", "production", "Deployment/recurve", "key=tls.key", DROP),
    ("paths", "cpu", "Deployment/recurve", f"{SERVER}.args.0", "--config=/etc/recurve/server.toml"),
    ("paths", "cpu", "Deployment/recurve", f"{SERVER}.args.1", "--model=/models/example"),
    ("flags", "cpu", "Deployment/recurve", f"{SERVER}.args.1", "--slot=4"),
    ("flags", "cpu", "Deployment/recurve", f"{SERVER}.args.1", "--slots=many"),
    ("flags", "cpu", "Deployment/recurve", f"{SERVER}.args.1", "--config=/etc/recurve/recurve-server.toml"),
    ("flags", "tls", "Deployment/recurve", f"{SERVER}.args.2", "--max_connection_age=5m"),  # no key
    ("flags", "cpu", "ConfigMap", "data.recurve-server/toml", "drain_grace = ten seconds\n"),
    ("flags", "cpu", "ConfigMap", "data.recurve-server/toml", "drain_gracious = 10s\n"),
    ("flags", "cpu", "ConfigMap", "data.recurve-server/toml", "drain_grace = 10s\ndrain_grace = 10s\n"),
    ("selectors", "cpu", "Service/recurve", "spec.selector", {"app": "recurve"}),
    ("selectors", "cpu", "PodDisruptionBudget/recurve", "spec.selector.matchLabels.app/kubernetes/io/name", "server"),
    ("selectors", "production", "PodMonitor/recurve", "spec.selector.matchLabels", {"app": "recurve"}),
    ("selectors", "production", "NetworkPolicy/recurve", "spec.podSelector.matchLabels", {"app": "recurve"}),
    ("selectors", "cpu", "Deployment/recurve", f"{POD}.topologySpreadConstraints.0.labelSelector.matchLabels",
     {"app": "recurve"}),
    ("ports", "cpu", "Service/recurve-headless", "spec.ports.0.targetPort", "rpc"),
    ("ports", "production", "PodMonitor/recurve", "spec.podMetricsEndpoints.0.port", "http"),
    ("ports", "production", "NetworkPolicy/recurve", "spec.ingress.0.ports.0.port", "rpc"),
    ("services", "cpu", "Service/recurve-headless", "spec.clusterIP", DROP),
    ("services", "production", "Service/recurve", "spec.ports.0.appProtocol", "kubernetes.io/h2c"),
    ("targets", "production", "ScaledObject/recurve", "spec.scaleTargetRef.name", "server"),
    ("targets", "production", "ScaledObject/recurve", "spec.minReplicaCount", 1),
    ("targets", "production", "Deployment/recurve", "spec.replicas", 2),
    ("targets", "hpa", "HorizontalPodAutoscaler/recurve", "spec.scaleTargetRef.kind", "StatefulSet"),
    ("targets", "cpu", "Deployment/recurve", "spec.replicas", 1),
    ("targets", "cpu", "Deployment/recurve", f"{POD}.serviceAccountName", "default"),
    ("targets", "cpu", "PodDisruptionBudget/recurve", "spec.maxUnavailable", "50%"),
    ("security", "envoy", "Deployment/recurve-envoy", f"{SERVER}.securityContext.readOnlyRootFilesystem", False),
    ("rollout", "envoy", "Deployment/recurve-envoy", "spec.strategy.rollingUpdate.maxUnavailable", 1),
    ("mounts", "envoy", "Deployment/recurve-envoy", "secretName=recurve-envoy-tls", "recurve-certificate"),
    ("selectors", "envoy", "Service/recurve-envoy", "spec.selector", {"app": "envoy"}),
    ("selectors", "envoy", "Deployment/recurve-envoy", "spec.selector.matchLabels", {"app.kubernetes.io/name": "recurve"}),
    ("selectors", "envoy", "NetworkPolicy/recurve-envoy", "spec.egress.0.to.0.podSelector.matchLabels", {"app": "recurve"}),
    ("ports", "envoy", "Service/recurve-envoy", "spec.ports.0.targetPort", "https"),
    ("ports", "envoy", "NetworkPolicy/recurve-envoy", "spec.egress.0.ports.0.port", "rpc"),
    ("services", "envoy", "Service/recurve-envoy", "spec.ports.0.appProtocol", "kubernetes.io/h2c"),
    ("targets", "envoy", "Deployment/recurve-envoy", "spec.replicas", 1),
    ("front_servers", "envoy", "ConfigMap/recurve-envoy", ENVOY_YAML, Edit("address: recurve-headless", "address: recurve")),
    ("front_servers", "envoy", "ConfigMap/recurve-envoy", ENVOY_YAML, Edit("port_value: 50051", "port_value: 50052")),
    ("front_servers", "envoy", "ConfigMap/recurve-envoy", ENVOY_YAML, Edit("type: STRICT_DNS", "type: LOGICAL_DNS")),
    ("front_servers", "envoy", "ConfigMap/recurve-envoy", ENVOY_YAML, Edit("\n#upstream-tls ", "\n")),
    ("front_servers", "envoy", "Service/recurve-headless", "metadata.name", "recurve-servers-headless"),
    ("front_servers", "envoy", "Service/recurve-headless", "spec.ports.0.port", 50052),
    ("front_servers", "envoy", "Deployment/recurve", f"{SERVER}.args.1", "--tls_cert=/etc/recurve-tls/tls.crt"),
    ("front_servers", "envoy", "Deployment/recurve", f"{SERVER}.args.1", "--tls_client_ca=/etc/recurve-client-ca/ca.crt"),
    ("front_ports", "envoy", "Deployment/recurve-envoy", f"{SERVER}.ports.0.containerPort", 8443),
    ("front_ports", "envoy", "ConfigMap/recurve-envoy", ENVOY_YAML, Edit("port_value: 443", "port_value: 8443")),
    ("front_ports", "envoy", "Deployment/recurve-envoy", f"{POD}.securityContext.sysctls", DROP),
    ("front_ports", "envoy", "Deployment/recurve-envoy", f"{SERVER}.readinessProbe.httpGet.path", "/healthz"),
    ("front_ports", "envoy", "Deployment/recurve-envoy", f"{SERVER}.livenessProbe.httpGet.port", "grpc"),
    ("front_ports", "envoy", "ConfigMap/recurve-envoy", ENVOY_YAML, Edit("path: /ready", "path: /live")),
    ("front_paths", "envoy", "Deployment/recurve-envoy", "mountPath=/etc/envoy/tls", "/etc/envoy-tls"),
    ("front_paths", "envoy", "Deployment/recurve-envoy", "key=tls.key", DROP),
    ("front_paths", "envoy", "ConfigMap/recurve-envoy", "data.certificate/yaml", DROP),
    ("front_paths", "envoy", "ConfigMap/recurve-envoy", "data.certificate/yaml", Edit("tls/tls.key", "tls/tls.pem")),
    ("front_paths", "envoy", "ConfigMap/recurve-envoy", ENVOY_YAML,
     Edit("path: /etc/envoy/certificate", "path: /etc/front/certificate")),
    ("front_limits", "envoy", "Deployment/recurve-envoy", f"{SERVER}.resources.limits.memory", "1Gi"),
    ("front_limits", "envoy", "Deployment/recurve-envoy", f"{SERVER}.resources.requests.cpu", DROP),
    ("front_limits", "envoy", "ConfigMap/recurve-envoy", ENVOY_YAML,
     Edit("max_heap_size_bytes: 1073741824", "max_heap_size_bytes: 2147483648")),
    ("front_end", "envoy", "Deployment/recurve-envoy", f"{POD}.terminationGracePeriodSeconds", 75),
    ("front_end", "envoy", "Deployment/recurve-envoy", f"{SERVER}.lifecycle", DROP),
    ("front_end", "envoy", "Deployment/recurve-envoy", f"{SERVER}.lifecycle.preStop.exec.command.2",
     Edit("sleep 75", "sleep 45")),
    ("front_end", "envoy", "ConfigMap/recurve-envoy", ENVOY_YAML, Edit("port_value: 9901", "port_value: 9900")),
    ("front_policies", "envoy", "NetworkPolicy/recurve", "spec.ingress.0.from.0",
     {"podSelector": {"matchLabels": {"recurve-client": "true"}}}),
    ("front_policies", "envoy", "NetworkPolicy/recurve", "spec.ingress.0.from.1", {"namespaceSelector": {}}),
    ("front_policies", "envoy", "NetworkPolicy/recurve", "spec.ingress.0.from", DROP),
    ("front_policies", "envoy", "NetworkPolicy/recurve-envoy", "spec.egress.1", DROP),
    ("front_policies", "envoy", "NetworkPolicy/recurve-envoy", "spec.egress.0", DROP),
    ("front_policies", "envoy", "NetworkPolicy/recurve-envoy", "spec.ingress.0.from", [{"podSelector": {}}]),
    ("front_accepts", "envoy", "ConfigMap/recurve-envoy", ENVOY_YAML, Edit("stream_idle_timeout", "stream_idle_timeouts")),
    ("front_accepts", "envoy", "Deployment/recurve-envoy", f"{SERVER}.image", "envoyproxy/envoy:v1.27.0"),
    ("gateway_servers", "openai", "Deployment/recurve-openai", f"{SERVER}.args.0", "--server=dns:///recurve:50051"),
    ("gateway_servers", "openai", "Deployment/recurve-openai", f"{SERVER}.args.0", "--server=dns:///recurve-headless:50052"),
    ("gateway_servers", "openai", "Deployment/recurve", f"{SERVER}.args.1", "--tls_cert=/etc/recurve-tls/tls.crt"),
    ("gateway_servers", "openai", "Deployment/recurve", f"{SERVER}.args.1", "--access_file=/etc/recurve-access/access.json"),
    ("gateway_servers", "openai-secured", "Deployment/recurve-openai", f"{SERVER}.args.8", DROP),
    ("gateway_servers", "openai-secured", "Deployment/recurve-openai", f"{SERVER}.args.9", DROP),
    ("gateway_ports", "openai", "Deployment/recurve-openai", f"{SERVER}.ports.0.containerPort", 8001),
    ("gateway_ports", "openai", "Deployment/recurve-openai", f"{SERVER}.args.3", "--listen=127.0.0.1:8000"),
    ("gateway_ports", "openai", "Deployment/recurve-openai", f"{SERVER}.readinessProbe.httpGet.path", "/healthz"),
    ("gateway_ports", "openai", "Deployment/recurve-openai", f"{SERVER}.livenessProbe.httpGet.path", "/readyz"),
    ("gateway_ports", "openai", "Deployment/recurve-openai", f"{SERVER}.readinessProbe.httpGet.port", "http"),
    ("gateway_end", "openai", "Deployment/recurve-openai", f"{POD}.terminationGracePeriodSeconds", 80),
    ("gateway_end", "openai", "Deployment/recurve-openai", f"{POD}.terminationGracePeriodSeconds", DROP),
    ("gateway_end", "openai", "Deployment/recurve-openai", f"{SERVER}.args.5", "--drain_grace=1s"),
    ("gateway_end", "openai", "Deployment/recurve-openai", f"{SERVER}.args.6", "--drain_budget=2m"),
    ("gateway_end", "openai", "Deployment/recurve-openai", f"{SERVER}.args.6", DROP),
    ("gateway_memory", "openai", "Deployment/recurve-openai", f"{SERVER}.resources.limits.memory", "2Gi"),
    ("gateway_memory", "openai", "Deployment/recurve-openai", f"{SERVER}.resources.requests.cpu", DROP),
    ("gateway_policies", "openai", "NetworkPolicy/recurve-openai", "spec.egress.0.to.0.podSelector.matchLabels", {"app": "recurve"}),
    ("gateway_policies", "openai", "NetworkPolicy/recurve-openai", "spec.egress.1", DROP),
    ("gateway_policies", "openai", "NetworkPolicy/recurve-openai", "spec.ingress.0.from", [{"podSelector": {}}]),
    ("gateway_policies", "fronts", "NetworkPolicy/recurve", "spec.ingress.0.from.1", DROP),
    ("gateway_policies", "secured", "Deployment/recurve-openai", "spec.template.metadata.labels.recurve-client", DROP),
    ("gateway_flags", "openai", "Deployment/recurve-openai", f"{SERVER}.args.1", "--attempts=1"),
    ("gateway_flags", "openai", "Deployment/recurve-openai", f"{SERVER}.args.8", "--slots=4"),
    ("gateway_flags", "openai", "Deployment/recurve-openai", f"{SERVER}.args.8", "--server_token_file=/etc/token"),
    ("gateway_flags", "openai-secured", "Deployment/recurve-openai", "key=token", DROP),
    ("security", "openai", "Deployment/recurve-openai", f"{SERVER}.securityContext.readOnlyRootFilesystem", False),
    ("ports", "fronts", "PodMonitor/recurve-openai", "spec.podMetricsEndpoints.0.port", "http-metrics"),
    ("ports", "fronts", "PodMonitor/recurve-envoy", "spec.podMetricsEndpoints.0.port", "admin"),
    ("selectors", "podmonitor", "PodMonitor/recurve-openai", "spec.selector.matchLabels", {"app.kubernetes.io/name": "openai"}),
    ("ports", "openai", "Service/recurve-openai", "spec.ports.0.targetPort", "https"),
    ("services", "openai", "Service/recurve-openai", "spec.ports.0.appProtocol", "https"),
    ("targets", "openai", "Deployment/recurve-openai", "spec.replicas", 1),
    ("routes", "gateway", "GRPCRoute/recurve", "spec.rules.0.backendRefs.0.name", "server"),
    ("routes", "gateway", "GRPCRoute/recurve", "spec.rules.0.backendRefs.0.port", 443),
    ("namespaces", "cpu", "Service/recurve", "metadata.namespace", "default"),
    ("schemas", "cpu", "Deployment/recurve", f"{POD}.terminationGracePeriod", 120),
    ("schemas", "cpu", "Deployment/recurve", f"{SERVER}.livenessProbe.periodSeconds", "10s"),
    ("schemas", "cpu", "Deployment/recurve", "spec.selector", DROP),
    ("schemas", "model-image-volume", "Deployment/recurve", "pullPolicy=IfNotPresent", 5),
    ("schemas", "hpa", "HorizontalPodAutoscaler/recurve", "spec.maxReplicas", DROP),
    ("schemas", "production", "NetworkPolicy/recurve", "spec.ingress.0.form", []),
    ("schemas", "production", "PodMonitor/recurve", "spec.podMetricsEndpoints.0.scrapeInterval", "10s"),
    ("schemas", "production", "PodMonitor/recurve", "spec.podMetricsEndpoints.0.interval", "often"),
    ("schemas", "production", "ScaledObject/recurve", "spec.triggers.0.metadata.threshold", 2048),
    ("schemas", "production", "ScaledObject/recurve", "spec.maxReplicas", 8),
    ("schemas", "production", "PrometheusRule/recurve", "spec.groups.1.rules.0.expr", DROP),
    ("schemas", "gateway", "GRPCRoute/recurve", "spec.rules.0.backendRefs.0.name", DROP),
    ("metric_names", "production", "PrometheusRule/recurve", "spec.groups.1.rules.1.expr", "recurve_up == 0"),
    ("metric_names", "production", "PrometheusRule/recurve", "spec.groups.1.rules.1.expr",
     'recurve_time_to_first_token_seconds_bucket{le="3"} > 0'),
    ("metric_names", "production", "PrometheusRule/recurve", "spec.groups.1.rules.1.expr", 'recurve_limit{limit="slot"} > 0'),
    ("metric_names", "production", "PrometheusRule/recurve", "spec.groups.1.rules.1.expr", "sum by (kind) (recurve_ready) > 0"),
    ("metric_names", "production", "PrometheusRule/recurve", "spec.groups.0.rules.0.record", "pod:recurve_queue_time:p90"),
    ("metric_names", "production", "ScaledObject/recurve", "spec.triggers.0.metadata.query", "sum(recurve_tokens_waiting)"),
    ("metric_names", "production", "PrometheusRule/recurve", "spec.groups.1.rules.1.expr", "recurve_gateway_up == 0"),
    ("metric_names", "production", "PrometheusRule/recurve", "spec.groups.1.rules.1.expr",
     'envoy_cluster_membership_healthy{envoy_cluster_name="servers"} == 0'),
    ("metric_names", "hpa", "HorizontalPodAutoscaler/recurve", "spec.metrics.0.pods.metric.name", "recurve_requests_waiting"),
    ("runbooks", "production", "PrometheusRule/recurve", "spec.groups.1.rules.0.annotations.runbook_url", "docs/operations.md#nothing"),
    ("runbooks", "production", "PrometheusRule/recurve", "spec.groups.1.rules.0.labels.severity", "critical"),
    # Pools and their pickers.
    ("pools", "inference-pool", "InferencePool/recurve", "spec.selector.matchLabels", {"app.kubernetes.io/name": "recurve-picker"}),
    ("pools", "inference-pool", "InferencePool/recurve", "spec.targetPorts.0.number", 50052),
    ("pools", "inference-pool", "InferencePool/recurve", "spec.appProtocol", DROP),
    ("pools", "inference-pool", "InferencePool/recurve", "spec.appProtocol", "http"),
    ("pools", "inference-pool", "InferencePool/recurve", "spec.endpointPickerRef.name", "picker"),
    ("pools", "inference-pool", "InferencePool/recurve", "spec.endpointPickerRef.port.number", 9003),
    ("pools", "inference-pool", "Deployment/recurve-picker", f"{SERVER}.args.0", "--pool-name=another"),
    ("pools", "inference-pool", "Deployment/recurve", f"{SERVER}.args.1", "--tls_cert=/etc/tls/tls.crt"),
    ("pickers", "inference-pool", "ConfigMap/recurve-picker", PICKER_YAML, Edit("port: 9090", "port: 50051")),
    ("pickers", "inference-pool", "ConfigMap/recurve-picker", PICKER_YAML, Edit("      port: 9090\n", "")),
    ("pickers", "inference-pool", "ConfigMap/recurve-picker", PICKER_YAML, Edit("defaultEngine: recurve", "defaultEngine: vllm")),
    ("pickers", "inference-pool", "ConfigMap/recurve-picker", PICKER_YAML, Edit("  - type: queue-scorer\n", "")),
    ("pickers", "inference-pool", "ConfigMap/recurve-picker", PICKER_YAML, Edit("      - pluginRef: max-score-picker\n", "")),
    ("pickers", "inference-pool", "ConfigMap/recurve-picker", PICKER_YAML,
     Edit("          kvUsageSpec: recurve_kv_cache_usage_ratio\n", "")),
    ("picker_metrics", "inference-pool", "ConfigMap/recurve-picker", PICKER_YAML,
     Edit("recurve_requests_waiting", "recurve_requests_queued")),
    ("picker_metrics", "inference-pool", "ConfigMap/recurve-picker", PICKER_YAML,
     Edit("recurve_kv_cache_usage_ratio", "recurve_kv_pages")),
    ("picker_schema", "inference-pool", "ConfigMap/recurve-picker", PICKER_YAML, Edit("kvUsageSpec", "kvCacheUsageSpec")),
    ("picker_schema", "inference-pool", "ConfigMap/recurve-picker", PICKER_YAML, Edit("llm-d.ai/v1alpha1", "llm-d.ai/v1")),
    ("picker_schema", "inference-pool", "ConfigMap/recurve-picker", PICKER_YAML, Edit("weight: 3", "weight: high")),
    ("schemas", "inference-pool", "InferencePool/recurve", "spec.selector.matchLabels", DROP),
    ("schemas", "inference-pool", "InferencePool/recurve", "spec.targetPorts", DROP),
    ("schemas", "inference-pool", "InferencePool/recurve", "spec.targetPortNumber", 50051),
    ("schemas", "inference-pool", "InferencePool/recurve", "spec.endpointPickerRef.port", DROP),
    ("schemas", "inference-pool", "GRPCRoute/recurve-pool", "spec.rules.0.backendRefs.0.kind", DROP),
    ("schemas", "openai-route", "HTTPRoute/recurve-openai", "spec.rules.0.backendRefs.0.port", DROP),
    ("schemas", "openai-route", "HTTPRoute/recurve-openai", "spec.rules.0.timeouts.request", "never"),
    ("routes", "inference-pool", "GRPCRoute/recurve-pool", "spec.rules.0.backendRefs.0.name", "pool"),
    ("routes", "openai-route", "HTTPRoute/recurve-openai", "spec.rules.0.backendRefs.0.name", "recurve-gateway"),
    ("routes", "openai-route", "HTTPRoute/recurve-openai", "spec.rules.0.backendRefs.0.port", 8001),
    ("routed_services", "inference-pool", "GRPCRoute/recurve-pool", "spec.rules.0.matches.0.method.service", "vllm.VllmEngine"),
    ("routed_services", "inference-pool", "GRPCRoute/recurve-pool", "spec.rules.0.matches.0.method.service",
     "recurve.v1.GenerationService"),
    ("security", "inference-pool", "Deployment/recurve-picker", f"{POD}.automountServiceAccountToken", False),
    ("security", "inference-pool", "RoleBinding/recurve-picker", "subjects", []),
    ("services", "inference-pool", "Service/recurve-picker", "spec.ports.0.appProtocol", DROP),
    ("selectors", "inference-pool", "InferencePool/recurve", "spec.selector.matchLabels", {"app": "recurve"}),
    ("mounts", "inference-pool", "ConfigMap/recurve-picker", "metadata.name", "picker"),
    # KServe.
    ("kserve", "kserve", "InferenceService/recurve", "spec.predictor.model.runtime", "triton"),
    ("kserve", "kserve", "InferenceService/recurve", "spec.predictor.model.modelFormat.version", "2"),
    ("kserve", "kserve", "InferenceService/recurve", "spec.predictor.model.protocolVersion", "v2"),
    ("kserve", "kserve", "InferenceService/recurve", "spec.predictor.minReplicas", 1),
    ("kserve", "kserve", "InferenceService/recurve", "spec.predictor.terminationGracePeriodSeconds", 60),
    ("kserve", "kserve", "InferenceService/recurve", "spec.predictor.securityContext.fsGroup", DROP),
    ("kserve", "kserve", "InferenceService/recurve", "spec.predictor.automountServiceAccountToken", DROP),
    ("kserve", "kserve", "ServingRuntime/recurve", "spec.protocolVersions", ["v1"]),
    ("kserve", "kserve", "ServingRuntime/recurve", "spec.containers.0.name", "server"),
    ("kserve", "kserve", "ServingRuntime/recurve", "spec.containers.0.ports.0.name", "http"),
    ("kserve", "kserve", "ServingRuntime/recurve", "spec.containers.0.ports.0.containerPort", 8080),
    ("kserve", "kserve", "ServingRuntime/recurve", "spec.containers.0.args.0", "--model=/models/demo"),
    ("kserve", "kserve", "ServingRuntime/recurve", "spec.containers.0.args.4", "--log_form=json"),
    ("kserve", "kserve", "ServingRuntime/recurve", "spec.containers.0.args.6", "--drain_budget=5m"),
    ("kserve", "kserve", "ServingRuntime/recurve", "spec.annotations.prometheus/kserve/io/port", "8080"),
    ("kserve", "kserve", "ServingRuntime/recurve", "spec.containers.0.readinessProbe.grpc.port", 8080),
    ("kserve", "kserve", "ServingRuntime/recurve", "spec.containers.0.resources.limits.cpu", "4"),
    ("kserve", "kserve", "ServingRuntime/recurve", "spec.containers.0.securityContext.readOnlyRootFilesystem", False),
    ("schemas", "kserve", "ServingRuntime/recurve", "spec.containers", DROP),
    ("schemas", "kserve", "ServingRuntime/recurve", "spec.supportedModelFormats.0.name", DROP),
    ("schemas", "kserve", "InferenceService/recurve", "spec.predictor.model.modelFormat", DROP),
    ("schemas", "kserve", "InferenceService/recurve", "spec.predictor.model.storageUri", "recurve-model"),
    ("schemas", "kserve", "InferenceService/recurve", "spec.predictor.minReplica", 2),
    ("namespaces", "kserve", "InferenceService/recurve", "metadata.namespace", "default"),
]


def _steps(field: str) -> list:
    return [int(part) if part.isdigit() else part.replace("/", ".") for part in field.split(".")]


def _resolve(names: list, thing: dict) -> list:
    """Names of labels and files have dots and slashes of their own: the form in which the field exists."""
    resolved, at = [], thing
    for name in names:
        if isinstance(at, dict) and name not in at and isinstance(name, str):
            alike = [key for key in at if key.replace("/", ".") == name]
            name = alike[0] if alike else name
        resolved.append(name)
        at = at[name] if isinstance(at, list) and name < len(at) or isinstance(at, dict) and name in at else {}
    return resolved


def _holders(thing, name: str, value: str):
    """Objects in which the field `name` is `value`, with what they are in."""
    if isinstance(thing, dict):
        if thing.get(name) == value:
            yield thing
        for inner in thing.values():
            yield from _holders(inner, name, value)
    elif isinstance(thing, list):
        for inner in thing:
            yield from _holders(inner, name, value)


def _name(thing: dict) -> str:
    """Without the hash of a generated ConfigMap's content."""
    name = thing["metadata"]["name"]
    return name.rpartition("-")[0] if thing["kind"] == "ConfigMap" and re.search(r"-[a-z0-9]{10}$", name) else name


def broken(objects: list[dict], target: str, field: str, value) -> list[dict]:
    """A copy of the objects with one field changed. NAME=VALUE in place of a path finds the one that is so. With DROP
    an element of a list goes as a whole."""
    objects = copy.deepcopy(objects)
    kind, _, name = target.partition("/")
    thing = next(o for o in objects if o["kind"] == kind and name in ("", _name(o)))
    if "=" in field:
        field_name, _, old = field.partition("=")
        holder, last = next(_holders(thing, field_name, old)), field_name
        if value is DROP:
            for items in list(_lists(thing)):
                items[:] = [item for item in items if item is not holder]
            holder[last] = "dropped"
            return objects
        holder[last] = value
        return objects
    *path, last = _resolve(_steps(field), thing)
    holder = thing
    for name in path:
        holder = holder[name]
    if value is DROP:
        del holder[last]
    elif isinstance(holder, list) and last == len(holder):
        holder.append(value)
    else:
        holder[last] = value(holder[last]) if isinstance(value, Edit) else value
    return objects


def _lists(thing):
    if isinstance(thing, list):
        yield thing
    for inner in thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list) else ():
        yield from _lists(inner)
