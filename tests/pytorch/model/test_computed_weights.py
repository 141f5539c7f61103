"""Weights that are computed before each forward are read as the next forward would use them, and nothing is moved."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.utils import parametrizations, parametrize, prune

from ilit_pytorch.tracing.trace import trace


class Doubled(torch.nn.Module):
    """A parametrization."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * 2


def by_own_hook(op: torch.nn.Linear) -> torch.nn.Linear:
    """Compute the weight in a pre-hook of a user's making."""
    op.base = torch.nn.Parameter(op.weight.detach().clone())
    del op.weight
    op.weight = op.base.detach()
    op.register_forward_pre_hook(lambda own, _args: setattr(own, "weight", own.base * 2))
    return op


def in_place(op: torch.nn.Linear) -> torch.nn.Linear:
    """Write the weight in a pre-hook, from a buffer."""
    op.register_buffer("base", op.weight.detach().clone())

    def write(own: Any, _args: Any) -> None:
        own.weight.data.copy_(own.base * 2)

    op.register_forward_pre_hook(write)
    return op


WAYS: dict[str, Callable[[Any], Any]] = {
    "pruned": lambda op: prune.l1_unstructured(op, "weight", amount=0.4),
    "old weight norm": torch.nn.utils.weight_norm,
    "old spectral norm": torch.nn.utils.spectral_norm,
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "parametrized": lambda op: parametrize.register_parametrization(op, "weight", Doubled()) and op,
    "own hook": by_own_hook,
}
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")


@pytest.mark.parametrize("way", WAYS)
def test_they_are_those_of_the_next_forward(bench: Callable[..., Any], way: str) -> None:
    """After a new state dict is loaded, with no forward since, INT8 is built from the weights it leads to."""

    def made(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        return torch.nn.Sequential(WAYS[way](torch.nn.Linear(16, 16)), torch.nn.ReLU(), torch.nn.Linear(16, 4))

    model, x = made(1).eval(), torch.randn(64, 16)
    model(x)
    model.load_state_dict(made(2).state_dict())
    subject = bench(model, x)
    lowered = subject.lower(static=subject.ops)
    wanted = model(x)
    assert set(subject.ops) == {"0", "2"}
    assert (lowered(x) - wanted).norm() < 0.05 * wanted.norm()


@pytest.mark.parametrize("way", WAYS)
def test_reading_them_moves_nothing(bench: Callable[..., Any], way: str) -> None:
    """The user's model in train mode, whose norms would step on at each forward, is as before."""
    model = torch.nn.Sequential(WAYS[way](torch.nn.Linear(16, 16)), torch.nn.Linear(16, 4)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.randn(64, 16)
    structure = trace(model, (x, None))
    adapter = bench(torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.randn(4, 2)).adapter
    adapter.describe(model, (x, None))
    assert structure.sites["0"].computed
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_weight_written_in_each_forward(bench: Callable[..., Any]) -> None:
    """What a hook writes into the weight itself is what INT8 is made of; the user's is not written by us."""
    model, x = torch.nn.Sequential(in_place(torch.nn.Linear(16, 8))), torch.randn(64, 16)
    before = model[0].weight.detach().clone()
    subject = bench(model, x)
    lowered = subject.lower(static=subject.ops)
    assert torch.equal(model[0].weight, before)
    wanted = model(x)
    assert (lowered(x) - wanted).norm() < 0.05 * wanted.norm()


def test_a_weight_of_the_input_stays_in_float() -> None:
    """Where no one weight stands for all forwards the op is left, with that as its reason."""

    def scale_by_input(own: Any, args: Any) -> None:
        own.weight = own.base * args[0].mean()

    op = torch.nn.Linear(16, 8)
    by_own_hook(op)
    op._forward_pre_hooks.clear()
    op.register_forward_pre_hook(scale_by_input)

    class Rows(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.op, self.head = op, torch.nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.op(x[:1]))

    structure = trace(Rows(), (torch.randn(64, 16), None))
    assert structure.left == {"op": "its weight differs from forward to forward"}
    assert set(structure.sites) == {"head"}


def test_what_computes_the_weight_is_not_kept(bench: Callable[..., Any]) -> None:
    """The INT8 op has neither the hook nor the float tensors it worked on, but every other hook."""
    op = prune.l1_unstructured(torch.nn.Linear(16, 8), "weight", amount=0.4)
    op.register_forward_hook(lambda _own, _args, output: output * 10)
    subject = bench(torch.nn.Sequential(op), torch.randn(64, 16))
    lowered = subject.lower(static=subject.ops)
    assert not lowered[0]._forward_pre_hooks
    assert not any("orig" in name or "mask" in name for name in lowered.state_dict())
    assert subject.close(lowered, 0.05)


def test_an_artefact_of_a_pruned_model_loads(
    bench: Callable[..., Any], tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Into a pruned architecture, hooks and all, to the bit."""
    caplog.set_level(logging.INFO)

    def made(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        net = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Linear(16, 4))
        for layer in net:
            prune.l1_unstructured(layer, "weight", amount=0.4)
        return net

    subject = bench(made(1), torch.randn(64, 16))
    lowered = subject.lower(static=["0"])
    subject.adapter.save(lowered, tmp_path)
    loaded = subject.adapter.load(tmp_path, model=made(2))
    assert subject.run(loaded).tobytes() == subject.run(lowered).tobytes()
