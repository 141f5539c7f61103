"""Probes see what a recipe does, whatever they reuse."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ilit.recipe import FLOAT32, Recipe
from ilit.space import CalibrationSize
from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.lowering import replay
from ilit_pytorch.measuring import probe


class Chain(torch.nn.Module):
    """Blocks behind one another, an op before and one after them."""

    def __init__(self, inplace: bool = False, twice: bool = False) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(6, 8), torch.nn.Linear(8, 3)
        self.blocks = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8)) for _ in range(3)
        )
        self.inplace, self.twice = inplace, twice

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for block in self.blocks:
            y = block(x)
            if self.inplace:
                y += x
            x = y
        if self.twice:
            x = self.blocks[0](x)
        return self.last(x)


def chosen(names: tuple[str, ...], config: Any, quantized: tuple[str, ...]) -> Recipe:
    """Return the recipe with the named ops in INT8."""
    return Recipe({name: config if name in quantized else FLOAT32 for name in names}, "1 batches")


@pytest.mark.parametrize("kind", ["plain", "inplace", "twice"])
def test_a_probe_is_the_distance_whatever_it_reuses(
    bench: Callable[..., Any], nets: SimpleNamespace, kind: str
) -> None:
    """For any one or two ops in INT8 the figure is that of running the whole model, bit by bit."""
    subject = bench(Chain(inplace=kind == "inplace", twice=kind == "twice"), torch.randn(80, 6))
    for quantized in (*itertools.combinations(subject.ops, 1), *itertools.combinations(subject.ops, 2)):
        recipe = chosen(subject.ops, nets.STATIC, quantized)
        lowered = subject.adapter.lower(subject.model, recipe, subject.calibration)
        found, wanted = subject.run(lowered).astype(np.float64), subject.run().astype(np.float64)
        (distance,) = subject.adapter.probe(subject.model, [recipe], subject.calibration)
        assert distance == pytest.approx(np.abs(found - wanted).mean() ** 2 * np.pi / 2 / wanted.var())


def test_blocks_before_the_first_change_are_not_run(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """With only the last op in INT8 no block is computed; with the first op in INT8 every block is."""
    subject = bench(Chain(), torch.randn(80, 6))
    assert len(replay.record(subject.model, subject.calibration.structure, [subject.inputs]).blocks) == 3
    ran: list[int] = []

    class Counting(torch.nn.Tanh):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            ran.append(1)
            return super().forward(x)

    for block in subject.model.blocks:
        block[1] = Counting()
    for quantized, blocks in ((("last",), 0), (("blocks.1.2",), 2), (("first",), 3)):
        subject.adapter.probe(subject.model, [chosen(subject.ops, nets.STATIC, quantized)], subject.calibration)
        ran.clear()
        subject.adapter.probe(subject.model, [chosen(subject.ops, nets.STATIC, quantized)], subject.calibration)
        assert len(ran) == blocks


def test_nothing_is_recorded_for_a_recipe_that_changes_the_first_block(
    bench: Callable[..., Any], nets: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass of the float model is run once a recipe can use what it gives, not before, and never again."""
    subject, recorded = bench(Chain(), torch.randn(80, 6)), list[str]()
    monkeypatch.setattr(probe, "record", lambda *given: recorded.append("once") or replay.record(*given))
    for quantized, times in ((("first", "last"), 0), (("blocks.0.0",), 0), (("last",), 1), (("last",), 1)):
        subject.adapter.probe(subject.model, [chosen(subject.ops, nets.STATIC, quantized)], subject.calibration)
        assert len(recorded) == times


def test_what_would_take_too_much_memory_is_not_saved(
    bench: Callable[..., Any], nets: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the bound nothing is replayed, and probes are the same."""
    subject = bench(Chain(), torch.randn(80, 6))
    recipe = chosen(subject.ops, nets.STATIC, ("last",))
    wanted = subject.adapter.probe(subject.model, [recipe], subject.calibration)
    monkeypatch.setattr(replay, "MOST_BYTES", 100)
    assert PyTorchAdapter().probe(subject.model, [recipe], subject.calibration) == wanted
    assert replay.record(subject.model, subject.calibration.structure, [subject.inputs]).blocks == ()


@pytest.mark.parametrize("granularity", ["static", "smoothed", "dynamic", "per_token"])
def test_an_ops_own_error_is_that_of_its_kernel(
    bench: Callable[..., Any], nets: SimpleNamespace, granularity: str
) -> None:
    """On up to 128 rows, all of which calibration samples, the figure is the INT8 module's error on them."""
    subject = bench(torch.nn.Sequential(torch.nn.Linear(8, 5), torch.nn.ReLU()), torch.randn(60, 8))
    token = replace(nets.DYNAMIC, activation=replace(nets.DYNAMIC.activation, scheme="sym", granularity="per_token"))
    config = {
        "static": nets.STATIC,
        "smoothed": replace(nets.STATIC, smoothing=0.7),
        "dynamic": nets.DYNAMIC,
        "per_token": token,
    }[granularity]
    recipe = Recipe({"0": config}, "1 batches", {"bias_correction": True})
    found = subject.adapter.probe_ops(subject.model, recipe, subject.calibration)
    lowered = subject.adapter.lower(subject.model, recipe, subject.calibration)
    with torch.no_grad():
        ours, theirs = lowered[0](subject.inputs), subject.model[0](subject.inputs)
    rows = (theirs - theirs.mean()).square().sum(1)
    assert float(rows.min()) > 1e-3 * float(rows.mean())
    assert found["0"] == pytest.approx(float(((ours - theirs).square().sum(1) / rows).mean()), rel=1e-3)


def test_embeddings_and_convolutions_have_errors_too(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """An embedding's from the indices it looked up, a convolution's from a pass of the float model."""
    embedding = bench(nets.TiedEmbedding(), torch.randint(0, 12, (6, 5)))
    weight_only = replace(nets.STATIC, approach="weight_only", activation=None)
    recipe = Recipe({**dict.fromkeys(embedding.ops, FLOAT32), "embed": weight_only}, "1 batches")
    errors = embedding.adapter.probe_ops(embedding.model, recipe, embedding.calibration)
    assert 0 < errors["embed"] < 0.01
    conv = bench(nets.conv_net(), torch.randn(16, 1, 8, 8))
    errors = conv.adapter.probe_ops(conv.model, chosen(conv.ops, nets.STATIC, conv.ops), conv.calibration)
    assert set(errors) == set(conv.ops)
    assert all(0 < error < 0.1 for error in errors.values())


def test_an_op_that_a_batch_sends_no_row_to_has_the_error_of_the_others(
    bench: Callable[..., Any], nets: SimpleNamespace
) -> None:
    """A convolution called with nothing in one batch and with images in another is judged by these."""

    class Sorted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bright, self.dark = torch.nn.Conv2d(1, 2, 3), torch.nn.Conv2d(1, 2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bright = x.mean(dim=(1, 2, 3)) > 0
            out = torch.zeros(len(x), 2, 4, 4)
            out[bright], out[~bright] = self.bright(x[bright]), self.dark(x[~bright])
            return out

    model, adapter = Sorted().eval(), PyTorchAdapter()
    data = [(torch.rand(8, 1, 6, 6) * sign, None) for sign in (1.0, -1.0)]
    size = CalibrationSize(2, "batches")
    space = replace(adapter.describe_all(model, data, [size]), calibrations=(size,))
    calibration = adapter.calibrate(model, data, space)
    recipe = Recipe(dict.fromkeys(space.ops, nets.STATIC), str(size))
    errors = adapter.probe_ops(model, recipe, calibration)
    assert set(errors) == {"bright", "dark"}
    assert all(0.0 < error < 0.1 for error in errors.values())


def test_a_folded_convolution_is_compared_with_what_its_norm_gives(bench: Callable[..., Any], nets: Any) -> None:
    """Its own error is that of rounding, however far the norm moves its output."""
    model: Any = nets.settled(nets.conv_net(), 1, 8, 8)
    with torch.no_grad():
        model[1].bias.fill_(3.0)
    subject = bench(model, torch.randn(16, 1, 8, 8))
    assert subject.calibration.structure.folds
    recipe = chosen(subject.ops, nets.STATIC, ("0",))
    errors = subject.adapter.probe_ops(subject.model, recipe, subject.calibration)
    assert 0 < errors["0"] < 1e-2
