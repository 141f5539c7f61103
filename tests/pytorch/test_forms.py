"""What a forward does not take an INT8 module for is found before the search, and named with its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.ao.quantization import DeQuantStub
from torch.ao.quantization import QuantStub as TorchQuantStub

from ilit_pytorch.adapter import PyTorchAdapter


class Net(torch.nn.Module):
    """Three Linears, the middle one looked at before it is called."""

    def __init__(self, look: Callable[[Any], Any]) -> None:
        super().__init__()
        self.first, self.middle, self.last = (torch.nn.Linear(8, 8) for _ in range(3))
        self.look = look

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        self.look(self)
        return self.last(self.middle(x).relu())


def insists(net: Any) -> None:
    """Take nothing but torch's own class."""
    if type(net.middle) is not torch.nn.Linear:
        raise TypeError("the middle must be a plain layer")


def writes(net: Any) -> None:
    """Write into the weight before it is used."""
    with torch.no_grad():
        net.middle.weight.mul_(1.0)


def sets(net: Any) -> None:
    """Put another weight in its place."""
    net.middle.weight = torch.nn.Parameter(net.middle.weight.detach().clone())


REFUSING: dict[str, tuple[Callable[[Any], Any], str]] = {
    "its class": (insists, "TypeError: the middle must be a plain layer"),
    "a method": (lambda net: net.middle.reset_parameters, "AttributeError"),
    "a write": (writes, "cannot be written"),
    "another weight": (sets, "weight"),
}
TAKING: dict[str, Callable[[Any], Any]] = {
    "dtype": lambda net: net.middle.weight.dtype,
    "sizes": lambda net: (net.middle.in_features, net.middle.weight.shape, net.middle.bias.shape),
    "device": lambda net: next(net.middle.parameters()).device,
    "values": lambda net: float(net.middle.weight.abs().sum()),
}


def described(model: torch.nn.Module, *shape: int) -> tuple[set[str], dict[str, str]]:
    """Return the ops that may run in INT8 and those left in float."""
    adapter = PyTorchAdapter()
    space = adapter.describe(model, (torch.randn(*shape), None))
    return set(space.ops), dict(adapter._structures[model].left)


@pytest.mark.parametrize("name", REFUSING)
def test_what_a_forward_refuses_stays_in_float(name: str) -> None:
    """With what it raised as the reason; its neighbours are ops as before."""
    look, reason = REFUSING[name]
    ops, left = described(Net(look), 16, 8)
    assert ops == {"first", "last"}
    assert reason in left["middle"]


@pytest.mark.parametrize("name", TAKING)
def test_what_a_forward_reads_is_there(name: str) -> None:
    """So nothing stays in float for it."""
    assert described(Net(TAKING[name]), 16, 8) == ({"first", "middle", "last"}, {})


def test_another_way_through_the_model_is_noticed() -> None:
    """A forward that does something else for what is no Linear, without raising, is not taken for the same function."""

    class Branching(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            x = self.middle(x) if isinstance(self.middle, torch.nn.Linear) else x
            return self.last(x)

    ops, left = described(Branching(lambda net: None), 16, 8)
    assert ops == {"first", "last"}
    assert left == {"middle": "with an INT8 module in its place the forward goes another way"}


def test_a_random_model_keeps_its_ops() -> None:
    """Answers that differ by chance are no other way through the model."""

    class Random(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(super().forward(x), 0.5, training=True)

    assert described(Random(lambda net: None), 16, 8) == ({"first", "middle", "last"}, {})


def test_a_model_that_takes_no_few_rows_is_tried_on_all() -> None:
    """A forward that insists on its number of rows is checked like any other."""

    class Sixteen(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.reshape(16, 8))

    ops, left = described(Sixteen(insists), 16, 8)
    assert (ops, list(left)) == ({"first", "last"}, ["middle"])


PATCHES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "forward": (lambda op: setattr(op, "forward", op.forward), "its forward is patched"),
    "class call": (lambda op: setattr(op, "__class__", Called), "its class Called has a __call__ of its own"),
    "class forward": (lambda op: setattr(op, "__class__", Own), "its class Own has a forward of its own"),
    "dtype": (lambda op: op.to(torch.float64) and None, "its weight is float64, not float32"),
}


class Called(torch.nn.Linear):
    """Does more than its forward."""

    def __call__(self, x: torch.Tensor) -> Any:
        return super().__call__(x) * 2


class Own(torch.nn.Linear):
    """Does something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 2


@pytest.mark.parametrize("name", PATCHES)
def test_what_is_patched_stays_in_float(name: str) -> None:
    """An op whose call its owner has replaced is named; nothing of the patch is lost."""
    patch, reason = PATCHES[name]

    class Casting(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return self.last(self.middle(x.to(self.middle.weight.dtype)).float())

    model = Casting(lambda net: None)
    patch(model.middle)
    ops, left = described(model, 16, 8)
    assert ops == {"first", "last"}
    assert left == {"middle": reason}


class BetweenStubs(torch.nn.Module):
    """Adds two quantized tensors with a plus, which torch's quantized tensors do not take."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = TorchQuantStub(), DeQuantStub()
        self.a, self.b, self.head = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.quant(x)
        return self.head(self.dequant(self.a(x) + self.b(x)))


def test_what_cannot_pass_between_stubs_runs_without_them(
    bench: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The ops there are quantized like any others, and the log says why."""
    subject = bench(BetweenStubs(), torch.randn(64, 8))
    lowered = subject.lower(static=subject.ops)
    assert set(subject.ops) == {"a", "b", "head"}
    assert subject.close(lowered, 0.05)
    assert "run as if these were not there: NotImplementedError" in caplog.text


def test_hooks_between_stubs_are_given_float_tensors(bench: Callable[..., Any], stubbed: Any) -> None:
    """An island with a hook in it is no island."""
    model = stubbed.model
    seen: list[bool] = []
    model.conv3.register_forward_hook(lambda _own, _args, output: seen.append(output.is_quantized))
    subject = bench(model, stubbed.inputs)
    lowered = subject.lower(static=subject.ops)
    seen.clear()
    subject.run(lowered)
    assert seen == [False]
    assert subject.close(lowered, 0.1)
