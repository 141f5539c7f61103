"""What recipes of one calibration share is made once, is no part of the statistics, and ends with them."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ilit.recipe import Recipe
from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.engine import kernels


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Return the weights that are packed from now on, in order."""
    found: list[torch.Tensor] = []
    plain = kernels.pack_linear
    monkeypatch.setattr(kernels, "pack_linear", lambda weight: found.append(weight) or plain(weight))
    return found


def test_a_weight_is_packed_once_for_a_calibration(
    bench: Callable[..., Any], nets: SimpleNamespace, packed: list[torch.Tensor]
) -> None:
    """Recipes with the same weight share it, and a copy of the statistics begins without it."""
    subject = bench(nets.mlp(), torch.randn(16, 8))
    for static in (["0"], ["0", "3"], ["0"]):
        subject.lower(static=static)
    assert len(packed) == 2
    recipe = Recipe(dict.fromkeys(subject.ops, nets.STATIC), "1 batches")
    subject.adapter.lower(subject.model, recipe, copy.copy(subject.calibration))
    assert len(packed) == 4


def test_the_cache_ends_with_the_calibration(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """Packed weights outlive the lowered model, and not the statistics, however long the adapter lives."""
    adapter, subject = PyTorchAdapter(), bench(nets.mlp(), torch.randn(16, 8))
    calibration = copy.copy(subject.calibration)
    lowered = adapter.lower(subject.model, Recipe(dict.fromkeys(subject.ops, nets.STATIC), "1 batches"), calibration)
    pack = weakref.ref(lowered.get_submodule("0").packed)
    del lowered
    gc.collect()
    assert pack() is not None
    del calibration
    gc.collect()
    assert pack() is None


def test_lowering_and_probing_leave_the_statistics_as_they_are(
    bench: Callable[..., Any], nets: SimpleNamespace
) -> None:
    """They pickle to the same bytes before and after, and what is read back gives the same models."""
    model = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh()) for _ in range(3)))
    subject = bench(model, torch.randn(16, 8))
    before = pickle.dumps(subject.calibration)
    recipe = Recipe(dict.fromkeys(subject.ops, nets.STATIC), "1 batches").in_float(["0.0"])
    wanted = subject.run(subject.adapter.lower(model, recipe, subject.calibration))
    distance = subject.adapter.probe(model, [recipe], subject.calibration)

    assert pickle.dumps(subject.calibration) == before
    again = pickle.loads(before)  # noqa: S301 - its own bytes
    assert again.digest == subject.calibration.digest
    adapter = PyTorchAdapter()
    assert np.array_equal(subject.run(adapter.lower(model, recipe, again)), wanted)
    assert adapter.probe(model, [recipe], again) == distance


def test_a_fold_is_made_once_and_follows_the_model(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """Recipes share it, with its packed weight, until a tensor that it is made of is written to."""
    model: Any = nets.settled(nets.conv_net(), 1, 8, 8)
    subject = bench(model, torch.randn(16, 1, 8, 8))
    one, two = (subject.lower(static=["0"]) for _ in range(2))
    assert one[0].packed is two[0].packed
    with torch.no_grad():
        model[1].weight.mul_(2.0)
    torch.testing.assert_close(subject.lower(static=["0"])[0].weight_scale, one[0].weight_scale * 2)
