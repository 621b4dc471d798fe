# SPDX-License-Identifier: Apache-2.0
"""What the pods tell the server: the ConfigMap's file and the arguments, as the server itself reads them."""

from __future__ import annotations

import atexit
import functools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from tests.deploy.rendering import ROOT, find, named, pods, servers

SERVER = pathlib.Path(os.environ.get("RECURVE_BIN", ROOT / "build" / "cpu" / "bin")) / "recurve-server"

# What an operator makes before; docs/kubernetes.md says how.
MADE_BY_OPERATORS = {
    ("Secret", "recurve-tls"): {"tls.crt", "tls.key"},
    ("Secret", "recurve-access"): {"access.json"},
    ("Secret", "recurve-envoy-tls"): {"tls.crt", "tls.key"},
    ("ConfigMap", "recurve-client-ca"): {"ca.crt"},
    ("ConfigMap", "recurve-server-ca"): {"ca.crt"},
    ("Secret", "recurve-openai-token"): {"token"},
}
PATH_FLAGS = ("model", "tls_cert", "tls_key", "tls_client_ca", "access_file")


def seconds(duration: str) -> float:
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    parts = re.findall(r"([0-9.]+)(ms|h|m|s)", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration} is no duration")
    return sum(float(number) * units[unit] for number, unit in parts)


def read_config(text: str) -> dict[str, str]:
    """The flags of a configuration file, docs/configuration.md; the server judges it, this only reads."""
    flags = {}
    for line in text.splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if line:
            name, _, value = line.partition("=")
            flags[name.strip()] = value.strip().strip("\"'") or "true"
    return flags


class Settings:
    """What the server of a pod is told, and where its files come from."""

    def __init__(self, objects: list[dict], pod: dict, container: dict):
        self.objects, self.pod, self.container = objects, pod, container
        self.arguments = [argument.removeprefix("--").partition("=")[::2] for argument in container["args"]]
        self.config = self.content(dict(self.arguments).get("config", ""))
        self.flags = {**read_config(self.config or ""), **dict(self.arguments)}

    def volume_of(self, path: str) -> tuple[dict, str] | None:
        """The volume under which a path lies, and the rest of the path."""
        mounts = [m for m in self.container.get("volumeMounts", []) if path.startswith(m["mountPath"].rstrip("/") + "/")]
        if not mounts:
            return None
        mount = max(mounts, key=lambda m: len(m["mountPath"]))
        volumes = [v for v in self.pod.get("volumes", []) if v["name"] == mount["name"]]
        return (volumes[0], path[len(mount["mountPath"]):].lstrip("/")) if volumes else None

    def content(self, path: str) -> str | None:
        """Of a file that a ConfigMap here has."""
        found = self.volume_of(path)
        if found is None or "configMap" not in found[0]:
            return None
        maps = find(self.objects, "ConfigMap", found[0]["configMap"]["name"])
        return maps[0].get("data", {}).get(found[1]) if maps else None


def _settings(objects: list[dict]):
    for deployment, pod, container in servers(objects):
        yield deployment, Settings(objects, pod, container)


def _keys(objects: list[dict], kind: str, name: str) -> set[str] | None:
    """Of a Secret or ConfigMap; None if there is none."""
    for thing in find(objects, kind, name):
        return set(thing.get("data", {})) | set(thing.get("stringData", {}))
    return MADE_BY_OPERATORS.get((kind, name))


def volume_files(objects: list[dict], volume: dict) -> tuple[set[str] | None, list[str]]:
    """The files of a volume, None if nobody can say here; and what is wrong with where they come from."""
    for field, kind, name_field in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
        if field not in volume:
            continue
        source = volume[field]
        keys = _keys(objects, kind, source[name_field])
        if keys is None:
            return set(), [f"volume {volume['name']}: there is no {kind} {source[name_field]}"]
        items = source.get("items", [{"key": key, "path": key} for key in sorted(keys)])
        missing = [f"volume {volume['name']}: {kind} {source[name_field]} has no key {item['key']}"
                   for item in items if item["key"] not in keys]
        return {item["path"] for item in items}, missing
    if "persistentVolumeClaim" in volume:
        claim = volume["persistentVolumeClaim"]["claimName"]
        if not find(objects, "PersistentVolumeClaim", claim):
            return None, [f"volume {volume['name']}: there is no claim {claim}"]
    return None, []


def mounts(objects: list[dict]) -> list[str]:
    """Volumes are mounted, mounts have volumes, and what they hold exists."""
    findings = []
    for deployment, pod, container in pods(objects):
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        findings += [f"{named(deployment)}: there is no volume {name}" for name in sorted(mounted - volumes)]
        findings += [f"{named(deployment)}: volume {name} is not mounted" for name in sorted(volumes - mounted)]
        for volume in pod.get("volumes", []):
            findings += [f"{named(deployment)}: {text}" for text in volume_files(objects, volume)[1]]
    return findings


def paths(objects: list[dict]) -> list[str]:
    """What flags name lies on a volume, or in the image."""
    findings = []
    image = re.findall(r"^COPY (?!--from)\S+ (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    for deployment, settings in _settings(objects):
        if settings.config is None:
            findings.append(f"{named(deployment)}: --config names no file of a ConfigMap")
        for flag in PATH_FLAGS:
            path = settings.flags.get(flag)
            if path is None or path in image:
                continue
            found = settings.volume_of(path)
            if found is None:
                findings.append(f"{named(deployment)}: {flag} is {path}, which is neither mounted nor in the image")
                continue
            files = volume_files(objects, found[0])[0]
            if files is not None and found[1] not in files:
                findings.append(f"{named(deployment)}: {flag} is {path}; its volume has {sorted(files)}")
    return findings


@functools.cache
def credential_files() -> dict[str, str]:
    """Files in the place of those that operators make, by flag."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="recurve-credentials-"))
    atexit.register(shutil.rmtree, folder)
    cert, key, access = folder / "tls.crt", folder / "tls.key", folder / "access.json"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
                    "-subj", "/CN=recurve", "-keyout", key, "-out", cert], capture_output=True, check=True)
    access.write_text('{"tokens": [{"id": "a", "sha256": "%s", "tenant": "a"}]}' % ("0" * 64))
    return {"tls_cert": str(cert), "tls_key": str(key), "tls_client_ca": str(cert), "access_file": str(access)}


def known_flags() -> set[str]:
    done = subprocess.run([SERVER, "--help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"^ +--([a-z_]+)", done.stdout, re.M))


def flags(objects: list[dict]) -> list[str]:
    """The server itself reads file and arguments: what it would refuse it refuses here. It ends because the model is
    missing, which it looks for last. Its ports and files are others, so that it can run here."""
    findings, known = [], known_flags()
    for deployment, settings in _settings(objects):
        names = [name for name, _ in settings.arguments]
        findings += [f"{named(deployment)}: --{name} stands there twice" for name in sorted(set(names))
                     if names.count(name) > 1]
        findings += [f"{named(deployment)}: the server has no flag {name}" for name in settings.flags if name not in known]
        if findings:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            config = pathlib.Path(scratch) / "recurve-server.toml"
            config.write_text(settings.config or "")
            here = {"config": str(config), "model": f"{scratch}/no-model", **credential_files(),
                    **dict.fromkeys(("listen", "metrics_listen", "health_listen"), "127.0.0.1:0")}
            told = {"model": "", "listen": "", "metrics_listen": "", **dict(settings.arguments)}
            arguments = [f"--{name}={here.get(name, value)}" for name, value in told.items()]
            done = subprocess.run([SERVER, *arguments], capture_output=True, text=True, timeout=60, check=False)
            if done.returncode != 1 or "no-model" not in done.stderr and "cuda" not in done.stderr:
                findings.append(f"{named(deployment)}: the server says {done.stderr.strip()} (exit code {done.returncode})")
    return findings


CHECKS = (mounts, paths, flags)
