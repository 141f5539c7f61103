"""transformers' ``Conv1D``, a Linear whose weight is (in, out), is found, and lowered as a Linear is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit_pytorch.artefact import files
from ilit_pytorch.model.weights import has_transposed_forward, in_features, is_transposed, output_first
from ilit_pytorch.tracing.ops import op_kind, why_float

STATIC = OpConfig("int8", "static", QuantSpec("int8", "sym", "per_channel", "minmax", 7), QuantSpec("uint8"))
DYNAMIC = replace(STATIC, approach="dynamic")
PER_TOKEN = replace(DYNAMIC, activation=QuantSpec("uint8", "sym", "per_token"))
CONFIGS = {"static": STATIC, "smoothed": replace(STATIC, smoothing=0.8), "dynamic": DYNAMIC, "per token": PER_TOKEN}
CONFIGS |= {"bfloat16": OpConfig("bfloat16")}


class Scaled(Conv1D):
    """A forward of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Named(Conv1D):
    """Nothing of its own but its name."""


def as_linears(model: torch.nn.Module) -> torch.nn.Module:
    """Return the same function made of torch's Linears."""
    twin = copy.deepcopy(model)
    for name, module in model.named_children():
        if isinstance(module, Conv1D):
            linear = torch.nn.Linear(module.nx, module.nf)
            linear.weight.data, linear.bias.data = module.weight.data.t().contiguous(), module.bias.data.clone()
            setattr(twin, name, linear)
    return twin


def test_it_is_known_by_its_name() -> None:
    """Subclasses are Linears as long as the forward is its own; torch's Conv1d is something else."""
    op = Named(6, 4)
    assert (is_transposed(op), has_transposed_forward(op), op_kind(op)) == (True, True, "linear")
    assert (tuple(output_first(op).shape), in_features(op)) == ((6, 4), 4)
    assert (op_kind(Scaled(6, 4)), why_float(Scaled(6, 4))) == (None, "its class Scaled has a forward of its own")
    assert (is_transposed(torch.nn.Conv1d(4, 6, 1)), op_kind(torch.nn.Conv1d(4, 6, 1))) == (False, "conv1d")
    assert not has_transposed_forward(torch.nn.Linear(4, 6))


@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_lowered_as_a_linear_is(bench: Callable[..., Any], nets: SimpleNamespace, name: str) -> None:
    """The same bits, distances and candidates as from a model of Linears with the same weights, bias corrected."""
    model, x = nets.transposed(), torch.randn(64, 8)
    one, other = bench(model, x), bench(as_linears(model), x)
    recipe = Recipe(dict.fromkeys(one.ops, CONFIGS[name]), "1 batches", {"bias_correction": True})
    found, wanted = (b.adapter.lower(b.model, recipe, b.calibration) for b in (one, other))
    assert one.calibration.structure.sites == other.calibration.structure.sites
    with torch.no_grad():
        torch.testing.assert_close(found(x), wanted(x), rtol=1e-5, atol=1e-6)
    if name != "bfloat16":
        assert torch.equal(found[0].weight.detach(), wanted[0].weight.detach().t())
        distances = [b.adapter.probe_ops(b.model, recipe, b.calibration) for b in (one, other)]
        assert distances[0] == pytest.approx(distances[1], rel=1e-4)


def test_its_weight_has_the_float_ones_layout(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """So have those of copies; shape and values are (in, out), and what it is called by transformers is there."""
    subject = bench(nets.transposed(), torch.randn(64, 8))
    lowered = subject.lower(static=subject.ops)
    for op in (lowered[0], copy.deepcopy(lowered)[0]):
        assert (tuple(op.weight.shape), op.nf, op.nx) == ((8, 16), 16, 8)
        torch.testing.assert_close(op.weight.clone(), subject.model[0].weight.detach(), rtol=0, atol=0.05)


@pytest.mark.parametrize("dynamic", ["0", "2"])
def test_its_artefact_gives_the_same_bits(
    bench: Callable[..., Any], nets: SimpleNamespace, tmp_path: Path, dynamic: str
) -> None:
    """Weights of another shape are refused, these are read into the architecture they came from."""
    x = torch.randn(64, 8)
    subject = bench(nets.transposed(), x)
    lowered = subject.lower(static=[op for op in subject.ops if op != dynamic], dynamic=[dynamic])
    files.save(lowered, tmp_path)
    loaded = files.load(tmp_path, nets.transposed())
    with torch.no_grad():
        assert torch.equal(loaded(x), lowered(x))
    assert tuple(loaded[0].weight.shape) == (8, 16)


def test_it_runs_between_torchs_stubs(bench: Callable[..., Any]) -> None:
    """There torch's quantized Linear takes its weight, transposed."""
    from torch.ao.quantization import DeQuantStub, QuantStub

    subject = bench(torch.nn.Sequential(QuantStub(), Conv1D(16, 8), DeQuantStub()), torch.randn(64, 8))
    lowered = subject.lower(static=subject.ops)
    assert subject.calibration.structure.sites["1"].island == 0
    assert tuple(lowered[1].weight.shape) == (8, 16)
    assert subject.close(lowered, 0.05)


def test_a_single_one_in_float_is_the_model_itself(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """In float nothing is transposed."""
    subject = bench(nets.transposed(), torch.randn(64, 8))
    lowered = subject.adapter.lower(subject.model, Recipe(dict.fromkeys(subject.ops, FLOAT32), ""), subject.calibration)
    assert (subject.run(lowered) == subject.run()).all()
