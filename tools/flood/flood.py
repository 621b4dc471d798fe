# SPDX-License-Identifier: Apache-2.0
"""What a flood of refused calls costs the streams that were admitted before; see README.md beside this file."""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from tests.e2e.harness import BIN, Server

PROMPT = 16  # tokens
STREAMS = 16  # and as many slots
TOKENS = 1000  # of a stream that is not ended before, which all are to be at once


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="each of a measurement without and one with the flood")
    parser.add_argument("--seconds", type=float, default=1.5, help="of a measurement")
    parser.add_argument("--callers", type=int, default=64, help="of the flood, each with a call at any time")
    parser.add_argument("--engine_cpu", default="0", help="of the thread that runs the steps")
    parser.add_argument("--server_cpu", default="1", help="of the server's other threads")
    parser.add_argument("--clients_cpu", default="1", help="of the streams' client")
    parser.add_argument("--flood_cpu", default="1", help="of the flood's client, which the others go before")
    return parser.parse_args()


def bench(server, cpu, *flags):
    return subprocess.Popen(
        ["taskset", "-c", cpu, str(BIN / "recurve"), "bench", f"--server={server.address}", "--format=json",
         "--warmup=0", f"--prompt_tokens={PROMPT}", "--ignore_eos", *flags],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def cpu_time(thread: pathlib.Path) -> int:
    fields = (thread / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def pin_engine(server, cpu):
    """Moves the thread that has worked most: it runs the steps."""
    threads = list(pathlib.Path(f"/proc/{server.process.pid}/task").iterdir())
    subprocess.run(["taskset", "-cp", cpu, max(threads, key=cpu_time).name], check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def flood(server, args):
    """Calls as fast as they are refused; counts those refused a second."""
    process = bench(server, args.flood_cpu, f"--streams={args.callers}", "--requests=100000000", "--max_tokens=1")
    os.setpriority(os.PRIO_PROCESS, process.pid, 19)
    rate = {}
    start, before = time.monotonic(), refused(server)
    try:
        yield rate
        rate["refused"] = (refused(server) - before) / (time.monotonic() - start)
    finally:
        process.terminate()
        process.communicate()


def refused(server):
    return server.metric("recurve_admission_rejections_total", reason="queue_full")


def finished_in_time(server):
    return server.metric("recurve_request_finished_total", reason="time_limit")


def measure(server, args, with_flood):
    """The streams' p99 inter-token latency in ms, and refusals a second.

    All streams end at once: a slot that is free before the others are would let some of the flood in.
    """
    in_time = finished_in_time(server)
    streams = bench(server, args.clients_cpu, f"--streams={STREAMS}", f"--requests={STREAMS}",
                    f"--max_tokens={TOKENS}", f"--time_limit_ms={args.seconds * 1000:.0f}")
    server.wait_until(lambda: server.metric("recurve_requests_running") == STREAMS, "the streams did not begin")
    with flood(server, args) if with_flood else contextlib.nullcontext({}) as rate:
        report = json.loads(streams.communicate()[0])
    server.wait_until_idle()
    if finished_in_time(server) - in_time != STREAMS:
        sys.exit(f"a stream had its {TOKENS} tokens before the others; give fewer --seconds")
    if with_flood and not rate["refused"]:
        sys.exit("nothing was refused")
    return report["inter_token_latency_seconds"]["p99"] * 1000, rate.get("refused", 0)


def main():
    args = parse()
    server = Server(
        "--threads=1", f"--slots={STREAMS}", f"--max_queued_requests={STREAMS}",
        program=("taskset", "-c", args.server_cpu, str(BIN / "recurve-server")))
    try:
        measure(server, args, with_flood=False)  # warms up, and shows which thread works
        pin_engine(server, args.engine_cpu)
        pairs = []
        for index in range(args.pairs):
            order = (False, True) if index % 2 == 0 else (True, False)
            pair = {with_flood: measure(server, args, with_flood) for with_flood in order}
            (without, _), (flooded, rate) = pair[False], pair[True]
            pairs.append((without, flooded, flooded / without))
            print(f"p99 inter-token latency {without:.2f} ms without, {flooded:.2f} ms with {rate:.0f} refusals/s: "
                  f"{flooded / without:.2f} times", flush=True)
        without, flooded, ratio = (statistics.median(column) for column in zip(*pairs))
        print(f"medians: {without:.2f} ms without, {flooded:.2f} ms with, {ratio:.2f} times")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
