"""A tuned model on disk: read back bit for bit, and refused in one line where it is damaged or does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ilit.errors import ArtefactError
from ilit_pytorch.artefact import files


@pytest.fixture
def saved(stubbed: Any, tmp_path: Path) -> SimpleNamespace:
    """Return a stubbed net in mixed precision, written."""
    lowered = stubbed.lower(static=["conv1", "conv3"], dynamic=["head"])
    files.save(lowered, tmp_path)
    return SimpleNamespace(folder=tmp_path, lowered=lowered, bench=stubbed)


def test_an_island_loads_bit_equal(saved: Any, nets: Any) -> None:
    """Whatever values the architecture holds, the loaded model answers as the tuned one did, and says its recipe."""
    skeleton = nets.StubbedConvNet().fused()
    loaded = files.load(saved.folder, skeleton)
    assert np.array_equal(saved.bench.run(loaded), saved.bench.run(saved.lowered))
    assert loaded.ilit == saved.lowered.ilit
    assert {p.name for p in saved.folder.iterdir()} == {"config.json", "model.safetensors", "recipe.json"}


@pytest.mark.parametrize("name", ["conv", "transposed", "shared-stub", "tied-embedding"])
def test_mixed_precision_loads_bit_equal(
    bench: Callable[..., Any], sample: Callable[[str], Any], name: str, tmp_path: Path
) -> None:
    """Float ops, buffers that state_dict leaves out and tied weights come back to the bit."""
    one = sample(name)
    subject = bench(one.model, one.batches[0][0])
    lowered = subject.lower(static=[op for op in subject.ops if op != "embed"][::2])
    files.save(lowered, tmp_path)
    loaded = files.load(tmp_path, sample(name).model)
    assert np.array_equal(subject.run(loaded), subject.run(lowered))


def cut(folder: Path, name: str, share: float) -> None:
    """Leave only the first part of a file."""
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(len(data) * share)])


DAMAGES: dict[str, tuple[Callable[[Path, Any], Any], str]] = {
    "no recipe": (lambda f, edit: (f / "recipe.json").unlink(), "no such file"),
    "torn recipe": (lambda f, edit: cut(f, "recipe.json", 0.5), "write the model again"),
    "binary recipe": (lambda f, edit: (f / "recipe.json").write_bytes(b"\xff\xfe\x00"), "write the model again"),
    "list": (lambda f, edit: (f / "recipe.json").write_text("[]"), "not a JSON object"),
    "newer format": (lambda f, edit: edit(f, format=9), "format 9 is none of 1 to 2"),
    "no cpu": (lambda f, edit: edit(f, cpu=None), "does not describe this model"),
    "no modules": (lambda f, edit: edit(f, modules=None), "does not describe this model"),
    "unknown kind": (
        lambda f, edit: edit(f, modules=[{"path": "head", "kind": "x", "meta": {}}]),
        "no module kind 'x'",
    ),
    "unknown path": (
        lambda f, edit: edit(f, modules=[{"path": "a.b", "kind": "linear", "meta": {}}]),
        "no module 'a.b'",
    ),
    "newer recipe": (lambda f, edit: edit(f, recipe={"version": 9}), "does not describe this model"),
    "no tensors": (lambda f, edit: (f / "model.safetensors").unlink(), "write the model again"),
    "torn tensors": (lambda f, edit: cut(f, "model.safetensors", 0.5), "write the model again"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused_in_one_line(saved: Any, edit_recipe: Callable[..., None], name: str) -> None:
    """Missing, torn and newer files are named, with the cure."""
    damage, text = DAMAGES[name]
    damage(saved.folder, edit_recipe)
    with pytest.raises(ArtefactError) as caught:
        files.load(saved.folder, saved.bench.model)
    assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_float_model_is_not_saved(tmp_path: Path) -> None:
    """Only what lowering made is an artefact."""
    with pytest.raises(ArtefactError, match="was not lowered by ilit"):
        files.save(torch.nn.Linear(2, 2), tmp_path)
