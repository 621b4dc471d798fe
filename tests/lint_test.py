# SPDX-License-Identifier: Apache-2.0
"""tools/lint finds what is broken in a copy of the project, and nothing in a whole one."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[1]
WHOLE = {
    "engine/a.cc": "// A comment.\nint main() { return 0; }\n",
    "tools/b": "#!/usr/bin/env bash\necho \"$1\"\n",
}


class LintTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.copy = pathlib.Path(scratch.name)
        for name in (".clang-format", ".clang-tidy", "tools/lint", "run", "Dockerfile", "tests/requirements.txt"):
            self.write(name, (ROOT / name).read_text())
        for name, text in WHOLE.items():
            self.write(name, text)
        (self.copy / "tools/lint").chmod(0o755)
        subprocess.run(["git", "init", "--quiet"], cwd=self.copy, check=True)

    def write(self, name, text):
        path = self.copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def lint(self, *arguments):
        """The exit status and what is said."""
        environment = dict(os.environ, PATH=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
        done = subprocess.run(["tools/lint", *arguments], cwd=self.copy, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    def test_nothing_is_found_in_a_whole_copy(self):
        self.assertEqual(self.lint("format", "shell", "image"), (0, ""))

    def test_format_is_found_and_mended(self):
        self.write("engine/a.cc", "int main( ){return 0;}\n")
        status, said = self.lint("format")
        self.assertEqual(status, 1)
        self.assertIn("engine/a.cc:1", said)
        self.assertIn("lint: format: run tools/lint --fix format", said)
        self.assertEqual(self.lint("--fix", "format")[0], 0)
        self.assertEqual((self.copy / "engine/a.cc").read_text(), "int main() { return 0; }\n")

    def test_tidy_is_found(self):
        command = {"directory": str(self.copy), "file": str(self.copy / "engine/a.cc"), "command": "c++ -c engine/a.cc"}
        self.write("build/cpu/compile_commands.json", json.dumps([command]))
        status, said = self.lint("--all", "tidy")
        self.assertEqual(status, 0, said)
        self.write("engine/a.cc", "#include <cstddef>\nint* f() { return 0; }\nint main() { return f() != nullptr; }\n")
        status, said = self.lint("--all", "tidy")
        self.assertEqual(status, 1)
        self.assertIn("modernize-use-nullptr", said)
        self.assertEqual(self.lint("--all", "--in=server", "tidy"), (0, ""))

    def test_another_version_is_found(self):
        for check in ("format", "tidy"):
            self.write(f"build/venv/bin/clang-{check}", "#!/bin/sh\necho LLVM version 1.2.3\n")
            (self.copy / f"build/venv/bin/clang-{check}").chmod(0o755)
            status, said = self.lint(check)
            self.assertEqual(status, 1)
            self.assertIn(f"clang-{check} is version 1.2.3; tests/requirements.txt pins", said)

    def test_shell_is_found(self):
        self.write("tools/b", "#!/usr/bin/env bash\necho $1\n")
        status, said = self.lint("shell")
        self.assertEqual(status, 1)
        self.assertIn("SC2086", said)

    def test_a_package_that_the_image_lacks_is_found(self):
        dockerfile = (ROOT / "Dockerfile").read_text()
        self.assertEqual(dockerfile.count("libabsl-dev"), 1)
        self.write("Dockerfile", dockerfile.replace("libabsl-dev ", ""))
        status, said = self.lint("image")
        self.assertEqual(status, 1)
        self.assertIn("libabsl-dev", said)


if __name__ == "__main__":
    unittest.main()
