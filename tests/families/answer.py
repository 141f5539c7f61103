"""Answers for tuned models in a process that never saw them: stdin names a folder a line, stdout says ``ok`` to each.

The folder holds ``best/`` and ``inputs.safetensors``; ``outputs.safetensors`` is written beside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import ilit
from ilit.plugins import installed_plugins

torch.set_num_threads(1)  # as in the tests, so that sums are made in the same order
# Imports what loading needs, which takes seconds, while the first family is being tuned.
installed_plugins().hook.ilit_pytorch_build(config={"model_type": "none", "architectures": []})
for line in sys.stdin:
    folder = Path(line.rstrip("\n"))
    try:
        with torch.no_grad():
            outputs = ilit.load(folder / "best")(**load_file(folder / "inputs.safetensors"))
        answer = {name: value.contiguous() for name, value in outputs.items() if isinstance(value, torch.Tensor)}
        save_file(answer, folder / "outputs.safetensors")
        print("ok", flush=True)  # noqa: T201 - the test reads it
    except Exception as error:  # noqa: BLE001 - told, so that the next family finds the process alive
        print(" ".join(f"{type(error).__name__}: {error}".split()), flush=True)  # noqa: T201 - as above
