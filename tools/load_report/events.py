# SPDX-License-Identifier: Apache-2.0
"""A server of /v1/completions that computes nothing: an event for each token, each written by itself, as fast as it goes.

For what `recurve bench` itself takes for a token: python -m tools.load_report.events --port=18100
"""

import argparse
import json
import re
import socket
import threading

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(event: str) -> bytes:
    body = f"data: {event}\n\n".encode()
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


def event(tokens: int) -> bytes:
    return chunk(json.dumps({
        "id": "cmpl-0123456789", "object": "text_completion", "created": 1764000000, "model": "none",
        "choices": [{"index": 0, "text": " word", "logprobs": None, "finish_reason": None}],
        "usage": {"prompt_tokens": 16, "completion_tokens": tokens, "total_tokens": 16 + tokens}}))


def serve(connection: socket.socket, events: list) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    waiting = b""
    while True:
        while b"\r\n\r\n" not in waiting:
            more = connection.recv(65536)
            if not more:
                return
            waiting += more
        head, _, waiting = waiting.partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])
        while len(waiting) < length:
            waiting += connection.recv(65536)
        body, waiting = json.loads(waiting[:length]), waiting[length:]
        connection.sendall(HEAD)
        for one in events[:body["max_tokens"]]:
            connection.sendall(one)
        connection.sendall(chunk("[DONE]") + b"0\r\n\r\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=18100)
    parser.add_argument("--most", type=int, default=2000, help="tokens of a request")
    args = parser.parse_args()
    events = [event(i + 1) for i in range(args.most)]
    listener = socket.create_server(("127.0.0.1", args.port), backlog=256)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, events), daemon=True).start()


if __name__ == "__main__":
    main()
