# SPDX-License-Identifier: Apache-2.0
"""Trains the MoR model or its vanilla twin on a data directory made by corpus.py.

The schedule is a function of the tokens seen: the learning rate goes in straight lines through the
points of --rate, whose last one ends the training; sequences are short, then long. Both models see
the same batches in the same order. Stopping (SIGTERM or SIGINT) saves a checkpoint; starting again
with the same --run resumes there, and may move the points of the schedule that lie ahead.

Writes into --run: latest.pt, and log.jsonl with the loss, the router's statistics and now and then
the held-out loss.
"""

import argparse
import dataclasses
import json
import pathlib
import signal
import time

import numpy as np
import torch
import torch.nn.functional as F

import checkpoint
import evaluate
import model as models
import optimizer as optimizers_lib

ROUTER_LOSS_WEIGHT = 0.01


class Batches:
    """The batch for a number of tokens seen: no state, so a resumed run goes on with the same data.

    In each epoch the text, cut into pieces at a random offset, is gone through in random order.
    """

    def __init__(self, path, seed):
        self.ids = np.fromfile(path, dtype=np.uint16)
        self.seed = seed

    def rows(self, first, count, length):
        """[count, length + 1] int64: pieces first, first + 1, ... of the endless stream of them."""
        pieces = (self.ids.size - 1) // length - 1
        rows = []
        for i in range(first, first + count):
            rng = np.random.default_rng([self.seed, length, i // pieces])
            offset = rng.integers(length)
            start = offset + rng.permutation(pieces)[i % pieces] * length
            rows.append(self.ids[start : start + length + 1].astype(np.int64))
        return torch.from_numpy(np.stack(rows))

    def batch(self, args, tokens):
        if tokens < args.long_from:
            length, since = args.short_length, tokens
        else:
            length, since = args.long_length, tokens - args.long_from
        count = args.batch_tokens // length
        return self.rows(since // args.batch_tokens * count, count, length)


def rate_factor(args, tokens):
    """The factor of both peak learning rates for the step that follows `tokens` tokens."""
    points, factors = zip(*args.rate)
    return float(np.interp(tokens + args.batch_tokens / 2, points, factors))


def rate_point(text):
    """TOKENS:FACTOR as a pair."""
    tokens, factor = text.split(":")
    return int(tokens), float(factor)


def train_step(model, optimizers, batch, rates):
    """One step with these learning rates, one an optimizer; the figures for the log."""
    h, routing = model(batch[:, :-1], "top-k")
    loss = F.cross_entropy(model.logits(h).flatten(0, 1), batch[:, 1:].reshape(-1))
    figures = {"loss": loss.item()}
    if routing is not None:
        extra = models.router_loss(routing)
        loss = loss + ROUTER_LOSS_WEIGHT * extra
        figures["router_loss"] = extra.item()
        for r, (z, chosen) in enumerate(zip(routing.logits, routing.chosen), start=2):
            figures[f"agreement_{r}"] = ((z >= 0) == chosen).float().mean().item()
            figures[f"passing_{r}"] = (z >= 0).float().mean().item()
    loss.backward()
    figures["gradient_norm"] = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
    for optimizer, rate in zip(optimizers, rates):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
    return figures


class Log:
    """log.jsonl: means over log_every steps."""

    def __init__(self, path):
        self.file = path.open("a", buffering=1)
        self.pending = []
        self.since = time.time()

    def write(self, **record):
        self.file.write(json.dumps({"time": round(time.time(), 1), **record}) + "\n")

    def add(self, figures):
        self.pending.append(figures)

    def flush(self, tokens, rate, step_tokens):
        seconds = time.time() - self.since
        speed = round(len(self.pending) * step_tokens / seconds)
        means = {
            name: round(float(np.mean([f[name] for f in self.pending])), 5)
            for name in self.pending[0]
        }
        self.write(tokens=tokens, rate=rate, tokens_per_second=speed, **means)
        self.pending, self.since = [], time.time()


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=pathlib.Path, required=True, help="data directory made by corpus.py"
    )
    parser.add_argument(
        "--run", type=pathlib.Path, required=True, help="folder of the run; resumed if it has one"
    )
    parser.add_argument("--kind", choices=["mor", "vanilla"], default="mor", help="(%(default)s)")
    parser.add_argument(
        "--rate",
        type=rate_point,
        nargs="+",
        required=True,
        metavar="TOKENS:FACTOR",
        help="points of the learning rate's factor, by tokens seen; training ends at the last",
    )
    parser.add_argument(
        "--long-from", type=int, required=True, help="tokens seen when sequences become long"
    )
    parser.add_argument(
        "--batch-tokens", type=int, default=2048, help="tokens a step (%(default)s)"
    )
    parser.add_argument("--short-length", type=int, default=256, help="(%(default)s)")
    parser.add_argument("--long-length", type=int, default=1024, help="(%(default)s)")
    parser.add_argument(
        "--matrix-lr", type=float, default=0.02, help="peak rate of Muon (%(default)s)"
    )
    parser.add_argument(
        "--other-lr", type=float, default=0.006, help="peak rate of AdamW (%(default)s)"
    )
    parser.add_argument("--weight-decay", type=float, default=0.05, help="(%(default)s)")
    parser.add_argument("--hidden", type=int, default=256, help="(%(default)s)")
    parser.add_argument("--ffn", type=int, default=768, help="(%(default)s)")
    parser.add_argument(
        "--shared-layers", type=int, default=2, help="layers in the shared block (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (%(default)s)")
    parser.add_argument(
        "--dtype", choices=checkpoint.DTYPES, default="bfloat16", help="of products (%(default)s)"
    )
    parser.add_argument("--log-every", type=int, default=40, help="steps (%(default)s)")
    parser.add_argument(
        "--evaluate-every", type=int, default=250, help="steps; 0 = never (%(default)s)"
    )
    parser.add_argument("--checkpoint-seconds", type=float, default=180, help="(%(default)s)")
    args = parser.parse_args()
    args.long_from = args.long_from // args.batch_tokens * args.batch_tokens
    return args


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.run.mkdir(parents=True, exist_ok=True)
    vocabulary = json.loads((args.data / "corpus.json").read_text())["vocabulary"]
    config = models.ModelConfig(
        kind=args.kind,
        vocabulary=vocabulary,
        hidden=args.hidden,
        heads=args.hidden // 64,
        kv_heads=args.hidden // 128,
        ffn=args.ffn,
        shared_layers=args.shared_layers,
        max_positions=args.long_length,
    )
    dtype = checkpoint.DTYPES[args.dtype]
    model = models.make_model(config, dtype)
    optimizers = optimizers_lib.make_optimizers(
        model, args.matrix_lr, args.other_lr, args.weight_decay, dtype
    )
    tokens = 0
    latest = args.run / "latest.pt"
    if latest.exists():
        saved = torch.load(latest, map_location="cpu")
        if saved["config"] != dataclasses.asdict(config):
            raise SystemExit(f"{latest} has another configuration: {saved['config']}")
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
        tokens = saved["tokens"]

    stopping = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.append(True))
    batches = Batches(args.data / "train.bin", args.seed)
    log = Log(args.run / "log.jsonl")
    log.write(
        event="start",
        tokens=tokens,
        parameters=sum(p.numel() for p in model.parameters()),
        torch=torch.__version__,
        arguments={name: str(value) for name, value in vars(args).items()},
    )
    saved_at = time.time()
    end = args.rate[-1][0]
    while tokens < end and not stopping:
        factor = rate_factor(args, tokens)
        rates = (factor * args.matrix_lr, factor * args.other_lr)
        log.add(train_step(model, optimizers, batches.batch(args, tokens), rates))
        tokens += args.batch_tokens
        step = tokens // args.batch_tokens
        if step % args.log_every == 0:
            log.flush(tokens, factor, args.batch_tokens)
        if args.evaluate_every and step % args.evaluate_every == 0:
            rows = evaluate.heldout_rows(args.data, args.long_length, most=16)
            log.write(
                event="held-out", tokens=tokens, **evaluate.evaluate(model, rows, "threshold")
            )
        if time.time() - saved_at > args.checkpoint_seconds:
            checkpoint.save(latest, config, model, optimizers, tokens)
            saved_at = time.time()
    checkpoint.save(latest, config, model, optimizers, tokens)
    log.write(event="end", tokens=tokens, finished=tokens >= end)


if __name__ == "__main__":
    main()
