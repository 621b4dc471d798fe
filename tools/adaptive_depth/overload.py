# SPDX-License-Identifier: Apache-2.0
"""An overloaded server with and without --adaptive_depth; see README.md beside this file."""

import argparse
import concurrent.futures
import math
import random
import statistics
import time

import grpc

from tests.e2e.harness import Server, pb, request
from tools.eviction.loss import sequences

PROMPT = 128  # tokens
NEW = 64
SLOTS = 16
SCORED = 8  # one request in so many brings the log probabilities of its prompt
FLAGS = (f"--slots={SLOTS}", f"--ends={PROMPT}", "--threads=1")  # the other core is the clients'


def generate(ids, index):
    """The index-th request: its prompt, and NEW tokens of which it allows any depth.

    Prompts come again, and shall be computed again: the prefix cache is left out.
    """
    output = {"prompt_logprobs": True} if index % SCORED == 0 else {}
    return request(ids=ids, max_tokens=NEW, stop={"ignore_eos": True}, output=output,
                   recursion={"adaptive_min": 1}, prefix={"cache_prompt": False})


def loss_of(answer):
    """Nats a token of its prompt."""
    return -math.fsum(p.logprob for p in answer.prompt_logprobs) / len(answer.prompt_logprobs)


def losses_at(server, prompts, cap):
    """The loss of each prompt when its tokens run at most `cap` recursions."""
    def one(ids):
        return loss_of(server.stub.Complete(
            request(ids=ids, max_tokens=0, output={"prompt_logprobs": True},
                    recursion={"max_recursions": cap})))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, prompts))


def sustainable(server, prompts, requests):
    """Requests a second of a closed loop with twice as many clients as slots."""
    with concurrent.futures.ThreadPoolExecutor(2 * SLOTS) as pool:
        def run(count):
            list(pool.map(lambda i: server.stub.Complete(generate(prompts[i % len(prompts)], i)),
                          range(count)))

        run(4 * SLOTS)
        start = time.monotonic()
        run(requests)
        return requests / (time.monotonic() - start)


def open_loop(server, prompts, rate, seconds):
    """Answers to requests at random times, `rate` a second in the mean; None: it was refused."""
    draw = random.Random(1)
    calls = []
    start = due = time.monotonic()
    while due < start + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        index = len(calls)
        calls.append(server.stub.Complete.future(generate(prompts[index % len(prompts)], index)))
        due += draw.expovariate(rate)
    errors = [call.exception() for call in calls]  # waits for each
    for error in errors:
        if error is not None and error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise error
    return [call.result() if error is None else None for call, error in zip(calls, errors)]


def figures(answers, at_rest):
    """The cells of a row: time to first token, and what was given up for it."""
    finals = [answer.final for answer in answers if answer is not None]
    first = sorted((f.timings.queue_us + f.timings.prefill_us) / 1e6 for f in finals)
    lowered = sum(f.lowered_depth.tokens for f in finals) / (len(finals) * (PROMPT + NEW - 1))
    depth = statistics.fmean(f.generated_depth.mean_depth for f in finals)
    # Which prompts were refused differs, so each loss is held against that of the same prompt.
    more = [loss_of(answer) - at_rest[index % len(at_rest)] for index, answer in enumerate(answers)
            if answer is not None and answer.prompt_logprobs]
    return [f"{first[len(first) // 2]:.2f} s", f"{first[int(len(first) * 0.99)]:.2f} s",
            f"{1 - len(finals) / len(answers):.0%}", f"{lowered:.0%}", f"{depth:.2f}",
            f"{statistics.fmean(more):+.3f}"]


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", type=float, nargs="+", default=[1.25, 2.0],
                        help="times the sustainable load")
    parser.add_argument("--seconds", type=float, default=30, help="of each open loop")
    parser.add_argument("--requests", type=int, default=600, help="of the closed loop")
    args = parser.parse_args()
    server = Server(*FLAGS)
    try:
        recursions = server.stub.GetModelInfo(pb.GetModelInfoRequest()).num_recursions
        prompts = [ids[at : at + PROMPT] for ids in sequences(server, 40)
                   for at in range(0, len(ids), PROMPT)]
        losses = {cap: losses_at(server, prompts, cap) for cap in range(1, recursions + 1)}
        print(table(["most recursions", "loss"],
                    [[str(cap), f"{statistics.fmean(losses[cap]):.3f}"] for cap in losses]))
        rate = sustainable(server, prompts, args.requests)
        print(f"sustainable: {rate:.1f} requests a second\n", flush=True)
    finally:
        server.stop()
    rows = []
    for load in args.loads:
        for flags in ((), ("--adaptive_depth",)):
            server = Server(*FLAGS, *flags)
            try:
                answers = open_loop(server, prompts, load * rate, args.seconds)
                cells = figures(answers, losses[recursions])
                rows.append([f"{load:g}", "on" if flags else "off", *cells])
                print(rows[-1], flush=True)
            finally:
                server.stop()
    print(table(["load", "adaptive depth", "first token p50", "p99", "refused", "tokens lowered",
                 "mean depth", "loss against at rest"], rows))


if __name__ == "__main__":
    main()
