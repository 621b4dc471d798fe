# SPDX-License-Identifier: Apache-2.0
"""`recurve bench` of https servers: recurve-gateway with the documented certificates, and what can be wrong with them."""

import json
import pathlib
import tempfile
import unittest

from tests.e2e.gateway import Gateway
from tests.e2e.harness import Server
from tests.e2e.security_test import make_certificates, recurve

LOAD = ("--requests=4", "--warmup=1", "--streams=2", "--max_tokens=5", "--prompt_tokens=6")


class LoadTlsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="recurve-load-tls-")))
        make_certificates(cls.folder)  # for localhost and 127.0.0.1
        (cls.folder / "empty").mkdir()
        cls.server = Server("--threads=1")
        cls.addClassCleanup(cls.server.kill)
        own = (f"--tls_cert={cls.folder}/server.pem", f"--tls_key={cls.folder}/server.key")
        cls.plain = cls.start()
        cls.secure = cls.start(*own)
        cls.mutual = cls.start(*own, f"--tls_client_ca={cls.folder}/ca.pem")

    @classmethod
    def start(cls, *flags: str) -> str:
        """The port of a gateway that is ready."""
        gateway = Gateway(cls.server.address, flags=flags, ready=False)
        cls.addClassCleanup(gateway.kill)
        gateway.wait_until(lambda: "recurve_gateway_ready 1" in gateway.metrics(), "the gateway did not become ready")
        return gateway.address.rsplit(":", 1)[1]

    def bench(self, at: str, *flags: str, **environment: str):
        """Without the system's authorities, unless `environment` has others."""
        return recurve("bench", f"--server={at}", "--format=json", *LOAD, *flags,
                       **{"SSL_CERT_FILE": "/dev/null", "SSL_CERT_DIR": f"{self.folder}/empty", **environment})

    def completes(self, at: str, *flags: str, **environment: str) -> None:
        done = self.bench(at, *flags, **environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["requests_by_status"], {"OK": 4})
        self.assertEqual(report["generated_tokens"], 4 * 5)

    def refused(self, words: str, at: str, *flags: str) -> None:
        done = self.bench(at, *flags)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertIn(words, done.stderr)

    def test_authorities_of_the_flag_or_of_the_system(self):
        ca = f"{self.folder}/ca.pem"
        self.completes(f"https://localhost:{self.secure}", f"--tls_ca={ca}")
        self.completes(f"https://127.0.0.1:{self.secure}/v1/", f"--tls_ca={ca}")
        self.completes(f"https://localhost:{self.secure}", SSL_CERT_FILE=ca)
        self.completes(f"https://localhost:{self.secure},http://localhost:{self.plain}", f"--tls_ca={ca}")

    def test_certificates_that_do_not_count(self):
        at = f"https://localhost:{self.secure}"
        self.refused("name that, or the certificate that signed itself, by --tls_ca=FILE", at)
        other = self.folder / "other"
        other.mkdir()
        make_certificates(other)
        self.refused("not of the authorities that --tls_ca names", at, f"--tls_ca={other}/ca.pem")
        # 127.0.0.1 as no certificate has it.
        self.refused("name the server by --server as its certificate does", f"https://127.1:{self.secure}",
                     f"--tls_ca={self.folder}/ca.pem")
        # Without a question for the model the report tells why nothing was completed.
        done = self.bench(at, "--model=demo")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(json.loads(done.stdout)["requests_by_status"], {"FAILED_PRECONDITION": 4})

    def test_clients_show_certificates(self):
        at, ca = f"https://localhost:{self.mutual}", f"--tls_ca={self.folder}/ca.pem"
        own = (f"--tls_cert={self.folder}/client.pem", f"--tls_key={self.folder}/client.key")
        self.completes(at, ca, *own)
        self.completes(at, *own, SSL_CERT_FILE=f"{self.folder}/ca.pem")
        self.refused("give this client's certificate by --tls_cert and --tls_key", at, ca)

    def test_the_other_scheme(self):
        self.refused(f"does it want TLS, as https://localhost:{self.secure}?", f"http://localhost:{self.secure}")
        self.refused(f"name it http://localhost:{self.plain}", f"https://localhost:{self.plain}")


if __name__ == "__main__":
    unittest.main()
