# SPDX-License-Identifier: Apache-2.0
"""What tests/e2e/replicas_test.py holds of clients that know all servers, held of clients that know Envoy alone."""

from __future__ import annotations

import pathlib
import tempfile
import unittest

from tests.deploy.envoy_harness import Authority, Configuration, Front, wait_until
from tests.e2e import replicas_test


class EnvoyReplicasTest(replicas_test.ReplicasTest):
    def setUp(self):
        super().setUp()
        directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.authority = Authority(directory / "authority")
        self.front = self.enterContext(Front(Configuration(), self.addresses, self.authority))
        self.wait_for_all()

    def wait_for_all(self) -> None:
        wait_until(lambda: self.front.healthy_servers() == len(self.servers), "Envoy does not see all servers")

    def way(self) -> list:
        return [f"--server=localhost:{self.front.port}", f"--tls_ca={self.authority.certificate}"]

    def restart(self, number: int) -> None:
        super().restart(number)
        self.wait_for_all()


if __name__ == "__main__":
    unittest.main()
