"""Files of tensors can be read by whoever may read the folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from ilit_pytorch import tensorfile


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Return ``os.umask``, and put back what was."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
@pytest.mark.parametrize("kind", [torch, np], ids=["torch", "numpy"])
def test_files_have_the_mode_that_the_umask_gives(
    umask: Callable[[int], int], tmp_path: Path, mask: int, mode: int, kind: object
) -> None:
    """So that a server under another account can read a model where its owner lets others read."""
    umask(mask)
    file = tmp_path / "a.safetensors"
    tensorfile.write({"a": torch.ones(2) if kind is torch else np.ones(2, np.float32)}, file, {"version": "1"})
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert load_file(file)["a"].tolist() == [1.0, 1.0]
