# SPDX-License-Identifier: Apache-2.0
"""The manifests of deploy/kubernetes as the real kubectl renders them."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = DEPLOY / "kubernetes"
KUBECTL = pathlib.Path(sys.executable).parent / "kubectl"  # of tests/requirements_operations.txt

# Components that stand on another.
NEEDS = {"mutual-tls": ["tls"], "access": ["tls"], "openai-secured": ["tls", "access", "openai"], "openai-route": ["openai"]}

# What stands in front of the servers, and all that watches it.
FRONTS = ("openai", "envoy", "podmonitor", "prometheusrule", "grafana")


def overlays() -> list[str]:
    return sorted(path.name for path in (MANIFESTS / "overlays").iterdir())


def components() -> list[str]:
    return sorted(path.name for path in (MANIFESTS / "components").iterdir())


def kustomize(folder: pathlib.Path) -> list[dict]:
    """The objects of a folder; RuntimeError with what kubectl said if it cannot render them."""
    done = subprocess.run([str(KUBECTL), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


class Copy:
    """A copy of deploy/ that may be changed, `root` its folder kubernetes; use with `with`."""

    def __enter__(self) -> Copy:
        self.scratch = tempfile.TemporaryDirectory(prefix="recurve-deploy-")
        self.root = pathlib.Path(self.scratch.name) / "deploy" / "kubernetes"
        shutil.copytree(DEPLOY, self.root.parent)
        return self

    def __exit__(self, *_) -> None:
        self.scratch.cleanup()

    def overlay(self, name: str) -> list[dict]:
        return kustomize(self.root / "overlays" / name)

    def with_components(self, *names: str) -> list[dict]:
        """The base with these components, and those that they need."""
        needed = [other for name in names for other in NEEDS.get(name, [])]
        folder = self.root / "overlays" / "of-the-test"
        folder.mkdir(exist_ok=True)
        text = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["../../base"],
            "components": [f"../../components/{name}" for name in dict.fromkeys([*needed, *names])],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
        return kustomize(folder)


def all_variants() -> dict[str, list[dict]]:
    """Every overlay, the base alone, with each component, with all of FRONTS, and with what keeps others out, by name."""
    with Copy() as copy:
        variants = {f"overlays/{name}": copy.overlay(name) for name in overlays()}
        variants["base"] = copy.with_components()
        for name in components():
            variants[f"components/{name}"] = copy.with_components(name)
        variants["fronts"] = copy.with_components(*FRONTS)
        variants["secured"] = copy.with_components("networkpolicy", "openai-secured")
    return variants


def find(objects: list[dict], kind: str, name: str | None = None) -> list[dict]:
    return [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]


def pods(objects: list[dict], container: str | None = None):
    """(the Deployment, its pod's spec, the container) of each; of those alone whose container has this name."""
    for deployment in find(objects, "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        for each in spec["containers"]:
            if container in (None, each["name"]):
                yield deployment, spec, each


def servers(objects: list[dict]):
    return pods(objects, "server")


def selects(selector: dict, deployment: dict) -> bool:
    """Whether its pods have these labels; no labels select nothing here."""
    return bool(selector) and selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def named(thing: dict) -> str:
    return f"{thing['kind']}/{thing['metadata']['name']}"
