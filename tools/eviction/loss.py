# SPDX-License-Identifier: Apache-2.0
"""Loss on held-out text against KV budgets, for each eviction policy; see README.md beside this file."""

import argparse
import concurrent.futures
import dataclasses
import json
import math
import pathlib
import sys
import sysconfig

from tests.e2e.harness import ROOT, Server, pb, request
from tools.eviction import plot

sys.path.insert(0, str(ROOT / "tools" / "train"))
import corpus  # noqa: E402: one rule for what is held out

LENGTH = 1024
SHARES = {"1/2": 0.5, "1/4": 0.25, "1/8": 0.125}
POLICIES = ("window", "attention", "router")
SINKS, RECENT = 4, 16


def sequences(server, count):
    """`count` sequences of LENGTH token ids, evenly from the held-out text."""
    library = pathlib.Path(sysconfig.get_paths()["stdlib"])
    files = [f for f in corpus.library_files(library) if corpus.is_held_out(f)]
    ids = []
    for text in corpus.read_texts(library, files):
        ids.extend(server.stub.Tokenize(pb.TokenizeRequest(text=text)).ids)
    step = (len(ids) - LENGTH) // (count - 1)
    return [ids[i * step : i * step + LENGTH] for i in range(count)]


@dataclasses.dataclass
class Result:
    loss: float
    held: dict  # by group: entries in the mean over the positions


def entries_held(depths, groups, budget, every):
    """Entries of each group, in the mean over the positions of one sequence."""
    held = {}
    for group in groups:
        count = total = 0
        for position, depth in enumerate(depths):
            if position % every == 0 and group in budget:
                count = min(count, budget[group])
            count += 1 if group in ("entry", "exit") or depth >= int(group) else 0
            total += count
        held[group] = total / len(depths)
    return held


def measure(server, texts, groups, policy, budget, every):
    """The mean over `texts` of loss and entries held, with `budget` entries a group."""
    kv = {}
    if budget:
        kv = {"eviction": policy, "sinks": SINKS, "recent": RECENT,
              "budget": ",".join(f"{group}:{entries}" for group, entries in budget.items())}

    def one(ids):
        message = request(ids=ids, max_tokens=0, kv=kv,
                          output={"prompt_logprobs": True, "prompt_depths": True})
        answer = server.stub.Complete(message)
        loss = -sum(p.logprob for p in answer.prompt_logprobs) / len(answer.prompt_logprobs)
        # The last token of a prompt without new ones becomes no row.
        return loss, entries_held(list(answer.final.prompt_token_depths), groups, budget, every)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one, texts))
    losses, held = zip(*results)
    return Result(math.fsum(losses) / len(losses),
                  {g: math.fsum(h[g] for h in held) / len(held) for g in groups})


def entries_at_end(server, texts, groups):
    """Entries of each group at the end of a sequence, in the mean, without a budget."""
    counts = dict.fromkeys(groups, 0.0)
    for ids in texts:
        message = request(ids=ids, max_tokens=0,
                          output={"prompt_logprobs": True, "prompt_depths": True})
        depths = server.stub.Complete(message).final.prompt_token_depths
        for group in groups:
            counts[group] += sum(group in ("entry", "exit") or d >= int(group) for d in depths)
    return {group: count / len(texts) for group, count in counts.items()}


def run(server, texts, every):
    """Records of all measurements at one --evict_every."""
    recursions = [str(r + 1) for r in range(server.recursions)]
    groups = ["entry", *recursions, "exit"]
    full = entries_at_end(server, texts, groups)
    exact = measure(server, texts, groups, "none", {}, every)
    yield {"policy": "none", "groups": "-", "share": "1", "every": every, "loss": exact.loss,
           "budget": full, "held": exact.held}
    scopes = {f"recursion {r}": [r] for r in recursions}
    scopes |= {"all recursions": recursions, "all groups": groups}
    for name, scope in scopes.items():
        for policy in POLICIES:
            for share, factor in SHARES.items():
                budget = {g: max(SINKS + RECENT, round(full[g] * factor)) for g in scope}
                result = measure(server, texts, groups, policy, budget, every)
                yield {"policy": policy, "groups": name, "share": share, "every": every,
                       "loss": result.loss, "budget": budget, "held": result.held}


def table(records):
    """Markdown: a row for each budget, a column for each policy."""
    exact = next(r for r in records if r["policy"] == "none")
    lines = [f"Without a budget: {exact['loss']:.4f} nats a token.", "",
             "| budget on | share | entries allowed | held in the mean | window | attention | router |",
             "|---|---|---|---|---|---|---|"]
    rows = {}
    for record in records:
        if record["policy"] != "none":
            rows.setdefault((record["groups"], record["share"]), {})[record["policy"]] = record
    for (groups, share), by_policy in rows.items():
        some = by_policy["window"]
        allowed = sum(some["budget"].values())
        held = sum(some["held"][g] for g in some["budget"])
        best = min(by_policy[p]["loss"] for p in POLICIES)
        cells = []
        for policy in POLICIES:
            loss = by_policy[policy]["loss"]
            text = f"{loss - exact['loss']:+.4f}"
            cells.append(f"**{text}**" if loss == best else text)
        lines.append(f"| {groups} | {share} | {allowed} | {held:.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=20)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder to write into")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    everything = []
    for every in (16, 256):
        server = Server(f"--evict_every={every}", "--ends=256")
        try:
            info = server.stub.GetModelInfo(pb.GetModelInfoRequest())
            server.recursions = info.num_recursions
            texts = sequences(server, args.sequences)
            records = []
            for record in run(server, texts, every):
                records.append(record)
                print(json.dumps(record), flush=True)
            (args.out / f"every_{every}.md").write_text(table(records), encoding="utf-8")
            if every == 16:
                (args.out / "loss.svg").write_text(plot.svg(records), encoding="utf-8")
            everything += records
        finally:
            server.stop()
    lines = "".join(json.dumps(record) + "\n" for record in everything)
    (args.out / "loss.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
