# SPDX-License-Identifier: Apache-2.0
"""Certificates, tokens and tenants with the real programs: the documented commands, rotation under load."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import unittest

import grpc

from tests.e2e import harness
from tests.e2e.harness import BIN, ROOT, Server, health_grpc, health_pb, pb, pb_grpc, request

MARKER = "a-marker-of-prompts"


def documented_commands() -> str:
    """The commands of docs/security.md that make an authority and certificates."""
    text = (ROOT / "docs" / "security.md").read_text()
    return re.search(r"```sh\n(.*?)```", text, re.DOTALL).group(1)


def make_certificates(folder: pathlib.Path) -> None:
    subprocess.run(["bash", "-euc", documented_commands()], cwd=folder, check=True, capture_output=True)


def recurve(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([str(BIN / "recurve"), *arguments], capture_output=True, text=True, timeout=120,
                          check=False, env={**os.environ, **environment})


def new_token(token_id: str, tenant: str) -> tuple[str, dict]:
    done = recurve("token", f"--id={token_id}", f"--tenant={tenant}")
    token, entry = done.stdout.splitlines()
    return token, json.loads(entry)


class SecureServer(Server):
    """A server with TLS: health is asked for at its plaintext port, calls go by `credentials`."""

    def __init__(self, credentials: grpc.ChannelCredentials, *flags: str):
        self.credentials = credentials
        super().__init__("--health_listen=127.0.0.1:0", *flags)

    def new_channel(self, **options: int) -> grpc.Channel:
        named = [(name.replace("__", "."), value) for name, value in options.items()]
        host = self.address.replace("127.0.0.1", "localhost")
        return grpc.secure_channel(host, self.credentials, options=named + [("grpc.use_local_subchannel_pool", 1)])

    def healthy(self, service: str = "") -> bool:
        ports = dict(line.split("=") for line in
                     (pathlib.Path(self.scratch.name) / "ports").read_text().split())
        with grpc.insecure_channel(ports["health_address"]) as channel:
            try:
                answer = health_grpc.HealthStub(channel).Check(
                    health_pb.HealthCheckRequest(service=service), timeout=5)
            except grpc.RpcError:
                return False
            return answer.status == health_pb.HealthCheckResponse.SERVING


class SecurityTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="recurve-security-")
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def path(self, name: str) -> pathlib.Path:
        return self.folder / name

    def write_access(self, *entries: dict, **more) -> None:
        draft = self.path("access.json.new")
        draft.write_text(json.dumps({"tokens": list(entries), **more}))
        draft.rename(self.path("access.json"))

    def mutual_flags(self) -> list[str]:
        return [f"--tls_ca={self.path('ca.pem')}", f"--tls_cert={self.path('client.pem')}",
                f"--tls_key={self.path('client.key')}"]

    def test_documented_commands_and_the_command_line(self):
        make_certificates(self.folder)
        token, entry = new_token("alice-laptop", "alice")
        self.write_access(entry)
        self.path("token").write_text(token + "\n")
        credentials = grpc.ssl_channel_credentials(
            self.path("ca.pem").read_bytes(), self.path("client.key").read_bytes(),
            self.path("client.pem").read_bytes())
        server = SecureServer(
            credentials, f"--tls_cert={self.path('server.pem')}", f"--tls_key={self.path('server.key')}",
            f"--tls_client_ca={self.path('ca.pem')}", f"--access_file={self.path('access.json')}",
            "--log_format=json")
        self.addCleanup(server.kill)
        at = f"--server={server.address.replace('127.0.0.1', 'localhost')}"
        good = [at, *self.mutual_flags(), f"--token_file={self.path('token')}"]
        done = recurve("generate", *good, "--max_tokens=4", f"--stop={MARKER}", f"{MARKER} def f():")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(recurve("health", at, *self.mutual_flags()).returncode, 0)
        self.assertEqual(recurve("info", at, *self.mutual_flags(), RECURVE_TOKEN=token).returncode, 0)

        def refused(expected: str, *arguments: str) -> None:
            failed = recurve("info", "--timeout=20", *arguments)
            self.assertEqual(failed.returncode, 1, failed.stdout)
            self.assertIn(expected, failed.stderr)
        refused("Give a token with --token_file", at, *self.mutual_flags())
        refused("does it want TLS (--tls_ca)", at)
        other = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        make_certificates(other)
        refused("is not of the authority that --tls_ca names", at, f"--tls_ca={other / 'ca.pem'}")
        refused("", at, f"--tls_ca={self.path('ca.pem')}", f"--token_file={self.path('token')}")
        self.assertEqual(recurve("info", at, "--tls_ca=/nowhere").returncode, 2)

        self.assertEqual(server.metric("recurve_self_check_failures_total"), 0)
        self.assertEqual(server.metric("recurve_live"), 1)
        self.assertEqual(server.stop(), 0)
        log = server.scratch_log
        self.assertNotIn(MARKER, log)
        self.assertNotIn(token.split(".")[1], log)
        calls = [line for line in harness.json_lines(log) if line["event"] == "request"]
        self.assertEqual([(line["tenant"], line["code"]) for line in calls], [("alice", "OK")])

        plain = Server()
        self.addCleanup(plain.kill)
        refused("The server speaks plaintext at this port", f"--server={plain.address}",
                f"--tls_ca={self.path('ca.pem')}")

    def test_no_call_fails_while_certificates_and_tokens_change(self):
        """Links are swapped as Kubernetes does it; clients connect anew all the time."""
        make_certificates(self.folder)
        renew = documented_commands().split("# The server's key")[1].split("# A client's")[0]
        versions = 5
        for version in range(versions):
            inside = self.path(f"..{version}")
            inside.mkdir()
            for name in ("ca.pem", "ca.key"):
                shutil.copy(self.path(name), inside)
            subprocess.run(["bash", "-euc", "# The server's key" + renew], cwd=inside, check=True,
                           capture_output=True)
        data = self.path("..data")
        data.symlink_to(self.path("..0"))
        secret = self.path("secret")
        secret.mkdir()
        for name in ("server.pem", "server.key"):
            (secret / name).symlink_to(pathlib.Path("..") / "..data" / name)
        token, entry = new_token("steady", "alice")
        self.write_access(entry)
        credentials = grpc.ssl_channel_credentials(self.path("ca.pem").read_bytes())
        server = SecureServer(
            credentials, f"--tls_cert={secret / 'server.pem'}", f"--tls_key={secret / 'server.key'}",
            f"--access_file={self.path('access.json')}", "--credentials_reload_interval=20ms",
            "--max_connection_age=1s")
        self.addCleanup(server.kill)

        stop, failures, calls = threading.Event(), [], []
        self.addCleanup(stop.set)  # before the server is killed, or its clients would fail without end
        metadata = [("authorization", f"Bearer {token}")]

        def work(fresh: bool) -> None:
            kept = server.new_channel()
            while not stop.is_set():
                channel = server.new_channel() if fresh else kept
                try:
                    list(pb_grpc.GenerationServiceStub(channel).Generate(
                        request(max_tokens=3), timeout=60, metadata=metadata))
                    calls.append(fresh)
                except grpc.RpcError as error:
                    failures.append(error)
                if fresh:
                    channel.close()
            kept.close()

        workers = [threading.Thread(target=work, args=(fresh,)) for fresh in (True, True, False)]
        for worker in workers:
            worker.start()
        reloads = 0
        for version in range(1, versions):
            before = len(calls)
            server.wait_until(lambda: len(calls) >= before + 20, "calls come to an end")
            link = self.path("..new")
            link.symlink_to(self.path(f"..{version}"))
            link.rename(data)
            self.write_access(entry, new_token(f"new-{version}", "bob")[1])
            reloads += 1
            server.wait_until(
                lambda: server.metric("recurve_credential_reloads_total", result="ok", file="tls") == reloads
                and server.metric("recurve_credential_reloads_total", result="ok", file="access") == reloads,
                "the files were not read anew")
        # A torn pair, and an access file that is none, change nothing. Each comes at once: half of a file would be
        # an error more.
        self.path("..0/server.key").rename(self.path(f"..{versions - 1}/server.key"))
        self.path("broken.json").write_text("{")
        self.path("broken.json").rename(self.path("access.json"))
        server.wait_until(
            lambda: server.metric("recurve_credential_reloads_total", result="error") == 2,
            "the broken files were not noticed")
        before = len(calls)
        server.wait_until(lambda: len(calls) >= before + 20, "calls come to an end")
        stop.set()
        for worker in workers:
            worker.join()
        self.assertEqual(failures, [])
        self.assertTrue(any(calls) and not all(calls))
        self.assertIn("is not the key of the first certificate", server.log())
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
