# SPDX-License-Identifier: Apache-2.0
"""Writes the loss curves of the two runs as one CSV file, a row for each point where either logged.

Columns: tokens seen; for each run the learning rates' factor, the training loss (mean since its
row before; the MoR model's under the top-k rule) and the held-out loss (a sample, threshold rule);
of the MoR model, for recursions 2 and 3, the agreement of threshold and top-k, and the share of
held-out tokens that take them.
"""

import argparse
import csv
import json
import pathlib

COLUMNS = ["tokens"]
COLUMNS += ["mor_rate", "mor_loss", "mor_heldout", "agreement_2", "agreement_3", "share_2", "share_3"]
COLUMNS += ["vanilla_rate", "vanilla_loss", "vanilla_heldout"]


def add_run(rows, log, prefix):
    """Adds the records of a log.jsonl to rows, a dict from tokens to a dict from column to value."""
    for record in map(json.loads, log.read_text().splitlines()):
        event = record.get("event")
        if event in ("start", "end"):
            continue
        row = rows.setdefault(record["tokens"], {"tokens": record["tokens"]})
        if event == "held-out":
            row[f"{prefix}_heldout"] = record["loss"]
            row.update({f"share_{r}": s for r, s in enumerate(record.get("share", []), start=2)})
        else:
            row[f"{prefix}_rate"] = record["rate"]
            row[f"{prefix}_loss"] = record["loss"]
            row.update({name: record[name] for name in COLUMNS if name in record})


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mor", type=pathlib.Path, required=True, help="folder of the MoR run")
    parser.add_argument("--vanilla", type=pathlib.Path, required=True, help="folder of the twin's")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="CSV file to write")
    args = parser.parse_args()

    rows = {}
    add_run(rows, args.mor / "log.jsonl", "mor")
    add_run(rows, args.vanilla / "log.jsonl", "vanilla")
    with args.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for tokens in sorted(rows):
            values = rows[tokens].items()
            writer.writerow({k: round(v, 4) if isinstance(v, float) else v for k, v in values})


if __name__ == "__main__":
    main()
