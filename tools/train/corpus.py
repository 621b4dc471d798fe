# SPDX-License-Identifier: Apache-2.0
"""The training text: the Python standard library's own sources, as installed.

Makes a data directory with
  tokenizer.json   the byte-level BPE tokenizer, trained on the training files
  train.bin        token ids of the training files, uint16, each file followed by the end-of-text id
  heldout.bin      the same for the held-out files
  corpus.json      which Python, how many files, bytes and tokens, and the rules below

A file is held out if the SHA-256 of its path below the library's folder, taken as a number, is a
multiple of HELDOUT_ONE_IN: fixed for all time and independent of what else is installed.
"""

import argparse
import hashlib
import json
import pathlib
import platform
import sysconfig

import numpy as np

import bpe

# Installed packages are not the standard library; tests and generated tables do not read like
# programs.
EXCLUDED_FOLDERS = frozenset(
    {
        "site-packages",
        "dist-packages",
        "__pycache__",
        "test",
        "tests",
        "idle_test",
        "encodings",
        "pydoc_data",
        "__phello__",
    }
)
HELDOUT_ONE_IN = 20


def library_files(root):
    """Paths below root of the sources used, sorted."""
    files = []
    for path in root.rglob("*.py"):
        relative = path.relative_to(root)
        if not EXCLUDED_FOLDERS.intersection(relative.parts) and path.is_file():
            files.append(relative)
    return sorted(files)


def is_held_out(relative):
    digest = hashlib.sha256(relative.as_posix().encode()).digest()
    return int.from_bytes(digest, "big") % HELDOUT_ONE_IN == 0


def read_texts(root, files):
    """The texts of the files that are UTF-8 (nearly all are)."""
    texts = []
    for relative in files:
        try:
            text = (root / relative).read_bytes().decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError:
            continue
        if text.strip():
            texts.append(text)
    return texts


def encode(tokenizer, texts):
    """All texts as one array of ids, each text followed by the end-of-text id."""
    end = tokenizer.token_to_id(bpe.END_OF_TEXT)
    ids = []
    for encoding in tokenizer.encode_batch(texts):
        ids.extend(encoding.ids)
        ids.append(end)
    return np.array(ids, dtype=np.uint16)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, help="data directory to make")
    parser.add_argument(
        "--stdlib",
        type=pathlib.Path,
        default=pathlib.Path(sysconfig.get_paths()["stdlib"]),
        help="folder of the standard library (default: this interpreter's, %(default)s)",
    )
    parser.add_argument(
        "--vocabulary", type=int, default=4096, help="ids, special tokens included (%(default)s)"
    )
    args = parser.parse_args()

    files = library_files(args.stdlib)
    parts = {
        "train": read_texts(args.stdlib, [f for f in files if not is_held_out(f)]),
        "heldout": read_texts(args.stdlib, [f for f in files if is_held_out(f)]),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = bpe.train(parts["train"], args.vocabulary)
    tokenizer.save(str(args.out / "tokenizer.json"))
    manifest = {
        "python": platform.python_version(),
        "excluded_folders": sorted(EXCLUDED_FOLDERS),
        "held_out": f"sha256(path) % {HELDOUT_ONE_IN} == 0",
        "vocabulary": args.vocabulary,
    }
    for name, texts in parts.items():
        ids = encode(tokenizer, texts)
        ids.tofile(args.out / f"{name}.bin")
        manifest[name] = {
            "files": len(texts),
            "bytes": sum(len(text.encode()) for text in texts),
            "tokens": int(ids.size),
        }
    (args.out / "corpus.json").write_text(json.dumps(manifest, indent=2) + "\n")
    print(json.dumps(manifest, indent=2))


if __name__ == "__main__":
    main()
