"""Timings per op shape."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ilit.recipe import Recipe
from ilit_pytorch.measuring import op_speed


def test_each_shape_is_timed_once(
    bench: Callable[..., Any], nets: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three readers of one shape share a timing, the fourth Linear has its own; ops left float have none."""
    subject = bench(nets.SharedReaders(), torch.randn(16, 8))
    timed: list[tuple[int, ...]] = []

    def ratio(_float: Any, _int8: Any, inputs: torch.Tensor) -> float:
        timed.append(tuple(inputs.shape))
        return float(len(timed))

    monkeypatch.setattr(op_speed, "_ratio", ratio)
    recipe = Recipe(dict.fromkeys(subject.ops, nets.STATIC), "1 batches")
    found = subject.adapter.time_ops(subject.model, recipe, subject.calibration)
    assert found == {"query": 1.0, "key": 1.0, "value": 1.0, "out": 2.0}
    assert timed == [(16, 8), (16, 8)]
    some = recipe.in_float(["out"])
    assert set(subject.adapter.time_ops(subject.model, some, subject.calibration)) == {"query", "key", "value"}


def test_a_ratio_is_positive_and_islands_have_none(
    bench: Callable[..., Any], stubbed: Any, nets: SimpleNamespace
) -> None:
    """The real timing gives a positive number; between torch's stubs an op's cost depends on its neighbours."""
    subject = bench(nets.mlp(), torch.randn(16, 8))
    recipe = Recipe(dict.fromkeys(subject.ops, nets.STATIC), "1 batches")
    found = subject.adapter.time_ops(subject.model, recipe, subject.calibration)
    assert set(found) == set(subject.ops)
    assert all(ratio > 0 for ratio in found.values())
    inside = Recipe(dict.fromkeys(stubbed.ops, nets.STATIC), "1 batches")
    assert stubbed.adapter.time_ops(stubbed.model, inside, stubbed.calibration) == {}
