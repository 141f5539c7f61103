"""Smoothing changes nothing but what rounding does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ilit.errors import LoweringError
from ilit.recipe import Recipe
from ilit_pytorch.quantization.smoothing import WIDEST, Smoothing, smoothing_for


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), strength=st.sampled_from([0.3, 0.7, 1.0]), offset=st.floats(-50, 50))
def test_in_float_the_product_stays(seed: int, strength: float, offset: float) -> None:
    """``(x - centre) / vector`` times the stretched weight plus the centre's product is the float product."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(40, 12, generator=generator).double() * torch.logspace(-2, 2, 12) + offset
    weight = torch.randn(5, 12, generator=generator).double()
    smoothing = smoothing_for(x.amin(0).float(), x.amax(0).float(), weight.abs().amax(0).float(), strength)
    smoothed = (x - smoothing.centre) / smoothing.vector
    found = smoothed @ (weight * smoothing.vector).T + weight @ smoothing.centre.double()
    assert torch.allclose(found, x @ weight.T, rtol=1e-6, atol=1e-5)
    assert smoothing.vector.min() >= 1 / WIDEST
    assert smoothing.vector.max() <= WIDEST


def test_a_channel_that_never_moved_is_left_as_it_is() -> None:
    """Calibration says nothing about how such a channel varies, so it is neither stretched nor shrunk."""
    low, high = torch.tensor([-1.0, 3.0, -2.0]), torch.tensor([1.0, 3.0, 2.0])
    smoothing = smoothing_for(low, high, torch.ones(3), 0.5)
    assert float(smoothing.vector[1]) == 1.0
    assert float(smoothing.centre[1]) == 3.0
    still = smoothing_for(torch.zeros(3), torch.zeros(3), torch.ones(3), 0.5)
    assert torch.equal(still.vector, torch.ones(3))


@pytest.mark.parametrize("strength", [0.6, 0.8, 1.0])
def test_a_channel_seen_only_as_zeros_carries_values_later(
    bench: Callable[..., Any], nets: SimpleNamespace, strength: float
) -> None:
    """It is given the range of the middle channel, so that such values are rounded and not cut off."""
    widths = torch.logspace(-1, 1, 8)
    seen, later = (torch.randn(200, 8) * widths for _ in range(2))
    seen[:, 2], later[:, 2] = 0.0, torch.randn(200)
    model = torch.nn.Sequential(torch.nn.Linear(8, 5))
    with torch.no_grad():
        model[0].weight /= widths
        lowered = bench(model, seen).lower(**{"0": replace(nets.STATIC, smoothing=strength)})
        found, wanted = lowered(later), model(later)
    assert float((found - wanted).norm() / wanted.norm()) < 0.1


def test_equal_values_are_equal() -> None:
    """Two ops that loaded the same vectors share codes."""
    one, two = (Smoothing(torch.tensor([1.0, 2.0]), torch.zeros(2)) for _ in range(2))
    assert (one, hash(one)) == (two, hash(two))
    assert one != Smoothing(torch.tensor([1.0, 2.0]), torch.ones(2))


@pytest.fixture
def uneven(bench: Callable[..., Any], nets: SimpleNamespace) -> Any:
    """Return readers of one stub whose input has a channel a hundred times as wide and off centre."""
    inputs = torch.randn(64, 8)
    inputs[:, 3] = inputs[:, 3] * 100 + 200
    model = nets.SharedReaders()
    with torch.no_grad():
        for reader in (model.query, model.key, model.value):
            reader.weight[:, 3] /= 100
    return bench(model, inputs)


def test_smoothing_repairs_an_uneven_input(uneven: Any, nets: SimpleNamespace) -> None:
    """Where one channel takes nearly all codes, smoothing leaves a tenth of the error or less."""
    readers = ["query", "key", "value"]
    errors = {}
    for strength in (0.0, 0.9):
        config = replace(nets.STATIC, smoothing=strength)
        recipe = Recipe({**dict.fromkeys(readers, config), "out": replace(config, smoothing=0.0)}, "1 batches")
        errors[strength] = uneven.adapter.probe_ops(uneven.model, recipe, uneven.calibration)
    assert all(errors[0.9][name] < 0.1 * errors[0.0][name] for name in readers)


def test_readers_share_smoothed_codes_and_what_is_saved_loads_alike(
    uneven: Any, nets: SimpleNamespace, tmp_path: Path
) -> None:
    """One quantizer serves all readers of a stub, before and after it went through files, to the last bit."""
    config = replace(nets.STATIC, smoothing=0.9)
    lowered = uneven.lower(query=config, key=config, value=config)
    uneven.adapter.save(lowered, tmp_path)
    loaded = uneven.adapter.load(tmp_path, model=uneven.model)
    for model in (lowered, loaded):
        assert model.query.quantizer == model.key.quantizer == model.value.quantizer
        assert len({model.query.quantizer, model.key.quantizer}) == 1
    assert np.array_equal(uneven.run(loaded), uneven.run(lowered))


def test_only_minmax_is_smoothed(uneven: Any, nets: SimpleNamespace) -> None:
    """Other algorithms need the smoothed values' distribution, which is not recorded; the error says so."""
    clipped = replace(nets.STATIC.activation, algorithm="kl")
    with pytest.raises(LoweringError, match="smoothing takes the range of minmax, not of kl"):
        uneven.lower(query=replace(nets.STATIC, smoothing=0.5, activation=clipped))
