"""What stands where a BatchNorm or ReLU was is a whole stand-in for it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ilit.errors import ArtefactError, LoweringError
from ilit_pytorch.artefact import files
from ilit_pytorch.modules.folded import FoldedNorm, FoldedRelu


def net() -> torch.nn.Module:
    """Return two convolutions, each with a BatchNorm, one with a ReLU behind that."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU(inplace=True),
        torch.nn.Conv2d(8, 8, 3), torch.nn.BatchNorm2d(8, affine=False), torch.nn.AdaptiveAvgPool2d(2),
    )  # fmt: skip


@pytest.fixture
def subject(bench: Callable[..., Any], nets: Any) -> Any:
    """Return the net on one batch."""
    return bench(nets.settled(net(), 3, 8, 8), torch.randn(16, 3, 8, 8))


def test_they_stand_behind_int8_convolutions_alone(subject: Any) -> None:
    """A convolution in float goes on to its own BatchNorm, bit by bit."""
    both, second, none = (subject.lower(static=static) for static in (["0", "3"], ["3"], []))
    kinds = [[type(m) for m in model if isinstance(m, FoldedNorm | FoldedRelu)] for model in (both, second, none)]
    assert kinds == [[FoldedNorm, FoldedRelu, FoldedNorm], [FoldedNorm], []]
    assert np.array_equal(subject.run(none), subject.run())
    assert subject.close(both, 0.05)
    assert subject.close(second, 0.05)


def test_weights_are_quantized_after_folding(subject: Any) -> None:
    """Together with the norm's numbers the weight and bias give what the float pair computes."""
    model, (conv, norm) = subject.lower(static=["0"]), subject.model[:2]
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    wanted = conv.weight * factor.reshape(-1, 1, 1, 1)
    step = model[0].weight_scale.reshape(-1, 1, 1, 1)
    assert bool(((model[0].weight - wanted).abs() <= step * 0.5001).all())
    torch.testing.assert_close(model[0].bias, norm.bias - norm.running_mean * factor, rtol=1e-4, atol=1e-5)
    x = torch.randn(4, 8, 5, 5)
    numbers = (model[1].running_mean, model[1].running_var, model[1].weight, model[1].bias)
    torch.testing.assert_close(torch.nn.functional.batch_norm(x, *numbers, eps=model[1].eps), x)
    assert (model[1].num_features, model[1].momentum, int(model[1].num_batches_tracked)) == (8, 0.1, 0)


def test_what_is_not_there_is_none(subject: Any) -> None:
    """As in the float module."""
    model = subject.lower(static=["3"])
    assert (model[4].weight, model[4].bias, tuple(model[4].running_mean.shape)) == (None, None, (8,))


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
def test_its_numbers_are_frozen(subject: Any, name: str) -> None:
    """A write would reach no code, so it is refused."""
    norm = subject.lower(static=["0"])[1]
    with pytest.raises(LoweringError, match="INT8 op cannot be replaced"):
        setattr(norm, name, torch.ones(8) if name.startswith("running") else torch.nn.Parameter(torch.ones(8)))
    with pytest.raises(LoweringError, match="cannot be written"):
        getattr(norm, name).data.fill_(2.0)


def test_training_mode_is_refused(subject: Any) -> None:
    """The float module would normalize by the batch."""
    model = subject.lower(static=["0"])
    with pytest.raises(LoweringError, match=r"call model\.eval\(\)"):
        model.train()(subject.inputs)
    assert subject.close(model.eval(), 0.05)


def test_what_hangs_on_them_is_taken_over(bench: Callable[..., Any], nets: Any) -> None:
    """Attributes, buffers and submodules of the owner's, in the state dict too; copies and pickles have them."""
    model = nets.settled(net(), 3, 8, 8)
    model[1].note, model[2].inner = "ours", torch.nn.Linear(2, 2)
    model[1].register_buffer("seen", torch.ones(3))
    subject = bench(model, torch.randn(16, 3, 8, 8))
    lowered = subject.lower(static=["0"])
    for one in (lowered, copy.deepcopy(lowered), pickle.loads(pickle.dumps(lowered))):  # noqa: S301 - our own bytes
        assert isinstance(one[1], FoldedNorm)
        assert (one[1].note, one[1].seen.tolist(), one[2].inplace) == ("ours", [1.0] * 3, True)
        assert {"1.seen", "2.inner.weight", "2.inner.bias"} == {key for key in one.state_dict() if key[0] in "12"}
        assert np.array_equal(subject.run(one), subject.run(lowered))


def test_a_state_dict_fits_its_own_recipe_alone(subject: Any, nets: Any, bench: Callable[..., Any]) -> None:
    """A twin takes it over to the same bits; the float model, and one that is folded otherwise, refuse it by name."""
    twin = bench(nets.settled(net(), 3, 8, 8), subject.inputs)
    one, other = subject.lower(static=["0", "3"]), twin.lower(static=["0", "3"])
    other.load_state_dict(one.state_dict())
    assert np.array_equal(subject.run(other), subject.run(one))
    for model, missing in ((subject.model, "1.running_mean"), (subject.lower(static=["0"]), "4.running_mean")):
        with pytest.raises(RuntimeError, match=missing):
            model.load_state_dict(one.state_dict())


@pytest.mark.parametrize("static", [["0"], ["3"], ["0", "3"]], ids=str)
def test_an_artefact_gives_the_same_bits(subject: Any, tmp_path: Path, static: list[str]) -> None:
    """Read into an architecture whose BatchNorms have seen nothing; the numbers of the folded ones are in no file."""
    model = subject.lower(static=static)
    files.save(model, tmp_path)
    loaded = files.load(tmp_path, net())
    assert np.array_equal(subject.run(loaded), subject.run(model))
    assert [type(module) for module in loaded] == [type(module) for module in model]


@pytest.mark.parametrize(
    ("place", "other", "text"),
    [
        (1, torch.nn.Identity(), "1 is an INT8 folded_norm, the architecture given has a Identity there"),
        (2, torch.nn.GELU(), "2 is an INT8 folded_relu, the architecture given has a GELU there"),
    ],
)
def test_another_architecture_is_refused(
    subject: Any, tmp_path: Path, place: int, other: torch.nn.Module, text: str
) -> None:
    """What is an identity in the files must have been the module that the convolution does."""
    files.save(subject.lower(static=["0"]), tmp_path)
    skeleton: Any = net()
    skeleton[place] = other
    with pytest.raises(ArtefactError) as caught:
        files.load(tmp_path, skeleton)
    assert text in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_cast_model_answers_in_its_dtype(subject: Any, dtype: torch.dtype) -> None:
    """What the norm's numbers read as follows."""
    model = subject.lower(static=["0", "3"]).to(dtype)
    assert model(subject.inputs.to(dtype)).dtype == dtype
    assert model[1].weight.dtype == dtype


def test_it_is_exported(subject: Any) -> None:
    """Identities are no obstacle, and the graph gives the same."""
    model = subject.lower(static=["0", "3"])
    graph = torch.export.export(model, (subject.inputs,)).module()
    with torch.no_grad():
        torch.testing.assert_close(graph(subject.inputs), model(subject.inputs))
