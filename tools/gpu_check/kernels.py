# SPDX-License-Identifier: Apache-2.0
"""Where a step's time goes: each kernel of a program by Nsight Compute, kernels of one name and grid as one line.

    python3 kernels.py NAME SKIP COUNT PROGRAM FLAG...

leaves out the first SKIP launches and measures the next COUNT, each by itself, so that nothing overlaps: a sum over
kernels is more than a step takes. Caches and clocks are left as they are.
"""
import collections
import csv
import json
import os
import re
import shutil
import subprocess
import sys

STAGE = "kernels"
TIME = "gpu__time_duration.sum"
READ = "dram__bytes_read.sum"


def tool():
    """The path of ncu, or None."""
    return shutil.which("ncu") or next(filter(os.path.exists, ["/usr/local/cuda/bin/ncu"]), None)


def short_name(demangled):
    """ProductKernel<GateUp, 1, 1> of "void recurve::cuda::<unnamed>::ProductKernel<...>(...)"."""
    name = re.sub(r"\(anonymous namespace\)::|<?unnamed>::|recurve::|cuda::|void |\((int|unsigned int)\)", "", demangled)
    return name.split("(")[0]


def measure(skip, count, command):
    """{(kernel, grid): [(seconds, bytes read), ...]} in the order of their first launch."""
    run = [tool(), "--metrics", f"{TIME},{READ}", "--clock-control", "none", "--cache-control", "none", "--csv", "--page",
           "raw", "--print-units", "base", "--print-kernel-base", "demangled", "--launch-skip", str(skip),
           "--launch-count", str(count), *command]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
    kernels = collections.OrderedDict()
    for row in csv.DictReader(lines):
        if not row["ID"]:
            continue  # the line of units
        figures = [float(row[metric].replace(",", "")) for metric in (TIME, READ)]
        kernels.setdefault((short_name(row["Kernel Name"]), row["Grid Size"]), []).append(figures)
    if not kernels:
        sys.exit(f"kernels.py: ncu measured nothing: {(done.stderr + done.stdout)[-2000:]}")
    return kernels


def main():
    name, skip, count, *command = sys.argv[1:]
    if tool() is None:
        print(json.dumps({"stage": STAGE, "name": "end", "skipped": "ncu is not here"}))
        return
    for (kernel, grid), launches in measure(int(skip), int(count), command).items():
        times = sorted(time for time, _ in launches)
        read = sum(figure for _, figure in launches)
        print(json.dumps({"stage": STAGE, "name": name, "kernel": kernel, "grid": grid, "launches": len(launches),
                          "us_median": times[len(times) // 2] / 1e3, "us_all": sum(times) / 1e3,
                          "read_mib": read / len(launches) / 2**20, "read_gb_s": read / sum(times)}), flush=True)


if __name__ == "__main__":
    main()
