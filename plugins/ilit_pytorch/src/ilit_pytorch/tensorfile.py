"""Writing safetensors files that whoever may read the folder may read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch


def write(
    tensors: Mapping[str, torch.Tensor] | Mapping[str, np.ndarray], file: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file with the mode that the umask gives; safetensors by itself gives it to its owner only."""
    with file.open("wb"):  # what ``open`` creates has the umask's mode
        mode = file.stat().st_mode & 0o777
    if all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        safetensors.torch.save_file(dict(tensors), file, metadata)  # type: ignore[arg-type]  # just checked
    else:
        safetensors.numpy.save_file(dict(tensors), file, metadata)  # type: ignore[arg-type]  # as above
    file.chmod(mode)
