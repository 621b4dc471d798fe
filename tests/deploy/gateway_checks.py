# SPDX-License-Identifier: Apache-2.0
"""What the gateway's pods (components/openai), the servers and the policies have in common. Each check returns its
findings, one sentence each."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import tempfile

from tests.deploy.flag_checks import SERVER, Settings, credential_files, seconds, volume_files
from tests.deploy.pod_checks import SLACK_SECONDS, exposed_ports
from tests.deploy.rendering import find, named, pods, selects, servers

GATEWAY = SERVER.parent / "recurve-gateway"
CANCEL_SECONDS = 10  # kCancelPatience of client/gateway/run_gateway.cc
FILE_FLAGS = ("server_tls_ca", "server_tls_cert", "server_tls_key", "server_token_file", "tls_cert", "tls_key", "tls_client_ca")


def _gateways(objects: list[dict]):
    for deployment, pod, container in pods(objects, "gateway"):
        yield deployment, pod, container, Settings(objects, pod, container)


def gateway_servers(objects: list[dict]) -> list[str]:
    """It looks for servers where there are some, speaks what they speak, and has a token where they ask for one."""
    findings = []
    for deployment, _, _, settings in _gateways(objects):
        where = named(deployment)
        called = re.fullmatch(r"dns:///([a-z-]+):(\d+)", settings.flags.get("server", ""))
        found = called and [service for service in find(objects, "Service", called[1])
                            if int(called[2]) in [port["port"] for port in service["spec"]["ports"]]]
        if not found or found[0]["spec"].get("clusterIP") != "None":
            findings.append(f"{where}: --server is {settings.flags.get('server')}, expected a headless Service and its port")
        for server, _, container in servers(objects):
            flags = {argument.partition("=")[0] for argument in container["args"]}
            for theirs, own in (("--tls_cert", "server_tls_ca"), ("--access_file", "server_token_file")):
                if (theirs in flags) != (own in settings.flags):
                    findings.append(f"{where}: --{own} and {theirs} of {named(server)} go together")
    return findings


def gateway_ports(objects: list[dict]) -> list[str]:
    """Ports of the container, of the image and of the flags are the same, and probes ask the one that needs no TLS."""
    findings = []
    asked = {"readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    for deployment, _, container, settings in _gateways(objects):
        where = named(deployment)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        listening = {"http": settings.flags.get("listen"), "metrics": settings.flags.get("metrics_listen")}
        expected = {name: f"[::]:{port}" for name, port in ports.items()}
        if listening != expected:
            findings.append(f"{where}: it listens at {listening}, its ports are {ports}")
        findings += [f"{where}: the image does not EXPOSE {port}" for port in ports.values() if port not in exposed_ports()]
        for kind, path in asked.items():
            probe = container.get(kind, {}).get("httpGet", {})
            if (probe.get("path"), probe.get("port")) != (path, "metrics"):
                findings.append(f"{where}: {kind} is {probe}; expected GET {path} at the port metrics")
    return findings


def gateway_end(objects: list[dict]) -> list[str]:
    """SIGTERM to exit fits the pod's grace period, and Services forget the pod before it takes no more calls."""
    findings = []
    for deployment, pod, _, settings in _gateways(objects):
        where = named(deployment)
        missing = [flag for flag in ("drain_grace", "drain_budget") if flag not in settings.flags]
        findings += [f"{where}: {flag} is not set, so the drain cannot be added up" for flag in missing]
        if missing:
            continue
        grace, budget = (seconds(settings.flags[flag]) for flag in ("drain_grace", "drain_budget"))
        total = grace + budget + CANCEL_SECONDS + SLACK_SECONDS
        allowed = pod.get("terminationGracePeriodSeconds", 30)
        if allowed < total:
            findings.append(f"{where}: terminationGracePeriodSeconds is {allowed}, the drain may take {total:g} s")
        if grace < 5:
            findings.append(f"{where}: drain_grace leaves Services less than 5 s to forget the pod")
    return findings


def gateway_memory(objects: list[dict]) -> list[str]:
    """What it asks for it may use, so that no other pod's load ends it."""
    findings = []
    for deployment, _, container, _ in _gateways(objects):
        given = container.get("resources", {})
        memory = [given.get(kind, {}).get("memory") for kind in ("requests", "limits")]
        if None in memory or memory[0] != memory[1] or "cpu" not in given["requests"]:
            findings.append(f"{named(deployment)}: {given}: it must ask for a processor and for all its memory")
    return findings


def _open_to(policy: dict, port: str) -> list[dict]:
    return [peer for rule in policy["spec"]["ingress"] if port in [each["port"] for each in rule["ports"]]
            for peer in rule.get("from", [{}])]


def gateway_policies(objects: list[dict]) -> list[str]:
    """Where policies say who reaches the servers it is among them; it gets out to them and to whoever knows addresses."""
    findings, policies = [], find(objects, "NetworkPolicy")

    def of(deployment):
        return [policy for policy in policies if selects(policy["spec"]["podSelector"]["matchLabels"], deployment)]

    def is_for(peer, deployment):
        return list(peer) == ["podSelector"] and selects(peer["podSelector"]["matchLabels"], deployment)

    for deployment, _, _, _ in _gateways(objects):
        where = named(deployment)
        for server, _, _ in servers(objects):
            if of(server) and not any(is_for(peer, deployment) for policy in of(server) for peer in _open_to(policy, "grpc")):
                findings.append(f"{named(server)}: the policies do not let {where} in")
            ways = [peer for policy in of(deployment) for rule in policy["spec"]["egress"]
                    if {"port": "grpc"} in rule["ports"] for peer in rule["to"]]
            if not any(is_for(peer, server) for peer in ways):
                findings.append(f"{where}: has no way to {named(server)}")
        dns = {("UDP", 53), ("TCP", 53)}
        if not any(dns == {(port.get("protocol"), port["port"]) for port in rule["ports"]}
                   for policy in of(deployment) for rule in policy["spec"]["egress"]):
            findings.append(f"{where}: has no way to ask for addresses")
        if {} not in [peer for policy in of(deployment) for peer in _open_to(policy, "http")]:
            findings.append(f"{where}: not everybody may call")
    return findings


def gateway_flags(objects: list[dict]) -> list[str]:
    """Files that flags name are mounted, and the gateway itself takes the flags: it says that it listens."""
    findings = []
    for deployment, _, _, settings in _gateways(objects):
        where = named(deployment)
        for flag in FILE_FLAGS:
            path = settings.flags.get(flag)
            found = path and settings.volume_of(path)
            if path and (not found or found[1] not in (volume_files(objects, found[0])[0] or ())):
                findings.append(f"{where}: --{flag} is {path}, which is not mounted")
        with tempfile.TemporaryDirectory() as scratch:
            token = pathlib.Path(scratch) / "token"
            token.write_text(f"a.{'0' * 43}\n")
            files = credential_files()
            here = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "server": f"unix:{scratch}/none",
                    "server_tls_ca": files["tls_client_ca"], "server_token_file": str(token)}
            arguments = [f"--{name}={here.get(name, value)}" if value else f"--{name}" for name, value in settings.arguments]
            with subprocess.Popen([GATEWAY, *arguments], stderr=subprocess.PIPE, text=True, env={**os.environ}) as process:
                said = process.stderr.readline()
                process.kill()
            if '"event":"listening"' not in said:
                findings.append(f"{where}: the gateway says {said.strip()}")
    return findings


CHECKS = (gateway_servers, gateway_ports, gateway_end, gateway_memory, gateway_policies, gateway_flags)
