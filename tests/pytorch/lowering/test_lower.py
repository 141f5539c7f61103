"""Lowered models, whatever is mixed in them, copy, pickle and run; outside islands against exact arithmetic."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.ao.nn.intrinsic import ConvReLU1d, ConvReLU2d, ConvReLU3d, LinearReLU

from ilit.errors import LoweringError
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe

RELU = torch.nn.ReLU
OPS: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: torch.nn.Linear(6, 5), (4, 6)),
    "linear 1 axis": (lambda: torch.nn.Linear(6, 5), (6,)),
    "linear 4 axes, no bias": (lambda: torch.nn.Linear(6, 5, bias=False), (2, 3, 4, 6)),
    "linear relu": (lambda: LinearReLU(torch.nn.Linear(6, 5), RELU()), (4, 6)),
    "conv1d": (lambda: torch.nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 9)),
    "conv1d unbatched": (lambda: torch.nn.Conv1d(4, 6, 3), (4, 9)),
    "conv1d relu": (lambda: ConvReLU1d(torch.nn.Conv1d(4, 6, 3, bias=False), RELU()), (2, 4, 9)),
    "conv2d same dilated": (lambda: torch.nn.Conv2d(4, 6, 3, padding="same", dilation=2), (2, 4, 9, 9)),
    "conv2d valid": (lambda: torch.nn.Conv2d(4, 6, (3, 2), padding="valid", stride=(1, 2)), (2, 4, 9, 9)),
    "conv2d depthwise": (lambda: torch.nn.Conv2d(4, 4, 3, groups=4, padding=1), (2, 4, 9, 9)),
    "conv1d replicated": (lambda: torch.nn.Conv1d(4, 6, 3, padding=2, padding_mode="replicate"), (2, 4, 9)),
    "conv2d same even": (lambda: torch.nn.Conv2d(4, 6, (2, 3), padding="same"), (2, 4, 9, 9)),
    "conv2d reflected": (
        lambda: torch.nn.Conv2d(4, 6, 3, stride=2, padding=(2, 1), padding_mode="reflect"), (2, 4, 9, 9)
    ),
    "conv2d reflected unbatched": (lambda: torch.nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (4, 9, 9)),
    "conv3d circular": (lambda: torch.nn.Conv3d(4, 6, 3, padding=1, padding_mode="circular"), (2, 4, 5, 5, 5)),
    "conv2d relu": (lambda: ConvReLU2d(torch.nn.Conv2d(4, 6, 3), RELU()), (2, 4, 9, 9)),
    "conv3d": (lambda: torch.nn.Conv3d(4, 6, 2, stride=2, padding=1, groups=2), (2, 4, 6, 6, 6)),
    "conv3d relu": (lambda: ConvReLU3d(torch.nn.Conv3d(4, 6, 2), RELU()), (2, 4, 6, 6, 6)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch's advice, not ours
@pytest.mark.parametrize("name", OPS)
def test_each_op_agrees_with_exact_arithmetic_and_copies(bench: Callable[..., Any], name: str) -> None:
    """Outside islands an op gives the float sum of its codes, in any geometry; so do its copies."""
    make, shape = OPS[name]
    subject = bench(torch.nn.Sequential(make()), torch.randn(shape))
    original, lowered = subject.model[0], subject.lower(static=["0"])
    module = lowered[0]
    weight = module.tensors()["weight"].double()
    weight = weight * module.weight_scale.double().reshape(-1, *[1] * (weight.ndim - 1))
    codes, scale, zero_point = module.quantizer(subject.inputs)
    exact = copy.deepcopy(original[0] if isinstance(original, torch.nn.Sequential) else original).double()
    exact.weight = torch.nn.Parameter(weight)
    wanted = exact((codes.double() - zero_point) * scale)
    wanted = wanted.relu() if "relu" in name else wanted
    for model in (lowered, copy.deepcopy(lowered), pickle.loads(pickle.dumps(lowered))):  # noqa: S301 - our own bytes
        np.testing.assert_allclose(subject.run(model), wanted.detach().numpy(), rtol=1e-5, atol=1e-5)
    assert subject.close(lowered, 0.05)


@pytest.mark.parametrize("name", ["shared-stub", "tied-embedding"])
def test_any_mixture_copies_and_pickles(bench: Callable[..., Any], sample: Callable[[str], Any], name: str) -> None:
    """Every op in INT8 or float, in any mixture: copies give the same bits, and all-float is the model itself."""
    one = sample(name)
    subject = bench(one.model, one.batches[0][0])
    weight_only = OpConfig("int8", "weight_only", QuantSpec("int8", "sym", "per_channel"))
    for chosen in itertools.product((True, False), repeat=len(subject.ops)):
        static = [op for op, on in zip(subject.ops, chosen, strict=True) if on and op != "embed"]
        others = {"embed": weight_only} if "embed" in subject.ops and chosen[subject.ops.index("embed")] else {}
        lowered = subject.lower(static=static[::2], dynamic=static[1::2], **others)
        wanted = subject.run(lowered)
        assert np.array_equal(subject.run(copy.deepcopy(lowered)), wanted)
        assert np.array_equal(subject.run(pickle.loads(pickle.dumps(lowered))), wanted)  # noqa: S301 - our own bytes
        assert subject.adapter.int8_kernels(lowered) == sum(chosen)
        assert np.array_equal(wanted, subject.run()) == (not any(chosen))


@pytest.mark.parametrize("static", [("conv1", "conv2", "conv3", "head"), ("conv2",), ("conv1", "head")], ids="+".join)
def test_islands_copy_and_pickle(stubbed: Any, static: tuple[str, ...]) -> None:
    """A model with an active island is its owner's: copied, pickled, or saved by torch, it gives the same bits."""
    lowered = stubbed.lower(static=static)
    wanted = stubbed.run(lowered)
    assert np.array_equal(stubbed.run(copy.deepcopy(lowered)), wanted)
    assert np.array_equal(stubbed.run(pickle.loads(pickle.dumps(lowered))), wanted)  # noqa: S301 - our own bytes
    buffer = io.BytesIO()
    torch.save(lowered, buffer)
    buffer.seek(0)
    assert np.array_equal(stubbed.run(torch.load(buffer, weights_only=False)), wanted)


def test_readers_of_a_stub_share_the_codes(bench: Callable[..., Any], nets: Any, monkeypatch: Any) -> None:
    """Three INT8 readers of one stub quantize once; float readers among them get the float tensor."""
    from ilit_pytorch.module_parts.activation import StaticQuantizer

    subject, calls = bench(nets.SharedReaders(), torch.randn(6, 8)), []
    plain = StaticQuantizer.__call__
    monkeypatch.setattr(StaticQuantizer, "__call__", lambda own, x: calls.append(1) or plain(own, x))
    subject.run(subject.lower(static=["query", "key", "value"]))
    assert len(calls) == 1
    assert subject.close(subject.lower(static=["query", "value"]), 0.05)


def test_ops_behind_a_stub_may_look_at_the_activation(bench: Callable[..., Any]) -> None:
    """Shape, dtype and length of a shared activation can be asked for in INT8 as in float."""
    from ilit_pytorch import QuantStub

    class Looks(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stub, self.fc = QuantStub(), torch.nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stub(x)
            assert (x.shape[0], x.size(1), len(x), x.dtype, x.dim()) == (6, 4, 6, torch.float32, 2)
            return self.fc(x).reshape(x.shape[0], -1)

    subject = bench(Looks(), torch.randn(6, 4))
    assert subject.calibration.structure.escaping_stubs == ()
    assert subject.close(subject.lower(static=["fc"]), 0.05)


def test_a_recipe_of_another_model_is_refused(stubbed: Any) -> None:
    """Ops the model lacks, or a calibration size nobody measured, are named."""
    with pytest.raises(LoweringError, match="names elsewhere"):
        stubbed.adapter.lower(stubbed.model, Recipe({"elsewhere": FLOAT32}), stubbed.calibration)
    recipe = Recipe(dict(stubbed.lower(static=["head"]).ilit.recipe.ops), "9 rows")
    with pytest.raises(LoweringError, match="calibration of 9 rows has not seen"):
        stubbed.adapter.lower(stubbed.model, recipe, stubbed.calibration)


def test_calibration_that_is_not_finite_is_refused(bench: Callable[..., Any]) -> None:
    """A NaN in the calibration data fails the static recipe by name, and no other."""
    subject = bench(torch.nn.Sequential(torch.nn.Linear(4, 4)), torch.tensor([[1.0, 2.0, float("nan"), 4.0]] * 3))
    with pytest.raises(LoweringError, match="0:in: calibration saw the range nan to nan"):
        subject.lower(static=["0"])


def test_what_stays_in_float_is_frozen_too(bench: Any, nets: Any) -> None:
    """Behind a stub as well: torch sums in another order where gradients are asked for, and nothing read back does."""
    subject = bench(nets.SharedReaders(), torch.randn(16, 8))
    lowered = subject.lower(static=["query"])
    assert not any(parameter.requires_grad for parameter in lowered.parameters())
