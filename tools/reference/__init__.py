# SPDX-License-Identifier: Apache-2.0
"""Reference forward pass of Mixture-of-Recursions models in NumPy.

Slow, readable and independent of the C++ engine: float64, the whole sequence at once, no cache.
It says what the right answer is. It also draws small random models and writes them together with
the logits and depths that an engine must reproduce.

  config.py          config.json with its `mor` object, checked
  safetensors_io.py  reading and writing safetensors files
  model.py           names and shapes of tensors; a directory as a Model
  forward.py         the mathematics
  pairs.py           covering arrays: which models cover every pair of option values
  random_models.py   random weights whose routing is mixed
  generate.py        the list of golden models and their files
  against_transformers.py  what transformers' Llama computes, on record
  selftest.py        `python3 -m tools.reference.selftest`

Needs Python 3.11 or newer and NumPy 1.24 or newer. Run it from the project's root:
`python3 -m tools.reference --help`.
"""

import os

# The matrices are small: BLAS threads would spin on the other cores and gain nothing.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
