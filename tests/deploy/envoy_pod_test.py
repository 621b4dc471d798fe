# SPDX-License-Identifier: Apache-2.0
"""The real Envoy as deploy/kubernetes/components/envoy runs it: how a pod ends, and how its Secret changes."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import grpc

from tests.deploy.envoy_harness import SECONDS, Authority, Configuration, Front, wait_until
from tests.deploy.front_checks import front_pods
from tests.deploy.rendering import Copy
from tests.e2e.harness import Server, pb, request


def pre_stop(front: Front) -> list[str]:
    """The command of the manifest, for an Envoy that listens elsewhere, without its wait at the end."""
    with Copy() as copy:
        pod = front_pods(copy.with_components("envoy"))[0]
    *shell, script = pod.container["lifecycle"]["preStop"]["exec"]["command"]
    assert "/9901" in script and "sleep 75" in script
    return [*shell, script.replace("/9901", f"/{front.admin_port}").replace("sleep 75", "")]


class EnvoyPodTest(unittest.TestCase):
    def setUp(self):
        scratch = self.enterContext(tempfile.TemporaryDirectory(prefix="recurve-ca-"))
        self.authority = Authority(pathlib.Path(scratch) / "ca")
        # Slow, so that a stream still runs when Envoy has drained.
        self.server = Server("--slots=2", "--isa=scalar", "--threads=1")
        self.addCleanup(self.server.kill)

    def start(self, *arguments: str) -> Front:
        front = self.enterContext(Front(Configuration(), [self.server.address], self.authority, *arguments))
        wait_until(lambda: front.healthy_servers() == 1, "the server is not healthy")
        return front

    def stop(self, front: Front) -> None:
        done = subprocess.run(pre_stop(front), capture_output=True, text=True, check=True, timeout=SECONDS)
        self.assertIn("200 OK", done.stdout)

    def begin_stream(self, front: Front) -> grpc.Call:
        stream = self.enterContext(front.stub()).Generate(
            request("def f():\n", max_tokens=900, stop={"ignore_eos": True}))
        self.assertEqual(len(next(stream).tokens), 1)
        return stream

    def assert_goes_on(self, stream: grpc.Call) -> None:
        self.assertEqual(self.server.load().requests_running, 1)
        self.assertEqual(sum(len(message.tokens) for message in stream), 899)

    def test_before_its_end_clients_are_sent_away_and_streams_go_on(self):
        front = self.start("--drain-time-s", "3600", "--drain-strategy", "immediate")
        stream = self.begin_stream(front)
        client = self.enterContext(front.raw())
        self.stop(front)
        numbers = iter(range(1, 1 << 20, 2))

        def is_sent_away() -> bool:
            number = next(numbers)
            client.call(number, proto=pb.GetLoadRequest(), method="/recurve.v1.GenerationService/GetLoad")
            return client.read(lambda: client.ended(number)) and client.goaway() is not None
        wait_until(is_sent_away, "the client was not sent away")
        self.assertEqual(client.goaway(), 0)  # NO_ERROR
        self.assertFalse(self.is_closed(front))  # to those who have not heard
        self.assert_goes_on(stream)

    def test_when_the_time_for_that_is_over_streams_go_on_and_no_connection_is_taken(self):
        front = self.start("--drain-time-s", "1")
        stream = self.begin_stream(front)
        self.stop(front)
        wait_until(lambda: self.is_closed(front), "Envoy takes connections yet")
        self.assert_goes_on(stream)

    @staticmethod
    def is_closed(front: Front) -> bool:
        try:
            with front.raw():
                return False
        except OSError:
            return True

    def test_a_secret_that_kubernetes_changes_is_used(self):
        """The kubelet has files as links into a folder that is itself behind a link, which it replaces."""
        front = self.start()
        tls = front.directory / "tls"
        self.swap(tls, "first")
        renewed = self.authority.sign("renewed", "DNS:localhost,DNS:renewed,IP:127.0.0.1")
        # From here on nothing but the link changes.
        self.assertNotIn("renewed", self.names(front))
        self.swap(tls, "second", *renewed)
        wait_until(lambda: "renewed" in self.names(front), "the old certificate is shown")

    @staticmethod
    def swap(folder: pathlib.Path, name: str, *files: pathlib.Path) -> None:
        """The folder's files are those given, if any, else what they were, as the kubelet lays them out."""
        into = folder / f"..{name}"
        into.mkdir()
        for path in files or list(folder.glob("tls.*")):
            shutil.copy(path, into / f"tls{path.suffix}")
        (folder / "..data_tmp").symlink_to(into.name)
        os.rename(folder / "..data_tmp", folder / "..data")
        for path in folder.glob("tls.*"):
            if not path.is_symlink():
                path.unlink()
                path.symlink_to(f"..data/{path.name}")

    @staticmethod
    def names(front: Front) -> set[str]:
        with front.raw() as client:
            return {name for kind, name in client.socket.getpeercert()["subjectAltName"] if kind == "DNS"}


if __name__ == "__main__":
    unittest.main()
