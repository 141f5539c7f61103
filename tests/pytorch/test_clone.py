"""Structural clones share parameters and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrizations

from ilit.errors import ModelError
from ilit_pytorch.clone import replace_modules, structural_clone


def test_parameters_are_shared_and_buffers_copied() -> None:
    """A forward that writes its buffers, config or mode writes the clone's."""

    class Counts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.config = torch.nn.Linear(2, 2), {"calls": 0}
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            self.config["calls"] += 1
            return self.fc(x)

    model = Counts().train()
    clone = structural_clone(model)
    clone(torch.ones(1, 2))
    assert torch._C._is_cow_tensor(clone.fc.weight)  # the same memory, until one of the two is written to
    assert (float(model.calls), model.config["calls"], float(clone.calls)) == (0.0, 0, 1.0)
    assert (model.training, clone.training) == (True, False)


def test_a_clone_is_in_eval_mode_however_the_model_says_so() -> None:
    """Each module is, and one whose ``eval`` does something of its own has done it."""

    class Fuses(torch.nn.Linear):
        fused = False

        def train(self, mode: bool = True) -> Fuses:
            self.fused = not mode
            return super().train(mode)

    plain = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Sequential(torch.nn.Linear(2, 2))).train()
    own = torch.nn.Sequential(torch.nn.Dropout(), Fuses(2, 2)).train()
    assert not any(module.training for model in (plain, own) for module in structural_clone(model).modules())
    assert structural_clone(own)[1].fused
    assert all(module.training for model in (plain, own) for module in model.modules())


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")  # the old form is what is tried
@pytest.mark.parametrize(
    "norm",
    [torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm, parametrizations.weight_norm],
    ids=["old weight norm", "old spectral norm", "parametrized"],
)
def test_computed_weights_are_those_of_now(bench: Callable[..., Any], norm: Callable[..., Any]) -> None:
    """A weight that torch computes before each forward is quantized as it is after the last training step."""
    model = torch.nn.Sequential(norm(torch.nn.Linear(8, 8))).eval()
    model(torch.randn(4, 8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    subject = bench(model, torch.randn(16, 8))
    assert subject.close(subject.lower(static=["0"]), 0.05)


def test_a_module_is_replaced_wherever_it_stands() -> None:
    """Both names of a shared module get the same new one; the path "" is the model itself."""
    shared, new = torch.nn.ReLU(), torch.nn.GELU()
    model = replace_modules(torch.nn.Sequential(shared, torch.nn.Sequential(shared)), {"0": new})
    assert model[0] is new
    assert model[1][0] is new
    assert replace_modules(model, {"": new}) is new


def test_what_cannot_be_copied_is_named() -> None:
    """A lock in the model is refused in one line with the cure."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    model.lock = threading.Lock()  # type: ignore[assignment]  # what users do
    with pytest.raises(ModelError, match=r"Sequential cannot be copied .*keep what is not tensors"):
        structural_clone(model)


def test_a_clone_answers_as_the_model() -> None:
    """Bit for bit."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)).eval()
    x = torch.randn(3, 4)
    with torch.no_grad():
        assert np.array_equal(structural_clone(model)(x).numpy(), model(x).numpy())
