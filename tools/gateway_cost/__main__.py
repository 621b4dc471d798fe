# SPDX-License-Identifier: Apache-2.0
"""What a token costs on its way: processor time of server and gateway for streams of completions.

    python3 -m tools.gateway_cost --streams=64 --tokens=900                 nothing is computed: as many tokens as there can be
    python3 -m tools.gateway_cost --streams=16 --tokens=200 --backend=cpu   the bundled model: hardly two tokens in a message

Over HTTP the streams are read by this script, as fast as Python does, so that its tokens a second are a lower bound; over gRPC by
`recurve bench`. Processor time is the kernel's count for each process, and depends on neither.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import subprocess
import tempfile
import time

from tests.e2e.gateway import Gateway
from tests.e2e.harness import BIN, Server

SERVER_FLAGS = ("--slots=256", "--max_queued_requests=1024", "--max_queued_tokens=1000000")


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_streams(address: str, streams: int, tokens: int) -> int:
    """Asks for so many streams at once and reads them to their ends; the events that came."""
    body = json.dumps({"prompt": list(range(1, 17)), "max_tokens": tokens, "ignore_eos": True, "stream": True})
    head = (f"POST /v1/completions HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n")
    host, port = address.rsplit(":", 1)
    waiting, tails, events = selectors.DefaultSelector(), {}, 0
    for _ in range(streams):
        connection = socket.create_connection((host, int(port)))
        connection.sendall((head + body).encode())
        waiting.register(connection, selectors.EVENT_READ)
        tails[connection] = b""
    while tails:
        for key, _ in waiting.select():
            data = key.fileobj.recv(1 << 16)
            if data:
                events += data.count(b"\n\n")  # what two pieces divide is not counted, which is rare
                tails[key.fileobj] = (tails[key.fileobj] + data)[-64:]
                continue
            if b"data: [DONE]" not in tails.pop(key.fileobj):
                raise RuntimeError("a stream broke off")
            waiting.unregister(key.fileobj)
            key.fileobj.close()
    return events


def bench(address: str, streams: int, tokens: int) -> int:
    subprocess.run([BIN / "recurve", "bench", f"--server={address}", f"--streams={streams}", f"--requests={streams}",
                    "--warmup=0", "--prompt_tokens=16", f"--max_tokens={tokens}"], check=True, stdout=subprocess.DEVNULL)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=900, help="of each stream")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--backend", default="null", help="of the server")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(f"--backend={flags.backend}", *SERVER_FLAGS, listen=f"unix:{folder}/server")
        gateway = Gateway(server.address)
        processes = {"server": server.process.pid, "gateway": gateway.process.pid}
        ways = {"gRPC": lambda: bench(server.address, flags.streams, flags.tokens),
                "HTTP": lambda: read_streams(gateway.address, flags.streams, flags.tokens)}
        try:
            for way in [way for _ in range(flags.repeat) for way in ways]:
                before, start = {name: cpu_seconds(pid) for name, pid in processes.items()}, time.monotonic()
                events = ways[way]()
                seconds, count = time.monotonic() - start, flags.streams * flags.tokens
                used = {name: 1e6 * (cpu_seconds(pid) - before[name]) / count for name, pid in processes.items()}
                print(f"{way}: {count / seconds:8.0f} tokens/s; processor time of a token: server {used['server']:5.1f} us, "
                      f"gateway {used['gateway']:5.1f} us" + (f"; tokens in an event {count / events:.1f}" if events else ""), flush=True)
        finally:
            gateway.kill()
            server.kill()


if __name__ == "__main__":
    main()
