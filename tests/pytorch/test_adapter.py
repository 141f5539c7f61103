"""The adapter keeps the laws of ``ilit.testing.AdapterContract`` for every form of model."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ilit.adapter import ABILITIES, DigestsModel
from ilit.testing import AdapterCase, AdapterContract
from ilit_pytorch.adapter import PyTorchAdapter

NAMES = ("mlp", "transposed", "conv", "stubbed-conv", "shared-stub", "tuple-input", "dict-input", "tied-embedding")


def state(model: torch.nn.Module) -> dict[str, Any]:
    """Return all that must stay: tensors as bytes, identity of parameters, modes, hooks."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "bytes": {name: tensor.detach().numpy().tobytes() for name, tensor in tensors.items()},
        "identity": {name: id(tensor) for name, tensor in tensors.items()},
        "grad": {name: tensor.requires_grad for name, tensor in tensors.items()},
        "mode": {name: module.training for name, module in model.named_modules()},
        "modules": {name: type(module) for name, module in model.named_modules()},
        "hooks": {
            name: (len(module._forward_hooks), len(module._forward_pre_hooks), sorted(vars(module)))
            for name, module in model.named_modules()
        },
    }


def disturb(model: torch.nn.Module) -> None:
    """Spoil what a lowered model has of its own; float parameters are the given model's by design."""
    with torch.no_grad():
        for module in model.modules():
            own = [*module._buffers.values(), *vars(module).values()]
            for tensor in own:
                if isinstance(tensor, torch.Tensor) and not tensor.is_mkldnn:
                    tensor.zero_()


class TestPyTorchAdapter(AdapterContract):
    @pytest.fixture(params=NAMES)
    def case(self, request: pytest.FixtureRequest, sample: Callable[[str], Any]) -> AdapterCase:
        one = sample(request.param)
        return AdapterCase(PyTorchAdapter(), one.model, one.batches, one.metric, state, disturb)


@pytest.mark.parametrize("ability", [ability for ability in ABILITIES if ability is not DigestsModel])
def test_it_has_every_ability_but_digests(ability: type) -> None:
    """A run with this adapter uses all of them."""
    assert isinstance(PyTorchAdapter(), ability)


def test_a_measured_model_is_not_kept_alive(bench: Callable[..., Any]) -> None:
    """A search measures every recipe that passes, and drops most of the models again."""
    subject = bench(torch.nn.Sequential(torch.nn.Linear(4, 4)), torch.randn(8, 4))
    models = [subject.lower(static=["0"]), torch.nn.Linear(4, 4)]
    alive = [weakref.ref(model) for model in models]
    while models:
        subject.adapter.measure(models.pop(), (torch.randn(8, 4), torch.zeros(8)))
    gc.collect()
    assert [model() for model in alive] == [None, None]
