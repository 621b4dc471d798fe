# SPDX-License-Identifier: Apache-2.0
"""Where a server listens: unix sockets and IPv6 with our own client, and what is refused."""

import http.client
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import unittest

from tests.e2e.harness import BIN, MODEL, Server, run_client


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str):
        super().__init__("recurve", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


class AddressesTest(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="recurve-e2e-")
        self.directory = pathlib.Path(self.scratch.name)
        self.server = None

    def tearDown(self):
        if self.server is not None:
            self.server.kill()
        self.scratch.cleanup()

    def refused(self, *flags: str) -> subprocess.CompletedProcess:
        return subprocess.run([BIN / "recurve-server", f"--model={MODEL}", *flags],
                              capture_output=True, text=True, timeout=60, check=False)

    def start_on_sockets(self) -> None:
        self.server = Server(listen=f"unix:{self.directory}/calls",
                             metrics_listen=f"unix:{self.directory}/metrics")

    def assert_generates(self) -> None:
        done = run_client("generate", "def f(", "--max_tokens=3", server=self.server)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotEqual(done.stdout, "")

    def test_unix_sockets_serve_both_ports_and_cannot_be_stolen(self):
        self.start_on_sockets()
        self.assertEqual(self.server.address, f"unix:{self.directory}/calls")
        self.assert_generates()
        connection = UnixConnection(f"{self.directory}/metrics")
        connection.request("GET", "/metrics")
        self.assertIn("recurve_ready 1", connection.getresponse().read().decode())
        connection.close()
        for flag in ("--listen", "--metrics_listen"):
            other = {"--listen": "127.0.0.1:0", "--metrics_listen": "127.0.0.1:0"}
            other[flag] = f"unix:{self.directory}/calls"
            late = self.refused(*(f"{name}={value}" for name, value in other.items()))
            self.assertEqual(late.returncode, 1, late.stderr)
            self.assertIn(f"{flag}: cannot listen on unix:{self.directory}/calls: another process",
                          late.stderr)
        self.assert_generates()
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_a_socket_that_a_crash_left_is_replaced(self):
        self.start_on_sockets()
        self.server.process.send_signal(signal.SIGKILL)
        self.server.kill()
        self.assertEqual(len(list(self.directory.iterdir())), 2)
        self.start_on_sockets()
        self.assert_generates()

    @unittest.skipUnless(has_ipv6(), "this machine has no IPv6")
    def test_ipv6_serves_both_ports(self):
        self.server = Server(listen="[::1]:0", metrics_listen="[::1]:0")
        self.assertTrue(self.server.address.startswith("[::1]:"), self.server.address)
        self.assert_generates()
        self.assertEqual(self.server.metric("recurve_ready"), 1)

    def test_what_is_no_address_is_refused_by_name(self):
        for flag in ("--listen", "--metrics_listen"):
            for value in ("127.0.0.1:99999", "127.0.0.1", "127.0.0.1:http", "19193"):
                refused = self.refused(f"{flag}={value}")
                self.assertEqual(refused.returncode, 2, refused.stderr)
                self.assertIn(f"{flag}: '{value}' is not possible", refused.stderr)

    def test_the_port_file_replaces_nothing_but_files(self):
        fifo = self.directory / "fifo"
        os.mkfifo(fifo)
        for path in (fifo, pathlib.Path("/dev/null"), self.directory):
            refused = self.refused("--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0",
                                   f"--port_file={path}")
            self.assertEqual(refused.returncode, 1, refused.stderr)
            self.assertIn(f"--port_file: cannot write {path}: ", refused.stderr)
            self.assertNotIn("listening", refused.stderr)
        self.assertTrue(fifo.is_fifo())
        self.assertTrue(pathlib.Path("/dev/null").is_char_device())


if __name__ == "__main__":
    unittest.main()
