"""``.safetensors`` files of the fake adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ilit.testing.fake.tensors import read_tensors, write_tensors


def test_tensors_are_read_back(tmp_path: Path) -> None:
    """The file is what the safetensors format says; values, shapes and order survive."""
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([np.pi], np.float32)}
    write_tensors(tmp_path / "t.safetensors", tensors)
    found = read_tensors(tmp_path / "t.safetensors")
    assert list(found) == ["b", "a"]
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


def test_a_cut_off_tensor_file_is_refused(tmp_path: Path) -> None:
    """Half a tensor is never read."""
    file = tmp_path / "t.safetensors"
    write_tensors(file, {"a": np.ones(8, np.float32)})
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match="tensor 'a' is cut off"):
        read_tensors(file)
