# SPDX-License-Identifier: Apache-2.0
"""With the flags of the preset `locks` clang refuses what breaks the rules of engine/base/mutex.h, and all of our
locks are such as it checks."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SOURCES = [path for folder in ("engine", "server", "client") for kind in ("h", "cc")
           for path in sorted((ROOT / folder).rglob(f"*.{kind}"))]

UNCHECKED = {"engine/base/mutex.h"}

COUNTER = """
#include "engine/base/mutex.h"
namespace recurve {
class Counter {
 public:
METHODS
 private:
  void CountLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { ++count_; }
  Mutex mutex_;
  CondVar changed_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};
void Use() { Counter().Method0(); }
}  // namespace recurve
"""
ALLOWED = (
    "const MutexLock lock(mutex_); ++count_; CountLocked();",
    "const MutexLock lock(mutex_); while (count_ == 0) changed_.Wait(mutex_);",
    "MutexLock lock(mutex_); lock.Unlock(); lock.Lock(); ++count_;",
    "MutexLock lock(mutex_); if (count_ > 0) return; lock.Unlock();",
)
REFUSED = {
    "++count_;": "writing variable 'count_' requires holding mutex 'mutex_'",
    "if (count_ == 0) return;": "reading variable 'count_' requires holding mutex 'mutex_'",
    "CountLocked();": "calling function 'CountLocked' requires holding mutex 'mutex_'",
    "changed_.Wait(mutex_);": "calling function 'Wait' requires holding mutex 'mutex_'",
    "MutexLock lock(mutex_); lock.Unlock(); ++count_;": "writing variable 'count_' requires holding mutex 'mutex_'",
    "const MutexLock lock(mutex_); const MutexLock again(mutex_);": "acquiring mutex 'mutex_' that is already held",
    "MutexLock lock(mutex_); lock.Unlock(); lock.Unlock();": "releasing mutex '\\w+' that was not held",
}


class LocksTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """The preset's own command for a source of ours, but for the source."""
        commands = json.loads((pathlib.Path(os.environ["RECURVE_BUILD_DIR"]) / "compile_commands.json").read_text())
        command = next(entry["command"] for entry in commands if entry["file"].endswith("server/observe/log.cc"))
        words = shlex.split(command)
        cls.command = words[:words.index("-o")] + ["-fsyntax-only"]

    def compile(self, bodies):
        """Clang's exit status, and the errors of each body as a method of Counter."""
        methods = [f"  void Method{i}() {{ {body} }}" for i, body in enumerate(bodies)]
        text = COUNTER.replace("METHODS", "\n".join(methods))
        first = text.splitlines().index(methods[0]) + 1
        with tempfile.NamedTemporaryFile("w", suffix=".cc") as source:
            source.write(text)
            source.flush()
            done = subprocess.run([*self.command, source.name], text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
        errors = {body: "" for body in bodies}
        for line, error in re.findall(r"\.cc:(\d+):\d+: error: (.*)", done.stdout):
            errors[bodies[int(line) - first]] += error
        return done.returncode, errors

    def test_clang_accepts_what_keeps_the_rules(self):
        self.assertEqual(self.compile(ALLOWED), (0, {body: "" for body in ALLOWED}))

    def test_clang_refuses_what_breaks_them(self):
        status, errors = self.compile(list(REFUSED))
        self.assertNotEqual(status, 0)
        for body, error in REFUSED.items():
            with self.subTest(body):
                self.assertRegex(errors[body], error)

    def test_no_lock_escapes_the_check(self):
        unchecked = re.compile(r"std::(\w*mutex|\w*_lock|lock_guard|condition_variable\w*)\b")
        for path in SOURCES:
            name = str(path.relative_to(ROOT))
            if name in UNCHECKED:
                continue
            with self.subTest(name):
                self.assertIsNone(unchecked.search(path.read_text()))

    def test_every_mutex_guards_a_member(self):
        mutexes = 0
        for path in SOURCES:
            text = path.read_text()
            for name in re.findall(r"^\s*(?:mutable )?(?:absl::)?Mutex (\w+);", text, re.MULTILINE):
                mutexes += 1
                with self.subTest(f"{path.relative_to(ROOT)}: {name}"):
                    self.assertIn(f"GUARDED_BY({name})", text)
        self.assertGreater(mutexes, 10)


if __name__ == "__main__":
    unittest.main()
