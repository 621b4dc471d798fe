# SPDX-License-Identifier: Apache-2.0
"""deploy/kubernetes, rendered by the real kubectl, holds together; and each check notices what it is there for."""

import re
import pathlib
import shutil
import subprocess
import tempfile
import textwrap
import unittest

from tests.deploy import (flag_checks, front_checks, gateway_checks, inference_checks, metric_checks, pod_checks, reference_checks,
                          schema_checks)
from tests.deploy.mutations import MUTATIONS, broken
from tests.deploy.rendering import ROOT, Copy, all_variants
from tests.deploy.envoy_harness import Authority, Configuration, Front
from tests.deploy.metric_checks import Live
from tests.e2e.gateway import Gateway
from tests.e2e.harness import Server, request

VARIANTS = {}
LIVE = None


def setUpModule():
    global LIVE
    VARIANTS.update(all_variants())
    server = Server()
    try:
        list(server.stub.Generate(request(max_tokens=2)))
        gateway = Gateway(server.address)
        try:
            gateway.post("/v1/completions", {"prompt": "x", "max_tokens": 1})
            LIVE = Live(server.metrics() + gateway.metrics() + envoy_metrics(server.address))
        finally:
            gateway.kill()
    finally:
        server.kill()


def envoy_metrics(server):
    with tempfile.TemporaryDirectory(prefix="recurve-envoy-") as scratch:
        with Front(Configuration(), [server], Authority(pathlib.Path(scratch) / "authority")) as front:
            return front.admin("/stats/prometheus")


def metric_names(objects):
    return metric_checks.metric_names(objects, LIVE)


def picker_metrics(objects):
    return inference_checks.picker_metrics(objects, LIVE)


CHECKS = {check.__name__: check for check in (
    *pod_checks.CHECKS, *flag_checks.CHECKS, *front_checks.CHECKS, *gateway_checks.CHECKS, *reference_checks.CHECKS, *schema_checks.CHECKS,
    *inference_checks.CHECKS, *metric_checks.CHECKS, metric_names, picker_metrics)}


def variant(name):
    """By its last component."""
    return next(objects for full, objects in VARIANTS.items() if full.rpartition("/")[2] == name)


class ManifestsTest(unittest.TestCase):
    def test_nothing_is_wrong(self):
        for name, objects in VARIANTS.items():
            for check_name, check in CHECKS.items():
                with self.subTest(variant=name, check=check_name):
                    self.assertEqual(check(objects), [])

    def test_each_check_notices_what_is_broken(self):
        for check, where, target, field, value in MUTATIONS:
            with self.subTest(check=check, object=target, field=field, value=value):
                self.assertNotEqual(CHECKS[check](broken(variant(where), target, field, value)), [])

    def test_each_check_has_a_broken_copy(self):
        # Dashboards have theirs in monitoring_test.py.
        self.assertEqual(set(CHECKS) - {"dashboard_forms"}, {mutation[0] for mutation in MUTATIONS})

    def test_each_component_adds_what_it_says(self):
        kinds = {
            "openai-route": ["ServiceAccount", "Service", "Deployment", "PodDisruptionBudget", "HTTPRoute", "NetworkPolicy"],
            "envoy": ["ServiceAccount", "ConfigMap", "Service", "Deployment", "PodDisruptionBudget", *["NetworkPolicy"] * 2],
            "gateway": "GRPCRoute", "grafana": "ConfigMap", "hpa": "HorizontalPodAutoscaler", "keda": "ScaledObject",
            "inference-pool": ["ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Service", "Deployment", "GRPCRoute",
                               "InferencePool"],
            "openai": ["ServiceAccount", "Service", "Deployment", "PodDisruptionBudget", "NetworkPolicy"],
            "model-pvc": "PersistentVolumeClaim", "networkpolicy": "NetworkPolicy", "podmonitor": ["PodMonitor"] * 3,
            "prometheusrule": "PrometheusRule"}
        plain = [(o["kind"], o["metadata"]["name"]) for o in VARIANTS["base"]]
        for name, kind in kinds.items():
            with self.subTest(component=name):
                added = [o["kind"] for o in variant(name) if (o["kind"], o["metadata"]["name"]) not in plain]
                self.assertEqual(added, kind if isinstance(kind, list) else [kind])

    def test_a_patch_that_fits_nothing_is_refused(self):
        with Copy() as copy:
            path = copy.root / "components" / "tls" / "kustomization.yaml"
            path.write_text(path.read_text().replace("replace\n        path: /spec/ports/0/appProtocol",
                                                     "replace\n        path: /spec/ports/7/appProtocol"))
            with self.assertRaises(RuntimeError):
                copy.with_components("tls")

    @staticmethod
    def blocks_of_the_docs(front):
        """Of kubernetes.md what is indented: in its section on Envoy, or in all others."""
        sections = re.split(r"^(?=## )", (ROOT / "docs" / "kubernetes.md").read_text(), flags=re.M)
        text = "".join(section for section in sections if section.startswith("## Envoy in front") == front)
        return [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.M)]

    def holds_together(self, objects):
        for name, check in CHECKS.items():
            with self.subTest(check=name):
                self.assertEqual(check(objects), [])

    def test_the_overlay_of_the_docs_holds_together(self):
        pieces = [block for block in self.blocks_of_the_docs(front=False)
                  if re.match(r"\s*(apiVersion: kustomize|patches:|configMapGenerator:)", block)]
        self.assertEqual(len(pieces), 3)
        with Copy() as copy:
            mine = copy.root / "overlays" / "mine"
            shutil.copytree(copy.root / "overlays" / "cpu", mine)
            shutil.copy(copy.root / "base" / "recurve-server.toml", mine)
            (mine / "kustomization.yaml").write_text("".join(pieces))
            objects = copy.overlay("mine")
        self.holds_together(objects)
        self.assertIn("registry.example/recurve:0.1.0", str(objects))

    def test_the_front_of_the_docs_holds_together(self):
        _, command, component = self.blocks_of_the_docs(front=True)
        for variant, components in (("mtls", ["envoy"]), ("upstream-tls", ["envoy", "tls"])):
            with self.subTest(variant=variant), Copy() as copy:
                mine = copy.root / "overlays" / "mine"
                shutil.copytree(copy.root / "overlays" / "cpu", mine)
                own = (mine / "kustomization.yaml").read_text()
                names = ", ".join(f"../../components/{name}" for name in components)
                (mine / "kustomization.yaml").write_text(f"{own}components: [{names}, front]\n")
                self.assertIn("#mtls ", command)
                subprocess.run(command.replace("#mtls ", f"#{variant} "), shell=True, cwd=copy.root.parents[1], check=True)
                (mine / "front" / "kustomization.yaml").write_text(component)
                objects = copy.overlay("mine")
                self.holds_together(objects)
                front = front_checks.front_pods(objects)[0]
                turned_on = "require_client_certificate: true" if variant == "mtls" else "sni: recurve"
                self.assertIn(f" {turned_on}", front.files[front.path])
                self.assertNotIn(f"#{variant} ", front.files[front.path].split("node:")[1])
                self.assertEqual(next(o for o in objects if o["metadata"]["name"] == "recurve-envoy" and o["kind"] == "Service")
                                 ["spec"]["type"], "LoadBalancer")

    def test_the_policies_come_once(self):
        with Copy() as copy, self.assertRaisesRegex(RuntimeError, "already registered id: NetworkPolicy"):
            copy.with_components("envoy", "networkpolicy")

    def test_a_changed_file_of_flags_rolls_the_pods(self):
        def mounted(objects):
            deployment = next(o for o in objects if o["kind"] == "Deployment")
            return deployment["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]
        with Copy() as copy:
            path = copy.root / "base" / "recurve-server.toml"
            path.write_text(path.read_text().replace("drain_budget = 60s", "drain_budget = 50s"))
            self.assertNotEqual(mounted(copy.with_components()), mounted(VARIANTS["base"]))


if __name__ == "__main__":
    unittest.main()
